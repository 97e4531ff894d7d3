"""A case put to the oracle, and to the engine: in one process and without Spark."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from conf.catalogue import Catalogue
from conf.specs import Source, UnionSource
from tests.conformance.cases import Case
from tests.engine import small_answer
from tests.oracle import answer, answer_event, local_date
from transforms.hindsight import with_hindsight

_MICROSECOND = timedelta(microseconds=1)


def by_oracle(case: Case) -> dict[str, dict[str, Any]]:
    """What the oracle says of each entity."""
    if case.at is not None:
        return answer_event(case.group, case.sources, case.rows, at=case.at, zone=case.zone, groups=case.groups)
    return answer(case.group, case.sources, case.rows, as_of=case.as_of, zone=case.zone, groups=case.groups, now=case.now)


def by_engine(case: Case) -> dict[str, dict[str, Any]]:
    """What the engine says of each entity.

    To the microsecond there is no grace, as a training set compiles its sources. In hindsight the ledger is as of `now`: without
    the rows that became known later.
    """
    delivered = {name: source for name, source in case.sources.items() if isinstance(source, Source)}
    if case.at is not None:
        delivered = {name: source.model_copy(update={"grace": timedelta()}) for name, source in delivered.items()}
    unions = {name: source for name, source in case.sources.items() if isinstance(source, UnionSource)}
    catalogue = Catalogue(delivered, {**case.groups, case.group.name: case.group}, unions=unions)
    rows = case.rows
    if case.now is not None:
        catalogue = with_hindsight(catalogue)
        rows = {name: [row for row in some if _known_by(delivered[name], row, case.now)] for name, some in rows.items()}
    day = local_date(case.at - _MICROSECOND, case.zone) if case.at else case.as_of
    cut_offs = [case.at] if case.at else None
    answers = small_answer(
        case.group, catalogue.sources, rows, days=[day], zone=case.zone, catalogue=catalogue, cut_offs=cut_offs
    )
    return answers[day]


def _known_by(source: Source, row: dict[str, Any], now: Any) -> bool:
    known = source.known_time
    return known is None or row[known.column] <= now
