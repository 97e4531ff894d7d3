"""As-of days, cut-offs and windows: every rule about time, once. Instants are int64 microseconds since 1970 UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from conf.windows import Window

Instants = NDArray[np.int64]
Days = NDArray[np.int64]  # days since 1970-01-01

EPOCH = date(1970, 1, 1)
FOREVER = np.int64(2**63 - 1)
BEGINNING = np.int64(-(2**63))
_MICROSECONDS = timedelta(microseconds=1)
_START = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970 UTC."""
    return (moment - _START) // _MICROSECONDS


def moment(instant: int) -> datetime:
    """Microseconds since 1970 UTC as an aware datetime in UTC."""
    return _START + timedelta(microseconds=int(instant))


def iso_utc(instant: int) -> str:
    """ISO-8601 in UTC, such as `2025-09-30T16:00:00Z`, with microseconds only where there are any."""
    return moment(instant).replace(tzinfo=None).isoformat() + "Z"


def day_number(day: date) -> int:
    return (day - EPOCH).days


def midnight(day: date, zone: str) -> int:
    """The instant at which the local `day` begins. Where a clock change skips midnight, the instant of the change."""
    return microseconds(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC))


def cut_off(day: date, zone: str) -> int:
    """T: the local midnight that ends as-of day `day`, exclusive."""
    return midnight(day + timedelta(days=1), zone)


def last_complete_day(now: datetime, zone: str, grace: timedelta) -> date:
    """The last local day whose cut-off plus `grace` has passed at `now` (aware)."""
    local = (now - grace).astimezone(ZoneInfo(zone))
    return local.date() - timedelta(days=1)


@dataclass(frozen=True)
class LocalDays:
    """The local midnights of one zone between two days, to turn instants into local days and back."""

    first_day: int
    midnights: Instants

    @classmethod
    def between(cls, zone: str, first: int, last: int) -> LocalDays:
        """`first` and `last` in days since 1970, both included."""
        return _local_days(zone, first - first % 512, last + 512 - last % 512)

    @classmethod
    def covering(cls, zone: str, instants: Instants, *, margin: int = 2) -> LocalDays:
        """Wide enough for every instant, whatever the zone's offset."""
        if len(instants) == 0:
            return cls.between(zone, 0, 1)
        per_day = 86_400_000_000
        return cls.between(zone, int(instants.min() // per_day) - margin, int(instants.max() // per_day) + margin)

    def day_of(self, instants: Instants) -> Days:
        """The local day on which each instant lies."""
        return self.first_day + np.searchsorted(self.midnights, instants, side="right") - 1

    def begin_of(self, days: Days) -> Instants:
        """The instant at which each local day begins."""
        return self.midnights[np.asarray(days, dtype=np.int64) - self.first_day]


@lru_cache(maxsize=64)
def _local_days(zone: str, first: int, last: int) -> LocalDays:
    days = (EPOCH + timedelta(days=number) for number in range(first, last + 1))
    return LocalDays(first, np.array([midnight(day, zone) for day in days], dtype=np.int64))


def window_bounds(window: Window, as_of: Days, zone: str, *, lag: int = 0, ahead: bool = False) -> tuple[Instants, Instants]:
    """Start (inclusive) and end (exclusive) of a window for each as-of day D.

    Trailing days: `[midnight(D - W + 1), T)`. Months: the last n full local calendar months, of which one that ends at T is
    one. Month to date: `[midnight of the first of D's month, T)`. Lifetime: everything before T. `lag`: the window ends so
    many local days before T. `ahead`: the W days after D, `[T, midnight(D + W + 1))`.
    """
    days = np.asarray(as_of, dtype=np.int64) - lag
    local = LocalDays.between(zone, int(days.min(initial=0)) - 2, int(days.max(initial=0)) + 2)
    if ahead:
        span = LocalDays.between(zone, int(days.min(initial=0)), int(days.max(initial=0)) + window.count + 2)
        return span.begin_of(days + 1), span.begin_of(days + window.count + 1)
    ends = local.begin_of(days + 1)
    if window.kind == "lifetime":
        return np.full(len(days), BEGINNING), ends
    if window.kind == "days":
        starts = days - window.count + 1
    else:
        months = (days + 1 if window.kind == "months" else days).astype("datetime64[D]").astype("datetime64[M]")
        if window.kind == "months":
            end_days = months.astype("datetime64[D]").astype(np.int64)
            months = months - window.count
            ends = LocalDays.between(zone, int(end_days.min(initial=0)), int(end_days.max(initial=0)) + 1).begin_of(end_days)
        starts = months.astype("datetime64[D]").astype(np.int64)
    span = LocalDays.between(zone, int(starts.min(initial=0)), int(starts.max(initial=0)) + 1)
    return span.begin_of(starts), ends
