"""Definitions that are wrong: the message names the file, the line, the value as written and what would have worked."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.catalogue import load_catalogue
from conf.errors import DefinitionError, UsageError

SOURCE = """\
name: orders
format: csv
location: "orders/*.csv"
key: [order_id]
event_time: ordered_at
columns:
  order_id: {type: string, required: true}
  customer_id: string
  ordered_at: timestamp
  amount: money
"""
GROUP = """\
name: customer_orders
record_identifier: customer_id
spine: orders
inputs:
  - source: orders
    aggregates:
      - {name: order_count, op: count, windows: [7d, 30d]}
"""


def folder(tmp_path: Path, source: str = SOURCE, group: str = GROUP) -> Path:
    for name, text in (("sources/orders.yaml", source), ("feature_groups/customer_orders.yaml", group)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_definitions_are_found_by_name(tmp_path):
    catalogue = load_catalogue(folder(tmp_path))
    assert [group.name for group in catalogue.select(None)] == ["customer_orders"]
    assert str(catalogue.group("customer_orders").inputs[0].aggregates[0].windows[1]) == "30d"
    assert catalogue.source("orders").columns["customer_id"].type == "string"


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("windows: [7d, 30d]", "windws: [7d]", "customer_orders.yaml:7: unknown key 'windws' (did you mean 'windows'?); known: name, description,"
         " online, internal, scoring, op, of, where, windows, by, lag, at, from, until, ahead, with, weight, newest_per"),
        ("windows: [7d, 30d]", "windows: [7w]", "customer_orders.yaml:7: window '7w' is not a length of time; write a whole number and a unit"
         " (d or mo), such as '30d' or '6mo', or 'mtd' or 'life'"),
        ("spine: orders", "spine: order", "customer_orders.yaml:3: no source named 'order' (did you mean 'orders'?); known: orders"),
        ("- source: orders", "- source: ordrs", "customer_orders.yaml:5: no source named 'ordrs' (did you mean 'orders'?); known: orders"),
        ("- source: orders", "- source: orders\n    parent: {source: ordrs, columns: {a: amount}}", "customer_orders.yaml:6: no source named 'ordrs'"
         " (did you mean 'orders'?); known: orders"),
        ("- source: orders", "- source: orders\n    settled_by: {source: ordrs, on: {order_id: order_id}, amount: amount, due: amount}",
         "customer_orders.yaml:6: no source named 'ordrs' (did you mean 'orders'?); known: orders"),
        ("record_identifier: customer_id", "record_identifier: client_id", "customer_orders.yaml:2: spine 'orders' has no column 'client_id';"
         " columns: order_id, customer_id, ordered_at, amount"),
        ("spine: orders\n", "", "customer_orders.yaml:1: 'spine' is missing: the source whose entities get a row"),
        ("name: customer_orders", "name: _orders", "customer_orders.yaml:1: '_orders' is not a name SageMaker takes: letters, digits, '-' and"
         " '_', a letter or digit at both ends"),
        ("spine: orders", "spine: orders\nspine: orders", "customer_orders.yaml:4: 'spine' is written twice"),
        ("spine: orders", "spine: [orders", "customer_orders.yaml:4: not YAML: expected ',' or ']', but got ':'"),
    ],
)  # fmt: skip
def test_a_wrong_feature_group(tmp_path, written, instead, message):
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(folder(tmp_path, group=GROUP.replace(written, instead)))
    assert str(problem.value) == message


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("key: [order_id]", "key: [id]", "orders.yaml:1: no column named 'id'; columns: order_id, customer_id, ordered_at, amount"),
        ("amount: money", "amount: monney", "orders.yaml:10: 'monney' is not one of 'string', 'integer', 'number', 'money', 'boolean',"
         " 'date' or 'timestamp'"),
        ("event_time: ordered_at", "event_time: amount", "orders.yaml:1: 'amount' must be a timestamp to serve as a time of 'orders'"),
        ("event_time: ordered_at", "event_time: midnight(ordered_at)", "orders.yaml:5: 'midnight(ordered_at)' is not a time: name a timestamp"
         " column, or end_of_day(<date column>)"),
        ("format: csv", "format: csv\nzone: Asia/Kuala_Lumpr", "orders.yaml:3: 'Asia/Kuala_Lumpr' is not an IANA time zone, such as"
         " 'Asia/Kuala_Lumpur' or 'UTC'"),
        ("format: csv", "format: xls", "orders.yaml:2: 'xls' is not one of 'csv', 'jsonl', 'parquet', 'delta' or 'set_aside'"),
        ('location: "orders/*.csv"\n', "", "orders.yaml:1: 'location' is missing: where its files lie, a glob below the raw root"),
        ("  amount: money", "  amount: money\nrules:\n  - {name: some, expr: amont > 0}", "orders.yaml:12: no column named 'amont' (did you mean"
         " 'amount'?); columns: order_id, customer_id, ordered_at, amount"),
        ("  amount: money", "  amount: money\nrules:\n  - {name: some, expr: amount}", "orders.yaml:12: 'amount' is money, a condition must be"
         " boolean"),
        ("format: csv", "format: csv\ngrace: soon", "orders.yaml:3: 'soon' is not a duration; write a whole number and m, h or d, such as"
         " '36h'"),
    ],
)  # fmt: skip
def test_a_wrong_source(tmp_path, written, instead, message):
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(folder(tmp_path, source=SOURCE.replace(written, instead)))
    assert str(problem.value) == message


ASIDE = """\
name: aside
format: set_aside
key: [row_id]
event_time: event_time
known_time: known_time
columns:
  row_id: string
  source: string
  kind: string
  rule: string
  event_time: timestamp
  known_time: timestamp
  customer_id: string
"""


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("format: set_aside", "format: set_aside\nlocation: a.csv", "aside.yaml:1: `location` goes with files that are delivered; curate"
         " writes the rows of `format: set_aside`"),
        ("format: set_aside", "format: set_aside\nversion: kind", "aside.yaml:1: `version` goes with files that are delivered; curate"
         " writes the rows of `format: set_aside`"),
        ("  rule: string\n", "", "aside.yaml:1: `format: set_aside` has these columns, which curate fills: row_id: string, source: string,"
         " kind: string, rule: string, event_time: timestamp, known_time: timestamp"),
        ("rule: string", "rule: integer", "aside.yaml:1: `format: set_aside` has these columns, which curate fills: row_id: string, source:"
         " string, kind: string, rule: string, event_time: timestamp, known_time: timestamp"),
        ("key: [row_id]", "key: [source, row_id]", "aside.yaml:1: `format: set_aside` has `key: [row_id]`, `event_time: event_time` and"
         " `known_time: known_time`"),
        ("known_time: known_time\n", "", "aside.yaml:1: `format: set_aside` has `key: [row_id]`, `event_time: event_time` and"
         " `known_time: known_time`"),
        ("customer_id: string", "customer_id: {type: string, personal: hmac}", "aside.yaml:1: 'customer_id': `personal` is said by the"
         " sources that the rows come from"),
        ("customer_id: string", "customer_id: integer", "aside.yaml:13: 'customer_id' is integer here and string in 'orders': a column is"
         " taken over as it is"),
    ],
)  # fmt: skip
def test_a_wrong_ledger_of_rows_set_aside(tmp_path, written, instead, message):
    assert written in ASIDE
    (folder(tmp_path) / "sources" / "aside.yaml").write_text(ASIDE.replace(written, instead))
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(tmp_path)
    assert str(problem.value) == message


def test_there_is_one_ledger_of_rows_set_aside_and_it_takes_over_what_sources_keep(tmp_path):
    """A keyed hash is text whatever it is made of, and what is dropped has no type."""
    source = SOURCE.replace("customer_id: string", "customer_id: {type: integer, personal: hmac}")
    where = folder(tmp_path, source=source) / "sources"
    (where / "aside.yaml").write_text(ASIDE)
    (where / "visits.yaml").write_text(
        SOURCE.replace("orders", "visits").replace("customer_id: string", "customer_id: {type: date, personal: drop}")
    )
    ledger = load_catalogue(tmp_path).source("aside")
    assert (ledger.carried, ledger.is_delivered) == (("customer_id",), False)
    (where / "besides.yaml").write_text(ASIDE.replace("name: aside", "name: besides"))
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(tmp_path)
    assert str(problem.value) == "besides.yaml:2: 'aside' has `format: set_aside` too; one source can have it"


def test_all_problems_of_a_file_are_told_at_once(tmp_path):
    group = GROUP.replace("7d, 30d", "7w, 30x").replace("spine", "spin")
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(folder(tmp_path, group=group))
    assert len(str(problem.value).splitlines()) == 3


def test_all_problems_of_all_files_are_told_at_once(tmp_path):
    """A group that names a source which didn't load isn't told that the source is missing."""
    where = folder(tmp_path, source=SOURCE.replace("format: csv", "format: xls"), group=GROUP.replace("windows", "windws"))
    (where / "feature_groups" / "more.yaml").write_text("name: more\n")
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(where)
    assert [line.split(": ")[0] for line in str(problem.value).splitlines()] == [
        "orders.yaml:2", "customer_orders.yaml:7", "more.yaml:1",
    ]  # fmt: skip
    folder(tmp_path, source=SOURCE + "references: {customer_id: people}\n", group=GROUP.replace("spine: orders", "spine: others"))
    (where / "feature_groups" / "more.yaml").unlink()
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(where)
    assert [line.split(": ")[0] for line in str(problem.value).splitlines()] == ["orders.yaml:11", "customer_orders.yaml:3"]


def test_a_folder_without_definitions(tmp_path):
    with pytest.raises(UsageError) as problem:
        load_catalogue(tmp_path)
    assert str(problem.value) == f"--conf {tmp_path}: no definitions; it should hold sources/*.yaml and feature_groups/*.yaml"
    with pytest.raises(UsageError) as problem:
        load_catalogue(tmp_path / "nowhere")
    assert "no such folder" in str(problem.value)


def test_an_unknown_name(tmp_path):
    catalogue = load_catalogue(folder(tmp_path))
    with pytest.raises(UsageError) as problem:
        catalogue.group("customer_order")
    assert (
        str(problem.value) == "no feature group named 'customer_order' (did you mean 'customer_orders'?); known: customer_orders"
    )


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        (
            "sources: [orders]",
            "sources: [ordrs]",
            "customer_orders.yaml:4: no source named 'ordrs' (did you mean 'orders'?); known: orders",
        ),
        ("groups: []", "groups: [customer_order]", "customer_orders.yaml:4: no feature group named 'customer_order'; known: "),
    ],
)
def test_what_a_function_reads_must_be_there(tmp_path, written, instead, message):
    group = """\
name: customer_orders
record_identifier: customer_id
function: a.b:c
reads: {sources: [orders], groups: []}
columns: {n: integer}
"""
    assert written in group
    with pytest.raises(DefinitionError) as problem:
        load_catalogue(folder(tmp_path, group=group.replace(written, instead)))
    assert str(problem.value) == message


def test_scalars_stay_as_written(tmp_path):
    source = SOURCE.replace("columns:", "null_values: [no, '', 120.10]\ncolumns:")
    assert load_catalogue(folder(tmp_path, source=source)).source("orders").null_values == ("no", "", "120.10")


def test_the_shipped_definitions_load():
    assert {"customer_credit", "account_conduct", "customer_bnpl", "customer_payment"} <= set(load_catalogue().groups)
