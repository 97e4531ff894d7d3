"""The main job: curate -> materialize -> validate -> ingest, for one as-of day or those missed since the last."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from conf.errors import UsageError
from jobs.arguments import JobParser, load_settings_for
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.catalogue import Catalogue
    from conf.settings import Settings
    from jobs.curate import CurateSummary
    from jobs.ingest import IngestSummary
    from jobs.materialize import MaterializeSummary
    from jobs.progress import Progress
    from jobs.validate import ValidateSummary
    from stores.lake import Lake
    from transforms.feature_group import Compiled

SMALL_BYTES = 200 * 2**20  # of new raw files: below it, most of a run is Java compiling what it runs once


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("pipeline", "Raw files to published features: curate, materialize, validate and ingest.")
    parser.add_argument("--catch-up", action="store_true", help="also the days missed since the last one that was made")
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS", help="how long to wait for another run (default: 60)")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    started = time.monotonic()
    settings = load_settings_for(arguments)
    from conf.catalogue import load_catalogue  # what follows takes longer than a wrong argument should
    from transforms.feature_group import compile_groups

    catalogue = load_catalogue(arguments.conf)
    compiled = compile_groups(catalogue, settings.time_zone)
    groups = tuple(group.name for group in catalogue.select(arguments.groups))
    as_of = as_of_day(arguments.as_of, catalogue, settings.time_zone)
    from jobs.closing import show_result, show_start
    from jobs.progress import Progress
    from stores.lake import Lake

    lake = Lake(settings.lake)
    days = _days(as_of, groups, lake, catch_up=arguments.catch_up)
    job = Pipeline(catalogue, compiled, groups, tuple(days), settings, lake, run_id, arguments.conf)
    show_start(job)
    if arguments.dry_run:
        return job.foresee()
    pending = job.pending()
    if not pending:
        summary = job.unchanged()
    else:
        with lake.hold(job.tables(), run_id, arguments.wait), Progress() as progress:
            summary = job.run(progress)
    show_result(job, summary, time.monotonic() - started)
    return summary


def as_of_day(asked: date | None, catalogue: Catalogue, zone: str, now: datetime | None = None) -> date:
    """The day asked for, or the last whose cut-off plus the largest grace has passed. Raises UsageError for a later one."""
    from transforms.calendar import last_complete_day

    grace = max((source.grace for source in catalogue.sources.values()), default=timedelta())
    latest = last_complete_day(now or datetime.now(UTC), zone, grace)
    if asked is not None and asked > latest:
        raise UsageError(
            f"--as-of {asked}: that day isn't over yet in {zone}"
            + (f" with a grace of {grace}" if grace else "")
            + f"; the latest is {latest}"
        )
    return asked or latest


def _days(as_of: date, groups: Sequence[str], lake: Lake, *, catch_up: bool) -> list[date]:
    """The as-of day, with `catch_up` those since the newest day that every group has."""
    from stores.snapshots import SnapshotTable

    made = [SnapshotTable(lake.storage, group).days() for group in groups]
    if not catch_up or not all(made):
        return [as_of]
    newest = min(days[-1] for days in made)
    return [newest + timedelta(days=n) for n in range(1, (as_of - newest).days)] + [as_of]


@dataclass(frozen=True)
class Pipeline:
    """One run of the main job."""

    catalogue: Catalogue
    compiled: Compiled
    groups: tuple[str, ...]
    days: tuple[date, ...]
    settings: Settings
    lake: Lake
    run_id: str
    conf: str | None = None

    def tables(self) -> list[str]:
        """Every table that the run may write, each held for as long as it runs."""
        entities = {self.compiled.groups[group].entity for group in self.groups}
        return [
            *(f"curated/{source}" for source in self.catalogue.sources),
            *(f"facts/{entity}" for entity in sorted(entities)),
            *(f"snapshots/{group}" for group in self.groups),
            *(f"published/{group}" for group in self.groups),
        ]

    def pending(self) -> list[str]:
        """What a run would do, in words; empty when nothing changed. No Spark."""
        from jobs import curate, ingest, materialize

        files = curate.pending_files(self.catalogue.sources, self.settings.raw, self.lake)
        told = [f"take in {len(found):,} files of {source}" for source, found in files.items() if found]
        missing = materialize.wanted(self.compiled, self.groups, self.days, self.lake)
        told += [f"compute {item.group} as of {item.day}" for item in missing]
        unpublished = ingest.pending(self.compiled, self.groups, self.days, self.lake, self.settings)
        return told + [f"publish {item}" for item in unpublished]

    def foresee(self) -> Summary:
        return Summary("pipeline", self.run_id, tables={"would": self.pending()})

    def unchanged(self) -> Summary:
        from stores.snapshots import SnapshotTable

        tables = {}
        for group in self.groups:
            snapshot = SnapshotTable(self.lake.storage, group).current(self.days[-1])
            tables[f"snapshots/{group}"] = {"rows": snapshot.rows if snapshot else 0, "published": 0, "unchanged": True}
        return Summary("pipeline", self.run_id, counts={"changed": 0}, tables=tables)

    def run(self, progress: Progress) -> Summary:
        """Every step, each of which does only what is missing; groups that are held back don't keep the others back."""
        from conf.errors import HeldBack
        from jobs import curate, ingest, materialize, validate

        files = curate.pending_files(self.catalogue.sources, self.settings.raw, self.lake)
        curate.check_before_spark(self.catalogue.sources, files, self.settings, self.lake)
        size = sum(file.size for found in files.values() for file in found)
        written = validate.load_rules(self.conf, self.catalogue, self.compiled)

        @cache
        def spark() -> SparkSession:
            from jobs.session import open_session

            with progress.step("Spark starts"):
                return open_session(self.settings, light=size < SMALL_BYTES)

        taken = curate.run(
            sources=self.catalogue.sources,
            raw=self.settings.raw,
            lake=self.lake,
            spark=spark(),
            settings=self.settings,
            run_id=self.run_id,
            progress=progress,
        )
        made = materialize.run(
            compiled=self.compiled,
            groups=self.groups,
            days=self.days,
            lake=self.lake,
            spark=spark(),
            run_id=self.run_id,
            progress=progress,
        )
        materialize.check_rows(made.current)
        judged = validate.run(
            snapshots=made.current,
            catalogue=self.catalogue,
            compiled=self.compiled,
            written=written,
            lake=self.lake,
            spark=spark,
            settings=self.settings,
            run_id=self.run_id,
            progress=progress,
        )
        published = ingest.run(
            compiled=self.compiled,
            groups=self.groups,
            days=self.days,
            lake=self.lake,
            spark=spark(),
            settings=self.settings,
            run_id=self.run_id,
            progress=progress,
        )
        summary = _summary(self.run_id, taken, made, judged, published)
        self.lake.write_run(self.run_id, "pipeline", asdict(summary))
        held_back = validate.held_back_message(judged.verdicts, self.lake)
        if held_back:
            raise HeldBack(held_back)
        taken.raise_if_failed()
        published.raise_if_failed(self.lake)
        return summary


def _summary(
    run_id: str, taken: CurateSummary, made: MaterializeSummary, judged: ValidateSummary, published: IngestSummary
) -> Summary:
    tables: dict[str, dict[str, Any]] = {f"curated/{name}": asdict(source) for name, source in taken.sources.items()}
    for snapshot in made.current:
        table = tables.setdefault(f"snapshots/{snapshot.group}", {"rows": 0, "made": 0})
        table["rows"] += snapshot.rows
        table["made"] += snapshot in made.made
    for group in published.groups.values():
        tables[f"snapshots/{group.group}"] |= group.counts
    counts = {name: taken.counts[name] for name in ("files", "read", "kept", "duplicates", "quarantined", "late")}
    counts |= {"snapshot_rows": sum(snapshot.rows for snapshot in made.made)}
    counts |= {
        name: published.counts.get(name, 0) for name in ("published", "held_back", "sent", "written", "skipped", "dead_lettered")
    }
    counts["changed"] = int(bool(taken.counts["files"] or made.made or judged.made or published.changed))
    return Summary("pipeline", run_id, counts=counts, tables=tables)


if __name__ == "__main__":
    sys.exit(main())
