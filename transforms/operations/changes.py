"""What happens from one fact to the next; the one before may lie before the window."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from transforms.kernel import Members, Positions, Selection, Values, picked
from transforms.operations.base import ANY_TYPE, NUMBERS, ORDERED, Answer, Operation, Parameter, declared
from transforms.operations.parameters import days_of, number
from transforms.operations.reducing import at_least, at_most


class ChangeCount(Operation):
    """How many facts have another value than the fact before them. The very first fact is no change."""

    name, takes, empty, ordered, looks_back, in_words = "change_count", ANY_TYPE, "0", True, True, "number of changes of"
    of_stretches = True
    gives = "integer"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members, before = _with_the_one_before(facts, values)
        changed = values.data[members.positions] != picked(values.data, before)
        return Answer.always(members.keep((before >= 0) & changed).counts)


class RiseCount(Operation):
    """How many facts have a greater value than the fact before them."""

    name, takes, empty, ordered, looks_back, in_words = "rise_count", ORDERED, "0", True, True, "number of rises of"
    of_stretches = True
    gives = "integer"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members, before = _with_the_one_before(facts, values)
        risen = values.data[members.positions] > picked(values.data, before)
        return Answer.always(members.keep((before >= 0) & risen).counts)


@dataclass(frozen=True)
class CloseCount(Operation):
    """How many facts have another at most `within` local days before them."""

    name, takes, needs_of, empty, looks_back = "close_count", ANY_TYPE, False, "0", True
    in_words = "number, each at most {within} local days after another, of"
    gives = "integer"
    parameters = declared(within=Parameter("how many local days at most lie between", days_of))

    within: int

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members, before = _with_the_one_before(facts, values)
        days = facts.day[members.positions] - picked(facts.day, before)
        return Answer.always(members.keep((before >= 0) & (days <= self.within)).counts)


@dataclass(frozen=True)
class ReturnCount(Operation):
    """How often the value came back in the window to `low` or less after it had been `high` or more."""

    name, takes, empty, ordered, looks_back = "return_count", NUMBERS, "0", True, True
    in_words = "number of returns to {low} or less, from {high} or more, of"
    of_stretches = True
    gives = "integer"
    parameters = declared(
        high=Parameter("the value that must have been reached", number),
        low=Parameter("the value to which it came back", number),
    )

    high: Decimal
    low: Decimal

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"operation 'return_count' needs 'low' below 'high'; they are {self.low} and {self.high}")

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        high, low = at_least(values, self.high), at_most(values, self.low)
        turning = Values("boolean", high, values.present & (high | low))
        members, before = _with_the_one_before(facts, turning)
        return Answer.always(members.keep((before >= 0) & low[members.positions] & picked(high, before)).counts)


def _with_the_one_before(facts: Selection, values: Values) -> tuple[Members, Positions]:
    """The facts of each window, and the position of the fact before each of them, -1 where there is none."""
    members = facts.members(values)
    before = np.concatenate([[-1], members.positions[:-1]])[: len(members.positions)]
    before[members.starts[:-1][members.some]] = facts.earlier.newest(values)[members.some]
    return members, before
