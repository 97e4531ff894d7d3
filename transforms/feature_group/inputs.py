"""One input of a group: whose its rows are, what is joined to them, and the names that its expressions may use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conf.errors import did_you_mean
from conf.expressions import Expression, column_of
from conf.specs import ColumnType, Input, Source
from conf.yaml_file import Place
from transforms.feature_group.checker import Checker
from transforms.feature_group.compiled import Clock, Settlement
from transforms.feature_group.sql import Sql
from transforms.feature_group.streams import Join, StreamKey, Streams, brought
from transforms.feature_group.tables import Table, table_of

SETTLEMENT: Mapping[str, ColumnType] = {"paid_amount": "money", "paid_at": "timestamp", "last_paid_at": "timestamp"}
ENTITY = Sql.column("_entity")  # where a parent brings it
_VIA = re.compile(r"via\s+(\S+)(?:\s+on\s+(\S+))?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENTITY_TYPES: tuple[ColumnType, ...] = ("string", "integer", "date")


@dataclass(frozen=True)
class InputReader:
    """Checks the expressions of one input. `names`: what they may use beside the table's own columns."""

    checker: Checker
    streams: Streams
    item: Input
    table: Table
    parent: Table | None
    names: Mapping[str, Expression]
    key: StreamKey

    @property
    def own(self) -> dict[str, ColumnType]:
        """The columns that a row has by itself, and by the payments that settle it."""
        return {**self.table.columns, **(SETTLEMENT if self.item.settled_by else {})}

    def expression(self, place: Place, text: str, *, condition: bool = False) -> Expression:
        return self.checker.parse(place, text, self.own, self.names, condition=condition)

    def optional(self, place: Place, text: str | None, *, condition: bool = False) -> Expression | None:
        return None if text is None else self.expression(place, text, condition=condition)

    def moment(self, place: Place, text: str | None) -> Expression | None:
        """A timestamp; a date is the start of that local day."""
        if text is None:
            return None
        found = self.expression(place, text)
        if found.type == "date":
            return self.expression(place, f"start_of_day({text})")
        if found.type != "timestamp":
            raise self.checker.problem(place, f"'{text}' is {found.type}; it must be a timestamp or a date")
        return found

    def text(self, place: Place, text: str, what: str) -> Expression:
        """A value that tells facts apart, as text."""
        found = self.expression(place, text)
        if found.type in ("number", "timestamp"):
            raise self.checker.problem(
                place, f"'{text}' is {found.type}; {what} takes text, whole numbers, money, dates or booleans"
            )
        return found if found.type == "string" else self.expression(place, f"cast({text} as string)")

    def clock(
        self,
        used: Iterable[Expression | None],
        *,
        at: Expression | None = None,
        from_: Expression | None = None,
        until: Expression | None = None,
        daily: bool = False,
    ) -> Clock:
        """The clock of values that are made of the `used` expressions, and of the clock's own."""
        columns = {name for expression in (*used, at, from_, until) if expression for name in expression.columns}
        parent_masks: tuple[str, ...] = ()
        if self.parent:
            wanted = [name for name in self.parent.columns if brought(name) in columns]
            parent_masks = self.parent.masks_of(wanted)
            self.streams.bring(self.key, [*wanted, *parent_masks])
        return Clock(
            at=sql_of(at),
            from_=sql_of(from_),
            until=sql_of(until),
            masks=self.table.masks_of(columns),
            settles=bool(columns & set(SETTLEMENT)) and self.item.settled_by is not None,
            daily=daily,
            parent_masks=parent_masks,
        )


def sql_of(expression: Expression | None) -> Sql | None:
    return Sql.of(expression) if expression else None


def read_input(checker: Checker, streams: Streams, place: Place, item: Input) -> InputReader:
    """Raises DefinitionError for joins that can't be made, and names that are taken or don't parse."""
    table = table_of(item.source, checker.catalogue, checker.zone)
    parent, names = _parent(checker, place, item, table)
    settlement = _settlement(checker, place, item, table)
    own: dict[str, ColumnType] = {**table.columns, **(SETTLEMENT if settlement else {})}
    _check_entity_column(checker, place, item, table, [*own, *names, *item.columns])
    taken = f"'{item.source}'" + (" with what settles it" if settlement else "")
    for name in names:
        if name in own:
            told = f"'{name}' is a column of {taken} already; choose another name"
            raise checker.problem((*place, "parent", "columns", name), told)
    for name, text in item.columns.items():
        spot = (*place, "columns", name)
        if name in own or name in names:
            told = f"a column of {taken}" if name in own else "brought by `parent`"
            raise checker.problem(spot, f"'{name}' is {told} already; choose another name")
        names[name] = checker.parse(spot, text, own, names)
    entity, join = _entity(checker, place, item, table, parent, own, names)
    entity_sql = Sql.of(entity) if entity else ENTITY
    key = StreamKey(checker.group.record_identifier, item.source, entity_sql, join, settlement, table.members)
    if entity and parent:
        streams.bring(key, [name for name in parent.columns if brought(name) in entity.columns])
    return InputReader(checker, streams, item, table, parent, names, key)


# ---- what a parent brings


def _parent(checker: Checker, place: Place, item: Input, table: Table) -> tuple[Table | None, dict[str, Expression]]:
    """The parent's table, and the columns that it brings by the names they have here."""
    if item.parent is None:
        return None, {}
    parent = table_of(item.parent.source, checker.catalogue, checker.zone)
    names = {}
    for name, column in item.parent.columns.items():
        if column not in parent.columns:
            told = f"'{parent.name}' has no column '{column}'{did_you_mean(column, parent.columns)}"
            raise checker.problem((*place, "parent", "columns", name), f"{told}; columns: {', '.join(parent.columns)}")
        names[name] = column_of(brought(column), parent.columns[column])
    return parent, names


def _on(
    checker: Checker, place: Place, item: Input, table: Table, parent: Source, columns: Iterable[str]
) -> tuple[tuple[str, Sql], ...]:
    """SQL over the row's own columns for each of the parent's columns by which it is found."""
    given = item.parent.on if item.parent else {}
    wanted = list(columns)
    for name in given:
        if name not in wanted:
            told = f"'{parent.name}' is found by {', '.join(wanted)}, not by '{name}'{did_you_mean(name, wanted)}"
            raise checker.problem((*place, "parent", "on", name), told)
    found = []
    for name in wanted:
        if name not in given and name not in table.columns:
            spot = (*place, "parent") if item.parent else (*place, "entity")
            told = f"'{table.name}' has no column '{name}', by which '{parent.name}' is found"
            hint = f"say which: parent: {{source: {parent.name}, on: {{{name}: <expression>}}}}"
            raise checker.problem(spot, f"{told}; {hint}; columns: {', '.join(table.columns)}")
        spot = (*place, "parent", "on", name)
        expression = checker.parse(spot, given.get(name, f'"{name}"'), table.columns)
        if expression.type != parent.columns[name].type:
            told = f"'{expression.text}' is {expression.type}, '{name}' of '{parent.name}' is {parent.columns[name].type}"
            raise checker.problem(spot if name in given else place, told)
        found.append((name, Sql.of(expression)))
    return tuple(found)


# ---- whose rows they are


def _entity(
    checker: Checker,
    place: Place,
    item: Input,
    table: Table,
    parent: Table | None,
    own: Mapping[str, ColumnType],
    names: Mapping[str, Expression],
) -> tuple[Expression | None, Join | None]:
    """The entity, None where a join brings it; and the join that it or columns come by."""
    identifier = checker.group.record_identifier
    spot = (*place, "entity") if item.entity else (*place, "source")
    wanted = item.entity or identifier
    if not isinstance(wanted, str):
        if list(wanted) != [identifier]:
            told = f"write whose rows they are as {{{identifier}: …}}: a column, an expression or via <source>"
            raise checker.problem(spot, told)
        wanted = wanted[identifier]
    if wanted.startswith("via "):
        return None, _join_by(checker, place, item, table, wanted)
    join = _join_of_columns(checker, place, item, table)
    expression = checker.parse(spot, wanted, own, names)
    if expression.type not in _ENTITY_TYPES:
        raise checker.problem(spot, f"'{wanted}' is {expression.type}; an entity is text, a whole number or a date")
    later = {name for name in own if name in SETTLEMENT or table.masks.get(name)}
    later |= {brought(name) for name in parent.masks} if parent else set()
    for name in sorted(later & expression.columns):
        told = f"'{name.removeprefix(brought(''))}' is filled in later, so it can't say whose a row is"
        raise checker.problem(spot, told)
    return expression, join


def _join_of_columns(checker: Checker, place: Place, item: Input, table: Table) -> Join | None:
    """The join that brings columns only."""
    if item.parent is None:
        return None
    parent = checker.catalogue.sources[item.parent.source]
    if not item.parent.columns:
        entity = f"(entity: {{{checker.group.record_identifier}: via {parent.name}}})"
        raise checker.problem((*place, "parent"), f"`parent` brings nothing: name `columns`, or bring the entity too {entity}")
    return Join(parent.name, _on(checker, place, item, table, parent, parent.key), None)


def _check_entity_column(checker: Checker, place: Place, item: Input, table: Table, columns: Sequence[str]) -> None:
    """Before what stands on the wrong source: a record identifier that it doesn't have."""
    identifier = checker.group.record_identifier
    wanted = item.entity or identifier
    if isinstance(wanted, str) and _WORD.fullmatch(wanted) and wanted not in columns:
        raise checker.problem(
            (*place, "entity") if item.entity else (*place, "source"),
            f"'{table.name}' has no column '{wanted}' to give the {identifier}; name one (entity: <column>) or a join"
            f" (entity: {{{identifier}: via <source>}}); columns: {', '.join(columns)}",
        )


def _join_by(checker: Checker, place: Place, item: Input, table: Table, text: str) -> Join:
    identifier, spot = checker.group.record_identifier, (*place, "entity")
    match = _VIA.fullmatch(text.strip())
    sources = checker.catalogue.sources
    if match is None:
        raise checker.problem(spot, f"'{text}' is not a join; write via <source>, or via <source> on <column>")
    name, column = match[1], match[2]
    if name not in sources:
        raise checker.problem(spot, f"no source named '{name}'{did_you_mean(name, sources)}; known: {', '.join(sources)}")
    if item.parent and item.parent.source != name:
        told = (
            f"`entity` comes via '{name}' and `parent` is '{item.parent.source}': an input has one join; name one source in both"
        )
        raise checker.problem(spot, told)
    parent = sources[name]
    for wanted in filter(None, (identifier, column)):
        if wanted not in parent.columns:
            told = f"'{name}' has no column '{wanted}'{did_you_mean(wanted, parent.columns)}"
            raise checker.problem(spot, f"{told}; columns: {', '.join(parent.columns)}")
    return Join(name, _on(checker, place, item, table, parent, [column] if column else parent.key), identifier)


# ---- what settles them


def _settlement(checker: Checker, place: Place, item: Input, table: Table) -> Settlement | None:
    spec = item.settled_by
    if spec is None:
        return None
    place = (*place, "settled_by")
    child = table_of(spec.source, checker.catalogue, checker.zone)
    on = []
    for name, text in spec.on.items():
        if name not in child.columns:
            told = f"'{child.name}' has no column '{name}'{did_you_mean(name, child.columns)}"
            raise checker.problem((*place, "on", name), told)
        on.append((name, Sql.of(checker.parse((*place, "on", name), text, table.columns))))
    amount = checker.parse((*place, "amount"), spec.amount, child.columns)
    due = checker.parse((*place, "due"), spec.due, table.columns)
    for name, expression in (("amount", amount), ("due", due)):
        if expression.type not in ("money", "integer"):
            raise checker.problem((*place, name), f"'{expression.text}' is {expression.type}; it must be money")
    where = checker.parse((*place, "where"), spec.where, child.columns, condition=True) if spec.where else None
    used = amount.columns | (where.columns if where else frozenset())
    return Settlement(spec.source, tuple(on), Sql.of(amount), sql_of(where), Sql.of(due), child.masks_of(used))
