"""Sums, means and extremes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.kernel import Selection, Values, narrowed, summable
from transforms.operations.base import NUMBERS, ORDERED, Answer, Operation, Parameter, declared
from transforms.operations.parameters import duration_in_days
from transforms.operations.reducing import divided, in_units, rounded_quotient


class Sum(Operation):
    """Sum of `of`; money exactly, in cents; numbers oldest first. An integer beyond 64 bits is null."""

    name, takes, empty, in_words = "sum", NUMBERS, "0", "sum of"
    of_stretches = True

    def walks(self, values: Values) -> bool:
        return values.type == "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        total = facts.total(values)
        if total.dtype == object and values.type == "integer":
            fits = np.array([-(2**63) <= number < 2**63 for number in total], dtype=np.bool_)
            return Answer(np.where(fits, total, 0).astype(np.int64), fits)
        return Answer.always(total)


class Mean(Operation):
    """Mean of `of`, by weight where there is one; money to the cent, rounded half away from zero."""

    name, takes, weighs, in_words = "mean", NUMBERS, True, "mean of"
    of_stretches = True
    null_weights = "the weights add up to 0"

    @classmethod
    def type_of(cls, of: ColumnType | None) -> ColumnType:
        return "money" if of == "money" else "number"

    def walks(self, values: Values) -> bool:
        return values.type == "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        if weights is not None:
            return _weighted_mean(facts, values, weights)
        count = facts.count(values)
        return _quotient(values, facts.total(values), count, count > 0)


class Minimum(Operation):
    """The least value."""

    name, takes, in_words = "min", ORDERED, "least"

    def takes_runs(self, values: Values) -> bool:
        return True

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        return Answer(*facts.extreme(np.minimum, values))


class Maximum(Operation):
    """The greatest value."""

    name, takes, in_words = "max", ORDERED, "greatest"

    def takes_runs(self, values: Values) -> bool:
        return True

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        return Answer(*facts.extreme(np.maximum, values))


@dataclass(frozen=True)
class DecayedSum(Operation):
    """Sum of `of`, of which every fact loses half its weight with every `half_life` local days that passed until D."""

    name, takes, empty, in_words = "decayed_sum", NUMBERS, "0", "sum, halved every {half_life:g} local days, of"
    ages = True
    gives = "number"
    parameters = declared(half_life=Parameter("in how many local days a fact loses half its weight", duration_in_days))

    half_life: float

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        age = facts.as_of[members.query] - facts.day[members.positions]
        decayed = in_units(values, members.positions) * np.exp2(-age / self.half_life)
        return Answer.always(members.reduce(np.add, decayed))


def _weighted_mean(facts: Selection, values: Values, weights: Values) -> Answer:
    members = facts.members(values, weights)
    if "number" in (values.type, weights.type):
        factors = values.data[members.positions] * weights.data[members.positions]
        whole = weights.data[members.positions]
    else:
        exact = object if values.largest * weights.largest * max(len(members.positions), 1) >= 2**63 else np.int64
        factors = values.data[members.positions].astype(exact) * weights.data[members.positions].astype(exact)
        whole = summable(weights, len(members.positions))[members.positions]
    return _quotient(values, narrowed(members.reduce(np.add, factors)), narrowed(members.reduce(np.add, whole)))


def _quotient(values: Values, total: NDArray[Any], by: NDArray[Any], present: NDArray[np.bool_] | None = None) -> Answer:
    """`total / by`, in cents for money; null where `by` is 0."""
    present = by != 0 if present is None else present
    if values.type != "money":
        return Answer(divided(total, by, present), present)
    if "f" in (total.dtype.kind, by.dtype.kind):
        cents = divided(total, by, present)
        return Answer((np.sign(cents) * np.floor(np.abs(cents) + 0.5)).astype(np.int64), present)
    negative = by < 0
    positive = np.where(present, np.where(negative, -by, by), 1)
    return Answer(rounded_quotient(np.where(negative, -total, total), positive).astype(np.int64), present)
