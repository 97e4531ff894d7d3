"""Two ledgers and two groups that fit on a screen, commits of the ledgers written by hand, and a conf folder of the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source
from stores.lake import Lake
from transforms.calendar import microseconds
from transforms.feature_group import Compiled, compile_groups

ZONE = "Asia/Kuala_Lumpur"

PLANS: dict[str, Any] = {
    "name": "plans",
    "format": "csv",
    "location": "plans/*.csv",
    "key": ["plan_id"],
    "event_time": "created_at",
    "known_time": "recorded_at",
    "columns": {
        "plan_id": {"type": "string", "required": "true"},
        "customer_id": {"type": "string", "required": "true"},
        "amount": {"type": "money"},
        "created_at": {"type": "timestamp", "required": "true"},
        "recorded_at": {"type": "timestamp", "required": "true"},
    },
}
FEES: dict[str, Any] = {
    "name": "fees",
    "format": "csv",
    "location": "fees/*.csv",
    "key": ["fee_id"],
    "event_time": "charged_at",  # and no known time
    "columns": {
        "fee_id": {"type": "string", "required": "true"},
        "customer_id": {"type": "string", "required": "true"},
        "amount": {"type": "money"},
        "charged_at": {"type": "timestamp", "required": "true"},
    },
}
PLANS_DAILY: dict[str, Any] = {
    "name": "customer_plans",
    "record_identifier": "customer_id",
    "spine": "plans",
    "inputs": [
        {
            "source": "plans",
            "aggregates": [
                {"name": "plan_count", "op": "count", "windows": ["7d", "30d"]},
                {"name": "plan_amount_sum", "op": "sum", "of": "amount", "windows": ["7d"]},
            ],
        }
    ],
}
FEES_WEEKLY: dict[str, Any] = {
    "name": "customer_fees",
    "schedule": "weekly",
    "record_identifier": "customer_id",
    "spine": "fees",
    "inputs": [{"source": "fees", "aggregates": [{"name": "fee_sum", "op": "sum", "of": "amount", "windows": ["30d"]}]}],
}


def catalogue_of(*groups: dict[str, Any]) -> tuple[Catalogue, Compiled]:
    sources = {item["name"]: Source.model_validate(item) for item in (PLANS, FEES)}
    catalogue = Catalogue(sources, {item["name"]: FeatureGroup.model_validate(item) for item in groups})
    return catalogue, compile_groups(catalogue, ZONE)


def write_conf(folder: Path, *groups: dict[str, Any]) -> Path:
    """The same as files, for `--conf`."""
    for kind, items in (("sources", (PLANS, FEES)), ("feature_groups", groups)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for item in items:
            (folder / kind / f"{item['name']}.yaml").write_text(yaml.safe_dump(item, sort_keys=False))
    return folder


def took_in(lake: Lake, source: str, effects: Sequence[str]) -> None:
    """A curated ledger's commits, one an effect (the earliest cut-off that sees a row of it); files `<source>/<number>.csv`."""
    commits = [
        {
            "version": number,
            "run_id": f"run-{number}",
            "files": [{"path": f"{source}/{number}.csv", "size": 1, "tag": "t", "fingerprint": "f"}],
            "counts": {"kept": 1},
            "earliest_effect": microseconds(datetime.fromisoformat(effect)),
            "partitions": ["2025-09"],
        }
        for number, effect in enumerate(effects)
    ]
    index = {"version": len(commits) - 1, "commits": commits}
    lake.storage.write(f"curated/{source}.commits.json", json.dumps(index).encode())
    for number in range(len(commits)):
        lake.storage.write(f"curated/{source}/_delta_log/{number:020d}.json", b"{}")
