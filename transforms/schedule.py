"""On which local days a group is computed, and which days a range has."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta

from conf.specs import Schedule

_STEP = re.compile(r"([1-9][0-9]{0,2})(d|w|mo)")
_SUNDAY = 6
WORDS: dict[Schedule, str] = {"daily": "every day", "weekly": "Sundays", "monthly": "the last day of a month"}


def is_due(schedule: Schedule, day: date) -> bool:
    """Whether a group of this schedule has a snapshot as of `day`: weekly on Sundays, monthly on a month's last day."""
    if schedule == "weekly":
        return day.weekday() == _SUNDAY
    return schedule == "daily" or _is_last_of_month(day)


def next_due(schedule: Schedule, day: date) -> date:
    """The first day on the schedule that is `day` or later."""
    while not is_due(schedule, day):
        day += timedelta(days=1)
    return day


@dataclass(frozen=True)
class Step:
    """How far the days of a range lie apart."""

    count: int
    unit: str  # d, w or mo

    @classmethod
    def of(cls, text: str) -> Step:
        """From `1d`, `2w` or `1mo`. Raises ValueError."""
        match = _STEP.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not a step; write a number of days, weeks or months, such as 1d, 1w or 1mo")
        return cls(int(match[1]), match[2])


DAILY = Step(1, "d")


def days_of_range(first: date, last: date, every: Step = DAILY) -> list[date]:
    """`first` and then every step of it up to `last`, which is among them where a step meets it.

    Steps of months keep the day of the month, or the month's last where it is shorter; from a month's last day they go to
    each month's last day.
    """
    days = []
    number = 0
    while (day := _step_on(first, every, number)) <= last:
        days.append(day)
        number += 1
    return days


def _step_on(first: date, every: Step, number: int) -> date:
    if every.unit != "mo":
        return first + timedelta(days=number * every.count * (7 if every.unit == "w" else 1))
    months = first.year * 12 + first.month - 1 + number * every.count
    year, month = divmod(months, 12)
    length = monthrange(year, month + 1)[1]
    return date(year, month + 1, length if _is_last_of_month(first) else min(first.day, length))


def _is_last_of_month(day: date) -> bool:
    return day.day == monthrange(day.year, day.month)[1]
