"""What docs/at_scale.md says of this machine, measured again: what executors cost, and what a run asks of S3.

`python -m tests.cluster.measure executors` has the same days made by one, two and four executors, several times in turn, and says
the CPU seconds of every process that takes part. `… calls` runs the main job in S3 on a first day, on the next one, and once more,
and says what the server answered: how often, and how long it took. Each line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from urllib.request import urlopen

from bench.cpu import cpu_seconds
from jobs import curate, materialize, sample
from stores.embedded.local import LocalFeatureStore
from stores.storage import open_storage
from tests.cluster.servers import SeaweedFS

EXECUTORS = (1, 2, 4)
WARM, FIRST, LAST = "2025-09-20", "2025-09-21", "2025-09-30"
BEFORE_LAST = "2025-09-29"
_COUNTED = re.compile(r"SeaweedFS_s3_request_(total|seconds_sum)\{([^}]*)\} (\S+)")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.measure", description=str(__doc__).splitlines()[0])
    what = parser.add_subparsers(required=True)
    executors = what.add_parser("executors")
    executors.add_argument("--customers", type=int, default=20_000)
    executors.add_argument("--rounds", type=int, default=3)
    executors.set_defaults(work=_executors)
    days = what.add_parser("days")
    days.add_argument("lake", type=Path)
    days.add_argument("executors", type=int)
    days.set_defaults(work=_days)
    calls = what.add_parser("calls")
    calls.add_argument("--customers", type=int, default=300)
    calls.set_defaults(work=_calls)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="etr-measure-") as folder:
        asked.work(asked, Path(folder))
    return 0


# ---- what executors cost


def _executors(asked: argparse.Namespace, folder: Path) -> None:
    raw, lake = folder / "raw", folder / "lake"
    assert sample.main(["--to", str(raw), "--customers", str(asked.customers)]) == 0
    assert curate.main(["--raw", str(raw), "--lake", str(lake)]) == 0
    told: dict[int, list[dict[str, float]]] = {number: [] for number in EXECUTORS}
    for turn in range(asked.rounds + 1):  # the first prepares the facts, and counts for nothing
        for number in EXECUTORS if turn else EXECUTORS[-1:]:
            shutil.rmtree(lake / "snapshots", ignore_errors=True)
            command = [sys.executable, "-m", "tests.cluster.measure", "days", str(lake), str(number)]
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
    assert materialize.main([*options, "--as-of", WARM]) == 0
    before = cpu_seconds(os.getpid())
    assert materialize.main([*options, "--from", FIRST, "--to", LAST]) == 0
    after = cpu_seconds(os.getpid())
    _say({"days": after - before, "all": after})


# ---- what a run asks of S3


def _calls(asked: argparse.Namespace, folder: Path) -> None:
    credentials = {
        "AWS_ACCESS_KEY_ID": "etr",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    os.environ.update(credentials)
    raw, customers = folder / "raw", str(asked.customers)
    with SeaweedFS(folder / "seaweedfs", dict(os.environ)) as server, LocalFeatureStore(folder / "feature_store") as store:
        server.client().create_bucket(Bucket="etr")  # type: ignore[attr-defined]
        told = {
            "s3.endpoint": server.settings.endpoint,
            "s3.region": server.settings.region,
            "s3.path_style": "true",
            "feature_store.endpoint": store.endpoint,
            "feature_store.role_arn": "arn:aws:iam::000000000000:role/etr",
        }
        options = [text for key, value in told.items() for text in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "jobs.pipeline", "--raw", "s3://etr/raw", "--lake", "s3://etr/lake", *options, "--as-of"]
        assert sample.main(["--to", str(raw), "--customers", customers, "--until", BEFORE_LAST]) == 0
        runs = {"the first day": BEFORE_LAST, "the next day": LAST, "again": LAST}
        for name, day in runs.items():
            if name == "the next day":
                assert sample.main(["--to", str(raw), "--customers", customers, "--until", LAST, "--only-from", LAST]) == 0
            bucket = open_storage("s3://etr/raw", server.settings)
            there = {file.path for file in bucket.list()}
            for file in open_storage(raw).list():
                if file.path not in there:
                    bucket.write(file.path, (raw / file.path).read_bytes())
            before = _answered(server)
            subprocess.run([*command, day], stdout=subprocess.DEVNULL, check=True)
            after = _answered(server)
            _say({"run": name, **_between(before, after)})


def _answered(server: SeaweedFS) -> Mapping[str, Counter[str]]:
    """The server's counts since it began: requests by kind, and the seconds that they took."""
    found: dict[str, Counter[str]] = {"total": Counter(), "seconds_sum": Counter()}
    with urlopen(server.metrics) as answer:
        for what, labels, value in _COUNTED.findall(answer.read().decode()):
            kind = dict(re.findall(r'(\w+)="([^"]*)"', labels))["type"]
            found[what][kind] += float(value)  # type: ignore[assignment]
    return found


def _between(before: Mapping[str, Counter[str]], after: Mapping[str, Counter[str]]) -> dict[str, object]:
    calls = after["total"] - before["total"]
    seconds = after["seconds_sum"] - before["seconds_sum"]
    return {
        "calls": {kind: int(count) for kind, count in calls.most_common()},
        "milliseconds_each": {kind: round(1000 * seconds[kind] / count, 1) for kind, count in calls.most_common()},
    }


def _say(told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
