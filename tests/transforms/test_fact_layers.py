"""Later facts among earlier ones: the order is that of sorting all of them, whatever ties."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from transforms.fact_layers import merged

ORDER = ["clock", "entity", "at", "known", "key_0", "valid_from", "holds_from"]
READ = ["clock", "entity", "at", "valid_from", "holds_from", "value"]
SCHEMA = pa.schema(
    [(name, pa.string() if name in ("clock", "entity", "key_0", "value") else pa.int64()) for name in [*ORDER, "value"]]
)
TEXTS = ("clock", "entity", "value")


def facts(chance, count, *, entities, moments):
    """Facts of few entities at few moments, so that many tie, each once."""
    rows = [
        {
            "clock": chance.choice(["base", "due"]),
            "entity": chance.choice(entities),
            "at": chance.randrange(-moments, moments),
            "known": chance.randrange(2),
            "key_0": chance.choice("abc"),
            "valid_from": chance.randrange(2),
            "holds_from": chance.choice([None, 1, 2]),
            "value": chance.choice(["x", "y", None]),
        }
        for _ in range(count)
    ]
    different = {tuple(row[name] for name in ORDER): row for row in rows}
    return list(different.values())


def table(rows, *, chunks=1):
    """As a file with some row groups is read: texts are places in a dictionary of each."""
    size = -(-len(rows) // chunks) or 1
    parts = [pa.Table.from_pylist(rows[start : start + size], SCHEMA) for start in range(0, max(len(rows), 1), size)]
    for name in TEXTS:
        parts = [part.set_column(part.column_names.index(name), name, part[name].dictionary_encode()) for part in parts]
    return pa.concat_tables(parts)


def in_order(rows):
    return sorted(rows, key=lambda row: [(row[name] is None, row[name]) for name in ORDER])


@pytest.mark.parametrize("seed", range(40))
def test_the_order_is_that_of_all_together(seed):
    chance = random.Random(seed)
    entities = [*"AZaz", "\u00e9", "\U0001f600", ""][: chance.randrange(1, 8)]
    rows = facts(chance, chance.choice([1, 5, 60, 200]), entities=entities, moments=chance.choice([1, 3, 500]))
    chance.shuffle(rows)
    cut = chance.choice([0, 1, len(rows) // 2, len(rows) - 1, len(rows)])
    early, late = in_order(rows[:cut]), rows[cut:]
    earlier = table(early, chunks=chance.choice([1, 3]))
    asked: list[int] = []

    def whole(places):
        asked.extend(places.to_pylist())
        return earlier.take(places)

    found = merged(earlier.select(READ), table(late, chunks=chance.choice([1, 2])), whole, ORDER)
    assert found.to_pylist() == [{name: row[name] for name in READ} for row in in_order(rows)]
    moments = {(row["clock"], row["entity"], row["at"]) for row in late}
    assert asked == [place for place, row in enumerate(early) if (row["clock"], row["entity"], row["at"]) in moments]
