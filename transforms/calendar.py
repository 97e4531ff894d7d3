"""As-of days, cut-offs and windows: every rule about time, once. Instants are int64 microseconds since 1970 UTC."""

from __future__ import annotations

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
BEGINNING_DAY, NEVER_DAY = np.int64(-(2**40)), np.int64(2**40)  # before and after every day that has a date
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


_CHUNK = 512  # days whose midnights are looked up together
_MICROSECONDS_A_DAY = 86_400_000_000


def midnights_of(days: Days, zone: str) -> Instants:
    """The instant at which each local day begins."""
    days = np.asarray(days, dtype=np.int64)
    if len(days) == 0:
        return days
    chunks = days // _CHUNK
    first, last = int(chunks.min()), int(chunks.max())
    if last - first < 100:
        near: Instants = np.concatenate([_midnights(zone, chunk) for chunk in range(first, last + 1)])[days - first * _CHUNK]
        return near
    wanted = np.unique(chunks)
    table = np.stack([_midnights(zone, int(chunk)) for chunk in wanted])
    found: Instants = table[np.searchsorted(wanted, chunks), days % _CHUNK]
    return found


def local_days_of(instants: Instants, zone: str) -> Days:
    """The local day on which each instant lies."""
    instants = np.asarray(instants, dtype=np.int64)
    guess = instants // _MICROSECONDS_A_DAY  # no zone is a day away from UTC
    later, earlier = instants >= midnights_of(guess + 1, zone), instants < midnights_of(guess, zone)
    return guess + later.astype(np.int64) - earlier.astype(np.int64)


@lru_cache(maxsize=1024)
def _midnights(zone: str, chunk: int) -> Instants:
    return np.array([_midnight_of_number(chunk * _CHUNK + number, zone) for number in range(_CHUNK)], dtype=np.int64)


def _midnight_of_number(number: int, zone: str) -> int:
    """Outside the years that Python knows (9999-12-31 is often written for `never`), days of 24 hours in UTC."""
    try:
        return midnight(EPOCH + timedelta(days=number), zone)
    except OverflowError:
        return min(max(number * _MICROSECONDS_A_DAY, int(BEGINNING)), int(FOREVER))


def window_bounds(
    window: Window,
    as_of: Days,
    zone: str,
    *,
    lag: int = 0,
    ahead: bool = False,
    cut_off: Instants | None = None,
) -> tuple[Instants, Instants]:
    """Start (inclusive) and end (exclusive) of a window for each as-of day D. `cut_off`: T, if not the midnight that ends D.

    Trailing days: `[midnight(D - W + 1), T)`. Months: the last n full local calendar months, of which one that ends at T is
    one. Month to date: `[midnight of the first of D's month, T)`. Lifetime: everything before T. `lag`: the window ends so
    many local days before T; where T is no midnight, with the day so many days before D. `ahead`: from T to the end of the W
    days after D, `[T, midnight(D + W + 1))`.
    """
    as_of = np.asarray(as_of, dtype=np.int64)
    day_ends = midnights_of(as_of + 1, zone)
    cut_off = day_ends if cut_off is None else cut_off
    if ahead:
        return cut_off, midnights_of(as_of + window.count + 1, zone)
    first, after = window_days(window, as_of, lag=lag, over=cut_off == day_ends)
    starts = np.full(len(as_of), BEGINNING) if window.kind == "lifetime" else midnights_of(first, zone)
    return starts, np.minimum(midnights_of(after, zone), cut_off)


def window_days(window: Window, as_of: Days, *, lag: int = 0, over: NDArray[np.bool_] | bool = True) -> tuple[Days, Days]:
    """The first local day of a window and the first day after it, for each as-of day D.

    Lifetime begins on BEGINNING_DAY, and so does a window of kind `since`, whose start each query brings.

    `over`: whether D is over at T, so that a month that ends with it is.
    """
    days = as_of - lag
    after = days + 1
    if window.kind in ("lifetime", "since"):
        return np.full(len(days), BEGINNING_DAY), after
    if window.kind == "days":
        return after - window.count, after
    if window.kind == "month_to_date":
        return months_later(days, 0), after
    this_month = months_later(days + (over if lag == 0 else True), 0)
    return months_later(this_month, -window.count), this_month


def months_later(days: Days, months: int) -> Days:
    """The first day of the month that lies so many months after (or before) that of each day."""
    return first_of_month(month_of(days) + months)


def month_of(days: Days) -> NDArray[np.int64]:
    """The month of each day, in months since January 1970."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def first_of_month(months: NDArray[np.int64]) -> Days:
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
