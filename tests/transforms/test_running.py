"""Extremes and sums of runs, and what is made of them, against the obvious answer."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from transforms import running
from transforms.kernel import Term, Values
from transforms.operations.exact_sums import _about_means, _Sum
from transforms.running import Running
from transforms.timeline import Ladder

RANDOM = np.random.default_rng(7)


def some_values(count: int, *, type_: str = "integer") -> Values:
    present = RANDOM.random(count) < 0.8
    data = RANDOM.integers(-1000, 1000, count)
    return Values(type_, np.where(present, data if type_ == "integer" else data / 8, 0), present)


def some_runs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Runs of every length, in no order: empty, of one fact, and all of them among these."""
    low = RANDOM.integers(0, count + 1, 500)
    high = np.minimum(low + RANDOM.integers(0, count + 1, 500) // RANDOM.choice([1, 10, 100], 500), count)
    return np.append(low, [0, 0, count]), np.append(high, [count, 1, count])


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 65, 96, 700])
@pytest.mark.parametrize("type_", ["integer", "number"])
@pytest.mark.parametrize("ufunc", [np.minimum, np.maximum])
def test_extremes_of_runs(count, type_, ufunc):
    values = some_values(count, type_=type_)
    low, high = some_runs(count)
    kept = Running(np.arange(count))
    for _ in range(2):  # computed, then kept
        found = kept.extreme(ufunc, values, low, high)
        for place, (start, end) in enumerate(zip(low, high, strict=True)):
            inside = values.data[start:end][values.present[start:end]]
            if len(inside):
                assert found[place] == ufunc.reduce(inside)


def test_extremes_of_bits_are_of_some_of_the_facts_only():
    values = Values("integer", np.array([1, 2, 4, 8]), np.array([True, True, False, True]))
    kept = Running(np.array([0, 2, 3]))
    low, high = np.array([0, 1, 0, 1]), np.array([3, 3, 1, 2])
    assert kept.extreme(np.bitwise_or, values, low, high).tolist() == [9, 8, 1, 0]


def test_what_has_no_room_is_computed_again(monkeypatch):
    monkeypatch.setattr(running, "ROOM", 0)
    values = some_values(200)
    kept = Running(np.arange(200))
    first, again = kept.counts(values), kept.counts(values)
    assert first is not again
    assert first.tolist() == again.tolist() == np.concatenate([[0], np.cumsum(values.present)]).tolist()


def test_all_windows_of_a_ladder_are_reduced_at_once(monkeypatch):
    """However little room there is for anything else: else each of many windows would reduce all of them once more."""
    monkeypatch.setattr(running, "ROOM", 0)
    values = some_values(60)
    edges = np.array([[0, 10, 25, 30], [30, 30, 45, 60]])
    ladder = Ladder(edges[:, 0], edges, Running(np.arange(60)))
    day, asked = np.arange(60), []

    def days():
        asked.append(True)
        return day

    for number in range(3):
        found = ladder.rung(number).sums(values, Term(1, 1), days)
        assert found.tolist() == [(values.data * day)[start:end].sum() for start, end in edges[:, [number, 3]]]
    assert len(asked) == 1


def test_sums_about_means_are_rounded_once():
    """Far from zero, where doubles would lose everything: a difference of 1 cent among sums of 10^17."""
    rows = [
        [10**9, 10**9 + 1],
        [10**9] * 50,
        [10**9] * 50 + [10**9 - 1],
        [int(x) for x in RANDOM.integers(-(10**6), 10**6, 1000)],
        [],
    ]
    for row in rows:
        n, total, squares = len(row), sum(row), sum(x * x for x in row)
        wrapped = np.array([squares % 2**64], dtype=np.uint64).view(np.int64)
        of_row = _Sum.of(np.array([total]), np.array([n]))
        [told] = _about_means(wrapped, of_row, of_row)
        exact = Fraction(squares) - Fraction(total * total, max(n, 1))
        assert math.isclose(told, exact, rel_tol=4e-16, abs_tol=0)
