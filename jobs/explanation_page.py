"""An explanation as a page to print: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from jobs.explain import Explanation
from jobs.explanation_text import MEMBER_COLUMNS, checked_words, lines, member_tables, nearest, spans, steps, told

if TYPE_CHECKING:
    from jobs.explained_rollup import Members
    from transforms.by_hand.evidence import Evidence, Explained

_STYLE = resources.files("jobs").joinpath("explanation.css").read_text(encoding="utf-8")


def page_of(explanation: Explanation) -> str:
    """The page: the verdict on top, then each step with its rows; every row names the raw file and line that it came from."""
    number, made = explanation.number, explanation.made_again
    title = f"{number.group.name}.{number.feature} of {number.entity}, {number.when}"
    origin = f"definition {explanation.definition_version}; {number.where}; zone {number.moment.zone}"
    verdict, kind = ("equal", "equal") if explanation.is_equal else ("NOT EQUAL", "different")
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(explanation.definition)}</p>",
        f'<p class="quiet">{escape(origin)}</p>',
        f'<div class="verdict {kind}"><span>value<b>{escape(told(number.value))}</b></span>'
        f"<span>made again from the rows<b>{escape(told(made.value))}</b></span><span>verdict<b>{verdict}</b></span></div>",
        f"<p>{escape(made.note)}</p>" if made.note else "",
        *(part for step in steps(made) for part in _step(step)),
        *(_members(explanation.members) if explanation.members else ()),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _step(step: Explained) -> Iterable[str]:
    yield f"<h2>{escape(step.column)} = {escape(told(step.value))}</h2>"
    if step.definition:
        yield f"<p>from {escape(step.definition)}</p>"
    if step.points:
        kept = sum(not point.reason for point in step.points)
        yield f"<p>{kept} of {len(step.points)} days count: {escape(spans(step))}</p>"
    counted = [row for row in step.evidence if row.counted]
    near = list(nearest(step.evidence))
    if counted:
        yield f"<h3>rows that count ({len(counted):,})</h3>" + _table(counted, "value")
    if near:
        yield f"<h3>rows that don't, and why ({len(near):,} of {len(step.evidence) - len(counted):,})</h3>" + _table(
            near, "why not"
        )


def _members(members: Members) -> Iterable[str]:
    for title, lines_of_members, more in member_tables(members):
        head = "".join(f"<th>{name}</th>" for name in MEMBER_COLUMNS)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in lines_of_members)
        yield f"<h3>{escape(title)}</h3><table><tr>{head}</tr>{body}</table>" + (f"<p>{escape(more)}</p>" if more else "")
    yield f'<p class="{"different" if members.differing else "quiet"}">{escape(checked_words(members))}</p>'


def _table(rows: Sequence[Evidence], last: str) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("source", "key", "version", "happened", "known", last, "raw row", "hash"))
    return f"<table><tr>{head}</tr>{''.join(_line(cells) for row in rows for cells in lines(row))}</table>"


def _line(cells: Sequence[str]) -> str:
    *plain, place, row_hash = cells
    told_plain = "".join(f"<td>{escape(cell)}</td>" for cell in plain)
    origin = "".join(f'<td class="code">{escape(text)}</td>' for text in (place, row_hash))
    return f"<tr>{told_plain}{origin}</tr>"
