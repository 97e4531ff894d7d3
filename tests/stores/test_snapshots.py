"""Snapshots at rest, without Spark: versions of a day, what differs between them, and two drivers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from conf.errors import LeaseError
from stores.differences import DIFF_SCHEMA, Comparison
from stores.lease import Lease
from stores.snapshots import DayWriter, Kind, Restatement, Snapshot, SnapshotTable, sort_by_day
from stores.storage import LocalStorage

TUESDAY = date(2025, 9, 30)
SCHEMA = pa.schema([
    ("customer_id", pa.string()), ("has_history", pa.bool_()), ("plans", pa.int64()), ("owed", pa.decimal128(28, 2)),
    ("share", pa.float64()), ("provider", pa.string()), ("first_day", pa.date32()), ("last_at", pa.timestamp("us", tz="UTC")),
])  # fmt: skip
ANN: Mapping[str, Any] = {
    "customer_id": "ann", "has_history": True, "plans": 3, "owed": Decimal("120.10"), "share": 0.1, "provider": "atome",
    "first_day": date(2025, 1, 2), "last_at": datetime(2025, 9, 1, 12, 0, 0, 500_000, tzinfo=UTC),
}  # fmt: skip
BOB: Mapping[str, Any] = {"customer_id": "bob", "has_history": False, "plans": 0, "owed": Decimal("0.00")}


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def made(
    storage: LocalStorage,
    *files: Sequence[Mapping[str, Any]],
    version: str,
    schema: pa.Schema = SCHEMA,
    kind: Kind = "snapshots",
    run: str = "r1",
    day: date = TUESDAY,
) -> Snapshot:
    """A version whose files are written and not yet committed."""
    written = []
    for rows in files:
        with DayWriter(storage, "plans", {day.isoformat(): version}, schema, kind) as writer:
            writer.write(day.isoformat(), pa.Table.from_pylist(list(rows), schema=schema))
            written += list(writer.close())
    found = sort_by_day(written)[day.isoformat()]
    return Snapshot("plans", day.isoformat(), version, "definition-1", {"bnpl_plans": 1}, run, found, kind=kind)


def compared(storage: LocalStorage, was: Snapshot, new: Snapshot) -> tuple[Restatement, list[tuple[str, ...]]]:
    """What differs, and the rows of the diff without its versions."""
    path = SnapshotTable(storage, "plans").diff_path(TUESDAY, was.version, new.version)
    restated = Comparison(storage, "customer_id", was, new, ("late",), path).restatement()
    if restated.diff is None:
        return restated, []
    table = pq.read_table(storage.uri(restated.diff))
    assert table.schema == DIFF_SCHEMA
    assert {(row["as_of"], row["was_version"], row["is_version"]) for row in table.to_pylist()} == {
        ("2025-09-30", was.version, new.version)
    }
    return restated, [(row["entity"], row["column"], row["was"], row["is"]) for row in table.to_pylist()]


def rows_of(table: DeltaTable) -> list[tuple[str, str]]:
    return sorted((row["customer_id"], row["snapshot_version"]) for row in table.to_pyarrow_table().to_pylist())


def test_every_version_stays_and_the_pointer_names_the_newest(storage: LocalStorage) -> None:
    table = SnapshotTable(storage, "plans")
    first = made(storage, [ANN], [BOB], version="v1")
    table.commit([first], SCHEMA)
    second = made(storage, [ANN], version="v2", run="r2")
    table.commit([second], SCHEMA)

    assert table.current(TUESDAY) == second
    assert table.versions(TUESDAY) == [first, second]
    assert (table.find(TUESDAY, "v1"), table.find(TUESDAY, "v3")) == (first, None)
    assert table.all_current() == {TUESDAY: second}
    assert rows_of(DeltaTable(storage.uri("snapshots/plans"))) == [("ann", "v1"), ("ann", "v2"), ("bob", "v1")]

    table.restore(first)  # a definition that went back
    assert [snapshot.version for snapshot in table.versions(TUESDAY)] == ["v2", "v1"]


def test_the_same_version_committed_again_is_there_once(storage: LocalStorage) -> None:
    """A run that died between its commit and the pointer: the next one knows of no version and makes it again."""
    table = SnapshotTable(storage, "plans")
    table.commit([made(storage, [ANN, BOB], version="v1")], SCHEMA)
    for file in list(storage.list("snapshots/_versions")) + list(storage.list("snapshots/_current")):
        storage.delete(file.path)
    assert (table.current(TUESDAY), table.find(TUESDAY, "v1")) == (None, None)

    table.begin({TUESDAY: "v1"}, "r2")
    table.commit([made(storage, [ANN], [BOB], version="v1")], SCHEMA)

    assert rows_of(DeltaTable(storage.uri("snapshots/plans"))) == [("ann", "v1"), ("bob", "v1")]


def test_days_made_together_are_one_transaction_and_every_earlier_version_stays(storage: LocalStorage) -> None:
    table, monday = SnapshotTable(storage, "plans"), date(2025, 9, 29)
    table.commit([made(storage, [BOB], version="m1", day=monday), made(storage, [BOB], version="t1")], SCHEMA)
    again = [made(storage, [ANN], version="m2", day=monday), made(storage, [ANN, BOB], version="t2")]
    table.commit(again, SCHEMA)

    assert table.all_current() == {monday: again[0], TUESDAY: again[1]}
    delta = DeltaTable(storage.uri("snapshots/plans"))
    assert (delta.version(), delta.transaction_version("etr")) == (1, 2)
    rows = [("ann", "m2"), ("ann", "t2"), ("bob", "m1"), ("bob", "t1"), ("bob", "t2")]
    assert rows_of(delta) == rows

    table.commit([made(storage, [ANN], version="m2", day=monday)], SCHEMA)  # of Tuesday nothing goes
    assert rows_of(DeltaTable(storage.uri("snapshots/plans"))) == rows


def test_what_runs_left_of_other_days_goes_when_the_next_one_begins(storage: LocalStorage) -> None:
    """One died before it committed a day; another's day has a file of a task that ended after the run. What was committed stays."""
    table, monday = SnapshotTable(storage, "plans"), date(2025, 9, 29)
    table.sweep()  # nothing was ever begun
    table.begin({monday: "v0"}, "r1")
    made(storage, [ANN], version="v0", day=monday)
    table.begin({TUESDAY: "v1"}, "r2")
    table.commit([made(storage, [ANN], [BOB], version="v1")], SCHEMA)
    made(storage, [ANN], version="v1")  # by the task that went on
    assert len(list(storage.list("snapshots/plans/as_of=2025-09-29"))) == 1

    table.sweep()

    files = {file.path for file in storage.list("snapshots/plans") if file.path.endswith(".parquet")}
    current = table.current(TUESDAY)
    assert current is not None
    assert files == {file.path for file in current.files}
    assert list(storage.list("snapshots/_under_way")) == []


def test_of_two_drivers_that_commit_the_same_day_at_once_one_is_refused(storage: LocalStorage, monkeypatch: Any) -> None:
    """Both looked at the table before either wrote, as when a lease was lost in a long pause; no row is there twice."""
    table = SnapshotTable(storage, "plans")
    table.commit([made(storage, [BOB], version="v0", day=date(2025, 9, 29))], SCHEMA)
    ours, theirs = made(storage, [ANN], version="v1", run="r1"), made(storage, [ANN], version="v1", run="r2")
    stale = DeltaTable(storage.uri("snapshots/plans"))
    table.commit([theirs], SCHEMA)

    monkeypatch.setattr("stores.snapshots.open_delta", Mock(return_value=stale))
    with pytest.raises(LeaseError, match=r"^snapshots/plans: another run committed to the table while this one did, as of 2025"):
        table.commit([ours], SCHEMA)

    assert table.current(TUESDAY) == theirs
    assert rows_of(DeltaTable(storage.uri("snapshots/plans"))) == [("ann", "v1"), ("bob", "v0")]


def test_of_two_drivers_that_create_a_table_at_once_one_is_refused(storage: LocalStorage, monkeypatch: Any) -> None:
    table = SnapshotTable(storage, "plans")
    theirs = made(storage, [ANN], version="v1", run="r2")
    table.commit([theirs], SCHEMA)
    monkeypatch.setattr("stores.snapshots.open_delta", Mock(return_value=None))
    with pytest.raises(LeaseError, match="another run committed to the table while this one did"):
        table.commit([made(storage, [ANN], version="v1")], SCHEMA)
    assert table.current(TUESDAY) == theirs


def test_files_of_the_day_that_no_version_has_go_when_it_is_committed(storage: LocalStorage) -> None:
    """Of a run that died on its way to another version, and of a task that Spark ran twice."""
    table = SnapshotTable(storage, "plans")
    first = made(storage, [ANN], version="v1")
    table.commit([first], SCHEMA)
    for path in (table.new_file("2025-09-30", "v0"), table.new_file("2025-09-30", "v2"), table.new_file("2025-09-29", "v0")):
        storage.write(path, b"")
    second = made(storage, [BOB], version="v2")
    table.commit([second], SCHEMA)

    there = {file.path for file in storage.list("snapshots/plans/as_of=2025-09-30")}
    assert there == {file.path for file in (*first.files, *second.files)}
    assert len(list(storage.list("snapshots/plans/as_of=2025-09-29"))) == 1


def test_a_driver_that_lost_its_lease_commits_nothing(storage: LocalStorage) -> None:
    table, ours = SnapshotTable(storage, "plans"), Lease(storage, "snapshots/plans", "r1", lifetime=0.2)
    ours.take(0)
    ours._done.set()  # the process stood still: nothing renewed it
    theirs = Lease(storage, "snapshots/plans", "r2", lifetime=60)
    theirs.take(1)
    try:
        with pytest.raises(LeaseError, match="nothing was committed"):
            table.commit([made(storage, [ANN], version="v1")], SCHEMA, ours)
    finally:
        theirs.release()
    assert (table.current(TUESDAY), storage.exists("snapshots/plans/_delta_log")) == (None, False)


def test_of_hindsight_a_day_has_one_version_in_a_table_of_its_own(storage: LocalStorage) -> None:
    table = SnapshotTable(storage, "plans", "hindsight")
    table.commit([made(storage, [ANN], version="v1", kind="hindsight")], SCHEMA)
    table.commit([made(storage, [BOB], version="v2", kind="hindsight")], SCHEMA)

    assert rows_of(DeltaTable(storage.uri("hindsight/plans"))) == [("bob", "v2")]
    assert SnapshotTable(storage, "plans").days() == []
    assert not storage.exists("snapshots")


def test_rows_wait_for_others_of_their_day_until_they_are_enough_or_too_many_cells_wait(
    storage: LocalStorage, monkeypatch: Any
) -> None:
    def row_groups() -> dict[str, list[int]]:
        days = {"2025-09-29": "v1", "2025-09-30": "v1"}
        with DayWriter(storage, "plans", days, SCHEMA) as writer:
            for number in range(12):
                day = "2025-09-29" if number % 3 == 0 else "2025-09-30"
                writer.write(day, pa.Table.from_pylist([BOB], schema=SCHEMA))
            files = {day: pq.ParquetFile(storage.uri(file.path)).metadata for day, file in writer.close()}
        return {day: [file.row_group(n).num_rows for n in range(file.num_row_groups)] for day, file in files.items()}

    assert row_groups() == {"2025-09-30": [8], "2025-09-29": [4]}
    monkeypatch.setattr("stores.snapshots.CELLS_WAITING", 5 * len(SCHEMA))
    assert row_groups() == {"2025-09-30": [4, 4], "2025-09-29": [4]}
    monkeypatch.setattr("stores.snapshots.ROWS_A_GROUP", 3)
    assert row_groups() == {"2025-09-30": [3, 3, 2], "2025-09-29": [3, 1]}


def test_a_day_of_no_rows_has_an_empty_file(storage: LocalStorage) -> None:
    """So that whoever reads it knows its columns."""
    with DayWriter(storage, "plans", {"2025-09-30": "v1"}, SCHEMA) as writer:
        writer.write("2025-09-30", SCHEMA.empty_table())
        [(_, file)] = writer.close()
    assert (file.rows, pq.read_schema(storage.uri(file.path))) == (0, SCHEMA)


def test_rows_of_another_schema_are_refused(storage: LocalStorage) -> None:
    other = pa.Table.from_pylist([BOB], schema=SCHEMA).rename_columns([f"{name}_" for name in SCHEMA.names])
    with DayWriter(storage, "plans", {"2025-09-30": "v1"}, SCHEMA) as writer, pytest.raises(ValueError, match="schema"):
        writer.write("2025-09-30", other)
        list(writer.close())


def test_a_difference_is_a_row_a_value_as_text(storage: LocalStorage) -> None:
    eve = {**BOB, "customer_id": "eve"}
    was = made(storage, [ANN, BOB], [{**BOB, "customer_id": "cid"}, {**BOB, "customer_id": "dee"}], version="v1")
    new = made(
        storage,
        [{**ANN, "plans": 4, "owed": Decimal("120.1"), "share": 0.1 + 0.2, "provider": None, "first_day": date(2025, 1, 3)}],
        [eve, {**BOB, "owed": Decimal("-5.00"), "last_at": datetime(2025, 9, 1, tzinfo=UTC)}, {**BOB, "customer_id": "cid"}],
        version="v2",
    )

    restated, differences = compared(storage, was, new)

    assert differences == [
        ("ann", "first_day", "2025-01-02", "2025-01-03"),
        ("ann", "plans", "3", "4"),
        ("ann", "provider", "atome", None),
        ("ann", "share", "0.1", "0.30000000000000004"),
        ("bob", "last_at", None, "2025-09-01 00:00:00+00"),
        ("bob", "owed", "0.00", "-5.00"),
        ("dee", "customer_id", "dee", None),  # a row that went
        ("eve", "customer_id", None, "eve"),  # a row that came
    ]
    values = {"customer_id": 2, "first_day": 1, "last_at": 1, "owed": 1, "plans": 1, "provider": 1, "share": 1}
    assert restated == Restatement("v1", ("late",), 4, values, (), (), "snapshots/_diffs/plans/as_of=2025-09-30/v1-v2.parquet")


def test_columns_that_came_or_went_are_named_and_not_counted(storage: LocalStorage) -> None:
    new_schema = SCHEMA.remove(SCHEMA.get_field_index("share")).append(pa.field("age", pa.int64()))
    was = made(storage, [ANN], version="v1")
    new = made(storage, [{**{k: v for k, v in ANN.items() if k != "share"}, "age": 41}], version="v2", schema=new_schema)

    restated, differences = compared(storage, was, new)

    assert (restated, differences) == (Restatement("v1", ("late",), 0, {}, ("age",), ("share",), None), [])
    assert not restated.is_none


def test_a_day_computed_again_with_the_same_rows_keeps_its_version(storage: LocalStorage) -> None:
    """Other files, in another order, with the same rows: no version is added, and the day isn't asked for again."""
    table = SnapshotTable(storage, "plans")
    first = made(storage, [ANN], [BOB], version="v1")
    table.commit([first], SCHEMA)
    again = replace(made(storage, [BOB, ANN], version="v2", run="r2"), definition="definition-2", curated={"bnpl_plans": 7})

    restated, differences = compared(storage, first, again)
    confirmed = table.confirm(first, again)

    assert (restated.is_none, differences) == (True, [])
    assert confirmed == replace(first, definition="definition-2", curated={"bnpl_plans": 7}, confirmed="v2")
    assert table.current(TUESDAY) == confirmed
    assert [confirmed.stands_for(version) for version in ("v1", "v2", "v3")] == [True, True, False]
    assert not [file for file in storage.list("snapshots/plans") if "snapshot_version=v2" in file.path]
    assert table.versions(TUESDAY) == [confirmed]
    assert not storage.exists("snapshots/_diffs")
