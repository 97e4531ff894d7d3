"""Reads a YAML file with every scalar as the text that was written, and remembers the line of each part."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from conf.errors import DefinitionError, did_you_mean

Place = tuple[str | int, ...]
_WORD = re.compile(r"[\w-]+")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class YamlFile:
    """A parsed file: `data` holds mappings, lists and text only; `lines` the line on which each place starts."""

    name: str
    data: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def locate(self, place: Place) -> str:
        """`file.yaml:12` of the nearest written part of `place`."""
        while place not in self.lines and place:
            place = place[:-1]
        return f"{self.name}:{self.lines.get(place, 1)}"

    def error(self, place: Place, message: str) -> DefinitionError:
        return DefinitionError(f"{self.locate(place)}: {message}")


def parse_yaml(text: str, name: str) -> YamlFile:
    """Raises DefinitionError for text that is not YAML, and for a key that is written twice."""
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        raise DefinitionError(f"{name}:{line}: not YAML: {problem.problem}") from problem
    except yaml.YAMLError as problem:
        raise DefinitionError(f"{name}:1: not YAML: {problem}") from problem
    if node is None:
        raise DefinitionError(f"{name}:1: the file is empty")
    file = YamlFile(name, None)
    return YamlFile(name, _plain(node, (), file), file.lines)


def _compose(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.CBaseLoader)
    except yaml.YAMLError:  # the slow one says what it found instead
        return yaml.compose(text, Loader=yaml.BaseLoader)


def _plain(node: yaml.Node, place: Place, file: YamlFile) -> Any:
    file.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            file.lines[(*place, key)] = key_node.start_mark.line + 1
            if key in result:
                raise file.error((*place, key), f"'{key}' is written twice")
            result[key] = _plain(value_node, (*place, key), file)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*place, index), file) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("null", "~"):
        return None
    return node.value


def load_model(model: type[Model], file: YamlFile) -> Model:
    """Build `model` from a file. Raises DefinitionError listing every problem, each with its line."""
    try:
        return model.model_validate(file.data)
    except ValidationError as problem:
        raise DefinitionError("\n".join(_explain(model, file, error) for error in problem.errors())) from problem


def _explain(model: type[BaseModel], file: YamlFile, error: Any) -> str:
    place: Place = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        message = f"unknown key '{place[-1]}'{did_you_mean(str(place[-1]), known)}; known: {', '.join(known)}"
        if not _WORD.fullmatch(str(place[-1])):  # half of an expression
            message += "; an expression with a comma is written in quotes"
    elif error["type"] == "missing":
        message = f"'{place[-1]}' is missing"
        place = place[:-1]
    elif error["type"] == "literal_error":
        message = f"'{error['input']}' is not one of {error['ctx']['expected']}"
    else:
        message = error["msg"].removeprefix("Value error, ")
    return f"{file.locate(place)}: {message}"


def _known_keys(model: type[BaseModel], place: Place) -> list[str]:
    current: type[BaseModel] | None = model
    for part in place:
        if current is None or not isinstance(part, str):
            continue
        found = next((f for n, f in current.model_fields.items() if part in (n, f.alias)), None)
        current = _model_inside(found.annotation) if found else current
    return [f.alias or n for n, f in current.model_fields.items()] if current else []


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_inside(argument)
        if found:
            return found
    return None
