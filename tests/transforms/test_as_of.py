"""A ledger as it was known at a cut-off, for groups that a Python function makes."""

from __future__ import annotations

from datetime import UTC, datetime

from chispa import assert_df_equality

from conf.specs import Source
from tests.tables import table
from transforms.as_of import as_of
from transforms.calendar import microseconds

LOANS = Source.model_validate(
    {
        "name": "loans",
        "format": "csv",
        "location": "loans/*.csv",
        "key": ["loan_id"],
        "version": "number",
        "event_time": "changed_at",
        "known_time": "recorded_at",
        "grace": "1d",
        "columns": {
            "loan_id": "string",
            "number": "integer",
            "amount": "money",
            "phone": {"type": "string", "personal": "drop"},
            "settled_at": "timestamp",
            "outcome": "string",
            "changed_at": "timestamp",
            "recorded_at": "timestamp",
        },
        "mutable": {"settled_at": ["outcome"]},
    }
)
CURATED = """loan_id string, number long, amount decimal(18,2), settled_at timestamp, outcome string, changed_at timestamp,
    recorded_at timestamp, _event_time timestamp, _known_time timestamp, _file string"""
CUT_OFF = microseconds(datetime(2025, 9, 30, 16, tzinfo=UTC))


def row(loan: str, number: int, amount: str, event: str, known: str, *, settled: str | None = None) -> tuple:
    return (loan, number, amount, settled, settled and "paid", event, known, event, known, "a.csv")


def test_the_newest_version_known_by_then_counts_and_what_has_not_passed_reads_as_null(spark):
    curated = table(
        spark,
        CURATED,
        row("a", 1, "1.00", "2025-09-01 00:00:00", "2025-09-01 00:00:00"),
        row("a", 2, "2.00", "2025-09-02 00:00:00", "2025-10-01 16:00:00"),  # known at the end of the grace: counts
        row("a", 3, "3.00", "2025-09-03 00:00:00", "2025-10-01 16:00:00.000001"),  # a microsecond later: not yet
        row("b", 1, "4.00", "2025-09-30 15:59:59.999999", "2025-09-30 15:59:59.999999"),  # before the cut-off by a microsecond
        row("c", 1, "5.00", "2025-09-30 16:00:00", "2025-09-30 16:00:00"),  # at the cut-off: it hasn't happened
        row("d", 1, "6.00", "2025-09-01 00:00:00", "2025-09-01 00:00:00", settled="2025-09-30 15:59:59.999999"),
        row("e", 1, "7.00", "2025-09-01 00:00:00", "2025-09-01 00:00:00", settled="2025-09-30 16:00:00"),
        ("f", 1, "8.00", None, None, "2025-09-01 00:00:00", None, "2025-09-01 00:00:00", None, "a.csv"),  # no known time
    )

    actual = as_of(curated, source=LOANS, cut_off=CUT_OFF).select("loan_id", "number", "amount", "settled_at", "outcome")

    expected = table(
        spark,
        "loan_id string, number long, amount decimal(18,2), settled_at timestamp, outcome string",
        ("a", 2, "2.00", None, None),
        ("b", 1, "4.00", None, None),
        ("d", 1, "6.00", "2025-09-30 15:59:59.999999", "paid"),
        ("e", 1, "7.00", None, None),
        ("f", 1, "8.00", None, None),
    )
    assert_df_equality(actual, expected, ignore_row_order=True)


def test_columns_are_the_sources_without_dropped_ones_and_with_both_clocks(spark):
    curated = table(spark, CURATED)
    columns = as_of(curated, source=LOANS, cut_off=CUT_OFF).columns
    named = ["loan_id", "number", "amount", "settled_at", "outcome", "changed_at", "recorded_at", "_event_time", "_known_time"]
    assert columns == named
