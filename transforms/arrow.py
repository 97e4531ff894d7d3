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
    valid = None if answer.present.all() else pa.py_buffer(np.packbits(answer.present, bitorder="little"))

    def column(kind: pa.DataType, data: NDArray[Any] | bytes) -> pa.Array:
        plain = data if isinstance(data, bytes) else np.ascontiguousarray(data)
        return pa.Array.from_buffers(kind, len(answer.data), [valid, pa.py_buffer(plain)])

    match type_:
        case "money":
            return column(pa.decimal128(decimal_digits, 2), _decimals_of_cents(answer.data))
        case "string":
            texts = words if answer.words is None else answer.words
            known = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
            return known.take(column(pa.int64(), answer.data.astype(np.int64, copy=False)))
        case "boolean":
            return column(pa.bool_(), np.packbits(answer.data.astype(np.bool_, copy=False), bitorder="little"))
        case "date":
            return column(pa.date32(), answer.data.astype(np.int32))
        case "number":
            return column(pa.float64(), answer.data.astype(np.float64, copy=False))
        case _:
            return column(_TYPES[type_], answer.data.astype(np.int64, copy=False))


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


def _decimals_of_cents(cents: NDArray[Any]) -> NDArray[Any] | bytes:
    """Exact: the 128-bit form of a decimal is its cents, sign-extended. Sums beyond 64 bits come as Python's integers."""
    if cents.dtype == object:
        return b"".join(int(number).to_bytes(16, "little", signed=True) for number in cents)
    halves: NDArray[Any] = np.empty((len(cents), 2), dtype="<i8")
    halves[:, 0] = cents
    np.right_shift(cents.astype(np.int64, copy=False), 63, out=halves[:, 1])
    return halves
