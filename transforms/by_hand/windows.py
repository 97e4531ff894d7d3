"""Local days and windows, a day at a time."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from conf.windows import Window

DAY = timedelta(days=1)
BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)


def midnight(day: date, zone: str) -> datetime:
    """The instant, in UTC, at which a local day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def local_day(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()


def first_of_month(day: date, months_before: int = 0) -> date:
    number = day.year * 12 + day.month - 1 - months_before
    return date(number // 12, number % 12 + 1, 1)


def ends_month(day: date) -> bool:
    return day.day == monthrange(day.year, day.month)[1]


def bounds(
    window: Window | None, as_of: date, zone: str, *, cut_off: datetime = END, lag: int = 0, ahead: bool = False
) -> tuple[datetime, datetime]:
    """The first instant in the window and the first after it; None is all history.

    `cut_off`: T, where it isn't the midnight that ends `as_of`: a window that doesn't lag ends there, and one ahead begins there.
    """
    last = as_of - lag * DAY
    end = midnight(last + DAY, zone) if lag else min(midnight(last + DAY, zone), cut_off)
    if ahead:
        is_bounded = window is not None and window.kind != "lifetime"
        return end, midnight(last + (window.count + 1) * DAY, zone) if window and is_bounded else END
    if window is None or window.kind == "lifetime":
        return BEGINNING, end
    if window.kind == "days":
        return midnight(last - (window.count - 1) * DAY, zone), end
    if window.kind == "month_to_date":
        return midnight(first_of_month(last), zone), end
    after = first_of_month(last + DAY)
    if midnight(after, zone) > end:  # this month isn't over
        after = first_of_month(last)
    return midnight(first_of_month(after, window.count), zone), midnight(after, zone)


def days_in(
    window: Window, as_of: date, zone: str, *, cut_off: datetime = END, lag: int = 0, month_ends_only: bool = False
) -> Iterator[date]:
    """The local days of a window, oldest first; the day in which T lies is one, too."""
    start, end = bounds(window, as_of, zone, cut_off=cut_off, lag=lag)
    day, last = local_day(start, zone), local_day(end - timedelta(microseconds=1), zone)
    while day <= last:
        if not month_ends_only or ends_month(day):
            yield day
        day += DAY
