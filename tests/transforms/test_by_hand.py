"""Numbers made again the slow way, on every conformance case, and the reasons that they give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source, UnionSource
from conf.training_sets import TrainingSet
from tests.conformance.cases import Case, load_cases, read_like
from tests.histories import DAYS, batch
from tests.oracle import disagreements
from tests.training import DAY, compiled, training_rows
from tests.transforms.test_training_rows import SMALL, SPEC, TARGET, random_labels, with_grace
from tests.transforms.test_training_rows import target_group as histories_like
from transforms.by_hand.columns import Explainer, columns_of
from transforms.by_hand.moments import Moment
from transforms.by_hand.targets import knowing_today, period_of, target_group
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


@pytest.mark.parametrize(("grain", "moment"), [("day", 0), ("event", 6)])
def test_a_target_made_again_is_what_the_engine_made(grain, moment):
    """On random histories, with today's knowledge of what happened from T to the end of the period."""
    sources = with_grace(0)
    spec = TrainingSet.model_validate({**SPEC, "grain": grain, "features": {"small": ["plans"]}, "target": TARGET})
    as_of, zone = DAYS[moment]
    rows, _ = batch(sources, histories_like("30d"), as_of=as_of, zone=zone, cases=5, seed=40 + moment)
    entities = sorted({row["customer_id"] for row in rows["customers"]})
    found = training_rows(
        compiled(spec, sources, [SMALL], zone), rows, random_labels(entities, as_of - 12 * DAY, zone, seed=moment)
    )
    catalogue = Catalogue(dict(sources), {SMALL.name: SMALL})
    group = target_group(spec, spec.target, catalogue)
    ledgers = RowsInMemory(sources, rows)
    seen = set()
    for label, row in list(found.items())[:12]:
        period = period_of(spec.target, row["as_of"], row["cut_off"], zone)
        explainer = Explainer(knowing_today(catalogue, group), ledgers, label.entity, period)
        told = {name: explainer.explain(group, name) for name in ("late", "unpaid_at_end", "most_unpaid", "attempts", "is_heavy")}
        assert {name: row[name] for name in told} == {name: one.value for name, one in told.items()}, label
        seen |= {(name, bool(row[name])) for name in told}
        reasons = {
            reason.partition(" ")[0] for one in told.values() for reason in (e.reason for e in one.all_evidence()) if reason
        }
        seen |= {reason for reason in reasons if reason == "outside"}
    assert {"outside", ("late", True), ("late", False), ("attempts", True)} <= seen
