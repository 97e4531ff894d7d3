"""What a task hands to its writers of the rows that wait."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pyarrow as pa
import pytest

from jobs import answer_buckets

DAYS = date(2025, 6, 29), date(2025, 6, 30)


@pytest.fixture
def finished(monkeypatch):
    """The days and rows of which something is handed on, of rows that wait: an as-of day each."""
    monkeypatch.setattr(answer_buckets, "finish", lambda group, told: told)
    group = SimpleNamespace(name="g")

    def finish(days, *tables):
        task = SimpleNamespace(days={"g": dict.fromkeys(days, "v")})
        told = [pa.table({"as_of": pa.array(some, pa.date32()), "row": list(range(len(some)))}) for some in tables]
        return [(day, rows["row"].to_pylist()) for _, day, rows in answer_buckets._finished(task, group, told)]

    return finish


def test_rows_go_to_their_days_in_order(finished):
    first, second = DAYS
    assert finished(DAYS[::-1], [first, second, first], [second, first]) == [("2025-06-29", [0, 2, 1]), ("2025-06-30", [1, 0])]
    assert finished(DAYS[:1], [first, first]) == [("2025-06-29", [0, 1])]
    assert finished(DAYS, [second]) == [("2025-06-30", [0])]


@pytest.mark.parametrize("days", [DAYS, DAYS[:1]])
def test_where_nobody_is_on_the_spine_nothing_is_written(finished, days):
    assert finished(days, []) == []
