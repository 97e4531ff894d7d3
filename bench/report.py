"""What a run of the bench leaves in docs/benchmarks: engine.json, and the same as a table with the method."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from bench.engines import PEERS, PEERS_FOR_LABELS, make
from bench.race import Ratio

_PACKAGES = ("pyspark", "duckdb", "polars", "numpy", "pyarrow", "deltalake")
_METHOD = Path(__file__).with_name("method.md")


def measured(ratio: Ratio) -> dict[str, Any]:
    """A figure as engine.json has it."""
    told = asdict(ratio)
    told["cpu_seconds"] = {"what": list(told.pop("of")), "against": list(told.pop("against_of"))}
    if ratio.unit != "CPU seconds":
        told[ratio.unit] = told.pop("cpu_seconds")
    return {**told, "ratio": round(ratio.ratio, 4), "reached": ratio.reached}


def update(path: Path, ratios: Sequence[Ratio], names: Sequence[str], agreed: Sequence[str]) -> dict[str, Any]:
    """Write the figures of some measurements into engine.json, in the place of those they had; the others stay."""
    before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"ratios": [], "agreed": {}}
    told = [old for old in before["ratios"] if old["measurement"] not in names] + [measured(ratio) for ratio in ratios]
    results = {
        "ratios": told,
        "agreed": sorted({*before["agreed"], *agreed}),
        "versions": versions(),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "processor": platform.machine()},
    }
    path.write_text(json.dumps(results, indent=1) + "\n")
    return results


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def page(results: Mapping[str, Any], order: Sequence[str]) -> str:
    """The table, and how it came about."""
    rows = sorted(results["ratios"], key=lambda ratio: order.index(ratio["measurement"]))
    lines = [
        "# How fast the engine is",
        "",
        "<!-- Written by `make bench`; edit bench/, not this page. -->",
        "",
        _METHOD.read_text().strip(),
        "",
        "| what | against | ratio | at most | reached | CPU seconds | events | `--only` |",
        "|---|---|---|---|---|---|---|---|",
        *map(_row, rows),
        "",
        *[f"- {row['what']} / {row['against']}: {row['note']}." for row in rows if row["note"]],
        "",
        "![The ratios beside their goals](engine.svg)",
        "",
        "## The peers",
        "",
        *[f"- **{name}**: {_tuning(name)}" for name in (*PEERS, *PEERS_FOR_LABELS)],
        "",
        "Compared before anything was timed:",
        "",
        *[f"- {line}" for line in results["agreed"]],
        "",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in results["versions"].items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _row(row: Mapping[str, Any]) -> str:
    unit = "cpu_seconds" if "cpu_seconds" in row else "megabytes"
    runs = row[unit]
    told = " / ".join(f"{median(runs[side]):.1f} ({len(runs[side])})" for side in ("what", "against"))
    told += "" if unit == "cpu_seconds" else " MB"
    goal = "runs" if row["goal"] >= 1000 else f"{row['goal']:g}"
    cells = (
        row["what"],
        row["against"],
        f"**{row['ratio']:.3g}**",
        goal,
        "yes" if row["reached"] else "no",
        told,
        f"{row['sizes']['events']:,}",
        f"`{row['measurement']}`",
    )
    return f"| {' | '.join(cells)} |"


def _tuning(name: str) -> str:
    return make(name, Path(), Path()).tuning
