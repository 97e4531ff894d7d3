"""The derived rules are true of what the engine computes: random histories at the edges break none of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache

import pyarrow as pa
import pytest

from conf.catalogue import load_catalogue
from conf.settings import load_settings
from expectations.suites import group_suite
from expectations.tables import ArrowTable
from expectations.validate import validate
from jobs.validate import load_rules
from tests.expectations.definitions import ZONE
from tests.histories import batch
from transforms.calendar import cut_off, iso_utc
from transforms.curated import curated_table
from transforms.feature_group import compile_groups
from transforms.small import answer_rows

DAY = date(2025, 6, 30)


CATALOGUE = load_catalogue()
COMPILED = compile_groups(CATALOGUE, ZONE)


@cache
def answers_of(identifier: str) -> dict[str, pa.Table]:
    """Every group of an identifier, answered from one random history of all ledgers that they read; everybody agreed to it."""
    groups = [group for group in CATALOGUE.groups.values() if group.record_identifier == identifier and not group.is_later]
    whole = groups[0].model_copy(update={"inputs": tuple(item for group in groups for item in group.inputs)})
    rows, _ = batch({**CATALOGUE.sources, **CATALOGUE.unions}, whole, as_of=DAY, zone=ZONE, cases=20, seed=9)
    for consent in rows.get("consents", ()):
        consent.update(purpose="bureau", withdrawn_at=None)
    tables = {name: curated_table(source, rows.get(name, ())) for name, source in CATALOGUE.sources.items()}
    return answer_rows(COMPILED, [group.name for group in groups], tables, [DAY])


@pytest.mark.parametrize("name", sorted(name for name, group in CATALOGUE.groups.items() if not group.is_later))
def test_no_random_history_breaks_a_rule(name: str) -> None:
    definition, group = CATALOGUE.group(name), COMPILED.groups[name]
    rows = answers_of(definition.record_identifier)[name].drop_columns(["as_of"])
    rows = rows.append_column(pa.field("as_of", pa.date32()), pa.array([DAY] * len(rows), pa.date32()))
    snapshot = ArrowTable(rows.append_column("snapshot_version", pa.array(["v1"] * len(rows))))
    moment = iso_utc(cut_off(DAY, ZONE))
    suite = group_suite(
        group,
        definition,
        CATALOGUE.sources,
        event_time=moment,
        time_zone=ZONE,
        rows=len(rows),
        limits=load_settings("local").validation,
        written=load_rules(None, CATALOGUE, COMPILED).get(("group", name), ()),
    )

    report = validate(snapshot, suite=suite, run_id="r1", asset=name, as_of="2025-06-30", now=datetime(2025, 7, 2, tzinfo=UTC))

    assert [failure for failure in report.failures if failure.severity != "warning"] == []
    assert report.rows > 20
