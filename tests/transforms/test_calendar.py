"""Cut-offs and windows at their edges, in zones with and without daylight saving."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from conf.windows import Window
from transforms import calendar


def bounds(window: str, day: str, zone: str, **options: object) -> tuple[str, str]:
    days = np.array([calendar.day_number(date.fromisoformat(day))])
    start, end = calendar.window_bounds(Window.parse(window), days, zone, **options)  # type: ignore[arg-type]
    return calendar.iso_utc(start[0]), calendar.iso_utc(end[0])


@pytest.mark.parametrize(
    ("window", "day", "zone", "options", "expected"),
    [
        ("1d", "2026-06-02", "Asia/Kuala_Lumpur", {}, ("2026-06-01T16:00:00Z", "2026-06-02T16:00:00Z")),
        ("7d", "2026-06-02", "Asia/Kuala_Lumpur", {}, ("2026-05-26T16:00:00Z", "2026-06-02T16:00:00Z")),
        ("1d", "2025-03-09", "America/New_York", {}, ("2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z")),  # 23 hours
        ("1d", "2025-11-02", "America/New_York", {}, ("2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z")),  # 25 hours
        ("1d", "2025-04-06", "Australia/Lord_Howe", {}, ("2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z")),  # half an hour
        ("1d", "2025-09-07", "America/Santiago", {}, ("2025-09-07T04:00:00Z", "2025-09-08T03:00:00Z")),  # no midnight
        ("366d", "2024-12-31", "UTC", {}, ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")),
        ("1mo", "2025-02-28", "UTC", {}, ("2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z")),  # it ends at T: it is one
        ("1mo", "2025-02-27", "UTC", {}, ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")),
        ("12mo", "2024-02-29", "UTC", {}, ("2023-03-01T00:00:00Z", "2024-03-01T00:00:00Z")),
        ("mtd", "2025-02-28", "UTC", {}, ("2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z")),
        ("mtd", "2025-03-01", "UTC", {}, ("2025-03-01T00:00:00Z", "2025-03-02T00:00:00Z")),
        ("7d", "2025-06-30", "UTC", {"lag": 30}, ("2025-05-25T00:00:00Z", "2025-06-01T00:00:00Z")),
        ("7d", "2025-06-30", "UTC", {"ahead": True}, ("2025-07-01T00:00:00Z", "2025-07-08T00:00:00Z")),
    ],
)
def test_windows_are_calendar_days_of_the_zone(window, day, zone, options, expected):
    assert bounds(window, day, zone, **options) == expected


def test_lifetime_has_no_start():
    start, end = calendar.window_bounds(Window.parse("life"), np.array([0]), "UTC")
    assert (start[0], end[0]) == (calendar.BEGINNING, 86_400_000_000)


def test_an_instant_lies_on_the_local_day_that_began_at_or_before_it():
    midnight = calendar.midnight(date(2025, 6, 1), "Asia/Kuala_Lumpur")
    instants = np.array([midnight - 1, midnight, midnight + 1])
    days = calendar.local_days_of(instants, "Asia/Kuala_Lumpur")
    first = calendar.day_number(date(2025, 6, 1))
    assert days.tolist() == [first - 1, first, first]


@pytest.mark.parametrize(
    ("day", "zone"),
    [
        ("1965-03-01", "Asia/Kuala_Lumpur"),  # before 1970
        ("2025-04-06", "Australia/Lord_Howe"),  # a day of 24.5 hours
        ("2025-09-07", "America/Santiago"),  # begins at one o'clock
        ("2011-12-31", "Pacific/Apia"),  # the day before was left out
        ("9999-12-31", "Asia/Kuala_Lumpur"),  # the last that Python knows: often written for `never`
        ("0001-01-02", "America/New_York"),
    ],
)
def test_midnights_and_local_days_agree(day, zone):
    number = calendar.day_number(date.fromisoformat(day))
    [begin] = calendar.midnights_of(np.array([number]), zone)
    assert begin == calendar.midnight(date.fromisoformat(day), zone)
    assert calendar.local_days_of(np.array([begin - 1, begin]), zone).tolist() == [number - (2 if "Apia" in zone else 1), number]


def test_a_window_ends_at_the_moment_of_a_query_where_that_is_no_midnight():
    """T is noon of 30 June in UTC: that day's own part counts; months and lagged windows are whole days before it."""
    noon = calendar.microseconds(datetime(2025, 6, 30, 12, tzinfo=UTC))
    told = {
        name: tuple(calendar.iso_utc(bound[0]) for bound in calendar.window_bounds(
            Window.parse(window), np.array([calendar.day_number(date(2025, 6, 30))]), "UTC", cut_off=np.array([noon]), **options
        ))
        for name, window, options in [
            ("1d", "1d", {}), ("7d", "7d", {}), ("1mo", "1mo", {}), ("mtd", "mtd", {}),
            ("lag", "7d", {"lag": 30}), ("month lag", "1mo", {"lag": 30}), ("ahead", "7d", {"ahead": True}),
        ]
    }  # fmt: skip
    assert told == {
        "1d": ("2025-06-30T00:00:00Z", "2025-06-30T12:00:00Z"),
        "7d": ("2025-06-24T00:00:00Z", "2025-06-30T12:00:00Z"),
        "1mo": ("2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z"),  # June is not over
        "mtd": ("2025-06-01T00:00:00Z", "2025-06-30T12:00:00Z"),
        "lag": ("2025-05-25T00:00:00Z", "2025-06-01T00:00:00Z"),
        "month lag": ("2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z"),  # the day 30 days before ended May
        "ahead": ("2025-06-30T12:00:00Z", "2025-07-08T00:00:00Z"),
    }


def test_a_day_is_complete_when_its_cut_off_and_the_grace_have_passed():
    ends = datetime(2025, 6, 1, 16, tzinfo=UTC)  # 1 June in Kuala Lumpur
    day = lambda now: calendar.last_complete_day(now, "Asia/Kuala_Lumpur", timedelta(hours=2))  # noqa: E731
    assert day(ends + timedelta(hours=2)) == date(2025, 6, 1)
    assert day(ends + timedelta(hours=2) - timedelta(microseconds=1)) == date(2025, 5, 31)


def test_the_first_and_the_last_instant_have_a_day():
    """As a writer's `never` may be; 292,277 years from 1970."""
    first, last = calendar.local_days_of(np.array([calendar.BEGINNING, calendar.FOREVER]), "Asia/Kuala_Lumpur").tolist()
    assert abs(first + 106_751_992) <= 1
    assert abs(last - 106_751_991) <= 1
