"""What grows with the data: cost an event, a worker's memory; and what another year of history costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.data import LAST_DAY
from bench.engines import OURS
from bench.race import Bench, Ratio, again, cpu, tenth

_PER_EVENT_GOAL, _MEMORY_GOAL, _HISTORY_GOAL = 1.15, 1.2, 1.05


def ten_times(bench: Bench) -> Sequence[Ratio]:
    """A snapshot of ten times the events and entities: CPU an event, and the largest worker's peak of resident memory."""
    small = bench.data(tenth(bench.shape))
    with bench.session(OURS, bench.data()) as large, bench.session(OURS, small) as little:
        costs = bench.race({"large": again(large, "snapshot", LAST_DAY), "small": again(little, "snapshot", LAST_DAY)})
    peaks = {name: tuple(round(cost.worker_peak) for cost in some) for name, some in costs.items()}
    against = f"{small.shape.events:,} events"
    return [
        Ratio(
            "growth",
            f"a snapshot of {bench.shape.events:,} events",
            f"{against}, per event",
            _PER_EVENT_GOAL,
            cpu(costs["large"]),
            cpu(costs["small"]),
            bench.sizes,
            scale=small.shape.events / bench.shape.events,
        ),
        Ratio(
            "growth",
            "a worker's peak memory, ten times the entities",
            against,
            _MEMORY_GOAL,
            peaks["large"],
            peaks["small"],
            bench.sizes,
            unit="megabytes",
            note="buckets: the least power of two at which one has 250,000 curated rows at most, and one for each core",
        ),
    ]


def another_year(bench: Bench) -> Sequence[Ratio]:
    """A new day taken in, prepared and answered, with and without 365 more days of history before."""
    longer = replace(
        bench.shape, days=bench.shape.days + 365, events=bench.shape.events * (bench.shape.days + 365) // bench.shape.days
    )
    more, data = bench.data(longer), bench.data()
    new = len(data.new)
    costs: dict[str, list[float]] = {"more": [], "as before": []}
    with bench.session(OURS, data, new_days=new) as short, bench.session(OURS, more, take_in=False) as long:
        long.call("keep_buckets_of", short.work)
        long.call("prepare", more.files[: len(more.files) - new])
        for number in range(min(new, bench.rounds + 1)):
            for name, session, files in (("more", long, more.new), ("as before", short, data.new)):
                session.call("forget")
                taken = session.call("daily", [files[number]]).cpu + session.call("snapshot", LAST_DAY).cpu
                bench.say(f"{name}: {taken:.2f} CPU s")
                if number:
                    costs[name].append(round(taken, 2))
    what = "365 more days of history: a new day curated, prepared, answered"
    of, against = tuple(costs["more"]), tuple(costs["as before"])
    note = "a lake that grows keeps its number of buckets until one has 750,000 rows, so both have the same"
    return [Ratio("history", what, "the same without", _HISTORY_GOAL, of, against, bench.sizes, note=note)]
