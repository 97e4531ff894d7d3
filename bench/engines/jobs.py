"""Whole jobs, called as their command line calls them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path


class Jobs:
    """`etr JOB ...` in this process. The first one starts Spark; later ones find it warm."""

    name = "jobs"
    tuning = "as shipped."

    def __init__(self, work: Path) -> None:
        self.work = work

    def open(self) -> None:
        """A job opens what it needs."""

    def job(self, name: str, *arguments: str) -> None:
        """Run a job. Raises: RuntimeError when it doesn't end with 0."""
        ended = import_module(f"jobs.{name}").main(arguments)
        if ended:
            raise RuntimeError(f"etr {name} {' '.join(arguments)}: ended with exit code {ended}; what it said is above")

    def close(self) -> None:
        from pyspark.sql import SparkSession

        if (spark := SparkSession.getActiveSession()) is not None:
            spark.stop()
