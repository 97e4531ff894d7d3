"""Many columns: the same features over more windows, and the shipped catalogue."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.data import LAST_DAY
from bench.definitions import many_windows, write_definitions
from bench.engines import JOBS, OURS
from bench.question import COLUMNS, FEATURES
from bench.race import Bench, Ratio, again, cpu
from bench.session import Cost

_FOUR_HUNDRED_GOAL, _CATALOGUE_GOAL = 3.0, 1.5
_RUNS = 1000.0  # the goal is that it runs at all
_MOST_CUSTOMERS, _CATALOGUE_DAY = 50_000, "2025-09-30"
_KEYS = 4  # of a snapshot's columns: identifier, event time, zone, has_history


def columns(bench: Bench) -> Sequence[Ratio]:
    """The twelve features over so many windows more."""
    data = bench.data()
    found = []
    with bench.session(OURS, data) as narrow:
        for count, goal in ((400, _FOUR_HUNDRED_GOAL), (2_500, _RUNS)):
            windows = many_windows(count)
            conf = write_definitions(bench.work / f"conf-{count}", windows=windows)
            with bench.session(OURS, data, conf=conf, called=f"{count} columns") as wide:
                costs = bench.race({"wide": again(wide, "snapshot", LAST_DAY), "narrow": again(narrow, "snapshot", LAST_DAY)})
            made = len(windows) * len(FEATURES)
            what, against = f"a snapshot of {made:,} columns", f"{len(COLUMNS)} columns"
            sizes = {**bench.sizes, "columns": made}
            found.append(Ratio("columns", what, against, goal, cpu(costs["wide"]), cpu(costs["narrow"]), sizes))
    return found


def catalogue(bench: Bench) -> Sequence[Ratio]:
    """Every shipped group on sample data, for each value of its snapshots, against the sixty features; facts are prepared."""
    data = bench.data()
    customers = min(data.shape.entities, _MOST_CUSTOMERS)
    folder = bench.work / "catalogue"
    shutil.rmtree(folder, ignore_errors=True)
    lake, raw = folder / "lake", folder / "raw"
    common = ["--lake", str(lake), "--raw", str(raw)]
    with bench.session(JOBS, data, take_in=False) as jobs, bench.session(OURS, data) as narrow:
        jobs.call("job", "sample", "--raw", str(raw), "--customers", str(customers))
        jobs.call("job", "curate", *common)

        def answer() -> Cost:
            shutil.rmtree(lake / "snapshots", ignore_errors=True)
            return jobs.call("job", "materialize", *common, "--as-of", _CATALOGUE_DAY)

        costs = bench.race({"catalogue": answer, "sixty": again(narrow, "snapshot", LAST_DAY)})
    values, of_sixty = _values(lake), data.shape.entities * len(COLUMNS)
    return [
        Ratio(
            "catalogue",
            "the whole shipped catalogue, per value",
            f"{len(COLUMNS)} features, per value",
            _CATALOGUE_GOAL,
            cpu(costs["catalogue"]),
            cpu(costs["sixty"]),
            {**bench.sizes, "customers": customers, "values": values},
            scale=of_sixty / values,
            note=f"{values:,} values of {customers:,} customers, by the whole job, against {of_sixty:,}",
        )
    ]


def _values(lake: Path) -> int:
    """Rows times columns of the snapshots of every group."""
    import pyarrow.parquet as pq

    told = [pq.read_metadata(file) for file in (lake / "snapshots").rglob("snapshot_version=*/*.parquet")]
    return sum(one.num_rows * (one.num_columns - _KEYS) for one in told)
