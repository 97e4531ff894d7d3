"""What an operation is: which values it takes, its parameters, the type it gives, and how a window is answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.kernel import Mask, Positions, Selection, Values

NUMBERS: frozenset[ColumnType] = frozenset({"integer", "number", "money"})
ORDERED: frozenset[ColumnType] = NUMBERS | {"date", "timestamp", "string"}
ANY_TYPE: frozenset[ColumnType] = ORDERED | {"boolean"}


@dataclass(frozen=True)
class Answer:
    """One value for each query, in the units of `Values`; null where `present` is False.

    `words`: what the codes in `data` stand for, where they aren't those of the values (JSON texts).
    """

    data: NDArray[Any]
    present: Mask
    words: tuple[str, ...] | None = None

    @classmethod
    def always(cls, data: NDArray[Any], words: tuple[str, ...] | None = None) -> Answer:
        """No answer is null."""
        return cls(data, np.ones(len(data), dtype=np.bool_), words)

    def take(self, places: Positions) -> Answer:
        present = np.ones(len(places), dtype=np.bool_) if self.present.all() else self.present.take(places)
        return Answer(self.data.take(places), present, self.words)

    @classmethod
    def joined(cls, parts: Sequence[Answer]) -> Answer:
        """The answers of `parts`, one after another."""
        if len(parts) == 1:
            return parts[0]
        data, words = [part.data for part in parts], None
        if parts and parts[0].words is not None:
            told = [part.words or () for part in parts]
            ahead = np.cumsum([0, *(len(one) for one in told)])
            data = [one + ahead[number] for number, one in enumerate(data)]
            words = tuple(chain.from_iterable(told))
        return cls(np.concatenate(data), np.concatenate([part.present for part in parts]), words)


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operation. `read`: its text as a value, or ValueError with what it must be instead."""

    words: str
    read: Callable[[str], Any] = field(compare=False)
    default: str | None = None  # None: it must be given


def declared(**parameters: Parameter) -> Mapping[str, Parameter]:
    """The parameters of an operation, by name."""
    return MappingProxyType(parameters)


@dataclass(frozen=True)
class Operation(ABC):
    """One operation over the facts of a window. Null values are ignored by all of them.

    Parameters are the fields of the class, and `parameters` says how their texts are read. Equal when class and parameters are.
    """

    name: ClassVar[str]
    takes: ClassVar[frozenset[ColumnType]]  # the types `of` may have
    in_words: ClassVar[str]  # what is said before the value or the facts; `{n}` stands for the parameter n
    gives: ClassVar[ColumnType | None] = None  # the type of the answer; None: that of `of`
    needs_of: ClassVar[bool] = True
    empty: ClassVar[str] = "null"  # what an empty window gives
    null_when: ClassVar[str] = ""  # when the answer is null, where that isn't just when there is no fact
    null_weights: ClassVar[str] = ""  # when weights make it null
    judges: ClassVar[bool] = False  # `of` is a condition; without one, `where` is, and facts that fail it count as false
    ordered: ClassVar[bool] = False  # whether it matters which of two facts of one moment came first
    weighs: ClassVar[bool] = False  # whether it takes a weight
    looks_back: ClassVar[bool] = False  # whether the fact before a window matters
    of_stretches: ClassVar[bool] = False  # see `takes_stretches`
    ages: ClassVar[bool] = False  # whether the answer changes from day to day though the facts don't
    gives_json: ClassVar[bool] = False  # whether its texts are JSON: a list or a map
    parameters: ClassVar[Mapping[str, Parameter]] = declared()

    @classmethod
    def type_of(cls, of: ColumnType | None) -> ColumnType:
        type_ = cls.gives or of
        assert type_ is not None
        return type_

    @classmethod
    def nulls(cls, *, weighted: bool = False) -> str:
        """When its answer is null, in words; empty when it never is."""
        own = cls.null_when or ("there is no such fact" if cls.empty == "null" else "")
        return " or ".join(filter(None, (own, cls.null_weights if weighted else "")))

    @property
    def words(self) -> str:
        """`in_words` with the parameters filled in."""
        return self.in_words.format(**vars(self))

    def walks(self, values: Values) -> bool:
        """Whether it looks at every fact of every window, so that memory grows with both; otherwise running totals do."""
        return True

    def takes_runs(self, values: Values) -> bool:
        """Whether sums and extremes of runs answer it, where a selection knows these without a look at every fact."""
        return False

    def takes_stretches(self, values: Values) -> bool:
        """Whether days of one value, one after another, may be one fact, which a selection counts and adds up as often."""
        return self.of_stretches or self.takes_runs(values)

    @abstractmethod
    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer: ...
