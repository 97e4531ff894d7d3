"""Raw files to curated ledgers: typed, every version once, both clocks; what can't be kept goes to quarantine."""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from conf.errors import DefinitionError, InputError, PublishError
from conf.specs import Source
from jobs.arguments import JobParser, load_settings_for, names
from jobs.summary import Summary, run_job
from stores.lake import QUARANTINE_SCHEMA, CuratedTable, Lake, TakenFile, write_rows
from stores.lease import Lease
from stores.raw import CARRIED, FileOutcome, RawFile, find_files, raw_format, read_files
from stores.storage import Storage, need_folder, open_storage

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from conf.settings import Settings
    from jobs.progress import Progress

WAIT_SECONDS = 60.0
_AT_ONCE = 3
"""Sources under way at the same time: while one commits, another computes."""
_SMALL_BYTES = 16 * 2**20
"""New files of no more than this are read twice, so that only the rows of their own keys are fetched from the table."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailedFile:
    """A file that can't be read at all: left where it is, and tried again by the next run."""

    source: str
    path: str
    reason: str


@dataclass(frozen=True)
class SourceSummary:
    """What became of one source's new files: `read = kept + duplicates + quarantined`, always."""

    source: str
    files: int = 0
    read: int = 0
    kept: int = 0
    duplicates: int = 0
    quarantined: int = 0
    rules: Mapping[str, int] = field(default_factory=dict)
    """Quarantined rows by rule; a row that breaks several counts under each."""
    rounded: int = 0
    """Amounts among the kept rows that had more than two decimals."""
    late: int = 0
    """Kept rows that became known after the end of their own local day."""
    orphans: Mapping[str, int] = field(default_factory=dict)
    """Kept rows by referring column whose value isn't the key of the source referred to."""
    failed: tuple[FailedFile, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class CurateSummary:
    """What a run took in, by source; sources without new files have zeros."""

    run_id: str
    sources: Mapping[str, SourceSummary]

    @property
    def counts(self) -> dict[str, int]:
        """Files, rows read, kept, duplicates and quarantined, over all sources."""
        counted = ("files", "read", "kept", "duplicates", "quarantined", "rounded", "late")
        return {name: sum(getattr(source, name) for source in self.sources.values()) for name in counted}

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
    lake = Lake(settings.lake)
    pending = pending_files(sources, settings.raw, lake)
    if arguments.dry_run:
        return Summary("curate", run_id, counts={"files": sum(map(len, pending.values()))}, tables=_would(pending))
    missing = [name for name in sources if lake.curated(name).version() is None]
    if not pending and not missing:
        return Summary("curate", run_id, counts={"files": 0})
    check_before_spark(sources, pending, settings, lake)
    from jobs.progress import Progress
    from jobs.session import open_session

    with Progress() as progress:
        with progress.step("Spark starts"):
            spark = open_session(settings)
        summary = run(
            sources=sources,
            raw=settings.raw,
            lake=lake,
            spark=spark,
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
    become duplicates, the others are kept.
    Raises: InputError when the raw root is missing.
    """
    storage = open_storage(raw)
    need_folder(storage, option="--raw")
    found = {name: _new_files(source, storage, lake.curated(name))[0] for name, source in sources.items()}
    return {name: tuple(files) for name, files in found.items() if files}


def _new_files(source: Source, storage: Storage, table: CuratedTable) -> tuple[list[RawFile], list[str]]:
    """The files to take in, and the paths of those among them that were taken in before with other content."""
    taken = table.taken_files()
    new, changed = [], []
    for file in find_files(source, storage):
        before = taken.get(file.path)
        if before is None:
            new.append(file)
        elif (before.size, before.tag) != (file.size, file.tag) and before.fingerprint != _fingerprint(source, storage, file):
            new.append(file)
            changed.append(file.path)
    return new, changed


def _fingerprint(source: Source, storage: Storage, file: RawFile) -> str:
    return f"delta:{file.tag}" if source.format == "delta" else storage.fingerprint(file.path)


def check_before_spark(sources: Mapping[str, Source], pending: Iterable[str], settings: Settings, lake: Lake) -> None:
    """What can be known to be wrong before Spark starts.

    Raises: EnvironmentProblem without the key for personal data; DefinitionError for a reshaping select that isn't one, or a
    column whose type differs from the table's.
    """
    from transforms.conform import curated_columns, reshape_inputs

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
    spark: SparkSession,
    settings: Settings,
    run_id: str,
    progress: Progress,
    wait_seconds: float = WAIT_SECONDS,
) -> CurateSummary:
    """Take in every new file of `sources`, one commit a source; doing it again changes nothing.

    Files that can't be read are in the summary's `failed`; call its `raise_if_failed` when all else is done.
    Raises: InputError when the raw root is missing, or has no file of any source and there is no table yet; LeaseError when
    another run writes the same tables; PublishError when rows don't add up.
    """
    storage = open_storage(raw)
    need_folder(storage, option="--raw")
    with lake.hold([f"curated/{name}" for name in sources], run_id, wait_seconds) as held:
        leases = {lease.table.removeprefix("curated/"): lease for lease in held}
        works = [
            _SourceWork(
                source, storage, lake, spark, settings, run_id, leases[name], *_new_files(source, storage, lake.curated(name))
            )
            for name, source in sources.items()
        ]
        _check_some_input(works, storage)
        check_before_spark(sources, [work.source.name for work in works if work.files], settings, lake)
        with progress.step("curate", total=len(works)) as step, ThreadPoolExecutor(_AT_ONCE) as pool:

            def take_in(work: _SourceWork) -> SourceSummary:
                summary = work.take_in()
                step.advance(note=f"{work.source.name}: {summary.read:,} rows")
                return summary

            # The largest first, so that the others fill the time beside it.
            order = sorted(works, key=lambda work: -sum(file.size for file in work.files))
            done = {summary.source: summary for summary in pool.map(take_in, order)}
        orphans = count_orphans(sources, [name for name in sources if done[name].kept], lake, spark, run_id)
    found = {name: replace(done[name], orphans=orphans.get(name, {})) for name in sources}
    for source in found.values():
        for note in source.notes:
            _log.warning("%s: %s", source.source, note)
    summary = CurateSummary(run_id, found)
    if any(work.files for work in works):
        lake.write_run(run_id, "curate", summary.to_json())
    return summary


def _check_some_input(works: Sequence[_SourceWork], storage: Storage) -> None:
    if works and not any(work.files or work.table.version() is not None for work in works):
        looked = "; ".join(f"{work.source.name}: {work.source.location}" for work in works)
        raise InputError(f"--raw: {storage.root} has no file of any source; looked for {looked}")


@dataclass(frozen=True)
class _SourceWork:
    """One source's new files on their way into its table."""

    source: Source
    raw: Storage
    lake: Lake
    spark: SparkSession
    settings: Settings
    run_id: str
    lease: Lease
    files: Sequence[RawFile]
    changed: Sequence[str]

    @property
    def table(self) -> CuratedTable:
        return self.lake.curated(self.source.name)

    def take_in(self) -> SourceSummary:
        """Read, judge and commit the new files; those that can't be read are left out, wholly."""
        started = time.monotonic()
        self.table.save_index()
        files, failed = list(self.files), dict[str, str]()
        notes = [f"{path} was taken in before and has changed since: read again as a new file" for path in self.changed]
        summary = SourceSummary(self.source.name)
        while files:
            summary, outcomes = self._attempt(files)
            failed |= {outcome.path: outcome.problem for outcome in outcomes if outcome.problem}
            files = [file for file in files if file.path not in failed]
            if summary.files:  # committed
                notes += [f"{outcome.path}: {note}" for outcome in outcomes for note in outcome.notes]
                break
        if self.table.version() is None:
            self._make_table()
            if not self.files:
                notes.append(f"no files at {self.source.location}; the table is empty")
        return replace(
            summary,
            failed=tuple(FailedFile(self.source.name, path, reason) for path, reason in sorted(failed.items())),
            notes=tuple(notes),
            seconds=round(time.monotonic() - started, 3),
        )

    def _attempt(self, files: Sequence[RawFile]) -> tuple[SourceSummary, list[FileOutcome]]:
        """Take the files in, unless rows of one that can't be read lie among the others: then nothing, and say which."""
        from transforms.deduplicate import KEPT

        reads = self._reads()
        raw_rows = read_files(self.spark, self.raw, files, raw_format(self.source, self.raw, files, reads=reads))
        if reads is not None:
            raw_rows = raw_rows.persist()
        classified = self._classify(raw_rows, files).persist()
        try:
            found = _Found.of(classified, self.source, self.settings)
            outcomes = [self._unchanged(file, found.outcomes) for file in files]
            broken = {outcome.path for outcome in outcomes if outcome.problem}
            taken = [file for file in files if file.path not in broken]
            if not taken or any(outcome.rows for outcome in outcomes if outcome.problem):
                return SourceSummary(self.source.name), outcomes
            summary = found.summary(self.source, outcomes, len(taken))
            self._quarantine(classified, summary.quarantined)
            columns = self._columns()
            kept = classified.where(f"_class = '{KEPT}'").selectExpr(*(f"`{name}`" for name in columns))
            self.table.append(
                self.spark.sql("select /*+ rebalance(_month) */ * from {rows}", rows=kept),
                run_id=self.run_id,
                taken=self._taken(taken),
                counts={
                    "files": summary.files,
                    "read": summary.read,
                    "kept": summary.kept,
                    "duplicates": summary.duplicates,
                    "quarantined": summary.quarantined,
                    "rounded": summary.rounded,
                    "late": summary.late,
                },
                earliest_effect=found.earliest_effect,
                partitions=found.partitions,
                lease=self.lease,
            )
            return summary, outcomes
        finally:
            classified.unpersist()
            raw_rows.unpersist()

    def _reads(self) -> tuple[set[str], bool] | None:
        from transforms.conform import reshape_inputs

        return None if self.source.reshape is None else reshape_inputs(self.source.reshape)

    def _classify(self, raw_rows: DataFrame, files: Sequence[RawFile]) -> DataFrame:
        from pyspark.sql import functions as F

        from transforms.conform import conform, reshape
        from transforms.deduplicate import classify

        source = self.source
        if source.reshape is not None:
            readable = raw_rows.where("_line is not null and _unreadable is null")
            rows = reshape(readable, sql=source.reshape)
            if absent := [name for name in source.columns if name not in rows.columns]:
                raise DefinitionError(
                    f"{source.name}: the reshape select gives no column '{absent[0]}'; it gives: "
                    f"{', '.join(name for name in rows.columns if not name.startswith('_'))}"
                )
            others = raw_rows.where("_line is null or _unreadable is not null").select(*CARRIED)
            raw_rows = rows.unionByName(others, allowMissingColumns=True)
        hashed = any(column.personal == "hmac" for column in source.columns.values())
        key = self.settings.personal_data_key() if hashed else None
        conformed = conform(raw_rows, source=source, personal_key=key)
        by = [*source.key, *([source.version] if source.version and source.version not in source.key else [])]
        known = self.table.read(self.spark)
        if known is not None:
            known = known.select(*(F.col(f"`{name}`") for name in (*by, "_row_hash", "_file", "_line")))
        few = sum(file.size for file in files) <= _SMALL_BYTES
        classified = classify(conformed, by=by, known=known, few=few)
        return classified.withColumn("_run", F.lit(self.run_id))

    def _columns(self) -> list[str]:
        from transforms.conform import curated_columns

        return list(curated_columns(self.source))

    def _unchanged(self, file: RawFile, outcomes: Mapping[str, FileOutcome]) -> FileOutcome:
        """What became of a file; a file that was written to while it was read can't be taken in wholly."""
        outcome = outcomes.get(file.path)
        if outcome is None:
            raise PublishError(f"{self.source.name}: nothing is known of {file.path} after it was read; run again")
        if outcome.problem is None and self.source.format != "delta":
            now = self.raw.stat(file.path)
            if now is None or (now.size, now.tag) != (file.size, file.tag):
                return replace(outcome, problem="it changed while it was read; run again when it is written")
        return outcome

    def _taken(self, files: Sequence[RawFile]) -> list[TakenFile]:
        with ThreadPoolExecutor(4) as pool:
            prints = list(pool.map(lambda file: _fingerprint(self.source, self.raw, file), files))
        return [TakenFile(file.path, file.size, file.tag, told) for file, told in zip(files, prints, strict=True)]

    def _quarantine(self, classified: DataFrame, count: int) -> None:
        """Write what is neither kept nor a duplicate to one file of the run's quarantine."""
        from pyspark.sql import functions as F

        from transforms.deduplicate import BAD, CONFLICT

        if not count:
            return
        shown = [name for name, column in self.source.columns.items() if column.personal is None]
        conflict = F.col("_class") == CONFLICT
        row = F.when(conflict, F.to_json(F.struct(*(F.col(f"`{name}`") for name in shown)))).otherwise(F.col("_row"))
        keys = [
            F.concat(F.lit(f"{name}="), F.col(f"`{name}`").cast("string"))
            for name in self.source.key
            if self.source.columns[name].personal in (None, "hmac")
        ]
        bad = classified.where(F.col("_class").isin(BAD, CONFLICT) & F.col("_line").isNotNull()).select(
            F.lit(self.source.name).alias("source_or_group"),
            F.col("_file").alias("file"),
            F.col("_line").alias("line"),
            F.coalesce("_key", F.concat_ws(", ", *keys)).alias("key"),
            F.array_join("_reasons.rule", "; ").alias("rule"),
            F.array_join("_reasons.reason", "; ").alias("reason"),
            row.alias("row"),
        )
        path = self.lake.quarantine_path(self.run_id, self.source.name)
        write = partial(_write_quarantine, storage=self.lake.storage, path=path)
        written = bad.coalesce(1).mapInArrow(write, "rows bigint").collect()[0]["rows"]
        if written != count:
            raise PublishError(f"{self.source.name}: {count:,} rows to quarantine were counted and {written:,} written to {path}")

    def _make_table(self) -> None:
        """A table without rows, so that a source without files is read as any other."""
        from transforms.conform import curated_columns

        schema = ", ".join(f"`{name}` {kind}" for name, kind in curated_columns(self.source).items())
        self.table.append(
            self.spark.createDataFrame([], schema),
            run_id=self.run_id,
            taken=(),
            counts={"kept": 0},
            earliest_effect=None,
            partitions=(),
            lease=self.lease,
        )


def _write_quarantine(batches: Iterable[pa.RecordBatch], *, storage: Storage, path: str) -> Iterator[pa.RecordBatch]:
    import pyarrow

    rows = write_rows(storage, path, batches, QUARANTINE_SCHEMA)
    yield pyarrow.RecordBatch.from_pydict({"rows": pyarrow.array([rows], pyarrow.int64())})


@dataclass(frozen=True)
class _Found:
    """What one pass over the classified rows counted."""

    outcomes: Mapping[str, FileOutcome]
    classes: Mapping[str, int]
    rules: Mapping[str, int]
    rounded: int
    late: int
    earliest_effect: int | None
    partitions: tuple[str, ...]

    @classmethod
    def of(cls, classified: DataFrame, source: Source, settings: Settings) -> _Found:
        from pyspark.sql import functions as F

        from transforms.deduplicate import KEPT

        kept = F.col("_class") == KEPT
        zone = settings.time_zone
        day_end = F.to_utc_timestamp(F.date_add(F.to_date(F.from_utc_timestamp("_event_time", zone)), 1).cast("timestamp"), zone)
        known_effect = F.unix_micros("_known_time") - int(source.grace.total_seconds() * 1_000_000)
        effect = F.greatest(F.unix_micros("_event_time") + 1, known_effect)
        is_file = F.col("_line").isNull()
        rows = (
            classified.groupBy(
                F.when(is_file, F.col("_file")).alias("file"),
                F.when(is_file, F.col("_reasons")[0]["reason"]).alias("told"),
                F.col("_class").alias("kind"),
                F.when(~is_file & ~kept, F.array_join("_reasons.rule", "; ")).alias("rules"),
                F.when(kept, F.col("_month")).alias("month"),
            )
            .agg(
                F.count("*").alias("rows"),
                F.sum(F.when(kept, F.col("_rounded"))).alias("rounded"),
                F.sum(F.when(kept & (F.col("_known_time") > day_end), 1)).alias("late"),
                F.min(F.when(kept, effect)).alias("effect"),
            )
            .collect()
        )
        outcomes, classes, rules = dict[str, FileOutcome](), dict[str, int](), dict[str, int]()
        for row in rows:
            if row["file"] is not None:
                outcomes[row["file"]] = FileOutcome.of(row["file"], row["told"])
                continue
            classes[row["kind"]] = classes.get(row["kind"], 0) + row["rows"]
            for rule in filter(None, (row["rules"] or "").split("; ")):
                rules[rule] = rules.get(rule, 0) + row["rows"]
        return cls(
            outcomes,
            classes,
            dict(sorted(rules.items())),
            sum(row["rounded"] or 0 for row in rows),
            sum(row["late"] or 0 for row in rows),
            min((row["effect"] for row in rows if row["effect"] is not None), default=None),
            tuple(sorted(row["month"] for row in rows if row["month"] is not None)),
        )

    def summary(self, source: Source, outcomes: Sequence[FileOutcome], files: int) -> SourceSummary:
        """Raises PublishError when the rows that the readers saw aren't those that were judged."""
        from transforms.deduplicate import BAD, CONFLICT, DUPLICATE, KEPT

        judged = sum(self.classes.values())
        read = judged if source.reshape is not None else sum(outcome.rows for outcome in outcomes)
        quarantined = self.classes.get(BAD, 0) + self.classes.get(CONFLICT, 0)
        kept, duplicates = self.classes.get(KEPT, 0), self.classes.get(DUPLICATE, 0)
        if read != kept + duplicates + quarantined:
            raise PublishError(
                f"{source.name}: {read:,} rows were read, of which {kept:,} kept, {duplicates:,} duplicates and {quarantined:,} "
                "quarantined don't make all; nothing was committed"
            )
        return SourceSummary(
            source.name, files, read, kept, duplicates, quarantined, self.rules, rounded=self.rounded, late=self.late
        )


def count_orphans(
    sources: Mapping[str, Source], changed: Sequence[str], lake: Lake, spark: SparkSession, run_id: str
) -> dict[str, dict[str, int]]:
    """Rows that this run kept whose reference isn't a key of the source referred to, by source and column.

    A null refers to nothing. All references are looked up in one pass, over the tables' files: asking Delta for so many
    tables at once costs more than the look-up.
    """
    from pyspark.sql import functions as F

    def values(files: Sequence[str], column: str, kind: str) -> DataFrame:
        rows = spark.read.schema(f"`{column}` {kind}").parquet(*files)
        return rows.where(F.col(f"`{column}`").isNotNull()).select(F.col(f"`{column}`").cast("string").alias("value"))

    from transforms.conform import curated_columns

    types = {name: curated_columns(source) for name, source in sources.items()}
    found: dict[str, dict[str, int]] = {}
    children: list[DataFrame] = []
    parents: dict[str, DataFrame] = {}
    for name in changed:
        table = lake.curated(name)
        mine = [file for commit in table.commits() if commit.run_id == run_id for file in table.files_added(commit.version)]
        for column, parent in sources[name].references.items():
            if not mine or parent not in sources or column not in types[name]:
                continue
            key = column if column in sources[parent].key else sources[parent].key[0]
            theirs = lake.curated(parent).files()
            found.setdefault(name, {})[column] = 0
            target = f"{parent}.{key}"
            names = [F.lit(text).alias(alias) for text, alias in ((name, "source"), (column, "column"), (target, "target"))]
            children.append(values(mine, column, types[name][column]).select(*names, "value"))
            if theirs:
                parents[target] = values(theirs, key, types[parent][key]).select(F.lit(target).alias("target"), "value")
    if children:
        referring = reduce(lambda a, b: a.unionByName(b), children)
        if parents:
            keys = reduce(lambda a, b: a.unionByName(b), parents.values())
            referring = referring.join(keys, on=["target", "value"], how="left_anti")
        for row in referring.groupBy("source", "column").count().collect():
            found[row["source"]][row["column"]] = row["count"]
    return found


if __name__ == "__main__":
    import sys

    sys.exit(main())
