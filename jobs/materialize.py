"""Computes snapshots: curated ledgers -> facts in buckets -> one row an entity and as-of day, for a day or a range of days."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from jobs.arguments import COMMON, JobParser
from jobs.due import Ledgers, Wanted, find_due, say_what_to_restate
from jobs.request import Days, Request, Restating, add_days, read_request
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from conf.settings import WriterChoice
    from jobs.progress import Progress
    from jobs.workers import Workers
    from stores.facts import BucketReader
    from stores.lake import Lake
    from stores.snapshots import Kind, Snapshot
    from transforms.feature_group import Compiled

HORIZON = timedelta(days=35)
DAYS_AT_ONCE = 31
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaterializeSummary:
    """`made`: the versions made by this run; `confirmed`: those computed again that came out the same.

    `current`: the version of every day asked for or made, made now or before. `to_restate`: days made before that should be
    made again and weren't.
    """

    made: tuple[Snapshot, ...]
    confirmed: tuple[Snapshot, ...]
    current: tuple[Snapshot, ...]
    to_restate: tuple[Wanted, ...]

    @property
    def restated(self) -> tuple[Snapshot, ...]:
        """Those of `made` that differ from what was there before."""
        return tuple(snapshot for snapshot in self.made if snapshot.restates)

    @property
    def days(self) -> dict[str, tuple[date, ...]]:
        """The days of `current`, by group."""
        days: dict[str, list[date]] = {}
        for snapshot in self.current:
            days.setdefault(snapshot.group, []).append(snapshot.day)
        return {group: tuple(sorted(found)) for group, found in days.items()}


def tables_written(compiled: Compiled, groups: Collection[str], kind: Kind = "snapshots") -> list[str]:
    """The tables on which a run over these groups holds the lease."""
    entities = {compiled.groups[group].entity for group in groups if group in compiled.groups}
    return [*(f"facts/{entity}" for entity in sorted(entities)), *(f"{kind}/{group}" for group in groups)]


def run(
    *,
    compiled: Compiled,
    days: Days,
    lake: Lake,
    workers: Workers,
    run_id: str,
    progress: Progress,
    restating: Restating = "asked",
    horizon: timedelta = HORIZON,
    days_at_once: int = DAYS_AT_ONCE,
    kind: Kind = "snapshots",
    writer: WriterChoice = "workers",
    wait_seconds: float = 0.0,
) -> MaterializeSummary:
    """Make what is missing of `days`, and again what should be restated, oldest days first.

    One Delta commit a group and chunk of days; of functions and rollups one a day, so that those before one that fails are kept.
    Days already made are left alone, so a run that died is finished by the same call. A range is made in chunks of
    `days_at_once` days: memory depends on the chunk, not on the range. The ledgers stand still only while facts are prepared,
    or while a function reads them.
    Raises: LeaseError when another run writes the same tables; PublishError for a day on which no entity has a row.
    """
    from jobs.make_days import Maker
    from jobs.writers import choose_writer
    from stores.snapshots import SnapshotTable

    made: list[Snapshot] = []
    confirmed: list[Snapshot] = []
    with lake.hold(tables_written(compiled, days, kind), run_id, wait_seconds) as held, ExitStack() as held_on:
        leases = {lease.table: lease for lease in held}
        with ExitStack() as stack:
            stack.enter_context(lake.hold(_ledgers_read(compiled, days), run_id, wait_seconds))
            ledgers = Ledgers.of(compiled, days, lake)
            due = find_due(ledgers, days, lake, restating=restating, horizon=horizon, kind=kind)
            readers = _prepare(compiled, due.make, lake, workers, progress)
            if any(wanted.group in compiled.functions for wanted in due.make):
                held_on.push(stack.pop_all())  # functions read the ledgers themselves
        for group in dict.fromkeys(wanted.group for wanted in due.make):
            SnapshotTable(lake.storage, group, kind).sweep()
        if due.make:
            chosen = choose_writer(writer, workers, lake.storage, kind, progress)
            maker = Maker(compiled, ledgers, lake, workers, run_id, readers, leases, kind, chosen)
            with progress.step("snapshots", total=len(due.make)) as step:
                for chunk in _chunks(due.make, days_at_once):
                    for snapshot, stands in maker.make(chunk):
                        (confirmed if stands else made).append(snapshot)
                        step.advance(note=f"{snapshot.group} as of {snapshot.as_of}: {snapshot.rows:,} rows")
    asked = {(group, day) for group, some in days.items() for day in some} | {(w.group, w.day) for w in due.make}
    current = (SnapshotTable(lake.storage, group, kind).current(day) for group, day in sorted(asked))
    return MaterializeSummary(tuple(made), tuple(confirmed), tuple(filter(None, current)), due.to_restate)


def _ledgers_read(compiled: Compiled, groups: Collection[str]) -> list[str]:
    return [f"curated/{source}" for group in groups for source in compiled.sources_of(compiled.group(group))]


def _prepare(
    compiled: Compiled, work: Sequence[Wanted], lake: Lake, workers: Workers, progress: Progress
) -> Mapping[str, BucketReader]:
    groups = [compiled.groups[wanted.group] for wanted in work if wanted.group in compiled.groups]
    if not groups:
        return {}
    from jobs.prepare_facts import bring_up_to_date

    streams = dict.fromkeys(stream for group in groups for stream in group.streams)
    return bring_up_to_date(compiled, streams, lake, workers, progress)


def _chunks(work: Sequence[Wanted], days_at_once: int) -> Iterator[list[Wanted]]:
    days = sorted({wanted.day for wanted in work})
    for start in range(0, len(days), days_at_once):
        chunk = set(days[start : start + days_at_once])
        yield [wanted for wanted in work if wanted.day in chunk]


# ---- the job


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser(
        "materialize",
        "Ledgers to snapshots: all features of a group as of a day, or of every day of a range.",
        common=(*COMMON, "writer"),
    )
    add_days(parser, restate=True)
    parser.add_argument(
        "--hindsight",
        action="store_true",
        help="today's knowledge about past days, for study: into hindsight/<group>, never published",
    )
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS", help="how long to wait for another run (default: 60)")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    request = read_request(arguments)
    request.say_who_is_left_out()
    due = find_due(
        Ledgers.of(request.compiled, request.days, request.lake),
        request.days,
        request.lake,
        restating=request.restating,
        horizon=request.horizon,
        kind=request.kind,
    )
    left_out = request.tables_left_out()
    if arguments.dry_run:
        would = {"would": [str(wanted) for wanted in due.make], "to_restate": [str(wanted) for wanted in due.to_restate]}
        return Summary("materialize", run_id, tables=would | left_out)
    if not due.make:
        say_what_to_restate(due.to_restate)
        return Summary("materialize", run_id, counts={"made": 0, "rows": 0, "to_restate": len(due.to_restate)}, tables=left_out)
    from jobs.progress import Progress
    from jobs.workers import open_workers

    with Progress() as progress, ExitStack() as stack:
        tables = tables_written(request.compiled, request.groups, request.kind)
        stack.enter_context(request.lake.hold(tables, run_id, arguments.wait))
        result = run(
            compiled=request.compiled,
            days=request.days,
            lake=request.lake,
            workers=open_workers(request.settings, progress),
            run_id=run_id,
            progress=progress,
            restating=request.restating,
            horizon=request.horizon,
            days_at_once=request.settings.snapshots.days_at_once,
            kind=request.kind,
            writer=request.settings.writer,
            wait_seconds=arguments.wait,
        )
    _say_what_was_made(result, request)
    return Summary("materialize", run_id, counts=counts_of(result), tables=table_summaries(result, request.kind) | left_out)


def counts_of(result: MaterializeSummary) -> dict[str, int]:
    return {
        "made": len(result.made),
        "rows": sum(snapshot.rows for snapshot in result.made),
        "restated": len(result.restated),
        "confirmed": len(result.confirmed),
        "changed_values": sum(sum(s.restates.values.values()) for s in result.restated if s.restates),
        "to_restate": len(result.to_restate),
    }


def table_summaries(result: MaterializeSummary, kind: Kind = "snapshots") -> dict[str, dict[str, Any]]:
    """What was made of each group, as a job's summary tells it."""
    made, confirmed = ({(s.group, s.as_of) for s in some} for some in (result.made, result.confirmed))
    told: dict[str, dict[str, Any]] = {}
    for snapshot in result.current:
        empty = {"days": 0, "made": 0, "rows": 0, "restated": 0, "confirmed": 0, "changed_entities": 0, "changed_values": 0}
        table = told.setdefault(f"{kind}/{snapshot.group}", empty)
        table["days"] += 1
        table["confirmed"] += (snapshot.group, snapshot.as_of) in confirmed
        if (snapshot.group, snapshot.as_of) not in made:
            continue
        table["made"] += 1
        table["rows"] += snapshot.rows
        if snapshot.restates:
            table["restated"] += 1
            table["changed_entities"] += snapshot.restates.entities
            table["changed_values"] += sum(snapshot.restates.values.values())
    return told


def _say_what_was_made(result: MaterializeSummary, request: Request) -> None:
    if request.hindsight:
        where = ", ".join(request.lake.uri("hindsight", group) for group in request.groups)
        _log.warning(
            "this is hindsight, today's knowledge about past days and not what was known then: for study, and never"
            " published; it lies in %s",
            where,
        )
    say_what_to_restate(result.to_restate)


if __name__ == "__main__":
    sys.exit(main())
