"""Makes training rows of a few rows and labels in one process, and says what the oracle expects of each label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source
from conf.training_sets import TrainingSet
from tests.oracle import answer, answer_event, local_date
from transforms.calendar import microseconds
from transforms.curated import curated_table
from transforms.fact_arrays import PreparedRows, by_clock, facts_of, value_types
from transforms.feature_group import Compiled
from transforms.kernel import Facts
from transforms.prepare_duckdb import prepare
from transforms.training_rows import Made
from transforms.training_sets import CompiledTrainingSet, compile_training_set

Rows = Mapping[str, Sequence[Mapping[str, object]]]
DAY = timedelta(days=1)
NEVER = datetime(2900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Label:
    entity: str
    time: datetime


def compiled(
    spec: TrainingSet, sources: Mapping[str, Source], groups: Iterable[FeatureGroup], zone: str = "Asia/Kuala_Lumpur"
) -> CompiledTrainingSet:
    catalogue = Catalogue(dict(sources), {group.name: group for group in groups}, training_sets={spec.name: spec})
    return compile_training_set(spec, catalogue, zone)


def pieces(
    made: CompiledTrainingSet, rows: Rows, labels: Sequence[Label], values: Mapping[str, Sequence[Any]] | None = None
) -> list[Made]:
    """What the engine makes of labels, which come in any order; `values`: what they bring."""
    curated = {name: curated_table(source, rows.get(name, ())) for name, source in made.features.sources.items()}
    columns: dict[str, Sequence[Any]] = {
        "_entity": [label.entity for label in labels],
        "_time": [microseconds(label.time) for label in labels],
        "_row": range(1, len(labels) + 1),
        **(values or {}),
    }
    table = pa.table({name: list(column) for name, column in columns.items()}).cast(made.rows.label_schema)
    table = table.sort_by([("_entity", "ascending"), ("_time", "ascending"), ("_row", "ascending")])
    entities = pc.unique(table["_entity"].combine_chunks())
    facts = _facts(made.features, made.feature_streams, curated, entities)
    outcomes = _facts(made.outcomes, made.outcome_streams, curated, entities) if made.outcomes else {}
    return list(made.rows.make(table, facts, outcomes, entities))


def training_rows(made: CompiledTrainingSet, rows: Rows, labels: Sequence[Label], **more: Any) -> dict[Label, dict[str, Any]]:
    """The row of each label."""
    table = pa.concat_tables(piece.rows for piece in pieces(made, rows, labels, **more))
    assert table.schema == made.rows.schema
    found = {Label(row[made.rows.entity], row["label_time"]): row for row in table.to_pylist()}
    assert len(found) == len(labels) == len(table)
    return found


def _facts(
    compiled: Compiled, streams: Iterable[str], curated: Mapping[str, pa.Table], entities: pa.Array
) -> dict[tuple[str, str], Facts]:
    used = {name: compiled.streams[name] for name in streams}
    rows = {
        name: PreparedRows(by_clock(prepare(stream, curated, compiled.sources)), value_types(stream))
        for name, stream in used.items()
    }
    return facts_of(rows, entities)


class Expected:
    """What the oracle says of a group's features at the time of each label; null of an entity that isn't on the spine."""

    def __init__(
        self,
        group: FeatureGroup,
        sources: Mapping[str, Source],
        rows: Rows,
        zone: str,
        groups: Mapping[str, FeatureGroup] | None = None,
    ) -> None:
        self.group, self.sources, self.rows, self.zone, self.groups = group, sources, rows, zone, groups
        self._days: dict[date | datetime, dict[str, dict[str, object]]] = {}

    def of_day(self, label: Label, days_before: int = 1) -> dict[str, object] | None:
        day = local_date(label.time, self.zone) - days_before * DAY
        if day not in self._days:
            self._days[day] = answer(self.group, self.sources, self.rows, as_of=day, zone=self.zone, groups=self.groups)
        return self._days[day].get(label.entity)

    def of_event(self, label: Label) -> dict[str, object] | None:
        if label.time not in self._days:
            self._days[label.time] = answer_event(self.group, self.sources, self.rows, at=label.time, zone=self.zone)
        return self._days[label.time].get(label.entity)

    def with_hindsight(self, entity: str, day: date) -> dict[str, object] | None:
        """As of the end of a day, with all that is known since."""
        if day not in self._days:
            self._days[day] = answer(self.group, self.sources, self.rows, as_of=day, zone=self.zone, now=NEVER)
        return self._days[day].get(entity)
