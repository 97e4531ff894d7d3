"""The first and the last value of a window."""

from __future__ import annotations

from transforms.kernel import Selection, Values
from transforms.operations.base import ANY_TYPE, Answer, Operation
from transforms.operations.reducing import value_at


class First(Operation):
    """The value of the oldest fact; ties by known time, then primary key."""

    name, takes, ordered, in_words = "first", ANY_TYPE, True, "first"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        return value_at(members, values, members.starts[:-1])


class Last(Operation):
    """The value of the newest fact; ties by known time, then primary key."""

    name, takes, ordered, in_words = "last", ANY_TYPE, True, "last"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        return value_at(members, values, members.starts[1:] - 1)
