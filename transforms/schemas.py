"""The JSON Schemas with which editors complete and check definitions: from the models and the table of operations.

They are in conf/schemas/, and each definition names its own in a comment; `make schema` writes both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from conf.specs import (
    Aggregate,
    Column,
    ColumnType,
    Derived,
    Example,
    Feature,
    FeatureGroup,
    FunctionColumn,
    Reads,
    RollupColumn,
    Score,
    ScorePart,
    Source,
    State,
    TimeColumn,
    UnionSource,
)
from conf.training_sets import Choice, TrainingSet
from transforms.operations import OPERATIONS, Operation
from transforms.operations.parameters import ascending, days_of, duration_in_days, number, percent, whole_number

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"  # what every editor's YAML language server knows
FOLDER = "conf/schemas"
# By the folder of their files. Of two models, the first key of the second that is required tells it from the first.
MODELS: Mapping[str, tuple[type[BaseModel], ...]] = {
    "sources": (Source, UnionSource),
    "feature_groups": (FeatureGroup,),
    "training_sets": (TrainingSet,),
}
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n?")

_TEXT: Schema = {"type": ["string", "number", "boolean"]}  # every scalar is read as the text that was written
_NUMBER_TEXT = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DOCUMENTED = re.compile(r"(`[a-z_]+`(?:(?:, | and )`[a-z_]+`)*): ")


def _texts(values: Iterator[str] | Sequence[str]) -> Schema:
    return {"enum": list(values)}


# What a parameter's reader takes, for an editor.
READERS: Mapping[Callable[[str], Any], Schema] = {
    whole_number: {"type": ["integer", "string"], "pattern": "^0*[1-9][0-9]*$", "minimum": 1},
    days_of: {"type": ["integer", "string"], "pattern": "^0*[1-9][0-9]*d?$", "minimum": 1},
    duration_in_days: {"type": ["number", "string"], "pattern": r"^[0-9]*\.?[0-9]+d?$", "exclusiveMinimum": 0},
    number: {"type": ["number", "string"], "pattern": _NUMBER_TEXT},
    percent: {"type": ["number", "string"], "pattern": _NUMBER_TEXT, "minimum": 0, "maximum": 100},
    ascending: {"type": ["number", "string"], "pattern": r"^\s*\[?[^,\[\]]+(,[^,\[\]]+)*\]?\s*$"},
}


def schema_of(folder: str) -> Schema:
    """The schema of a folder's definitions as YAML writes them: numbers and booleans stand where the loader reads their text."""
    models = MODELS[folder]
    inputs: list[tuple[type[BaseModel], Literal["validation"]]] = [(model, "validation") for model in models]
    places, found = models_json_schema(inputs, by_alias=True, ref_template="#/definitions/{model}", schema_generator=_AsWritten)
    whole, *special = (places[item] for item in inputs)
    if special:
        told = next(iter(_required(models[1]) - _required(models[0])))
        found |= {"if": {"required": [told]}, "then": special[0], "else": whole}
    else:
        found["allOf"] = [whole]
    found["definitions"] = found.pop("$defs")  # as draft 7 calls them
    return {"$schema": DIALECT, "title": " or ".join(model.__name__ for model in models)} | found


def _required(model: type[BaseModel]) -> set[str]:
    return {name for name, field in model.model_fields.items() if field.is_required()}


def schema_texts() -> dict[str, str]:
    """File name -> text, of every schema."""
    return {schema_file(folder): json.dumps(schema_of(folder), indent=1, ensure_ascii=False) + "\n" for folder in MODELS}


def schema_file(folder: str) -> str:
    """The schema of the definitions in `sources`, `feature_groups`, ...: `source.json`, `feature_group.json`."""
    return folder.removesuffix("s") + ".json"


def modeline(definition: Path, schemas: Path) -> str:
    """The comment with which a definition names its schema, by a path relative to itself."""
    target = os.path.relpath(schemas / schema_file(definition.parent.name), definition.parent)
    return f"# yaml-language-server: $schema={Path(target).as_posix()}\n"


def definition_files(root: Path) -> list[Path]:
    """The definitions that a checkout ships: conf/ and the folders of examples/."""
    places = [root / "conf", *sorted(path for path in (root / "examples").glob("*") if path.is_dir())]
    return [file for place in places for folder in MODELS for file in sorted((place / folder).glob("*.y*ml"))]


def wanted_texts(root: Path) -> dict[Path, str]:
    """Every file that `make schema` writes, as it should be."""
    schemas = root / FOLDER
    wanted = {schemas / name: text for name, text in schema_texts().items()}
    for file in definition_files(root):
        text = file.read_text(encoding="utf-8")
        first = MODELINE.match(text)
        wanted[file] = modeline(file, schemas) + (text[first.end() :] if first else text)
    return wanted


def stale_files(root: Path) -> list[Path]:
    """Files that are not as `make schema` would write them; schemas of no model too."""
    wanted = wanted_texts(root)
    stale = [file for file, text in wanted.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    return stale + [file for file in sorted((root / FOLDER).glob("*")) if file not in wanted]


class _AsWritten(GenerateJsonSchema):
    """Schemas of what is written in YAML, where pydantic's own are of what the loader hands to the models."""

    def str_schema(self, schema: core_schema.StringSchema) -> Schema:
        given = super().str_schema(schema)
        return given if "pattern" in given else given | _TEXT

    def bool_schema(self, schema: core_schema.BoolSchema) -> Schema:
        return {"enum": [True, False, "yes", "no", "on", "off"]}

    def int_schema(self, schema: core_schema.IntSchema) -> Schema:
        return super().int_schema(schema) | {"type": ["integer", "string"], "pattern": "^[+-]?[0-9]+$"}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> Schema:
        return {"type": ["number", "string"], "pattern": _NUMBER_TEXT}

    def date_schema(self, schema: core_schema.DateSchema) -> Schema:
        return {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        inner = self.generate_inner(schema["schema"])
        if "enum" in inner:
            return {"enum": [*inner["enum"], None]}
        if "type" in inner:
            kinds = inner["type"] if isinstance(inner["type"], list) else [inner["type"]]
            return inner | {"type": [*kinds, "null"]}
        return {"anyOf": [inner, {"type": "null"}]}

    def literal_schema(self, schema: core_schema.LiteralSchema) -> Schema:
        return {"enum": list(schema["expected"])}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        given = super().default_schema(schema)
        default = schema.get("default")
        if not default or isinstance(default, timedelta):  # what says nothing, and what is written another way
            given.pop("default", None)
        return given

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        model = cast("type[BaseModel]", schema["cls"])
        given = super().model_schema(schema)
        given.pop("title", None)
        words = _words_of_fields(model)
        for name, told in given["properties"].items():
            if name in words and "$ref" not in told:
                told["description"] = words[name]
        if "op" in given["properties"] and issubclass(model, Feature):
            given["properties"]["op"] = _operations()
            given["allOf"] = list(_rules_of_operations(given["properties"]))
        if model in RULES:
            given = _merged(given, RULES[model])
        return SHORT_FORMS[model](given) if model in SHORT_FORMS else given


def _words_of_fields(model: type[BaseModel]) -> dict[str, str]:
    """What a model's docstring says of its fields: "`of`: the value; `from` and `until`: since and to when it holds"."""
    text = " ".join((model.__doc__ or "").split())
    keys = {field.alias or name for name, field in model.model_fields.items()}
    parts = _DOCUMENTED.split(text)[1:]
    words = {}
    for names, said in zip(parts[::2], parts[1::2], strict=True):
        for name in re.findall(r"[a-z_]+", names.replace(" and ", " ")):
            if name in keys:
                words[name] = said.strip().rstrip(";.")
    return words


def _operations() -> Schema:
    told = [" ".join((operation.__doc__ or "").split()) for operation in OPERATIONS.values()]
    return {"enum": list(OPERATIONS), "markdownEnumDescriptions": told}


def _rules_of_operations(properties: Mapping[str, Schema]) -> Iterator[Schema]:
    """What an operation takes beside `op`: its parameters, a weight, a value."""

    def rule(chosen: Callable[[type[Operation]], bool], then: Schema) -> Iterator[Schema]:
        names = [name for name, operation in OPERATIONS.items() if chosen(operation)]
        if names:
            yield {"if": {"properties": {"op": _texts(names)}, "required": ["op"]}, "then": then}

    if "of" in properties:
        yield from rule(lambda operation: operation.needs_of, {"required": ["of"]})
        yield from rule(lambda operation: operation.judges, {"anyOf": [{"required": ["of"]}, {"required": ["where"]}]})
    if "weight" in properties:
        yield from rule(lambda operation: not operation.weighs, {"properties": {"weight": {"type": "null"}}})
    if "with" in properties:
        yield from rule(lambda operation: not operation.parameters, {"properties": {"with": {"maxProperties": 0}}})
        for name, operation in OPERATIONS.items():
            if operation.parameters:
                yield from rule(lambda other, name=name: other.name == name, _parameters(operation))  # type: ignore[misc]


def _parameters(operation: type[Operation]) -> Schema:
    needed = [name for name, parameter in operation.parameters.items() if parameter.default is None]
    given: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: READERS.get(parameter.read, _TEXT) | {"description": parameter.words}
            for name, parameter in operation.parameters.items()
        },
        "required": needed,
    }
    return {"properties": {"with": given}, "required": ["with"]} if needed else {"properties": {"with": given}}


def _column(whole: Schema) -> Schema:
    return {"anyOf": [_texts(get_args(ColumnType)), whole]}


def _time_column(whole: Schema) -> Schema:
    written = {
        "type": "string",
        "pattern": r"^([A-Za-z_][A-Za-z0-9_]*|(end_of_day|start_of_day|end_of_month)\([A-Za-z_][A-Za-z0-9_]*\))$",
    }
    return {"anyOf": [written | {"description": whole["description"]}, whole]}


def _example(whole: Schema) -> Schema:
    """Sources stand beside `as_of`, or under `rows`."""
    properties = dict(whole["properties"])
    rows = properties.pop("rows")["additionalProperties"]
    beside = whole | {"properties": properties, "additionalProperties": rows}
    return {"if": {"required": ["rows"]}, "then": whole, "else": beside}


def _merged(schema: Schema, rule: Schema) -> Schema:
    """`rule` laid over `schema`; of mappings the keys of both."""
    both = {key: _merged(schema[key], value) for key, value in rule.items() if isinstance(schema.get(key), dict)}
    return schema | rule | both


def _only_with(keys: Sequence[str], others: Sequence[str], *, needs: Sequence[str]) -> list[Schema]:
    """With one of `keys`, `needs` must be there and `others` may not; without, the other way round."""

    def absent(names: Sequence[str]) -> Schema:
        return {"not": {"anyOf": [{"required": [name]} for name in names]}}

    condition = {"anyOf": [{"required": [key]} for key in keys]}
    then = {"required": list(needs)} | (absent(others) if others else {})
    return [{"if": condition, "then": then} | ({"else": absent(needs)} if needs else {})]


def _choice(whole: Schema) -> Schema:
    named = {"type": "array", "items": _TEXT, "minItems": 1}
    return {"anyOf": [{"const": "all"}, named, whole], "description": whole["description"]}


# Models that take more than a mapping of their fields, by a validator that comes before: how they are written.
SHORT_FORMS: Mapping[type[BaseModel], Callable[[Schema], Schema]] = {
    Column: _column,
    FunctionColumn: _column,
    TimeColumn: _time_column,
    Example: _example,
    Choice: _choice,
}

# What the validators that come after say, as far as a schema can.
_BY: Schema = {"properties": {"by": {"maxProperties": 1}}}
_FORMS = ("expr", "segment", "one_hot", "label", "score")
RULES: Mapping[type[BaseModel], Schema] = {
    Aggregate: _BY,
    State: _BY,
    UnionSource: {"properties": {"union_of": {"minProperties": 2}}},
    ScorePart: {"properties": {"bands": {"minItems": 1}}},
    Score: {"properties": {"parts": {"minItems": 1}}},
    Reads: {"minProperties": 1},
    RollupColumn: {"if": {"properties": {"op": {"const": "count"}}}, "else": {"required": ["of"]}},
    Derived: {
        "properties": {"values": {"uniqueItems": True, "minItems": 1}, "segment": {"minItems": 1}},
        "oneOf": [{"required": [form]} for form in _FORMS],
        "allOf": _only_with(["one_hot", "label"], [], needs=["values"]),
    },
    FeatureGroup: {
        "properties": {"columns": {"minProperties": 1}},
        "allOf": [
            *_only_with(["function"], ["spine", "inputs", "derived", "blank_unless", "rollup"], needs=["columns", "reads"]),
            *_only_with(["rollup"], ["spine", "inputs", "derived", "blank_unless"], needs=[]),
            {"if": {"not": {"anyOf": [{"required": ["function"]}, {"required": ["rollup"]}]}}, "then": {"required": ["spine"]}},
        ],
    },
    Example: {
        "properties": {"expect": {"minProperties": 1}, "days": {"minProperties": 1, "additionalProperties": False}},
        "oneOf": [{"required": ["as_of", "expect"]}, {"required": ["days"]}],
    },
    Choice: {"not": {"required": ["only", "all_but"]}},
    TrainingSet: {
        "properties": {"days_before": {"minimum": 1}},
        "allOf": [
            {"if": {"required": ["spine"]}, "then": {"required": ["target"], "properties": {"grain": {"const": "day"}}}},
            {
                "if": {"properties": {"grain": {"const": "event"}}, "required": ["grain"]},
                "then": {"properties": {"days_before": {"const": 1}}},
            },
        ],
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the schemas and the comments that name them."""
    parser = argparse.ArgumentParser(prog="python -m transforms.schemas", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale, and return 1 when something is")
    root = Path(__file__).parent.parent
    stale = stale_files(root)
    if parser.parse_args(argv).check:
        sys.stderr.write("".join(f"{file.relative_to(root)}: stale; run make schema\n" for file in stale))
        return int(bool(stale))
    wanted = wanted_texts(root)
    for file in stale:
        if file in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file], encoding="utf-8")
        else:
            file.unlink()
        sys.stderr.write(f"{file.relative_to(root)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
