"""docs/study.md, from the figures."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from study.metrics import Band
from study.results import CaseResult
from study.scorecard import BANDS, PENALTY

_COUNTS = ("labels", "rows", "unripe", "rejected", "duplicates", "without_history")


def page(results: Sequence[CaseResult]) -> str:
    lines = [_text("opening.md"), "## In short", "", *_summary(results), ""]
    lines += [_in_words(result) for result in results]
    for result in results:
        lines += ["", *_case(result)]
    lines += ["", _text("method.md"), "## What it ran on", "", *_ran_on(results)]
    return "\n".join(lines) + "\n"


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").format(bands=BANDS, penalty=PENALTY)


def _summary(results: Sequence[CaseResult]) -> list[str]:
    lines = ["| Gini on test rows | promised by leakage | delivered by it | point in time |", "|---|---|---|---|"]
    for result in results:
        ginis = " | ".join(f"{told.gini:.3f} ({told.interval[0]:.3f} to {told.interval[1]:.3f})" for _, told in result.three)
        lines.append(f"| {result.case.title} | {ginis} |")
    return lines


def _in_words(result: CaseResult) -> str:
    promised, delivered, ours = result.promised, result.delivered, result.ours
    return (
        f"- **{result.case.title}** Leakage promised a Gini of {promised.gini:.3f} and delivered {delivered.gini:.3f}, "
        f"{_against(delivered.gini - ours.gini)} the {ours.gini:.3f} of features of their time"
        f"{_overlap(delivered.interval, ours.interval)}. In use it would have predicted {delivered.predicted:.1%} on average "
        f"where {delivered.observed:.1%} came true; point in time, {ours.predicted:.1%}."
    )


def _against(difference: float) -> str:
    if abs(difference) < 0.0005:
        return "the same as"
    return f"{abs(difference):.3f} {'more' if difference > 0 else 'less'} than"


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> str:
    return " (their intervals overlap: it may be chance)" if one[0] <= other[1] and other[0] <= one[1] else ""


def _case(result: CaseResult) -> list[str]:
    case = result.case
    lines = [
        f"## {case.title}",
        "",
        case.told,
        "",
        case.cut,
        "",
        _rows_in_words(result),
        "",
        f"![The three Ginis, and predicted against observed](study/{case.name}.svg)",
        "",
        "| | Gini | predicted | observed | calibration error | PSI of the score |",
        "|---|---|---|---|---|---|",
    ]
    for name, told in result.three:
        lines.append(
            f"| {name} | {told.gini:.3f} | {told.predicted:.1%} | {told.observed:.1%} | {told.error:.1%} | {told.stability:.3f} |"
        )
    lines += ["", "By decile of the prediction, lowest first: rows, predicted, observed.", ""]
    lines += ["| | " + " | ".join(name for name, _ in result.three) + " |", "|---|---|---|---|"]
    for place in range(max(len(told.bands) for _, told in result.three)):
        cells = [_band(told.bands[place]) if place < len(told.bands) else "" for _, told in result.three]
        lines.append(f"| {place + 1} | {' | '.join(cells)} |")
    return lines


def _rows_in_words(result: CaseResult) -> str:
    rows = result.rows
    sides = [
        f"{name}: {side.outcome.size:,} rows of {len(side.entities):,} entities, {side.outcome.mean():.1%} of them bad"
        for name, side in (("Training", rows.train), ("test", rows.test))
    ]
    both = len(rows.train.entities & rows.test.entities)
    counts = ", ".join(f"{rows.counts[name]:,} {name.replace('_', ' ')}" for name in _COUNTS)
    return (
        f"Training set `{result.case.name}` with {len(rows.features)} features of `{result.case.group}`: {counts}. "
        f"{'; '.join(sides)}; {both:,} entities are on both sides."
    )


def _band(band: Band) -> str:
    return f"{band.rows:,}: {band.predicted:.1%}, {band.observed:.1%}"


def _ran_on(results: Sequence[CaseResult]) -> list[str]:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "numpy", "scipy", "matplotlib"))
    lines = [
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}; {libraries}. Files, uncompressed:",
        "",
    ]
    files = {(result.case.data, name): digest for result in results for name, digest in result.case.files.items()}
    lines += [f"- `{data}/{name}`, SHA-256 `{digest}`" for (data, name), digest in files.items()]
    return [*lines, "", "The same files give the same page, byte for byte; other files are refused."]
