"""Which facts a window holds: both edges, validity between cut-offs, many cut-offs at once; and the newest of each, or apart."""

from __future__ import annotations

import tracemalloc
from datetime import date, timedelta

import numpy as np
import pytest

from conf.windows import Window
from tests.transforms.small import DAY, ZONE, D, T, ask, facts_of, queries_of
from transforms import asked
from transforms.calendar import FOREVER, day_number, midnight
from transforms.kernel import Facts, Queries, Values
from transforms.timeline import Timeline


def test_a_window_holds_its_start_and_not_its_end():
    start = midnight(date(2025, 6, 24), ZONE)
    microsecond = 1 / DAY
    rows = ((0, (T - start) / DAY + microsecond, 1), (0, (T - start) / DAY, 2), (0, microsecond, 4), (0, 0, 8))
    assert ask("sum", facts_of(*rows))[0] == 2 + 4


def test_ahead_counts_from_the_cut_off_what_is_known_by_then():
    known, unknown = T - DAY, T + 1
    rows = (
        (0, 1, 1),
        (0, 0, 2, known, FOREVER),
        (0, -6.9, 4, known, FOREVER),
        (0, -6.9, 8, unknown, FOREVER),
        (0, -7, 16, known, FOREVER),
    )
    days = (date(2025, 6, 29), D)
    facts = facts_of(*rows)
    assert ask("sum", facts, ahead=True)[0] == 2 + 4
    assert ask("sum", facts, ahead=True, queries=queries_of(0, days=days)) == [2, 2 + 4]


def test_lag_moves_the_window_and_not_the_knowledge():
    rows = ((0, 38, 1), (0, 36.5, 2), (0, 36.5, 4, T + 1, FOREVER), (0, 30.5, 8), (0, 29.5, 16))
    assert ask("sum", facts_of(*rows), lag=30)[0] == 2 + 8


def test_a_query_of_grain_event_ends_at_its_own_moment():
    """T is noon of D (local), half a day before its end: what came in the afternoon isn't there."""
    noon = T - DAY // 2
    queries = Queries(np.array([0, 0]), np.array([day_number(D)] * 2), np.array([noon, noon + 1]), "event")
    rows = ((0, 6.999, 1), (0, 1.001, 2), (0, 1, 4), (0, 0.5, 8), (0, 0.25, 16))
    assert ask("sum", facts_of(*rows), "7d", queries=queries) == [1 + 2 + 4, 1 + 2 + 4 + 8]
    assert ask("sum", facts_of(*rows), "1d", queries=queries) == [4, 4 + 8]
    assert ask("recency", facts_of(*rows), "life", queries=queries) == [0, 0]


def test_moments_too_far_apart_to_be_one_number_with_the_entity():
    """The first fact lies some 80,000 years back; windows of many moments hold their start and not their end all the same."""
    noon = T - DAY // 2
    queries = Queries(np.array([0, 0, 1]), np.array([day_number(D)] * 3), np.array([noon, noon + 1, noon + 2]), "event")
    rows = ((0, 3e7, 32), (0, 1.001, 2), (0, 1, 4), (0, 0.5, 8), (0, 0.25, 16), (1, 3e7, 1), (1, 0.75, 2))
    assert ask("sum", facts_of(*rows), "1d", queries=queries) == [4, 4 + 8, 2]
    assert ask("sum", facts_of(*rows), "life", queries=queries) == [32 + 2 + 4, 32 + 2 + 4 + 8, 1 + 2]


def test_a_query_far_before_the_first_fact_sees_none_of_it():
    """What has facts may lie tens of thousands of entities on: its facts are nobody else's, whatever entity and moment make."""
    last = 60_000
    entities = np.array([0, 1, 100, last, last])
    moments = T - np.array([3, 2, 1, 1, 0]) * (DAY // 4)
    queries = Queries(entities, np.array([day_number(D)] * 5), moments, "event")
    rows = ((last, 7_000, 1), (last, 3_500, 2), (last, 0.1, 4))
    assert ask("sum", facts_of(*rows), "life", queries=queries) == [0, 0, 0, 3, 7]
    assert ask("count", facts_of(*rows), "30d", queries=queries) == [0, 0, 0, 0, 1]
    earlier = Timeline(facts_of(*rows), queries, ZONE).select(Window.parse("30d")).earlier
    assert earlier.everything.counts.tolist() == [0, 0, 0, 2, 2]


def test_a_window_since_begins_with_each_query():
    """Its start is in, T is out; two queries of one entity each have a start of their own, and it goes with them."""
    queries = Queries(np.array([0, 0]), np.array([day_number(D)] * 2), np.array([T, T]), since=np.array([T - 3 * DAY, T - DAY]))
    rows = ((0, 3 + 1 / DAY, 1), (0, 3, 2), (0, 1, 4), (0, 1 / DAY, 8), (0, 0, 16))
    facts, since = facts_of(*rows), Window("since")
    for asked_of, expected in ((queries, [2 + 4 + 8, 4 + 8]), (queries.slice(1, 2), [4 + 8])):
        timeline = Timeline(facts, asked_of, ZONE)
        assert timeline.select(since).total(timeline.facts.values["v"]).tolist() == expected


def seen_once(facts: Facts, days: tuple[date, ...], window: str = "7d") -> tuple[list[int], list[int]]:
    """The sums of those queries of three entities that are answered, and of each query the place of its answer."""
    queries = queries_of(0, 1, 2, days=days)
    timeline = Timeline(facts, queries, ZONE)
    once, place = timeline.select(Window.parse(window)).each_once(lambda: timeline.knowledge)
    return once.total(timeline.facts.values["v"]).tolist(), place.tolist()


LAST_DAYS = tuple(D - timedelta(days=back) for back in (3, 2, 1, 0))


def test_of_days_at_which_a_window_holds_the_same_one_is_answered():
    """The first entity's fact comes into the window on the second day, the third's leaves it then; the second has none."""
    facts = facts_of((0, 2.5, 1), (2, 9.5, 2))
    sums, place = seen_once(facts, LAST_DAYS)
    assert [sums[at] for at in place] == [*(0, 1, 1, 1), *(0, 0, 0, 0), *(2, 0, 0, 0)]
    assert len(sums) == 5


def test_days_at_which_something_else_is_known_are_answered_apart():
    """Of two facts in the window all the time one is amended after the second day, the other known since the last."""
    facts = facts_of((0, 3.9, 1, T - 4 * DAY, T - 1.5 * DAY), (0, 3.8, 2, T - DAY // 2, FOREVER))
    sums, place = seen_once(facts, LAST_DAYS)
    assert [sums[at] for at in place] == [*(1, 1, 0, 2), *(0, 0, 0, 0), *(0, 0, 0, 0)]


@pytest.mark.parametrize("seed", range(6))
def test_windows_that_are_known_beforehand_are_reduced_together_to_the_same(seed):
    """Random facts, some at the edges, some without a value, entities without facts and facts without a query."""
    chance = np.random.default_rng(seed)
    edges = [1, 7, 30, 1 / DAY, 7 + 1 / DAY, 30 - 1 / DAY, 0, -1]
    rows = sorted(
        (
            (
                int(chance.integers(0, 9)),
                float(chance.choice([*edges, *chance.uniform(-3, 60, 8)])),
                chance.choice([None, -5, 0, 7, 2**40]),
            )
            for _ in range(int(chance.integers(0, 160)))
        ),
        key=lambda row: (row[0], -row[1]),
    )
    if seed % 2:
        rows = [(entity, age, 1 if value is None else value) for entity, age, value in rows]
    facts, queries = facts_of(*rows, type_="money"), queries_of(0, 2, 3, 8, 11)
    windows = [Window("days", count) for count in (1, 7, 30)] + [Window("month_to_date"), Window("months", 1), Window("lifetime")]
    alone, together = Timeline(facts, queries, ZONE), Timeline(facts, queries, ZONE, windows=windows)
    for window in windows:
        one, same = (timeline.select(window) for timeline in (alone, together))
        values = alone.facts.values["v"]
        assert one.count(values).tolist() == same.count(values).tolist()
        assert one.total(values).tolist() == same.total(values).tolist()
        for ufunc in (np.minimum, np.maximum):
            assert [part.tolist() for part in one.extreme(ufunc, values)] == [p.tolist() for p in same.extreme(ufunc, values)]
        if (bits := values.bits) is not None:
            assert one.extreme(np.bitwise_or, bits)[0].tolist() == same.extreme(np.bitwise_or, bits)[0].tolist()
        for name in ("newest", "oldest"):
            assert getattr(one, name)(values).tolist() == getattr(same, name)(values).tolist()
        assert one.earlier.count(values).tolist() == same.earlier.count(values).tolist()
        assert one.members(values).positions.tolist() == same.members(values).positions.tolist()
        assert one.slice(1, 3).total(values).tolist() == same.slice(1, 3).total(values).tolist()


def test_the_newest_of_each_value_that_lies_in_the_window():
    """The last balance of each account; ties go to the fact that comes later in order; without an account, nothing."""
    rows = (
        (0, 9, 1, "a"), (0, 8, 64, "c"), (0, 6, 2, "a"), (0, 5, 4, "b"), (0, 4, 8, "a"), (0, 4, 16, "a"), (0, 3, 32, None), (1, 1, None, "a"),
    )  # fmt: skip
    facts = facts_of(*rows, account=("string", -1))
    assert ask("sum", facts, newest_per="account") == [4 + 16, 0]
    assert ask("sum", facts, "life", newest_per="account") == [4 + 16 + 64, 0]
    assert ask("count", facts, newest_per="account") == [2, 0]
    assert ask("last", facts, newest_per="account") == [16, None]
    assert ask("change_count", facts, newest_per="account") == [1, 0]  # from 4 to 16; nothing lies before the window


def test_a_map_has_an_answer_for_each_value_that_occurs():
    """Facts without a value, or without a value of the column, have no part in it."""
    rows = (
        (0, 9, 1, "z"),
        (0, 6, 2, "b"),
        (0, 5, None, "c"),
        (0, 4, 4, "a"),
        (0, 3, 8, None),
        (0, 2, 16, "b"),
        (1, 1, None, "a"),
    )
    facts = facts_of(*rows, by=("string", -1))
    assert ask("sum", facts, map_by="by") == ['{"a":4,"b":18}', "{}"]
    assert ask("std", facts, map_by="by") == ['{"a":null,"b":9.899494936611665}', "{}"]
    assert ask("last_n", facts, map_by="by", with_={"n": "1"}) == ['{"a":[4],"b":[16]}', "{}"]
    assert ask("sum", facts_of(*rows, type_="money", by=("string", -1)), map_by="by") == ['{"a":"0.04","b":"0.18"}', "{}"]
    assert ask("last", facts_of((0, 1, 'say "x"', "k"), type_="string", by=("string", -1)), map_by="by") == [
        '{"k":"say \\"x\\""}',
        "{}",
    ]


def test_the_newest_of_each_and_then_apart():
    rows = ((0, 6, 1, "x", "a"), (0, 5, 2, "x", "b"), (0, 4, 4, "y", "a"), (0, 3, 8, "x", "a"), (0, 2, 16, "z", "a"))
    facts = facts_of(*rows, account=("string", -2), kind=("string", -1))
    assert ask("sum", facts, newest_per="account", map_by="kind") == ['{"a":28}', "{}"]


@pytest.mark.parametrize(
    ("op", "with_", "expected"),
    [
        ("change_count", {}, [2, 1, 0]),  # 2 after 1, 1 after 2; 3 after 5
        ("rise_count", {}, [1, 0, 0]),
        ("close_count", {"within": "3"}, [3, 0, 0]),
        ("close_count", {"within": "2"}, [1, 0, 0]),  # three days lie between the days of the first two, and of the last two
    ],
)
def test_the_fact_before_may_lie_before_the_window(op, with_, expected):
    """Of entity 0: 1 (before the window) | 2, 1, 1; of entity 1: 5 (long before) | 3; of entity 2: only | 4."""
    rows = ((0, 9, 1), (0, 8, None), (0, 6, 2), (0, 4, 1), (0, 0.5, 1), (1, 400, 5), (1, 6, 3), (2, 6, 4))
    assert ask(op, facts_of(*rows), with_=with_, queries=queries_of(0, 1, 2)) == expected


def test_the_fact_before_is_one_that_counts_at_the_same_cut_off():
    """The 5 came to be known on 29 June, and what was 1 until then, on 28 June, never had been."""
    rows = ((0, 20, 1, T - 40 * DAY, T - 2 * DAY), (0, 12, 5, T - DAY, FOREVER), (0, 6, 5))
    days = tuple(D - timedelta(days=n) for n in (3, 2, 1, 0))
    queries = queries_of(0, days=days)
    assert ask("change_count", facts_of(*rows), queries=queries) == [1, 0, 0, 0]
    assert [ask("change_count", facts_of(*rows), queries=queries_of(0, days=(day,)))[0] for day in days] == [1, 0, 0, 0]


def test_the_fact_before_is_one_of_the_same_part():
    rows = ((0, 9, 5, "a"), (0, 8, 7, "b"), (0, 6, 5, "a"), (0, 5, 6, "a"), (0, 4, 1, "b"), (0, 3, 1, "c"), (0, 400, 1, "d"))
    facts = facts_of(*sorted(rows, key=lambda row: -row[1]), by=("string", -1))
    assert ask("change_count", facts, map_by="by") == ['{"a":1,"b":1,"c":0}', "{}"]


def test_a_dense_entity_is_answered_in_slices(monkeypatch):
    """Twelve facts in each of 30 windows, never more than 15 looks at once; the same as all at once."""
    facts = facts_of(*((0, 40 - n * 0.25, n % 5) for n in range(160)))
    queries = queries_of(0, 1, days=tuple(date(2025, 6, 1) + timedelta(days=n) for n in range(30)))
    operations = ("sum", "max", "distinct_count", "std", "slope", "last", "mode", "change_count")
    whole = {op: ask(op, facts, "3d", queries=queries) for op in operations}
    assert len(set(whole["sum"])) > 3
    sizes: list[int] = []
    answer_slice = asked.Asked.of

    def noted(self, facts):
        sizes.append(int(facts.cost(walks=True, history=False).sum()))
        return answer_slice(self, facts)

    monkeypatch.setattr(asked, "MAXIMUM_LOOKS", 15)
    monkeypatch.setattr(asked.Asked, "of", noted)
    for op in operations:
        sizes.clear()
        assert ask(op, facts, "3d", queries=queries) == whole[op]
        if op not in ("mode", "change_count"):
            assert len(sizes) == 1  # what running over the facts gives needs no look at each
        else:
            assert (len(sizes), max(sizes)) == (30, 12)


def test_an_entity_with_100_000_events_takes_little_memory():
    """Of 200 cut-offs each sees up to 100,000 facts: 13 million together, which would take more than 600 MB at once."""
    random = np.random.default_rng(5)
    at = np.sort(T - random.integers(0, 300 * DAY, 100_000))
    amounts = random.integers(-(10**6), 10**6, len(at))
    values = Values("money", amounts, np.ones(len(at), dtype=np.bool_))
    facts = Facts(np.zeros(len(at), dtype=np.int64), at, at + 1, np.full(len(at), FOREVER), {"v": values})
    queries = queries_of(0, days=tuple(D - timedelta(days=n) for n in range(200)))
    tracemalloc.start()
    found = {op: ask(op, facts, "life", queries=queries) for op in ("sum", "count", "max", "std")}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    before = np.searchsorted(at, queries.cut_off)
    assert before.sum() > 13_000_000
    assert found["sum"] == np.cumsum(amounts)[before - 1].tolist()
    assert found["count"] == before.tolist()
    assert found["max"] == np.maximum.accumulate(amounts)[before - 1].tolist()
    assert found["std"][0] == pytest.approx(np.std(amounts / 100, ddof=1))
    assert peak < 150_000_000
