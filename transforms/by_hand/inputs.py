"""The rows of one input as they read for one entity: versions, brought columns, settlement, named expressions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from conf.catalogue import Catalogue
from conf.expressions import Expression, parse, parse_condition
from conf.specs import ColumnType, FeatureGroup, Input, SettledBy, Source
from transforms.by_hand.history import judge_versions, settle_mutable, sort_key
from transforms.by_hand.rows import CLOCKS, Ledgers, Row, evaluate

SETTLEMENT: Mapping[str, ColumnType] = {"paid_amount": "money", "paid_at": "timestamp", "last_paid_at": "timestamp"}


@dataclass(frozen=True)
class InputRow:
    """A row as an input's expressions read it; `origin` is the curated row. `reason`: why it can't count, empty when it may.

    `beside`: the curated rows of other ledgers that were read with it, a parent's and those that pay it off, with their sources.
    """

    values: Row
    origin: Row
    source: Source
    reason: str = ""
    beside: tuple[tuple[Source, Row], ...] = ()


@dataclass(frozen=True)
class InputReader:
    """One input of a feature group. `zone`: of local days in its expressions."""

    catalogue: Catalogue
    group: FeatureGroup
    item: Input
    zone: str
    ledgers: Ledgers
    end: str = "the cut-off"

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        """The sources that its rows come from: one, or the members of a union."""
        union = self.catalogue.unions.get(self.item.source)
        names = list(union.union_of) if union else [self.item.source]
        return {name: self.catalogue.sources[name] for name in names}

    @cached_property
    def own_types(self) -> dict[str, ColumnType]:
        """The columns of the source or union, and the clocks."""
        types: dict[str, ColumnType] = {}
        for source in self.sources.values():
            types |= {name: expression.type for name, expression in self._of_member(source).items()}
        return types | dict(CLOCKS)

    @cached_property
    def types(self) -> dict[str, ColumnType]:
        """Every column that the input's expressions may name."""
        types = dict(self.own_types)
        if self.item.parent:
            parent = self.catalogue.sources[self.item.parent.source]
            types |= {name: parent.columns[column].type for name, column in self.item.parent.columns.items()}
        if self.item.settled_by:
            types |= SETTLEMENT
        for name, text in self.item.columns.items():
            types[name] = parse(text, types, zone=self.zone).type
        return types

    @cached_property
    def _members(self) -> dict[str, dict[str, Expression]]:
        return {}

    def _of_member(self, source: Source) -> dict[str, Expression]:
        """The columns that a source has here, as expressions over its own."""
        if source.name not in self._members:
            self._members[source.name] = self._told_by(source)
        return self._members[source.name]

    def _told_by(self, source: Source) -> dict[str, Expression]:
        own: dict[str, ColumnType] = {name: column.type for name, column in source.columns.items()} | dict(CLOCKS)
        union = self.catalogue.unions.get(self.item.source)
        kept = [name for name, column in source.columns.items() if column.personal != "drop"]
        texts = union.union_of[source.name] if union else {name: f'"{name}"' for name in kept}
        return {name: parse(text, own, zone=self.zone) for name, text in texts.items()}

    def condition(self, text: str) -> Expression:
        return parse_condition(text, self.types, zone=self.zone)

    def expression(self, text: str) -> Expression:
        return parse(text, self.types, zone=self.zone)

    @cached_property
    def _seen(self) -> dict[tuple[str, datetime, datetime], list[InputRow]]:
        return {}

    def rows(self, entity: str, *, known_at: datetime, moment: datetime) -> list[InputRow]:
        """Every version of the rows that belong, or ever belonged, to an entity.

        What is known is judged at `known_at`; what has come true (events, mutable timestamps) before `moment`, never later.
        """
        asked = (entity, known_at, moment)
        if asked not in self._seen:
            self._seen[asked] = self._all_rows(entity, known_at, moment)
        return self._seen[asked]

    def _all_rows(self, entity: str, known_at: datetime, moment: datetime) -> list[InputRow]:
        rows = [row for source in self.sources.values() for row in self._read(source, entity, known_at, moment)]
        rows = self._bring_parents(rows, entity, known_at, moment)
        rows = self._settle(rows, known_at, moment)
        rows = self._name_columns(rows)
        return self._own(rows, entity)

    # ---- whose row it is

    @property
    def _entity(self) -> str:
        return self.group.record_identifier

    @property
    def _via(self) -> tuple[str, str | None] | None:
        """The source that brings the entity, and the column by which, where it isn't that source's key."""
        wanted = self.item.entity
        if wanted is None or isinstance(wanted, str) or not wanted[self._entity].startswith("via "):
            return None
        name, _, column = wanted[self._entity].removeprefix("via ").strip().partition(" on ")
        return name.strip(), column.strip() or None

    @property
    def _entity_text(self) -> str | None:
        """The expression that gives the entity; None for a join."""
        wanted = self.item.entity or self._entity
        if isinstance(wanted, str):
            return wanted
        return None if self._via else wanted[self._entity]

    def _read(self, source: Source, entity: str, known_at: datetime, moment: datetime) -> list[InputRow]:
        judged = judge_versions(self._candidates(source, entity), source, cut_off=known_at, end=self.end)
        settled = [settle_mutable(one.row, source, moment=moment) for one in judged]
        types: dict[str, ColumnType] = {name: column.type for name, column in source.columns.items()} | dict(CLOCKS)
        told = evaluate(self._of_member(source), settled, types)
        rows = []
        for one, row, values in zip(judged, settled, told, strict=True):
            clocks = {name: row.get(name) for name in CLOCKS}
            told_here = dict.fromkeys(self.own_types) | values | clocks
            rows.append(self._not_yet(InputRow(told_here, one.row, source, one.reason), moment))
        return rows

    def _candidates(self, source: Source, entity: str) -> list[Row]:
        """Every version of every row of a source that may belong to an entity."""
        text, values = self._entity_text or "", [entity]
        if self._via:
            parent, column = self._via
            parents = self.ledgers.rows(parent, self._entity, [entity])
            by = column or self.catalogue.sources[parent].key[0]
            text, values = self._on(parent, column)[by], sorted({row[by] for row in parents if row[by] is not None})
        own = self._of_member(source).get(text.strip('"'))
        plain = own.text.strip('"') if own else ""
        if plain not in source.columns:
            return self.ledgers.all_rows(source.name)
        return self._with_all_versions(source, self.ledgers.rows(source.name, plain, values))

    def _with_all_versions(self, source: Source, rows: Sequence[Row]) -> list[Row]:
        first = source.key[0]
        keys = {tuple(row[name] for name in source.key) for row in rows}
        every = self.ledgers.rows(source.name, first, sorted({row[first] for row in rows}))
        return [row for row in every if tuple(row[name] for name in source.key) in keys]

    def _not_yet(self, row: InputRow, moment: datetime) -> InputRow:
        return row if row.reason or row.values["_event_time"] < moment else replace(row, reason="it had not happened by then")

    def _own(self, rows: Sequence[InputRow], entity: str) -> list[InputRow]:
        """Those of the entity; a version that names another one only where a version of the same row names this one."""
        if self._via or self._entity_text is None:
            return list(rows)
        told = evaluate({"entity": self.expression(self._entity_text)}, [row.values for row in rows], self.types)
        own = []
        for row, found in zip(rows, told, strict=True):
            if str(found["entity"]) == entity:
                own.append(row)
            elif not row.reason and self._entity_text in self.own_types:
                own.append(replace(row, reason=f"it belongs to another {self._entity} by now"))
        return own

    # ---- what other ledgers add

    def _on(self, parent: str, column: str | None) -> Mapping[str, str]:
        """By which of a parent's columns it is found, and the expressions over a row that they equal."""
        if column:
            return {column: column}
        if self.item.parent and self.item.parent.on:
            return self.item.parent.on
        return {name: name for name in self.catalogue.sources[parent].key}

    def _bring_parents(self, rows: Sequence[InputRow], entity: str, known_at: datetime, moment: datetime) -> list[InputRow]:
        spec, via = self.item.parent, self._via
        if spec is None and via is None:
            return list(rows)
        name = via[0] if via else spec.source  # type: ignore[union-attr]
        parent = self.catalogue.sources[name]
        on = self._on(name, via[1] if via else None)
        asked = {text: parse(text, self.own_types, zone=self.zone) for text in on.values()}
        told = evaluate(asked, [row.values for row in rows], self.own_types)
        columns = list(on)
        places = [tuple(found[on[column]] for column in columns) for found in told]
        parents = self._counting(parent, columns, places, known_at, moment)
        result = []
        for row, place in zip(rows, places, strict=True):
            matches = parents.get(place, [])
            if via:
                matches = [match for match in matches if str(match[self._entity]) == entity]
                missing = "" if matches else f"no row of {name} known by then gives it to this {self._entity}"
                row = replace(row, reason=row.reason or missing)
            for match in matches or [{}]:
                brought = {new: match.get(old) for new, old in (spec.columns if spec else {}).items()}
                beside = (*row.beside, (parent, match)) if match else row.beside
                result.append(replace(row, values=row.values | brought, beside=beside))
        return result

    def _counting(
        self, source: Source, columns: Sequence[str], places: Collection[tuple[Any, ...]], known_at: datetime, moment: datetime
    ) -> dict[tuple[Any, ...], list[Row]]:
        """The versions of another source that count, by their values of `columns`; in order of event, known time and key."""
        wanted = sorted({place[0] for place in places if None not in place})
        found = self.ledgers.rows(source.name, columns[0], wanted) if wanted else []
        first = source.key[0]
        if columns[0] != first:  # an amended version may name another parent
            found = self.ledgers.rows(source.name, first, sorted({row[first] for row in found}))
        counting = [j.row for j in judge_versions(found, source, cut_off=known_at, end=self.end) if not j.reason]
        counting.sort(
            key=lambda row: (
                row["_event_time"],
                row.get("_known_time") or row["_event_time"],
                *(sort_key(row[k]) for k in source.key),
            )
        )
        result: dict[tuple[Any, ...], list[Row]] = {}
        for row in counting:
            told = settle_mutable(row, source, moment=moment)
            result.setdefault(tuple(told[column] for column in columns), []).append(told)
        return result

    def _settle(self, rows: Sequence[InputRow], known_at: datetime, moment: datetime) -> list[InputRow]:
        spec = self.item.settled_by
        if spec is None:
            return list(rows)
        child = self.catalogue.sources[spec.source]
        columns = list(spec.on)
        before = {k: v for k, v in self.types.items() if k not in SETTLEMENT and k not in self.item.columns}
        asked = {f"_on_{column}": parse(text, before, zone=self.zone) for column, text in spec.on.items()}
        asked["_due"] = parse(spec.due, before, zone=self.zone)
        told = evaluate(asked, [row.values for row in rows], before)
        places = [tuple(found[f"_on_{column}"] for column in columns) for found in told]
        children = self._counting(child, columns, places, known_at, moment)
        result = []
        for row, found, place in zip(rows, told, places, strict=True):
            paying = [c for c in children.get(place, []) if c["_event_time"] < moment]
            paid, payments = self._paid(spec, child, paying, found["_due"])
            beside = (*row.beside, *((child, payment) for payment in payments))
            result.append(replace(row, values=row.values | paid, beside=beside))
        return result

    def _paid(self, spec: SettledBy, child: Source, paying: Sequence[Row], due: Any) -> tuple[Row, list[Row]]:
        """What is paid, and the rows that pay it."""
        types: dict[str, ColumnType] = {name: column.type for name, column in child.columns.items()} | dict(CLOCKS)
        asked = {"_amount": parse(spec.amount, types, zone=self.zone)}
        if spec.where:
            asked["_where"] = parse_condition(spec.where, types, zone=self.zone)
        told = zip(paying, evaluate(asked, paying, types), strict=True)
        total, paid_at, last = Decimal("0.00"), None, None
        payments = []
        for row, found in told:
            if spec.where and not found["_where"]:
                continue
            payments.append(row)
            total += Decimal(found["_amount"] or 0)
            last = row["_event_time"]
            if paid_at is None and due is not None and total >= due:
                paid_at = last
        return {"paid_amount": total, "paid_at": paid_at, "last_paid_at": last}, payments

    def _name_columns(self, rows: Sequence[InputRow]) -> list[InputRow]:
        told = list(rows)
        for name, text in self.item.columns.items():
            known = {column: type_ for column, type_ in self.types.items() if column != name}
            values = evaluate({name: parse(text, known, zone=self.zone)}, [row.values for row in told], known)
            told = [replace(row, values=row.values | found) for row, found in zip(told, values, strict=True)]
        return told


def curated(rows: Iterable[InputRow]) -> list[Row]:
    """The curated rows behind input rows, each once."""
    return list({id(row.origin): row.origin for row in rows}.values())
