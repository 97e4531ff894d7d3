"""PySpark that puts labels among the events: one shuffle, one sort, and a pass of numpy over what was sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.engines.spark_peers import HELD, OnePassSpark, answers
from bench.question import ENTITY, LONGEST, MICROSECONDS_A_DAY, WINDOWS

Numbers = NDArray[np.int64]

_LONGEST_FIRST = tuple(sorted(WINDOWS, reverse=True))
_MORE_THAN_ALL_DAYS = 1 << 20
_MORE_THAN_ANY_AMOUNT = 1 << 62


class UnionSortSpark(OnePassSpark):
    """Labels without a join, so that no event is repeated for each label of its entity. A day's snapshot has nothing to unite."""

    name = "union and sort PySpark"
    tuning = (
        "labels only; they and the events united, shuffled once to their entity, then sorted and passed over by numpy in "
        "mapInArrow: differences of running sums, extremes of the stretches between windows' first days; quotients in Spark; "
        "otherwise as one-pass PySpark."
    )

    def labels(self, labels: Path, rows: Path | None = None) -> None:
        from pyspark.sql import functions as F

        of_label = self.spark.read.parquet(str(labels)).select(ENTITY, F.unix_micros("label_time").alias("at"))
        events = self._with_bit(self.spark.read.parquet(*self.files)).select(
            ENTITY, F.unix_micros("occurred_at").alias("at"), "amount", "is_late", "days_past_due", "bit"
        )
        united = events.unionByName(of_label, allowMissingColumns=True).repartition(ENTITY)
        held = (f"{name}_{window} long" for window in WINDOWS for name in HELD)
        sums = united.mapInArrow(_held_of_labels, ", ".join([f"{ENTITY} string", "at long", *held]))
        self._finish(sums.select(ENTITY, F.timestamp_micros("at").alias("label_time"), *answers()), "label_time", rows)


def _held_of_labels(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What is held of each label's windows. In: all labels and events of some entities; a label has no amount."""
    parts = list(batches)
    if not parts:
        return
    rows = pa.Table.from_batches(parts)
    entity = rows[ENTITY].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    at, is_event = rows["at"].to_numpy(), rows["amount"].is_valid().to_numpy()
    order = np.lexsort((is_event, at, entity))  # a label comes before the events of its microsecond: they aren't in
    entity, at, is_event = entity[order], at[order], is_event[order]

    label = np.flatnonzero(~is_event)
    last_day = (at[label] - 1) // MICROSECONDS_A_DAY
    entity_day = entity * _MORE_THAN_ALL_DAYS + at // MICROSECONDS_A_DAY
    last_entity_day = entity[label] * _MORE_THAN_ALL_DAYS + last_day
    starts = [np.searchsorted(entity_day, last_entity_day - (window - 1)) for window in _LONGEST_FIRST]
    edges = np.column_stack([*starts, label])

    def values(name: str, of_none: int = 0) -> Numbers:
        return np.asarray(pc.fill_null(rows[name].cast(pa.int64()), of_none).to_numpy()[order])

    amount, late, day = values("amount"), values("is_late"), np.where(is_event, at // MICROSECONDS_A_DAY, 0)
    held = {
        "n": _sums(is_event.astype(np.int64), edges),
        "s": _sums(amount, edges),
        "q": _sums(amount * amount, edges),
        "low": _extremes(np.minimum, values("amount", _MORE_THAN_ANY_AMOUNT), edges),
        "high": _extremes(np.maximum, amount, edges),
        "mask": _extremes(np.bitwise_or, values("bit"), edges),
        "late": _sums(late, edges),
        "late_s": _sums(late * amount, edges),
        "last": _extremes(np.maximum, day, edges),
        "due": _extremes(np.maximum, values("days_past_due", -1), edges),
        "d": _sums(day, edges),
        "dd": _sums(day * day, edges),
        "ds": _sums(day * amount, edges),
    }
    # Days are counted as the other Spark peers do: the last one of a window is LONGEST.
    earlier = (last_day - LONGEST)[:, np.newaxis]
    held["dd"] += earlier * (earlier * held["n"] - 2 * held["d"])
    held["d"] -= earlier * held["n"]
    held["ds"] -= earlier * held["s"]
    held["last"] -= earlier

    empty = held["n"] == 0
    null = {"low": empty, "high": empty, "last": empty, "due": held["due"] < 0}
    told = {ENTITY: rows[ENTITY].take(pa.array(order[label])), "at": pa.array(at[label])}
    for window in WINDOWS:
        place = _LONGEST_FIRST.index(window)
        for name in HELD:
            told[f"{name}_{window}"] = pa.array(held[name][:, place], mask=null[name][:, place] if name in null else None)
    yield from pa.table(told).to_batches()


def _sums(values: Numbers, edges: Numbers) -> Numbers:
    """The sum over each window: of running sums, what is at its end less what is at its start."""
    running = np.concatenate(([0], np.cumsum(values)))
    return np.asarray(running[edges[:, -1:]] - running[edges[:, :-1]])


def _extremes(of: np.ufunc, values: Numbers, edges: Numbers) -> Numbers:
    """The least, greatest or union of each window. All end together, so each is the next shorter one and a stretch before it.

    Of an empty stretch numpy takes the row after it: one of the shorter window too, or the label's own, which has no value.
    """
    stretches = of.reduceat(values, edges.ravel()).reshape(edges.shape)[:, :-1]
    return np.asarray(of.accumulate(stretches[:, ::-1], axis=1)[:, ::-1])
