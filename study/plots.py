"""One picture a case: the three Ginis, and predicted against observed. The same figures give the same file."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from study.results import CaseResult

_COLOURS = ("#c0392b", "#e59866", "#1f618d")
_MARKS = ("s", "^", "o")


def draw(result: CaseResult, to: Path) -> None:
    """Write the picture of a case; the ending of `to` says in which format."""
    with mpl.rc_context({"svg.hashsalt": result.case.name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        of_gini, of_rates = figure.subplots(1, 2, width_ratios=(1, 1.3))
        for place, (name, told) in enumerate(result.three):
            low, high = told.interval
            of_gini.barh(place, told.gini, color=_COLOURS[place], height=0.6)
            of_gini.errorbar(
                told.gini, place, xerr=[[max(told.gini - low, 0)], [max(high - told.gini, 0)]], color="black", capsize=3
            )
            of_gini.text(max(high, 0) + 0.02, place, f"{told.gini:.2f}", va="center")
            of_rates.plot(
                [band.predicted for band in told.bands],
                [band.observed for band in told.bands],
                color=_COLOURS[place],
                marker=_MARKS[place],
                markersize=4,
                label=name,
            )
        of_gini.set_yticks(range(3), [name for name, _ in result.three])
        of_gini.invert_yaxis()
        of_gini.axvline(0, color="black", linewidth=0.8)
        of_gini.set_xlim(min(0, *(told.interval[0] for _, told in result.three)) - 0.02, 1.15)
        of_gini.set_xlabel("Gini on the test rows, 95 % interval")
        top = 1.05 * max(max(band.predicted, band.observed) for _, told in result.three for band in told.bands)
        of_rates.plot([0, top], [0, top], color="grey", linewidth=0.8, linestyle="--")
        of_rates.set_xlim(0, top)
        of_rates.set_ylim(-0.02 * top, top)
        of_rates.set_xlabel("predicted, mean of a decile")
        of_rates.set_ylabel("observed")
        of_rates.legend(frameon=False, loc="upper left")
        for axes in (of_gini, of_rates):
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(to, metadata={"Date": None} if to.suffix == ".svg" else None)
    if to.suffix == ".svg":  # without the spaces that end lines, which editors take away
        to.write_text("\n".join(line.rstrip() for line in to.read_text().splitlines()) + "\n")
