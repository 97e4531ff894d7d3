"""Columns made from columns: expressions, segments, encodings and scores; and columns of other groups.

- A plain name is a column of the group, or else the one column of that name among other groups of the same record identifier;
  `group.column` says which. Derived columns may also read `as_of` and `has_history`.
- `segment`: the first band that holds; none: null. `one_hot`: 1 or 0; `other` is every value that isn't listed, null included.
  `label`: the place in the list, from 1; 0 for what isn't listed, null for null. What isn't text is compared as text.
- `score`: base and the points of each part, the first band whose `below` is above the value (the last has none), `missing` points for a
  null; not below the minimum and not above the maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from conf.naming import column_name
from conf.specs import Derived, Score
from conf.windows import Window
from tests.oracle.aggregates import Column
from tests.oracle.sql import Expression, expression, names_in
from tests.oracle.values import text_of

Find = Callable[[str], Column]


class _Asked:
    """An expression over columns, found by name when it is asked."""

    def __init__(self, text: str, find: Find, zone: str) -> None:
        self._columns = {name: find(name) for name in names_in(text)}
        types = {name: column.type for name, column in self._columns.items()}
        self._expression: Expression = expression(text, types, zone)
        self.type = self._expression.type

    def value(self, entity: str) -> Any:
        return self._expression.value({name: column.value(entity) for name, column in self._columns.items()})


def derived_columns(derived: Derived, find: Find, zone: str) -> Iterator[tuple[str, Callable[[], Column]]]:
    """The name of each column of a derived feature, and what makes it (when all other columns' names are known)."""
    for window in derived.windows or (None,):
        for value in (derived.values or ()) if derived.one_hot else (None,):
            name = column_name(derived.name, by_value=value, window=window)
            yield name, lambda name=name, value=value, window=window: _column(derived, name, value, window, find, zone)


def _column(derived: Derived, name: str, value: str | None, window: Window | None, find: Find, zone: str) -> Column:
    def ask(text: str) -> _Asked:
        return _Asked(text if window is None else text.replace("{w}", str(window)), find, zone)

    published = not derived.internal
    if derived.expr is not None:
        asked = ask(derived.expr)
        return Column(name, asked.type, published, asked.value)
    if derived.segment:
        bands = [(band.name, ask(band.when or "true")) for band in derived.segment]
        return Column(name, "string", published, lambda entity: _first_band(bands, entity))
    if derived.one_hot:
        of = ask(derived.one_hot)
        return Column(name, "integer", published, lambda entity: int(_listed(of.value(entity), derived.values) == value))
    if derived.label:
        of = ask(derived.label)
        return Column(name, "integer", published, lambda entity: _label(of.value(entity), derived.values))
    score = derived.score
    parts = [ask(part.of) for part in score.parts]
    return Column(name, "integer", published, lambda entity: _score(score, [part.value(entity) for part in parts]))


def _first_band(bands: list[tuple[str, _Asked]], entity: str) -> str | None:
    return next((name for name, when in bands if when.value(entity) is True), None)


def _listed(value: Any, values: tuple[str, ...]) -> str:
    named = [one for one in values if one != "other"]
    return text_of(value) if value is not None and text_of(value) in named else "other"


def _label(value: Any, values: tuple[str, ...]) -> int | None:
    if value is None:
        return None
    return values.index(text_of(value)) + 1 if text_of(value) in values else 0


def _score(score: Score, values: list[Any]) -> int:
    total = score.base
    for part, value in zip(score.parts, values, strict=True):
        if value is None:
            total += part.missing
            continue
        total += next(band.points for band in part.bands if band.below is None or _exact(value) < _exact(band.below))
    return max(score.minimum, min(score.maximum, total))


def _exact(value: Any) -> Fraction:
    return Fraction(value if isinstance(value, float | int | Decimal) else str(value))
