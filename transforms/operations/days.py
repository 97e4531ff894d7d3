"""Local days since facts and between them."""

from __future__ import annotations

import numpy as np

from transforms.kernel import Members, Selection, Values, picked
from transforms.operations.base import ANY_TYPE, Answer, Operation
from transforms.operations.reducing import divided


class Recency(Operation):
    """Local days from the day of the newest fact to D."""

    name, takes, needs_of, in_words = "recency", ANY_TYPE, False, "local days since the last of"
    ages = True
    gives = "integer"

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        newest = facts.newest(values)
        return Answer(facts.as_of - picked(facts.day, newest), newest >= 0)


class Age(Operation):
    """Local days from the day of the oldest fact to D."""

    name, takes, needs_of, in_words = "age", ANY_TYPE, False, "local days since the first of"
    ages = True
    gives = "integer"

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        oldest = facts.oldest(values)
        return Answer(facts.as_of - picked(facts.day, oldest), oldest >= 0)


class GapMean(Operation):
    """Mean gap in local days between consecutive facts; null for fewer than two."""

    name, takes, needs_of, in_words = "gap_mean", ANY_TYPE, False, "mean gap in local days between"
    null_when = "there are fewer than two facts"
    gives = "number"

    def walks(self, values: Values) -> bool:
        return False

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        count = facts.count(values)
        span = picked(facts.day, facts.newest(values)) - picked(facts.day, facts.oldest(values))
        return Answer(divided(span, count - 1, count > 1), count > 1)


class GapMinimum(Operation):
    """Least gap in local days between consecutive facts; null for fewer than two."""

    name, takes, needs_of, in_words = "gap_min", ANY_TYPE, False, "least gap in local days between"
    null_when = "there are fewer than two facts"
    gives = "integer"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        gaps, days = _gaps(facts, values)
        return Answer(gaps.reduce(np.minimum, days), gaps.some)


class GapMaximum(Operation):
    """Greatest gap in local days between consecutive facts; null for fewer than two."""

    name, takes, needs_of, in_words = "gap_max", ANY_TYPE, False, "greatest gap in local days between"
    null_when = "there are fewer than two facts"
    gives = "integer"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        gaps, days = _gaps(facts, values)
        return Answer(gaps.reduce(np.maximum, days), gaps.some)


class GapDeviation(Operation):
    """Sample standard deviation of the gaps in local days between consecutive facts; null for fewer than two gaps."""

    name, takes, needs_of, in_words = "gap_std", ANY_TYPE, False, "sample standard deviation of the gaps in local days between"
    null_when = "there are fewer than three facts"
    gives = "number"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        gaps, days = _gaps(facts, values)
        away = days - divided(gaps.reduce(np.add, days), gaps.counts, gaps.some)[gaps.query]
        present = gaps.counts > 1
        return Answer(np.sqrt(divided(gaps.reduce(np.add, away * away), gaps.counts - 1, present)), present)


def _gaps(facts: Selection, values: Values) -> tuple[Members, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Each query's facts but the oldest, and the local days since the fact before it."""
    members = facts.members(values)
    day = facts.day[members.positions]
    later = np.arange(len(day)) > members.starts[members.query]
    return members.keep(later), np.diff(day, prepend=day[:1])[later]
