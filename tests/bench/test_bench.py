"""The bench measures what it says: all engines agree on 2,000 events, CPU seconds are those of the tree, results add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bench.agree import DisagreementError, check_agreement
from bench.cpu import cpu_seconds, tree
from bench.data import LAST_DAY, Shape, generate
from bench.definitions import CONF, many_windows, write_definitions
from bench.engines import OURS, PEERS, PEERS_FOR_LABELS, make
from bench.measurements import MEASUREMENTS
from bench.question import COLUMNS, ENTITY, WINDOWS
from bench.race import Ratio
from bench.report import page, update
from conf.catalogue import load_catalogue
from transforms.feature_group import compile_groups

SMALL = Shape(events=2_000, entities=60)
DAYS = [LAST_DAY - timedelta(days=back) for back in (0, 45)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return generate(SMALL, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def ours(data, tmp_path_factory, spark):
    """Our engine's answers; in this process's session, which stays open."""
    work = tmp_path_factory.mktemp("ours")
    engine = make(OURS, work, CONF)
    engine.open()
    engine.prepare(data.history)
    engine.daily(data.new)
    engine.snapshot(LAST_DAY, rows=work / "snapshot")
    engine.forget()
    engine.backfill(DAYS, rows=work / "backfill")
    engine.labels(data.labels(200), rows=work / "labels")
    return work


@pytest.mark.parametrize("name", [*PEERS, *PEERS_FOR_LABELS])
def test_all_engines_agree(name, data, ours, tmp_path, spark):
    if name.startswith("Polars"):
        pytest.importorskip("polars", reason="Polars is installed by `make bench` only")
    engine = make(name, tmp_path, CONF)
    if name.endswith("PySpark"):
        engine.spark, engine.bits = spark, {}  # the tests' own session
    else:
        engine.open()
    engine.prepare(data.history)
    engine.daily(data.new)
    if name in PEERS:
        engine.snapshot(LAST_DAY, rows=tmp_path / "snapshot")
        assert check_agreement(ours / "snapshot", tmp_path / "snapshot", key="as_of", names=(OURS, name)) > 50
    if name == "naive PySpark":
        return  # asked for a day only
    engine.labels(data.labels(200), rows=tmp_path / "labels")
    assert check_agreement(ours / "labels", tmp_path / "labels", key="label_time", names=(OURS, name)) > 150
    if name == "one-pass PySpark":
        engine.backfill(DAYS, rows=tmp_path / "backfill")
        assert check_agreement(ours / "backfill", tmp_path / "backfill", key="as_of", names=(OURS, name)) > 100


def test_union_and_sort_is_join_and_group_at_the_edges(tmp_path, spark):
    """Labels and events of one microsecond, at midnights, several a day, at the first days of windows, of an entity without events."""
    day, microsecond = timedelta(days=1), timedelta(microseconds=1)
    noon, midnight = datetime(2025, 6, 1, 12, tzinfo=UTC), datetime(2025, 6, 2, tzinfo=UTC)
    begin = [midnight - window * day for window in WINDOWS]
    happened = [noon, noon, noon + microsecond, midnight - microsecond, midnight, *begin, *(at - microsecond for at in begin)]
    asked = [noon, noon + microsecond, midnight - microsecond, midnight, midnight + microsecond, midnight + 200 * day]
    count = len(happened)
    late = [place % 3 == 0 for place in range(count)] * 2
    events = {
        ENTITY: ["ann"] * count + ["bob"] * count,
        "occurred_at": happened + [at + day for at in happened],
        "provider": [f"provider-{place % 7}" for place in range(2 * count)],
        "amount": [100 + 37 * place % 11 for place in range(2 * count)],
        "is_late": late,
        "days_past_due": [place if one else None for place, one in enumerate(late)],
    }
    labels = {ENTITY: [name for name in ("ann", "bob", "cid") for _ in asked], "label_time": asked * 3}
    pq.write_table(pa.table(events), tmp_path / "events-2024-01-01.parquet")
    pq.write_table(pa.table(labels), tmp_path / "labels.parquet")
    for name in ("DuckDB", *PEERS_FOR_LABELS):
        engine = make(name, tmp_path, CONF)
        if name == "DuckDB":
            engine.open()
        else:
            engine.spark, engine.bits = spark, {}
        engine.prepare([tmp_path / "events-2024-01-01.parquet"])
        engine.labels(tmp_path / "labels.parquet", rows=tmp_path / name)
        assert check_agreement(tmp_path / "DuckDB", tmp_path / name, key="label_time", names=("DuckDB", name)) == 2 * len(asked)


@pytest.mark.parametrize("column", ["amount_sum_7d", "amount_std_365d", "days_since_last_90d"])
def test_a_difference_is_found(column, ours, tmp_path):
    rows = pa.concat_tables(pq.read_table(file) for file in (ours / "snapshot").glob("*.parquet"))
    place = rows.column_names.index(column)
    other = pc.add(rows[column], pa.scalar(1).cast(rows[column].type))
    (tmp_path / "other").mkdir()
    pq.write_table(rows.set_column(place, column, other), tmp_path / "other" / "rows.parquet")
    with pytest.raises(DisagreementError, match=f"ours and other: {column} differs in "):
        check_agreement(ours / "snapshot", tmp_path / "other", key="as_of", names=("ours", "other"))


def test_data_is_the_same_each_time_and_in_order_of_time(data, tmp_path):
    again = generate(SMALL, tmp_path)
    for one, other in zip(data.files, again.files, strict=True):
        assert pq.read_table(one).equals(pq.read_table(other))
    times = pa.concat_tables(pq.read_table(file) for file in data.files)["occurred_at"].cast(pa.int64()).to_numpy()
    assert (times[1:] >= times[:-1]).all()
    assert len(times) == SMALL.events
    assert [file.stem for file in data.new][-1] == "events-2025-12-31"


def test_one_entity_may_have_a_quarter_of_all_events(tmp_path):
    files = generate(replace(SMALL, heavy=0.25), tmp_path).files
    entities = pa.concat_tables(pq.read_table(file) for file in files)[ENTITY]
    assert 0.22 < pc.mean(pc.equal(entities, "c0000000")).as_py() < 0.28


def test_amended_events_have_a_second_version(tmp_path):
    files = generate(replace(SMALL, amended=0.02), tmp_path).files
    rows = pa.concat_tables(pq.read_table(file) for file in files)
    second = rows.filter(pc.equal(rows["version"], 2))
    assert 20 < len(second) == len(rows) - SMALL.events < 60
    assert pc.all(pc.greater(second["recorded_at"], second["occurred_at"])).as_py()


def test_cpu_seconds_are_those_of_the_whole_tree():
    """A child that starts a grandchild; both work, the grandchild ends: its time stays counted, by its parent."""
    work = "import time\nwhile time.process_time() < 0.4: pass\n"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])\n{work}print(1, flush=True)\ninput()"
    before = cpu_seconds(os.getpid())
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    assert process.pid in {one.pid for one in tree(os.getpid())}
    assert cpu_seconds(os.getpid()) - before >= 0.75
    process.communicate("\n")
    assert cpu_seconds(os.getpid()) - before >= 0.75  # it ended and was waited for


@pytest.mark.parametrize(("windows", "versions"), [((7, 30, 90, 180, 365), True), (many_windows(400), False)])
def test_definitions_of_other_widths_compile(windows, versions, tmp_path):
    compiled = compile_groups(load_catalogue(write_definitions(tmp_path / "conf", windows=windows, versions=versions)), "UTC")
    assert len(compiled.groups["customer_activity"].columns) == 12 * len(windows)
    assert (compiled.sources["events"].version == "version") is versions


def test_the_shipped_definitions_make_the_sixty_columns():
    group = compile_groups(load_catalogue(CONF), "UTC").groups["customer_activity"]
    assert {column.name for column in group.columns} == set(COLUMNS)


def test_results_replace_those_of_the_same_measurement(tmp_path):
    def told(what: str, measurement: str, *seconds: float) -> Ratio:
        return Ratio(measurement, what, "Spark", 0.5, seconds, (4.0, 5.0, 6.0), {"events": 10}, note="as it is")

    path = tmp_path / "engine.json"
    update(path, [told("old", "snapshot", 9.0), told("kept", "labels", 1.0)], ["snapshot", "labels"], [])
    results = update(path, [told("new", "snapshot", 1.0, 9.0, 2.0)], ["snapshot"], ["ours and Spark: the same"])
    assert json.loads(path.read_text()) == results
    assert [(row["what"], row["ratio"], row["reached"]) for row in results["ratios"]] == [("kept", 0.2, True), ("new", 0.4, True)]
    assert results["ratios"][1]["cpu_seconds"] == {"what": [1.0, 9.0, 2.0], "against": [4.0, 5.0, 6.0]}
    text = page(results, list(MEASUREMENTS))
    assert "| new | Spark | **0.4** | 0.5 | yes | 2.0 / 5.0 (3) | 10 | `snapshot` |" in text.replace("2.0 (3) /", "2.0 /")


def test_an_unknown_measurement_is_refused_with_the_known_ones(tmp_path):
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "snapshots", "--docs", str(tmp_path)], cwd=root, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "no measurement named 'snapshots'; known: snapshot, snapshot_from_raw, new_day" in run.stderr


def test_windows_of_many_columns_differ():
    assert [len(many_windows(count)) * 12 >= count for count in (400, 2_500)] == [True, True]
    assert len(set(many_windows(2_500))) == len(many_windows(2_500))
