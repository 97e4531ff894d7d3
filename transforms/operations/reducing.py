"""Values of each query's members, reduced to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.kernel import Members, Values
from transforms.operations.base import Answer


def reduce(ufunc: np.ufunc, members: Members, data: NDArray[Any]) -> Answer:
    """`ufunc` over each query's members in order; 0 and not present where there are none."""
    some = members.counts > 0
    result = np.zeros(len(some), dtype=data.dtype)
    if some.any():
        result[some] = ufunc.reduceat(data, members.starts[:-1][some])
    return Answer(result, some)


def pick(data: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """`data` at `places`, whatever where a place lies outside."""
    return data[np.clip(places, 0, len(data) - 1)] if len(data) else np.zeros(len(places), dtype=data.dtype)


def value_at(members: Members, values: Values, places: NDArray[np.int64]) -> Answer:
    return Answer(pick(values.data[members.positions], places), members.counts > 0)


def in_units(values: Values, members: Members) -> NDArray[np.float64]:
    """The members' values as doubles; money in whole units of the currency."""
    numbers = values.data[members.positions].astype(np.float64)
    return numbers / 100 if values.type == "money" else numbers


def means(members: Members, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return reduce(np.add, members, numbers).data / np.maximum(members.counts, 1)
