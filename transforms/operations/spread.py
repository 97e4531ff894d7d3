"""How values are spread, and how they move with time."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.kernel import Mask, Members, Selection, Values, picked
from transforms.operations.amounts import Mean
from transforms.operations.base import NUMBERS, Answer, Operation, Parameter, declared
from transforms.operations.exact_sums import away_from_mean, days_and_values
from transforms.operations.json_text import json_lists
from transforms.operations.parameters import ascending, percent
from transforms.operations.reducing import divided, finite, from_mean, in_units, rounded_quotient, scaled


class Variance(Operation):
    """Sample variance; null for fewer than two values."""

    name, takes, in_words = "variance", NUMBERS, "sample variance of"
    null_when = "there are fewer than two values"
    gives = "number"

    def takes_runs(self, values: Values) -> bool:
        return values.type != "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        return Answer(*_variance(facts, values))


class StandardDeviation(Operation):
    """Sample standard deviation; null for fewer than two values."""

    name, takes, in_words = "std", NUMBERS, "sample standard deviation of"
    null_when = "there are fewer than two values"
    gives = "number"

    def takes_runs(self, values: Values) -> bool:
        return values.type != "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        variance, present = _variance(facts, values)
        return Answer(np.sqrt(variance), present)


class Variation(Operation):
    """Coefficient of variation: sample standard deviation over mean; null for fewer than three values and for a mean of 0."""

    name, takes, in_words = "cv", NUMBERS, "coefficient of variation of"
    null_when = "there are fewer than three values, or their mean is 0"
    gives = "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        variance, _ = _variance_of(members, from_mean(values, members))
        mean = divided(members.reduce(np.add, in_units(values, members.positions)), members.counts, members.some)
        present = (members.counts > 2) & (mean != 0)
        return Answer(*finite(divided(np.sqrt(variance), mean, present), present))


class Skewness(Operation):
    """Sample skewness, adjusted for size; null for fewer than three values, 0 where all are equal."""

    name, takes, in_words = "skew", NUMBERS, "sample skewness of"
    null_when = "there are fewer than three values"
    gives = "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        away = from_mean(values, members)
        second, third = (members.reduce(np.add, away**power) for power in (2, 3))
        n = members.counts.astype(np.float64)
        spread = (n > 2) & (second > 0)
        factor = divided(n * np.sqrt(np.maximum(n - 1, 0)), n - 2, spread)
        return Answer(*finite(factor * divided(third, second**1.5, spread), n > 2))


class Kurtosis(Operation):
    """Sample excess kurtosis, adjusted for size; null for fewer than four values, 0 where all are equal."""

    name, takes, in_words = "kurtosis", NUMBERS, "sample excess kurtosis of"
    null_when = "there are fewer than four values"
    gives = "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        away = from_mean(values, members)
        second, fourth = (members.reduce(np.add, away**power) for power in (2, 4))
        n = members.counts.astype(np.float64)
        spread = (n > 3) & (second > 0)
        factor = divided(n * (n + 1) * (n - 1), (n - 2) * (n - 3), spread)
        normal = divided(3 * (n - 1) ** 2, (n - 2) * (n - 3), spread)
        return Answer(*finite(factor * divided(fourth, second * second, spread) - normal, n > 3))


class Slope(Operation):
    """Least-squares slope of the value on the local day, a day; null for fewer than three facts or a single day."""

    name, takes, in_words = "slope", NUMBERS, "least-squares slope a day of"
    null_when = "there are fewer than three facts, or all on one day"
    gives = "number"

    def takes_runs(self, values: Values) -> bool:
        return values.type != "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        if values.type != "number":
            sums = days_and_values(facts, values)
            present = (sums.count > 2) & (sums.spread > 0)
            return Answer(*finite(divided(sums.together, sums.spread, present), present))
        members = facts.members(values)
        day = facts.day[members.positions]
        day = (day - members.first(day)[members.query]).astype(np.float64)
        across = day - divided(members.reduce(np.add, day), members.counts, members.some)[members.query]
        spread = members.reduce(np.add, across * across)
        together = members.reduce(np.add, across * from_mean(values, members))
        present = (members.counts > 2) & (members.reduce(np.maximum, day) > 0)
        return Answer(*finite(divided(together, spread, present), present))


@dataclass(frozen=True)
class Percentile(Operation):
    """The value below which `q` percent lie, exact, between two values in proportion; money to the cent, half away from zero."""

    name, takes, in_words = "percentile", NUMBERS, "percentile {q} of"
    parameters = declared(q=Parameter("which percentile, 0 to 100", percent))

    q: Decimal

    @classmethod
    def type_of(cls, of: ColumnType | None) -> ColumnType:
        return Mean.type_of(of)

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        data = values.data[members.positions]
        data = data[np.lexsort((data, members.query))]
        share, whole = (self.q / 100).as_integer_ratio()
        steps = np.maximum(members.counts - 1, 0) * share
        place, rest = members.starts[:-1] + steps // whole, steps % whole
        low, high = picked(data, place), picked(data, np.minimum(place + 1, members.starts[1:] - 1))
        return Answer(_between(values, low, high, rest, whole), members.some)


@dataclass(frozen=True)
class Histogram(Operation):
    """How many values lie below the first edge, from each edge up to the next, and from the last one up, as a JSON list."""

    name, takes, empty, in_words = "histogram", NUMBERS, "[]", "number of facts by band of"
    gives, gives_json = "string", True
    parameters = declared(edges=Parameter("where bands begin, ascending, such as '0, 30, 60'", ascending))

    edges: tuple[Decimal, ...]

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        bands = len(self.edges) + 1
        edges = np.array([scaled(values.type, edge, up=True) for edge in self.edges])
        band = np.searchsorted(edges, values.data[members.positions], side="right")
        counts = np.bincount(members.query * bands + band, minlength=len(facts) * bands)
        query = np.repeat(np.flatnonzero(members.some), bands)
        lists = Members.of(query, np.arange(len(query)), len(facts))
        return json_lists(lists, counts.reshape(-1, bands)[members.some].ravel(), "integer")


def _variance(facts: Selection, values: Values) -> tuple[NDArray[np.float64], Mask]:
    if values.type != "number":
        count, squares = away_from_mean(facts, values)
        return finite(divided(squares, count - 1, count > 1), count > 1)
    members = facts.members(values)
    return _variance_of(members, from_mean(values, members))


def _variance_of(members: Members, away: NDArray[np.float64]) -> tuple[NDArray[np.float64], Mask]:
    present = members.counts > 1
    return finite(divided(members.reduce(np.add, away * away), members.counts - 1, present), present)


def _between(
    values: Values, low: NDArray[np.generic], high: NDArray[np.generic], rest: NDArray[np.int64], whole: int
) -> NDArray[np.generic]:
    """`low` and `rest / whole` of the way to `high`; whole cents for money."""
    if values.type != "money":
        start, end = low.astype(np.float64), high.astype(np.float64)
        return start + (end - start) * (rest / whole)
    exact = np.int64 if 4 * values.largest * whole < 2**63 else object
    way = (high.astype(exact) - low.astype(exact)) * rest.astype(exact)
    return rounded_quotient(low.astype(exact) * whole + way, np.full(len(low), whole, dtype=exact)).astype(np.int64)
