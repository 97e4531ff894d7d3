"""The first and the last values of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.kernel import Positions, Selection, Values, picked
from transforms.operations.base import ANY_TYPE, Answer, Operation, Parameter, declared
from transforms.operations.json_text import json_lists
from transforms.operations.parameters import whole_number


class First(Operation):
    """The value of the oldest fact; ties by known time, then primary key."""

    name, takes, ordered, in_words = "first", ANY_TYPE, True, "first"
    of_stretches = True

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        return _value_at(values, facts.oldest(values))


class Last(Operation):
    """The value of the newest fact; ties by known time, then primary key."""

    name, takes, ordered, in_words = "last", ANY_TYPE, True, "last"
    of_stretches = True

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        return _value_at(values, facts.newest(values))


@dataclass(frozen=True)
class FirstN(Operation):
    """The values of the n oldest facts, oldest first, as a JSON list; ties as for `first`."""

    name, takes, empty, ordered, in_words = "first_n", ANY_TYPE, "[]", True, "first {n}"
    gives, gives_json = "string", True
    parameters = declared(n=Parameter("how many values", whole_number))

    n: int

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        place = np.arange(len(members.positions)) - members.starts[members.query]
        chosen = members.keep(place < self.n)
        return json_lists(chosen, values.data[chosen.positions], values.type, values.words)


@dataclass(frozen=True)
class LastN(Operation):
    """The values of the n newest facts, newest first, as a JSON list; ties as for `last`."""

    name, takes, empty, ordered, in_words = "last_n", ANY_TYPE, "[]", True, "last {n}"
    gives, gives_json = "string", True
    parameters = declared(n=Parameter("how many values", whole_number))

    n: int

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        place = members.starts[members.query + 1] - 1 - np.arange(len(members.positions))
        chosen = members.keep(place < self.n)
        mirrored = chosen.starts[chosen.query] + chosen.starts[chosen.query + 1] - 1 - np.arange(len(chosen.positions))
        return json_lists(chosen, values.data[chosen.positions][mirrored], values.type, values.words)


def _value_at(values: Values, positions: Positions) -> Answer:
    return Answer(picked(values.data, positions), positions >= 0)
