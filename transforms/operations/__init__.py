"""The table of operations, one class each, and how one is built from a definition."""

from __future__ import annotations

from collections.abc import Mapping

from conf.errors import did_you_mean
from transforms.operations.amounts import DecayedSum, Maximum, Mean, Minimum, Sum
from transforms.operations.base import ANY_TYPE, NUMBERS, ORDERED, Answer, Operation, Parameter
from transforms.operations.changes import ChangeCount, CloseCount, ReturnCount, RiseCount
from transforms.operations.counting import AllTrue, AnyTrue, Count, DistinctCount, Streak
from transforms.operations.days import Age, GapDeviation, GapMaximum, GapMean, GapMinimum, Recency
from transforms.operations.ends import First, FirstN, Last, LastN
from transforms.operations.frequency import BottomK, Entropy, Frequency, Mode, Share, TopK
from transforms.operations.spread import Histogram, Kurtosis, Percentile, Skewness, Slope, StandardDeviation, Variance, Variation

__all__ = ["ANY_TYPE", "NUMBERS", "OPERATIONS", "ORDERED", "Answer", "Operation", "Parameter", "build_operation"]

OPERATIONS: Mapping[str, type[Operation]] = {
    operation.name: operation
    for operation in (
        Count, DistinctCount, AnyTrue, AllTrue, Streak,
        Sum, Mean, Minimum, Maximum, DecayedSum,
        StandardDeviation, Variance, Variation, Skewness, Kurtosis, Slope, Percentile, Histogram,
        First, Last, FirstN, LastN,
        Mode, TopK, BottomK, Share, Frequency, Entropy,
        Recency, Age, GapMean, GapMinimum, GapMaximum, GapDeviation,
        ChangeCount, RiseCount, CloseCount, ReturnCount,
    )
}  # fmt: skip


def build_operation(name: str, parameters: Mapping[str, str]) -> Operation:
    """The operation `name` with its parameters as a definition writes them.

    Raises ValueError for an operation that isn't there, and for a parameter that is unknown, missing or can't be read.
    """
    kind = OPERATIONS.get(name)
    if kind is None:
        raise ValueError(f"no operation named '{name}'{did_you_mean(name, OPERATIONS)}; known: {', '.join(sorted(OPERATIONS))}")
    known = kind.parameters
    for given in parameters:
        if given not in known:
            told = f"known: {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"operation '{name}' has no parameter '{given}'{did_you_mean(given, known)}; {told}")
    arguments = {}
    for wanted, parameter in known.items():
        text = parameters.get(wanted, parameter.default)
        if text is None:
            raise ValueError(f"operation '{name}' needs the parameter '{wanted}': {parameter.words}")
        try:
            arguments[wanted] = parameter.read(text)
        except ValueError as problem:
            raise ValueError(f"parameter '{wanted}' of operation '{name}' is '{text}'; it must be {problem}") from problem
    return kind(**arguments)
