"""The engines that are measured, ours and the peers, each as its best user would write it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from bench.adapter import Engine

OURS = "ours"
JOBS = "jobs"
"""Ours, as whole jobs from their command line."""
_CLASSES: Mapping[str, str] = {
    OURS: "bench.engines.ours:Ours",
    JOBS: "bench.engines.jobs:Jobs",
    "naive PySpark": "bench.engines.spark_peers:NaiveSpark",
    "one-pass PySpark": "bench.engines.spark_peers:OnePassSpark",
    "DuckDB": "bench.engines.duckdb_peer:DuckDB",
    "union and sort PySpark": "bench.engines.union_sort_spark:UnionSortSpark",
    "Polars, filters": "bench.engines.polars_peers:PolarsFilters",
    "Polars, zero-filled": "bench.engines.polars_peers:PolarsZeroFilled",
}
PEERS_FOR_LABELS = ("union and sort PySpark",)
"""Peers that are asked for labels only."""
PEERS = tuple(name for name in _CLASSES if name not in (OURS, JOBS, *PEERS_FOR_LABELS))
NEEDED = {name: "polars" for name in PEERS if name.startswith("Polars")}
"""What has to be installed for some of them."""


def make(name: str, work: Path, conf: Path) -> Engine:
    """An engine that keeps its files in `work`; `conf`: the definitions, for ours."""
    module, _, class_name = _CLASSES[name].partition(":")
    found = cast("Callable[..., Engine]", getattr(import_module(module), class_name))
    return found(work, conf) if name == OURS else found(work)
