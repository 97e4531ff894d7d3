"""`etr explain` of a rolled-up number: its members and why others don't count, and what they say made again from raw rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.catalogue import load_catalogue
from jobs import explanation_text
from jobs.explain import main
from jobs.explained_rollup import Members
from stores.lake import Lake
from stores.snapshots import DayWriter, Snapshot, SnapshotTable
from tests.jobs.test_explain import where_from
from transforms.answer import snapshot_schema
from transforms.by_hand.rollups import Member, Read, RolledUp
from transforms.curated import curated_table
from transforms.feature_group import compile_groups
from transforms.rollups import roll_up
from transforms.small import answer_rows

DAY = date(2025, 6, 30)
ZONE = "Asia/Kuala_Lumpur"
GROUP = "portfolio_regulatory"
CATALOGUE = load_catalogue()
COMPILED = compile_groups(CATALOGUE, ZONE)
READ = COMPILED.rollups[GROUP].groups
WHEN = {"recorded_at": "2025-01-01T00:00:00Z"}
ACCOUNT = WHEN | {"version": "1", "lender": "cimb", "product_type": "personal_loan", "opened_at": "2025-01-01T00:00:00Z"}
DUE = {"number": "1", "agreed_at": "2025-01-01T00:00:00Z", "due_amount": "100.00"} | WHEN
ROWS: dict[str, list[dict[str, Any]]] = {
    "customers": [
        {"customer_id": name, "version": "1", "valid_from": "2025-01-01T00:00:00Z", "declared_income_monthly": "1000"} | WHEN
        for name in ("ann", "bob")
    ],
    "accounts": [
        ACCOUNT | {"account_id": "a", "customer_id": "ann"},
        ACCOUNT | {"account_id": "b", "customer_id": "bob"},
        ACCOUNT | {"account_id": "c", "customer_id": "zoe"},  # of whom nothing is known
        ACCOUNT | {"account_id": "shut", "customer_id": "ann", "closed_at": "2025-06-01T00:00:00Z"},
        ACCOUNT | {"account_id": "other", "customer_id": "ann", "lender": "rhb"},
    ],
    "instalments": [
        DUE
        | {
            "instalment_id": "i",
            "account_id": "a",
            "customer_id": "ann",
            "due_date": "2025-05-15",
        },  # 46 days past due, 16 before
        DUE | {"instalment_id": "j", "account_id": "b", "customer_id": "bob", "due_date": "2025-04-15"},  # 76, 46 before
        DUE | {"instalment_id": "k", "account_id": "a", "customer_id": "ann", "due_date": "2025-07-15", "due_amount": "700.00"},
    ],
    "balances": [{"account_id": "a", "day": "2025-06-29", "balance": "100.00"} | WHEN],
}


def publish(lake: Lake, group: str, rows: pa.Table, groups: Iterable[str] = (), version: str = "1") -> None:
    day, schema = DAY.isoformat(), snapshot_schema(COMPILED.group(group))
    with DayWriter(lake.storage, group, {day: version}, schema) as writer:
        writer.write(day, rows)
        files = tuple(file for _, file in writer.close())
    made = Snapshot(group, day, version, "d", {}, "run", files, groups=dict.fromkeys(groups, "1"))
    SnapshotTable(lake.storage, group).commit([made], schema)


def made(lake: Lake, rows: dict[str, list[dict[str, Any]]], **instead: dict[str, Any]) -> Lake:
    """A lake with the ledgers and the day's snapshots; `instead`: what the snapshot of the accounts says of one, whatever the ledgers do."""
    tables = {name: where_from(name, curated_table(source, rows.get(name, ()))) for name, source in CATALOGUE.sources.items()}
    for name, table in tables.items():
        write_deltalake(lake.uri("curated", name), table)
    answered = {name: table.drop_columns(["as_of"]) for name, table in answer_rows(COMPILED, READ, tables, [DAY]).items()}
    accounts = answered["account_regulatory"]
    told = [row | instead.get(row["account_id"], {}) for row in accounts.to_pylist()]
    answered["account_regulatory"] = pa.Table.from_pylist(told, schema=accounts.schema)
    for name, table in answered.items():
        publish(lake, name, table)
    publish(lake, GROUP, roll_up(COMPILED.rollups[GROUP], answered, day=DAY, zone=ZONE), READ)
    return lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return made(Lake(tmp_path_factory.mktemp("lake")), ROWS)


def explained(capsys, lake: Lake, feature: str, *more: str) -> tuple[int, dict[str, Any], str, str]:
    """Exit code, the summary, what is printed, stderr."""
    code = main([GROUP, "cimb:personal_loan", feature, "--as-of", DAY.isoformat(), "--lake", lake.uri(), *more])
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), out, err


def test_a_share_is_made_again_from_its_members(capsys, lake):
    code, told, _, err = explained(capsys, lake, "portfolio_roll_to_30_rate", "--format", "json")
    assert (code, err, told["status"], told["value"], told["recomputed"], told["equal"]) == (0, "", "succeeded", 0.5, 0.5, True)
    assert [(row["identifier"], row["value"], row["reason"], row["said"]) for row in told["rows"]] == [
        ("a", True, "", {"past_due_before": 16, "past_due": 46}),
        ("c", False, "", {"past_due_before": 0, "past_due": 0}),
        ("b", None, "filtered: not past_due_before < 30", {"past_due_before": 46, "past_due": 76}),
    ]
    assert (told["members"], told["left_out"], told["members_made_again"]) == (3, 0, {"members": 3, "values": 9, "differ": 0})
    first = told["rows"][0]
    assert first["look_further"] == "etr explain account_regulatory a reg_days_past_due --as-of 2025-06-30"
    assert first["read"][-1] == {
        "group": "account_regulatory", "identifier": "a", "column": "reg_days_past_due", "value": 46, "recomputed": 46, "equal": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("feature", "value", "verdicts"),
    [
        ("portfolio_count", 3, {"a": "", "b": "", "c": ""}),
        ("portfolio_exposure", "100.00", {"a": "", "b": "of no use: exposure is null", "c": "of no use: exposure is null"}),
        ("portfolio_90_plus_rate", 0.0, {"a": "", "b": "", "c": ""}),
        ("portfolio_stage_2_share", pytest.approx(2 / 3), {"a": "", "b": "", "c": ""}),
        ("portfolio_roll_to_60_rate", 1.0, {"b": "", "a": "filtered: not past_due_before between 30 and 59",
                                            "c": "filtered: not past_due_before between 30 and 59"}),
        ("portfolio_roll_to_90_rate", None, dict.fromkeys("abc", "filtered: not past_due_before between 60 and 89")),
        ("portfolio_affordability_fail_share", 0.5, {"a": "", "b": "", "c": "filtered: not passes is not null"}),
    ],
)  # fmt: skip
def test_every_kind_of_number(capsys, lake, feature, value, verdicts):
    code, told, _, err = explained(capsys, lake, feature, "--format", "json")
    assert (code, err, told["value"], told["recomputed"]) == (0, "", value, value)
    assert {row["identifier"]: row["reason"] for row in told["rows"]} == verdicts


def test_a_row_beside_a_member_is_made_again_too(capsys, lake):
    """What falls due to ann in 30 days is 70 % of her income; of zoe there is no row."""
    _, told, _, _ = explained(capsys, lake, "portfolio_affordability_fail_share", "--format", "json")
    read = {row["identifier"]: row["read"][-1] for row in told["rows"]}
    assert read["a"] == {
        "group": "customer_regulatory", "identifier": "ann", "column": "reg_affordability_pass_flag", "value": False, "recomputed": False,
        "equal": True,
    }  # fmt: skip
    assert read["c"]["column"] == "reg_portfolio"
    assert told["rows"][0]["look_further"] == "etr explain customer_regulatory ann reg_affordability_pass_flag --as-of 2025-06-30"


def test_the_members_are_shown_to_a_person(capsys, lake, tmp_path):
    page = tmp_path / "page.html"
    code, told, seen, _ = explained(capsys, lake, "portfolio_roll_to_30_rate", "--page", str(page))
    assert (code, "rows" in told) == (0, False)  # they are in the tables above
    for text in (seen, page.read_text()):
        for said in (
            "share(past_due &gt;= 30, where past_due_before &lt; 30) of members"
            if text is not seen
            else "share(past_due >= 30, where",
            "members that count, true (1 of 3)",
            "members that count, false (1 of 3)",
            "made again from raw rows, of 3 members, the 9 values of snapshots behind them: all equal",
            "etr explain account_regulatory a reg_days_past_due --as-of 2025-06-30",
        ):
            assert said in text
    assert "members that don't count, filtered: not past_due_before < 30 (1 of 3)" in seen


def test_of_many_members_the_first_are_shown(capsys, lake, monkeypatch):
    monkeypatch.setattr(explanation_text, "MEMBERS", 1)
    monkeypatch.setattr("jobs.explain.MEMBERS_TOLD", 2)
    monkeypatch.setattr("jobs.explained_rollup.MADE_AGAIN", 2)
    _, _, seen, _ = explained(capsys, lake, "portfolio_count")
    assert "  and 2 more\n" in seen and "of 2 members, the 2 values" in seen
    _, told, _, _ = explained(capsys, lake, "portfolio_count", "--format", "json")
    assert (told["members"], len(told["rows"]), told["left_out"], told["counts"]) == (3, 2, 1, {"rows": 3, "counted": 3})


def test_a_member_that_its_raw_rows_do_not_bear_out_is_told_loudly(capsys, tmp_path):
    """The snapshot of the accounts says of `c` what no ledger does; the number agrees with the snapshot."""
    wrong = made(Lake(tmp_path / "wrong"), ROWS, c={"reg_days_past_due": 95})
    code, told, seen, err = explained(capsys, wrong, "portfolio_30_plus_rate")
    assert (code, told["status"], told["value"], told["recomputed"], told["equal"]) == (1, "failed", 1.0, 1.0, True)
    assert told["members_made_again"] == {"members": 3, "values": 6, "differ": 1}
    assert err == (
        "NOT EQUAL: account_regulatory.reg_days_past_due of 'c', of a member, is 95 in the snapshot, and 0 when made again from today's "
        "ledgers and definitions (etr materialize says which days to restate)\n"
    )
    assert "NOT EQUAL: reg_days_past_due 95, from raw rows 0" in seen


def test_a_number_that_its_members_do_not_make_is_told_loudly(capsys, tmp_path):
    wrong = made(Lake(tmp_path / "wrong"), ROWS)
    table = SnapshotTable(wrong.storage, GROUP)
    there = table.dataset(table.current(DAY)).to_table().drop_columns(["as_of", "snapshot_version"])
    rows = [row | {"portfolio_count": 9} for row in there.to_pylist()]
    publish(wrong, GROUP, pa.Table.from_pylist(rows, schema=there.schema), READ, "2")
    code, told, _, err = explained(capsys, wrong, "portfolio_count")
    assert (code, told["value"], told["recomputed"], told["equal"]) == (1, 9, 3, False)
    assert err.startswith(
        "NOT EQUAL: portfolio_regulatory.portfolio_count of 'cimb:personal_loan' as of 2025-06-30 is 9 in snapshot 2"
    )


def test_the_snapshots_that_it_was_made_of_are_read_also_when_others_came_since(capsys, tmp_path):
    lake = made(Lake(tmp_path / "lake"), ROWS)
    table = SnapshotTable(lake.storage, "account_regulatory")
    there = table.dataset(table.current(DAY)).to_table().drop_columns(["as_of", "snapshot_version"])
    publish(lake, "account_regulatory", there.slice(0, 1), version="2")
    code, told, _, _ = explained(capsys, lake, "portfolio_count", "--format", "json")
    assert (code, told["recomputed"]) == (0, 3)
    assert told["note"] == "account_regulatory: version 1, of which it was made; 2 is there by now"


def test_a_member_that_adds_no_feature_that_can_be_explained_has_no_command():
    """One that is counted for being there, and one of what a Python function made."""
    of_nothing = Member("shops", "a", {}, 1, "", ())
    of_function = Member("model", "a", {"n": 1}, 1, "", (Read("model", "a", "n", 1),))
    members = Members(RolledUp("n", "count() of members", "integer", 2, [of_nothing, of_function]), {}, DAY, frozenset({"model"}))
    assert [members.look_further(member) for member in members.rolled_up.members] == ["", ""]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((GROUP, "cimb:personal_loan", "portfolio_cont"), "portfolio_regulatory has no feature 'portfolio_cont' (did you mean 'portfolio_count'?)"),
        ((GROUP, "cimb:car", "portfolio_count"), "portfolio_regulatory as of 2025-06-30 has no row of portfolio_id 'cimb:car'"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(capsys, lake, words, message):
    assert main([*words, "--as-of", DAY.isoformat(), "--lake", lake.uri()]) != 0
    assert message in capsys.readouterr().err
