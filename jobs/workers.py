"""Where the tasks of a run are done: in processes of this machine, or by Spark's executors on a cluster.

A task is a call that needs nothing but its own arguments. On one machine Spark is started only for what is asked of it by name.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import connection, context, parent_process
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from conf.errors import EnvironmentProblem, EtrError, PublishError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from jobs.progress import Progress

Call = Callable[[], Any]
"""Returns a dataclass whose fields are JSON; pickles."""

_ONE_MACHINE = re.compile(r"local(?:\[(?P<cores>\d+|\*)(?:,\s*\d+)?\])?")  # `local-cluster[…]` isn't one
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # from malloc.h
_KEPT_BYTES, _LARGEST_IN_HEAP = 32 * 2**20, 32 * 2**20
_IMPORTED_ONCE = ["duckdb", "jobs.answer_buckets"]


class Workers(Protocol):
    """`at_once`: how many tasks are done at the same time. `many_machines`: whether there are others than the driver's."""

    @property
    def at_once(self) -> int: ...

    @property
    def many_machines(self) -> bool: ...

    def run(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        """Make every call: the fields of the dataclass that each returns, in order.

        Raises: PublishError with what the calls raised that a user can mend.
        """

    def spark(self) -> SparkSession:
        """The session; started if there is none yet."""


def open_workers(settings: Settings, progress: Progress, *, light: bool = False) -> Workers:
    """Those of the settings' platform and master. `light`: see `open_session`."""

    @cache
    def spark() -> SparkSession:
        from jobs.session import open_session

        with progress.step("Spark starts"):
            return open_session(settings, light=light)

    one_machine = _ONE_MACHINE.fullmatch(settings.spark.master or "local[*]") if settings.platform == "local" else None
    if one_machine is None:
        return SparkWorkers(spark)
    cores = one_machine["cores"] or "1"
    return LocalWorkers(len(os.sched_getaffinity(0)) if cores == "*" else int(cores), spark)


# ---- on one machine


@dataclass(frozen=True)
class LocalWorkers:
    """Processes of this machine, kept for the next calls; they end with the process that started them, however it ends."""

    at_once: int
    spark: Callable[[], SparkSession]
    many_machines = False

    def run(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        if len(calls) < 2 or self.at_once < 2:
            return _answers(map(_tell, calls))
        try:
            return _answers(_pool(self.at_once).map(_tell, calls))
        except BrokenProcessPool as problem:
            _pool.cache_clear()
            raise EnvironmentProblem(
                f"one of the {self.at_once} processes that do the work was killed, as a system without free memory does; "
                "nothing was committed. Run again, with fewer at once: --set spark.master=local[1]"
            ) from problem


@cache
def _pool(at_once: int) -> ProcessPoolExecutor:
    """Forked from a process without threads that has imported what they need."""
    forking = _Forking()
    forking.set_forkserver_preload(_IMPORTED_ONCE)
    return ProcessPoolExecutor(at_once, forking, initializer=_begin)


class _ForkedProcess(context.ForkServerProcess):
    """One that doesn't run the main module again, as multiprocessing's do: a user's script need not be written for it."""

    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802 - multiprocessing calls it so
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return context.ForkServerProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _Forking(context.ForkServerContext):
    Process = _ForkedProcess


def _begin() -> None:
    _allocate_with_numpy()
    _allocate_again_what_was_freed()
    _end_with_parent()


def _allocate_again_what_was_freed() -> None:
    """Bucket after bucket takes and frees the same: what goes back to the system is a tenth of a task's time to get again.

    From one heap for all threads, since each of several keeps its own: then the peak is less than without keeping anything.
    """
    with suppress(OSError, AttributeError):  # where the C library isn't glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next call for ever, or go on with one that is nobody's any more."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# ---- on a cluster


@dataclass(frozen=True)
class SparkWorkers:
    """Spark's tasks, one a call. `spark`: the session, started when first asked for: a run may find that it has no task."""

    spark: Callable[[], SparkSession]
    many_machines = True

    @property
    def at_once(self) -> int:
        return self.spark().sparkContext.defaultParallelism

    def run(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        if not calls:
            return []
        tasks = self.spark().range(0, len(calls), 1, len(calls))
        rows = tasks.mapInArrow(partial(_in_task, tuple(calls)), "number long, told string").collect()
        return _answers(row["told"] for row in sorted(rows, key=lambda row: row["number"]))


def _in_task(calls: Sequence[Call], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow

    _allocate_with_numpy()
    for batch in batches:
        for number in batch["id"].to_pylist():
            yield pyarrow.RecordBatch.from_pydict({"number": [number], "told": [_tell(calls[number])]})


# ---- both


def _allocate_with_numpy() -> None:
    """Arrow's allocator keeps for later what was freed, beside what numpy's does: with one for both the peak is a sixth less."""
    import pyarrow

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())


# ---- what is told


def _tell(call: Call) -> str:
    """A problem that a user can mend is told, not raised: Spark would only try again and bury its message."""
    try:
        return json.dumps(asdict(call()))
    except EtrError as problem:
        return json.dumps({"problem": str(problem)})


def _answers(told: Iterable[str]) -> list[dict[str, Any]]:
    answers = [json.loads(answer) for answer in told]
    problems = [answer["problem"] for answer in answers if "problem" in answer]
    if problems:
        raise PublishError("\n".join(dict.fromkeys(problems)))
    return answers
