"""The shipped feature groups, answered without Spark from a small sample: its ledgers as curate would have left them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from conf.catalogue import load_catalogue
from conf.specs import Source
from synthetic.parameters import Parameters
from synthetic.sample import make_sample
from tests.synthetic.recount import BadRowError, rows_of, typed
from transforms.curated import curated_table
from transforms.feature_group import compile_groups
from transforms.small import answer_rows

ZONE = "Asia/Kuala_Lumpur"
DAY = date(2025, 8, 20)
"""More rows come after it."""
CATALOGUE = load_catalogue()
COMPILED = compile_groups(CATALOGUE, ZONE)
GROUPS = tuple(name for name, group in CATALOGUE.groups.items() if not group.function)


@dataclass(frozen=True)
class Lake:
    """`curated`: every source's rows; `snapshots`: every group's as of `DAY`."""

    curated: Mapping[str, pa.Table]
    snapshots: Mapping[str, pa.Table]


def make_lake(raw: Path) -> Lake:
    """Of 400 customers over two years."""
    assert make_sample(Parameters(customers=400), raw)
    curated = {name: curated_table(source, _kept(raw, source)) for name, source in CATALOGUE.sources.items()}
    return Lake(curated, answer_rows(COMPILED, GROUPS, curated, [DAY]))


def _kept(raw: Path, source: Source) -> list[dict[str, Any]]:
    """Rows that can be read, one of each key and version; whom a personal column names doesn't matter here."""
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in sorted((raw / source.name).glob("*")):
        for read in rows_of(path, source):
            try:
                row = typed(read, source)
            except BadRowError:
                continue
            key = tuple(row[name] for name in (*source.key, *([source.version] if source.version else [])))
            kept.setdefault(key, {name: value for name, value in row.items() if not source.columns[name].personal})
    return list(kept.values())
