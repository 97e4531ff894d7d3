"""Which days are on a schedule, and which a range has: leap days, short months, both ends."""

from __future__ import annotations

from datetime import date

import pytest

from conf.specs import Schedule
from transforms.schedule import Step, days_of_range, is_due, next_due


@pytest.mark.parametrize(
    ("schedule", "day", "due"),
    [
        ("daily", "2025-09-30", True),
        ("weekly", "2025-09-27", False),  # Saturday
        ("weekly", "2025-09-28", True),  # Sunday
        ("weekly", "2025-09-29", False),  # Monday
        ("monthly", "2025-09-29", False),
        ("monthly", "2025-09-30", True),
        ("monthly", "2025-10-30", False),
        ("monthly", "2024-02-28", False),  # a leap year
        ("monthly", "2024-02-29", True),
        ("monthly", "2025-02-28", True),
    ],
)
def test_weekly_is_sundays_and_monthly_the_last_day_of_a_month(schedule: Schedule, day: str, due: bool) -> None:
    assert is_due(schedule, date.fromisoformat(day)) is due


@pytest.mark.parametrize(
    ("schedule", "day", "expected"),
    [
        ("daily", "2025-09-30", "2025-09-30"),
        ("weekly", "2025-09-29", "2025-10-05"),
        ("weekly", "2025-10-05", "2025-10-05"),
        ("monthly", "2025-12-31", "2025-12-31"),
        ("monthly", "2026-01-01", "2026-01-31"),
    ],
)
def test_the_next_day_on_a_schedule_may_be_the_day_itself(schedule: Schedule, day: str, expected: str) -> None:
    assert next_due(schedule, date.fromisoformat(day)).isoformat() == expected


@pytest.mark.parametrize(
    ("first", "last", "every", "days"),
    [
        ("2025-09-28", "2025-10-01", "1d", ["2025-09-28", "2025-09-29", "2025-09-30", "2025-10-01"]),
        ("2025-09-28", "2025-09-28", "1d", ["2025-09-28"]),
        ("2025-09-01", "2025-09-15", "1w", ["2025-09-01", "2025-09-08", "2025-09-15"]),  # a step meets the end: in
        ("2025-09-01", "2025-09-14", "1w", ["2025-09-01", "2025-09-08"]),
        ("2025-09-01", "2025-10-01", "2w", ["2025-09-01", "2025-09-15", "2025-09-29"]),
        ("2024-12-15", "2025-02-15", "1mo", ["2024-12-15", "2025-01-15", "2025-02-15"]),  # over a new year
        ("2024-01-30", "2024-04-30", "1mo", ["2024-01-30", "2024-02-29", "2024-03-30", "2024-04-30"]),  # a short month
        ("2025-02-28", "2025-05-01", "1mo", ["2025-02-28", "2025-03-31", "2025-04-30"]),  # from a month's end to others
        ("2024-11-30", "2025-06-30", "3mo", ["2024-11-30", "2025-02-28", "2025-05-31"]),
    ],
)
def test_a_range_has_its_first_day_and_every_step_of_it(first: str, last: str, every: str, days: list[str]) -> None:
    found = days_of_range(date.fromisoformat(first), date.fromisoformat(last), Step.of(every))
    assert [day.isoformat() for day in found] == days


@pytest.mark.parametrize("text", ["", "d", "0d", "1", "1y", "1 d", "-1d", "1.5d", "1m", "1D"])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as failure:
        Step.of(text)
    assert str(failure.value) == f"'{text}' is not a step; write a number of days, weeks or months, such as 1d, 1w or 1mo"
