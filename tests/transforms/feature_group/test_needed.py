"""A group cut down to some of its columns gives them as the whole group does."""

from __future__ import annotations

from datetime import date

import pytest

from conf.catalogue import load_catalogue
from transforms.curated import curated_table
from transforms.feature_group import compile_groups
from transforms.feature_group.needed import only
from transforms.small import answer_rows

CATALOGUE = load_catalogue()
COMPILED = compile_groups(CATALOGUE, "Asia/Kuala_Lumpur")
DAY = date(2025, 6, 30)
ROWS = {
    "customers": [{"customer_id": who, "version": "1", "valid_from": "2025-01-01T00:00:00Z"} for who in ("ann", "bob")],
    "consents": [
        {"consent_id": who, "customer_id": who, "purpose": "bureau", "given_at": "2025-01-01T00:00:00Z"} for who in ("ann", "bob")
    ],
    "instalments": [
        {"instalment_id": n, "customer_id": "ann", "agreed_at": "2025-05-01T00:00:00Z", "due_date": day, "due_amount": "50"}
        for n, day in (("a", "2025-05-20"), ("b", "2025-06-20"), ("c", "2025-07-20"))
    ],
    "payments": [
        {
            "instalment_id": "a",
            "customer_id": "ann",
            "attempted_at": "2025-05-25T00:00:00Z",
            "amount": "50",
            "outcome": "succeeded",
        },
        {"instalment_id": "b", "customer_id": "ann", "attempted_at": "2025-06-20T00:00:00Z", "amount": "50", "outcome": "failed"},
    ],
}
TABLES = {name: curated_table(source, ROWS.get(name, ())) for name, source in CATALOGUE.sources.items()}


@pytest.mark.parametrize(
    "columns",
    [
        ["pay_due_count_90d"],
        ["pay_on_time_rate_90d", "pay_current_dpd"],
        ["pay_weighted_days_late_90d", "pay_failed_attempt_rate_30d"],
        [],
    ],
)
def test_columns_are_the_same(columns):
    whole = answer_rows(COMPILED, ["customer_payment"], TABLES, [DAY])["customer_payment"]
    cut = only(COMPILED, "customer_payment", [*columns, "has_history"])
    assert {c.name for c in cut.groups["customer_payment"].columns} >= set(columns)
    answered = answer_rows(cut, ["customer_payment"], TABLES, [DAY])["customer_payment"]
    kept = ["customer_id", "as_of", "has_history", *columns]
    assert answered.select(kept).to_pylist() == whole.select(kept).to_pylist()
    assert whole["has_history"].to_pylist() == [True, False]


def test_only_what_is_needed_is_prepared():
    cut = only(COMPILED, "customer_payment", ["pay_failed_attempt_rate_30d"])
    kept = {stream.source: [len(values) for values in stream.clocks.values()] for stream in cut.streams.values()}
    assert kept == {"customers": [1], "consents": [1], "payments": [2]}  # all attempts and the failed ones
