"""Spread and slope of whole numbers from sums that add up: exact until the last division, whatever lies outside a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.kernel import Selection, Term, Values

Sums = NDArray[Any]
"""Whole numbers: int64, which may have wrapped round on the way, or Python's where they don't fit."""


def away_from_mean(facts: Selection, values: Values) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each query the number of facts, and the sum of their squared distances from the mean; money in units of the currency.

    Whole numbers only.
    """
    count, total = facts.count(values), facts.total(values)
    squares = facts.sum_of(values, _term(facts, 2, 0, largest=values.largest**2))
    of_values = _Sum.of(total, count)
    return count, _about_means(squares, of_values, of_values) / _unit(values) ** 2


@dataclass(frozen=True)
class DaysAndValues:
    """Of each query: the number of facts, the sum of squared distances of their days from the mean day, and of the products of
    these distances with those of the values, money in units of the currency."""

    count: NDArray[np.int64]
    spread: NDArray[np.float64]
    together: NDArray[np.float64]


def days_and_values(facts: Selection, values: Values) -> DaysAndValues:
    """Whole numbers only."""
    first, last = facts.extent
    span = last - first
    count, total = facts.count(values), facts.total(values)
    days, squares, products = (
        facts.sum_of(values, _term(facts, of_value, of_day, since=first, largest=values.largest**of_value * span**of_day))
        for of_value, of_day in ((0, 1), (0, 2), (1, 1))
    )
    of_days, of_values = _Sum.of(days, count), _Sum.of(total, count)
    spread, together = _about_means(squares, of_days, of_days), _about_means(products, of_days, of_values)
    return DaysAndValues(count, spread, together / _unit(values))


def _term(facts: Selection, of_value: int, of_day: int, *, largest: int, since: int = 0) -> Term:
    """`largest`: the greatest magnitude that the term has. In Python's integers where a sum may not fit 64 bits."""
    return Term(of_value, of_day, since, exact=facts.most * largest >= 2**63)


@dataclass(frozen=True)
class _Sum:
    """The sum of `n` whole numbers (of none: 1), as so many times n and a rest."""

    n: NDArray[np.int64]
    sum: Sums
    whole: Sums
    rest: Sums

    @classmethod
    def of(cls, sum_: Sums, count: NDArray[np.int64]) -> _Sum:
        n = np.maximum(count, 1)
        return cls(n, sum_, *_divided(sum_, n))


def _about_means(products: Sums, x: _Sum, y: _Sum) -> NDArray[np.float64]:
    """Σxy - Σx Σy / n of whole numbers, rounded once: the whole part is exact, and sums on the way may wrap round.

    With Σx = pn + r and Σy = qn + s, Σx Σy / n = p Σy + r q + rs / n.
    """
    more, rest = _divided(x.rest * y.rest, x.n)
    whole = products - x.whole * y.sum - x.rest * y.whole - more
    about: NDArray[np.float64] = whole.astype(np.float64) - (rest / x.n).astype(np.float64)
    return about


def _divided(numbers: Sums, n: NDArray[np.int64]) -> tuple[Sums, Sums]:
    if numbers.dtype == object:  # which numpy's divmod doesn't take
        return numbers // n, numbers % n
    return np.divmod(numbers, n)


def _unit(values: Values) -> int:
    return 100 if values.type == "money" else 1
