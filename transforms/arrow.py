"""Answers in the kernel's units as Arrow columns, and the types that they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.kernel import Values
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


def to_arrow(answer: Answer, type_: ColumnType, words: Sequence[str] | pa.Array = (), *, decimal_digits: int = 28) -> pa.Array:
    """`words`: what the codes of a string answer stand for, when it brings none of its own."""
    absent = None if answer.present.all() else ~answer.present
    match type_:
        case "money":
            return _cents_to_decimal(answer.data, absent, decimal_digits)
        case "string":
            codes = pa.array(answer.data.astype(np.int64, copy=False), mask=absent)
            texts = words if answer.words is None else answer.words
            return (texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())).take(codes)
        case "boolean":
            return pa.array(answer.data.astype(np.bool_, copy=False), mask=absent)
        case "date":
            return pa.array(answer.data.astype(np.int32), pa.int32(), mask=absent).cast(pa.date32())
        case "timestamp":
            return pa.array(answer.data.astype(np.int64, copy=False), pa.int64(), mask=absent).cast(pa.timestamp("us", tz="UTC"))
        case "number":
            return pa.array(answer.data.astype(np.float64, copy=False), mask=absent)
        case _:
            return pa.array(answer.data.astype(np.int64, copy=False), mask=absent)


def utc_texts(instants: NDArray[np.int64]) -> pa.Array:
    """Microseconds since 1970 UTC as `calendar.iso_utc` writes them."""
    seconds, fraction = np.divmod(instants, 1_000_000)
    whole = pa.array(np.datetime_as_string(seconds.astype("datetime64[s]")), pa.string())
    if fraction.any():
        digits = pc.utf8_lpad(pa.array(fraction).cast(pa.string()), width=6, padding="0")
        whole = pc.if_else(pa.array(fraction == 0), whole, pc.binary_join_element_wise(whole, digits, "."))
    return pc.binary_join_element_wise(whole, "Z", "")


def from_arrow(column: pa.Array, type_: ColumnType) -> Values:
    """A column of that type in the kernel's units. Money beyond 64 bits of cents is null."""
    present = column.is_valid().to_numpy(zero_copy_only=False)
    match type_:
        case "string":
            words = column.drop_null().unique().sort()
            codes = pc.index_in(column, value_set=words).fill_null(0).to_numpy(zero_copy_only=False)
            return Values(type_, codes.astype(np.int64), present, tuple(words.to_pylist()))
        case "money":
            zero = pa.scalar(0).cast(column.type)
            halves = np.frombuffer(pa.concat_arrays([column.fill_null(zero)]).buffers()[1], dtype="<i8")
            halves = halves[: 2 * len(column)].reshape(-1, 2)
            present &= halves[:, 1] == halves[:, 0] >> 63
            return Values(type_, np.where(present, halves[:, 0], 0), present)
        case "boolean":
            return Values(type_, column.fill_null(False).to_numpy(zero_copy_only=False), present)
        case "date":
            column = column.cast(pa.int32())
        case "timestamp":
            column = column.cast(pa.timestamp("us")).cast(pa.int64())
    data = column.fill_null(0).to_numpy(zero_copy_only=False)
    return Values(type_, data.astype(np.float64 if type_ == "number" else np.int64), present)


def _cents_to_decimal(cents: NDArray[Any], absent: NDArray[np.bool_] | None, digits: int) -> pa.Array:
    """Exact: the 128-bit form of a decimal is its cents, sign-extended. Sums beyond 64 bits come as Python's integers."""
    if cents.dtype == object:
        data: bytes | NDArray[Any] = b"".join(int(number).to_bytes(16, "little", signed=True) for number in cents)
    else:
        halves: NDArray[Any] = np.empty((len(cents), 2), dtype="<i8")
        halves[:, 0] = cents
        np.right_shift(cents.astype(np.int64, copy=False), 63, out=halves[:, 1])
        data = halves
    valid = None if absent is None else pa.array(~absent).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(digits, 2), len(cents), [valid, pa.py_buffer(data)])
