"""Spark's `xxhash64` of columns, in numpy: facts that either engine prepared lie in the same buckets under the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_SEED = np.uint64(42)
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )
)  # fmt: skip


def spark_hash(columns: Sequence[pa.ChunkedArray | pa.Array]) -> pa.Array:
    """`xxhash64(columns…)` of each row, as int64: strings, integers, dates, timestamps, decimals and booleans.

    As in Spark, each column's hash is the seed of the next, and a null leaves it as it is.
    """
    hashes: Hashes = np.full(len(columns[0]), _SEED)
    for column in columns:
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        there = array.is_valid().to_numpy(zero_copy_only=False)
        if there.any():
            hashes[there] = _hashed(array.drop_null(), hashes[there])
    return pa.array(hashes.view(np.int64))


def _hashed(array: pa.Array, seeds: Hashes) -> Hashes:
    """The hash of each of some values without nulls."""
    type_ = array.type
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return _of_texts(array.cast(pa.large_string()), seeds)
    if pa.types.is_boolean(type_):
        return _of_ints(array.cast(pa.int32()).to_numpy(), seeds)
    if pa.types.is_date32(type_):
        return _of_ints(array.cast(pa.int32()).to_numpy(), seeds)
    if pa.types.is_timestamp(type_):
        return _of_longs(array.cast(pa.timestamp("us", tz=type_.tz)).cast(pa.int64()).to_numpy(), seeds)
    if pa.types.is_decimal(type_) and type_.precision <= 18:
        cents = pc.multiply_checked(array, pa.scalar(10**type_.scale, pa.decimal128(19, 0)))
        return _of_longs(cents.cast(pa.int64()).to_numpy(), seeds)
    if pa.types.is_integer(type_):
        return _of_longs(array.cast(pa.int64()).to_numpy(), seeds)
    if pa.types.is_floating(type_):
        numbers = array.cast(pa.float64()).to_numpy() + 0.0  # of two zeros, the positive one
        return _of_longs(numbers.view(np.int64), seeds)
    raise TypeError(f"a key of type {type_} has no hash")


def _of_ints(numbers: NDArray[Any], seeds: Hashes) -> Hashes:
    """Of values that Spark keeps in 32 bits."""
    hashes = seeds + _P5 + np.uint64(4)
    return _mixed(_four(hashes, numbers.astype(np.int32).view(np.uint32).astype(np.uint64)))


def _of_longs(numbers: NDArray[Any], seeds: Hashes) -> Hashes:
    hashes = seeds + _P5 + np.uint64(8)
    return _mixed(_eight(hashes, numbers.astype(np.int64).view(np.uint64)))


def _of_texts(texts: pa.Array, seeds: Hashes) -> Hashes:
    """Of the bytes of UTF-8 texts, those of one length together."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    letters = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    starts, lengths = offsets[:-1], np.diff(offsets)
    hashes = np.empty(len(texts), dtype=np.uint64)
    for length in np.unique(lengths):
        which = lengths == length
        block = letters[starts[which][:, None] + np.arange(length)]
        hashes[which] = _of_blocks(block, seeds[which])
    return hashes


def _of_blocks(block: NDArray[np.uint8], seeds: Hashes) -> Hashes:
    """Of a text a row, all of one length."""
    length = block.shape[1]
    place = 0
    if length >= 32:
        lanes = [seeds + _P1 + _P2, seeds + _P2, seeds.copy(), seeds - _P1]
        while place + 32 <= length:
            for number in range(4):
                lanes[number] = _round(lanes[number], _words(block, place + 8 * number, np.uint64))
            place += 32
        hashes = sum((_rotated(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True)), np.zeros_like(seeds))
        for lane in lanes:
            hashes = (hashes ^ _round(np.zeros_like(lane), lane)) * _P1 + _P4
    else:
        hashes = seeds + _P5
    hashes = hashes + np.uint64(length)
    while place + 8 <= length:
        hashes = _eight(hashes, _words(block, place, np.uint64))
        place += 8
    if place + 4 <= length:
        hashes = _four(hashes, _words(block, place, np.uint32))
        place += 4
    while place < length:
        hashes = _rotated(hashes ^ (block[:, place].astype(np.uint64) * _P5), 11) * _P1
        place += 1
    return _mixed(hashes)


def _words(block: NDArray[np.uint8], place: int, type_: type[np.uint32] | type[np.uint64]) -> Hashes:
    size = np.dtype(type_).itemsize
    bytes_ = np.ascontiguousarray(block[:, place : place + size])
    return bytes_.view(np.dtype(type_).newbyteorder("<"))[:, 0].astype(np.uint64)


def _round(hashes: Hashes, words: Hashes) -> Hashes:
    return _rotated(hashes + words * _P2, 31) * _P1


def _eight(hashes: Hashes, words: Hashes) -> Hashes:
    return _rotated(hashes ^ _round(np.zeros_like(words), words), 27) * _P1 + _P4


def _four(hashes: Hashes, words: Hashes) -> Hashes:
    return _rotated(hashes ^ (words * _P1), 23) * _P2 + _P3


def _mixed(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint64(33))) * _P2
    hashes = (hashes ^ (hashes >> np.uint64(29))) * _P3
    return hashes ^ (hashes >> np.uint64(32))


def _rotated(hashes: Hashes, turn: int) -> Hashes:
    return (hashes << np.uint64(turn)) | (hashes >> np.uint64(64 - turn))
