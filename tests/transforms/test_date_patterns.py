"""Date patterns as Spark writes them: which texts fit, and what they say."""

import duckdb
import pytest

from conf.errors import DefinitionError
from transforms.date_patterns import date_pattern

KNOWN = (
    "y, yyyy, yy, M, MM, MMM, MMMM, d, dd, H, HH, h, hh, m, mm, s, ss, S, SS, SSS, SSSS, SSSSS, SSSSSS, SSSSSSS, SSSSSSSS, "
    "SSSSSSSSS, a, X, XX, XXX, x, xx, xxx, Z"
)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("dd/MM/yyyy", "30/09/2025", "2025-09-30 00:00:00"),
        ("dd/MM/yyyy", "1/09/2025", None),  # two letters are two digits
        ("d/M/yyyy", "1/9/2025", "2025-09-01 00:00:00"),
        ("d/M/yyyy", "01/09/2025", "2025-09-01 00:00:00"),
        ("dd/MM/yyyy", "31/09/2025", None),  # no such day
        ("dd/MM/yyyy", "30/09/2025 ", None),  # nothing beside it
        ("dd/MM/yyyy", "30-09-2025", None),
        ("dd-MMM-yy", "05-jan-69", "2069-01-05 00:00:00"),  # two digits are of this century
        ("d MMMM yyyy", "5 January 2025", "2025-01-05 00:00:00"),
        ("d MMMM yyyy", "5 Januar 2025", None),
        ("yyyyMMdd", "20250930", "2025-09-30 00:00:00"),
        ("yyyyMM", "202509", "2025-09-01 00:00:00"),
        ("yyyy-MM-dd hh:mm a", "2025-09-30 12:05 am", "2025-09-30 00:05:00"),
        ("yyyy-MM-dd hh:mm a", "2025-09-30 13:05 PM", None),
        ("yyyy-MM-dd HH:mm", "2025-09-30 24:00", None),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2025-09-30 10:00:00.5", "2025-09-30 10:00:00.500000"),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2025-09-30 10:00:00.1234", None),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", "2025-09-30 10:00:00.123456789", "2025-09-30 10:00:00.123456"),
        ("yyyyMMdd HHmmssXXX", "20251001 003000+08:00", "2025-09-30 16:30:00"),
        ("yyyyMMdd HHmmssXXX", "20251001 003000Z", "2025-10-01 00:30:00"),
        ("yyyyMMdd HHmmssXXX", "20251001 003000+0800", None),
        ("yyyyMMdd HHmmssX", "20251001 003000-05", "2025-10-01 05:30:00"),
        ("yyyyMMdd HHmmssZ", "20251001 003000+0530", "2025-09-30 19:00:00"),
        ("yyyyMMdd HHmmssxx", "20251001 003000Z", None),  # a small x knows no Z
        ("yyyy-MM-dd'T'HH'h'", "2025-09-30T07h", "2025-09-30 07:00:00"),
        ("'100% of' dd.MM.yyyy ''", "100% of 30.09.2025 '", "2025-09-30 00:00:00"),
        ("dd/MM/yyyy", None, None),
    ],
)
def test_what_fits_and_what_it_says(connection, pattern, text, expected):
    (found,) = connection.execute(f"select {date_pattern(pattern).sql('$1::varchar')}", [text]).fetchone()
    assert (found if found is None else str(found)) == expected


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("dd/MM/YYYY", f"date pattern 'dd/MM/YYYY': 'YYYY' isn't known; known: {KNOWN}"),
        ("yyyy-MM-dd HH:mm z", f"date pattern 'yyyy-MM-dd HH:mm z': 'z' isn't known; known: {KNOWN}"),
        ("dd/MM", "date pattern 'dd/MM' needs a year and a month, such as dd/MM/yyyy"),
        ("yyyy-MM'T", "date pattern 'yyyy-MM'T': a quote isn't closed; text in quotes stands for itself"),
    ],
)
def test_what_is_refused(pattern, told):
    with pytest.raises(DefinitionError) as problem:
        date_pattern(pattern)
    assert str(problem.value) == told
