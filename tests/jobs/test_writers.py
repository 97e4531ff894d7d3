"""Written by workers or by Spark: the same rows, files of the same names and leases; and who is chosen where workers may not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from conf.catalogue import load_catalogue
from conf.settings import load_settings
from jobs import curate, pipeline, training_set
from jobs.progress import Progress
from jobs.workers import SparkWorkers
from jobs.writers import ByJvm, ByWorkers, choose_writer
from stores.lake import Lake
from stores.storage import LocalStorage
from tests.driver_only import DriverOnly, files_of
from tests.jobs.by_hand import FEES_WEEKLY, PLANS_DAILY, write_conf
from tests.jobs.fees import GOOD, HEADER, fees

DAY = "2025-09-28"  # a Sunday, on which the weekly group has a row too
PLANS = "plan_id,customer_id,amount,created_at,recorded_at\n" + "".join(
    f"p{number},c{number % 7},{number}.50,2025-09-{number % 27 + 1:02d}T02:00:00Z,2025-09-{number % 27 + 1:02d}T02:00:00Z\n"
    for number in range(60)
)
LATE = PLANS.splitlines()[0] + "\nlate,c1,1000.00,2025-09-26T02:00:00Z,2025-09-26T02:00:00Z\n"
FEES = "fee_id,customer_id,amount,charged_at\nf1,c1,1.00,2025-09-01T00:00:00Z\nf2,c2,2.00,2025-09-27T00:00:00Z\n"
TOTALS: dict[str, Any] = {
    "name": "totals",
    "record_identifier": "total_id",
    "function": "totals_by_hand:totals",
    "reads": {"groups": ["customer_plans"]},
    "columns": {"customers": "integer", "newest": "date", "amount": "money"},
}
CODE = """
from pyspark.sql import functions as F

def totals(frames, as_of, cut_off):
    whole = frames["customer_plans"].agg(F.count("*").alias("customers"), F.sum("plan_amount_sum_7d").cast("decimal(28,2)").alias("amount"))
    return whole.select(F.lit("all").alias("total_id"), "customers", F.lit(as_of).cast("date").alias("newest"), "amount")
"""
LABELS: dict[str, Any] = {"name": "labels", "record_identifier": "customer_id", "features": {"customer_plans": "all"}}
WRITERS = ("workers", "jvm")


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "totals_by_hand.py").write_text(CODE)
    write_conf(folder, PLANS_DAILY, FEES_WEEKLY, TOTALS)
    (folder / "training_sets").mkdir()
    (folder / "training_sets" / "labels.yaml").write_text(yaml.safe_dump(LABELS))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def lakes(spark, conf: Path, tmp_path_factory) -> dict[str, Path]:
    """One run by each writer, a restatement after it, and a training set; Spark's in a lake in which workers may not write."""
    folder = tmp_path_factory.mktemp("written")
    labels = folder / "labels.csv"
    labels.write_text("customer_id,time,target\nc1,2025-09-21,1\nc2,2025-09-22,0\nnobody,2025-09-22,0\n")
    for name in WRITERS:
        raw, lake = folder / f"raw-{name}", folder / name
        for file, text in (("plans/a.csv", PLANS), ("fees/a.csv", FEES)):
            (raw / file).parent.mkdir(parents=True)
            (raw / file).write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            if name == "jvm":
                patch.setattr("stores.lake.open_storage", lambda root, s3=None: DriverOnly(root))
            common = ("--conf", str(conf), "--lake", str(lake), "--writer", name)
            run = (*common, "--raw", str(raw))
            assert pipeline.main([*run, "--from", "2025-09-27", "--to", DAY]) == 0
            (raw / "plans" / "b.csv").write_text(LATE)
            assert pipeline.main([*run, "--as-of", DAY, "--restate"]) == 0
            assert training_set.main(["labels", *common, "--labels", str(labels), "--as-of", DAY]) == 0
        shutil.rmtree(raw)
    return {name: folder / name for name in WRITERS}


def table(lake: Path, files: str, order: str, leave_out: str = "") -> list[tuple[Any, ...]]:
    """Names and types of the columns, then the rows."""
    left_out = f"exclude ({leave_out})" if leave_out else ""
    rows = duckdb.sql(f"select * {left_out} from read_parquet('{lake}/{files}', hive_partitioning=true) order by {order}")
    return [tuple(zip(rows.columns, map(str, rows.types), strict=True)), *rows.fetchall()]


@pytest.mark.parametrize("group", ["customer_plans", "customer_fees", "totals"])
def test_the_same_snapshots(lakes, group):
    """Every version of every day, with the day and version in the folder's name."""
    told = [table(lakes[name], f"snapshots/{group}/*/*/*.parquet", "as_of, snapshot_version, 1") for name in WRITERS]
    assert told[0] == told[1]
    assert len(told[0]) == {"customer_plans": 1 + 4 * 7, "customer_fees": 1 + 2, "totals": 1 + 4}[group]


@pytest.mark.parametrize("group", ["customer_plans", "customer_fees", "totals"])
def test_the_same_offline_store(lakes, group):
    """Rows, types, and files of the same names in the same folders."""
    place = f"offline_store/*/sagemaker/*/offline-store/{group}-*/data/*/*/*/*/*.parquet"
    order, clock = "event_time, snapshot_version, 1", "write_time, api_invocation_time"
    told = [table(lakes[name], place, order, clock) for name in WRITERS]
    assert told[0] == told[1]
    names = [
        sorted(path.split("/data/")[1] for path in files_of(lakes[name] / "offline_store") if f"/{group}-" in path)
        for name in WRITERS
    ]
    assert names[0] == names[1]
    assert all(name.endswith(".parquet") for name in names[0])


def test_the_same_differences_and_training_rows(lakes):
    differences = [table(lakes[name], "snapshots/_diffs/*/*/*.parquet", 'as_of, entity, "column", was, "is"') for name in WRITERS]
    assert differences[0] == differences[1]
    assert len(differences[0]) > 1
    rows = [table(lakes[name], "training_sets/labels/*.parquet", "1, 2") for name in WRITERS]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 1 + 3


def test_the_same_manifests_but_for_names_and_sizes(lakes):
    for place in ("snapshots/_current", "snapshots/_versions", "published"):
        assert [json_but_files(text) for text in jsons(lakes["workers"], place)] == [
            json_but_files(text) for text in jsons(lakes["jvm"], place)
        ]


def jsons(lake: Path, place: str) -> list[str]:
    return [path.read_text() for path in sorted((lake / place).rglob("*.json")) if "_leases" not in str(path)]


def json_but_files(text: str) -> Any:
    told = json.loads(text)
    rows = sum(file["rows"] for file in told.get("files", ()))
    return {name: value for name, value in told.items() if name in ("group", "as_of", "version", "curated", "kind")} | {
        "rows": rows
    }


def test_spark_leaves_nothing_beside_the_files(lakes):
    left = [
        path for path in files_of(lakes["jvm"]) if "_staged/" in path or path.endswith((".crc", "_SUCCESS")) or "_probe" in path
    ]
    assert left == []


def test_curate_in_spark_where_workers_may_not_write(spark, tmp_path, monkeypatch):
    """Rows kept, in quarantine and set aside, one with a date of long ago; the second file is compared with the first's rows."""
    first = (
        HEADER
        + GOOD
        + "a2,x,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z\n"  # quarantined
        + GOOD  # a duplicate
        + "a3,3.00,1500-01-01T00:00:00Z,1500-01-01T00:00:00Z\n"  # too long ago: quarantined
    )
    second = HEADER + GOOD + "a4,4.00,2025-02-01T00:00:00Z,2025-02-01T00:00:00Z\n"
    sources = {"fees": fees(), "set_aside": load_catalogue(None).source("set_aside")}
    told = []
    for name in WRITERS:
        raw, lake = tmp_path / f"raw-{name}", tmp_path / name
        (raw / "fees").mkdir(parents=True)
        if name == "jvm":
            monkeypatch.setattr("stores.lake.open_storage", lambda root, s3=None: DriverOnly(root))
        for run, text in (("r1", first), ("r2", second)):
            (raw / "fees" / f"{run}.csv").write_text(text)
            curate.run(
                sources=sources,
                raw=str(raw),
                lake=Lake(lake),
                workers=SparkWorkers(lambda: spark),
                settings=load_settings("local", {"writer": name}),
                run_id=run,
                progress=Progress(),
                in_process_bytes=-1,
                now=datetime(2025, 9, 30, tzinfo=UTC),
            )
        told.append(
            (
                table(lake, "curated/fees/*/*.parquet", "_file, _line"),
                table(lake, "curated/set_aside/*/*.parquet", "_file, _line"),
                table(lake, "quarantine/*/*.parquet", "file, line"),
            )
        )
        assert not [path for path in files_of(lake) if "_staged/" in path]
    assert told[0] == told[1]
    assert [len(rows) - 1 for rows in told[0]] == [2, 4, 2]


def test_where_workers_may_not_write_spark_does_and_says_so(spark, tmp_path, caplog):
    assert isinstance(
        choose_writer("auto", SparkWorkers(lambda: spark), LocalStorage(tmp_path), "snapshots", Progress()), ByWorkers
    )
    assert (caplog.text, list(files_of(tmp_path))) == ("", [])
    assert isinstance(choose_writer("auto", SparkWorkers(lambda: spark), DriverOnly(tmp_path), "snapshots", Progress()), ByJvm)
    assert (
        f"workers may not write to {tmp_path}/snapshots (PermissionError: AccessDenied: not allowed to put snapshots/_probe-"
        in caplog.text
    )
    assert "Spark writes their rows instead, the same ones at about four times the cost" in caplog.text


def test_workers_try_once_for_a_lake_and_all_below_it(spark, tmp_path, monkeypatch):
    lake = LocalStorage(tmp_path / "lake")
    made = []
    monkeypatch.setattr(SparkWorkers, "run", lambda workers, calls: made.append(calls) or [{"refusal": None}])
    for storage, folder in ((lake, "snapshots"), (lake, "curated"), (lake.elsewhere(lake.uri("offline_store")), "")):
        assert isinstance(choose_writer("auto", SparkWorkers(lambda: spark), storage, folder, Progress()), ByWorkers)
    assert len(made) == 1
    assert isinstance(
        choose_writer("auto", SparkWorkers(lambda: spark), LocalStorage(tmp_path / "lake2"), "", Progress()), ByWorkers
    )
    assert len(made) == 2


def test_who_is_named_is_not_tried(spark, tmp_path):
    """Whatever may be written."""
    storage = DriverOnly(tmp_path)
    assert isinstance(choose_writer("workers", SparkWorkers(lambda: spark), storage, "", Progress()), ByWorkers)
    assert isinstance(choose_writer("jvm", SparkWorkers(lambda: spark), storage, "", Progress()), ByJvm)


def test_an_unknown_writer_costs_milliseconds(capsys):
    assert pipeline.main(["--writer", "java"]) == 2
    assert "invalid choice: 'java' (choose from " in capsys.readouterr().err
