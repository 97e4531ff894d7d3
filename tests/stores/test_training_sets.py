"""A training set at rest is one whole thing: replaced in one commit, its earlier files gone, a dead run's too. Labels wait in buckets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from conf.errors import LeaseError
from stores import training_sets
from stores.lease import Lease
from stores.storage import LocalStorage
from stores.training_sets import LabelSource, LabelStage, TrainingFile, TrainingSetTable, TrainingSetVersion, read_labels
from transforms.label_sql import label_schema

FIRST = pa.table({"customer_id": ["ann", "bob"], "bad": [1.0, 0.0]})
SECOND = pa.table({"customer_id": ["carl"], "bad": ["yes"], "age": [3]})


@pytest.fixture
def table(tmp_path: Path) -> TrainingSetTable:
    return TrainingSetTable(LocalStorage(tmp_path), "defaults")


def written(table: TrainingSetTable, rows: pa.Table, run: str) -> TrainingFile:
    path = f"{table.path}/part-00000-{run}.parquet"
    with table.storage.open_output(path) as stream:
        pq.write_table(rows, stream)
    return TrainingFile(path, len(rows), 1)


def version(table: TrainingSetTable, rows: pa.Table, run: str) -> TrainingSetVersion:
    return TrainingSetVersion(
        name=table.name,
        version=f"v-{run}",
        definition="d",
        run_id=run,
        labels=LabelSource("labels.csv", "sha256:1"),
        newest_day="2025-09-30",
        groups={"customer_plans": "g"},
        curated={"plans": 3},
        counts={"labels": len(rows), "rows": len(rows)},
        of_groups={"customer_plans": {"columns": 1}},
        targets={"bad": {"present": len(rows), "mean": 0.5}},
        files=(written(table, rows, run),),
        without_history=(),
    )


def in_delta(table: TrainingSetTable) -> list[dict]:
    return ds.dataset(DeltaTable(table.storage.uri(table.path)).file_uris()).to_table().to_pylist()


def in_parquet(table: TrainingSetTable) -> list[dict]:
    return ds.dataset(table.storage.uri(table.path)).to_table().to_pylist()


def test_it_is_replaced_as_a_whole(table):
    """Other columns and other types, too; whoever reads the folder as Parquet sees what Delta has."""
    assert table.current() is None
    for rows, run in ((FIRST, "r1"), (SECOND, "r2"), (FIRST, "r3")):
        made = version(table, rows, run)
        table.commit(made, rows.schema)
        assert table.current() == made
        assert in_delta(table) == in_parquet(table) == rows.to_pylist()
        assert [field.name for field in DeltaTable(table.storage.uri(table.path)).schema().fields] == rows.schema.names


def test_what_dead_runs_left_is_removed(table):
    """Labels that waited, and files that never counted; not those of a run that died between its commit and its report."""
    table.commit(version(table, FIRST, "r1"), FIRST.schema)
    committed = version(table, SECOND, "r2")
    table._commit_files(committed, SECOND.schema)
    written(table, FIRST, "r3")
    table.storage.write(f"{table.staging('r3')}/bucket=1/part.parquet", b"x")
    table.storage.write(f"{table.history_path}/part.parquet", b"x")
    table.remove_leftovers()
    left = sorted(file.path.rsplit("/", 1)[1] for file in table.storage.list("training_sets") if file.path.endswith(".parquet"))
    assert left == ["part-00000-r1.parquet", "part-00000-r2.parquet"]
    assert in_delta(table) == SECOND.to_pylist()


def test_one_whose_files_are_gone_was_never_made(table):
    made = version(table, FIRST, "r1")
    table.commit(made, FIRST.schema)
    table.storage.delete(made.files[0].path)
    assert table.current() is None


def test_without_the_lease_nothing_is_committed(table):
    table.commit(version(table, FIRST, "r1"), FIRST.schema)
    lease = Lease(table.storage, table.path, "r2")
    with pytest.raises(LeaseError):
        table.commit(version(table, SECOND, "r2"), SECOND.schema, lease)
    assert in_delta(table) == FIRST.to_pylist()
    assert table.current().run_id == "r1"


@pytest.mark.parametrize("bits", [0, 3])
def test_labels_wait_in_the_bucket_of_their_entity(tmp_path, monkeypatch, bits):
    """So many at once are in memory, and each time a file a bucket is written; an entity has one bucket."""
    monkeypatch.setattr(training_sets, "LABELS_AT_ONCE", 40)
    schema = label_schema([("bad", "boolean")])
    storage = LocalStorage(tmp_path)
    stage = LabelStage(storage, "staged", bits)
    for start in range(0, 100, 20):
        numbers = range(start, start + 20)
        cells = [[f"customer-{n % 7}" for n in numbers], list(numbers), list(numbers), [n % 2 == 0 for n in numbers]]
        stage.add(pa.table(cells, names=schema.names).cast(schema))
    stage.flush()
    stage.flush()
    found = {bucket: read_labels(storage, paths, schema) for bucket, paths in stage.files.items()}
    assert sorted(row for labels in found.values() for row in labels["_row"].to_pylist()) == list(range(100))
    homes = {entity: bucket for bucket, labels in found.items() for entity in set(labels["_entity"].to_pylist())}
    assert sum(len(set(labels["_entity"].to_pylist())) for labels in found.values()) == len(homes) == 7
    assert len(found) == 1 if bits == 0 else len(found) > 3
    assert all(len(paths) == 3 for paths in stage.files.values())  # 40, 40 and the 20 that are left
    assert all(0 <= bucket < 1 << bits for bucket in found)
