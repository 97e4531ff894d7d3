"""The ledger of the rows that curate set aside: of all sources together, brought up to what their commits say.

A source's commit names the files in which the rows lie that it set aside, so that they are neither lost nor added twice: to the
ledger such a commit is what a raw file is to others, taken in once and wholly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow.compute as pc

from conf.errors import PublishError
from conf.specs import Source
from jobs.engines import Batches, SqlEngine, Table
from stores.curated_files import CuratedFile, write_curated
from stores.lake import CurateCommit, CuratedTable, Lake, SetAsideFiles, TakenFile
from stores.lease import Lease
from stores.raw import RawFile
from stores.storage import Storage
from transforms.curated import arrow_schema, curated_columns
from transforms.set_aside import SetAside


def ledger_of(sources: Mapping[str, Source]) -> Source | None:
    """The one among the sources whose rows curate writes itself; None where the definitions have none."""
    return next((source for source in sources.values() if not source.is_delivered), None)


def delivered(sources: Mapping[str, Source]) -> dict[str, Source]:
    """Those whose rows come in raw files."""
    return {name: source for name, source in sources.items() if source.is_delivered}


def write_set_aside(
    engine: SqlEngine, classified: Table, made: SetAside, *, lake: Lake, changed: Iterable[str], rows: int
) -> SetAsideFiles | None:
    """Write the classified rows that aren't kept to files of the ledger, to be named by their source's commit; None without any.

    `rows`: how many there are. `changed`: files among those read that were taken in before; their rows that were set aside then
    aren't again. Raises PublishError for another number of rows.
    """
    if not rows:
        return None
    ledger, before = made.ledger, None
    table = lake.curated(ledger.name)
    if again := list(changed):
        known = engine.parquet(
            lake.storage, table.paths(), {"source": "string", "_file": "string", "_line": "bigint", "_row_hash": "string"}
        )
        before = engine.sql(f"select _file, _line, _row_hash from {{known}} where source = '{made.source.name}'", known=known)
    text = made.rows_sql("{rows}", "{before}" if before is not None else None, quote=engine.quote)
    work = partial(_write, made=made, storage=lake.storage, folder=table.name)
    tables = {"rows": classified} | ({"before": before} if before is not None else {})
    told = engine.write(work, text, made.columns, **tables)
    files = tuple(CuratedFile(**file) for part in told for file in part["files"])
    written = sum(file.rows for file in files)
    if written > rows or (written < rows and not again):
        raise PublishError(
            f"{made.source.name}: {rows:,} rows to set aside were counted and {written:,} written; nothing was committed"
        )
    effects = [part["earliest_effect"] for part in told if part["earliest_effect"] is not None]
    return SetAsideFiles(ledger.name, files, min(effects)) if files else None


def _write(batches: Batches, *, made: SetAside, storage: Storage, folder: str) -> Iterator[dict[str, Any]]:
    earliest: list[int] = []

    def rows() -> Batches:
        for batch in made(batches):
            if batch.num_rows:
                earliest.append(pc.min(batch["_effect"]).as_py())
            yield batch

    schema = arrow_schema(curated_columns(made.ledger))
    files = write_curated(rows(), storage=storage, folder=folder, schema=schema, run_id=made.run)
    yield {"files": [asdict(file) for file in files], "earliest_effect": min(earliest, default=None)}


@dataclass(frozen=True)
class _Waiting:
    """A commit of a source whose rows set aside aren't in the ledger."""

    path: str
    """Under which the ledger takes it in."""
    commit: CurateCommit
    aside: SetAsideFiles

    @property
    def file(self) -> TakenFile:
        return TakenFile(self.path, sum(file.size for file in self.aside.files), self.commit.run_id, self.path)


def commits_to_take_in(ledger: Source, sources: Mapping[str, Source], lake: Lake) -> list[RawFile]:
    """The commits of the sources whose rows set aside aren't in the ledger, as what they are to it: files to take in."""
    found = (waiting.file for waiting in _waiting(ledger, sources, lake.curated(ledger.name), lake))
    return [RawFile(file.path, file.size, file.tag) for file in found]


def bring_up_to_date(ledger: Source, sources: Mapping[str, Source], lake: Lake, lease: Lease) -> None:
    """Add to the ledger what commits of the sources set aside and it doesn't have, one commit for each run that did.

    Its rows bear the run that set them aside, and so must the commit by which they are found.
    """
    table = lake.curated(ledger.name)
    schema = arrow_schema(curated_columns(ledger))
    runs: dict[str, list[_Waiting]] = {}
    for waiting in _waiting(ledger, sources, table, lake):
        runs.setdefault(waiting.commit.run_id, []).append(waiting)
    for run, some in sorted(runs.items()):
        files = [file for waiting in some for file in waiting.aside.files]
        table.append(
            files,
            schema,
            run_id=run,
            taken=[waiting.file for waiting in some],
            counts={"kept": sum(file.rows for file in files)},
            earliest_effect=min(waiting.aside.earliest_effect for waiting in some),
            lease=lease,
        )
    table.save_index()


def begin(ledger: Source, lake: Lake, lease: Lease, run_id: str) -> None:
    """Make the ledger, empty, where there is none."""
    table = lake.curated(ledger.name)
    if table.version() is None:
        schema = arrow_schema(curated_columns(ledger))
        table.append([], schema, run_id=run_id, taken=(), counts={"kept": 0}, earliest_effect=None, lease=lease)


def _waiting(ledger: Source, sources: Mapping[str, Source], table: CuratedTable, lake: Lake) -> Iterator[_Waiting]:
    taken = table.taken_files()
    for name in delivered(sources):
        for commit in lake.curated(name).commits():
            path = f"curated/{name}@{commit.version}"
            if commit.set_aside is not None and commit.set_aside.ledger == ledger.name and path not in taken:
                yield _Waiting(path, commit, commit.set_aside)
