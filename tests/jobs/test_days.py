"""Days end to end, on ledgers that fit on a screen: a backfill, a file that came late, what it restates, and hindsight."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobs import curate, ingest, materialize, pipeline, validate
from stores.lake import Lake
from stores.snapshots import Kind, SnapshotTable
from tests.jobs.by_hand import FEES_WEEKLY, PLANS_DAILY, write_conf

PLANS_HEADER = "plan_id,customer_id,amount,created_at,recorded_at\n"
FEES_HEADER = "fee_id,customer_id,amount,charged_at\n"
# Local days in Kuala Lumpur end at 16:00 UTC.
PLANS = (
    "p1,ann,10.00,2025-08-20T02:00:00Z,2025-08-20T02:00:01Z\n"
    "p2,ann,20.00,2025-09-20T02:00:00Z,2025-09-20T02:00:01Z\n"
    "p3,bob,40.00,2025-09-24T15:59:59.999999Z,2025-09-24T15:59:59.999999Z\n"  # on the 24th, by a microsecond
    "p4,bob,80.00,2025-09-25T02:00:00Z,2025-09-28T02:00:00Z\n"  # known three days late
)
FEES = "f1,ann,1.00,2025-09-01T00:00:00Z\nf2,bob,2.00,2025-09-27T00:00:00Z\n"
LATE = "p5,ann,160.00,2025-09-26T02:00:00Z,2025-09-26T02:00:01Z\n"  # known in time, and delivered late


def run(capsys: Any, job: Any, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, summary and what a person saw."""
    capsys.readouterr()
    code = job.main(list(arguments))
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), err


def amounts(lake: Path, day: str, kind: Kind = "snapshots") -> dict[str, tuple[int, str]]:
    """Customer -> plans and their amount in the 7 days to a day."""
    snapshot = SnapshotTable(Lake(lake).storage, "customer_plans", kind).current(date.fromisoformat(day))
    assert snapshot is not None
    files = [f"{lake}/{file.path}" for file in snapshot.files]
    rows = duckdb.sql(f"select customer_id, plan_count_7d, plan_amount_sum_7d::varchar from read_parquet({files})").fetchall()
    return {name: (count, amount) for name, count, amount in rows}


def whole(lake: Path, group: str, day: date) -> list[tuple[Any, ...]]:
    """A day's rows in canonical form: sorted by identifier, without the version."""
    snapshot = SnapshotTable(Lake(lake).storage, group).current(day)
    assert snapshot is not None
    files = [f"{lake}/{file.path}" for file in snapshot.files]
    return duckdb.sql(f"select * exclude (as_of, snapshot_version) from read_parquet({files}) order by 1").fetchall()


PORTFOLIO: dict[str, Any] = {
    "name": "portfolio",
    "record_identifier": "portfolio_id",
    "function": "portfolio_by_hand:planned",
    "reads": {"sources": ["plans"], "groups": ["customer_plans"]},
    "columns": {"customers": "integer", "planned": "money"},
}
CODE = """
from pyspark.sql import functions as F

def planned(frames, as_of, cut_off):
    whole = frames["plans"].agg(F.sum("amount").alias("planned"))
    return frames["customer_plans"].agg(F.count("*").alias("customers")).crossJoin(whole).withColumn("portfolio_id", F.lit("all"))
"""


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "portfolio_by_hand.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield write_conf(folder, PLANS_DAILY, FEES_WEEKLY, PORTFOLIO)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    for name, text in (("plans/a", PLANS_HEADER + PLANS), ("fees/a", FEES_HEADER + FEES)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.csv").write_text(text)
    return folder


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("tasks were asked for")


def test_a_day_that_a_backfill_makes_is_the_one_that_the_daily_run_makes(conf, raw, tmp_path, capsys) -> None:
    """Every day in one range, in chunks; and three days by runs of their own, as they would have come."""
    ranged, daily = tmp_path / "ranged", tmp_path / "daily"
    common = ("--conf", str(conf), "--raw", str(raw))
    assert run(capsys, curate, *common, "--lake", str(ranged))[0] == 0
    shutil.copytree(ranged, daily)
    common = ("--conf", str(conf))
    days = ("2025-09-24", "2025-09-25", "2025-09-28")
    for day in days:
        code, summary, seen = run(capsys, materialize, *common, "--lake", str(daily), "--as-of", day)
        assert code == 0, seen
    assert summary["tables"]["snapshots/customer_fees"]["made"] == 1  # a Sunday
    code, summary, seen = run(
        capsys, materialize, *common, "--lake", str(ranged), "--from", "2025-09-20", "--to", "2025-09-30",
        "--set", "snapshots.days_at_once=4",
    )  # fmt: skip
    assert code == 0, seen
    assert (summary["tables"]["snapshots/customer_plans"]["made"], summary["tables"]["snapshots/customer_fees"]["made"]) == (
        11,
        2,
    )
    for day in map(date.fromisoformat, days):
        for group in ("customer_plans", "portfolio"):
            assert whole(ranged, group, day) == whole(daily, group, day)
    assert whole(ranged, "customer_fees", date(2025, 9, 28)) == whole(daily, "customer_fees", date(2025, 9, 28))
    # Of bob: p3 lies on the 24th by a microsecond; p4 counts from the first day on which it was known, for as long as its window.
    assert [amounts(ranged, f"2025-09-{day}").get("bob") for day in (23, 24, 27, 28)] == [
        None, (1, "40.00"), (1, "40.00"), (2, "120.00"),
    ]  # fmt: skip
    # A function's rows are a group's like any other: judged and published.
    assert whole(ranged, "portfolio", date(2025, 9, 28))[0][4:] == (2, Decimal("150.00"))
    for job in (validate, ingest):
        code, summary, seen = run(
            capsys, job, *common, "--lake", str(ranged), "--groups", "portfolio", "--from", "2025-09-20", "--to", "2025-09-21"
        )
        assert code == 0, seen
    assert summary["counts"] | {"bytes": 0} == {
        "rows": 2, "published": 2, "quarantined": 0, "held_back": 0, "files": 2, "bytes": 0,
        "sent": 1, "written": 1, "skipped": 0, "retried": 0, "dead_lettered": 0,
    }  # fmt: skip


def test_what_came_late_is_told_restated_and_published_beside_what_was_served(
    conf, raw, tmp_path, capsys, monkeypatch, caplog
) -> None:
    lake = tmp_path / "lake"
    common = ("--conf", str(conf), "--raw", str(raw), "--lake", str(lake), "--groups", "customer_plans")
    code, _, seen = run(capsys, pipeline, *common, "--from", "2025-09-25", "--to", "2025-09-28")
    assert code == 0, seen
    served = {day: amounts(lake, f"2025-09-{day}") for day in (25, 26, 27, 28)}

    (raw / "plans" / "b.csv").write_text(PLANS_HEADER + LATE)
    code, summary, seen = run(capsys, pipeline, *common, "--as-of", "2025-09-28")
    assert code == 0, seen
    assert {day: amounts(lake, f"2025-09-{day}") for day in (25, 26, 27)} == {day: served[day] for day in (25, 26, 27)}
    assert amounts(lake, "2025-09-28")["ann"] == (1, "160.00")
    reason = "plans: plans/b.csv came later, with rows that were known by then"
    assert f"  customer_plans: 2 days from 2025-09-26 to 2025-09-27 ({reason})\n" in caplog.text
    assert (summary["counts"]["restated"], summary["counts"]["to_restate"]) == (1, 2)

    code, summary, seen = run(capsys, pipeline, *common, "--as-of", "2025-09-28", "--restate")
    assert code == 0, seen
    assert (summary["counts"]["restated"], summary["counts"]["changed_values"], summary["counts"]["to_restate"]) == (2, 6, 0)

    # A second run restates nothing, and does no task.
    monkeypatch.setattr("jobs.workers.open_workers", refuse)
    code, summary, seen = run(capsys, pipeline, *common, "--as-of", "2025-09-28", "--restate")
    assert (code, summary["counts"]) == (0, {"changed": 0, "to_restate": 0}), seen
    assert [amounts(lake, f"2025-09-{day}")["ann"] for day in (25, 26, 27, 28)] == [
        (1, "20.00"), (2, "180.00"), (1, "160.00"), (1, "160.00"),
    ]  # fmt: skip
    differences = f"read_parquet('{lake}/snapshots/_diffs/customer_plans/as_of=2025-09-26/*.parquet')"
    assert duckdb.sql(f'select entity, "column", was, "is" from {differences}').fetchall() == [
        ("ann", "plan_amount_sum_7d", "20.00", "180.00"),
        ("ann", "plan_count_30d", "1", "2"),
        ("ann", "plan_count_7d", "1", "2"),
    ]
    offline = f"read_parquet('{lake}/offline_store/*/sagemaker/*/offline-store/customer_plans-*/data/*/*/*/*/*.parquet')"
    query = f"""select as_of, list(plan_count_7d order by write_time) from {offline}
        where customer_id = 'ann' group by as_of order by as_of"""
    assert duckdb.sql(query).fetchall() == [
        ("2025-09-25", [1]), ("2025-09-26", [1, 2]), ("2025-09-27", [0, 1]), ("2025-09-28", [0, 1]),
    ]  # fmt: skip


def test_hindsight_knows_what_came_late_and_nothing_that_had_not_happened(conf, raw, tmp_path, capsys, caplog) -> None:
    """As of the 27th: p4 happened on the 25th and was known on the 28th."""
    lake = tmp_path / "lake"
    common = ("--conf", str(conf), "--lake", str(lake))
    assert run(capsys, curate, *common, "--raw", str(raw))[0] == 0
    days = ("--as-of", "2025-09-27", "--groups", "customer_plans")
    assert run(capsys, materialize, *common, *days)[0] == 0
    code, summary, seen = run(capsys, materialize, *common, *days, "--hindsight")
    assert code == 0, seen
    assert summary["tables"]["hindsight/customer_plans"]["made"] == 1
    assert f"for study, and never published; it lies in {lake / 'hindsight' / 'customer_plans'}\n" in caplog.text
    assert amounts(lake, "2025-09-27")["bob"] == (1, "40.00")
    assert amounts(lake, "2025-09-27", "hindsight")["bob"] == (2, "120.00")
    earlier = ("--as-of", "2025-09-24", "--groups", "customer_plans")
    assert run(capsys, materialize, *common, *earlier, "--hindsight")[0] == 0
    assert amounts(lake, "2025-09-24", "hindsight")["bob"] == (1, "40.00")
    for job in (validate, ingest):
        code, _, seen = run(capsys, job, *common, *earlier)
        assert code == 1
        assert "no snapshot" in seen
