"""Each operation over a small window: empty, null, one, two, many, ties; and that its parameters are read or refused."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.small import T, ask, facts_of, queries_of
from transforms.calendar import day_number
from transforms.operations import OPERATIONS, build_operation
from transforms.operations.__main__ import reference

MANY = ((8, 1000), (6, 5), (5, None), (3, 3), (3, 3), (1, -4))  # days before T, value; the first lies before the window
NAMES = ((6, "b"), (5, "a"), (4, None), (3, "b"), (2, "a"), (1, "c"))
HELD = ((9, True), (6, False), (4, True), (3, None), (2, True))
approx = pytest.approx

# operation, parameters, type of its values; what it says of: MANY or the like, nothing, one value, two equal values
CASES = [
    ("count", {}, "integer", MANY, 4, 0, 1, 2),
    ("sum", {}, "integer", MANY, 7, 0, 6, 12),
    ("sum", {}, "number", MANY, 7.0, 0.0, 6.0, 12.0),
    ("mean", {}, "integer", MANY, 1.75, None, 6.0, 6.0),
    ("mean", {}, "money", MANY, 2, None, 6, 6),  # 1.75 cents
    ("min", {}, "integer", MANY, -4, None, 6, 6),
    ("max", {}, "integer", MANY, 5, None, 6, 6),
    ("min", {}, "string", NAMES, "a", None, "x", "x"),
    ("variance", {}, "integer", MANY, approx(46.75 / 3), None, None, 0.0),
    ("std", {}, "integer", MANY, approx(math.sqrt(46.75 / 3)), None, None, 0.0),
    ("cv", {}, "integer", MANY, approx(math.sqrt(46.75 / 3) / 1.75), None, None, None),
    ("skew", {}, "integer", MANY, approx(2 * 3**0.5 * -151.875 / 46.75**1.5), None, None, None),
    ("kurtosis", {}, "integer", MANY, approx(30 * 1209.578125 / 46.75**2 - 13.5), None, None, None),
    ("distinct_count", {}, "integer", MANY, 3, 0, 1, 1),
    ("distinct_count", {}, "string", NAMES, 3, 0, 1, 1),
    ("first", {}, "integer", MANY, 5, None, 6, 6),
    ("last", {}, "integer", MANY, -4, None, 6, 6),
    ("last", {}, "string", NAMES, "c", None, "x", "x"),
    ("first_n", {"n": "3"}, "integer", MANY, "[5,3,3]", "[]", "[6]", "[6,6]"),
    ("last_n", {"n": "3"}, "integer", MANY, "[-4,3,3]", "[]", "[6]", "[6,6]"),
    ("last_n", {"n": "9"}, "string", NAMES, '["c","a","b","a","b"]', "[]", '["x"]', '["x","x"]'),
    ("top_k", {"n": "2"}, "string", NAMES, '["a","b"]', "[]", '["x"]', '["x"]'),
    ("bottom_k", {"n": "2"}, "string", NAMES, '["c","a"]', "[]", '["x"]', '["x"]'),
    ("mode", {}, "string", NAMES, "a", None, "x", "x"),
    ("mode", {}, "integer", MANY, 3, None, 6, 6),
    ("share", {}, "string", NAMES, '{"a":0.4,"b":0.4,"c":0.2}', "{}", '{"x":1.0}', '{"x":1.0}'),
    ("frequency", {}, "string", NAMES, '{"a":2,"b":2,"c":1}', "{}", '{"x":1}', '{"x":2}'),
    ("entropy", {}, "string", NAMES, approx(-2 * 0.4 * math.log(0.4) - 0.2 * math.log(0.2)), None, 0.0, 0.0),
    ("histogram", {"edges": "-4, 3, 4"}, "integer", MANY, "[0,1,2,1]", "[]", "[0,0,0,1]", "[0,0,0,2]"),
    ("percentile", {"q": "50"}, "integer", MANY, 3.0, None, 6.0, 6.0),
    ("percentile", {"q": "90"}, "integer", MANY, approx(3 + 0.7 * 2), None, 6.0, 6.0),
    ("percentile", {"q": "0"}, "integer", MANY, -4.0, None, 6.0, 6.0),
    ("percentile", {"q": "100"}, "integer", MANY, 5.0, None, 6.0, 6.0),
    ("percentile", {"q": "62.5"}, "money", ((3, 1), (2, 2), (1, 7)), 3, None, 6, 6),  # 2 + 0.25 * 5 = 3.25 cents
    ("any", {}, "boolean", HELD, True, False, True, True),
    ("all", {}, "boolean", HELD, False, None, True, True),
    ("streak", {}, "boolean", HELD, 2, 0, 1, 2),
    ("recency", {}, "integer", MANY, 0, None, 0, 0),  # a day before T is the local day D itself, at its start
    ("age", {}, "integer", MANY, 5, None, 0, 0),
    ("gap_mean", {}, "integer", MANY, approx(5 / 3), None, None, 0.0),
    ("gap_min", {}, "integer", MANY, 0, None, None, 0),
    ("gap_max", {}, "integer", MANY, 3, None, None, 0),
    ("gap_std", {}, "integer", MANY, approx(np.std([3, 0, 2], ddof=1)), None, None, None),
    ("slope", {}, "integer", MANY, approx(-21.25 / 12.75), None, None, None),
    ("decayed_sum", {"half_life": "2"}, "integer", MANY, approx(5 / 2**2.5 + 2 * 3 / 2 - 4), 0.0, 6.0, 12.0),
    ("change_count", {}, "integer", MANY, 3, 0, 0, 0),  # 1000 to 5, 5 to 3, 3 to -4
    ("rise_count", {}, "string", NAMES, 2, 0, 0, 0),  # a to b, a to c
    ("close_count", {"within": "2"}, "integer", MANY, 3, 0, 0, 1),  # 5 after 1000, 3 after 3, -4 after 3
    ("return_count", {"high": "5", "low": "3"}, "integer", MANY, 1, 0, 0, 0),
]  # fmt: skip
SAMPLES = {"integer": 6, "money": 6, "number": 6.0, "string": "x", "boolean": True}


@pytest.mark.parametrize(
    ("op", "parameters", "type_", "rows", "many", "nothing", "one", "two"),
    CASES,
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_an_operation_of_many_none_one_and_two_equal_values(op, parameters, type_, rows, many, nothing, one, two):
    """Nulls and what lies outside the window are ignored: entity 0 has `rows`, 1 nothing, 2 one value, 3 the same twice."""
    sample = SAMPLES[type_]
    facts = facts_of(
        *((0, *row) for row in rows), (1, 9, sample), (1, 2, None), (2, 1, sample), (3, 1, sample), (3, 1, sample), type_=type_
    )
    assert ask(op, facts, with_=parameters, queries=queries_of(0, 1, 2, 3)) == [many, nothing, one, two]
    assert ask(op, facts, with_=parameters, queries=queries_of(5, 7)) == [nothing, nothing]


def test_the_table_tries_every_operation():
    assert {case[0] for case in CASES} == set(OPERATIONS)


@pytest.mark.parametrize(("op", "type_"), [(op, kind) for op in sorted(OPERATIONS) for kind in sorted(OPERATIONS[op].takes)])
def test_an_empty_window_says_what_the_table_promises_for_every_type(op, type_):
    promised = {"null": None, "0": 0, "false": False, "[]": "[]", "{}": "{}"}[OPERATIONS[op].empty]
    with_ = {"n": "2", "q": "95", "edges": "1", "half_life": "3", "within": "3", "high": "2", "low": "1"}
    given = {name: with_[name] for name in OPERATIONS[op].parameters}
    assert ask(op, facts_of(type_=type_), with_=given) == [promised, promised]
    assert ask(op, facts_of((0, 1, None), type_=type_), with_=given) == [promised, promised]


@pytest.mark.parametrize(
    ("op", "least"),
    [("variance", 2), ("std", 2), ("cv", 3), ("skew", 3), ("kurtosis", 4), ("slope", 3), ("gap_mean", 2), ("gap_std", 3)],
)
def test_too_few_values_are_null(op, least):
    rows = [(0, 7 - n, n * n) for n in range(least)]
    assert ask(op, facts_of(*rows))[0] is not None
    assert ask(op, facts_of(*rows[1:]))[0] is None


def test_slope_is_least_squares_on_the_local_day():
    """Values 5, 3, 3, -4 on days 0, 3, 3, 5: products around the means add up to -21.25, squares of the days to 12.75."""
    assert ask("slope", facts_of(*((0, *row) for row in MANY)))[0] == approx(np.polyfit([0, 3, 3, 5], [5, 3, 3, -4], 1)[0])


@pytest.mark.parametrize("op", ["variance", "std", "slope"])
def test_whole_numbers_are_added_exactly_whatever_else_is_there(op):
    """Of large numbers the last digit told apart who shares a bucket, or what lies before the window."""
    mine = [(0, age, 10**9 + 7 * age**3) for age in (6, 5, 4, 3, 2, 1)]
    alone = ask(op, facts_of(*mine), queries=queries_of(0))
    assert ask(op, facts_of(*mine, (1, 3, 2**62)), queries=queries_of(0, 1))[:1] == alone
    assert ask(op, facts_of((0, 90, -(2**62)), *mine), queries=queries_of(0)) == alone
    assert ask(op, facts_of(*mine, *((1, 3, 5) for _ in range(5000))), queries=queries_of(0, 1))[:1] == alone


@pytest.mark.parametrize("type_", ["integer", "money"])
def test_slope_of_a_single_day_is_null_however_large_the_sum(type_):
    assert ask("slope", facts_of(*[(0, 0.5, 2**61)] * 5, type_=type_), queries=queries_of(0)) == [None]


def test_slope_of_a_single_day_is_null():
    assert ask("slope", facts_of((0, 1, 1), (0, 1, 2), (0, 1, 3)))[0] is None


@pytest.mark.parametrize("op", ["std", "variance", "skew", "kurtosis", "cv"])
def test_equal_numbers_have_no_spread_however_they_are_rounded(op):
    facts = facts_of(*[(0, 1, 0.1)] * 7, type_="number")
    assert ask(op, facts)[0] == 0


@pytest.mark.parametrize(("cents", "mean"), [((1, 2), 2), ((-1, -2), -2), ((1, 1, 2), 1), ((1, 2, 2), 2), ((5, 0), 3)])
def test_a_mean_of_money_is_rounded_half_away_from_zero(cents, mean):
    facts = facts_of(*[(0, 1, c, 3) for c in cents], type_="money", w=("integer", -1))
    assert ask("mean", facts)[0] == mean
    assert ask("mean", facts, weight="w")[0] == mean


@pytest.mark.parametrize(("q", "expected"), [("50", 2), ("25", 1), ("75", 2), ("0", 1), ("49.9", 1), ("50.1", 2)])
def test_a_percentile_of_money_is_rounded_half_away_from_zero(q, expected):
    """Between 1 and 2 cents: half is 1.5, so 2."""
    facts = facts_of((0, 2, 1), (0, 1, 2), (1, 2, -1), (1, 1, -2), type_="money")
    assert ask("percentile", facts, with_={"q": q})[0] == expected
    assert ask("percentile", facts, with_={"q": str(100 - float(q))})[1] == -expected


LARGEST = 10**18 - 1  # cents, of DECIMAL(18,2)


def test_sums_of_money_are_exact_whatever_their_size():
    facts = facts_of(*[(0, 1, LARGEST)] * 20, *[(1, 1, -LARGEST)] * 3, type_="money")
    assert ask("sum", facts) == [20 * LARGEST, -3 * LARGEST]
    assert ask("mean", facts) == [LARGEST, -LARGEST]
    assert ask("percentile", facts, with_={"q": "33.3"}) == [LARGEST, -LARGEST]


def test_an_integer_sum_beyond_64_bits_is_null():
    facts = facts_of(*[(0, 1, 2**62)] * 2, *[(1, 1, 2**62 - 1)] * 2)
    assert ask("sum", facts) == [None, 2**63 - 2]
    assert ask("mean", facts) == [2.0**62, 2.0**62]


# days before T, value, weight: one has no value, one no weight, one lies before the window
WEIGHED = ((0, 8, "z", 99), (0, 6, "b", 2), (0, 5, "a", 1), (0, 4, "b", None), (0, 3, None, 7), (0, 2, "c", 5), (0, 1, "a", 2))


@pytest.mark.parametrize(
    ("op", "parameters", "expected"),
    [
        ("top_k", {"n": "2"}, '["c","a"]'),  # c 5, a 3, b 2
        ("bottom_k", {"n": "2"}, '["b","a"]'),
        ("mode", {}, "c"),
        ("share", {}, '{"a":0.3,"b":0.2,"c":0.5}'),
        ("entropy", {}, approx(-0.3 * math.log(0.3) - 0.2 * math.log(0.2) - 0.5 * math.log(0.5))),
    ],
)
def test_values_weigh_what_their_facts_do(op, parameters, expected):
    for type_ in ("integer", "money", "number"):
        facts = facts_of(*WEIGHED, type_="string", w=(type_, -1))
        assert ask(op, facts, with_=parameters, weight="w")[0] == expected


def test_a_mean_by_weight():
    rows = ((0, 3, 10, 1), (0, 2, 20, 3), (0, 1, 99, None), (0, 1, None, 5), (1, 1, 7, 0))
    assert ask("mean", facts_of(*rows, w=("money", -1)), weight="w") == [17.5, None]
    assert ask("mean", facts_of(*rows, type_="money", w=("number", -1)), weight="w") == [18, None]
    large = facts_of((0, 1, LARGEST, LARGEST), (0, 1, LARGEST - 2, LARGEST), type_="money", w=("money", -1))
    assert ask("mean", large, weight="w")[0] == LARGEST - 1


def test_weights_that_add_up_to_nothing_tell_no_share():
    facts = facts_of(
        (0, 1, "a", 0), (1, 1, "a", 2), (1, 1, "b", -2), (2, 1, "a", 3), (2, 1, "b", -1), type_="string", w=("integer", -1)
    )
    queries = queries_of(0, 1, 2)
    assert ask("share", facts, weight="w", queries=queries) == [None, None, '{"a":1.5,"b":-0.5}']
    assert ask("entropy", facts, weight="w", queries=queries) == [None, None, None]  # no logarithm of what is negative
    assert ask("mode", facts, weight="w", queries=queries) == ["a", "a", "a"]


@pytest.mark.parametrize(
    ("type_", "cells", "expected", "share"),
    [
        ("money", (12000, -5, 100), '["120.00","-0.05","1.00"]', '{"-0.05":'),
        ("number", (0.1, 1e22, -2.0), "[0.1,1e+22,-2.0]", '{"-2.0":'),
        ("integer", (10, 9, -1), "[10,9,-1]", '{"-1":'),
        ("boolean", (True, False, True), "[true,false,true]", '{"false":'),
        ("date", (day_number(date(2025, 2, 28)), 0, -1), '["2025-02-28","1970-01-01","1969-12-31"]', '{"1969-12-31":'),
        ("timestamp", (T, T + 1, 0), '["2025-06-30T16:00:00.000000Z","2025-06-30T16:00:00.000001Z","1970-01-01T00:00:00.000000Z"]', '{"1970-'),
        ("string", ('say "é"', "\n", "a"), '["say \\"é\\"","\\n","a"]', '{"\\n":'),
    ],
)  # fmt: skip
def test_lists_and_maps_are_compact_json(type_, cells, expected, share):
    facts = facts_of(*((0, 3 - n, cell) for n, cell in enumerate(cells)), type_=type_)
    text = ask("first_n", facts, with_={"n": "3"})[0]
    assert (text, json.loads(text)[0]) == (expected, json.loads(expected)[0])
    shares = ask("share", facts)[0]
    assert shares.startswith(share)
    assert list(json.loads(shares)) == sorted(json.loads(shares))


@pytest.mark.parametrize(
    ("values", "any_", "all_", "streak"),
    [
        ((), False, None, 0),
        ((None,), False, None, 0),
        ((True,), True, True, 1),
        ((False, True, True), True, False, 2),
        ((True, True, False), True, False, 0),
        ((True, None, True), True, True, 2),
    ],
)
def test_conditions(values, any_, all_, streak):
    facts = facts_of(*[(0, 5 - n, value) for n, value in enumerate(values)], type_="boolean")
    assert [ask(op, facts)[0] for op in ("any", "all", "streak")] == [any_, all_, streak]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((30, 0), 1),
        ((30, 5, 0), 1),  # what lies between doesn't matter
        ((30, 0, 0, 30, 90, 0), 2),
        ((0, 29, 0), 0),
        ((0, 30), 0),
        ((30, None, 0, 30), 1),
        ((30, None, None, 0, 0), 1),  # it was high before the window began
    ],
)
def test_a_value_returns_to_low_after_it_was_high(values, expected):
    facts = facts_of(*[(0, (9 if len(values) == 5 else 7) - n, value) for n, value in enumerate(values)])
    assert ask("return_count", facts, with_={"high": "30", "low": "0"})[0] == expected


@pytest.mark.parametrize(("type_", "expected"), [("integer", "[1,1,1]"), ("money", "[3,0,0]"), ("number", "[1,1,1]")])
def test_the_bands_of_a_histogram_begin_at_their_edges_exactly(type_, expected):
    """Edges of money are in its unit: 1, 2 and 3 cents lie below 1.5."""
    facts = facts_of((0, 3, 1), (0, 2, 2), (0, 1, 3), type_=type_)
    assert ask("histogram", facts, with_={"edges": "[1.5, 3]"})[0] == expected


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("summ", {}, "no operation named 'summ' (did you mean 'sum'?); known: " + ", ".join(sorted(OPERATIONS))),
        ("sum", {"n": "3"}, "operation 'sum' has no parameter 'n'; it takes none"),
        ("return_count", {"hihg": "3"}, "operation 'return_count' has no parameter 'hihg' (did you mean 'high'?); known: high, low"),
        ("last_n", {}, "operation 'last_n' needs the parameter 'n': how many values"),
        ("last_n", {"n": "0"}, "parameter 'n' of operation 'last_n' is '0'; it must be a whole number from 1"),
        ("last_n", {"n": "2.5"}, "parameter 'n' of operation 'last_n' is '2.5'; it must be a whole number from 1"),
        ("percentile", {"q": "101"}, "parameter 'q' of operation 'percentile' is '101'; it must be a number from 0 to 100"),
        ("percentile", {"q": "nan"}, "parameter 'q' of operation 'percentile' is 'nan'; it must be a number from 0 to 100"),
        ("decayed_sum", {"half_life": "3w"}, "parameter 'half_life' of operation 'decayed_sum' is '3w'; it must be a number of local days above 0, such as '30'"),
        ("decayed_sum", {"half_life": "0"}, "parameter 'half_life' of operation 'decayed_sum' is '0'; it must be a number of local days above 0, such as '30'"),
        ("close_count", {"within": "1.5"}, "parameter 'within' of operation 'close_count' is '1.5'; it must be a whole number of local days, such as '30'"),
        ("histogram", {"edges": "3, 3"}, "parameter 'edges' of operation 'histogram' is '3, 3'; it must be numbers in ascending order, such as '0, 30, 60'"),
        ("return_count", {"high": "x", "low": "0"}, "parameter 'high' of operation 'return_count' is 'x'; it must be a number"),
        ("return_count", {"high": "1", "low": "1"}, "operation 'return_count' needs 'low' below 'high'; they are 1 and 1"),
    ],
)  # fmt: skip
def test_what_a_definition_gets_wrong_is_said(name, parameters, message):
    with pytest.raises(ValueError) as problem:
        build_operation(name, parameters)
    assert str(problem.value) == message


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("percentile", {"q": "99.5"}, "percentile 99.5 of"),
        ("decayed_sum", {"half_life": "30d"}, "sum, halved every 30 local days, of"),
        ("return_count", {"high": "30", "low": "0"}, "number of returns to 0 or less, from 30 or more, of"),
        ("sum", {}, "sum of"),
    ],
)
def test_an_operation_says_itself_in_words(name, parameters, words):
    assert build_operation(name, parameters).words == words
    assert build_operation(name, parameters) == build_operation(name, dict(parameters))


def test_parameters_are_the_fields_of_an_operation():
    assert {name: {field.name for field in fields(kind)} for name, kind in OPERATIONS.items()} == {
        name: set(kind.parameters) for name, kind in OPERATIONS.items()
    }
    assert (
        build_operation("last_n", {"n": "2"}) != build_operation("last_n", {"n": "3"}) != build_operation("first_n", {"n": "3"})
    )


@pytest.mark.parametrize(
    ("op", "parameters", "sql"),
    [
        ("count", {}, "count(v)"),
        ("sum", {}, "sum(v)"),
        ("mean", {}, "avg(v)"),
        ("std", {}, "stddev_samp(v)"),
        ("variance", {}, "var_samp(v)"),
        ("skew", {}, "skewness(v)"),
        ("kurtosis", {}, "kurtosis(v)"),
        ("percentile", {"q": "95"}, "quantile_cont(v, 0.95)"),
        ("percentile", {"q": "33.3"}, "quantile_cont(v, 0.333)"),
        ("entropy", {}, "entropy(v) * ln(2)"),
        ("distinct_count", {}, "count(distinct v)"),
        ("slope", {}, "regr_slope(v, day)"),
        ("min", {}, "min(v)"),
        ("max", {}, "max(v)"),
        ("cv", {}, "stddev_samp(v) / avg(v)"),
        ("decayed_sum", {"half_life": "7"}, "sum(v * pow(2, -age / 7))"),
    ],
)
@pytest.mark.parametrize("type_", ["integer", "number"])
def test_duckdb_says_the_same(op, parameters, sql, type_):
    """40 entities with up to 60 facts in the window, some null, some equal; from 5 facts on nothing is undefined."""
    random = np.random.default_rng(7)
    rows = []
    for entity in range(40):
        for day in sorted(random.integers(1, 29, random.integers(5, 60)), reverse=True):
            value = float(random.choice([random.normal(50, 20), random.integers(0, 9)]))
            value = round(value) if type_ == "integer" else value
            rows.append((entity, int(day), None if random.random() < 0.1 else value))
    actual = ask(op, facts_of(*rows, type_=type_), "28d", with_=parameters, queries=queries_of(*range(40)))
    with duckdb.connect(":memory:") as connection:
        columns = zip(*rows, strict=True)
        table = pa.table([pa.array(column) for column in columns], names=["entity", "ago", "v"])
        connection.register("rows", table)
        facts = "(select *, ago - 1 as age, -ago as day from rows where v is not null)"  # a day before T began D itself
        expected = connection.sql(f"select {sql} from {facts} group by entity order by entity").fetchall()
    assert actual == [approx(value, rel=1e-9) for (value,) in expected]


def test_the_page_of_the_operations_is_written_from_their_table():
    page = Path(__file__).parents[2] / "docs" / "operations.md"
    assert page.read_text(encoding="utf-8") == reference(), "write it anew: make docs"
