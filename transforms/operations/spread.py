"""How far values lie apart, and how they move with time."""

from __future__ import annotations

import numpy as np

from transforms.kernel import Selection, Values
from transforms.operations.base import NUMBERS, Answer, Operation
from transforms.operations.reducing import in_units, means, reduce


class Variance(Operation):
    """Sample variance; null for fewer than two values."""

    name, takes, in_words = "variance", NUMBERS, "sample variance"
    gives = "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        numbers = in_units(values, members)
        away = numbers - means(members, numbers)[members.query]
        count = members.counts
        return Answer(reduce(np.add, members, away * away).data / np.maximum(count - 1, 1), count > 1)


class StandardDeviation(Variance):
    """Sample standard deviation; null for fewer than two values."""

    name, in_words = "std", "sample standard deviation"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        variance = super().answer(facts, values)
        return Answer(np.sqrt(variance.data), variance.present)


class Slope(Operation):
    """Least-squares slope of the value on the local day, a day; null for fewer than three facts or a single day."""

    name, takes, in_words = "slope", NUMBERS, "least-squares slope a day"
    gives = "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions].astype(np.float64)
        numbers = in_units(values, members)
        across = day - means(members, day)[members.query]
        up = numbers - means(members, numbers)[members.query]
        spread = reduce(np.add, members, across * across).data
        together = reduce(np.add, members, across * up).data
        present = (members.counts > 2) & (spread > 0)
        return Answer(together / np.where(present, spread, 1), present)
