"""Which version of each row counts at a cut-off, and why the others don't."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from conf.specs import Source
from transforms.by_hand.rows import Row
from transforms.by_hand.windows import END


@dataclass(frozen=True)
class Judged:
    """A version of a row, and why it doesn't count; `reason` is empty when it does."""

    row: Row
    reason: str = ""


def judge_versions(rows: Iterable[Row], source: Source, *, cut_off: datetime, end: str = "the cut-off") -> list[Judged]:
    """Every version, in order of key and version.

    Of the versions with `event time < cut_off` and `known time <= cut_off + grace`, the greatest counts; none of the others.
    `end`: what reasons call the cut-off.
    """
    by_key: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        by_key.setdefault(tuple(row[name] for name in source.key), []).append(row)
    judged = []
    for _, versions in sorted(by_key.items(), key=lambda item: tuple(sort_key(value) for value in item[0])):
        versions = sorted(versions, key=lambda row: sort_key(row[source.version]) if source.version else ())
        seen = [row for row in versions if not _too_late(row, source, cut_off, end)]
        for row in versions:
            reason = _too_late(row, source, cut_off, end)
            if not reason and row is not seen[-1]:
                reason = f"amended by version {text_of(seen[-1][str(source.version)])}"
            judged.append(Judged(row, reason))
    return judged


def _too_late(row: Row, source: Source, cut_off: datetime, end: str) -> str:
    if row["_event_time"] is None:
        return "it has no event time"
    if row["_event_time"] >= cut_off:
        return f"after {end}: it happened at {text_of(row['_event_time'])}"
    known = row.get("_known_time")
    if known is None and source.known_time is not None:
        return "not yet known: it has no known time"
    if known is not None and known > _knowable_until(cut_off, source.grace):
        grace = f" and the grace of {source.grace}" if source.grace else ""
        return f"not yet known: it became known at {text_of(known)}, after {end}{grace}"
    return ""


def _knowable_until(cut_off: datetime, grace: timedelta) -> datetime:
    """T + grace; the end of time for a grace that never ends, as knowledge of today has it."""
    return END if grace > END - cut_off else cut_off + grace


def settle_mutable(row: Row, source: Source, *, moment: datetime) -> Row:
    """The row with every mutable timestamp at or after `moment`, and what it settles, read as null."""
    told = dict(row)
    for name, settled in source.mutable.items():
        if row[name] is None or row[name] >= moment:
            told |= dict.fromkeys((name, *settled))
    return told


def sort_key(value: Any) -> tuple[bool, Any]:
    """Nulls are least."""
    return (value is not None, value if value is not None else 0)


def text_of(value: Any) -> str:
    """A value for a person: instants in ISO-8601, UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat() + "Z"
    return str(value)
