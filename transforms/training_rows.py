"""Labels and the facts of their entities in, one row a label out, with what was known at its time. No Spark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.specs import ColumnType
from conf.training_sets import Grain
from conf.windows import Window
from transforms.answer import MAXIMUM_CELLS, FactTables, answer, answer_each_query, arrow_type
from transforms.arrow import arrow_type as arrow_type_of
from transforms.calendar import Days, Instants, local_days_of, midnights_of, months_later
from transforms.feature_group import CompiledGroup
from transforms.kernel import Queries
from transforms.label_sql import label_schema

MOMENT = pa.timestamp("us", tz="UTC")


def on_spine_name(group: int) -> str:
    """Of the history's columns, whether an entity is on the spine of the group of this number."""
    return f"on_spine_{group}"


def recency_name(group: int, index: int) -> str:
    """Of the history's columns, the days from the newest fact of one input of a group to D."""
    return f"recency_{group}_{index}"


@dataclass(frozen=True)
class Outcome:
    """The target of a training set: a group that is answered at the end of the period that begins at T.

    `settling`: local days after the period until what happened in it is known.
    """

    group: CompiledGroup
    horizon: Window
    settling: int

    def last_days(self, as_of: Days) -> Days:
        """The last local day of each period: the period ends where that day does.

        Months are counted from the day after D, the first that belongs to the period wholly, to the same day of a later month, or
        to that month's last where it is shorter.
        """
        if self.horizon.kind == "days":
            return as_of + self.horizon.count
        first = as_of + 1
        month = months_later(first, self.horizon.count)
        day_of_month = first - months_later(first, 0)
        length = months_later(month, 1) - month
        last: Days = month + np.minimum(day_of_month, length - 1) - 1
        return last

    def known_on(self, as_of: Days) -> Days:
        """The local day at whose end each label is ripe."""
        return self.last_days(as_of) + self.settling


@dataclass(frozen=True)
class Moments:
    """When each label is answered: D and T. `day`: the label's own local day."""

    day: Days
    as_of: Days
    cut_off: Instants


@dataclass(frozen=True)
class Made:
    """Some rows, and of each group whether it has the entity of each row on its spine."""

    rows: pa.Table
    on_spine: Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class TrainingRows:
    """How labels become rows; pickles.

    `groups`: with the columns that are wanted; `history`: what tells of each group whether an entity is on its spine, and how old
    its newest facts are. `label_columns`: what comes with a label.
    """

    entity: str
    zone: str
    grain: Grain
    days_before: int
    groups: tuple[CompiledGroup, ...]
    history: CompiledGroup
    outcome: Outcome | None
    label_columns: tuple[tuple[str, ColumnType], ...]

    # ---- the columns

    @property
    def key_fields(self) -> list[pa.Field]:
        """The label's key, what of the world it saw, and whether any group has history."""
        return [
            pa.field(self.entity, pa.string(), nullable=False),
            pa.field("label_time", MOMENT, nullable=False),
            pa.field("label_row", pa.int64()),
            pa.field("as_of", pa.date32(), nullable=False),
            pa.field("cut_off", MOMENT, nullable=False),
            pa.field("has_history", pa.bool_(), nullable=False),
        ]

    @property
    def target_fields(self) -> list[pa.Field]:
        """What is to be learned, and what else came with the labels."""
        fields = [pa.field(name, arrow_type_of(type_, decimal_digits=18)) for name, type_ in self.label_columns]
        return fields + [pa.field(c.name, arrow_type(c)) for c in (self.outcome.group.columns if self.outcome else ())]

    def group_fields(self, group: CompiledGroup) -> list[pa.Field]:
        """A group's definition, its history, and its features."""
        told = [
            pa.field(f"{group.name}__version", pa.string(), nullable=False),
            pa.field(f"{group.name}__has_history", pa.bool_(), nullable=False),
            pa.field(f"{group.name}__age_days", pa.int64()),
        ]
        return told + [pa.field(column.name, arrow_type(column)) for column in group.columns]

    @property
    def schema(self) -> pa.Schema:
        fields = [*self.key_fields, *self.target_fields]
        return pa.schema([*fields, *(field for group in self.groups for field in self.group_fields(group))])

    @property
    def label_schema(self) -> pa.Schema:
        """Labels as they are handed to `make`."""
        return label_schema(self.label_columns)

    # ---- moments

    def moments(self, time: Instants) -> Moments:
        """By day: D lies `days_before` before the label's local day. By event: T is the label's time."""
        day = local_days_of(time, self.zone)
        if self.grain == "event":
            return Moments(day, local_days_of(time - 1, self.zone), time)
        as_of = day - self.days_before
        return Moments(day, as_of, midnights_of(as_of + 1, self.zone))

    def label_times(self, as_of: Days) -> Instants:
        """The times of labels whose as-of days are these: the start of the label's day."""
        return midnights_of(as_of + self.days_before, self.zone)

    def known_on(self, as_of: Days) -> Days:
        """The local day at whose end each label can be answered: its D, or when its target is ripe."""
        return self.outcome.known_on(as_of) if self.outcome else as_of

    # ---- rows

    def make(self, labels: pa.Table, facts: FactTables, outcome_facts: FactTables, entities: pa.Array) -> Iterator[Made]:
        """Rows of `schema`, one a label, in order; in pieces of bounded size.

        `labels`: of `label_schema`, sorted by entity. `entities`: sorted by their bytes, those of the labels among them; facts
        are coded by their positions.
        """
        at_once = max(MAXIMUM_CELLS // max(self._cells_a_row, 1), 1)
        for start in range(0, len(labels), at_once):
            piece = labels.slice(start, at_once)
            codes = pc.index_in(piece["_entity"].combine_chunks(), value_set=entities)
            moments = self.moments(piece["_time"].to_numpy())
            queries = Queries(codes.to_numpy().astype(np.int64), moments.as_of, moments.cut_off, self.grain)
            yield self._rows(piece, moments, queries, facts, outcome_facts, entities)

    def on_any_spine(self, queries: Queries, facts: FactTables, entities: pa.Array) -> NDArray[np.bool_]:
        """Whether each query's entity has a row in any of the groups."""
        history = pa.concat_tables(answer(self.history, facts, queries, entities, self.zone))
        masks = [history[on_spine_name(number)].to_numpy() for number in range(len(self.groups))]
        found: NDArray[np.bool_] = np.logical_or.reduce(masks)
        return found

    @property
    def _cells_a_row(self) -> int:
        every = [*self.groups, self.history, *([self.outcome.group] if self.outcome else [])]
        return sum(len(group.windows) + len(group.dailies) + len(group.derived) for group in every)

    def _rows(
        self,
        labels: pa.Table,
        moments: Moments,
        queries: Queries,
        facts: FactTables,
        outcome_facts: FactTables,
        entities: pa.Array,
    ) -> Made:
        columns: dict[str, Any] = {
            self.entity: labels["_entity"],
            "label_time": pa.array(labels["_time"].to_numpy(), MOMENT),
            "label_row": labels["_row"],
            "as_of": pa.array(moments.as_of.astype(np.int32)).cast(pa.date32()),
            "cut_off": pa.array(moments.cut_off, MOMENT),
        }
        columns |= {name: labels[name] for name, _ in self.label_columns}
        if self.outcome:
            columns |= self._targets(self.outcome, queries, outcome_facts, entities)
        history, *features = _answered([self.history, *self.groups], facts, queries, entities, self.zone)
        on_spine: dict[str, NDArray[np.bool_]] = {}
        known = np.zeros(len(labels), dtype=np.bool_)
        for number, (group, told) in enumerate(zip(self.groups, features, strict=True)):
            there = history[on_spine_name(number)]
            ages = [history[recency_name(number, index)] for index in range(len(group.presence))]
            age = pc.add(pc.min_element_wise(*ages, pa.nulls(len(labels), pa.int64())), pa.array(moments.day - moments.as_of))
            has_history = pc.and_(there, age.is_valid())
            columns[f"{group.name}__version"] = pa.repeat(group.version, len(labels))
            columns[f"{group.name}__has_history"] = has_history
            columns[f"{group.name}__age_days"] = pc.if_else(has_history, age, None)
            columns |= {column.name: pc.if_else(there, told[column.name], None) for column in group.columns}
            on_spine[group.name] = there.to_numpy(zero_copy_only=False)
            known |= has_history.to_numpy(zero_copy_only=False)
        columns["has_history"] = pa.array(known)
        schema = self.schema
        return Made(pa.table({field.name: _cast(columns[field.name], field.type) for field in schema}, schema=schema), on_spine)

    def _targets(self, outcome: Outcome, queries: Queries, facts: FactTables, entities: pa.Array) -> Mapping[str, pa.Array]:
        """What happened from T to the end of the period, as it is known today."""
        last = outcome.last_days(queries.as_of)
        ends = Queries(queries.entity, last, midnights_of(last + 1, self.zone), "day", queries.cut_off)
        [told] = _answered([outcome.group], facts, ends, entities, self.zone)
        return {column.name: told[column.name] for column in outcome.group.columns}


def _answered(
    groups: Sequence[CompiledGroup], facts: FactTables, queries: Queries, entities: pa.Array, zone: str
) -> list[Mapping[str, pa.Array]]:
    """Each group's columns, one value a query."""
    tables = answer_each_query(groups, facts, queries, entities, zone)
    return [{name: table[name].combine_chunks() for name in table.column_names} for table in tables]


def _cast(column: Any, type_: pa.DataType) -> pa.Array:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.cast(type_)


WITHOUT_HISTORY = (
    pa.field("label_time", MOMENT),
    pa.field("label_row", pa.int64()),
    pa.field("as_of", pa.date32()),
    pa.field("not_on_spine_of", pa.string()),
)
"""What is told, beside the entity, of a label of which nothing was known: the groups whose spines don't have it, with commas."""


def without_history(made: Made, entity: str) -> pa.Table:
    """The rows of which no group knew anything."""
    unknown = ~made.rows["has_history"].to_numpy(zero_copy_only=False)
    some = made.rows.filter(pa.array(unknown))
    missing = np.stack([~mask[unknown] for mask in made.on_spine.values()], axis=1)
    names = list(made.on_spine)
    told = [", ".join(name for name, is_missing in zip(names, row, strict=True) if is_missing) or None for row in missing]
    schema = pa.schema([pa.field(entity, pa.string()), *WITHOUT_HISTORY])
    return (
        some.select([entity, "label_time", "label_row", "as_of"])
        .append_column("not_on_spine_of", pa.array(told, pa.string()))
        .cast(schema)
    )
