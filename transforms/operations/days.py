"""Local days since facts and between them."""

from __future__ import annotations

import numpy as np

from transforms.kernel import Selection, Values
from transforms.operations.base import ANY_TYPE, Answer, Operation
from transforms.operations.reducing import pick


class Recency(Operation):
    """Local days from the day of the newest fact to D."""

    name, takes, needs_of, in_words = "recency", ANY_TYPE, False, "local days since the last"
    gives = "integer"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions]
        newest = pick(day, members.starts[1:] - 1)
        return Answer(facts.timeline.queries.as_of - newest, members.counts > 0)


class Age(Operation):
    """Local days from the day of the oldest fact to D."""

    name, takes, needs_of, in_words = "age", ANY_TYPE, False, "local days since the first"
    gives = "integer"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions]
        oldest = pick(day, members.starts[:-1])
        return Answer(facts.timeline.queries.as_of - oldest, members.counts > 0)


class GapMean(Operation):
    """Mean gap in local days between consecutive facts; null for fewer than two."""

    name, takes, needs_of, in_words = "gap_mean", ANY_TYPE, False, "mean gap in local days between"
    gives = "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions]
        span = pick(day, members.starts[1:] - 1) - pick(day, members.starts[:-1])
        return Answer(span / np.maximum(members.counts - 1, 1), members.counts > 1)
