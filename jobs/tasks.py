"""Calls made in Spark's workers, one a task: their answers, or one error with what each said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from conf.errors import EtrError, PublishError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession


def run_in_tasks(spark: SparkSession, calls: Sequence[Callable[[], Any]]) -> list[dict[str, Any]]:
    """Make every call in a Spark task of its own: the fields of the dataclass that each returns, in order.

    Raises: PublishError with what a call raised.
    """
    if not calls:
        return []
    tasks = spark.range(0, len(calls), 1, len(calls))
    rows = tasks.mapInArrow(partial(_do, tuple(calls)), "number long, told string").collect()
    told = [json.loads(row["told"]) for row in sorted(rows, key=lambda row: row["number"])]
    problems = [answer["problem"] for answer in told if "problem" in answer]
    if problems:
        raise PublishError("\n".join(dict.fromkeys(problems)))
    return told


def _do(calls: Sequence[Callable[[], Any]], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Runs in a worker. A problem that a user can mend is told, not raised: Spark would only try again and bury its message."""
    import pyarrow

    for batch in batches:
        for number in batch["id"].to_pylist():
            try:
                told = asdict(calls[number]())
            except EtrError as problem:
                told = {"problem": str(problem)}
            yield pyarrow.RecordBatch.from_pydict({"number": [number], "told": [json.dumps(told)]})
