"""The JSON Schemas of definitions: as strict as the loader, on what is shipped and on what is wrong; never stale."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import yaml

from conf import specs
from conf.catalogue import Catalogue
from conf.errors import DefinitionError
from conf.specs import FeatureGroup, Source, Spec
from conf.yaml_file import load_model, parse_yaml
from transforms.feature_group import compile_groups
from transforms.operations import OPERATIONS
from transforms.schemas import MODELS, READERS, SHORT_FORMS, definition_files, schema_of, stale_files

ROOT = Path(__file__).parents[2]
VALIDATORS = {model: jsonschema.Draft7Validator(schema_of(model)) for model in MODELS.values()}


class Yaml12(yaml.SafeLoader):
    """YAML as editors read it (1.2, core schema): `no` is text, `2025-06-30` too, `null`, `true` and `1.5` are not."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for kind, pattern, first in (
    ("null", r"null|Null|NULL|~|", "nN~"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
):
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"^(?:{pattern})$"), list(first))

SOURCE = """\
name: orders
format: csv
location: "orders/*.csv"
zone: Asia/Kuala_Lumpur
key: [order_id]
version: recorded_at
event_time: ordered_at
known_time: recorded_at
grace: 2h
mutable: {settled_at: []}
columns:
  order_id: {type: string, required: true}
  customer_id: string
  ordered_at: timestamp
  recorded_at: timestamp
  settled_at: timestamp
  due_date: date
  shop: string
  amount: {type: money, minimum: 0}
rules:
  - {name: not_too_much, expr: amount < 1000}
"""
GROUP = """\
name: customer_orders
record_identifier: customer_id
spine: orders
inputs:
  - source: orders
    columns: {size: amount * 2}
    aggregates:
      - {name: order_count, op: count, windows: [7d, 2mo, mtd, life], by: {shop: [a, 1, other]}, lag: [0, 30], online: no}
      - {name: order_sum, op: sum, of: amount, where: "amount > 0"}
    states:
      - {name: open_count, op: count, from: ordered_at, until: settled_at, scoring: forbidden}
derived:
  - {name: order_share, expr: "ratio(order_count_7d, order_count_life)"}
examples:
  - as_of: 2025-06-30
    orders: [{customer_id: ann, ordered_at: 2025-06-30T01:00:00Z, amount: 120.10, shop: null}]
    expect: {ann: {order_count_7d: 1, order_sum: "120.10", order_share: null}}
"""


def says_yes(model: type[Spec], text: str) -> bool:
    return bool(VALIDATORS[model].is_valid(yaml.load(text, Yaml12)))


def loads(model: type[Spec], text: str) -> bool:
    """Whether the loader and the compiler take it."""
    try:
        file = parse_yaml(text, "x.yaml")
        loaded = load_model(model, file)
        if isinstance(loaded, FeatureGroup):
            source = load_model(Source, parse_yaml(SOURCE, "orders.yaml"))
            compile_groups(Catalogue({"orders": source}, {loaded.name: loaded}, {f"FeatureGroup:{loaded.name}": file}), "UTC")
    except DefinitionError:
        return False
    return True


def test_what_is_shipped_is_valid_and_names_its_schema():
    """conf/, examples/: each first line is the comment that editors look for, and it leads to the schema of its kind."""
    files = definition_files(ROOT)
    assert {file.parent.parent.relative_to(ROOT).as_posix() for file in files} == {
        "conf",
        "examples/superlender",
        "examples/uci_card",
    }
    for file in files:
        text = file.read_text()
        named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", text.splitlines()[0])
        assert named, f"{file}: no comment that names its schema; run make schema"
        model = MODELS[file.parent.name]
        assert (file.parent / named[1]).resolve() == ROOT / "conf/schemas" / f"{file.parent.name.removesuffix('s')}.json"
        problems = [
            f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in VALIDATORS[model].iter_errors(yaml.load(text, Yaml12))
        ]
        assert problems == [], file.name


def test_nothing_is_stale():
    """A model, an operation or a definition was changed without `make schema`."""
    assert stale_files(ROOT) == []


@pytest.mark.parametrize("model", MODELS.values())
def test_a_schema_is_one(model):
    jsonschema.Draft7Validator.check_schema(schema_of(model))


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("grace: 2h", "grace: 90m"),
        ("version: recorded_at", "version: null"),
        ("location:", "encoding: 1252\nlocation:"),
        ("required: true", "required: yes"),
        ("required: true", "required: off"),
        ("minimum: 0", "minimum: -0.50"),
        ("minimum: 0", 'minimum: "12.5"'),
        ("shop: string", "shop: {type: string, values: [1, true, b]}"),
        ("key: [order_id]", "key: [order_id, shop]"),
        ("event_time: ordered_at", "event_time: end_of_day(due_date)"),
        ("event_time: ordered_at", "event_time: {column: due_date, of_date: end_of_month}"),
        ("format: csv", "format: parquet"),
        ("name: orders", "name: 2025"),
    ],
)
def test_a_source_as_yaml_writes_it(written, instead):
    assert written in SOURCE
    assert (says_yes(Source, SOURCE.replace(written, instead)), loads(Source, SOURCE.replace(written, instead))) == (True, True)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("grace: 2h", "grace: soon"),
        ("grace: 2h", "grace: 2"),
        ("grace: 2h", "grce: 2h"),
        ("required: true", "required: maybe"),
        ("required: true", "required: null"),
        ("minimum: 0", "minimum: few"),
        ("minimum: 0", "minimun: 0"),
        ("shop: string", "shop: text"),
        ("shop: string", "shop: {values: [a]}"),
        ("shop: string", "shop: {type: string, personal: hide}"),
        ("key: [order_id]", "key: []"),
        ("key: [order_id]", "key: order_id"),
        ("event_time: ordered_at\n", ""),
        ("event_time: ordered_at", "event_time: noon(due_date)"),
        ("event_time: ordered_at", "event_time: end_of_day(due_date"),
        ("event_time: ordered_at", "event_time: {column: due_date, of_date: noon}"),
        ("format: csv", "format: xls"),
        ("format: csv", "format: CSV"),
        ("name: orders", "name: _orders"),
        ("name: orders", "name: write_time"),
        ("name: orders", f"name: {'o' * 65}"),
        ("name: orders", "name: true.false"),
        ("mutable: {settled_at: []}", "mutable: [settled_at]"),
        ("expr: amount < 1000", "expression: amount < 1000"),
    ],
)
def test_a_wrong_source(written, instead):
    assert written in SOURCE
    assert (says_yes(Source, SOURCE.replace(written, instead)), loads(Source, SOURCE.replace(written, instead))) == (False, False)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("name: customer_orders", "name: customer_orders"),
        ("spine: orders", "spine: orders\nschedule: monthly\nonline: off"),
        ("lag: [0, 30]", "lag: [0, '30']"),
        ("of: amount, ", "of: 1, "),
        ('where: "amount > 0"', "where: true"),
        ('where: "amount > 0"', "where: null"),
        ("op: count, from", "op: any, where: 'amount > 1', from"),
        ("op: sum, of: amount", "op: mode, of: shop"),
        ("ratio(order_count_7d, order_count_life)", "1"),
        ("    orders: [{customer_id", "    rows:\n      orders: [{customer_id"),
        ("amount: 120.10", "amount: null"),
    ],
)
def test_a_feature_group_as_yaml_writes_it(written, instead):
    assert written in GROUP
    text = GROUP.replace(written, instead)
    assert (says_yes(FeatureGroup, text), loads(FeatureGroup, text)) == (True, True)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("spine: orders\n", ""),
        ("spine: orders", "spine: orders\nschedule: hourly"),
        ("windows: [7d", "windows: [7w"),
        ("windows: [7d", "windows: [7"),
        ("windows: [7d", "windows: [0d"),
        ("windows: [7d, 2mo, mtd, life]", "windows: 7d"),
        ("windows: [7d", "window: [7d"),
        ("op: sum, of: amount", "op: summ, of: amount"),
        ("op: sum, of: amount", "op: sum"),
        ("op: count, from: ordered_at", "op: any, from: ordered_at"),
        ("from: ordered_at, ", ""),
        ("lag: [0, 30]", "lag: [soon]"),
        ("lag: [0, 30]", "lag: 30"),
        ("by: {shop: [a, 1, other]}", "by: shop"),
        ("online: no", "online: never"),
        ("scoring: forbidden", "scoring: no"),
        ("expr: ", "formula: "),
        ("as_of: 2025-06-30", "as_of: 30/06/2025"),
        ("as_of: 2025-06-30", "as_of: 2025"),
        ("    orders: [{customer_id", "    expected: {}\n    orders: [{customer_id"),
        ("expect: {ann: {order_count_7d: 1, order_sum: \"120.10\", order_share: null}}", "expect: [ann]"),
        ("    expect: {ann: {order_count_7d: 1, order_sum: \"120.10\", order_share: null}}\n", ""),
    ],
)  # fmt: skip
def test_a_wrong_feature_group(written, instead):
    assert written in GROUP
    text = GROUP.replace(written, instead)
    assert (says_yes(FeatureGroup, text), loads(FeatureGroup, text)) == (False, False)


def test_what_is_written_another_way_has_a_form_in_the_schema():
    """A validator that comes before the fields takes more than a mapping of them: the schema must say so, too."""
    models = [value for value in vars(specs).values() if isinstance(value, type) and issubclass(value, Spec)]
    before = {
        model
        for model in models
        if any(found.info.mode == "before" for found in model.__pydantic_decorators__.model_validators.values())
    }
    assert before == set(SHORT_FORMS)


def test_every_parameter_has_a_form_in_the_schema():
    read = {parameter.read for operation in OPERATIONS.values() for parameter in operation.parameters.values()}
    assert read <= set(READERS)


def test_a_field_says_what_its_docstring_says():
    aggregate = schema_of(FeatureGroup)["definitions"]["Aggregate"]["properties"]
    assert aggregate["at"]["description"] == "when a fact counts (default: its event time)"
    assert aggregate["from"]["description"] == aggregate["until"]["description"]
