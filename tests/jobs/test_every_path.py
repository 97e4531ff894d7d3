"""Identical rows by every path: however days are asked for, facts prepared and laid out, tasks cut, and files written.

Each way differs from the first in several ways at once; a failing one names them. Rows are compared in canonical form: sorted by
identifier, every column exactly, the Parquet files and the version of the day apart. Paths that lie nearer to one part of the
engine have tests there: layers and buckets in tests/transforms/test_engine.py, the two fact engines in
tests/jobs/test_fact_engines.py, ranges and restatement in tests/jobs/test_days.py, writers in tests/jobs/test_writers.py.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession

from conf.catalogue import load_catalogue
from conf.settings import WriterChoice
from jobs import curate, materialize, sample
from jobs.progress import Progress
from jobs.workers import LocalWorkers, SparkWorkers
from stores.lake import Lake
from stores.snapshots import SnapshotTable
from transforms.feature_group import Compiled, compile_groups

GROUPS = ("account_conduct", "customer_bnpl", "customer_payment")
DAYS = tuple(date(2025, 9, 28) + timedelta(days=number) for number in range(3))  # the last ends a month
EARLIER = date(2025, 6, 30)
SECOND_DELIVERY = "_2025-07-01_"  # in the names of the last quarter's files
Rows = Mapping[tuple[str, date], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Way:
    """`runs`: the days of each run, one after the other. `layered`: facts in a base and a layer, of two deliveries.

    `tasks`: how many tasks, and partitions of what Spark shuffles. `many_machines`: whether Spark does them. `groups`: where Spark prepares, one is enough: it has a
    union, days, payments and parents; stream by stream the engines are compared in tests/transforms/test_facts.py.
    """

    name: str
    runs: Sequence[Sequence[date]] = (DAYS,)
    days_at_once: int = 31
    layered: bool = False
    bits: int = 0
    tasks: int = 1
    ansi: bool = False
    many_machines: bool = True
    by_spark: bool = False
    writer: WriterChoice = "workers"

    @property
    def groups(self) -> Sequence[str]:
        return GROUPS[:1] if self.by_spark else GROUPS


FULL = Way("one range, one bucket, one task, DuckDB, workers of this machine", many_machines=False)
PATHS = (
    Way("day by day on two deliveries, 8 buckets, four tasks of this machine", [[day] for day in DAYS], layered=True, bits=3, tasks=4, many_machines=False),
    Way("16 buckets, four tasks, ANSI", bits=4, tasks=4, ansi=True),
    Way("in chunks of a day, 64 buckets, four partitions, by Spark, ANSI", days_at_once=1, bits=6, tasks=4, ansi=True, by_spark=True),
    Way("backfilled around a day that was there, on two deliveries by Spark, one partition", [DAYS[1:2], DAYS], layered=True, by_spark=True),
    Way("written by the JVM, 8 buckets, four tasks", bits=3, tasks=4, writer="jvm"),
    Way("newest day first, written by the JVM, 64 buckets, one task", [DAYS[2:], DAYS[:2]], bits=6, writer="jvm"),
)  # fmt: skip


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_groups(load_catalogue(), "Asia/Kuala_Lumpur")


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory) -> tuple[Path, Path]:
    """Lakes in which curate has run: with all but the last quarter's files, and with all."""
    folder = tmp_path_factory.mktemp("delivered")
    raw = folder / "raw"
    assert sample.main(["--customers", "60", "--years", "1", "--to", str(raw)]) == 0
    later = folder / "later"
    moved = [path for path in raw.rglob("*") if SECOND_DELIVERY in path.name]
    assert len(moved) > len(GROUPS)
    for path in moved:
        (later / path.relative_to(raw)).parent.mkdir(parents=True, exist_ok=True)
        path.rename(later / path.relative_to(raw))
    first, both = folder / "first", folder / "both"
    assert curate.main(["--raw", str(raw), "--lake", str(first)]) == 0
    shutil.copytree(first, both)
    shutil.copytree(later, raw, dirs_exist_ok=True)
    assert curate.main(["--raw", str(raw), "--lake", str(both)]) == 0
    return first, both


@pytest.fixture(scope="module")
def full(spark, compiled, deliveries, tmp_path_factory) -> Rows:
    return rows_by(FULL, spark, compiled, deliveries, tmp_path_factory.mktemp("full"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_same_rows(spark, compiled, deliveries, full, tmp_path, path):
    actual = rows_by(path, spark, compiled, deliveries, tmp_path)
    for group, day in actual:
        assert len(full[group, day]) > 1
        assert actual[group, day] == full[group, day], (group, day)


def test_the_days_have_something_to_say(full):
    """Rows of a group differ from each other, and from those of the day before."""
    for group in GROUPS:
        assert len({row[4:] for row in full[group, DAYS[-1]]}) > 5
        assert full[group, DAYS[-1]] != full[group, DAYS[-2]]


def rows_by(path: Way, spark: SparkSession, compiled: Compiled, deliveries: tuple[Path, Path], folder: Path) -> Rows:
    """What a lake says after these runs."""
    first, both = deliveries
    lake = Lake(folder / "lake")
    with _session(spark, path):
        if path.layered:
            shutil.copytree(first, lake.uri())
            _set_buckets(lake, path.bits)
            _materialize(path, spark, compiled, lake, [EARLIER], "earlier")
            shutil.copytree(both, lake.uri(), dirs_exist_ok=True)
        else:
            shutil.copytree(both, lake.uri())
            _set_buckets(lake, path.bits)
        for number, days in enumerate(path.runs):
            _materialize(path, spark, compiled, lake, days, f"run-{number}")
    _check_layout(path, lake)
    return {(group, day): _rows(lake, group, day) for group in path.groups for day in DAYS}


@contextmanager
def _session(spark: SparkSession, path: Way) -> Iterator[None]:
    settings = {"spark.sql.ansi.enabled": str(path.ansi).lower(), "spark.sql.shuffle.partitions": str(path.tasks)}
    before = {name: spark.conf.get(name) for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.prepare_facts.rows_in_process", lambda workers: -1 if path.by_spark else math.inf)
        patch.setattr("jobs.answer_buckets.tasks_of", lambda task, _: min(task.buckets, path.tasks))
        for name, value in settings.items():
            spark.conf.set(name, value)
        yield
    for name, told in before.items():
        spark.conf.set(name, str(told))


def _set_buckets(lake: Lake, bits: int) -> None:
    for entity in ("customer_id", "account_id"):
        lake.storage.write(f"facts/{entity}/buckets.json", json.dumps({"bits": bits}).encode())


def _materialize(path: Way, spark: SparkSession, compiled: Compiled, lake: Lake, days: Sequence[date], run_id: str) -> None:
    materialize.run(
        compiled=compiled,
        days=dict.fromkeys(path.groups, tuple(days)),
        lake=lake,
        workers=SparkWorkers(lambda: spark) if path.many_machines else LocalWorkers(2, lambda: spark),
        run_id=run_id,
        progress=Progress(),
        restating="holes",
        days_at_once=path.days_at_once,
        writer=path.writer,
    )


def _check_layout(path: Way, lake: Lake) -> None:
    """The facts and files lie as the path says."""
    layers = [json.loads(lake.storage.read(file.path)) for file in lake.storage.list("facts") if "/manifests/" in file.path]
    assert {layer["bucket_bits"] for layer in layers} == {path.bits}
    assert any(layer["number"] for layer in layers) is path.layered
    for layer in layers:
        said = {bucket: sum(lake.storage.stat(file).size for file in files) for bucket, files in layer["files"].items()}
        assert layer["sizes"] == said
    files = {len(_current(lake, group, DAYS[-1]).files) for group in path.groups}
    assert max(files) <= path.tasks
    assert path.tasks == 1 or max(files) > 1


def _current(lake: Lake, group: str, day: date) -> Any:
    snapshot = SnapshotTable(lake.storage, group).current(day)
    assert snapshot is not None
    return snapshot


def _rows(lake: Lake, group: str, day: date) -> list[tuple[Any, ...]]:
    files = [lake.uri(file.path) for file in _current(lake, group, day).files]
    return duckdb.sql(f"select * exclude (as_of, snapshot_version) from read_parquet({files}) order by 1").fetchall()
