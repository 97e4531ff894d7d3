"""Whether two answers are the same: every row, every column, nulls too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.question import ENTITY, FEATURES, LONGEST, WINDOWS, column

TOLERANCE = 1e-9


class DisagreementError(Exception):
    """Two engines answered differently."""


def check_agreement(one: Path, other: Path, *, key: str, names: tuple[str, str]) -> int:
    """Compare two answers, each a folder of Parquet with the entity, `key` and all columns; return the number of rows.

    Entities without an event in the longest window are left out: raw engines have no row of them. Whole numbers are equal,
    quotients and roots to one part in 1e9. Raises: DisagreementError.
    """
    left, right = _read(one, key), _read(other, key)
    told = f"{names[0]} and {names[1]}"
    if len(left) != len(right):
        raise DisagreementError(f"{told}: {len(left):,} and {len(right):,} rows")
    if not len(left):
        raise DisagreementError(f"{told}: no rows at all")
    for name in (ENTITY, key):
        if not left[name].equals(right[name]):
            raise DisagreementError(f"{told}: not of the same {name}")
    for window in WINDOWS:
        for feature in FEATURES:
            name = column(feature.name, window)
            differs = _differs(left[name], right[name], exact=feature.exact)
            if differs.any():
                place = int(np.flatnonzero(differs)[0])
                who = f"{left[ENTITY][place]} at {left[key][place]}"
                raise DisagreementError(
                    f"{told}: {name} differs in {differs.sum():,} of {len(left):,} rows; of {who} it is "
                    f"{left[name][place]} and {right[name][place]}"
                )
    return len(left)


def _read(folder: Path, key: str) -> pa.Table:
    files = sorted(folder.rglob("*.parquet"))
    tables = [pq.ParquetFile(file).read() for file in files]
    count = column("event_count", LONGEST)
    parts = []
    for table in tables:
        some = table.filter(pc.greater(table[count], 0))
        keys = {ENTITY: some[ENTITY].cast(pa.string()), key: _plain(some[key])}
        values = {name: some[name] for name in some.column_names if name not in keys}
        parts.append(pa.table({**keys, **values}))
    return pa.concat_tables(parts, promote_options="permissive").sort_by([(ENTITY, "ascending"), (key, "ascending")])


def _plain(keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Days as text, moments in microseconds."""
    if pa.types.is_timestamp(keys.type):
        return keys.cast(pa.timestamp("us", tz=keys.type.tz)).cast(pa.int64())
    return keys.cast(pa.string())


def _differs(left: pa.ChunkedArray, right: pa.ChunkedArray, *, exact: bool) -> NDArray[np.bool_]:
    there, here = (side.is_valid().to_numpy() for side in (left, right))
    a, b = (_numbers(side, exact=exact) for side in (left, right))
    if exact:
        return np.asarray((there != here) | (a != b))
    near = np.abs(a - b) <= TOLERANCE * np.maximum(1, np.maximum(np.abs(a), np.abs(b)))
    return np.asarray((there != here) | ~near)


def _numbers(column_: pa.ChunkedArray, *, exact: bool) -> NDArray[Any]:
    filled = pc.fill_null(column_, pa.scalar(0).cast(column_.type))
    return np.asarray(filled.cast(pa.int64() if exact else pa.float64()).to_numpy())
