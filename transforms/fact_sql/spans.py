"""Rows with the spans in which they count: cut where something about them changes, joined again where nothing did.

A span is two columns, instants: a row counts from the first on, up to and not at the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transforms.calendar import FOREVER
from transforms.fact_sql.steps import Steps, Table

Axis = tuple[str, str]
KNOWN: Axis = ("_from", "_until")  # the cut-offs T at which a row is known, and at which it happened
WORLD: Axis = ("_since", "_till")  # on daily clocks: the ends of days at which it holds; and KNOWN says what is known only
ALWAYS = f"cast({int(FOREVER)} as bigint)"
NEVER_YET = f"cast(-{int(FOREVER)} as bigint)"


OPENS = "_span.opens"  # in what `cut` makes anew: where the new span begins


def cut(steps: Steps, table: Table, axis: Axis, moments: str, *, name: str, made: Mapping[str, str] | None = None) -> Table:
    """Rows out: one a row and span between the `moments` (SQL of a list of instants) at which it changes.

    `made`: columns that change with the span, by what they are where it begins (`OPENS`).
    """
    opens, closes = axis
    inside = steps.dialect.filter(moments, "x", f"x is not null and x > {opens} and x < {closes}")
    starts = f"array_sort(array_distinct({steps.dialect.concat(steps.dialect.list(opens), inside)}))"
    started = steps.select(table, made={"_starts": starts}, name=name)
    spans = steps.dialect.explode(steps.dialect.spans("_starts", closes))
    exploded = steps.select(started, table.columns, {"_span": spans}, name=name)
    return steps.select(exploded, table.columns, {opens: OPENS, closes: "_span.closes", **(made or {})}, name=name)


def mask(steps: Steps, table: Table, mutable: Mapping[str, Sequence[str]], masks: Sequence[str], axis: Axis) -> Table:
    """Cuts rows where a mutable timestamp passes, and blanks it and what it settles until then."""
    if not masks:
        return table
    dialect = steps.dialect
    passed = {name: dialect.micros(dialect.name(name)) for name in masks}
    moments = dialect.list(*(f"{moment} + 1" for moment in passed.values()))
    conditions: dict[str, list[str]] = {}
    for name in masks:
        for column in dict.fromkeys((name, *mutable[name])):
            conditions.setdefault(column, []).append(f"{passed[name]} < {OPENS}")
    visible = {
        column: f"case when {' and '.join(found)} then {dialect.name(column)} end"
        for column, found in conditions.items()
        if column in table.columns
    }
    return cut(steps, table, axis, moments, name="masked", made=visible)


def join_spans(steps: Steps, table: Table, axis: Axis, *, by: Sequence[str], same: Sequence[str]) -> Table:
    """Joins spans that follow one another without a gap and say the same; of other columns the first one's value is kept.

    Rows out: at most as many.
    """
    opens, closes = axis
    dialect = steps.dialect
    window = f"partition by {steps.names(by)} order by {opens}"
    alike = " and ".join(
        f"lag({dialect.name(column)}) over w is not distinct from {dialect.name(other)}"
        for column, other in ((closes, opens), *((column, column) for column in same))
    )
    made = {
        "_begins": f"not ({alike})",
        "_before": f"lag({closes}) over w",  # where the span before it ends
        "_last": f"last_value({closes}) over ({window} rows between unbounded preceding and unbounded following)",
    }
    begun = steps.select(table, made=made, window=window, name="begun")
    firsts = steps.select(begun, where="_begins", name="firsts")
    return steps.select(firsts, table.columns, {closes: "coalesce(lead(_before) over w, _last)"}, window=window, name="joined")
