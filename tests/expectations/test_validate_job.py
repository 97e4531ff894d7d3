"""The job: verdicts, quarantine, days held back, and nothing judged twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.settings import load_settings
from jobs import validate
from jobs.progress import Progress
from jobs.validate import ValidateSummary, held_back_message, pending, verdict_of
from stores.curated_files import write_curated
from stores.lake import Lake
from stores.snapshots import DayWriter, Snapshot, SnapshotTable, sort_by_day
from tests.expectations.definitions import ZONE, catalogue_of, group
from tests.rows import rows
from transforms.answer import snapshot_schema

NOW = datetime(2025, 10, 2, tzinfo=UTC)
COUNTS = group({"name": "n", "op": "count", "windows": ["7d", "30d"]})
CATALOGUE, COMPILED = catalogue_of(COUNTS)
DAYS = {"2025-09-29": "2025-09-29T16:00:00Z", "2025-09-30": "2025-09-30T16:00:00Z"}
FINE = [("ann", 1, 1), ("bob", 0, 2), ("cid", 0, 0), ("dee", 0, 1)]


def snapshot_of(lake: Lake, day: str, rows: Sequence[tuple[str, Any, Any]], version: str = "v1", **changed: Any) -> Snapshot:
    """Commit a day of customer_plans: identifier, n_7d, n_30d."""
    compiled = COMPILED.groups["customer_plans"]
    schema = snapshot_schema(compiled)
    common = {"event_time": DAYS[day], "time_zone": ZONE, "has_history": True} | changed
    made = [{"customer_id": name, "n_7d": short, "n_30d": long, **common} for name, short, long in rows]
    with DayWriter(lake.storage, "customer_plans", {day: version}, schema) as writer:
        writer.write(day, pa.Table.from_pylist(made, schema=schema))
        files = sort_by_day(list(writer.close()))[day]
    snapshot = Snapshot("customer_plans", day, version, compiled.version, {}, "r0", files)
    SnapshotTable(lake.storage, "customer_plans").commit([snapshot], schema)
    return snapshot


Judge = Callable[..., ValidateSummary]


@pytest.fixture(params=["in process", "in Spark"])
def engine(request: pytest.FixtureRequest) -> str:
    """Where a test's tables are judged; for tests of what both must do."""
    return str(request.param)


@pytest.fixture
def judge(request: pytest.FixtureRequest, lake: Lake) -> Judge:
    """Judge snapshots; in Spark when the test's `engine` says so."""
    in_spark = "engine" in request.fixturenames and request.getfixturevalue("engine") == "in Spark"

    def run(*snapshots: Snapshot, run_id: str = "r1", **limits: str) -> ValidateSummary:
        return validate.run(
            snapshots=snapshots,
            catalogue=CATALOGUE,
            compiled=COMPILED,
            written={},
            lake=lake,
            spark=lambda: request.getfixturevalue("spark"),
            settings=load_settings("local", {f"validation.{name}": value for name, value in limits.items()}),
            run_id=run_id,
            progress=Progress(),
            now=NOW,
            in_process_rows=-1 if in_spark else 1_000,
        )

    return run


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_a_day_that_is_fit_passes_and_is_not_judged_twice(judge: Judge, lake: Lake) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", FINE)

    first = judge(snapshot)
    second = judge(snapshot, run_id="r2")

    (verdict,) = first.verdicts
    assert (verdict.status, verdict.rows, verdict.published, verdict.quarantined, verdict.broken) == ("passed", 4, 4, 0, ())
    assert (first.made, second.made, second.verdicts) == (1, 0, first.verdicts)
    assert held_back_message(second.verdicts, lake) is None
    told = json.loads(lake.storage.read("runs/r1/expectations/customer_plans-2025-09-30.json"))
    assert (told["success"], told["suite_name"], told["meta"]["run_id"]["run_name"]) == (True, "customer_plans", "r1")


def test_a_row_that_breaks_a_rule_is_quarantined_and_the_day_passes(engine: str, judge: Judge, lake: Lake) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", [*FINE, ("eve", 2, 1)])

    (verdict,) = judge(snapshot, max_quarantined_share="0.2").verdicts

    assert (verdict.status, verdict.rows, verdict.published, verdict.quarantined, verdict.held_back) == ("passed", 5, 4, 1, 0)
    assert verdict.quarantine_file == "quarantine/r1/customer_plans-2025-09-30.parquet"
    (row,) = pq.read_table(lake.uri(verdict.quarantine_file)).to_pylist()
    assert (row["key"], row["rule"], row["reason"]) == ("eve", "n_7d.not_more_than.n_30d", "broken: n_7d ≤ n_30d")
    assert json.loads(row["row"])["n_7d"] == 2


def test_too_many_quarantined_rows_hold_the_day_back(judge: Judge, lake: Lake) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", [*FINE, ("eve", 2, 1)])

    (verdict,) = judge(snapshot).verdicts

    assert (verdict.status, verdict.published, verdict.quarantined, verdict.held_back) == ("held_back", 0, 1, 4)
    assert held_back_message([verdict], lake) == (
        "customer_plans as of 2025-09-30 is held back; what was served before stays served\n"
        "  rows.quarantined: expected: at most 5.00% of the rows are quarantined; found: 1 of 5\n"
        f"  every result: {lake.uri('runs/r1/expectations/customer_plans-2025-09-30.json')}\n"
        f"  quarantined rows: {lake.uri('quarantine/r1/customer_plans-2025-09-30.parquet')}\n"
        "what to do: mend the raw files or the definition and run the same command again; where the data are right, change the "
        "rule in expectations/, or its limit for this run: --set validation.max_quarantined_share=SHARE, "
        "--set validation.max_row_count_drop=SHARE"
    )


def test_a_day_held_back_stays_so_until_something_else_is_asked(judge: Judge, lake: Lake) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", [*FINE, ("eve", 2, 1)])

    first = judge(snapshot)
    again = judge(snapshot, run_id="r2")
    wider = judge(snapshot, run_id="r3", max_quarantined_share="0.5")

    assert [s.verdicts[0].status for s in (first, again, wider)] == ["held_back", "held_back", "passed"]
    assert [s.made for s in (first, again, wider)] == [1, 0, 1]
    found = verdict_of(lake, snapshot)
    assert found is not None
    assert found.run_id == "r3"


def test_a_day_is_compared_with_the_nearest_earlier_day_that_passed(judge: Judge, lake: Lake) -> None:
    before = snapshot_of(lake, "2025-09-29", FINE)
    snapshot = snapshot_of(lake, "2025-09-30", [(name, None if name == "ann" else 0, 1) for name, _, _ in FINE[:3]])

    summary = judge(snapshot, before, max_quarantined_share="1")  # 3 rows of 4, where 20 % fewer is the limit

    assert [(v.as_of, v.status) for v in summary.verdicts] == [("2025-09-29", "passed"), ("2025-09-30", "held_back")]
    assert [broken.rule for broken in summary.verdicts[1].critical] == ["rows.day_before"]


@pytest.mark.parametrize(
    ("rows", "changed", "rule"),
    [
        ([*FINE, ("ann", 0, 0)], {}, "key.unique"),
        (FINE, {"event_time": "2025-09-29T16:00:00Z"}, "rows.quarantined"),  # another day's: every row breaks it
        ([], {}, "rows.some"),
    ],
)
def test_table_rules_hold_back(
    judge: Judge, lake: Lake, rows: list[tuple[str, int, int]], changed: dict[str, str], rule: str
) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", rows, **changed)

    (verdict,) = judge(snapshot).verdicts

    assert [broken.rule for broken in verdict.critical] == [rule]


def test_fewer_rows_than_were_handed_over_hold_back(judge: Judge, lake: Lake) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", FINE)
    told = replace(snapshot, files=tuple(replace(file, rows=file.rows + 1) for file in snapshot.files))

    (verdict,) = judge(told).verdicts

    assert [(broken.rule, broken.expected, broken.found) for broken in verdict.critical] == [
        ("rows.handed_over", "5 rows were handed over", "4 rows")
    ]


def curate(lake: Lake, run_id: str, *plans: tuple[Any, ...], quarantined: int = 0) -> None:
    schema = (
        "plan_id string, customer_id string, provider string, amount decimal(18,2), net decimal(18,2), share double, "
        "national_id string, created_at timestamp, recorded_at timestamp, _event_time timestamp, _known_time timestamp, "
        "_file string, _line bigint, _row_hash string, _run string, _month string"
    )
    moment = "2025-09-01 00:00:00"
    full = [
        (plan, "ann", provider, "1.00", "1.00", 0.5, None, moment, moment, moment, moment, "f", 1, "h", run_id, "2025-09")
        for plan, provider in plans
    ]
    counts = {"read": len(plans) + quarantined, "kept": len(plans), "duplicates": 0, "quarantined": quarantined}
    made = rows(schema, *full)
    files = write_curated(made.to_batches(), storage=lake.storage, folder="curated/plans", schema=made.schema, run_id="r")
    lake.curated("plans").append(files, made.schema, run_id=run_id, taken=[], counts=counts, earliest_effect=0)


def test_a_source_that_fails_holds_back_the_groups_that_read_it_until_its_next_rows_are_fit(
    engine: str, judge: Judge, lake: Lake
) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", FINE)
    curate(lake, "c1", ("p1", "atome"), quarantined=1)

    bad = judge(snapshot)
    curate(lake, "c2", ("p2", "grab"), ("p3", "grab"))
    good = judge(snapshot, run_id="r2")
    again = judge(snapshot, run_id="r3")

    assert [broken.rule for broken in bad.verdicts[0].critical] == ["source plans, rows.quarantined"]
    assert [(s.sources[0].status, s.sources[0].rows, s.verdicts[0].status) for s in (bad, good, again)] == [
        ("held_back", 1, "held_back"),
        ("passed", 2, "passed"),  # only the new rows are judged
        ("passed", 2, "passed"),
    ]
    assert (bad.made, good.made, again.made) == (2, 2, 0)


def test_the_same_key_and_version_twice_is_found_across_commits(engine: str, judge: Judge, lake: Lake) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", FINE)
    curate(lake, "c1", ("p1", "atome"))
    judge(snapshot)
    curate(lake, "c2", ("p1", "atome"), ("p2", "no such provider"))

    summary = judge(snapshot, run_id="r2")

    assert [broken.rule for broken in summary.sources[0].critical] == ["provider.values", "key.unique"]


def test_pending_names_what_has_no_verdict_yet(judge: Judge, lake: Lake) -> None:
    snapshot = snapshot_of(lake, "2025-09-30", FINE)

    def unjudged() -> list[Snapshot]:
        known = {"catalogue": CATALOGUE, "compiled": COMPILED, "written": {}, "lake": lake}
        return pending([snapshot], **known, settings=load_settings("local"))

    assert unjudged() == [snapshot]
    judge(snapshot)
    assert unjudged() == []


def test_a_day_that_was_never_made_is_told_before_spark_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = validate.main(["--lake", str(tmp_path), "--as-of", "2025-09-30", "--groups", "customer_bnpl"])

    told = capsys.readouterr()
    message = f"no snapshot of customer_bnpl as of 2025-09-30 in {tmp_path}; make it: etr materialize --as-of 2025-09-30"
    assert (code, told.err) == (1, f"{message}\n")
    assert json.loads(told.out)["error"] == message
