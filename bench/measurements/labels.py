"""Labels at any microsecond, with the features known just before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.engines import OURS, PEERS, PEERS_FOR_LABELS
from bench.race import Bench, Ratio, again, cpu

_GOAL = 0.5
_LABELS_AN_EVENT = 20  # a million labels of 20 million events


def labels(bench: Bench) -> Sequence[Ratio]:
    """Against whoever joins labels and events on the entity and aggregates, Spark, DuckDB and Polars, and Spark's union and sort.

    Windows begin with a midnight of the label, so no single frame of SQL's window functions says them.
    """
    data = bench.data()
    count = bench.shape.events // _LABELS_AN_EVENT
    file = data.labels(count)
    joining = [name for name in PEERS if name != "naive PySpark"]
    with bench.sessions([OURS, *joining, *PEERS_FOR_LABELS], data) as sessions:
        bench.agree(sessions, "labels", file, key="label_time")
        costs = bench.race({name: again(session, "labels", file) for name, session in sessions.items()})
    ours = cpu(costs.pop(OURS))
    best = min(costs, key=lambda name: median(cpu(costs[name])))
    what = f"point in time, {count:,} labels, to the microsecond"
    sizes = {**bench.sizes, "labels": count}
    ways = {name: f"{name}, join and group" for name in joining}
    return [
        Ratio("labels", what, f"{ways.get(name, name)}{' (the best)' if name == best else ''}", _GOAL, ours, cpu(some), sizes)
        for name, some in sorted(costs.items(), key=lambda item: item[0] != best)
    ]
