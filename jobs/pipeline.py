"""The main job: curate -> materialize -> validate -> ingest, for one as-of day, those missed since the last, or a range."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jobs.arguments import COMMON, JobParser
from jobs.request import Days, Request, add_days, read_request, refuse_hindsight
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from jobs.curate import CurateSummary
    from jobs.due import Due, Wanted
    from jobs.ingest import IngestSummary
    from jobs.materialize import MaterializeSummary
    from jobs.progress import Progress
    from jobs.unpublished import Unpublished
    from jobs.validate import ValidateSummary, Verdict, Written
    from stores.raw import RawFile
    from stores.snapshots import Snapshot

SMALL_BYTES = 200 * 2**20  # of new raw files: below it, most of a run is Java compiling what it runs once


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser(
        "pipeline", "Raw files to published features: curate, materialize, validate and ingest.", common=(*COMMON, "writer")
    )
    parser.add_argument("--catch-up", action="store_true", help="also the days missed since the last one that was made")
    add_days(parser, restate=True)
    refuse_hindsight(parser)
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS", help="how long to wait for another run (default: 60)")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    started = time.monotonic()
    job = Pipeline(read_request(arguments), run_id, arguments.conf)
    from jobs.closing import show_result, show_start
    from jobs.progress import Progress

    show_start(job)
    pending = job.pending()
    if arguments.dry_run:
        return Summary("pipeline", run_id, tables={"would": pending.words, **job.request.tables_left_out()})
    if pending.is_nothing:
        summary = job.unchanged(pending)
    else:
        with job.request.lake.hold(job.tables(), run_id, arguments.wait), Progress() as progress:
            summary = job.run(progress)
    show_result(job, summary, time.monotonic() - started)
    return summary


@dataclass(frozen=True)
class Pending:
    """What a run would do."""

    files: Mapping[str, Sequence[RawFile]]
    due: Due
    unjudged: Sequence[Snapshot]
    unpublished: Sequence[Unpublished]
    held_back: Sequence[Verdict]

    @property
    def is_nothing(self) -> bool:
        """Whether a run would change nothing: a day that is held back is no work until something else is asked of it."""
        return not (self.files or self.due.make or self.unjudged or any(not item.held_back for item in self.unpublished))

    @property
    def words(self) -> list[str]:
        """What a run would do, a line each."""
        return [
            *(f"take in {len(found):,} files of {source}" for source, found in self.files.items() if found),
            *map(str, self.due.make),
            *(f"judge {snapshot.group} as of {snapshot.as_of}" for snapshot in self.unjudged),
            *(f"publish {item}" for item in self.unpublished if not item.held_back),
        ]


@dataclass(frozen=True)
class Pipeline:
    """One run of the main job."""

    request: Request
    run_id: str
    conf: str | None = None

    @cached_property
    def written(self) -> Written:
        """The expectations written by hand."""
        from jobs import validate

        return validate.load_rules(self.conf, self.request.catalogue, self.request.compiled)

    def tables(self) -> list[str]:
        """Every table that the run may write, each held for as long as it runs."""
        from jobs import materialize

        return [
            *(f"curated/{source}" for source in self.request.catalogue.sources),
            *materialize.tables_written(self.request.compiled, self.request.groups),
            *(f"published/{group}" for group in self.request.groups),
        ]

    def pending(self) -> Pending:
        """What a run would do. No Spark."""
        from jobs import curate, ingest, validate
        from jobs.due import Ledgers, find_due

        request = self.request
        files = curate.pending_files(request.catalogue.sources, request.settings.raw, request.lake)
        ledgers = Ledgers.of(request.compiled, request.days, request.lake)
        due = find_due(ledgers, request.days, request.lake, restating=request.restating, horizon=request.horizon)
        to_make = {(wanted.group, wanted.day) for wanted in due.make}
        days = self._days_to_publish(to_make, due.to_restate)
        there = [snapshot for snapshot in self._current(days) if (snapshot.group, snapshot.day) not in to_make]
        unjudged = validate.pending(there, **self._judging())
        open_ = {(snapshot.group, snapshot.as_of) for snapshot in unjudged}
        judged = [snapshot for snapshot in there if (snapshot.group, snapshot.as_of) not in open_]
        verdicts = [validate.verdict_of(request.lake, snapshot) for snapshot in judged]
        return Pending(
            files,
            due,
            unjudged,
            ingest.pending(request.compiled, days, request.lake, request.settings),
            [verdict for verdict in verdicts if verdict is not None and not verdict.passed],
        )

    def unchanged(self, pending: Pending) -> Summary:
        """The summary of a run that had nothing to do. Raises HeldBack where a day is, as the run before did."""
        from conf.errors import HeldBack
        from jobs import validate
        from jobs.due import say_what_to_restate
        from stores.snapshots import SnapshotTable

        say_what_to_restate(pending.due.to_restate)
        if message := validate.held_back_message(pending.held_back, self.request.lake):
            raise HeldBack(message)
        tables: dict[str, Any] = self.request.tables_left_out()
        for group, days in self.request.days.items():
            snapshot = SnapshotTable(self.request.lake.storage, group).current(days[-1])
            tables[f"snapshots/{group}"] = {"rows": snapshot.rows if snapshot else 0, "published": 0, "unchanged": True}
        counts = {"changed": 0, "to_restate": len(pending.due.to_restate)}
        return Summary("pipeline", self.run_id, counts=counts, tables=tables)

    def run(self, progress: Progress) -> Summary:
        """Every step, each of which does only what is missing; groups that are held back don't keep the others back."""
        from conf.errors import HeldBack
        from jobs import curate, ingest, materialize, validate
        from jobs.due import say_what_to_restate
        from jobs.workers import open_workers

        request = self.request
        files = curate.pending_files(request.catalogue.sources, request.settings.raw, request.lake)
        curate.check_before_spark(request.catalogue.sources, files, request.settings, request.lake)
        size = sum(file.size for found in files.values() for file in found)
        workers = open_workers(request.settings, progress, light=size < SMALL_BYTES)
        taken = curate.run(
            sources=request.catalogue.sources,
            raw=request.settings.raw,
            lake=request.lake,
            workers=workers,
            settings=request.settings,
            run_id=self.run_id,
            progress=progress,
        )
        made = materialize.run(
            compiled=request.compiled,
            days=request.days,
            lake=request.lake,
            workers=workers,
            run_id=self.run_id,
            progress=progress,
            restating=request.restating,
            horizon=request.horizon,
            days_at_once=request.settings.snapshots.days_at_once,
            writer=request.settings.writer,
        )
        days = self._days_to_publish([(s.group, s.day) for s in (*made.made, *made.confirmed)], made.to_restate)
        judged = validate.run(
            snapshots=self._current(days), spark=workers.spark, run_id=self.run_id, progress=progress, **self._judging()
        )
        published = ingest.run(
            compiled=request.compiled,
            days=days,
            lake=request.lake,
            workers=workers,
            settings=request.settings,
            run_id=self.run_id,
            progress=progress,
        )
        summary = _summary(self.run_id, taken, made, judged, published, request.tables_left_out())
        request.lake.write_run(self.run_id, "pipeline", asdict(summary))
        say_what_to_restate(made.to_restate)
        if message := validate.held_back_message(judged.verdicts, request.lake):
            raise HeldBack(message)
        taken.raise_if_failed()
        published.raise_if_failed(request.lake)
        return summary

    def _judging(self) -> dict[str, Any]:
        """What validation needs beside the snapshots."""
        request = self.request
        return {
            "catalogue": request.catalogue,
            "compiled": request.compiled,
            "written": self.written,
            "lake": request.lake,
            "settings": request.settings,
        }

    def _days_to_publish(self, made: Collection[tuple[str, date]], to_restate: Sequence[Wanted]) -> Days:
        """The days asked for and those made; with `--restate`, those too that an earlier run restated and didn't publish.

        Days left as another definition made them stay as they were published.
        """
        from jobs.unpublished import restated_and_unpublished

        request = self.request
        days: dict[str, set[date]] = {group: set(asked) for group, asked in request.days.items()}
        for group, day in made:
            days[group].add(day)
        if request.restating == "all":
            for group, some in restated_and_unpublished(request.groups, request.lake, request.settings).items():
                days[group] |= set(some)
        for wanted in to_restate:
            assert wanted.current is not None
            if wanted.current.definition != request.compiled.group(wanted.group).version:
                days[wanted.group].discard(wanted.day)
        return {group: tuple(sorted(some)) for group, some in days.items() if some}

    def _current(self, days: Days) -> list[Snapshot]:
        from stores.snapshots import SnapshotTable

        tables = {group: SnapshotTable(self.request.lake.storage, group) for group in days}
        return [found for group, some in days.items() for day in some if (found := tables[group].current(day)) is not None]


def _summary(
    run_id: str,
    taken: CurateSummary,
    made: MaterializeSummary,
    judged: ValidateSummary,
    published: IngestSummary,
    left_out: Mapping[str, Any],
) -> Summary:
    from jobs import materialize

    tables: dict[str, dict[str, Any]] = {f"curated/{name}": asdict(source) for name, source in taken.sources.items()}
    tables |= materialize.table_summaries(made)
    for group in published.groups.values():
        tables.setdefault(f"snapshots/{group.group}", {}).update(group.counts)
    of_ledgers = ("files", "read", "kept", "duplicates", "quarantined", "late", "late_beyond_horizon")
    counts = {name: taken.counts[name] for name in of_ledgers}
    counts |= {"snapshot_rows": sum(snapshot.rows for snapshot in made.made)}
    counts |= {name: count for name, count in materialize.counts_of(made).items() if name not in ("made", "rows")}
    counts |= {
        name: published.counts.get(name, 0) for name in ("published", "held_back", "sent", "written", "skipped", "dead_lettered")
    }
    changed = taken.counts["files"] or made.made or made.confirmed or judged.made or published.changed
    return Summary("pipeline", run_id, counts=counts | {"changed": int(bool(changed))}, tables=tables | dict(left_out))


if __name__ == "__main__":
    sys.exit(main())
