"""Labels at any microsecond, with the features known just before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.engines import OURS, PEERS
from bench.race import Bench, Ratio, again, cpu

_GOAL = 0.5
_LABELS_AN_EVENT = 20  # a million labels of 20 million events


def labels(bench: Bench) -> Sequence[Ratio]:
    """Against whoever joins labels and events on the entity and aggregates: Spark, DuckDB and Polars, the best of them.

    Windows begin with a midnight of the label, so no frame of SQL's window functions says them.
    """
    data = bench.data()
    count = bench.shape.events // _LABELS_AN_EVENT
    file = data.labels(count)
    joining = [name for name in PEERS if name != "naive PySpark"]
    with bench.sessions([OURS, *joining], data) as sessions:
        bench.agree(sessions, "labels", file, key="label_time")
        costs = bench.race({name: again(session, "labels", file) for name, session in sessions.items()})
    ours = cpu(costs.pop(OURS))
    best = min(costs, key=lambda name: median(cpu(costs[name])))
    what = f"point in time, {count:,} labels, to the microsecond"
    sizes = {**bench.sizes, "labels": count}
    return [
        Ratio("labels", what, f"{name}, join and group{' (the best)' if name == best else ''}", _GOAL, ours, cpu(some), sizes)
        for name, some in sorted(costs.items(), key=lambda item: item[0] != best)
    ]
