"""One day's snapshot: from prepared facts, and from nothing, against whoever reads the raw files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from bench.data import LAST_DAY
from bench.engines import OURS, PEERS
from bench.race import Bench, Ratio, again, cpu
from bench.session import Cost, Session

GOALS = {"naive PySpark": 0.12, "one-pass PySpark": 0.35, "DuckDB": 0.4}
POLARS, POLARS_GOAL = "the better of two Polars ways", 1.0
_NAIVE, _FROM_RAW_GOAL = "naive PySpark", 0.35


def prepared(bench: Bench) -> Sequence[Ratio]:
    """Ours from facts that are up to date, its Parquet written and committed; the others from raw files, their rows dropped."""
    data = bench.data()
    with bench.sessions([OURS, *PEERS], data) as sessions:
        bench.agree(sessions, "snapshot", LAST_DAY, key="as_of")
        costs = bench.race({name: again(session, "snapshot", LAST_DAY) for name, session in sessions.items()})
    ours = cpu(costs.pop(OURS))
    against = {name: cpu(some) for name, some in costs.items() if name in GOALS}
    polars = {name: cpu(some) for name, some in costs.items() if name not in GOALS}
    goals = dict(GOALS)
    if polars:
        better = min(polars, key=lambda name: median(polars[name]))
        against[POLARS], goals[POLARS] = polars[better], POLARS_GOAL
    what = "one day's snapshot, facts prepared"
    return [Ratio("snapshot", what, f"{name} on raw", goals[name], ours, theirs, bench.sizes) for name, theirs in against.items()]


def from_raw(bench: Bench) -> Sequence[Ratio]:
    """Ours from raw files: curated, prepared, answered, written. And from the ledger, which keeps every version of every row."""
    data = bench.data()
    with bench.session(OURS, data, take_in=False) as ours, bench.session(_NAIVE, data) as naive:
        costs = bench.race(
            {
                "ours from raw": _from_nothing(ours, lambda: ours.call("prepare", data.files)),
                _NAIVE: again(naive, "snapshot", LAST_DAY),
                "ours from the ledger": _from_ledger(ours),
            }
        )
    theirs, what = cpu(costs[_NAIVE]), "one day's snapshot, nothing prepared"
    notes = {
        "ours from raw": "files checked and typed into the ledger, facts prepared, answered, written, committed",
        "ours from the ledger": "facts prepared, answered, written, committed; what PySpark reads is typed as the ledger is",
    }
    return [
        Ratio(
            "snapshot_from_raw",
            f"{what}: {name}",
            _NAIVE,
            _FROM_RAW_GOAL,
            cpu(costs[name]),
            theirs,
            bench.sizes,
            note=note,
        )
        for name, note in notes.items()
    ]


def _from_nothing(ours: Session, prepare: Callable[[], Cost]) -> Callable[[], Cost]:
    def run() -> Cost:
        ours.call("forget_everything")
        return _together(prepare(), ours.call("snapshot", LAST_DAY))

    return run


def _from_ledger(ours: Session) -> Callable[[], Cost]:
    def run() -> Cost:
        ours.call("forget_facts")
        return _together(ours.call("prepare_facts"), ours.call("snapshot", LAST_DAY))

    return run


def _together(one: Cost, other: Cost) -> Cost:
    return Cost(one.cpu + other.cpu, one.wall + other.wall, max(one.worker_peak, other.worker_peak))
