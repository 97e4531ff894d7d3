"""Every case of this folder, answered by the oracle and by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.conformance.answers import by_engine, by_oracle
from tests.conformance.cases import Case, load_cases, read_like
from tests.oracle import disagreements

CASES = load_cases()
IDS = [case.name for case in CASES]
NOT_YET = {  # what the engine doesn't answer so far, and why; an entry whose case passes is an error
}


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


def with_marks(case: Case):
    return pytest.param(case, marks=pytest.mark.xfail(reason=NOT_YET[case.name], strict=True) if case.name in NOT_YET else ())


@pytest.mark.parametrize("case", [with_marks(case) for case in CASES], ids=IDS)
def test_the_engine_gives_what_was_worked_out_by_hand(case):
    assert disagreements(expected(case, by_oracle(case)), by_engine(case)) == []


def test_every_case_has_a_name_of_its_own_and_a_reason():
    assert len(set(IDS)) == len(IDS) >= 80
    assert [case.name for case in CASES if len(case.raw.get("why", "")) < 20] == []
