"""Numbers made again the slow way, on every conformance case, and the reasons that they give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source, UnionSource
from tests.conformance.cases import Case, load_cases, read_like
from tests.oracle import disagreements
from transforms.by_hand.columns import Explainer, columns_of
from transforms.by_hand.moments import Moment
from transforms.training_sets import without_grace

CASES = [case for case in load_cases() if case.now is None]


class RowsInMemory:
    """Ledgers of a few rows; file and line are made up."""

    def __init__(self, sources: Mapping[str, Source], rows: Mapping[str, list[dict[str, Any]]]) -> None:
        self._rows = {
            name: [_curated(sources[name], row, line) for line, row in enumerate(some, start=2)] for name, some in rows.items()
        }

    def rows(self, source, column, values):
        return [row for row in self._rows.get(source, []) if row[column] in values]

    def all_rows(self, source):
        return self._rows.get(source, [])


def _curated(source: Source, written: Mapping[str, Any], line: int) -> dict[str, Any]:
    row = {name: written.get(name) for name in source.columns}
    known = source.known_time
    times = {"_event_time": _time(source, source.event_time, row), "_known_time": _time(source, known, row) if known else None}
    return {**row, **times, "_file": f"{source.name}.csv", "_line": line, "_row_hash": f"{line:08x}", "_run": "run"}


def _time(source: Source, clock, row: Mapping[str, Any]) -> datetime | None:
    value = row[clock.column]
    if value is None or clock.of_date is None:
        return value
    zone = ZoneInfo(source.zone_of(clock.column))
    if clock.of_date == "start_of_day":
        return datetime.combine(value, time(), zone).astimezone(UTC)
    after = (
        value + timedelta(days=1) if clock.of_date == "end_of_day" else (value.replace(day=1) + timedelta(days=32)).replace(day=1)
    )
    return datetime.combine(after, time(), zone).astimezone(UTC) - timedelta(microseconds=1)


def explainer_of(case: Case, entity: str) -> tuple[Explainer, FeatureGroup]:
    sources = {name: source for name, source in case.sources.items() if isinstance(source, Source)}
    unions = {name: source for name, source in case.sources.items() if isinstance(source, UnionSource)}
    catalogue = Catalogue(sources, {**case.groups, case.group.name: case.group}, unions=unions)
    ledgers = RowsInMemory(sources, case.rows)
    if case.at is None:
        return Explainer(catalogue, ledgers, entity, Moment.end_of(case.as_of, case.zone)), case.group
    moment = Moment.to_the_microsecond(case.at, case.zone)
    return Explainer(without_grace(catalogue), ledgers, entity, moment), case.group


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_numbers_made_again_are_those_worked_out_by_hand(case):
    expected, actual = {}, {}
    for entity, columns in case.expect.items():
        explainer, group = explainer_of(case, entity)
        told = {name: explainer.explain(group, name).value for name in columns if name in columns_of(group)}
        actual[entity] = told
        expected[entity] = {name: read_like(told[name], columns[name]) for name in told}
    assert disagreements(expected, actual) == []
