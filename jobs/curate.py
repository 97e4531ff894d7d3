"""Raw files to curated ledgers: typed, every version once, both clocks; what can't be kept goes to quarantine."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from conf.errors import InputError
from conf.specs import Source
from jobs.arguments import JobParser, load_settings_for, names
from jobs.engines import InProcess, InSpark, SqlEngine
from jobs.orphans import count_orphans
from jobs.set_aside import begin, bring_up_to_date, commits_to_take_in, delivered, ledger_of
from jobs.summary import Summary, run_job
from jobs.take_in import COUNTED, FailedFile, SourceSummary, SourceWork
from stores.lake import CuratedTable, Lake
from stores.raw import RawFile, find_files, fingerprint
from stores.storage import Storage, need_folder
from transforms.curated import curated_columns
from transforms.reshape import reshape_inputs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from jobs.progress import Progress
    from jobs.workers import Workers

WAIT_SECONDS = 60.0
_AT_ONCE = 3
"""Sources under way at the same time: while one commits, another computes."""
IN_PROCESS_BYTES = 2**30
"""Of a source's new files: up to so many are taken in without Spark, for a third of what Spark costs; memory is bounded."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CurateSummary:
    """What a run took in, by source; sources without new files have zeros."""

    run_id: str
    sources: Mapping[str, SourceSummary]

    @property
    def counts(self) -> dict[str, int]:
        """Files, rows read, kept, duplicates and quarantined, over all sources."""
        return {name: sum(getattr(source, name) for source in self.sources.values()) for name in COUNTED}

    @property
    def failed(self) -> tuple[FailedFile, ...]:
        return tuple(file for source in self.sources.values() for file in source.failed)

    def to_json(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "counts": self.counts, "sources": {k: asdict(v) for k, v in self.sources.items()}}

    def raise_if_failed(self) -> None:
        """Raises InputError that names every file that couldn't be read."""
        if self.failed:
            listed = "\n".join(f"  {file.path} ({file.source}): {file.reason}" for file in self.failed)
            count = "1 file" if len(self.failed) == 1 else f"{len(self.failed)} files"
            raise InputError(
                f"{count} could not be read; the rest was done, and what can't be read was left where it is:\n{listed}\n"
                "Mend or remove each, then run again"
            )


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("curate", "Raw files to typed ledgers.", common=("env", "conf", "raw", "lake", "set", "dry_run"))
    parser.add_argument("--sources", type=names, metavar="A,B", help="only these sources")
    parser.add_argument("--wait", type=float, default=WAIT_SECONDS, metavar="SECONDS", help="how long to wait for another run")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    settings = load_settings_for(arguments)
    from conf.catalogue import load_catalogue

    catalogue = load_catalogue(arguments.conf)
    sources = {name: catalogue.source(name) for name in arguments.sources or catalogue.sources}
    if ledger := ledger_of(catalogue.sources):
        sources[ledger.name] = ledger
    lake = Lake(settings.lake, settings.s3)
    pending = pending_files(sources, settings.raw, lake)
    if arguments.dry_run:
        return Summary("curate", run_id, counts={"files": sum(map(len, pending.values()))}, tables=_would(pending))
    missing = [name for name in sources if lake.curated(name).version() is None]
    if not pending and not missing:
        return Summary("curate", run_id, counts={"files": 0})
    check_before_spark(sources, pending, settings, lake)
    from jobs.progress import Progress
    from jobs.workers import open_workers

    with Progress() as progress:
        summary = run(
            sources=sources,
            raw=settings.raw,
            lake=lake,
            workers=open_workers(settings, progress),
            settings=settings,
            run_id=run_id,
            progress=progress,
            wait_seconds=arguments.wait,
        )
    summary.raise_if_failed()
    tables = {f"curated/{name}": asdict(source) for name, source in summary.sources.items()}
    return Summary("curate", run_id, counts=summary.counts, tables=tables)


def _would(pending: Mapping[str, Sequence[RawFile]]) -> dict[str, Any]:
    return {f"curated/{name}": {"would_take": [file.path for file in files]} for name, files in pending.items()}


def pending_files(sources: Mapping[str, Source], raw: str, lake: Lake) -> dict[str, tuple[RawFile, ...]]:
    """The files that a run would take in, by source; sources without any are left out. Needs no Spark.

    A file is taken in once. One that was taken in and has other content now is a new file: its rows that are known already
    become duplicates, the others are kept. To the ledger of the rows set aside the files are commits of the others, which are
    there when a run was killed.
    Raises: InputError when the raw root is missing.
    """
    storage = lake.storage.elsewhere(raw)
    need_folder(storage, option="--raw")
    raw_files = delivered(sources)
    found = {name: _new_files(source, storage, lake.curated(name))[0] for name, source in raw_files.items()}
    if ledger := ledger_of(sources):
        found[ledger.name] = commits_to_take_in(ledger, raw_files, lake)
    return {name: tuple(files) for name, files in found.items() if files}


def _new_files(source: Source, storage: Storage, table: CuratedTable) -> tuple[list[RawFile], list[str]]:
    """The files to take in, and the paths of those among them that were taken in before with other content."""
    taken = table.taken_files()
    new, changed = [], []
    for file in find_files(source, storage):
        before = taken.get(file.path)
        if before is None:
            new.append(file)
        elif (before.size, before.tag) != (file.size, file.tag) and before.fingerprint != fingerprint(source, storage, file):
            new.append(file)
            changed.append(file.path)
    return new, changed


def check_before_spark(sources: Mapping[str, Source], pending: Iterable[str], settings: Settings, lake: Lake) -> None:
    """What can be known to be wrong before Spark starts.

    Raises: EnvironmentProblem without the key for personal data; DefinitionError for a reshaping select that isn't one, or a
    column whose type differs from the table's.
    """
    for name in pending:
        source = sources[name]
        if any(column.personal == "hmac" for column in source.columns.values()):
            settings.personal_data_key()
        if source.reshape is not None:
            reshape_inputs(source.reshape)
        lake.curated(name).check_columns({k: "long" if v == "bigint" else v for k, v in curated_columns(source).items()})


def run(
    *,
    sources: Mapping[str, Source],
    raw: str,
    lake: Lake,
    workers: Workers,
    settings: Settings,
    run_id: str,
    progress: Progress,
    wait_seconds: float = WAIT_SECONDS,
    in_process_bytes: int = IN_PROCESS_BYTES,
    now: datetime | None = None,
) -> CurateSummary:
    """Take in every new file of `sources`, one commit a source; doing it again changes nothing.

    What isn't kept goes to the ledger of rows set aside, if `sources` has one; `now`, which is aware, is when it became known
    where the rows don't say.

    Spark is started only when a source has more than `in_process_bytes` of new files, or reshapes them.
    Files that can't be read are in the summary's `failed`; call its `raise_if_failed` when all else is done.
    Raises: InputError when the raw root is missing, or has no file of any source and there is no table yet; LeaseError when
    another run writes the same tables; PublishError when rows don't add up.
    """
    storage = lake.storage.elsewhere(raw)
    need_folder(storage, option="--raw")
    with lake.hold([f"curated/{name}" for name in sources], run_id, wait_seconds) as held:
        leases = {lease.table.removeprefix("curated/"): lease for lease in held}
        raw_files, ledger = delivered(sources), ledger_of(sources)
        when = now or datetime.now(UTC)
        works = [
            SourceWork(
                source,
                storage,
                lake,
                settings,
                run_id,
                leases[name],
                *_new_files(source, storage, lake.curated(name)),
                ledger=ledger,
                now=when,
            )
            for name, source in raw_files.items()
        ]
        _check_some_input(works, storage)
        written = [*(work.source.name for work in works if work.files), *([ledger.name] if ledger else [])]
        check_before_spark(sources, written, settings, lake)
        if ledger:  # what a run that was killed didn't come to
            bring_up_to_date(ledger, raw_files, lake, leases[ledger.name])
        here = {work.source.name: _runs_here(work, in_process_bytes) for work in works}
        session = None if all(here.values()) else workers.spark()
        staged = session is not None and not _workers_write(settings, workers, lake, progress)
        with progress.step("curate", total=len(works)) as step, ThreadPoolExecutor(_AT_ONCE) as pool:

            def take_in(work: SourceWork) -> SourceSummary:
                name = work.source.name
                with closing(_engine(None if here[name] else session, lake if staged else None, name)) as engine:
                    summary = work.take_in(engine)
                step.advance(note=f"{name}: {summary.read:,} rows")
                return summary

            # The largest first, so that the others fill the time beside it.
            done = {summary.source: summary for summary in pool.map(take_in, sorted(works, key=lambda work: -work.size))}
        if ledger:
            bring_up_to_date(ledger, raw_files, lake, leases[ledger.name])
            begin(ledger, lake, leases[ledger.name], run_id)
        if any(work.files for work in works):
            for name in written:
                lake.curated(name).remove_strays(run_id)
        with closing(_engine(session)) as engine:
            orphans = count_orphans(raw_files, [name for name in raw_files if done[name].kept], lake, engine, run_id)
    found = {name: replace(done[name], orphans=orphans.get(name, {})) for name in raw_files}
    for source in found.values():
        for note in source.notes:
            _log.warning("%s: %s", source.source, note)
    summary = CurateSummary(run_id, found)
    if any(work.files for work in works):
        lake.write_run(run_id, "curate", summary.to_json())
    return summary


def _check_some_input(works: Sequence[SourceWork], storage: Storage) -> None:
    if works and not any(work.files or work.table.version() is not None for work in works):
        looked = "; ".join(f"{work.source.name}: {work.source.location}" for work in works)
        raise InputError(f"--raw: {storage.root} has no file of any source; looked for {looked}")


def _runs_here(work: SourceWork, in_process_bytes: int) -> bool:
    """Whether a source is taken in without Spark: few bytes, and no reshaping, whose SQL is Spark's own."""
    return work.size <= in_process_bytes and (work.source.reshape is None or not work.files)


def _workers_write(settings: Settings, workers: Workers, lake: Lake, progress: Progress) -> bool:
    from jobs.writers import workers_write

    return workers_write(settings.writer, workers, lake.storage, "curated", progress)


def _engine(spark: SparkSession | None, staged_in: Lake | None = None, source: str = "") -> SqlEngine:
    """`staged_in`: the lake, where Spark's workers may not write the files of a source themselves."""
    if spark is None:
        return InProcess()
    if staged_in is None:
        return InSpark(spark)
    from jobs.writers import STAGED
    from stores.spark_files import SparkFiles

    return InSpark(spark, SparkFiles(spark, staged_in.storage, f"curated/{STAGED}/{source}"))


if __name__ == "__main__":
    import sys

    sys.exit(main())
