"""What an example expects: when an answer is that, and what can't be expected of a column."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from transforms.expected import expectation, shown


@pytest.mark.parametrize(
    ("type_", "written", "holds", "fails"),
    [
        ("integer", "1", [1], [2, None]),
        ("integer", "-3", [-3], [3]),
        ("integer", None, [None], [0]),
        ("money", "120.5", [Decimal("120.50")], [Decimal("120.51"), None]),
        ("number", "0.25", [0.25, 0.25 + 1e-12], [0.2501, None]),
        ("number", "1/3", [1 / 3], [0.333]),
        ("number", "~0.333", [1 / 3, 0.3325, 0.3335], [0.3336, 0.3324, None]),
        ("number", "~12", [11.5, 12.4], [12.6]),
        ("number", "-2/4", [-0.5], [0.5]),
        ("boolean", "true", [True], [False, None]),
        ("string", "true", ["true"], ["True", None]),
        ("string", "", [""], [None]),
        ("date", "2025-06-30", [date(2025, 6, 30)], [date(2025, 7, 1)]),
        ("timestamp", "2025-06-30T08:00:00+08:00", [datetime(2025, 6, 30, tzinfo=UTC)], [datetime(2025, 6, 30, 8, tzinfo=UTC)]),
        ("string", ["a", None, "1"], ['["a",null,1]'], ['["a",null]', '["a",1,null]', "a", None, "{}"]),
        ("string", [], ["[]"], ["{}", None]),
        ("string", {"a": "1/2", "b": "120.00"}, ['{"a":0.5,"b":"120.00"}'], ['{"a":0.5}', '{"a":0.4,"b":"120.00"}', "[]"]),
        ("string", {"a": "true", "b": None}, ['{"a":true,"b":null}'], ['{"a":false,"b":null}', '{"a":true,"b":0}']),
    ],
)  # fmt: skip
def test_an_answer_is_what_is_expected_or_not(type_, written, holds, fails):
    wanted = expectation(type_, tuple(written) if isinstance(written, list) else written)
    assert [wanted.holds(got) for got in (*holds, *fails)] == [True] * len(holds) + [False] * len(fails)


@pytest.mark.parametrize(
    ("type_", "written", "message"),
    [
        ("integer", "1.0", "a whole number"),
        ("money", "1.234", "an amount with at most two decimals, such as 120.50"),
        ("money", "much", "an amount with at most two decimals, such as 120.50"),
        ("number", "NaN", "a number such as 0.25, a fraction such as 1/3, or ~0.333 for what rounds to it"),
        ("number", "1/0", "a number such as 0.25, a fraction such as 1/3, or ~0.333 for what rounds to it"),
        ("boolean", "yes", "true or false"),
        ("date", "30/06/2025", "a date such as 2025-09-30"),
        ("timestamp", "2025-06-30T08:00:00", "a time with its offset, such as 2025-09-30T16:00:00Z"),
        ("integer", ("1",), "one value, for the column is integer; only JSON texts have lists and maps"),
    ],
)
def test_what_can_not_be_expected(type_, written, message):
    with pytest.raises(ValueError) as problem:
        expectation(type_, written)
    assert str(problem.value) == message


def test_answers_are_shown_as_an_example_would_write_them():
    values = [None, True, 3, 0.1, Decimal("1.50"), "x", date(2025, 6, 30), datetime(2025, 6, 30, tzinfo=UTC)]
    assert [shown(value) for value in values] == ["null", "true", "3", "0.1", "1.50", "x", "2025-06-30", "2025-06-30T00:00:00Z"]
