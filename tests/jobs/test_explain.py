"""`etr explain` on a lake of a few rows, made without Spark: what counts, what doesn't and why, and a number that is wrong."""

from __future__ import annotations

import json
from datetime import date

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.catalogue import load_catalogue
from jobs.equal import same
from jobs.explain import main
from stores.lake import Lake
from stores.snapshots import DayWriter, Snapshot, SnapshotTable
from tests.jobs.test_features import folder
from transforms.answer import snapshot_schema
from transforms.curated import curated_table
from transforms.feature_group import compile_groups
from transforms.small import answer_rows

DAY = date(2025, 6, 30)
GROUP = "customer_bnpl"
PLAN = {"customer_id": "ann", "provider": "atome", "merchant_category": "fashion", "financed_amount": "10.00"}
APPROVED = {"decided_at": "2025-06-20T00:00:01Z", "decision": "approved"}
PAYMENT = {
    "instalment_id": "i",
    "customer_id": "ann",
    "attempted_at": "2025-06-25T01:00:00Z",
    "recorded_at": "2025-06-25T01:00:00Z",
}
ROWS = {
    "customers": [{"customer_id": "ann", "version": "1", "valid_from": "2024-01-01T00:00:00Z"}],
    "consents": [{"consent_id": "c", "customer_id": "ann", "purpose": "bureau", "given_at": "2024-01-01T00:00:00Z"}],
    "bnpl_plans": [
        PLAN | APPROVED | {"plan_id": "in", "created_at": "2025-06-20T00:00:00Z", "recorded_at": "2025-06-20T00:00:00Z"},
        PLAN | APPROVED | {"plan_id": "old", "created_at": "2025-05-20T00:00:00Z", "recorded_at": "2025-05-20T00:00:00Z"},
        PLAN | APPROVED | {"plan_id": "at T", "created_at": "2025-06-30T16:00:00Z", "recorded_at": "2025-06-30T16:00:00Z"},
        PLAN | APPROVED | {"plan_id": "late", "created_at": "2025-06-20T00:00:00Z", "recorded_at": "2025-07-01T00:00:00Z"},
        PLAN | {"plan_id": "declined", "created_at": "2025-06-20T00:00:00Z", "recorded_at": "2025-06-20T00:00:00Z",
                "decided_at": "2025-06-20T00:00:01Z", "decision": "declined"},
        PLAN | {"plan_id": "amended", "created_at": "2025-06-21T00:00:00Z", "recorded_at": "2025-06-21T00:00:00Z"},
        PLAN | APPROVED | {"plan_id": "amended", "created_at": "2025-06-21T00:00:00Z", "recorded_at": "2025-06-22T00:00:00Z"},
    ],
    "instalments": [
        {"instalment_id": "i", "plan_id": "in", "customer_id": "ann", "number": "1", "agreed_at": "2025-06-20T00:00:00Z",
         "recorded_at": "2025-06-20T00:00:00Z", "due_date": "2025-06-25", "due_amount": "10.00"},
    ],
    "payments": [
        PAYMENT | {"payment_id": "part", "outcome": "succeeded", "amount": "4.00"},
        PAYMENT | {"payment_id": "failed", "outcome": "failed", "amount": "6.00"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """Every ledger, and the snapshot of a day that the engine answers from them."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    catalogue = load_catalogue()
    compiled = compile_groups(catalogue, "Asia/Kuala_Lumpur")
    tables = {name: where_from(name, curated_table(source, ROWS.get(name, ()))) for name, source in catalogue.sources.items()}
    for name, table in tables.items():
        write_deltalake(lake.uri("curated", name), table)
    rows = answer_rows(compiled, [GROUP], tables, [DAY])[GROUP].drop_columns(["as_of"])
    _publish(lake, rows, snapshot_schema(compiled.groups[GROUP]), "1")
    return lake


def where_from(source: str, table: pa.Table) -> pa.Table:
    lines = range(2, len(table) + 2)
    told = {
        "_file": pa.array([f"{source}/{source}.jsonl" for _ in lines], pa.string()),
        "_line": pa.array(lines, pa.int64()),
        "_row_hash": pa.array([f"{line:064x}" for line in lines], pa.string()),
    }
    for name, column in told.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name).with_type(column.type), column)
    return table


def _publish(lake: Lake, rows: pa.Table, schema: pa.Schema, version: str) -> None:
    day = DAY.isoformat()
    with DayWriter(lake.storage, GROUP, {day: version}, schema) as writer:
        writer.write(day, rows)
        files = tuple(file for _, file in writer.close())
    SnapshotTable(lake.storage, GROUP).commit([Snapshot(GROUP, day, version, "d", {}, "run", files)], schema)


def explained(capsys, lake: Lake, feature: str, *more: str) -> tuple[int, dict, str]:
    code = main([GROUP, "ann", feature, "--as-of", DAY.isoformat(), "--lake", lake.uri(), *more])
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), out + err


def test_every_row_of_the_customer_has_a_verdict(capsys, lake):
    code, told, _ = explained(capsys, lake, "bnpl_amount_sum_30d", "--format", "json")
    assert (code, told["status"], told["value"], told["recomputed"], told["equal"]) == (0, "succeeded", "20.00", "20.00", True)
    verdicts = {(row["key"], row["line"]): row["reason"] for row in told["rows"]}
    assert verdicts == {
        ("in", 2): "",
        ("old", 3): "outside the window: 2025-05-20T00:00:00Z is before its start at 2025-05-31T16:00:00Z",
        ("at T", 4): "after the cut-off: it happened at 2025-06-30T16:00:00Z",
        ("late", 5): "not yet known: it became known at 2025-07-01T00:00:00Z, after the cut-off",
        ("declined", 6): "filtered: not decision = 'approved'",
        ("amended", 7): "amended by version 2025-06-22T00:00:00Z",
        ("amended", 8): "",
    }
    counted = next(row for row in told["rows"] if row["key"] == "in")
    assert (counted["file"], counted["row_hash"], counted["value"]) == ("bnpl_plans/bnpl_plans.jsonl", f"{2:064x}", "10.00")


def test_what_was_read_beside_a_row_is_told_with_it(capsys, lake, tmp_path):
    """The plan that an instalment is of, and the payment that pays it off in part; the one that failed doesn't."""
    page = tmp_path / "page.html"
    code, told, _ = explained(capsys, lake, "bnpl_outstanding_amount", "--format", "json", "--page", str(page))
    assert (code, told["value"], told["recomputed"]) == (0, "6.00", "6.00")
    (row,) = (row for row in told["rows"] if row["source"] == "instalments")
    assert [(one["source"], one["key"], one["file"], one["line"]) for one in row["beside"]] == [
        ("bnpl_plans", "in", "bnpl_plans/bnpl_plans.jsonl", 2),
        ("payments", "part", "payments/payments.jsonl", 2),
    ]
    assert "  with payments" in page.read_text() and "payments/payments.jsonl:2" in page.read_text()
    _, _, seen = explained(capsys, lake, "bnpl_outstanding_amount")
    assert "  with payments" in seen and "payments/payments.jsonl:2" in seen and "payments.jsonl:3" not in seen


def test_a_derived_number_is_told_step_by_step(capsys, lake):
    code, told, seen = explained(capsys, lake, "bnpl_approval_rate_30d")
    assert (code, told["equal"], told["value"]) == (0, True, pytest.approx(2 / 3))
    assert "rows" not in told  # they are in the tables above
    assert "bnpl_approved_count_30d = 2" in seen and "bnpl_decided_count_30d = 3" in seen


def test_a_page_names_the_raw_rows_and_needs_nothing_else(capsys, lake, tmp_path):
    page = tmp_path / "page.html"
    assert explained(capsys, lake, "bnpl_max_concurrent_plans_90d", "--page", str(page))[0] == 0
    text = page.read_text()
    assert "bnpl_plans/bnpl_plans.jsonl:2" in text and "<b>equal</b>" in text and "2025-06-21 to 2025-06-30: 3" in text
    assert "<script" not in text and "http" not in text


def test_a_number_that_is_not_what_the_rows_say_is_told_loudly(capsys, tmp_path, lake):
    """The rows of today say 20.00; the snapshot, of a version that someone else wrote, says 99.99."""
    other = Lake(tmp_path / "other")
    for name in load_catalogue().sources:
        write_deltalake(
            other.uri("curated", name), where_from(name, curated_table(load_catalogue().sources[name], ROWS.get(name, ())))
        )
    schema = snapshot_schema(compile_groups(load_catalogue(), "Asia/Kuala_Lumpur").groups[GROUP])
    row = {field.name: None for field in schema} | {
        "customer_id": "ann", "event_time": "2025-06-30T16:00:00Z", "time_zone": "Asia/Kuala_Lumpur", "has_history": True,
    }  # fmt: skip
    wrong = pa.Table.from_pylist([row], schema=schema)
    _publish(other, wrong, schema, "2")
    code, told, seen = explained(capsys, other, "bnpl_amount_sum_30d")
    assert (code, told["status"], told["equal"]) == (1, "failed", False)
    assert (
        "NOT EQUAL: customer_bnpl.bnpl_amount_sum_30d of 'ann' as of 2025-06-30 is None in snapshot 2 of run run, and 20.00"
        in seen
    )


@pytest.mark.parametrize(
    ("told", "made", "equal"),
    [
        (None, None, True),
        (None, 0, False),
        ("12.50", "12.50", True),
        (0.1 + 0.2, 0.3, True),
        ('{"a":0.30000000000000004}', '{"a":0.3}', True),
        ('{"a":0.3}', '{"b":0.3}', False),
        ("[1,2]", "[1,3]", False),
        ("true", True, True),
        ("7", 7, True),
        ("7", 8, False),
    ],
)
def test_equal_to_nine_digits(told, made, equal):
    assert same(told, made) is equal


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("customer_bnlp", "ann", "x"), "no feature group named 'customer_bnlp' (did you mean 'customer_bnpl'?)"),
        (
            (GROUP, "ann", "bnpl_plan_cuont_7d"),
            "customer_bnpl has no feature 'bnpl_plan_cuont_7d' (did you mean 'bnpl_plan_count_7d'?)",
        ),
        ((GROUP, "zoe", "bnpl_plan_count_7d"), "customer_bnpl as of 2025-06-30 has no row of customer_id 'zoe'"),
        ((GROUP, "ann", "bnpl_approved_count_30d"), "customer_bnpl: 'bnpl_approved_count_30d' is internal"),
    ],
)
def test_what_is_not_there_is_said(capsys, lake, words, message):
    assert main([*words, "--as-of", DAY.isoformat(), "--lake", lake.uri()]) != 0
    assert message in capsys.readouterr().err


def test_a_group_that_a_function_makes_can_not_be_explained(capsys, tmp_path):
    function = (
        "name: g\nrecord_identifier: customer_id\nfunction: json:loads\nreads: {sources: [orders]}\ncolumns: {n: integer}\n"
    )
    assert main(["g", "ann", "n", "--conf", str(folder(tmp_path, function)), "--lake", str(tmp_path / "lake")]) == 2
    assert capsys.readouterr().err == ("g is made by the Python function json:loads; its inputs can be explained, it can't\n")
