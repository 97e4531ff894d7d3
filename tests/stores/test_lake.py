"""The lake's own tables: what a commit remembers, and what becomes of it when the log is cleaned up or a run dies."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality

from conf.errors import DefinitionError, InputError, LeaseError, PublishError
from stores.lake import QUARANTINE_SCHEMA, CurateCommit, Lake, TakenFile
from tests.tables import table

SCHEMA = "id string, _run string, _month string"
FIRST = TakenFile("a.csv", 3, "t1", "sha256:1")
SECOND = TakenFile("b.csv", 4, "t2", "sha256:2")


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def append(spark, ledger, run_id, *rows, taken=(FIRST,), kept=None, **changes):
    return ledger.append(
        table(spark, SCHEMA, *((key, run_id, month) for key, month in rows)),
        run_id=run_id,
        taken=taken,
        counts={"kept": len(rows) if kept is None else kept},
        earliest_effect=7,
        partitions=sorted({month for _, month in rows}),
        **changes,
    )


def test_a_table_that_is_not_there(lake):
    ledger = lake.curated("fees")
    assert (ledger.version(), ledger.commits(), ledger.taken_files(), ledger.read(None)) == (None, [], {}, None)
    ledger.check_columns({"id": "string"})
    ledger.save_index()
    assert list(lake.storage.list()) == []


def test_a_commit_remembers_what_it_took(spark, lake):
    ledger = lake.curated("fees")
    first = append(spark, ledger, "r1", ("a", "2025-01"), ("b", "2025-02"))
    again = TakenFile("a.csv", 5, "t3", "sha256:3")
    second = append(spark, ledger, "r2", ("c", "2025-02"), taken=(again, SECOND))

    assert first == CurateCommit(0, "r1", (FIRST,), {"kept": 2}, 7, ("2025-01", "2025-02"))
    assert ledger.version() == 1
    assert lake.curated("fees").commits() == [first, second]
    assert ledger.taken_files() == {"a.csv": again, "b.csv": SECOND}
    expected = table(spark, SCHEMA, ("c", "r2", "2025-02"))
    assert_df_equality(ledger.read(spark, runs=["r2"]), expected, ignore_nullable=True)
    assert ledger.read(spark).count() == 3
    assert ledger.read(spark, runs=["other"]).count() == 0


def test_a_commit_without_rows_remembers_its_files(spark, lake):
    ledger = lake.curated("fees")
    append(spark, ledger, "r1")
    append(spark, ledger, "r2", taken=(SECOND,))
    assert ledger.version() == 1
    assert sorted(ledger.taken_files()) == ["a.csv", "b.csv"]


def test_the_index_is_mended_from_the_log(spark, lake):
    ledger = lake.curated("fees")
    append(spark, ledger, "r1", ("a", "2025-01"))
    index = lake.storage.read("curated/fees.commits.json")
    append(spark, ledger, "r2", ("b", "2025-01"), taken=(SECOND,))
    lake.storage.write("curated/fees.commits.json", index)  # as a run that died after its commit leaves it

    assert [commit.run_id for commit in ledger.commits()] == ["r1", "r2"]
    assert json.loads(lake.storage.read("curated/fees.commits.json"))["version"] == 0
    ledger.save_index()
    assert json.loads(lake.storage.read("curated/fees.commits.json"))["version"] == 1

    lake.storage.delete("curated/fees.commits.json")
    assert [commit.run_id for commit in ledger.commits()] == ["r1", "r2"]


def test_the_index_outlives_the_log(spark, lake):
    """Commits whose log files were cleaned up are known from the index; others' commits are passed over."""
    ledger = lake.curated("fees")
    append(spark, ledger, "r1", ("a", "2025-01"))
    spark.sql(f"delete from delta.`{ledger.uri}` where id = 'nobody'")
    spark.sql(f"optimize delta.`{ledger.uri}`")
    append(spark, ledger, "r2", ("b", "2025-01"), taken=(SECOND,))
    lake.storage.delete("curated/fees/_delta_log/00000000000000000000.json")

    assert [commit.run_id for commit in ledger.commits()] == ["r1", "r2"]
    assert ledger.commits()[-1].version == ledger.version()


def test_a_table_removed_under_its_index_is_said(spark, lake):
    ledger = lake.curated("fees")
    append(spark, ledger, "r1", ("a", "2025-01"))
    for file in list(lake.storage.list("curated/fees")):
        lake.storage.delete(file.path)
    with pytest.raises(InputError) as problem:
        ledger.commits()
    assert str(problem.value) == (
        f"{ledger.uri}: its index knows version 0, the table is gone or older; put the table back, or remove "
        f"{lake.uri('curated', 'fees.commits.json')} as well to curate it anew"
    )


def test_a_commit_of_other_rows_than_were_counted_fails(spark, lake):
    with pytest.raises(PublishError) as problem:
        append(spark, lake.curated("fees"), "r1", ("a", "2025-01"), kept=2)
    assert str(problem.value) == (
        "curated/fees: version 0 holds 1 rows where 2 were counted; restore the table to the version before it and run again"
    )


def test_a_lost_lease_stops_the_commit(spark, lake):
    with lake.hold(["curated/fees"], "r1") as (lease,):
        lake.storage.write("leases/curated.fees/000000000007.json", b"{}")
        with pytest.raises(LeaseError):
            append(spark, lake.curated("fees"), "r1", ("a", "2025-01"), lease=lease)
    assert lake.curated("fees").version() is None


def test_types_never_change_and_columns_may_come(spark, lake):
    ledger = lake.curated("fees")
    append(spark, ledger, "r1", ("a", "2025-01"))
    ledger.check_columns({"id": "string", "new": "long"})
    with pytest.raises(DefinitionError) as problem:
        ledger.check_columns({"id": "long"})
    assert str(problem.value) == (
        f"fees: column 'id' is long by its definition and string in {ledger.uri}; a type never changes in place: "
        "give the column another name, or curate into another lake"
    )


def test_run_manifests_and_quarantine(lake):
    lake.write_run("r1", "curate", {"kept": 1})
    assert json.loads(lake.storage.read("runs/r1/curate.json")) == {"kept": 1}
    rows = pa.RecordBatch.from_pylist(
        [{"source_or_group": "fees", "file": "a.csv", "line": 2, "key": "id=1", "rule": "r", "reason": "why", "row": "{}"}],
        QUARANTINE_SCHEMA,
    )
    assert lake.write_quarantine("r1", "fees", [rows.slice(0, 0)]) == 0
    assert lake.storage.exists("quarantine/r1/fees.parquet") is False
    assert lake.write_quarantine("r1", "fees", iter([rows, rows])) == 2
    assert pq.read_table(lake.uri("quarantine", "r1", "fees.parquet")).equals(pa.Table.from_batches([rows, rows]))
