"""The whole nightly run, from raw files to the offline store, against the same from nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from bench.data import LAST_DAY
from bench.definitions import CONF
from bench.engines import JOBS
from bench.engines.ours import SETTINGS
from bench.race import Bench, Ratio

_GOAL = 0.08


def nightly(bench: Bench) -> Sequence[Ratio]:
    """Each run is a process of its own, its start and all, as a scheduler starts it."""
    data = bench.data()
    raw, lake = bench.work / "nightly" / "raw", bench.work / "nightly" / "lake"
    (raw / "events").mkdir(parents=True, exist_ok=True)
    costs = []
    for files, day in ((data.history, LAST_DAY - timedelta(days=len(data.new))), (data.new, LAST_DAY)):
        _link(files, raw / "events")
        with bench.session(JOBS, data, take_in=False) as jobs:
            settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
            places = ["--conf", str(CONF), "--raw", str(raw), "--lake", str(lake)]
            costs.append(jobs.call("job", "pipeline", *places, "--as-of", day.isoformat(), *settings))
            bench.say(f"pipeline as of {day}: {costs[-1].cpu:.1f} CPU s")
    nothing, night = costs
    share = len(data.new) / data.shape.days
    return [
        Ratio(
            "nightly",
            f"the whole nightly run, curate to offline store, {share:.1%} new rows",
            "the same run from nothing",
            _GOAL,
            (round(night.cpu, 2),),
            (round(nothing.cpu, 2),),
            bench.sizes,
            note="one run each, in processes of their own",
        )
    ]


def _link(files: Sequence[Path], folder: Path) -> None:
    for file in files:
        if not (folder / file.name).exists():
            os.link(file, folder / file.name)
