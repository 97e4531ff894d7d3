"""What an explanation says: each row with its verdict, and the number made from those that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from conf.specs import ColumnType, Source
from transforms.by_hand.history import text_of
from transforms.by_hand.rows import Row


@dataclass(frozen=True)
class Evidence:
    """A curated row as one number sees it. `reason`: why it does not count; empty when it does.

    `at`: when it counts; `value`: what it adds, None where that is null or it doesn't count. `file`, `line`, `row_hash` and
    `run` say which raw row it was. `beside`: rows of other ledgers that were read with it, a parent's and those that pay it off.
    """

    source: str
    key: str
    version: str
    event_time: datetime
    known_time: datetime | None
    file: str
    line: int
    row_hash: str
    run: str
    at: datetime | None
    value: Any
    reason: str
    beside: tuple[Evidence, ...] = ()

    @property
    def counted(self) -> bool:
        return not self.reason

    @classmethod
    def of(
        cls,
        row: Row,
        source: Source,
        *,
        at: datetime | None,
        value: Any,
        reason: str,
        beside: Sequence[tuple[Source, Row]] = (),
    ) -> Evidence:
        key = ", ".join(text_of(row[name]) for name in source.key)
        version = text_of(row[source.version]) if source.version else ""
        return cls(
            source.name, key, version, row["_event_time"], row.get("_known_time"), row["_file"], row["_line"], row["_row_hash"],
            row["_run"], at, value, reason, tuple(cls.of(one, its, at=None, value=None, reason="") for its, one in beside),
        )  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One day of a daily value, and whether it counts."""

    day: date
    value: Any
    reason: str


@dataclass(frozen=True)
class Explained:
    """A column's value made again. `parts`: the columns that a derived one is made of; `points`: the days of a daily one.

    `note`: what else decided the value, such as a consent that is missing.
    """

    column: str
    definition: str
    type: ColumnType
    value: Any
    evidence: Sequence[Evidence] = ()
    points: Sequence[Point] = ()
    parts: Sequence[Explained] = ()
    note: str = ""

    def all_evidence(self) -> list[Evidence]:
        """Every row of this column and its parts, each once; one that counts for any of them counts."""
        found: dict[tuple[str, str, str, str, int], Evidence] = {}
        for row in [*self.evidence, *(row for part in self.parts for row in part.all_evidence())]:
            place = (row.source, row.key, row.version, row.file, row.line)
            if place not in found or (row.counted and not found[place].counted):
                found[place] = row
        return list(found.values())
