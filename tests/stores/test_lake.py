"""The lake's own tables: what a commit remembers, and what becomes of it when the log is cleaned up or a run dies."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality
from deltalake import DeltaTable

from conf.errors import DefinitionError, InputError, LeaseError, PublishError
from stores import curated_files
from stores.curated_files import read_rows, write_curated
from stores.lake import QUARANTINE_SCHEMA, CurateCommit, Lake, SetAsideFiles, TakenFile
from tests.rows import rows
from tests.tables import table

SCHEMA = "id string, _run string, _month string"
FIRST = TakenFile("a.csv", 3, "t1", "sha256:1")
SECOND = TakenFile("b.csv", 4, "t2", "sha256:2")


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def append(ledger, run_id, *keys, taken=(FIRST,), kept=None, schema=SCHEMA, **changes):
    """Commit rows given as (id, month), and null in other columns."""
    written = rows(SCHEMA, *((key, run_id, month) for key, month in keys))
    wanted = rows(schema).schema
    columns = [written[n] if n in written.column_names else pa.nulls(len(keys), wanted.field(n).type) for n in wanted.names]
    batches = pa.table(columns, schema=wanted).to_batches(1)
    files = write_curated(batches, storage=ledger.storage, folder=ledger.name, schema=wanted, run_id=run_id)
    return ledger.append(
        files,
        wanted,
        run_id=run_id,
        taken=taken,
        counts={"kept": len(keys) if kept is None else kept},
        earliest_effect=7,
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
    first = append(ledger, "r1", ("a", "2025-01"), ("b", "2025-02"))
    again = TakenFile("a.csv", 5, "t3", "sha256:3")
    second = append(ledger, "r2", ("c", "2025-02"), taken=(again, SECOND))

    assert first == CurateCommit(0, "r1", (FIRST,), {"kept": 2}, 7, ("2025-01", "2025-02"))
    assert ledger.version() == 1
    assert lake.curated("fees").commits() == [first, second]
    assert ledger.taken_files() == {"a.csv": again, "b.csv": SECOND}
    expected = table(spark, SCHEMA, ("c", "r2", "2025-02"))
    assert_df_equality(ledger.read(spark, months=["2025-02"], runs=["r2"]), expected, ignore_nullable=True)
    assert ledger.read(spark).count() == 3
    assert ledger.read(spark, runs=["other"]).count() == 0
    assert ledger.dataset(months=["2025-02"], runs=["r2"]).to_table().equals(rows(SCHEMA, ("c", "r2", "2025-02")))
    assert (ledger.dataset().count_rows(), ledger.dataset(runs=["other"]).count_rows()) == (3, 0)
    assert ledger.dataset(months=[], runs=[]).count_rows() == 0


def test_a_commit_without_rows_remembers_its_files(lake):
    ledger = lake.curated("fees")
    append(ledger, "r1")
    append(ledger, "r2", taken=(SECOND,))
    assert ledger.version() == 1
    assert sorted(ledger.taken_files()) == ["a.csv", "b.csv"]


def test_the_index_is_mended_from_the_log(lake):
    ledger = lake.curated("fees")
    append(ledger, "r1", ("a", "2025-01"))
    index = lake.storage.read("curated/fees.commits.json")
    append(ledger, "r2", ("b", "2025-01"), taken=(SECOND,))
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
    append(ledger, "r1", ("a", "2025-01"))
    spark.sql(f"delete from delta.`{ledger.uri}` where id = 'nobody'")
    spark.sql(f"optimize delta.`{ledger.uri}`")
    append(ledger, "r2", ("b", "2025-01"), taken=(SECOND,))
    lake.storage.delete("curated/fees/_delta_log/00000000000000000000.json")

    assert [commit.run_id for commit in ledger.commits()] == ["r1", "r2"]
    assert ledger.commits()[-1].version == ledger.version()


def test_a_table_removed_under_its_index_is_said(lake):
    ledger = lake.curated("fees")
    append(ledger, "r1", ("a", "2025-01"))
    for file in list(lake.storage.list("curated/fees")):
        lake.storage.delete(file.path)
    with pytest.raises(InputError) as problem:
        ledger.commits()
    assert str(problem.value) == (
        f"{ledger.uri}: its index knows version 0, the table is gone or older; put the table back, or remove "
        f"{lake.uri('curated', 'fees.commits.json')} as well to curate it anew"
    )


def test_a_commit_of_other_rows_than_were_counted_fails(lake):
    with pytest.raises(PublishError) as problem:
        append(lake.curated("fees"), "r1", ("a", "2025-01"), kept=2)
    assert str(problem.value) == ("curated/fees: 1 rows were written where 2 were counted; nothing was committed; run again")
    assert lake.curated("fees").version() is None


def test_a_lost_lease_stops_the_commit(lake):
    with lake.hold(["curated/fees"], "r1") as (lease,):
        lake.storage.write("leases/curated.fees/000000000007.json", b"{}")
        with pytest.raises(LeaseError):
            append(lake.curated("fees"), "r1", ("a", "2025-01"), lease=lease)
    assert lake.curated("fees").version() is None


@pytest.mark.parametrize("there", [True, False])
def test_of_two_that_commit_at_the_same_time_one_is_refused(lake, there, monkeypatch):
    """Whatever became of the leases: Delta itself lets one through."""
    if there:
        append(lake.curated("fees"), "r0", ("z", "2025-01"))
    properties = curated_files._properties

    def overtaken(told, number):
        monkeypatch.setattr(curated_files, "_properties", properties)
        append(lake.curated("fees"), "r1", ("a", "2025-01"))
        return properties(told, number)

    monkeypatch.setattr(curated_files, "_properties", overtaken)
    with pytest.raises(
        LeaseError, match=r"another run committed to the table while this one did; nothing of this run was added: "
    ):
        append(lake.curated("fees"), "r2", ("a", "2025-01"))
    assert [commit.run_id for commit in lake.curated("fees").commits()] == ["r0", "r1"][0 if there else 1 :]


def test_types_never_change_and_columns_may_come(spark, lake):
    ledger = lake.curated("fees")
    append(ledger, "r1", ("a", "2025-01"))
    ledger.check_columns({"id": "string", "new": "long"})
    with pytest.raises(DefinitionError) as problem:
        ledger.check_columns({"id": "long"})
    assert str(problem.value) == (
        f"fees: column 'id' is long by its definition and string in {ledger.uri}; a type never changes in place: "
        "give the column another name, or curate into another lake"
    )
    append(ledger, "r2", ("b", "2025-01"), schema=f"{SCHEMA}, new bigint, price decimal(18,2), seen timestamp")
    append(ledger, "r3", ("c", "2025-01"))
    assert [commit.run_id for commit in ledger.commits()] == ["r1", "r2", "r3"]
    expected = table(
        spark,
        f"{SCHEMA}, new bigint, price decimal(18,2), seen timestamp",
        *((key, run, "2025-01", None, None, None) for key, run in (("a", "r1"), ("b", "r2"), ("c", "r3"))),
    )
    columns = expected.columns
    assert_df_equality(ledger.read(spark).select(columns), expected, ignore_nullable=True, ignore_row_order=True)


def test_the_files_of_a_table_and_of_a_commit(lake):
    """One file a month, however the rows come; a column that a file lacks is read as null."""
    ledger = lake.curated("fees")
    first = append(ledger, "r1", ("a", "2025-02"), ("b", "2025-01"), ("c", "2025-02"))
    second = append(ledger, "r2", ("d", "2025-02"), schema=f"{SCHEMA}, new bigint")
    old, new = ledger.paths_added(first.version), ledger.paths_added(second.version)
    assert [path.split("/")[:3] for path in old] == [["curated", "fees", f"_month=2025-0{month}"] for month in (1, 2)]
    assert ledger.paths() == sorted([*old, *new])
    wanted = rows("id string, new bigint").schema
    found = pa.Table.from_batches(read_rows(lake.storage, [*old, *new], wanted), wanted)
    assert found.equals(rows("id string, new bigint", *((key, None) for key in "bacd")))


def test_the_log_tells_the_newest_moment(lake):
    """The latest known time, to the microsecond; the latest event time where no row has a known time."""
    clocks = "_event_time timestamp, _known_time timestamp"
    for source, known, expected in (("a", "2025-01-03T00:00:00.000001", 1735862400_000001), ("b", None, 1735776000_000000)):
        ledger = lake.curated(source)
        assert ledger.newest_moment() is None
        made = rows(
            f"id string, _month string, {clocks}",
            ("x", "2025-01", "2025-01-02T00:00:00", None),
            ("y", "2025-01", "2025-01-01T00:00:00", known),
        )
        files = write_curated(made.to_batches(), storage=lake.storage, folder=ledger.name, schema=made.schema, run_id="r1")
        ledger.append(files, made.schema, run_id="r1", taken=(), counts={"kept": 2}, earliest_effect=7)
        assert ledger.newest_moment() == expected


def test_rows_wait_in_memory_until_they_fill_a_row_group(lake, monkeypatch):
    """Of many months the fullest is written first, so that memory is bounded."""
    monkeypatch.setattr(curated_files, "ROWS_A_GROUP", 4)
    monkeypatch.setattr(curated_files, "_ROWS_IN_MEMORY", 6)
    append(lake.curated("fees"), "r1", *((f"k{n:02}", f"2025-0{1 + n % 5}") for n in range(40)))
    (path,) = (path for path in lake.curated("fees").paths() if "2025-01" in path)
    metadata = pq.read_metadata(lake.uri(path))
    assert metadata.num_rows == 8
    assert 2 <= metadata.num_row_groups < 8


def test_run_manifests_and_quarantine(lake):
    lake.write_run("r1", "curate", {"kept": 1})
    assert json.loads(lake.storage.read("runs/r1/curate.json")) == {"kept": 1}
    batch = pa.RecordBatch.from_pylist(
        [{"source_or_group": "fees", "file": "a.csv", "line": 2, "key": "id=1", "rule": "r", "reason": "why", "row": "{}"}],
        QUARANTINE_SCHEMA,
    )
    assert lake.write_quarantine("r1", "fees", [batch.slice(0, 0)]) == 0
    assert lake.storage.exists("quarantine/r1/fees.parquet") is False
    assert lake.write_quarantine("r1", "fees", iter([batch, batch])) == 2
    assert pq.read_table(lake.uri("quarantine", "r1", "fees.parquet")).equals(pa.Table.from_batches([batch, batch]))


def test_files_that_no_commit_has_go_and_all_others_stay(lake):
    """Of a run that died, and of a task that Spark ran twice; not what another program wrote, or a run's rows set aside."""
    ledger, aside = lake.curated("fees"), lake.curated("set_aside")

    def write(table, run_id):
        made = rows(SCHEMA, ("x", run_id, "2025-09"))
        files = write_curated(made.to_batches(), storage=lake.storage, folder=table.name, schema=made.schema, run_id=run_id)
        return files[0]

    append(ledger, "r0", ("a", "2025-08"))
    append(ledger, "r1", ("b", "2025-08"))
    merged = set(ledger.paths())
    DeltaTable(ledger.uri).optimize.compact()
    assert not merged & set(ledger.paths())
    write(ledger, "dead"), write(ledger, "r2"), write(ledger, "r1")  # the last by a task that outlived its run
    waiting = write(aside, "r2")
    write(aside, "dead")
    lake.storage.write("curated/fees/_month=2025-08/part-00000-by-another.zstd.parquet", b"")
    append(ledger, "r2", ("b", "2025-09"), set_aside=SetAsideFiles("set_aside", (waiting,), 0))

    ledger.remove_strays("r2")
    aside.remove_strays("r2")

    there = {file.path for file in lake.storage.list("curated") if file.path.endswith(".parquet")}
    kept = {*ledger.paths(), *merged, f"curated/set_aside/{waiting.path}"}
    assert kept <= there
    assert {path.rpartition("/")[2] for path in there - kept} == {"part-00000-by-another.zstd.parquet"}
