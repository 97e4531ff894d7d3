"""Spread and slope of whole numbers from sums that add up: exact until the last division, whatever lies before a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.kernel import Selection, Term, Values

Sums = NDArray[np.int64]


def squares_fit(facts: Selection, values: Values) -> bool:
    """Whether squares of whole numbers add up in 64 bits, of as many facts as a query sees."""
    return values.type != "number" and facts.most * values.largest**2 < 2**63


def products_with_days_fit(facts: Selection, values: Values) -> bool:
    """Whether squares of days, and their products with whole numbers, do."""
    first, last = facts.extent
    return values.type != "number" and facts.most * (last - first) * max(values.largest, last - first) < 2**63


def away_from_mean(facts: Selection, values: Values) -> tuple[Sums, NDArray[np.float64]]:
    """Of each query the number of facts, and the sum of their squared distances from the mean; money in units of the currency.

    Only where `squares_fit`.
    """
    count, total = facts.count(values), facts.total(values)
    squares = facts.sum_of(values, Term(2))
    of_values = _Sum.of(total, count)
    return count, _about_means(squares, of_values, of_values) / _unit(values) ** 2


@dataclass(frozen=True)
class DaysAndValues:
    """Of each query: the number of facts, the sum of squared distances of their days from the mean day, and of the products of
    these distances with those of the values, money in units of the currency."""

    count: Sums
    spread: NDArray[np.float64]
    together: NDArray[np.float64]


def days_and_values(facts: Selection, values: Values) -> DaysAndValues:
    """Only where `products_with_days_fit`."""
    first, _ = facts.extent
    count, total = facts.count(values), facts.total(values)
    days, squares, products = (facts.sum_of(values, Term(*powers, since=first)) for powers in ((0, 1), (0, 2), (1, 1)))
    of_days, of_values = _Sum.of(days, count), _Sum.of(total, count)
    spread, together = _about_means(squares, of_days, of_days), _about_means(products, of_days, of_values)
    return DaysAndValues(count, spread, together / _unit(values))


@dataclass(frozen=True)
class _Sum:
    """The sum of `n` whole numbers (of none: 1), as so many times n and a rest."""

    n: Sums
    sum: Sums
    whole: Sums
    rest: Sums

    @classmethod
    def of(cls, sum_: Sums, count: Sums) -> _Sum:
        n = np.maximum(count, 1)
        return cls(n, sum_, *np.divmod(sum_, n))


def _about_means(products: Sums, x: _Sum, y: _Sum) -> NDArray[np.float64]:
    """Σxy - Σx Σy / n of whole numbers, rounded once: the whole part is exact, and sums on the way may wrap round.

    With Σx = pn + r and Σy = qn + s, Σx Σy / n = p Σy + r q + rs / n.
    """
    more, rest = np.divmod(x.rest * y.rest, x.n)
    whole = products - x.whole * y.sum - x.rest * y.whole - more
    about: NDArray[np.float64] = whole - rest / x.n
    return about


def _unit(values: Values) -> int:
    return 100 if values.type == "money" else 1
