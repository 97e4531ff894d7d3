"""Labels at any microsecond, with the features known just before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.data import Shape
from bench.engines import OURS, PEERS, PEERS_FOR_LABELS
from bench.race import Bench, Ratio, again, cpu, sizes_of, tenth

_GOAL = 0.5
_LABELS_AN_EVENT = 20  # a million labels of 20 million events
_MOST_EVENTS_JOINED = 2_000_000


def labels(bench: Bench) -> Sequence[Ratio]:
    """Against whoever joins labels and events on the entity and aggregates, Spark, DuckDB and Polars, and Spark's union and sort.

    Windows begin with a midnight of the label, so no single frame of SQL's window functions says them. Of more events a tenth
    is joined: the heaviest entity alone would have billions of pairs.
    """
    joining = [name for name in PEERS if name != "naive PySpark"]
    if bench.shape.events <= _MOST_EVENTS_JOINED:
        return _raced(bench, bench.shape, [*PEERS_FOR_LABELS, *joining])
    return [*_raced(bench, bench.shape, PEERS_FOR_LABELS), *_raced(bench, tenth(bench.shape), [*PEERS_FOR_LABELS, *joining])]


def _raced(bench: Bench, shape: Shape, peers: Sequence[str]) -> list[Ratio]:
    data = bench.data(shape)
    count = shape.events // _LABELS_AN_EVENT
    file = data.labels(count)
    with bench.sessions([OURS, *peers], data) as sessions:
        bench.agree(sessions, "labels", file, key="label_time")
        costs = bench.race({name: again(session, "labels", file) for name, session in sessions.items()})
    ours = cpu(costs.pop(OURS))
    best = min(costs, key=lambda name: median(cpu(costs[name])))
    what = f"point in time, {count:,} labels, to the microsecond"
    sizes = sizes_of(shape, labels=count)
    told = {name: name if name in PEERS_FOR_LABELS else f"{name}, join and group" for name in costs}
    return [
        Ratio("labels", what, f"{told[name]}{' (the best)' if name == best else ''}", _GOAL, ours, cpu(some), sizes)
        for name, some in sorted(costs.items(), key=lambda item: item[0] != best)
    ]
