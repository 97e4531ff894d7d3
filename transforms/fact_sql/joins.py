"""What other sources' rows bring to a row: a parent its columns or the entity, payments what they settle."""

from __future__ import annotations

from transforms.fact_sql.rows import KEY, Rows
from transforms.fact_sql.spans import KNOWN, NEVER_YET, OPENS, WORLD, Axis, cut, join_spans, mask
from transforms.fact_sql.steps import Table
from transforms.feature_group import Parent, Settlement

ENTITY = "_entity"
MATCH = "_match_"  # the primary key of the parent's row
_MONEY = "decimal(28,2)"
_BROUGHT: dict[str, str] = {name: f"_bring{name}" for name in (*KNOWN, *WORLD)}


def by_other_columns(parent: Parent, rows: Rows) -> bool:
    """Whether a row may have several parents: they are found by other columns than their primary key."""
    return {column for column, _ in parent.on} != set(rows.sources[parent.source].key)


def join_parent(rows: Rows, table: Table, parent: Parent, masks: tuple[str, ...], *, daily: bool) -> Table:
    """Joins what the parent's version that counts brings.

    Rows out: one a row and span in which one parent says the same. Where the parent brings the entity, rows without one are left
    out; elsewhere `columns` are null while none counts. Which parent there is, is judged at T on daily clocks too.
    """
    steps = rows.steps
    dialect = steps.dialect
    axes = (KNOWN, WORLD) if daily else (KNOWN,)
    links = {f"_link_{place}": f"({dialect.sql(sql)})" for place, (_, sql) in enumerate(parent.on)}
    keyed = steps.select(table, made=links, name="linked")
    spans = _brought(rows.linked_to(keyed, parent.source, [column for column, _ in parent.on]), parent, masks, axes)
    on = " and ".join(f"_link_{place} = _on_{place}" for place in range(len(parent.on)))
    kept = [column for column in spans.columns if not column.startswith(("_on_", "_bring_"))]
    made = {}
    for opens, closes in axes:
        made[opens] = f"greatest({opens}, {_BROUGHT[opens]})"
        made[closes] = f"least({closes}, {_BROUGHT[closes]})"
    how = "inner" if parent.entity else "left"
    joined = steps.select(keyed, [*table.columns, *kept], made, join=f" {how} join {spans.name} on {on}", name="with_parent")
    some = " and ".join(f"{opens} < {closes}" for opens, closes in axes)
    return steps.select(joined, where=some, name="with_parent")


def _brought(rows: Rows, parent: Parent, masks: tuple[str, ...], axes: tuple[Axis, ...]) -> Table:
    """The parent's spans: what it is found by (`_on_0`, …), its columns by their names here, its entity, its key."""
    steps = rows.steps
    dialect = steps.dialect
    source = rows.sources[parent.source]
    versions = rows.versions(source, daily=WORLD in axes, always=True)
    given = dict(parent.columns)
    if parent.entity:
        given[ENTITY] = parent.entity
    else:
        versions = _from_the_beginning(rows, versions, source.name)
    masked = mask(steps, versions, source.mutable, masks, axes[-1])
    made = {f"_on_{place}": dialect.name(column) for place, (column, _) in enumerate(parent.on)}
    made |= {f"{MATCH}{place}": dialect.name(column) for place, column in enumerate(source.key)}
    there = f"_there <= {KNOWN[0]}"
    for name, column in given.items():
        made[name] = dialect.name(column) if parent.entity else f"case when {there} then {dialect.name(column)} end"
    kept = [column for axis in axes for column in axis]
    told = steps.select(masked, kept, made, name="parent")
    match = [f"{MATCH}{place}" for place in range(len(source.key))]
    same = [*given, *(name for name in made if name.startswith("_on_"))]
    for axis in axes:
        others = [column for other in axes if other != axis for column in other]
        told = join_spans(steps, told, axis, by=[*match, *others], same=same)
    return steps.select(told, made, {_BROUGHT[column]: column for column in kept}, name="brought")


def _from_the_beginning(rows: Rows, versions: Table, name: str) -> Table:
    """The first version reaches back to the beginning, so that there is a span before it counts (`_there`)."""
    steps = rows.steps
    source = rows.sources[name]
    first = "true"
    window = None
    if source.version is not None:
        first = f"lag({KNOWN[0]}) over w is null"
        window = f"partition by {steps.names(source.key)} order by {KNOWN[0]}"
    made = {"_there": KNOWN[0], KNOWN[0]: f"case when {first} then {NEVER_YET} else {KNOWN[0]} end"}
    reaching = steps.select(versions, made=made, window=window, name=name)
    return cut(steps, reaching, KNOWN, steps.dialect.list("_there"), name=name)


def settle(rows: Rows, table: Table, settlement: Settlement, *, daily: bool) -> Table:
    """Adds `paid_amount`, `paid_at` and `last_paid_at` from the payments that count.

    Rows out: one a row and span in which the same payments count; on daily clocks, that have happened by a day's end.
    """
    steps = rows.steps
    dialect = steps.dialect
    linked = _with_children(rows, table, settlement, daily=daily)
    moments = _moments(rows, "_children", "c.opens", "c.closes", KNOWN[0])
    counting = dialect.filter("_children", "c", f"c.opens <= {OPENS} and {OPENS} < c.closes")
    spans = cut(steps, linked, KNOWN, moments, name="known", made={"_children": counting})
    if daily:
        moments = _moments(rows, "_children", "c.since", "c.till", WORLD[0])
        happened = dialect.filter("_children", "c", f"c.since <= {OPENS} and {OPENS} < c.till")
        spans = cut(steps, spans, WORLD, moments, name="happened", made={"_children": happened})
    none = "cast(null as bigint)"
    payment = dialect.struct({"total": f"cast(coalesce(c.amount, 0) as {_MONEY})", "reached": none, "last": "c.event"})
    total = "a.total + x.total"
    after = {
        "total": f"cast({total} as {_MONEY})",
        "reached": f"coalesce(a.reached, case when {total} >= _due then x.last end)",
        "last": "greatest(a.last, x.last)",
    }
    start = dialect.struct({"total": f"cast(0 as {_MONEY})", "reached": none, "last": none})
    paid = dialect.fold(dialect.transform("_children", "c", payment), start, dialect.struct(after))
    folded = steps.select(spans, made={"_paid": paid}, name="paid")
    made = {
        "paid_amount": "cast(coalesce(_paid.total, 0) as decimal(18,2))",
        "paid_at": dialect.moment("_paid.reached"),
        "last_paid_at": dialect.moment("_paid.last"),
    }
    return steps.select(folded, table.columns, made, name="settled")


def _moments(rows: Rows, items: str, opens: str, closes: str, otherwise: str) -> str:
    """The moments at which items come and go; `otherwise` alone where there is no list of them."""
    dialect = rows.steps.dialect
    return f"coalesce(flatten({dialect.transform(items, 'c', dialect.list(opens, closes))}), {dialect.list(otherwise)})"


def _with_children(rows: Rows, table: Table, settlement: Settlement, *, daily: bool) -> Table:
    """Adds `_children`, the payments of each row, oldest first, with their spans; and `_due`. Row count unchanged."""
    steps = rows.steps
    dialect = steps.dialect
    links = {f"_link_{place}": f"({dialect.sql(sql)})" for place, (_, sql) in enumerate(settlement.on)}
    links["_due"] = f"cast(({dialect.sql(settlement.due)}) as {_MONEY})"
    keyed = steps.select(table, made=links, name="linked")
    paying = rows.linked_to(keyed, settlement.source, [column for column, _ in settlement.on])
    children = paying.read(settlement.source, (), settlement.masks, daily=daily)
    event, known = dialect.micros("_event_time"), dialect.micros("_known_time")
    keys = [column for column in children.columns if column.startswith(KEY)]
    fields = {
        "event": event,
        "known": f"coalesce({known}, {event})",
        "key": dialect.struct({column: column for column in keys}),
        "amount": f"cast(({dialect.sql(settlement.amount)}) as {_MONEY})",
        "opens": KNOWN[0],
        "closes": KNOWN[1],
    }
    fields |= {"since": WORLD[0], "till": WORLD[1]} if daily else {}
    made = {f"_on_{place}": dialect.name(column) for place, (column, _) in enumerate(settlement.on)}
    made["_child"] = dialect.struct(fields)
    where = dialect.sql(settlement.where) if settlement.where else None
    told = steps.select(children, [], made, where=where, name="payment")
    names = [f"_on_{place}" for place in range(len(settlement.on))]
    grouped = steps.select(told, names, {"_children": dialect.gathered("_child")}, group_by=names, name="payments")
    on = " and ".join(f"_link_{place} = _on_{place}" for place in range(len(settlement.on)))
    kept = [*table.columns, "_due", "_children"]
    return steps.select(keyed, kept, join=f" left join {grouped.name} on {on}", name="with_payments")
