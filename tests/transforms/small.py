"""Facts and queries of a few rows, and what an operation says of them; without Spark."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from conf.windows import Window
from transforms.asked import Asked, answer_each
from transforms.calendar import FOREVER, cut_off, day_number
from transforms.kernel import Facts, Queries, Values
from transforms.operations import Answer, build_operation
from transforms.timeline import Timeline

ZONE = "Asia/Kuala_Lumpur"
DAY = 86_400_000_000
D = date(2025, 6, 30)
T = cut_off(D, ZONE)


def values_of(type_: str, *cells: Any) -> Values:
    """Numbers, days and instants as the kernel has them; texts and None as they are."""
    present = np.array([cell is not None for cell in cells], dtype=np.bool_)
    words: tuple[str, ...] = ()
    if type_ == "string":
        words = tuple(sorted({cell for cell in cells if cell is not None}))
        cells = tuple(None if cell is None else words.index(cell) for cell in cells)
    dtype = {"number": np.float64, "boolean": np.bool_}.get(type_, np.int64)
    return Values(type_, np.array([0 if cell is None else cell for cell in cells], dtype=dtype), present, words)


def facts_of(*rows: tuple, type_: str = "integer", **more: tuple[str, int]) -> Facts:
    """Rows of (entity, days before T at which it counts, value or None[, valid from, valid until]); oldest first.

    `more`: further values of each row, by name: their type and their place in the row, counted from the end.
    """
    places = {place for _, place in more.values()}
    core = [tuple(cell for n, cell in enumerate(row) if n - len(row) not in places) for row in rows]
    at = [T - round(row[1] * DAY) for row in core]
    validity = [row[3:] or (a + 1, FOREVER) for row, a in zip(core, at, strict=True)]
    values = {"v": values_of(type_, *(row[2] for row in core))}
    values |= {name: values_of(kind, *(row[place] for row in rows)) for name, (kind, place) in more.items()}
    entity, valid_from, valid_until = [row[0] for row in core], [v[0] for v in validity], [v[1] for v in validity]
    return Facts(*(np.array(column, dtype=np.int64) for column in (entity, at, valid_from, valid_until)), values)


def queries_of(*entities: int, days: tuple[date, ...] = (D,), zone: str = ZONE) -> Queries:
    return Queries(
        np.repeat(np.array(entities, dtype=np.int64), len(days)),
        np.array([day_number(day) for _ in entities for day in days]),
        np.array([cut_off(day, zone) for _ in entities for day in days]),
    )


def told(answer: Answer, values: Values) -> list[Any]:
    """Answers as Python values: texts for strings, None for null."""
    words = values.words if answer.words is None else answer.words
    named = answer.words is not None or (bool(words) and answer.data.dtype.kind == "i")
    cells = [words[cell] if named and there else cell for cell, there in zip(answer.data.tolist(), answer.present, strict=True)]
    return [cell if there else None for cell, there in zip(cells, answer.present, strict=True)]


def ask(
    op: str,
    facts: Facts,
    window: str = "7d",
    *,
    queries: Queries | None = None,
    with_: Mapping[str, str] | None = None,
    weight: str | None = None,
    newest_per: str | None = None,
    map_by: str | None = None,
    **options: Any,
) -> list[Any]:
    """The answer for each query (of entities 0 and 1 at T, when none are given)."""
    timeline = Timeline(facts, queries if queries is not None else queries_of(0, 1), ZONE)
    named = {name: timeline.facts.values[name] if name else None for name in (weight, newest_per, map_by)}
    values = timeline.facts.values["v"]
    operation = build_operation(op, with_ or {})
    asked = Asked(operation, values, named[weight], named[newest_per], named[map_by])
    [answer] = answer_each(timeline.select(Window.parse(window), **options), [asked])
    of_words = values if operation.type_of(values.type) == "string" else values_of("integer")
    return told(answer, of_words)
