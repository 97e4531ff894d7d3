"""The command `etr`: `etr JOB …` is `python -m jobs.JOB …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from conf.errors import did_you_mean

DISTRIBUTION = "etr-attribute-engine"
WRONG_USE = 2

JOBS = {
    "pipeline": "the main job: curate, materialize, validate and ingest one as-of day",
    "curate": "raw files to typed ledgers; what can't be read goes to quarantine",
    "materialize": "ledgers to snapshots: all features of a group as of a day",
    "validate": "hold a day's snapshots against their expectations",
    "ingest": "publish snapshots to the offline and the online store",
    "training_set": "join labels to the features known at each label's time",
    "explain": "the raw rows that made one number",
    "plan": "what a run would create, change, read, write and cost",
    "apply": "create and extend feature groups as planned",
    "get": "read records from the online store",
    "features": "list and describe features",
    "check": "check the definitions and run their examples",
    "init": "draft a source's definition from a file",
    "reconcile": "compare the online with the offline store",
    "quarantine": "show the rows that were set aside, and why",
    "report": "pages about a run",
    "maintain": "fold, compact, retain; withdraw a day",
    "sample": "make sample data",
    "serve": "the embedded Feature Store",
    "doctor": "check this environment",
    "submit": "start a run on a platform",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job that the first argument names; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0 if words else WRONG_USE
    if words[0] == "--version":
        sys.stdout.write(f"etr {_version()}\n")
        return 0
    job = words[0]
    if job not in _present():
        known = list(_present())
        what = "option" if job.startswith("-") else "job"
        sys.stderr.write(
            f"etr: no {what} '{job}'{did_you_mean(job, [*known, '--help', '--version'])}; jobs: {', '.join(known)}\n"
        )
        return WRONG_USE
    return int(import_module(f"jobs.{job}").main(words[1:]))


def _present() -> dict[str, str]:
    """The jobs of the table that this installation has."""
    return {job: line for job, line in JOBS.items() if find_spec(f"jobs.{job}")}


def _help() -> str:
    jobs = "".join(f"  {job:<13} {line}\n" for job, line in _present().items())
    return (
        "usage: etr JOB [options]\n\n"
        "Raw credit and buy-now-pay-later files to features in the SageMaker Feature Store.\n\n"
        f"jobs:\n{jobs}\n"
        "etr JOB --help tells a job's options. Exit codes: 0 done, 1 failed, 2 wrong use or wrong definition, "
        "3 held back by expectations.\n"
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "from a folder that isn't installed"


if __name__ == "__main__":
    sys.exit(main())
