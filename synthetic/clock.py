"""Time as the generator counts it: int64 seconds since 1970 UTC, and local days of Asia/Kuala_Lumpur since 1970-01-01."""

from __future__ import annotations

import zlib
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DAY = 86_400
OFFSET = 8 * 3_600  # Asia/Kuala_Lumpur, without a change since 1982
NULL = np.int64(-(2**63))
NEVER = np.int64(2**60)


def day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def midnight(day: Any) -> Any:
    """The instant at which a local day begins."""
    return day * DAY - OFFSET


def local_day(instant: Ints) -> Ints:
    """The local day on which an instant lies."""
    return (instant + OFFSET) // DAY


def month_number(day: date) -> int:
    """Months since January 1970."""
    return (day.year - 1970) * 12 + day.month - 1


def first_day_of(month: Any) -> Any:
    """The day number of the first of a month."""
    return np.asarray(month, dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)


def month_of(day: Ints) -> Ints:
    return day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def year_month(month: Any) -> Any:
    """A month as the number yyyymm."""
    return (1970 + month // 12) * 100 + month % 12 + 1


def stream(seed: int, block: int, name: str, month: int = 0) -> np.random.Generator:
    """The random numbers of one block, subject and month, whatever else was drawn: so a longer sample repeats a shorter one."""
    return np.random.Generator(np.random.SFC64([seed, block, zlib.crc32(name.encode()), month]))


def known_after(uniform: Floats, late_share: float) -> Ints:
    """Seconds until something is known: two minutes to five hours, or for `late_share` of the uniforms 1 to 12 days."""
    late = uniform < late_share
    spread = np.where(late, uniform / late_share, (uniform - late_share) / (1 - late_share))
    soon = 120 + np.minimum(-np.log1p(-np.minimum(spread, 0.999999)) * 1_500, 18_000)
    return np.where(late, DAY * (1 + 11 * spread * spread), soon).astype(np.int64)


def pick(uniform: Floats, weights: tuple[float, ...]) -> Ints:
    """An index drawn with the given weights."""
    edges = np.cumsum(np.array(weights) / sum(weights))
    return np.minimum(np.searchsorted(edges, uniform, side="right"), len(weights) - 1).astype(np.int64)
