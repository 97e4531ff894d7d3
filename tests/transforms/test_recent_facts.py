"""Recent facts answer what all facts answer, for windows and cut-offs that are recent themselves."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from transforms.calendar import FOREVER
from transforms.recent_facts import recent

SCHEMA = pa.schema(
    [
        ("clock", pa.string()),
        ("entity", pa.string()),
        *((name, pa.int64()) for name in ("at", "valid_from", "valid_until", "a", "b", "number")),
    ]
)
SINCE = 100


def recent_of(rows, since, values):
    return recent(pa.Table.from_pylist(rows, SCHEMA), since, values)


def history(chance):
    rows = [
        {
            "clock": "base",
            "entity": chance.choice("xyz"),
            "at": chance.randrange(90, 110),
            "valid_from": chance.randrange(90, 115),
            "valid_until": chance.choice([int(FOREVER), int(FOREVER), int(FOREVER), chance.randrange(90, 120)]),
            "a": chance.choice([1, None]),
            "b": chance.choice([2, None, None]),
            "number": number,
        }
        for number in range(chance.choice([0, 1, 10, 40]))
    ]
    rows = [row for row in rows if row["a"] or row["b"]]
    return sorted(rows, key=lambda row: (row["clock"], row["entity"], row["at"]))


def counts(rows, moment, *, start=None):
    return [row for row in rows if row["valid_from"] <= moment < row["valid_until"] and (start or 0) <= row["at"] < moment]


@pytest.mark.parametrize("seed", range(60))
def test_windows_and_presence_are_those_of_all_facts(seed):
    rows = history(random.Random(seed))
    found = recent_of(rows, SINCE, ["a", "b"]).to_pylist()
    assert [row for row in rows if row in found] == found  # in order, none twice
    for moment in range(SINCE, 122):
        for start in range(SINCE, moment):
            assert counts(found, moment, start=start) == counts(rows, moment, start=start)
        for value in "ab":
            some, all_ = (
                {(row["clock"], row["entity"]) for row in counts(these, moment) if row[value]} for these in (found, rows)
            )
            assert some == all_
    assert {(row["clock"], row["entity"]) for row in found} == {(row["clock"], row["entity"]) for row in rows}


def test_of_old_facts_few_are_recent():
    rows = [
        {
            "clock": "base",
            "entity": "x",
            "at": at,
            "valid_from": at,
            "valid_until": int(FOREVER),
            "a": 1,
            "b": 2 if at == 7 else None,
            "number": at,
        }
        for at in range(50)
    ]
    found = recent_of(rows, SINCE, ["a", "b"])
    assert found["at"].to_pylist() == [7, 49]
    assert recent_of(rows, 0, ["a", "b"]).num_rows == 50
