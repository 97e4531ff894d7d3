"""Answers in the kernel's units as Arrow columns, and the types that they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.operations import Answer

_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def arrow_type(type_: ColumnType, *, decimal_digits: int = 28) -> pa.DataType:
    return pa.decimal128(decimal_digits, 2) if type_ == "money" else _TYPES[type_]


def to_arrow(answer: Answer, type_: ColumnType, words: Sequence[str] = (), *, decimal_digits: int = 28) -> pa.Array:
    """`words`: what the codes of a string answer stand for, when it brings none of its own."""
    absent = ~answer.present
    match type_:
        case "money":
            return _cents_to_decimal(answer.data, absent, decimal_digits)
        case "string":
            codes = pa.array(answer.data.astype(np.int64), mask=absent)
            return pa.array(words if answer.words is None else answer.words, pa.string()).take(codes)
        case "boolean":
            return pa.array(answer.data.astype(np.bool_), mask=absent)
        case "date":
            return pa.array(answer.data.astype(np.int32), pa.int32(), mask=absent).cast(pa.date32())
        case "timestamp":
            return pa.array(answer.data.astype(np.int64), pa.int64(), mask=absent).cast(pa.timestamp("us", tz="UTC"))
        case "number":
            return pa.array(answer.data.astype(np.float64), mask=absent)
        case _:
            return pa.array(answer.data.astype(np.int64), mask=absent)


def _cents_to_decimal(cents: NDArray[Any], absent: NDArray[np.bool_], digits: int) -> pa.Array:
    """Exact: the 128-bit form of a decimal is its cents, sign-extended. Sums beyond 64 bits come as Python's integers."""
    if cents.dtype == object:
        data = b"".join(int(number).to_bytes(16, "little", signed=True) for number in cents)
    else:
        halves: NDArray[Any] = np.empty((len(cents), 2), dtype="<i8")
        halves[:, 0] = cents
        halves[:, 1] = cents.astype(np.int64) >> 63
        data = halves.tobytes()
    valid = pa.array(~absent).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(digits, 2), len(cents), [valid, pa.py_buffer(data)])
