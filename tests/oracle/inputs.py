"""The facts of one input: its source's rows with what a parent and payments bring, under the entities that they belong to.

- `entity: {customer_id: via accounts}`: the row of accounts that counts at T and whose key equals this row's columns of the same
  names (or `parent.on`) gives `customer_id`. No such row, or a null in it: the row belongs to nobody and counts nowhere, not even
  in `has_history`. `via accounts on customer_id`: every account with the row's `customer_id`; one fact each.
- `parent` brings the named columns of the row with that key, nulls without one. Which parent rows there are is known at T; their
  mutable columns read as those of the row's own do.
- Anything else under `entity` is an expression over all the columns; null belongs to nobody.
- `settled_by` reads the source's own columns in `on` and `due`. A null amount adds nothing and a null `due` is never reached; a
  `due` of 0 is reached by the first payment, and without one not at all. Payments count that happened before the moment of reading.
- `columns` are named one after the other; each may use those before it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conf.specs import Input, SettledBy
from tests.oracle.ledger import Ledger, Row
from tests.oracle.sql import Expression, expression
from tests.oracle.values import text_of, zero

_VIA = re.compile(r"via\s+(\w+)(?:\s+on\s+(\w+))?")
Fill = Callable[[Row], dict[str, Any]]


@dataclass(frozen=True)
class Via:
    """A join that brings the entity: the parent's source, and by which of its columns when not by its key."""

    source: str
    on: str | None

    @classmethod
    def parse(cls, text: str) -> Via | None:
        match = _VIA.fullmatch(text.strip())
        return cls(match[1], match[2]) if match else None


class Facts:
    """The rows of an input by entity, as they read at any moment up to T."""

    def __init__(self, item: Input, record_identifier: str, ledger: Ledger) -> None:
        self._item, self._ledger = item, ledger
        self._identifier = record_identifier
        self._expressions: dict[str, Expression] = {}
        self.types = ledger.types(item.source)
        self._parent_links = self._links_to_parent()
        for name, column in item.parent.columns.items() if item.parent else ():
            self.types[name] = ledger.types(item.parent.source)[column]
        if item.settled_by:
            self.types |= _settled_types(item.settled_by, ledger)
        for name, text in item.columns.items():
            self._expressions[name] = self.expression(text)
            self.types[name] = self._expressions[name].type
        self._entity_sql, self._via = self._entity()
        self._read: dict[datetime, dict[str, list[Row]]] = {}

    def expression(self, text: str) -> Expression:
        """An expression over the columns known so far."""
        return expression(text, self.types, self._ledger.moment.zone)

    def of(self, entity: str, read: datetime | None = None) -> Sequence[Row]:
        """An entity's rows that count at T and happened before `read`, as they read then (default: T)."""
        return self._by_entity(read or self._ledger.moment.cutoff).get(entity, ())

    def entities(self) -> list[str]:
        """Whose facts there are at T."""
        return list(self._by_entity(self._ledger.moment.cutoff))

    def _by_entity(self, read: datetime) -> Mapping[str, Sequence[Row]]:
        if read not in self._read:
            by_entity = defaultdict(list)
            for entity, row in self._rows(read):
                if row.event < read:
                    by_entity[entity].append(row)
            self._read[read] = by_entity
        return self._read[read]

    def _rows(self, read: datetime) -> Iterator[tuple[str, Row]]:
        settle = _settlement(self._item, self._ledger, read)
        parent = self._item.parent
        parents = self._by_key(parent.source, read) if parent else {}
        for row in self._ledger.at(self._item.source, read):
            values = {**row.values, **settle(row)}
            if parent:
                found = parents.get(tuple(link.value(row.values) for link in self._parent_links))
                values |= {name: found.values[column] if found else None for name, column in parent.columns.items()}
            for name, named in self._expressions.items():
                values[name] = named.value(values)
            for entity in self._entities_of(values, read):
                if entity is not None:
                    yield text_of(entity), Row(row.event, row.known, row.key, values)

    def _entity(self) -> tuple[Expression | None, tuple[str, Via] | None]:
        entity = self._item.entity
        if not isinstance(entity, Mapping):
            return self.expression(entity or self._identifier), None
        ((brought, text),) = entity.items()
        via = Via.parse(text)
        return (None, (brought, via)) if via else (self.expression(text), None)

    def _entities_of(self, values: Mapping[str, Any], read: datetime) -> list[Any]:
        if self._entity_sql:
            return [self._entity_sql.value(values)]
        brought, via = self._via
        if via.on:
            rows = self._ledger.at(via.source, read)
            return [r.values[brought] for r in rows if values[via.on] is not None and r.values[via.on] == values[via.on]]
        links = self._parent_links if self._item.parent and self._item.parent.source == via.source else None
        key = self._ledger.sources[via.source].key
        wanted = tuple(link.value(values) for link in links) if links else tuple(values[name] for name in key)
        found = self._by_key(via.source, read).get(wanted)
        return [found.values[brought]] if found else []

    def _by_key(self, source: str, read: datetime) -> dict[tuple[Any, ...], Row]:
        return {row.key: row for row in self._ledger.at(source, read)}

    def _links_to_parent(self) -> list[Expression]:
        """One expression over the row's columns for each key column of the parent."""
        parent = self._item.parent
        if parent is None:
            return []
        return [self.expression(parent.on.get(column, column)) for column in self._ledger.sources[parent.source].key]


def _settled_types(settled: SettledBy, ledger: Ledger) -> dict[str, str]:
    amount = expression(settled.amount, ledger.types(settled.source), ledger.moment.zone)
    return {"paid_amount": amount.type, "paid_at": "timestamp", "last_paid_at": "timestamp"}


def _settlement(item: Input, ledger: Ledger, read: datetime) -> Fill:
    """What `settled_by` adds to a row, of the payments that happened before `read`."""
    settled = item.settled_by
    if settled is None:
        return lambda parent: {}
    zone, types, child_types = ledger.moment.zone, ledger.types(item.source), ledger.types(settled.source)
    amount = expression(settled.amount, child_types, zone)
    where = expression(settled.where or "true", child_types, zone)
    due = expression(settled.due, types, zone)
    links = [expression(text, types, zone) for text in settled.on.values()]
    paying = [row for row in ledger.at(settled.source, read) if row.event < read and where.value(row.values) is True]
    children: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for child in sorted(paying, key=lambda row: row.order):
        children[tuple(child.values[name] for name in settled.on)].append(child)

    def settle(parent: Row) -> dict[str, Any]:
        link = tuple(link.value(parent.values) for link in links)
        owed, paid, paid_at, last = due.value(parent.values), zero(amount.type), None, None
        for child in children.get(link, []) if None not in link else []:
            paid += amount.value(child.values) or 0
            last = child.event
            if paid_at is None and owed is not None and paid >= owed:
                paid_at = child.event
        return {"paid_amount": paid, "paid_at": paid_at, "last_paid_at": last}

    return settle
