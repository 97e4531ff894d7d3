"""Compiles groups that a Python function makes: found and hashed without importing it."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec

from conf.errors import did_you_mean
from conf.naming import check_name
from conf.yaml_file import Place
from transforms.feature_group.checker import Checker
from transforms.feature_group.compiled import Column, CompiledFunctionGroup, digest
from transforms.feature_group.names import Names
from transforms.feature_group.tables import source_meaning

_PLACE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def compile_function(checker: Checker) -> CompiledFunctionGroup:
    """Raises DefinitionError for a function that isn't there, and for columns that SageMaker refuses.

    The version changes with the code of the function's module, comments and layout aside, and with what it reads and gives.
    """
    group = checker.group
    place: Place = ("function",)
    match = _PLACE.fullmatch(group.function or "")
    if match is None:
        raise checker.problem(place, f"'{group.function}' is not a function; write package.module:name")
    module, function = match[1], match[2]
    code = _code(checker, place, module, function)
    columns, names = [], Names(checker)
    for name, spec in group.columns.items():
        spot = ("columns", name)
        try:
            check_name(name)
        except ValueError as problem:
            raise checker.problem(spot, str(problem)) from problem
        names.take_as_written(spot, name)
        words = spec.description or name.replace("_", " ")
        online = spec.online and group.online
        columns.append(Column(name, name, spec.type, words, spec.null_when, online, False, spec.scoring))
    meaning = {
        "entity": group.record_identifier,
        "zone": checker.zone,
        "function": [module, function, code],
        "columns": sorted([column.name, column.type] for column in columns),
        "sources": {name: source_meaning(checker.catalogue.sources[name]) for name in sorted(group.reads.sources)},
        "groups": sorted(group.reads.groups),
    }
    reads = group.reads
    return CompiledFunctionGroup(
        group.name,
        group.record_identifier,
        module,
        function,
        reads.sources,
        reads.groups,
        tuple(columns),
        version=digest(meaning, 16),
        code=code,
    )


def _code(checker: Checker, place: Place, module: str, function: str) -> str:
    """The hash of the module's code without comments and layout."""
    try:
        found = find_spec(module)
    except ModuleNotFoundError as problem:
        raise checker.problem(place, f"no module named '{problem.name}', of '{module}'; it must be on Python's path") from problem
    if found is None:
        raise checker.problem(place, f"no module named '{module}'; it must be on Python's path")
    get_source = getattr(found.loader, "get_source", None)  # of a folder's loader, and of a zip's
    source = get_source(module) if get_source is not None else None
    if source is None:
        raise checker.problem(place, f"'{module}' has no Python source to read '{function}' from")
    tree = ast.parse(source)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in functions:
        known = ", ".join(functions) or "none"
        told = f"'{module}' has no function '{function}'{did_you_mean(function, functions)}; functions: {known}"
        raise checker.problem(place, told)
    return digest(ast.dump(tree), 16)
