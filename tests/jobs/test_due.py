"""Which days have to be made and which restated, from commits and pointers alone: no Spark, no rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.due import Due, Ledgers, find_due, what_to_restate
from jobs.request import Restating
from stores.lake import Lake
from stores.snapshots import DayWriter, Kind, Snapshot, SnapshotTable, sort_by_day
from tests.jobs.by_hand import FEES_WEEKLY, PLANS_DAILY, ZONE, catalogue_of, took_in
from transforms.answer import snapshot_schema

_, COMPILED = catalogue_of(PLANS_DAILY, FEES_WEEKLY)
MONDAY, TUESDAY, WEDNESDAY = date(2025, 9, 29), date(2025, 9, 30), date(2025, 10, 1)
SUNDAY = date(2025, 9, 28)
# Cut-offs, UTC: Monday's is 2025-09-29T16:00Z.
ON_MONDAY, AT_MONDAYS_END, AFTER_MONDAY = "2025-09-29T10:00:00Z", "2025-09-29T16:00:00Z", "2025-09-29T16:00:00.000001Z"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def due(lake: Lake, *days: date, group: str = "customer_plans", restating: Restating = "asked", horizon: int = 35,
        kind: Kind = "snapshots", compiled=COMPILED) -> Due:  # fmt: skip
    ledgers = Ledgers.of(compiled, [group], lake)
    return find_due(ledgers, {group: days}, lake, restating=restating, horizon=timedelta(days=horizon), kind=kind)


def make(lake: Lake, *days: date, group: str = "customer_plans", kind: Kind = "snapshots") -> None:
    """Commit what today's ledgers and definitions make of some days."""
    schema = snapshot_schema(COMPILED.groups[group])
    for wanted in due(lake, *days, group=group, kind=kind).make:
        as_of = wanted.day.isoformat()
        with DayWriter(lake.storage, group, {as_of: wanted.version}, schema, kind) as writer:
            row = dict.fromkeys(schema.names) | {"customer_id": "ann", "event_time": "t", "time_zone": ZONE, "has_history": True}
            writer.write(as_of, pa.Table.from_pylist([row], schema=schema))
            files = sort_by_day(writer.close())[as_of]
        newest = Ledgers.of(COMPILED, [group], lake).newest(group)
        made = Snapshot(group, as_of, wanted.version, COMPILED.groups[group].version, newest, "r", files, kind=kind)
        SnapshotTable(lake.storage, group, kind).commit([made], schema)


def told(found: Due) -> tuple[list[str], list[str]]:
    return [str(wanted) for wanted in found.make], [str(wanted) for wanted in found.to_restate]


def test_a_day_never_made_is_wanted_and_a_day_made_is_not(lake: Lake) -> None:
    took_in(lake, "plans", [ON_MONDAY])
    assert told(due(lake, MONDAY, TUESDAY)) == (
        ["compute customer_plans as of 2025-09-29", "compute customer_plans as of 2025-09-30"],
        [],
    )
    make(lake, MONDAY)
    assert told(due(lake, MONDAY, TUESDAY)) == (["compute customer_plans as of 2025-09-30"], [])


@pytest.mark.parametrize(
    ("effect", "anew"),
    [
        (AFTER_MONDAY, False),  # known a microsecond too late: it never changes what Monday should have said
        (AT_MONDAYS_END, True),
        (ON_MONDAY, True),
    ],
)
def test_only_a_file_with_rows_known_by_then_matters_to_a_day(lake: Lake, effect: str, anew: bool) -> None:
    took_in(lake, "plans", [ON_MONDAY])
    make(lake, MONDAY)
    took_in(lake, "plans", [ON_MONDAY, effect])
    expected = ["compute customer_plans as of 2025-09-29 anew: plans: plans/1.csv came later, with rows that were known by then"]
    assert told(due(lake, MONDAY)) == (expected if anew else [], [])


@pytest.mark.parametrize(
    ("restating", "made", "left"),
    [
        ("holes", [WEDNESDAY], [MONDAY, TUESDAY]),  # a range: what is missing
        ("asked", [TUESDAY, WEDNESDAY], [MONDAY]),
        ("all", [MONDAY, TUESDAY, WEDNESDAY], []),
    ],
)
def test_what_is_not_made_again_is_told(lake: Lake, restating: Restating, made: list[date], left: list[date]) -> None:
    """Monday was made, and isn't asked for; Tuesday was made and is; Wednesday is missing."""
    took_in(lake, "plans", [ON_MONDAY])
    make(lake, MONDAY, TUESDAY)
    took_in(lake, "plans", [ON_MONDAY, ON_MONDAY])
    found = due(lake, TUESDAY, WEDNESDAY, restating=restating)
    assert ([wanted.day for wanted in found.make], [wanted.day for wanted in found.to_restate]) == (made, left)


def test_late_rows_of_a_source_without_a_known_time_matter_within_the_horizon(lake: Lake) -> None:
    """Five Sundays were made; of a horizon of seven days, the newest and the one before."""
    sundays = [SUNDAY - timedelta(days=7 * weeks) for weeks in range(5)]
    took_in(lake, "fees", ["2025-08-01T00:00:00Z"])
    make(lake, *sundays, group="customer_fees")
    took_in(lake, "fees", ["2025-08-01T00:00:00Z", "2025-08-02T00:00:00Z"])

    def days(horizon: int) -> list[date]:
        found = due(lake, group="customer_fees", horizon=horizon)
        assert all(wanted.reasons == ("fees: fees/1.csv came later, with rows of that time",) for wanted in found.to_restate)
        return [wanted.day for wanted in found.to_restate]

    assert days(0) == sundays[:1]
    assert days(6) == sundays[:1]
    assert days(7) == sundays[1::-1]
    assert days(35) == sundays[::-1]


def test_a_horizon_bounds_no_source_that_says_when_it_knew(lake: Lake) -> None:
    took_in(lake, "plans", ["2025-08-01T00:00:00Z"])
    make(lake, date(2025, 8, 3), TUESDAY)
    took_in(lake, "plans", ["2025-08-01T00:00:00Z"] * 2)
    assert [wanted.day for wanted in due(lake, horizon=0).to_restate] == [date(2025, 8, 3), TUESDAY]


def test_a_changed_definition_and_a_changed_engine_are_reasons(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    took_in(lake, "plans", [ON_MONDAY])
    make(lake, MONDAY)
    changed = {**PLANS_DAILY, "inputs": [{"source": "plans", "aggregates": [{"name": "n", "op": "count", "windows": ["1d"]}]}]}
    _, other = catalogue_of(changed)
    assert told(due(lake, MONDAY, compiled=other)) == (
        ["compute customer_plans as of 2025-09-29 anew: its definition changed"],
        [],
    )
    monkeypatch.setattr("jobs.due.ENGINE", "next")
    assert told(due(lake, MONDAY)) == (["compute customer_plans as of 2025-09-29 anew: the engine changed"], [])


def test_a_version_that_was_found_to_be_the_same_stands_for_the_new_one(lake: Lake) -> None:
    took_in(lake, "plans", [ON_MONDAY])
    make(lake, MONDAY)
    took_in(lake, "plans", [ON_MONDAY, ON_MONDAY])
    (wanted,) = due(lake, MONDAY).make
    table = SnapshotTable(lake.storage, "customer_plans")
    assert wanted.current is not None
    table.confirm(wanted.current, replace(wanted.current, version=wanted.version, curated={"plans": 1}))

    assert due(lake, MONDAY) == Due((), ())
    took_in(lake, "plans", [ON_MONDAY] * 3)
    (again,) = due(lake, MONDAY).make
    assert again.reasons == ("plans: plans/2.csv came later, with rows that were known by then",)


def test_hindsight_is_made_again_whenever_anything_came(lake: Lake) -> None:
    took_in(lake, "plans", [ON_MONDAY])
    make(lake, MONDAY, kind="hindsight")
    assert due(lake, MONDAY, kind="hindsight") == Due((), ())
    took_in(lake, "plans", [ON_MONDAY, AFTER_MONDAY])
    assert told(due(lake, MONDAY, kind="hindsight")) == (["compute customer_plans as of 2025-09-29"], [])


def test_what_should_be_restated_is_told_in_a_few_lines(lake: Lake) -> None:
    took_in(lake, "plans", [ON_MONDAY])
    took_in(lake, "fees", ["2025-08-01T00:00:00Z"])
    make(lake, MONDAY, TUESDAY)
    make(lake, SUNDAY, group="customer_fees")
    took_in(lake, "plans", [ON_MONDAY, *["2025-09-29T16:00:00.000002Z"] * 3, ON_MONDAY])  # three matter to Tuesday alone
    took_in(lake, "fees", ["2025-08-01T00:00:00Z"] * 2)
    both = (*due(lake, group="customer_fees").to_restate, *due(lake).to_restate)
    assert what_to_restate(both) == (
        "made without what they should have known, or by another definition; what was served stays served:\n"
        "  customer_fees: 2025-09-28 (fees: fees/1.csv came later, with rows of that time)\n"
        "  customer_plans: 2 days from 2025-09-29 to 2025-09-30 (plans: plans/4.csv came later, with rows that were known by then; "
        "plans: plans/1.csv, plans/2.csv and 2 more came later, with rows that were known by then)\n"
        "to make them again and publish them: etr pipeline --restate"
    )
