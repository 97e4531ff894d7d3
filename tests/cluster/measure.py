"""What executors cost: the same days made by one, two and four of them, in CPU seconds of every process that takes part.

`python -m tests.cluster.measure executors`, which docs/at_scale.md quotes. Each line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from bench.cpu import cpu_seconds
from jobs import curate, materialize, sample

EXECUTORS = (1, 2, 4)
LAST = date(2025, 9, 30)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.measure", description=str(__doc__).splitlines()[0])
    what = parser.add_subparsers(required=True)
    executors = what.add_parser("executors")
    executors.add_argument("--customers", type=int, default=20_000)
    executors.add_argument("--days", type=int, default=30)
    executors.add_argument("--rounds", type=int, default=3)
    executors.set_defaults(work=_executors)
    days = what.add_parser("days")
    days.add_argument("lake", type=Path)
    days.add_argument("executors", type=int)
    days.add_argument("days", type=int)
    days.set_defaults(work=_days)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="etr-measure-") as folder:
        asked.work(asked, Path(folder))
    return 0


def _executors(asked: argparse.Namespace, folder: Path) -> None:
    raw, lake = folder / "raw", folder / "lake"
    assert sample.main(["--to", str(raw), "--customers", str(asked.customers)]) == 0
    assert curate.main(["--raw", str(raw), "--lake", str(lake)]) == 0
    told: dict[int, list[dict[str, float]]] = {number: [] for number in EXECUTORS}
    for turn in range(asked.rounds + 1):  # the first prepares the facts, and counts for nothing
        for number in EXECUTORS if turn else EXECUTORS[-1:]:
            shutil.rmtree(lake / "snapshots", ignore_errors=True)
            command = [sys.executable, "-m", "tests.cluster.measure", "days", str(lake), str(number), str(asked.days)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            one = json.loads(done.stdout.splitlines()[-1])
            _say({"executors": number, "counts": bool(turn), **one})
            told[number] += [one] if turn else []
    for what in ("days", "all"):
        medians = {number: median(one[what] for one in some) for number, some in told.items()}
        each = {number: [round(one[what], 1) for one in some] for number, some in told.items()}
        _say({"what": what, "cpu_seconds": each, "to_one": {number: round(m / medians[1], 2) for number, m in medians.items()}})


def _days(asked: argparse.Namespace, folder: Path) -> None:
    """CPU seconds of this process and all below it: to make the days once Spark has made another one, and in all."""
    options = ["--lake", str(asked.lake), "--set", f"spark.master=local-cluster[{asked.executors},1,1024]"]
    first = LAST - timedelta(days=asked.days - 1)
    assert materialize.main([*options, "--as-of", f"{first - timedelta(days=1)}"]) == 0
    before = cpu_seconds(os.getpid())
    assert materialize.main([*options, "--from", f"{first}", "--to", f"{LAST}"]) == 0
    after = cpu_seconds(os.getpid())
    _say({"days": after - before, "all": after})


def _say(told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
