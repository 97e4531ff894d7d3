"""A bucket's file of facts: whichever way it is written, each clock is read with its own columns."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stores import fact_files
from stores.fact_files import read_facts, write_facts
from transforms.fact_arrays import by_clock

FACTS = pa.table(
    {
        "clock": ["due"] * 5 + ["paid"] * 2,
        "entity": ["ann", "ann", "bob", "cat", "cat", "ann", "bob"],
        "at": [1, 2, 3, 4, 5, 6, 7],
        "amount": [10, None, 30, 40, 50, None, None],
        "place": [None, None, None, None, None, "x", "y"],
    }
)


def written(rows: pa.Table) -> io.BytesIO:
    stream = io.BytesIO()
    write_facts(stream, by_clock(rows) or {"due": rows}, differ=["at"])
    stream.seek(0)
    return stream


@pytest.mark.parametrize(("many", "groups"), [(1, 4), (4, 1)], ids=["each clock by itself", "all together"])
@pytest.mark.parametrize("encoded", [True, False])
def test_a_clock_is_read_with_its_own_columns(monkeypatch, many, groups, encoded):
    """Seven facts of two clocks: in row groups of two at most where there are one or more of each, together below eight."""
    monkeypatch.setattr(fact_files, "_MANY", many)
    monkeypatch.setattr(fact_files, "_ROWS_A_GROUP", 2 if many == 1 else 1_000)
    facts = FACTS
    for name in ("clock", "entity") if encoded else ():
        facts = facts.set_column(facts.column_names.index(name), name, facts[name].dictionary_encode())
    stream = written(facts)
    assert pq.ParquetFile(stream).metadata.num_row_groups == groups
    wanted = {"paid": ["entity", "place"], "due": ["at", "amount"], "nobody's": ["at"]}
    found = read_facts(stream, wanted, ["entity", "place"])
    assert {clock: table.column_names for clock, table in found.items()} == {"paid": ["entity", "place"], "due": ["at", "amount"]}
    assert found["due"].to_pydict() == {"at": [1, 2, 3, 4, 5], "amount": [10, None, 30, 40, 50]}
    assert found["paid"].to_pydict() == {"entity": ["ann", "bob"], "place": ["x", "y"]}
    assert all(pa.types.is_dictionary(column.type) for column in found["paid"].columns)


@pytest.mark.parametrize("many", [1, 1_000])
def test_a_file_without_facts_has_no_clock(monkeypatch, many):
    monkeypatch.setattr(fact_files, "_MANY", many)
    assert read_facts(written(FACTS.slice(0, 0)), {"due": ["at"]}, []) == {}


def test_timestamps_are_those_of_utc_whatever_their_writer_calls_it():
    """Files of other writers store the name of the zone, ours don't; they must be put together."""
    rows = FACTS.append_column("key_0", pa.array(range(7), pa.timestamp("us", tz="Etc/UTC")))
    by_another = io.BytesIO()
    pq.write_table(rows, by_another)
    by_another.seek(0)
    parts = [read_facts(stream, {"due": ["at", "key_0"]}, [])["due"] for stream in (by_another, written(rows))]
    assert pa.concat_tables(parts)["key_0"].cast(pa.int64()).to_pylist() == [0, 1, 2, 3, 4] * 2
