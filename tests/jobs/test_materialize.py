"""Days as they are made: chunks, a run that died, restatement with its diff, versions that went back. No Spark: rows by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from conf.errors import InputError, LeaseError, PublishError
from jobs import materialize
from jobs.answer_buckets import BucketTask
from jobs.due import what_to_restate
from jobs.function_groups import FunctionCall
from jobs.materialize import MaterializeSummary, counts_of, table_summaries
from jobs.progress import Progress
from jobs.request import Days
from jobs.rollup_groups import RollupCall
from jobs.workers import LocalWorkers, Workers
from stores.lake import Lake
from stores.snapshots import DayWriter, SnapshotFile, SnapshotTable
from tests.jobs.by_hand import FEES_WEEKLY, PLANS_DAILY, ZONE, catalogue_of, took_in
from transforms.answer import snapshot_schema
from transforms.calendar import cut_off, iso_utc

_, COMPILED = catalogue_of(PLANS_DAILY, FEES_WEEKLY)
FIRST = date(2025, 9, 1)
SEPTEMBER = tuple(FIRST + timedelta(days=number) for number in range(30))


class Died(BaseException):
    """As a killed process: nothing cleans up."""


@dataclass
class Bench:
    """A lake, and an engine whose answers are given: `plan_count_7d` of each customer by day."""

    lake: Lake
    says: Callable[[date], Mapping[str, int]] = lambda _: {"ann": 1}
    asked: list[list[str]] = field(default_factory=list)  # the days that are answered together

    def run(self, *days: date, run_id: str = "r1", compiled: Any = COMPILED, **options: Any) -> MaterializeSummary:
        asked: Days = options.pop("groups", {"customer_plans": days})
        workers = LocalWorkers(1, lambda: None)  # type: ignore[arg-type,return-value]
        return materialize.run(
            compiled=compiled, days=asked, lake=self.lake, workers=workers, run_id=run_id, progress=Progress(), **options
        )

    def answer(self, task: BucketTask, workers: Workers) -> dict[str, list[tuple[str, SnapshotFile]]]:
        self.asked.append(sorted({day.isoformat() for days in task.days.values() for day in days}))
        files = {}
        for group in task.groups:
            schema = snapshot_schema(group)
            versions = {day.isoformat(): version for day, version in task.days[group.name].items()}
            with DayWriter(task.storage, group.name, versions, schema, task.kind) as writer:
                for day in task.days[group.name]:
                    common = {"event_time": iso_utc(cut_off(day, ZONE)), "time_zone": ZONE, "has_history": True}
                    rows = [common | {"customer_id": name, "plan_count_7d": n} for name, n in self.says(day).items()]
                    if rows:
                        writer.write(day.isoformat(), pa.Table.from_pylist(rows, schema=schema))
                files[group.name] = list(writer.close())
        return files

    def rows(self, day: date) -> dict[str, int]:
        snapshot = SnapshotTable(self.lake.storage, "customer_plans").current(day)
        assert snapshot is not None
        tables = [pq.read_table(self.lake.uri(file.path), partitioning=None) for file in snapshot.files]
        return {row["customer_id"]: row["plan_count_7d"] for table in tables for row in table.to_pylist()}

    def diff(self, day: date) -> list[tuple[str, str, str, str]]:
        snapshot = SnapshotTable(self.lake.storage, "customer_plans").current(day)
        assert snapshot is not None
        assert snapshot.restates is not None
        assert snapshot.restates.diff is not None
        rows = pq.read_table(self.lake.uri(snapshot.restates.diff), partitioning=None).to_pylist()
        return [(row["entity"], row["column"], row["was"], row["is"]) for row in rows]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(Lake(tmp_path))
    monkeypatch.setattr("jobs.prepare_facts.bring_up_to_date", lambda compiled, streams, *_: dict.fromkeys(streams))
    monkeypatch.setattr("jobs.answer_buckets.answer_in_tasks", bench.answer)
    took_in(bench.lake, "plans", ["2025-08-01T00:00:00Z"])
    took_in(bench.lake, "fees", ["2025-08-01T00:00:00Z"])
    yield bench


def test_a_range_is_made_in_chunks_oldest_day_first_and_only_once(bench: Bench) -> None:
    first = bench.run(*SEPTEMBER, days_at_once=7, restating="holes")
    assert [(len(days), days[0][-2:], days[-1][-2:]) for days in bench.asked] == [
        (7, "01", "07"), (7, "08", "14"), (7, "15", "21"), (7, "22", "28"), (2, "29", "30"),
    ]  # fmt: skip
    assert [snapshot.day for snapshot in first.made] == list(SEPTEMBER)
    assert counts_of(first) == {
        "made": 30, "rows": 30, "restated": 0, "confirmed": 0, "changed_values": 0, "to_restate": 0,
    }  # fmt: skip
    bench.asked.clear()
    second = bench.run(*SEPTEMBER, days_at_once=7, restating="holes", run_id="r2")
    assert (second.made, bench.asked, second.current) == ((), [], first.current)


def test_groups_have_days_of_their_own_and_share_a_job_where_they_meet(bench: Bench) -> None:
    sundays = tuple(day for day in SEPTEMBER[:14] if day.weekday() == 6)
    result = bench.run(groups={"customer_plans": SEPTEMBER[:14], "customer_fees": sundays})
    assert len(bench.asked) == 1
    assert table_summaries(result)["snapshots/customer_fees"] == {
        "days": 2, "made": 2, "rows": 2, "restated": 0, "confirmed": 0, "changed_entities": 0, "changed_values": 0,
    }  # fmt: skip
    assert result.days == {"customer_plans": SEPTEMBER[:14], "customer_fees": sundays}


@pytest.mark.parametrize("died_after", [0, 3, 9])
def test_a_backfill_that_died_goes_on_where_it_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch, died_after: int) -> None:
    """Killed after so many commits, of which the last has no pointer yet; the rows are those of a run that wasn't."""
    bench.says = lambda day: {"ann": day.day, "bob": 2 * day.day}
    days = SEPTEMBER[:10]
    written = SnapshotTable._write
    commits = 0

    def die(self: SnapshotTable, *arguments: Any) -> None:
        nonlocal commits
        if commits == died_after:
            raise Died
        commits += 1
        written(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SnapshotTable, "_write", die)
        with pytest.raises(Died):
            bench.run(*days, days_at_once=4, restating="holes")
    bench.asked.clear()
    result = bench.run(*days, days_at_once=4, restating="holes", run_id="r2")

    assert [snapshot.day for snapshot in result.made] == list(days[died_after:])
    assert sum(map(len, bench.asked)) == 10 - died_after
    for day in days:
        assert bench.rows(day) == {"ann": day.day, "bob": 2 * day.day}
    delta = DeltaTable(bench.lake.uri("snapshots/customer_plans")).to_pyarrow_table(columns=["as_of", "customer_id"]).to_pylist()
    assert sorted((row["as_of"], row["customer_id"]) for row in delta) == [(day, name) for day in days for name in ("ann", "bob")]
    on_disk = [file.path for file in bench.lake.storage.list("snapshots/customer_plans") if file.path.endswith(".parquet")]
    assert len(on_disk) == 10


def test_a_day_that_should_have_known_more_is_restated_with_a_diff(bench: Bench) -> None:
    """A file of early known times came late: it changes ann and adds cid on the second day, and nothing on the third."""
    bench.says = lambda day: {"ann": 1, "bob": 2}
    bench.run(*SEPTEMBER[:3])
    took_in(bench.lake, "plans", ["2025-08-01T00:00:00Z", "2025-09-01T16:00:00.000001Z"])
    bench.says = lambda day: {"ann": 5, "bob": 2, "cid": 0} if day == SEPTEMBER[1] else {"ann": 1, "bob": 2}

    said = bench.run(SEPTEMBER[0], run_id="r2")
    assert (said.made, said.confirmed) == ((), ())
    assert what_to_restate(said.to_restate).splitlines()[1] == (
        "  customer_plans: 2 days from 2025-09-02 to 2025-09-03 "
        "(plans: plans/1.csv came later, with rows that were known by then)"
    )
    before = bench.rows(SEPTEMBER[1])
    done = bench.run(SEPTEMBER[0], run_id="r3", restating="all")

    assert ([s.as_of for s in done.made], [s.as_of for s in done.confirmed]) == (["2025-09-02"], ["2025-09-03"])
    assert bench.diff(SEPTEMBER[1]) == [("ann", "plan_count_7d", "1", "5"), ("cid", "customer_id", None, "cid")]
    assert counts_of(done) == {
        "made": 1, "rows": 3, "restated": 1, "confirmed": 1, "changed_values": 2, "to_restate": 0,
    }  # fmt: skip
    assert table_summaries(done)["snapshots/customer_plans"] == {
        "days": 3, "made": 1, "rows": 3, "restated": 1, "confirmed": 1, "changed_entities": 2, "changed_values": 2,
    }  # fmt: skip
    old, new = SnapshotTable(bench.lake.storage, "customer_plans").versions(SEPTEMBER[1])
    assert (new.run_id, new.restates and new.restates.was, before) == ("r3", old.version, {"ann": 1, "bob": 2})
    assert [pq.read_table(bench.lake.uri(f.path), partitioning=None).num_rows for f in old.files] == [2]  # what was served stays
    assert bench.run(SEPTEMBER[0], run_id="r4", restating="all").made == ()


def test_a_definition_that_went_back_needs_no_answers(bench: Bench) -> None:
    """The first version is there: it is compared and becomes the current one again."""
    other = {
        **PLANS_DAILY,
        "inputs": [{"source": "plans", "aggregates": [{"name": "plan_count", "op": "count", "windows": ["7d"]}]}],
    }
    _, changed = catalogue_of(other)
    bench.run(FIRST)
    bench.says = lambda _: {"ann": 2}
    bench.run(FIRST, run_id="r2", compiled=changed)
    bench.asked.clear()

    back = bench.run(FIRST, run_id="r3")

    assert (bench.asked, bench.rows(FIRST), [s.run_id for s in back.made]) == ([], {"ann": 1}, ["r3"])
    assert bench.diff(FIRST) == [("ann", "plan_count_7d", "2", "1")]
    restates = back.made[0].restates
    assert restates is not None
    assert (restates.reasons, restates.added) == (("its definition changed",), ("plan_count_30d", "plan_amount_sum_7d"))
    assert bench.run(FIRST, run_id="r4").made == ()


def test_a_day_without_any_row_is_a_mistake_and_is_not_committed(bench: Bench) -> None:
    bench.says = lambda day: {"ann": 1} if day < SEPTEMBER[2] else {}
    with pytest.raises(PublishError) as failure:
        bench.run(*SEPTEMBER[:4])
    assert str(failure.value) == "customer_plans: no entity has a row as of 2025-09-03; is its spine's source empty?"
    assert SnapshotTable(bench.lake.storage, "customer_plans").days() == list(SEPTEMBER[:2])


def test_two_runs_over_the_same_group_do_not_write_at_once(bench: Bench) -> None:
    with (
        bench.lake.hold(["snapshots/customer_plans"], "other"),
        pytest.raises(LeaseError, match="snapshots/customer_plans is being"),
    ):
        bench.run(FIRST)
    assert SnapshotTable(bench.lake.storage, "customer_plans").days() == []


def test_the_ledgers_may_grow_while_days_are_answered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are held while facts are prepared; a commit after that is counted by the next run and not by this one."""

    def grow(task: BucketTask, workers: Workers) -> Any:
        with bench.lake.hold(["curated/plans"], "curate"):
            took_in(bench.lake, "plans", ["2025-08-01T00:00:00Z"] * 2)
        return bench.answer(task, workers)

    def held(*_: Any) -> dict[str, None]:
        with pytest.raises(LeaseError), bench.lake.hold(["curated/plans"], "curate"):
            pass
        return dict.fromkeys(COMPILED.streams)

    monkeypatch.setattr("jobs.answer_buckets.answer_in_tasks", grow)
    monkeypatch.setattr("jobs.prepare_facts.bring_up_to_date", held)
    (made,) = bench.run(FIRST).made
    assert made.curated == {"plans": 0}
    assert [wanted.reasons for wanted in bench.run(SEPTEMBER[1], run_id="r2").to_restate] == [
        ("plans: plans/1.csv came later, with rows that were known by then",)
    ]


def test_a_function_is_called_after_the_groups_that_it_reads_and_again_when_these_changed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second day is restated, with it what was made of it; the third came out the same, and nothing follows from that."""
    (tmp_path / "summing_by_hand.py").write_text("def summed(frames, as_of, cut_off): ...")
    monkeypatch.syspath_prepend(str(tmp_path))
    function = {
        "name": "portfolio", "record_identifier": "portfolio_id", "function": "summing_by_hand:summed",
        "reads": {"groups": ["customer_plans"]}, "columns": {"plans": "integer"},
    }  # fmt: skip
    _, compiled = catalogue_of(function, PLANS_DAILY)
    called: list[str] = []

    def summed(call: FunctionCall) -> tuple[SnapshotFile, ...]:
        called.append(call.day.isoformat())
        schema, day = snapshot_schema(call.group), call.day.isoformat()
        (read,) = call.reads.values()
        tables = [pq.read_table(bench.lake.uri(file.path), partitioning=None) for file in read.files]
        row = {"portfolio_id": "all", "event_time": "t", "time_zone": ZONE, "has_history": True}
        row |= {"plans": sum(table["plan_count_7d"].to_pylist()[0] for table in tables)}
        with DayWriter(bench.lake.storage, "portfolio", {day: call.version}, schema) as writer:
            writer.write(day, pa.Table.from_pylist([row], schema=schema))
            return tuple(file for _, file in writer.close())

    monkeypatch.setattr(FunctionCall, "run", summed)
    days = dict.fromkeys(("portfolio", "customer_plans"), SEPTEMBER[:3])
    first = bench.run(groups=days, compiled=compiled)
    assert [(s.group, s.day.day) for s in first.made] == [
        *(("customer_plans", day) for day in (1, 2, 3)), *(("portfolio", day) for day in (1, 2, 3)),
    ]  # fmt: skip
    assert first.made[-1].groups == {"customer_plans": first.made[2].version}

    called.clear()
    took_in(bench.lake, "plans", ["2025-08-01T00:00:00Z", "2025-09-01T16:00:00.000001Z"])
    bench.says = lambda day: {"ann": 5 if day == SEPTEMBER[1] else 1}
    second = bench.run(groups=days, compiled=compiled, run_id="r2")
    assert [(s.group, s.day.day, s.restates and s.restates.values) for s in second.made] == [
        ("customer_plans", 2, {"plan_count_7d": 1}), ("portfolio", 2, {"plans": 1}),
    ]  # fmt: skip
    assert ([s.as_of for s in second.confirmed], called) == (["2025-09-03"], ["2025-09-02"])
    assert bench.run(groups=days, compiled=compiled, run_id="r3").made == ()


ROLLUP: dict[str, Any] = {
    "name": "portfolio",
    "record_identifier": "portfolio_id",
    "rollup": {
        "members": [
            {"group": "customer_plans", "entity": "if(plan_count_7d > 0, 'all', null)", "columns": {"n": "plan_count_7d"}}
        ],
        "columns": [{"name": "customers", "op": "count"}, {"name": "plans", "op": "sum", "of": "n"}],
    },
}


def test_the_days_before_one_at_which_a_rollup_fails_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, compiled = catalogue_of(ROLLUP, PLANS_DAILY)
    run = RollupCall.run

    def failing(call: RollupCall) -> tuple[SnapshotFile, ...]:
        if call.day == SEPTEMBER[2]:
            raise ValueError("no memory")
        return run(call)

    monkeypatch.setattr(RollupCall, "run", failing)
    with pytest.raises(ValueError, match="no memory"):
        bench.run(groups=dict.fromkeys(("portfolio", "customer_plans"), SEPTEMBER[:4]), compiled=compiled)
    kept = {group: SnapshotTable(bench.lake.storage, group).days() for group in ("customer_plans", "portfolio")}
    assert kept == {"customer_plans": list(SEPTEMBER[:4]), "portfolio": list(SEPTEMBER[:2])}


def test_a_rollup_is_made_of_the_rows_of_the_day_and_again_when_these_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second day is restated, with it what was made of it; the third came out the same, and nothing follows from that."""
    _, compiled = catalogue_of(ROLLUP, PLANS_DAILY)
    days = dict.fromkeys(("portfolio", "customer_plans"), SEPTEMBER[:3])
    bench.says = lambda _: {"ann": 1, "bob": 3, "eve": 0}
    first = bench.run(groups=days, compiled=compiled)
    assert [(s.group, s.day.day, s.rows, dict(s.curated)) for s in first.made[3:]] == [
        ("portfolio", day, 1, {}) for day in (1, 2, 3)
    ]
    assert [dict(s.groups) for s in first.made[3:]] == [{"customer_plans": s.version} for s in first.made[:3]]
    (file,) = first.made[-1].files
    assert pq.read_table(bench.lake.uri(file.path), partitioning=None).to_pylist() == [
        {
            "portfolio_id": "all",
            "event_time": "2025-09-03T16:00:00Z",
            "time_zone": ZONE,
            "has_history": True,
            "customers": 2,
            "plans": 4,
        }
    ]

    took_in(bench.lake, "plans", ["2025-08-01T00:00:00Z", "2025-09-01T16:00:00.000001Z"])
    bench.says = lambda day: {"ann": 5 if day == SEPTEMBER[1] else 1, "bob": 3, "eve": 0}
    second = bench.run(groups=days, compiled=compiled, run_id="r2")
    assert [(s.group, s.day.day, s.restates and s.restates.values) for s in second.made] == [
        ("customer_plans", 2, {"plan_count_7d": 1}), ("portfolio", 2, {"plans": 1}),
    ]  # fmt: skip
    assert [(s.group, s.as_of) for s in second.confirmed] == [("customer_plans", "2025-09-03")]
    assert bench.run(groups=days, compiled=compiled, run_id="r3").made == ()

    changed = {**ROLLUP, "rollup": {**ROLLUP["rollup"], "columns": [{"name": "customers", "op": "count", "where": "n > 1"}]}}
    third = bench.run(groups=days, compiled=catalogue_of(changed, PLANS_DAILY)[1], run_id="r4")
    assert {s.group: s.restates and s.restates.reasons for s in third.made} == {"portfolio": ("its definition changed",)}


def test_a_rollup_says_what_it_lacks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that wasn't made, one made by a definition without what the rollup reads, and a day without a member."""
    _, compiled = catalogue_of(ROLLUP, PLANS_DAILY)
    days = {"portfolio": [FIRST]}
    with pytest.raises(InputError) as failure:
        bench.run(groups=days, compiled=compiled)
    assert str(failure.value) == (
        "portfolio reads the snapshot of customer_plans, and there is none as of 2025-09-01; "
        "make it too: etr materialize --as-of 2025-09-01 --groups customer_plans,portfolio"
    )
    bench.says = lambda _: {"ann": 0}
    bench.run(FIRST)
    with pytest.raises(PublishError) as empty:
        bench.run(groups=days, compiled=compiled, run_id="r2")
    assert str(empty.value) == "portfolio: no entity has a row as of 2025-09-01; is any row a member?"
    more = {**PLANS_DAILY, "derived": [{"name": "double", "expr": "plan_count_7d * 2"}]}
    members = [{"group": "customer_plans", "entity": "customer_id", "columns": {"n": "double"}}]
    of_more = {**ROLLUP, "rollup": {"members": members, "columns": ROLLUP["rollup"]["columns"]}}
    with pytest.raises(InputError) as old:
        bench.run(groups=days, compiled=catalogue_of(of_more, more)[1], run_id="r3")
    assert str(old.value) == (
        "portfolio reads double of customer_plans, whose snapshot as of 2025-09-01 was made without; "
        "make it anew: etr materialize --as-of 2025-09-01 --groups customer_plans,portfolio"
    )


def test_hindsight_lies_in_a_table_of_its_own(bench: Bench) -> None:
    bench.run(FIRST)
    bench.says = lambda _: {"ann": 9}
    result = bench.run(FIRST, run_id="r2", kind="hindsight")
    assert [snapshot.kind for snapshot in result.made] == ["hindsight"]
    assert list(table_summaries(result, "hindsight")) == ["hindsight/customer_plans"]
    assert bench.rows(FIRST) == {"ann": 1}
    assert DeltaTable(bench.lake.uri("hindsight/customer_plans")).to_pyarrow_table()["plan_count_7d"].to_pylist() == [9]
