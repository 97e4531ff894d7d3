"""How many facts, how many different values, and what a condition says of them."""

from __future__ import annotations

import numpy as np

from transforms.kernel import Selection, Values
from transforms.operations.base import ANY_TYPE, Answer, Operation
from transforms.operations.reducing import tally


class Count(Operation):
    """How many facts have a value; all of them without `of`."""

    name, takes, needs_of, empty, in_words = "count", ANY_TYPE, False, "0", "number of"
    of_stretches = True
    gives = "integer"

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        return Answer.always(facts.count(values))


class DistinctCount(Operation):
    """How many different values."""

    name, takes, empty, in_words = "distinct_count", ANY_TYPE, "0", "number of different"
    gives = "integer"

    def takes_runs(self, values: Values) -> bool:
        return values.bits is not None

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        if values.bits is None:
            return Answer.always(tally(facts, values, None).members.counts)
        bits, some = facts.extreme(np.bitwise_or, values.bits)
        return Answer.always(np.where(some, np.bitwise_count(bits), 0).astype(np.int64))


class AnyTrue(Operation):
    """Whether the condition held for at least one fact; false of nothing."""

    name, takes, needs_of, empty, judges, in_words = "any", frozenset({"boolean"}), False, "false", True, "whether any of"
    of_stretches = True
    gives = "boolean"

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        return Answer.always(facts.total(values) > 0)


class AllTrue(Operation):
    """Whether the condition held for every fact; null of nothing."""

    name, takes, needs_of, judges, in_words = "all", frozenset({"boolean"}), False, True, "whether all of"
    of_stretches = True
    gives = "boolean"

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        count = facts.count(values)
        return Answer(facts.total(values) == count, count > 0)


class Streak(Operation):
    """How many of the newest facts in a row meet the condition."""

    name, takes, empty, ordered, in_words = "streak", frozenset({"boolean"}), "0", True, "length of the newest run of"
    gives = "integer"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        place = np.arange(len(members.positions))
        before = members.starts[members.query] - 1
        broken = members.reduce(np.maximum, np.where(values.data[members.positions], before, place))
        return Answer.always(np.where(members.some, members.starts[1:] - 1 - broken, 0))
