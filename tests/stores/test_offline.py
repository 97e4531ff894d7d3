"""The offline layout's files, and the digests by which unchanged records are told. No Spark."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import PublishError
from stores.offline import FitRows, OfflineDay, Piece, as_feature, plan_parts, write_part
from stores.protocols import FeatureType
from stores.records import RecordLayout
from stores.sending import digests
from stores.snapshots import SnapshotFile
from stores.storage import LocalStorage

T = "2025-09-30T16:00:00Z"
WRITTEN = datetime(2025, 10, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def file(path: str, rows: int, size: int) -> SnapshotFile:
    return SnapshotFile(path, rows, size)


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ([], []),
        ([file("a", 0, 9)], []),  # nothing in it
        ([file("a", 4, 1), file("b", 6, 1)], [[Piece("a", 0, 4), Piece("b", 0, 6)]]),  # ten rows: as many as may be
        ([file("a", 4, 1), file("b", 7, 1)], [[Piece("a", 0, 4)], [Piece("b", 0, 7)]]),
        ([file("a", 4, 60), file("b", 4, 41)], [[Piece("a", 0, 4)], [Piece("b", 0, 4)]]),  # few rows, many bytes
        ([file("a", 21, 1)], [[Piece("a", 0, 7)], [Piece("a", 7, 14)], [Piece("a", 14, 21)]]),
        ([file("a", 2, 900)], [[Piece("a", 0, 1)], [Piece("a", 1, 2)]]),  # a row can't be split
        ([file("a", 11, 1), file("b", 3, 1)], [[Piece("a", 0, 5)], [Piece("a", 5, 11), Piece("b", 0, 3)]]),
    ],
)
def test_parts_are_of_bounded_size(files: list[SnapshotFile], parts: list[list[Piece]]) -> None:
    assert [list(part) for part in plan_parts(files, most_rows=10, most_bytes=100)] == parts


def day(tmp_path: Path, rows: pa.Table, *, quarantined: list[str | None] | None = None, version: str = "v1") -> OfflineDay:
    """A day whose one snapshot file has row groups of two rows; every column a feature of the type it becomes."""
    lake, table = LocalStorage(tmp_path / "lake"), LocalStorage(tmp_path / "offline")
    types: dict[str, FeatureType] = {"id": "String", "event_time": "String", "amount": "Fractional", "as_of": "String"}
    with lake.open_output("part.parquet") as stream:
        pq.write_table(rows, stream, row_group_size=2)
    if quarantined is not None:
        with lake.open_output("bad.parquet") as stream:
            pq.write_table(pa.table({"key": pa.array(quarantined, pa.string()), "rule": ["r"] * len(quarantined)}), stream)
    fit = FitRows(lake, "id", "bad.parquet" if quarantined is not None else None)
    part = (Piece("part.parquet", 0, len(rows)),)
    return OfflineDay("people", version, T, WRITTEN, fit, table, types, {"as_of": "2025-09-30"}, (part,))


def people(*ids: str | None, at: str = T) -> pa.Table:
    amounts = pa.array([Decimal(f"{number}.10") for number in range(len(ids))], pa.decimal128(28, 2))
    return pa.table({"amount": amounts, "id": pa.array(ids, pa.string()), "event_time": [at] * len(ids)})


def test_a_file_lies_by_the_hour_and_is_named_after_its_event_time_and_version(tmp_path: Path) -> None:
    first = day(tmp_path, people("ann"))
    paths = [first.path(0), first.path(1), day(tmp_path, people("ann"), version="v2").path(0), first.path(0)]
    shape = r"year=2025/month=09/day=30/hour=16/20250930T160000Z_[0-9A-Za-z]{16}\.parquet"
    assert all(re.fullmatch(shape, path) for path in paths)
    assert (len(set(paths)), paths[3]) == (3, paths[0])


def test_rows_have_every_feature_in_its_type_and_the_three_columns_of_the_service(tmp_path: Path) -> None:
    offline = day(tmp_path, people("ann", "bob", None, "cid", "dee"), quarantined=["cid", None])

    written = write_part(offline, 0)

    found = pq.read_table(tmp_path / "offline" / written.path, partitioning=None)
    moment = pa.timestamp("us", tz="UTC")
    assert found.schema.equals(
        pa.schema(
            [
                ("id", pa.string()),
                ("event_time", pa.string()),
                ("amount", pa.float64()),
                ("as_of", pa.string()),
                ("write_time", moment),
                ("api_invocation_time", moment),
                ("is_deleted", pa.bool_()),
            ]
        )
    )
    same = (T, "2025-09-30", WRITTEN, WRITTEN, False)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (name, same[0], amount, *same[1:]) for name, amount in (("ann", 0.10), ("bob", 1.10), ("dee", 4.10))
    ]
    assert (written.rows, written.size) == (3, (tmp_path / "offline" / written.path).stat().st_size)
    assert pq.ParquetFile(tmp_path / "offline" / written.path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_no_file_where_no_row_is_fit(tmp_path: Path) -> None:
    offline = day(tmp_path, people("ann", None), quarantined=["ann"])
    assert (write_part(offline, 0).rows, write_part(offline, 0).size) == (0, 0)
    assert not (tmp_path / "offline").exists()


def test_a_row_of_another_event_time_is_refused(tmp_path: Path) -> None:
    offline = day(tmp_path, people("ann", at="2025-09-29T16:00:00Z"))
    with pytest.raises(PublishError, match="people: a row's event_time is not 2025-09-30T16:00:00Z"):
        write_part(offline, 0)


def test_part_of_a_file_is_read_across_its_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = day(tmp_path, people(*"abcdefg"))
    pieces = [(Piece("part.parquet", start, stop),) for start, stop in ((0, 3), (3, 4), (4, 7))]
    for at_once in (1, 2, 3, 100):
        monkeypatch.setattr("stores.offline.ROWS_AT_ONCE", at_once)
        read = ([batch["id"].to_pylist() for batch in offline.rows.read(part, ["id"])] for part in pieces)
        assert ["".join(name for names in batches for name in names) for batches in read] == ["abc", "d", "efg"]


def test_a_file_with_fewer_rows_than_its_snapshot_tells_of_is_not_published(tmp_path: Path) -> None:
    offline = day(tmp_path, people("ann", "bob"))
    with pytest.raises(
        PublishError, match=r"part\.parquet: 2 rows, where its snapshot tells of 5 at least; compute the day anew"
    ):
        list(offline.rows.read((Piece("part.parquet", 0, 5),), ["id"]))


def test_small_row_groups_become_large_ones_that_every_reader_knows(tmp_path: Path) -> None:
    """A snapshot's are as large as what waited in a task; who queries the offline store opens each column of each."""
    written = write_part(day(tmp_path, people(*"abcdefg")), 0)

    metadata = pq.ParquetFile(tmp_path / "offline" / written.path).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [7]
    columns = (metadata.row_group(0).column(number) for number in range(metadata.num_columns))
    assert {encoding for column in columns for encoding in column.encodings} <= {"PLAIN", "RLE", "RLE_DICTIONARY"}


MOMENT = datetime(2025, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)
VALUES: list[tuple[pa.Array, FeatureType, list[object]]] = [
    (pa.array([True, False, None]), "Integral", [1, 0, None]),
    (pa.array([2**63 - 1, None], pa.int64()), "Integral", [2**63 - 1, None]),
    (pa.array([0.1, None], pa.float64()), "Fractional", [0.1, None]),
    (pa.array([Decimal("120.10"), None, Decimal("-0.07")], pa.decimal128(18, 2)), "Fractional", [120.10, None, -0.07]),
    (pa.array([Decimal("99999999999999999999999999.99")], pa.decimal128(28, 2)), "Fractional", [1e26]),
    (pa.array([Decimal("-123456789012345678.91")], pa.decimal128(28, 2)), "Fractional", [-123456789012345678.91]),
    (pa.array([], pa.decimal128(28, 2)), "Fractional", []),
    (pa.array(["x", "", None]), "String", ["x", "", None]),
    (pa.array([date(2025, 6, 1), None]), "String", ["2025-06-01", None]),
    (pa.array([MOMENT, None], pa.timestamp("us", tz="UTC")), "String", ["2025-06-01T12:00:00.500Z", None]),
]


@pytest.mark.parametrize(("column", "kind", "expected"), VALUES, ids=[f"{c.type} {k} {e}"[:40] for c, k, e in VALUES])
def test_values_are_those_that_a_client_reads_online(column: pa.Array, kind: FeatureType, expected: list[object]) -> None:
    """Each value offline, whole and sliced; and the text that goes online reads back as the same value."""
    assert as_feature(column, kind, where="g.f").to_pylist() == expected
    assert as_feature(column.slice(1), kind, where="g.f").to_pylist() == expected[1:]
    ids = pa.array([str(number) for number in range(len(column))], pa.string())
    batch = pa.RecordBatch.from_arrays([ids, pa.repeat(T, len(column)), column], names=["id", "t", "f"])
    records = RecordLayout("g", "id", "t", {"id": "String", "t": "String", "f": kind}).records(batch)
    read = {"Integral": int, "Fractional": float, "String": str}[kind]
    texts = [record.values.get("f") for record in records]  # type: ignore[union-attr]
    assert [None if text is None else read(text) for text in texts] == expected


def test_a_type_that_a_feature_cannot_hold_is_named() -> None:
    with pytest.raises(PublishError, match=r"^g\.f: a column of type string can't be published as Integral: "):
        as_feature(pa.array(["x"]), "Integral", where="g.f")


def test_equal_values_have_equal_digests_and_others_do_not() -> None:
    """One row differs from the first in one column, or in which column has the value; a null is no value."""
    rows = [
        {"id": "ann", "n": 1, "m": 2, "b": False, "amount": Decimal("1.00"), "share": 0.5, "day": date(2025, 6, 1), "at": MOMENT},
        {"id": "bob"},
        {"n": 2},
        {"n": 2, "m": 1},
        {"n": None},
        {"n": 0},
        {"b": True},
        {"amount": Decimal("0.10")},
        {"amount": Decimal("-1.00")},
        {"share": -0.5},
        {"share": None},
        {"day": date(2025, 6, 2)},
        {"at": MOMENT.replace(second=1)},
        {"id": "anna"},
    ]
    schema = pa.schema(
        [("id", pa.string()), ("n", pa.int64()), ("m", pa.int64()), ("b", pa.bool_()), ("amount", pa.decimal128(28, 2)),
         ("share", pa.float64()), ("day", pa.date32()), ("at", pa.timestamp("us", tz="UTC"))]
    )  # fmt: skip
    table = pa.RecordBatch.from_pylist([rows[0] | row for row in rows], schema=schema)
    found = digests(table, schema.names)
    assert len(np.unique(found, axis=0)) == len(rows)
    again = digests(table.slice(3, 5), list(reversed(schema.names)))  # neither batch nor order of columns matters
    assert np.array_equal(again, found[3:8])
    wider = table.append_column("new", pa.nulls(len(rows), pa.int64()))
    assert np.array_equal(digests(wider, [*schema.names, "new"]), found)
