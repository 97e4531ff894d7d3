"""Which buckets a task answers, and what it hands to its writers of the rows that wait."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from jobs import answer_buckets
from jobs.answer_buckets import BucketTask, buckets_of, tasks_of
from stores.facts import BucketReader, Layer
from stores.storage import open_storage
from transforms.kernel import Facts

DAYS = date(2025, 6, 29), date(2025, 6, 30)


@pytest.fixture
def finished(monkeypatch):
    """The days and rows of which something is handed on, of rows that wait: an as-of day each."""
    monkeypatch.setattr(answer_buckets, "finish", lambda group, told: told)
    group = SimpleNamespace(name="g")

    def finish(days, *tables):
        task = SimpleNamespace(days={"g": dict.fromkeys(days, "v")})
        told = [pa.table({"as_of": pa.array(some, pa.date32()), "row": list(range(len(some)))}) for some in tables]
        return [(day, rows["row"].to_pylist()) for _, day, rows in answer_buckets._finished(task, group, told)]

    return finish


def test_rows_go_to_their_days_in_order(finished):
    first, second = DAYS
    assert finished(DAYS[::-1], [first, second, first], [second, first]) == [("2025-06-29", [0, 2, 1]), ("2025-06-30", [1, 0])]
    assert finished(DAYS[:1], [first, first]) == [("2025-06-29", [0, 1])]
    assert finished(DAYS, [second]) == [("2025-06-30", [0])]


@pytest.mark.parametrize("days", [DAYS, DAYS[:1]])
def test_where_nobody_is_on_the_spine_nothing_is_written(finished, days):
    assert finished(days, []) == []


def asked(tmp_path, *sizes_of_layers, bits=3):
    """A task of a stream whose layers say these sizes of their buckets."""
    layers = tuple(Layer(n, n == 0, bits, {}, {}, None, sizes=sizes) for n, sizes in enumerate(sizes_of_layers))
    reader = BucketReader(open_storage(str(tmp_path)), layers, {}, ())
    return BucketTask(open_storage(str(tmp_path)), "UTC", (), {}, {"s": reader})


def test_buckets_are_dealt_out_the_largest_first(tmp_path):
    """What all layers have of a bucket counts: 5 has 30 + 5 bytes, 2 has 34."""
    task = asked(tmp_path, {"2": 34, "5": 30, "7": 20}, {"5": 5, "0": 1})
    assert [buckets_of(task, number, 2) for number in range(2)] == [[5, 7, 1, 4], [2, 0, 3, 6]]


def test_each_bucket_is_answered_once_where_no_size_is_known(tmp_path):
    task = asked(tmp_path, {})
    assert [tasks_of(task, at_once) for at_once in (1, 2, 3, 4, 5)] == [2, 4, 6, 8, 8]
    assert sorted(bucket for number in range(3) for bucket in buckets_of(task, number, 3)) == list(range(8))


def slices(*clocks, entities=5, columns=1, days=DAYS[:1]):
    """The entities and facts of each slice that is answered at once; `clocks`: the entity of each fact."""
    facts = {}
    for number, entity in enumerate(clocks):
        moments = np.arange(len(entity))
        facts["s", str(number)] = Facts(np.array(entity, dtype=np.int64), moments, moments, moments, {})
    group = SimpleNamespace(windows=range(columns), dailies=(), derived=())
    found = []
    for near, queries in answer_buckets._in_slices(facts, entities, days, [group], "UTC"):
        asked = list(dict.fromkeys(queries.entity.tolist()))
        assert len(queries) == len(asked) * len(days)
        found.append((asked, *(near["s", str(number)].at.tolist() for number in range(len(clocks)))))
    return found


def test_few_facts_are_answered_from_at_once(monkeypatch):
    monkeypatch.setattr(answer_buckets, "MAXIMUM_FACTS", 4)
    assert slices([0, 0, 3, 3], [1]) == [([0, 1, 2, 3, 4], [0, 1, 2, 3], [0])]
    assert slices(entities=2) == [([0, 1],)]  # groups of streams without a fact
    assert slices([], entities=0) == []


def test_many_facts_are_answered_from_in_slices_of_whole_entities(monkeypatch):
    """Ten facts are three slices of at most four; the second entity alone has more, and ends where it ends."""
    monkeypatch.setattr(answer_buckets, "MAXIMUM_FACTS", 4)
    assert slices([0, 0, 1, 1, 1, 1, 1, 2, 3, 3]) == [([0], [0, 1]), ([1], [2, 3, 4, 5, 6]), ([2, 3, 4], [7, 8, 9])]


def test_slices_are_of_a_size(monkeypatch):
    """Each ends where an entity does, and none is left over for what they lack by that."""
    monkeypatch.setattr(answer_buckets, "MAXIMUM_FACTS", 250_000)
    facts = np.repeat(np.arange(3_000), np.random.default_rng(1).integers(50, 174, 3_000)).tolist()
    first, second = (len(some) for _, some in slices(facts, entities=3_000))
    assert first + second == len(facts) > 300_000
    assert max(first, second) <= 1.05 * len(facts) / 2 + 1


def test_a_slice_ends_where_any_clock_has_enough(monkeypatch):
    monkeypatch.setattr(answer_buckets, "MAXIMUM_FACTS", 2)
    assert slices([0, 1, 4, 4], [2, 2, 3, 3]) == [([0, 1, 2], [0, 1], [0, 1]), ([3, 4], [2, 3], [2, 3])]


def test_a_slice_has_a_bounded_number_of_cells(monkeypatch):
    monkeypatch.setattr(answer_buckets, "MAXIMUM_CELLS", 8)
    found = slices([0, 2, 4], columns=2, days=DAYS)
    assert found == [([0, 1], [0]), ([2, 3], [1]), ([4], [2])]
