"""What operations say of stretches, against what they say of each of their points."""

from __future__ import annotations

import numpy as np
import pytest

from tests.transforms.small import told
from transforms.asked import Asked, answer_each
from transforms.kernel import Values
from transforms.operations import OPERATIONS, build_operation
from transforms.stretches import Stretches, StretchRuns
from transforms.timeline import Runs, WindowSelection

RANDOM = np.random.default_rng(7)
PARAMETERS = {"return_count": {"high": "2", "low": "0"}}
TAKES_STRETCHES = (
    "all", "any", "change_count", "count", "distinct_count", "first", "last", "max", "mean", "min", "return_count", "rise_count",
    "slope", "std", "sum", "variance",
)  # fmt: skip


def some_stretches(count: int, longest: int) -> Stretches:
    length = RANDOM.integers(1, longest + 1, count)
    start = np.concatenate([[0], np.cumsum(length)])
    return Stretches(start, 20_000 + start[:-1])


def some_values(type_: str, count: int, largest: int) -> Values:
    data = RANDOM.integers(-largest, largest + 1, count)
    data = {"number": data / 7, "boolean": data > 0}.get(type_, data)
    present = RANDOM.random(count) < 0.8
    return Values(type_, np.where(present, data, 0).astype(data.dtype), present)


def each(stretches: Stretches, values: Values) -> tuple[Stretches, Values]:
    """Every point a stretch."""
    point = np.arange(stretches.start[-1])
    return Stretches(np.append(point, len(point)), 20_000 + point), values.take(stretches.at(point))


@pytest.mark.parametrize("longest", [1, 3, 40])
@pytest.mark.parametrize("largest", [2, 10**6, 2**31])
@pytest.mark.parametrize("name", TAKES_STRETCHES)
def test_an_operation_says_of_stretches_what_it_says_of_each_day(name, largest, longest):
    operation = build_operation(name, PARAMETERS.get(name, {}))
    for type_ in {"integer", "number", "money", "boolean"} & operation.takes:
        stretches = some_stretches(30, longest)
        values = some_values(type_, 30, largest)
        if largest > 10**6:  # so that sums need more than 64 bits
            values = Values(type_, values.data * 2**31 if type_ in ("integer", "money") else values.data, values.present)
        points = int(stretches.start[-1])
        edges = np.sort(RANDOM.integers(0, points + 1, (200, 3)), axis=1)
        edges = np.concatenate([edges, [[0, 0, points], [0, points, points], [0, 0, 0]]])
        before, low, high = edges.T
        as_of = np.full(len(low), 20_000)
        facts = WindowSelection(as_of, stretches, StretchRuns.of(stretches, before, low, high))
        if not operation.takes_stretches(values):
            assert type_ == "number" and name in ("std", "variance", "slope")
            continue
        days, of_days = each(stretches, values)
        plain = WindowSelection(as_of, days, Runs(np.arange(points), before, low, high))
        [found], [expected] = (
            answer_each(selection, [Asked(operation, data)]) for selection, data in ((facts, values), (plain, of_days))
        )
        exactly = type_ != "number" or name not in ("sum", "mean")  # these add up in another order
        if exactly:
            assert told(found, values) == told(expected, values), type_
        else:
            assert found.present.tolist() == expected.present.tolist()
            assert found.data[found.present] == pytest.approx(expected.data[expected.present], rel=1e-12, abs=1e-9)


def test_every_operation_says_whether_it_takes_stretches():
    numbers = some_values("integer", 5, 2)
    with_parameters = {
        "quantile": {}, "percentile": {"q": "50"}, "close_count": {"within": "3"}, "histogram": {"edges": "0"},
        "decayed_sum": {"half_life": "7"}, **PARAMETERS,
    }  # fmt: skip
    found = []
    for name, kind in OPERATIONS.items():
        needed = {key: "1" for key, declared in kind.parameters.items() if declared.default is None}
        operation = build_operation(name, with_parameters.get(name, needed))
        if operation.takes_stretches(numbers):
            found.append(name)
    assert tuple(sorted(found)) == TAKES_STRETCHES


def test_slices_and_what_lies_before_are_of_points():
    stretches = Stretches(np.array([0, 4, 10]), np.array([100, 104]))
    values = Values("integer", np.array([3, 5]), np.array([True, True]))
    runs = StretchRuns.of(stretches, np.array([0, 1]), np.array([2, 5]), np.array([6, 5]))
    facts = WindowSelection(np.array([0, 0]), stretches, runs)
    assert facts.total(values).tolist() == [2 * 3 + 2 * 5, 0]
    assert facts.earlier.total(values).tolist() == [2 * 3, 3 * 3 + 5]
    assert facts.slice(0, 1).total(values).tolist() == [16]
    assert facts.slice(1, 2).earlier.count(values).tolist() == [4]
    assert facts.extent == (100, 109)
    assert facts.most == 4


def test_zeros_of_two_signs_are_two_values():
    """A sum of them tells them apart, so what is joined may not hang on what else is asked."""
    stretches = Stretches(np.arange(4), 10 + np.arange(3))
    joined, values = stretches.joined(Values("number", np.array([-0.0, 0.0, 0.0]), np.ones(3, dtype=bool)), np.array([0]))
    assert joined.start.tolist() == [0, 1, 3]
    assert np.signbit(values.data).tolist() == [True, False]


def test_neighbours_that_say_the_same_are_joined_but_not_across_groups():
    stretches = Stretches(np.array([0, 2, 3, 7, 9, 10, 12]), np.array([10, 12, 13, 30, 32, 33]))
    data, present = np.array([1, 1, 1, 7, 0, 0]), np.array([True, True, True, False, False, True])
    joined, values = stretches.joined(Values("integer", data, present), np.array([0, 3, 12]))
    assert joined.start.tolist() == [0, 3, 7, 10, 12]
    assert joined.day.tolist() == [10, 13, 30, 33]
    assert values.present.tolist() == [True, True, False, True]
