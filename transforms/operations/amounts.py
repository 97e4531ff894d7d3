"""Sums, means and extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.kernel import Selection, Values
from transforms.operations.base import NUMBERS, ORDERED, Answer, Operation
from transforms.operations.reducing import reduce


class Sum(Operation):
    """Sum of `of`; money exactly, in cents. Numbers are added oldest first."""

    name, takes, empty, in_words = "sum", NUMBERS, "0", "sum"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        if values.type != "number":
            return Answer.always(facts.total(values))
        members = facts.members(values)
        return Answer.always(reduce(np.add, members, values.data[members.positions]).data)


class Mean(Operation):
    """Mean of `of`; money to the cent, rounded half away from zero."""

    name, takes, in_words = "mean", NUMBERS, "mean"

    @classmethod
    def type_of(cls, of: ColumnType | None) -> ColumnType:
        return "money" if of == "money" else "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        count = facts.count(values)
        total = Sum().answer(facts, values).data
        some = np.maximum(count, 1)
        if values.type == "money":
            mean: NDArray[Any] = np.sign(total) * ((2 * np.abs(total) + some) // (2 * some))
        else:
            mean = total / some
        return Answer(mean, count > 0)


class Minimum(Operation):
    """The least value."""

    name, takes, in_words = "min", ORDERED, "least"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        return reduce(np.minimum, members, values.data[members.positions])


class Maximum(Operation):
    """The greatest value."""

    name, takes, in_words = "max", ORDERED, "greatest"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        return reduce(np.maximum, members, values.data[members.positions])
