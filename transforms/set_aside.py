"""Rows that curate doesn't keep, as rows of the ledger of such rows: what each was, whose, and since when it was known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from conf.database import open_duckdb
from conf.expressions.values import duckdb_name as quoted
from conf.expressions.values import duckdb_text as text
from conf.specs import Source
from transforms.calendar import microseconds
from transforms.conform import YEARS, conformed_columns
from transforms.curated import arrow_schema, curated_columns
from transforms.deduplicate import BAD, CONFLICT, DUPLICATE

KINDS = {DUPLICATE: "duplicate", CONFLICT: "conflict", BAD: "invalid"}
_JUDGED = {
    "_event_time": "timestamp",
    "_known_time": "timestamp",
    "_file": "string",
    "_line": "bigint",
    "_row_hash": "string",
    "_rule": "string",
    "_class": "string",
    "_number": "bigint",
}
_ROWS_AT_ONCE = 65_536
_BETWEEN = "chr(31)"


@dataclass(frozen=True)
class SetAside:
    """Makes rows of `ledger` of the classified rows of `source` that weren't kept; pickles.

    `run`: takes them in, at `taken_at`, which is aware.
    """

    ledger: Source
    source: Source
    run: str
    taken_at: datetime

    @property
    def columns(self) -> dict[str, str]:
        """The columns that it reads, by Spark type."""
        conformed = conformed_columns(self.source)
        return {name: conformed[name] for name in self.ledger.carried if name in conformed} | _JUDGED

    def rows_sql(self, rows: str, before: str | None, *, quote: Callable[[str], str]) -> str:
        """SQL, for Spark as for DuckDB, of the rows to hand in: `columns` of those in the table `rows` that weren't kept.

        `before`: a table of the rows of this source set aside before (`_file`, `_line`, `_row_hash`), by which a row of a file
        that is read again is known; None when no file is.
        """
        same = "r._file = b._file and r._line = b._line and r._row_hash = b._row_hash"
        without = f" anti join {before} b on {same}" if before else ""
        # A reshaped line makes several rows, which may be alike.
        number = (
            "1" if self.source.reshape is None else "row_number() over (partition by _file, _line, _row_hash order by _class)"
        )
        chosen = ", ".join(quote(name) for name in self.columns if name != "_number")
        classes = ", ".join(f"'{name}'" for name in KINDS)
        return f"""
            select r.* from (
                select {chosen}, cast({number} as bigint) as _number
                from {rows} where _line is not null and not _again and _class in ({classes})
            ) r{without}"""

    def __call__(self, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows in: `columns`. Rows out: the same number, as curated rows of the ledger, and `_effect`, as `Conform` says it.

        A row happened when its event time says and was known when its known time says. Where the known time can't be read, it
        was known when it was taken in, or, of a source that has none, when it happened; where the event time can't be read, it
        happened when it was known. A time outside YEARS can't be read.
        """
        with open_duckdb(threads=1) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("aside", pa.RecordBatchReader.from_batches(arrow_schema(self.columns), iter(rows)))
            schema = arrow_schema({**curated_columns(self.ledger), "_effect": "bigint"})
            for batch in connection.sql(self._made_sql(schema.names)).to_arrow_reader(_ROWS_AT_ONCE):
                yield batch.cast(schema)

    def _made_sql(self, names: Iterable[str]) -> str:
        columns, source = self.columns, text(self.source.name)
        known = [_readable("_known_time"), *([] if self.source.known_time else [_readable("_event_time")])]
        known.append(f"make_timestamptz({microseconds(self.taken_at)})")
        kind = " ".join(f"when {text(name)} then {text(word)}" for name, word in KINDS.items())
        place = ", ".join([source, *(f"cast({name} as varchar)" for name in ("_file", "_line", "_row_hash", "_number"))])
        grace = int(self.ledger.grace.total_seconds() * 1_000_000)
        made = {name: quoted(name) if name in columns else "null" for name in self.ledger.carried}
        made |= {
            "row_id": f"substr(sha256(concat_ws({_BETWEEN}, {place})), 1, 32)",
            "source": source,
            "kind": f"case _class {kind} end",
            "rule": "_rule",
            "event_time": "_event",
            "known_time": "_known",
            "_event_time": "_event",
            "_known_time": "_known",
            "_run": text(self.run),
            "_month": f"strftime(timezone('UTC', _event), {text('%Y' if self.ledger.layout == 'year' else '%Y-%m')})",
            "_effect": f"greatest(epoch_us(_event) + 1, epoch_us(_known) - {grace})",
        }
        chosen = ", ".join(f"{made.get(name, name)} as {quoted(name)}" for name in names)
        return f"""
            select {chosen} from (
                select *, coalesce({_readable("_event_time")}, _known) as _event
                from (select *, coalesce({", ".join(known)}) as _known from aside)
            )"""


def _readable(clock: str) -> str:
    first, last = (f"timestamptz '{day} 00:00:00+00'" for day in YEARS)
    return f"case when {clock} >= {first} and {clock} < {last} then {clock} end"
