"""The JSON Schemas of definitions: as strict as the loader, on what is shipped and on what is wrong; never stale."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import yaml

from conf import specs, training_sets
from conf.catalogue import Catalogue
from conf.errors import DefinitionError
from conf.specs import FeatureGroup, Source, Spec, UnionSource
from conf.training_sets import TrainingSet
from conf.yaml_file import load_model, parse_yaml
from transforms.feature_group import compile_groups
from transforms.operations import OPERATIONS
from transforms.schemas import MODELS, READERS, RULES, SHORT_FORMS, definition_files, schema_of, stale_files

ROOT = Path(__file__).parents[2]
VALIDATORS = {folder: jsonschema.Draft7Validator(schema_of(folder)) for folder in MODELS}


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
UNION = """\
name: all_orders
union_of:
  orders: {amount: amount, shop: "'web'"}
  returns: {amount: 0 - amount}
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
UNION = """\
name: all_orders
union_of:
  orders: {amount: amount, shop: "'web'"}
  returns: {amount: 0 - amount}
"""
FUNCTION = """\
name: order_quality
record_identifier: customer_id
function: quality.orders:score
reads: {sources: [orders]}
columns: {quality: integer, verdict: {type: string, description: In words, scoring: forbidden}}
"""
ROLLUP = """\
name: shop_orders
record_identifier: shop
rollup:
  members:
    - {group: customer_orders, entity: shop, beside: {customer_credit: customer_id}, columns: {owed: cust_owed, one: 1}}
  columns:
    - {name: customers, op: count, scoring: forbidden}
    - {name: owed_share, op: share, of: owed > 100, where: one = 1, online: no, description: Who owes}
"""
TRAINING_SET = """\
name: order_default
record_identifier: customer_id
features:
  customer_orders: [order_count_7d]
  customer_credit: {all_but: [cust_total_limit]}
  customer_bnpl: all
days_before: 2
labels: {entity: customer, time: seen_at, targets: {bad: boolean}, carry: {weight: number}, null_values: [-999, none]}
target:
  horizon: 12mo
  settling: 14d
  inputs:
    - source: orders
      aggregates: [{name: bad, op: any, where: "amount < 0"}]
spine: {every: 1mo, from: 2024-01-31, to: 2024-12-31}
"""
EXPR = 'expr: "ratio(order_count_7d, order_count_life)"'
ROWS = "orders: [{customer_id: ann, ordered_at: 2025-06-30T01:00:00Z, amount: 120.10, shop: null}]"
EXPECT = 'expect: {ann: {order_count_7d: 1, order_sum: "120.10", order_share: null}}'
SCORE = "score: {base: 500, minimum: 0, maximum: 1000, parts: [{of: open_count, bands: [{below: 0.5, points: -200}, {points: 100}], missing: 0}]}"
DAILY = "    daily:\n      - {name: open_avg, value: sum(amount), op: mean, windows: [30d], every: month_end, within: 1mo, days_where: value > 0}\nderived:"


def says_yes(model: type[Spec], text: str) -> bool:
    folder = next(folder for folder, models in MODELS.items() if model in models)
    return bool(VALIDATORS[folder].is_valid(yaml.load(text, Yaml12)))


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
        assert (file.parent / named[1]).resolve() == ROOT / "conf/schemas" / f"{file.parent.name.removesuffix('s')}.json"
        problems = [
            f"{'/'.join(map(str, e.absolute_path))}: {e.message}"
            for e in VALIDATORS[file.parent.name].iter_errors(yaml.load(text, Yaml12))
        ]
        assert problems == [], file.name


def test_nothing_is_stale():
    """A model, an operation or a definition was changed without `make schema`."""
    assert stale_files(ROOT) == []


@pytest.mark.parametrize("folder", MODELS)
def test_a_schema_is_one(folder):
    jsonschema.Draft7Validator.check_schema(schema_of(folder))


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
        ("as_of: 2025-06-30", "as_of: 2025-06-30\n    description: A note"),
        (EXPECT, "expect: {ann: {order_count_7d: [1, null], order_sum: {a: 1.5}}, bob: null}"),
        (
            f"as_of: 2025-06-30\n    {ROWS}\n    {EXPECT}",
            f"days: {{2025-06-30: {{ann: {{order_sum: 1}}}}, 2025-07-01: {{ann: null}}}}\n    {ROWS}",
        ),
        ("by: {shop: [a, 1, other]}", "by: {shop: map}"),
        ("op: sum, of: amount", "op: mean, of: amount, weight: amount"),
        ("op: sum, of: amount", "op: percentile, of: amount, with: {q: 50}"),
        ("op: sum, of: amount", 'op: percentile, of: amount, with: {q: "99.9"}'),
        ("op: sum, of: amount", "op: last_n, of: amount, with: {n: 3}"),
        ("op: sum, of: amount", 'op: decayed_sum, of: amount, with: {half_life: "30d"}'),
        ("op: sum, of: amount", "op: decayed_sum, of: amount, with: {half_life: 0.5}"),
        ("op: sum, of: amount", 'op: histogram, of: amount, with: {edges: "0, 30, 60"}'),
        ("op: sum, of: amount", "op: sum, of: amount, newest_per: shop"),
        ("derived:", DAILY),
        (EXPR, "segment: [{name: many, when: open_count > 3}, {name: few}]"),
        (EXPR, "one_hot: order_count_7d, values: [1, 2, other]"),
        (EXPR, "label: order_count_7d, values: [1, 2]"),
        (EXPR, SCORE),
    ],
)
def test_a_feature_group_as_yaml_writes_it(written, instead):
    assert written in GROUP
    text = GROUP.replace(written, instead)
    assert (says_yes(FeatureGroup, text), loads(FeatureGroup, text)) == (True, True)


def test_a_union_and_groups_that_a_function_or_a_rollup_makes():
    assert (says_yes(UnionSource, UNION), says_yes(FeatureGroup, FUNCTION), says_yes(FeatureGroup, ROLLUP)) == (True, True, True)
    load_model(FeatureGroup, parse_yaml(ROLLUP, "x.yaml"))
    load_model(UnionSource, parse_yaml(UNION, "x.yaml"))
    load_model(FeatureGroup, parse_yaml(FUNCTION, "x.yaml"))


SPINE = "spine: {every: 1mo, from: 2024-01-31, to: 2024-12-31}\n"


@pytest.mark.parametrize(
    ("written", "instead", "right"),
    [
        ("[order_count_7d]", "all", True),
        ("[order_count_7d]", "{only: [order_count_7d]}", True),
        (SPINE, "", True),
        ("days_before: 2", "days_before: '3'", True),
        ("days_before: 2\n", "grain: day\n", True),
        (SPINE, "", True),
        ("[order_count_7d]", "every", False),
        ("[order_count_7d]", "[]", False),
        ("[order_count_7d]", "{only: [a], all_but: [b]}", False),
        ("[order_count_7d]", "{without: [b]}", False),
        ("days_before: 2", "days_before: 0", False),
        ("days_before: 2", "days_before: -1", False),
        ("days_before: 2", "grain: event", False),
        ("days_before: 2", "grain: hour", False),
        ("horizon: 12mo", "horizon: life", False),
        ("settling: 14d", "settling: 14", False),
        ("targets: {bad: boolean}", "targets: {bad: flag}", False),
        ("every: 1mo", "every: month", False),
        ("from: 2024-01-31", "from: Jan 2024", False),
        ("features:", "feature:", False),
        ("  inputs:", "  input:", False),
        (TRAINING_SET[TRAINING_SET.index("target:\n") : TRAINING_SET.index("spine:")], "", False),
    ],
)
def test_a_training_set(written, instead, right):
    assert written in TRAINING_SET
    text = TRAINING_SET.replace(written, instead)
    assert (says_yes(TrainingSet, text), loads(TrainingSet, text)) == (right, right)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (UnionSource, UNION.replace("  returns: {amount: 0 - amount}\n", "")),
        (UnionSource, UNION + "key: [order_id]\n"),
        (UnionSource, UNION.replace("union_of", "union")),
        (FeatureGroup, FUNCTION.replace("reads: {sources: [orders]}\n", "")),
        (FeatureGroup, FUNCTION.replace("{sources: [orders]}", "{}")),
        (FeatureGroup, FUNCTION.replace("columns", "derived")),
        (FeatureGroup, FUNCTION + "spine: orders\n"),
        (FeatureGroup, FUNCTION.replace("integer", "int")),
        (FeatureGroup, FUNCTION.replace("function: quality.orders:score", "spine: orders")),
        (FeatureGroup, FUNCTION + ROLLUP[ROLLUP.index("rollup:") :]),
        (FeatureGroup, ROLLUP + "spine: orders\n"),
        (FeatureGroup, ROLLUP + "columns: {a: integer}\n"),
        (FeatureGroup, ROLLUP.replace("op: count", "op: last_n")),
        (FeatureGroup, ROLLUP.replace(", of: owed > 100", "")),
        (FeatureGroup, ROLLUP.replace("entity: shop, ", "")),
        (FeatureGroup, ROLLUP.replace("beside", "with")),
        (FeatureGroup, ROLLUP[: ROLLUP.index("  columns:\n")]),
    ],
)
def test_a_wrong_union_function_or_rollup(model, text):
    assert not says_yes(model, text)
    with pytest.raises(DefinitionError):
        load_model(model, parse_yaml(text, "x.yaml"))
    with pytest.raises(DefinitionError):
        load_model(model, parse_yaml(text, "x.yaml"))


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
        ("by: {shop: [a, 1, other]}", "by: {shop: all}"),
        ("by: {shop: [a, 1, other]}", "by: {shop: [a, a]}"),
        ("by: {shop: [a, 1, other]}", "by: {shop: []}"),
        ("by: {shop: [a, 1, other]}", "by: {shop: [a], customer_id: [b]}"),
        ("op: sum, of: amount", "op: sum, of: amount, weight: amount"),
        ("op: sum, of: amount", "op: sum, of: amount, with: {n: 3}"),
        ("op: sum, of: amount", "op: percentile, of: amount"),
        ("op: sum, of: amount", "op: percentile, of: amount, with: {q: 101}"),
        ("op: sum, of: amount", "op: percentile, of: amount, with: {p: 50}"),
        ("op: sum, of: amount", "op: last_n, of: amount, with: {n: 0}"),
        ("op: sum, of: amount", "op: last_n, of: amount, with: {n: few}"),
        ("op: sum, of: amount", "op: histogram, of: amount, with: {edges: [0, 30]}"),
        ("derived:", DAILY.replace("month_end", "month")),
        ("derived:", DAILY.replace("within: 1mo", "within: 1")),
        ("derived:", DAILY.replace("value: sum(amount), ", "")),
        (EXPR, EXPR + ", label: open_count"),
        (EXPR, EXPR + ", values: [a]"),
        (EXPR, "segment: []"),
        (EXPR, "segment: [{when: open_count > 3}]"),
        (EXPR, "label: open_count"),
        (EXPR, "label: open_count, values: [1, 1]"),
        (EXPR, "description: none"),
        (EXPR, SCORE.replace("base: 500, ", "")),
        (EXPR, SCORE.replace("below", "under")),
        ("as_of: 2025-06-30", "as_of: 30/06/2025"),
        ("as_of: 2025-06-30", "as_of: 2025"),
        ("as_of: 2025-06-30\n", "description: no day\n"),
        (EXPECT, "expect: {}"),
        (EXPECT, "expect: {ann: {order_sum: [[1]]}}"),
        (EXPECT, EXPECT + "\n    days: {2025-06-30: {ann: null}}"),
        (f"as_of: 2025-06-30\n    {ROWS}\n    {EXPECT}", f"days: {{June: {{ann: null}}}}\n    {ROWS}"),
        (f"as_of: 2025-06-30\n    {ROWS}\n    {EXPECT}", f"days: {{}}\n    {ROWS}"),
        ("    orders: [{customer_id", "    expected: {}\n    orders: [{customer_id"),
        (EXPECT, "expect: [ann]"),
        (f"    {EXPECT}\n", ""),
    ],
)  # fmt: skip
def test_a_wrong_feature_group(written, instead):
    assert written in GROUP
    text = GROUP.replace(written, instead)
    assert (says_yes(FeatureGroup, text), loads(FeatureGroup, text)) == (False, False)


# Models of which a validator says what a schema can't: columns that exist, bands that ascend, a range that is one.
BEYOND_A_SCHEMA = {specs.Source, specs.ScorePart, specs.Score, specs.Derived}


def with_validator(mode: str) -> set[type[Spec]]:
    values = (*vars(specs).values(), *vars(training_sets).values())
    models = [value for value in values if isinstance(value, type) and issubclass(value, Spec)]
    found = {model: model.__pydantic_decorators__.model_validators.values() for model in models}
    return {model for model, validators in found.items() if any(validator.info.mode == mode for validator in validators)}


def test_what_the_validators_of_models_say_is_in_the_schema():
    """One that comes before takes more than a mapping of the fields; one that comes after refuses some."""
    assert with_validator("before") == set(SHORT_FORMS)
    assert with_validator("after") <= set(RULES) | BEYOND_A_SCHEMA


def test_every_parameter_has_a_form_in_the_schema():
    read = {parameter.read for operation in OPERATIONS.values() for parameter in operation.parameters.values()}
    assert read <= set(READERS)


def test_a_field_says_what_its_docstring_says():
    aggregate = schema_of("feature_groups")["definitions"]["Aggregate"]["properties"]
    assert aggregate["at"]["description"] == "when a fact counts (default: its event time)"
    assert aggregate["from"]["description"] == aggregate["until"]["description"]
