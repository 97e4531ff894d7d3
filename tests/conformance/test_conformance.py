"""Every case of this folder, answered by the oracle and by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.conformance.cases import Case, load_cases, read_like
from tests.oracle import answer, answer_event, disagreements

CASES = load_cases()
IDS = [case.name for case in CASES]


def by_oracle(case: Case) -> Mapping[str, Mapping[str, Any]]:
    if case.at is not None:
        return answer_event(case.group, case.sources, case.rows, at=case.at, zone=case.zone, groups=case.groups)
    return answer(case.group, case.sources, case.rows, as_of=case.as_of, zone=case.zone, groups=case.groups, now=case.now)


def expected(case: Case, like: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the case expects, typed as `like`; `has_history` only where the case says it."""
    found: dict[str, dict[str, Any]] = {}
    for entity, columns in case.expect.items():
        typed = like.get(entity, {})
        found[entity] = {name: read_like(typed.get(name), text) for name, text in columns.items()}
        if "has_history" not in columns and "has_history" in typed:
            found[entity]["has_history"] = typed["has_history"]
    return found


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_oracle_gives_what_was_worked_out_by_hand(case):
    actual = by_oracle(case)
    assert disagreements(expected(case, actual), actual) == []


def test_every_case_has_a_name_of_its_own_and_a_reason():
    assert len(set(IDS)) == len(IDS) >= 80
    assert [case.name for case in CASES if len(case.raw.get("why", "")) < 20] == []
