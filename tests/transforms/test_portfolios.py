"""Portfolios, counted from accounts, plans and what is known of each."""

from __future__ import annotations

from datetime import UTC, date, datetime

from chispa import assert_df_equality

from tests.tables import table
from transforms.portfolios import portfolio_regulatory

ACCOUNTS = "account_id string, customer_id string, lender string, product_type string, closed_at timestamp"
STANDING = "account_id string, reg_ifrs9_stage bigint, reg_days_past_due bigint, reg_days_past_due_before bigint, reg_exposure decimal(28,2)"
PLANS = "plan_id string, customer_id string, provider string, decision string, settled_at timestamp, cancelled_at timestamp"
PLAN_STANDING = "plan_id string, reg_days_past_due bigint, reg_days_past_due_before bigint, reg_exposure decimal(28,2)"
CUSTOMERS = "customer_id string, reg_affordability_pass_flag boolean"
EXPECTED = (
    "portfolio_id string, portfolio_count bigint, portfolio_exposure decimal(28,2), portfolio_30_plus_rate double,"
    " portfolio_90_plus_rate double, portfolio_stage_1_share double, portfolio_stage_2_share double, portfolio_stage_3_share double,"
    " portfolio_roll_to_30_rate double, portfolio_roll_to_60_rate double, portfolio_roll_to_90_rate double,"
    " portfolio_affordability_fail_share double"
)


def test_rates_are_shares_of_open_accounts_and_active_plans(spark):
    """Closed accounts, declined, settled and cancelled plans are left out; a share of none is null."""
    frames = {
        "accounts": table(
            spark,
            ACCOUNTS,
            ("a", "ann", "cimb", "credit_card", None),
            ("b", "bob", "cimb", "credit_card", None),
            ("c", "cat", "cimb", "credit_card", None),
            ("d", "dan", "cimb", "credit_card", None),
            ("e", "ann", "cimb", "credit_card", "2025-01-01 00:00:00"),  # closed
            ("f", "eve", "rhb", "overdraft", None),
        ),
        "account_regulatory": table(
            spark,
            STANDING,
            ("a", 1, 0, 0, "100.00"),
            ("b", 2, 35, 5, "200.00"),  # rolled from 0-29
            ("c", 3, 95, 65, "300.00"),  # rolled from 60-89
            ("d", 1, 29, 31, "400.00"),  # got better from 30-59
            ("e", 3, 500, 470, "900.00"),
            ("f", 1, 0, None, None),  # nothing known of it 30 days before, nor what is owed
        ),
        "bnpl_plans": table(
            spark,
            PLANS,
            ("p", "ann", "grab", "approved", None, None),
            ("q", "bob", "grab", "declined", None, None),
            ("r", "bob", "grab", "approved", "2025-01-01 00:00:00", None),
            ("s", "bob", "grab", "approved", None, "2025-01-01 00:00:00"),
        ),
        "plan_regulatory": table(
            spark, PLAN_STANDING, ("p", 91, 89, "50.00"), ("q", 0, 0, "0.00"), ("r", 0, 0, "0.00"), ("s", 0, 0, "0.00")
        ),
        "customer_regulatory": table(
            spark, CUSTOMERS, ("ann", True), ("bob", False), ("cat", None), ("dan", True), ("eve", None)
        ),
    }

    actual = portfolio_regulatory(frames, date(2025, 6, 30), datetime(2025, 6, 30, 16, tzinfo=UTC))

    third = 1 / 3
    expected = table(
        spark,
        EXPECTED,
        ("cimb:credit_card", 4, "1000.00", 0.5, 0.25, 0.5, 0.25, 0.25, 0.5, 0.0, 1.0, third),
        ("rhb:overdraft", 1, None, 0.0, 0.0, 1.0, 0.0, 0.0, None, None, None, None),
        ("grab:bnpl", 1, "50.00", 1.0, 1.0, 0.0, 0.0, 1.0, None, None, 1.0, 0.0),
    )
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)
