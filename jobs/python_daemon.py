"""What Spark forks its Python workers from: it has imported the engine, so that no worker imports it again.

Spark ends workers that were idle for a minute; importing what they need takes each of them about a CPU second.
"""

from __future__ import annotations

import duckdb  # noqa: F401
from pyspark.daemon import manager

import jobs.answer_buckets  # noqa: F401

if __name__ == "__main__":
    manager()  # type: ignore[no-untyped-call]
