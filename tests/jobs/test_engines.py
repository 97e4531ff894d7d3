"""Where SQL runs: what a look-up finds, and what it need not read."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.engines import InProcess, InSpark
from stores.curated_files import read_rows
from stores.storage import open_storage
from transforms.curated import arrow_schema

KINDS = {
    "bigint": [*range(8)],
    "string": ["", "Z", "a", "a\u00e9", "b", "\u00e9", "\u4e2d", "\U0001f600"],
    "date": [date(2025, 1, day) for day in range(1, 9)],
    "timestamp": [datetime(2025, 1, 1, 0, 0, 0, micro, UTC) for micro in range(8)],
    "decimal(18,2)": [Decimal(cents) / 100 for cents in range(-4, 4)],
}


@pytest.fixture(params=["in process", "in Spark"])
def engine(request):
    engine = InProcess(memory="100MB") if request.param == "in process" else InSpark(request.getfixturevalue("spark"))
    yield engine
    engine.close()


def ledger(folder, columns, *values):
    """A file with two rows in a group; `row` numbers them."""
    table = pa.table([pa.array(range(len(values[0]))), *map(pa.array, values)], arrow_schema({"row": "bigint", **columns}))
    pq.write_table(table, folder / "1.parquet", row_group_size=2)
    return open_storage(folder), ["1.parquet"]


def found(engine, columns, wanted, storage, paths):
    table = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in wanted], arrow_schema(columns))
    rows = engine.keep(engine.made(iter, [table.to_batches()], columns))
    told = engine.look_up(rows, list(columns), storage, paths, {**columns, "row": "bigint"}, few=True)
    return [row["row"] for row in engine.collect("select row from {told} order by row", told=told)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_found_by_its_key(engine, tmp_path, kind):
    values = KINDS[kind]
    storage, paths = ledger(tmp_path, {"key": kind}, values)
    for place, value in enumerate(values):
        assert found(engine, {"key": kind}, [(value,)], storage, paths) == [place]
    assert found(engine, {"key": kind}, [(values[6],), (values[1],)], storage, paths) == [1, 6]


def test_a_key_of_two_columns_with_nulls(engine, tmp_path):
    storage, paths = ledger(
        tmp_path, {"key": "string", "version": "bigint"}, ["a", "a", "b", "b", "c", "c"], [1, None, 1, 2, None, None]
    )
    columns = {"key": "string", "version": "bigint"}
    assert found(engine, columns, [("a", None), ("b", 2)], storage, paths) == [1, 3]
    assert found(engine, columns, [("c", None)], storage, paths) == [4, 5]
    assert found(engine, columns, [("c", 1), ("d", None)], storage, paths) == []


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_rows_are_handed_over_by_value(engine, count):
    """Each row once, and all of one value to one part."""
    written = [{"month": f"2025-{number % max(count, 1):02}", "row": number} for number in range(3 * count)]
    columns = {"month": "string", "row": "bigint"}
    table = engine.keep(engine.made(iter, [pa.Table.from_pylist(written, arrow_schema(columns)).to_batches()], columns))
    told = engine.write(_seen, "select * from {rows}", columns, by="month", rows=table)
    assert sorted(row for part in told for row in part["rows"]) == list(range(3 * count))
    months = [month for part in told for month in part["months"]]
    assert len(months) == len(set(months)) == count


def _seen(batches):
    rows = [row for batch in batches for row in batch.to_pylist()]
    yield {"rows": [row["row"] for row in rows], "months": sorted({row["month"] for row in rows})}


def test_groups_without_a_value_in_reach_are_not_read(tmp_path):
    storage, paths = ledger(tmp_path, {"key": "bigint", "other": "bigint"}, [1, 2, 3, 4, 5, 6], [1, None, None, None, 9, 9])

    def rows(**near):
        schema = arrow_schema({"row": "bigint"})
        return pa.Table.from_batches(read_rows(storage, paths, schema, near=near), schema)["row"].to_pylist()

    assert rows() == [0, 1, 2, 3, 4, 5]
    assert rows(key=(2, 2)) == [0, 1]
    assert rows(key=(2, 3)) == [0, 1, 2, 3]
    assert rows(key=(5, 99)) == [4, 5]
    assert rows(key=(7, 99)) == []
    assert rows(other=(1, 1)) == [0, 1, 2, 3]  # of nulls alone a file tells no least and greatest
    assert rows(other=(2, 8)) == [2, 3]
    assert rows(unknown=(1, 1)) == [0, 1, 2, 3, 4, 5]
