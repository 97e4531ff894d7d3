"""The shipped feature groups, answered without Spark from a small sample: its ledgers as curate would have left them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from conf.catalogue import load_catalogue
from conf.specs import Source
from synthetic.parameters import Parameters
from synthetic.sample import make_sample
from tests.synthetic.recount import outcomes
from transforms.curated import curated_table
from transforms.feature_group import compile_groups
from transforms.rollups import roll_up
from transforms.small import answer_rows

ZONE = "Asia/Kuala_Lumpur"
DAY = date(2025, 8, 20)
"""More rows come after it."""
CATALOGUE = load_catalogue()
COMPILED = compile_groups(CATALOGUE, ZONE)
GROUPS = tuple(COMPILED.groups)
TAKEN_IN = datetime(2025, 8, 1, tzinfo=UTC)
"""When a row was known whose known time can't be read."""
COUNTED = ("transactions", "statements", "bnpl_plans", "instalments", "payments")
"""Sources of whose delivered rows the catalogue counts how many weren't kept."""


@dataclass(frozen=True)
class Lake:
    """`curated`: every source's rows; `snapshots`: every group's as of `DAY`.

    `delivered`: of COUNTED, what became of each row that was delivered, its customer and account, and its clocks.
    """

    curated: Mapping[str, pa.Table]
    delivered: pa.Table
    snapshots: Mapping[str, pa.Table]


def make_lake(raw: Path) -> Lake:
    """Of 400 customers over two years, with more dirt than the sample has: few rows of 400 customers happened in 30 days."""
    assert make_sample(Parameters(customers=400), raw)
    read = {name: list(_soiled(raw, source)) for name, source in CATALOGUE.sources.items() if source.is_delivered}
    curated = {name: curated_table(CATALOGUE.sources[name], _kept(CATALOGUE.sources[name], rows)) for name, rows in read.items()}
    told = [_told(CATALOGUE.sources[name], outcome, row) for name in COUNTED for outcome, row in read[name]]
    set_aside = [_set_aside(number, row) for number, row in enumerate(told) if row["outcome"] != "kept"]
    curated["set_aside"] = curated_table(CATALOGUE.sources["set_aside"], set_aside)
    delivered = pa.Table.from_pylist(told, schema=_DELIVERED)
    snapshots = answer_rows(COMPILED, GROUPS, curated, [DAY])
    rolled_up = {name: roll_up(group, snapshots, day=DAY, zone=ZONE) for name, group in COMPILED.rollups.items()}
    return Lake(curated, delivered, {**snapshots, **rolled_up})


_DELIVERED = pa.schema(
    {
        **dict.fromkeys(("source", "outcome", "customer_id", "account_id", "plan_id"), pa.string()),
        **dict.fromkeys(("event_time", "known_time"), pa.timestamp("us", tz="UTC")),
    }
)


def _soiled(raw: Path, source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """What became of each row, some of which are repeated or broken; some plans and instalments never came."""
    never_came = {
        "bnpl_plans": lambda number, row: int(row["plan_id"][1:]) % 13 == 0,
        "instalments": lambda number, row: number % 41 == 0,
    }
    for number, (outcome, row) in enumerate(outcomes(raw, source)):
        if outcome != "kept" or source.name not in COUNTED:
            yield outcome, row
            continue
        if source.name in never_came and never_came[source.name](number, row):
            continue
        yield outcome, row
        for kind, every in {"duplicate": 7, "conflict": 31, "invalid": 11}.items():
            if number % every == 0:
                yield kind, row


def _kept(source: Source, rows: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Whom a personal column names doesn't matter here."""
    return [
        {name: value for name, value in row.items() if not source.columns[name].personal}
        for outcome, row in rows
        if outcome == "kept"
    ]


def _told(source: Source, outcome: str, row: dict[str, Any]) -> dict[str, Any]:
    """What can't be read was known when it was taken in, and happened when it was known."""
    event, known = row.get(source.event_time.column), row.get("recorded_at") or TAKEN_IN
    ids = {name: row.get(name) for name in ("customer_id", "account_id", "plan_id")}
    return {"source": source.name, "outcome": outcome, **ids, "event_time": event or known, "known_time": known}


def _set_aside(number: int, told: dict[str, Any]) -> dict[str, Any]:
    """As curate would have written it."""
    return {**{name: value for name, value in told.items() if name != "outcome"}, "kind": told["outcome"], "row_id": str(number)}
