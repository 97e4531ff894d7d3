"""One source's new files on their way into its curated table: read, judged, set aside or kept, and committed together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import orjson
import pyarrow as pa

from conf.errors import DefinitionError, PublishError
from conf.settings import Settings
from conf.specs import Source
from jobs.engines import Batches, InSpark, SqlEngine, Table
from jobs.set_aside import write_set_aside
from stores.curated_files import CuratedFile, write_curated
from stores.lake import QUARANTINE_SCHEMA, CuratedTable, Lake, SetAsideFiles, TakenFile, write_rows
from stores.lease import Lease
from stores.raw import FileOutcome, RawFile, RawFormat, fingerprint, raw_format, read_file, reading_tasks
from stores.storage import Storage
from transforms.calendar import iso_utc, microseconds
from transforms.conform import CARRIED, Conform, conformed_columns
from transforms.curated import arrow_schema, curated_columns
from transforms.deduplicate import BAD, CONFLICT, DUPLICATE, KEPT, classify_sql, contest_sql, contested_sql
from transforms.set_aside import SetAside

_DAY = 86_400_000_000  # microseconds
_LOOK_UP_BYTES = 16 * 2**20  # of raw files, whose keys every worker may have in memory


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
    """Kept rows that became known after the end of their own local day: no snapshot of that day has them."""
    late_beyond_horizon: int = 0
    """Those of them that became known further from it than the restatement horizon."""
    orphans: Mapping[str, int] = field(default_factory=dict)
    """Kept rows by referring column whose value isn't the key of the source referred to."""
    failed: tuple[FailedFile, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


COUNTED = ("files", "read", "kept", "duplicates", "quarantined", "rounded", "late", "late_beyond_horizon")
"""Counts of a source that a commit remembers."""


@dataclass(frozen=True)
class SourceWork:
    """One source's new files. `changed`: those among them that were taken in before, with other content.

    `ledger`: of the rows that are set aside, if there is one; `now`, which is aware, is when they are taken in.
    """

    source: Source
    raw: Storage
    lake: Lake
    settings: Settings
    run_id: str
    lease: Lease
    files: Sequence[RawFile]
    changed: Sequence[str]
    ledger: Source | None
    now: datetime

    @property
    def table(self) -> CuratedTable:
        return self.lake.curated(self.source.name)

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(file.size for file in self.files)

    def take_in(self, engine: SqlEngine) -> SourceSummary:
        """Read, judge and commit the new files; those that can't be read are left out, wholly."""
        started = time.monotonic()
        self.table.save_index()
        files, failed = list(self.files), dict[str, str]()
        notes = [f"{path} was taken in before and has changed since: read again as a new file" for path in self.changed]
        summary = SourceSummary(self.source.name)
        while files:
            summary, outcomes = self._attempt(engine, files)
            failed |= {outcome.path: outcome.problem for outcome in outcomes if outcome.problem}
            files = [file for file in files if file.path not in failed]
            if summary.files:  # committed
                notes += [f"{outcome.path}: {note}" for outcome in outcomes for note in outcome.notes]
                break
        if self.table.version() is None:
            self._commit([], {"kept": 0}, (), None, None)
            if not self.files:
                notes.append(f"no files at {self.source.location}; the table is empty")
        return replace(
            summary,
            failed=tuple(FailedFile(self.source.name, path, reason) for path, reason in sorted(failed.items())),
            notes=tuple(notes),
            seconds=round(time.monotonic() - started, 3),
        )

    def _attempt(self, engine: SqlEngine, files: Sequence[RawFile]) -> tuple[SourceSummary, list[FileOutcome]]:
        """Take the files in, unless rows of one that can't be read lie among the others: then nothing, and say which."""
        classified = self._classify(engine, engine.keep(self._read(engine, files)))
        try:
            found = _Found.of(engine, classified, horizon_days=self.settings.snapshots.restatement_horizon_days)
            outcomes = [self._unchanged(file, found.outcomes) for file in files]
            broken = {outcome.path for outcome in outcomes if outcome.problem}
            taken = [file for file in files if file.path not in broken]
            if not taken or any(outcome.rows for outcome in outcomes if outcome.problem):
                return SourceSummary(self.source.name), outcomes
            summary = found.summary(self.source, outcomes, len(taken))
            self._quarantine(engine, classified, summary.quarantined)
            aside = self._set_aside(engine, classified, summary)
            counts = {name: getattr(summary, name) for name in COUNTED}
            self._commit(self._write(engine, classified), counts, self._taken(taken), found.earliest_effect, aside)
            return summary, outcomes
        finally:
            engine.forget()

    # ---- reading

    def _read(self, engine: SqlEngine, files: Sequence[RawFile]) -> Table:
        """The rows of the files, typed and judged."""
        source = self.source
        hashed = any(column.personal == "hmac" for column in source.columns.values())
        key = self.settings.personal_data_key() if hashed else None
        conform = Conform(source, zone=self.settings.time_zone, personal_key=key)
        tasks = reading_tasks(files, engine.parallelism)
        if source.reshape is not None:
            return self._read_and_reshape(engine, files, tasks, conform)
        read = _Read(self.raw, raw_format(source, self.raw, files, reads=None))
        return engine.made(partial(_read_and_conform, read, conform), tasks, conformed_columns(source))

    def _read_and_reshape(
        self, engine: SqlEngine, files: Sequence[RawFile], tasks: Sequence[Sequence[RawFile]], conform: Conform
    ) -> Table:
        from transforms.reshape import reshape, reshape_inputs

        source = self.source
        if source.reshape is None or not isinstance(engine, InSpark):
            raise ValueError(f"{source.name}: a reshaping select is Spark's own SQL")
        read = _Read(self.raw, raw_format(source, self.raw, files, reads=reshape_inputs(source.reshape)))
        text = dict.fromkeys([*read.how.columns, *CARRIED], "string") | {"_line": "bigint"}
        lines = engine.keep(engine.made(read, tasks, text))
        rows = reshape(lines.where("_line is not null and _unreadable is null"), sql=source.reshape)
        if absent := [name for name in source.columns if name not in rows.columns]:
            raise DefinitionError(
                f"{source.name}: the reshape select gives no column '{absent[0]}'; it gives: "
                f"{', '.join(name for name in rows.columns if not name.startswith('_'))}"
            )
        others = lines.where("_line is null or _unreadable is not null").select(*CARRIED)
        return engine.changed(conform, rows.unionByName(others, allowMissingColumns=True), conformed_columns(source))

    def _classify(self, engine: SqlEngine, rows: Table) -> Table:
        """The rows with what becomes of each."""
        source, quote, columns = self.source, engine.quote, list(conformed_columns(self.source))
        by = [*source.key, *([source.version] if source.version and source.version not in source.key else [])]
        tables, known = {"rows": rows}, None
        if self.table.version() is not None:
            types = curated_columns(source)
            needs = {name: types[name] for name in (*by, "_row_hash", "_file", "_line")}
            few = self.size <= _LOOK_UP_BYTES
            keys = engine.sql(f"select {', '.join(map(quote, by))} from {{rows}} where _rule is null", rows=rows)
            tables["known"] = engine.look_up(keys, by, self.lake.storage, self.table.paths(), needs, few=few)
            known = "{known}"
        tables["contested"] = engine.keep(engine.sql(contested_sql("{rows}", known, by=by, quote=quote), **tables))
        contest = contest_sql("{rows}", "{contested}", known, by=by, columns=columns, quote=quote)
        tables["contest"] = engine.keep(engine.sql(contest, **tables))
        text = classify_sql("{rows}", "{contested}", "{contest}", by=by, columns=columns, quote=quote)
        return engine.sql(text, **tables)

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

    # ---- writing

    def _quarantine(self, engine: SqlEngine, classified: Table, count: int) -> None:
        """Write what is neither kept nor a duplicate to one file of the run's quarantine."""
        if not count:
            return
        path = self.lake.quarantine_path(self.run_id, self.source.name)
        columns = {name: kind for name, kind in conformed_columns(self.source).items() if name in self._shown()}
        columns |= {
            "_file": "string",
            "_line": "bigint",
            "_rule": "string",
            "_reason": "string",
            "_key": "string",
            "_row": "string",
        }
        chosen = ", ".join(map(engine.quote, columns))
        text = f"select {chosen} from {{rows}} where _class in ('{BAD}', '{CONFLICT}') and _line is not null"
        work = partial(_write_quarantine, source=self.source, storage=self.lake.storage, path=path)
        written = sum(told["rows"] for told in engine.write(work, text, columns, rows=classified))
        if written != count:
            raise PublishError(f"{self.source.name}: {count:,} rows to quarantine were counted and {written:,} written to {path}")

    def _shown(self) -> set[str]:
        """The columns of which a conflict's key and row are made."""
        return {name for name, column in self.source.columns.items() if column.personal is None or name in self.source.key}

    def _set_aside(self, engine: SqlEngine, classified: Table, summary: SourceSummary) -> SetAsideFiles | None:
        if self.ledger is None:
            return None
        made = SetAside(self.ledger, self.source, self.run_id, self.now)
        rows = summary.duplicates + summary.quarantined
        return write_set_aside(engine, classified, made, lake=self.lake, changed=self.changed, rows=rows)

    def _write(self, engine: SqlEngine, classified: Table) -> list[CuratedFile]:
        columns = curated_columns(self.source)
        chosen = [f"'{self.run_id}' as _run" if name == "_run" else engine.quote(name) for name in columns]
        text = f"select {', '.join(chosen)} from {{rows}} where _class = '{KEPT}'"
        schema = arrow_schema(columns)
        work = partial(_write_kept, storage=self.lake.storage, folder=self.table.name, schema=schema, run_id=self.run_id)
        return [CuratedFile(**told) for told in engine.write(work, text, columns, by="_month", rows=classified)]

    def _taken(self, files: Sequence[RawFile]) -> list[TakenFile]:
        with ThreadPoolExecutor(4) as pool:
            prints = list(pool.map(lambda file: fingerprint(self.source, self.raw, file), files))
        return [TakenFile(file.path, file.size, file.tag, told) for file, told in zip(files, prints, strict=True)]

    def _commit(
        self,
        files: Sequence[CuratedFile],
        counts: Mapping[str, int],
        taken: Sequence[TakenFile],
        effect: int | None,
        aside: SetAsideFiles | None,
    ) -> None:
        self.table.append(
            files,
            arrow_schema(curated_columns(self.source)),
            run_id=self.run_id,
            taken=taken,
            counts=counts,
            earliest_effect=effect,
            set_aside=aside,
            lease=self.lease,
        )


@dataclass(frozen=True)
class _Read:
    """Reads files one after the other; pickles."""

    storage: Storage
    how: RawFormat

    def __call__(self, files: Sequence[RawFile]) -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from read_file(self.storage, file, self.how)


def _read_and_conform(read: _Read, conform: Conform, files: Sequence[RawFile]) -> Iterator[pa.RecordBatch]:
    return conform(read(files))


def _write_kept(batches: Batches, *, storage: Storage, folder: str, schema: pa.Schema, run_id: str) -> Iterator[dict[str, Any]]:
    for file in write_curated(batches, storage=storage, folder=folder, schema=schema, run_id=run_id):
        yield asdict(file)


def _write_quarantine(batches: Batches, *, source: Source, storage: Storage, path: str) -> Iterator[dict[str, Any]]:
    rows = (_quarantine_rows(batch, source) for batch in batches)
    yield {"rows": write_rows(storage, path, rows, QUARANTINE_SCHEMA)}


def _quarantine_rows(batch: pa.RecordBatch, source: Source) -> pa.RecordBatch:
    """A row that can't be kept, as it is shown: a conflict by its typed values, others by what `conform` made of their text."""
    shown = [name for name, column in source.columns.items() if column.personal is None]
    keys = [name for name in source.key if source.columns[name].personal in (None, "hmac")]
    told = []
    for row in batch.to_pylist():
        key, text = row["_key"], row["_row"]
        if row["_rule"] == CONFLICT:
            key = ", ".join(f"{name}={_as_text(row[name])}" for name in keys)
            text = orjson.dumps({name: _as_text(row[name]) for name in shown if row[name] is not None}).decode()
        told.append(
            {
                "source_or_group": source.name,
                "file": row["_file"],
                "line": row["_line"],
                "key": key,
                "rule": row["_rule"],
                "reason": row["_reason"],
                "row": text,
            }
        )
    return pa.RecordBatch.from_pylist(told, schema=QUARANTINE_SCHEMA)


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return iso_utc(microseconds(value.astimezone(UTC)))
    if isinstance(value, date):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str("" if value is None else value)


@dataclass(frozen=True)
class _Found:
    """What one pass over the classified rows counted."""

    outcomes: Mapping[str, FileOutcome]
    classes: Mapping[str, int]
    rules: Mapping[str, int]
    rounded: int
    late: int
    late_beyond_horizon: int
    earliest_effect: int | None

    @classmethod
    def of(cls, engine: SqlEngine, classified: Table, *, horizon_days: int) -> _Found:
        kept = f"_class = '{KEPT}'"
        rows = engine.collect(
            f"""
            select if(_line is null, _file, null) as file,
                if(_line is null, _reason, null) as told,
                _class as kind,
                if(_line is null or {kept}, null, _rule) as rules,
                count(*) as row_count,
                sum(if({kept}, _rounded, 0)) as rounded,
                sum(if({kept} and _late_by > 0, 1, 0)) as late,
                sum(if({kept} and _late_by > {horizon_days * _DAY}, 1, 0)) as beyond_horizon,
                min(if({kept}, _effect, null)) as effect
            from {{rows}} group by 1, 2, 3, 4""",
            rows=classified,
        )
        outcomes, classes, rules = dict[str, FileOutcome](), dict[str, int](), dict[str, int]()
        for row in rows:
            if row["file"] is not None:
                outcomes[row["file"]] = FileOutcome.of(row["file"], row["told"])
                continue
            classes[row["kind"]] = classes.get(row["kind"], 0) + row["row_count"]
            for rule in filter(None, (row["rules"] or "").split("; ")):
                rules[rule] = rules.get(rule, 0) + row["row_count"]
        return cls(
            outcomes,
            classes,
            dict(sorted(rules.items())),
            sum(int(row["rounded"]) for row in rows),
            sum(int(row["late"]) for row in rows),
            sum(int(row["beyond_horizon"]) for row in rows),
            min((row["effect"] for row in rows if row["effect"] is not None), default=None),
        )

    def summary(self, source: Source, outcomes: Sequence[FileOutcome], files: int) -> SourceSummary:
        """Raises PublishError when the rows that the readers saw aren't those that were judged."""
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
            source.name,
            files,
            read,
            kept,
            duplicates,
            quarantined,
            self.rules,
            rounded=self.rounded,
            late=self.late,
            late_beyond_horizon=self.late_beyond_horizon,
        )
