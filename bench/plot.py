"""One picture: every ratio beside its goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_REACHED, _MISSED = "#1f618d", "#c0392b"


def draw(results: Mapping[str, Any], order: Sequence[str], to: Path) -> None:
    """Write the picture; the ending of `to` says in which format. A bar that ends left of the line reaches its goal."""
    rows = [row for row in results["ratios"] if row["goal"] < 1000]
    rows.sort(key=lambda row: order.index(row["measurement"]), reverse=True)
    with mpl.rc_context({"svg.hashsalt": "engine", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8}):
        figure = Figure(figsize=(9, 0.32 * len(rows) + 1), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            share = row["ratio"] / row["goal"]
            axes.barh(place, share, color=_REACHED if row["reached"] else _MISSED, height=0.6)
            axes.text(share * 1.03, place, f"{row['ratio']:.3g} (at most {row['goal']:g})", va="center")
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.margins(x=0.25)
        axes.set_xlim(right=5 * max(row["ratio"] / row["goal"] for row in rows))  # room for the words beside
        axes.set_yticks(range(len(rows)), [f"{row['what']} / {row['against']}" for row in rows])
        axes.set_xlabel("ratio of CPU seconds over its goal")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(to, metadata={"Date": None} if to.suffix == ".svg" else None)
    if to.suffix == ".svg":  # without the spaces that end lines, which editors take away
        to.write_text("\n".join(line.rstrip() for line in to.read_text().splitlines()) + "\n")
