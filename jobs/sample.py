"""Make sample data: synthetic ledgers of any size, dirt and ground truth included."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.errors import UsageError
from jobs.arguments import JobParser, day
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from synthetic.parameters import Parameters

DEFAULT_FOLDER = "raw"


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser(
        "sample", "Synthetic credit and buy-now-pay-later ledgers, with known dirt, to try the pipeline on.", common=("raw",)
    )
    parser.add_argument("--to", dest="raw", metavar="DIR", help=f"the same as --raw (default: {DEFAULT_FOLDER})")
    parser.add_argument("--customers", type=_whole, metavar="N", help="how many customers (default: 10000)")
    parser.add_argument("--years", type=_whole, metavar="Y", help="how many years before the end (default: 2)")
    parser.add_argument("--seed", type=_whole, metavar="S", help="another seed, other people (default: 7)")
    parser.add_argument("--until", type=day, metavar="YYYY-MM-DD", help="the last local day (default: 2025-09-30)")
    parser.add_argument(
        "--only-from", type=day, metavar="YYYY-MM-DD", help="add what arrives from this day on to the sample that is there"
    )
    return run_job(parser, _work, argv)


def run(parameters: Parameters, to: Path) -> dict[str, Any] | None:
    """Make the sample, with a bar on a terminal; return its ground truth, or None when it was there already, unchanged.

    Raises: UsageError for parameters that don't fit what is there; InputError for a folder that can't be written.
    """
    from jobs.progress import Progress
    from synthetic.ground_truth import read_truth, truth_path
    from synthetic.sample import make_sample

    with Progress() as progress, progress.step("synthetic customers", total=parameters.customers) as step:
        done = 0

        def tell(customers: int, rows: int) -> None:
            nonlocal done
            step.advance(customers - done, note=f"{rows:,} rows")
            done = customers

        is_new = make_sample(parameters, to, tell)
    return read_truth(truth_path(to, parameters)) if is_new else None


def _work(arguments: Namespace, run_id: str) -> Summary:
    to = _folder(arguments.raw or DEFAULT_FOLDER)
    parameters = _parameters(arguments, to)
    sys.stderr.write(
        f"Synthetic data, no real person in it: {parameters.customers:,} customers, "
        f"{parameters.only_from or parameters.first_day} to {parameters.until}, seed {parameters.seed}, to {to}\n"
    )
    truth = run(parameters, to)
    if truth is None:
        sys.stderr.write("Unchanged: this very sample is there already.\n")
        return Summary("sample", run_id, counts={"files": 0, "rows": 0})
    tables = {
        name: {key: source[key] for key in ("read", "kept", "duplicates", "quarantined", "late")}
        | {"files": len(source["files"])}
        for name, source in truth["sources"].items()
    }
    counts = {"files": sum(table["files"] for table in tables.values()), "rows": sum(table["read"] for table in tables.values())}
    return Summary("sample", run_id, counts=counts, tables=tables)


def _parameters(arguments: Namespace, to: Path) -> Parameters:
    from synthetic.parameters import Parameters
    from synthetic.sample import growth_of

    names = ("customers", "years", "seed", "until", "only_from")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if "only_from" not in given:
        return Parameters(**given)
    asked = Parameters(**{"until": given["only_from"], **given})
    grown = growth_of(to, asked)
    for name in ("customers", "years", "seed"):
        if name in given and given[name] != getattr(grown, name):
            raise UsageError(
                f"etr sample: --{name} {given[name]}, but the sample in {to} has {getattr(grown, name)}; "
                f"leave --{name} out to add to it, or name another folder"
            )
    return replace(grown, until=asked.until)


def _folder(text: str) -> Path:
    if "://" in text and not text.startswith("file://"):
        raise UsageError(f"etr sample: '{text}' is not a local folder; write the sample to one and copy it")
    return Path(text.removeprefix("file://"))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is not a whole number") from None


if __name__ == "__main__":
    sys.exit(main())
