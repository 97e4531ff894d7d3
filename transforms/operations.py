"""The table of operations: what each needs, the type it gives, and how a window is answered from its facts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.kernel import Mask, Members, Selection, Values

NUMBERS: frozenset[ColumnType] = frozenset({"integer", "number", "money"})
ORDERED: frozenset[ColumnType] = NUMBERS | {"date", "timestamp", "string"}
ANY_TYPE: frozenset[ColumnType] = ORDERED | {"boolean"}


@dataclass(frozen=True)
class Answer:
    """One value for each query, in the units of `Values`; null where `present` is False."""

    data: NDArray[Any]
    present: Mask


class Operation(ABC):
    """One operation over the facts of a window. Null values are ignored by all of them."""

    name: ClassVar[str]
    takes: ClassVar[frozenset[ColumnType]]  # the types `of` may have
    needs_of: ClassVar[bool] = True
    empty: ClassVar[str] = "null"  # what an empty window gives
    judges: ClassVar[bool] = False  # `of` is a condition; without one, `where` is, and facts that fail it count as false
    ordered: ClassVar[bool] = False  # whether it matters which of two facts of one moment came first
    in_words: ClassVar[str]

    def type_of(self, of: ColumnType | None) -> ColumnType:
        assert of is not None
        return of

    @abstractmethod
    def answer(self, facts: Selection, values: Values) -> Answer: ...


class Count(Operation):
    """How many facts have a value; all of them without `of`."""

    name, takes, needs_of, empty, in_words = "count", ANY_TYPE, False, "0", "number"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "integer"

    def answer(self, facts: Selection, values: Values) -> Answer:
        return _always(facts.count(values))


class Sum(Operation):
    """Sum of `of`; money exactly, in cents. Numbers are added oldest first."""

    name, takes, empty, in_words = "sum", NUMBERS, "0", "sum"

    def answer(self, facts: Selection, values: Values) -> Answer:
        if values.type != "number":
            return _always(facts.total(values))
        members = facts.members(values)
        return _always(_reduce(np.add, members, values.data[members.positions]).data)


class Mean(Operation):
    """Mean of `of`; money to the cent, rounded half away from zero."""

    name, takes, in_words = "mean", NUMBERS, "mean"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "money" if of == "money" else "number"

    def answer(self, facts: Selection, values: Values) -> Answer:
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

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        return _reduce(np.minimum, members, values.data[members.positions])


class Maximum(Operation):
    """The greatest value."""

    name, takes, in_words = "max", ORDERED, "greatest"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        return _reduce(np.maximum, members, values.data[members.positions])


class Variance(Operation):
    """Sample variance; null for fewer than two values."""

    name, takes, in_words = "variance", NUMBERS, "sample variance"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "number"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        numbers = _in_units(values, members)
        away = numbers - _means(members, numbers)[members.query]
        count = members.counts
        return Answer(_reduce(np.add, members, away * away).data / np.maximum(count - 1, 1), count > 1)


class StandardDeviation(Variance):
    """Sample standard deviation; null for fewer than two values."""

    name, in_words = "std", "sample standard deviation"

    def answer(self, facts: Selection, values: Values) -> Answer:
        variance = super().answer(facts, values)
        return Answer(np.sqrt(variance.data), variance.present)


class DistinctCount(Operation):
    """How many different values."""

    name, takes, empty, in_words = "distinct_count", ANY_TYPE, "0", "number of different"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "integer"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        _, code = np.unique(values.data[members.positions], return_inverse=True)
        pairs = np.unique(members.query * (int(code.max(initial=0)) + 1) + code)
        query = pairs // (int(code.max(initial=0)) + 1)
        return _always(np.bincount(query, minlength=len(facts.low)).astype(np.int64))


class First(Operation):
    """The value of the oldest fact; ties by known time, then primary key."""

    name, takes, ordered, in_words = "first", ANY_TYPE, True, "first"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        return _at(members, values, members.starts[:-1])


class Last(Operation):
    """The value of the newest fact; ties by known time, then primary key."""

    name, takes, ordered, in_words = "last", ANY_TYPE, True, "last"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        return _at(members, values, members.starts[1:] - 1)


class AnyTrue(Operation):
    """Whether the condition held for at least one fact; false of nothing."""

    name, takes, needs_of, empty, judges, in_words = "any", frozenset({"boolean"}), False, "false", True, "whether any"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "boolean"

    def answer(self, facts: Selection, values: Values) -> Answer:
        return _always(facts.total(values) > 0)


class AllTrue(Operation):
    """Whether the condition held for every fact; null of nothing."""

    name, takes, needs_of, judges, in_words = "all", frozenset({"boolean"}), False, True, "whether all"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "boolean"

    def answer(self, facts: Selection, values: Values) -> Answer:
        count = facts.count(values)
        return Answer(facts.total(values) == count, count > 0)


class Recency(Operation):
    """Local days from the day of the newest fact to D."""

    name, takes, needs_of, in_words = "recency", ANY_TYPE, False, "local days since the last"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "integer"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions]
        newest = _pick(day, members.starts[1:] - 1)
        return Answer(facts.timeline.queries.as_of - newest, members.counts > 0)


class Age(Operation):
    """Local days from the day of the oldest fact to D."""

    name, takes, needs_of, in_words = "age", ANY_TYPE, False, "local days since the first"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "integer"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions]
        oldest = _pick(day, members.starts[:-1])
        return Answer(facts.timeline.queries.as_of - oldest, members.counts > 0)


class Slope(Operation):
    """Least-squares slope of the value on the local day, a day; null for fewer than three facts or a single day."""

    name, takes, in_words = "slope", NUMBERS, "least-squares slope a day"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "number"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions].astype(np.float64)
        numbers = _in_units(values, members)
        across = day - _means(members, day)[members.query]
        up = numbers - _means(members, numbers)[members.query]
        spread = _reduce(np.add, members, across * across).data
        together = _reduce(np.add, members, across * up).data
        present = (members.counts > 2) & (spread > 0)
        return Answer(together / np.where(present, spread, 1), present)


class GapMean(Operation):
    """Mean gap in local days between consecutive facts; null for fewer than two."""

    name, takes, needs_of, in_words = "gap_mean", ANY_TYPE, False, "mean gap in local days between"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "number"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        day = facts.timeline.fact_day[members.positions]
        span = _pick(day, members.starts[1:] - 1) - _pick(day, members.starts[:-1])
        return Answer(span / np.maximum(members.counts - 1, 1), members.counts > 1)


class Streak(Operation):
    """How many of the newest facts in a row meet the condition."""

    name, takes, empty, ordered, in_words = "streak", frozenset({"boolean"}), "0", True, "length of the newest run of"

    def type_of(self, of: ColumnType | None) -> ColumnType:
        return "integer"

    def answer(self, facts: Selection, values: Values) -> Answer:
        members = facts.members(values)
        place = np.arange(len(members.positions))
        before = members.starts[members.query] - 1
        broken = _reduce(np.maximum, members, np.where(values.data[members.positions], before, place))
        return _always(np.where(broken.present, members.starts[1:] - 1 - broken.data, 0))


OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        Count(), Sum(), Mean(), Minimum(), Maximum(), StandardDeviation(), Variance(), DistinctCount(), First(), Last(),
        AnyTrue(), AllTrue(), Recency(), Age(), Slope(), GapMean(), Streak(),
    )
}  # fmt: skip


def _always(data: NDArray[Any]) -> Answer:
    return Answer(data, np.ones(len(data), dtype=np.bool_))


def _reduce(ufunc: np.ufunc, members: Members, data: NDArray[Any]) -> Answer:
    """`ufunc` over each query's members in order; 0 and not present where there are none."""
    some = members.counts > 0
    result = np.zeros(len(some), dtype=data.dtype)
    if some.any():
        result[some] = ufunc.reduceat(data, members.starts[:-1][some])
    return Answer(result, some)


def _pick(data: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """`data` at `places`, whatever where a place lies outside."""
    return data[np.clip(places, 0, len(data) - 1)] if len(data) else np.zeros(len(places), dtype=data.dtype)


def _at(members: Members, values: Values, places: NDArray[np.int64]) -> Answer:
    return Answer(_pick(values.data[members.positions], places), members.counts > 0)


def _in_units(values: Values, members: Members) -> NDArray[np.float64]:
    """The members' values as doubles; money in whole units of the currency."""
    numbers = values.data[members.positions].astype(np.float64)
    return numbers / 100 if values.type == "money" else numbers


def _means(members: Members, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return _reduce(np.add, members, numbers).data / np.maximum(members.counts, 1)
