"""Event times as the service reads them, turned into text that sorts by time."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z


@lru_cache(maxsize=4096)
def sortable(text: str, *, fractional: bool) -> str | None:
    """`yyyy-mm-ddThh:mm:ss.nnnnnnnnnZ` of an event time, or None when `text` isn't one.

    A String feature holds ISO-8601 UTC with `Z` and up to nine decimals; a Fractional one Unix seconds.
    """
    return _from_unix_seconds(text) if fractional else _from_iso(text)


def unix_seconds(sortable_time: str) -> int:
    """Whole Unix seconds of a time in the sortable form; the fraction is cut off, the year 0 counts as the year 1."""
    if sortable_time.startswith("0000"):
        return _FIRST
    moment = datetime.strptime(sortable_time[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int((moment - _EPOCH).total_seconds())


def _from_iso(text: str) -> str | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match[1]), int(match[2]), int(match[3])
    try:
        date(year or 2000, month, day)  # the year 0 is allowed, and leap; Python's calendar begins at 1
    except ValueError:
        return None
    return f"{text[:19]}.{(match[7] or '').ljust(9, '0')}Z"


def _from_unix_seconds(text: str) -> str | None:
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return None
    if not seconds.is_finite() or not _FIRST <= seconds < _LAST + 1:
        return None
    whole = int(seconds // 1)
    if whole > seconds:  # Decimal's // cuts towards zero
        whole -= 1
    nanoseconds = int((seconds - whole) * 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z".rjust(30, "0")
