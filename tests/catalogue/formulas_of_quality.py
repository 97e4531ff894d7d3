"""How far data can be relied on, said anew in SQL: counted from all rows that were delivered, kept or not."""

from __future__ import annotations

ROWS = """
    select {entity} as entity, source, _event_time as happened, _known_time as known, 'kept' as outcome from ({kept})
    union all select {entity}, source, event_time, known_time, outcome from delivered_known
    where outcome != 'kept' and {entity} is not null and source in ({sources})"""
CUSTOMERS = ("bnpl_plans", "instalments", "payments", "transactions")
ACCOUNTS = ("transactions", "statements")


def _rows(entity: str, sources: tuple[str, ...]) -> str:
    kept = " union all ".join(
        f"select '{name}' as source, {entity}, _event_time, _known_time from {name}_known" for name in sources
    )
    return ROWS.format(entity=entity, kept=kept, sources=", ".join(f"'{name}'" for name in sources))


def _of_rows(group: str, entity: str, sources: tuple[str, ...]) -> dict[str, str]:
    """Shares of the rows that happened in 7 and in 30 days."""
    found = {}
    for days in (7, 30):
        of = f"from ({_rows(entity, sources)}) where due_in(cast(happened as date), {days})"
        found |= {
            f"{group}.dq_late_row_ratio_{days}d": f"select entity, avg(if(late(happened, known), 1, 0)) {of} and outcome = 'kept' group by 1",
            f"{group}.dq_duplicate_ratio_{days}d": f"select entity, avg(if(outcome in ('duplicate', 'conflict'), 1, 0)) {of} group by 1",
            f"{group}.dq_validity_score_{days}d": f"select entity, avg(if(outcome = 'invalid', 0, 1)) {of} group by 1",
        }
    return found


def _score(entity: str, completeness: str, formulas: dict[str, str], group: str, weights: tuple[float, ...], orphans: str) -> str:
    """The weighted mean of completeness, validity, what isn't repeated, what isn't orphaned, and freshness within 31 days."""
    parts = {
        "complete": completeness,
        "valid": formulas[f"{group}.dq_validity_score_30d"],
        "repeated": formulas[f"{group}.dq_duplicate_ratio_30d"],
        "orphaned": orphans,
        "fresh": formulas[f"{group}.dq_freshness_hours"],
    }
    tables = ", ".join(f"{name}(entity, told) as ({sql})" for name, sql in parts.items())
    one, two, three, four, five = weights
    return f"""
        with {tables}
        select entity, {one} * complete.told + {two} * valid.told + {three} * (1 - coalesce(repeated.told, 0))
            + {four} * (1 - coalesce(orphaned.told, 0)) + {five} * if(fresh.told <= 31 * 24, 1, 0)
        from complete left join valid using (entity) left join repeated using (entity) left join orphaned using (entity)
        left join fresh using (entity)"""


def _filled(entity: str, ledger: str, required: tuple[str, ...], newest: str) -> str:
    filled = " + ".join(f"if({name} is null, 0, 1)" for name in required)
    return f"""
        select {entity}, ({filled}) / {len(required)} from {ledger}
        qualify row_number() over (partition by {entity} order by {newest}) = 1"""


_DECLARED = ("birth_date", "sex", "state", "occupation", "declared_income_monthly", "residency", "national_id")
_ORPHANS = """
    select customer_id, avg(if(orphan, 1, 0)) from (
        select customer_id, _event_time, plan_id is not null and plan_id not in (select plan_id from bnpl_plans_known) as orphan
        from instalments_known
        union all
        select customer_id, _event_time, instalment_id not in (select instalment_id from instalments_known) from payments_known)
    where due_in(cast(_event_time as date), 30) group by 1"""


def _of_customers() -> dict[str, str]:
    group = "customer_quality"
    found = _of_rows(group, "customer_id", CUSTOMERS) | {
        f"{group}.dq_completeness_score": _filled(
            "customer_id", "customers_known", _DECLARED, "valid_from desc, recorded_at desc, version desc"
        ),
        f"{group}.dq_freshness_hours": "select customer_id, epoch(cut_off() - max(known)) / 3600 from moments group by 1",
        f"{group}.dq_history_days": "select customer_id, least(day() - min(cast(happened as date)), 365) from moments group by 1",
        f"{group}.dq_orphan_ratio_30d": _ORPHANS,
        f"{group}.dq_schedule_gap_flag": """
            select customer_id, true from plans left join (select plan_id, sum(due_amount) as scheduled from dues group by 1) using (plan_id)
            where approved and ended is null and abs(coalesce(scheduled, 0) - financed_amount) > 0.01""",
        f"{group}.dq_window_coverage_ratio_90d": """
            select customer_id, count(distinct d) / 90 from days, statements_known s join accounts_known using (account_id)
            where due_in(d, 90) and cast(statement_at as date) between d - 30 and d group by 1""",
    }
    weights = (0.3, 0.3, 0.15, 0.15, 0.1)
    complete = found[f"{group}.dq_completeness_score"]
    return found | {f"{group}.dq_overall_score": _score("customer_id", complete, found, group, weights, _ORPHANS)}


def _of_accounts() -> dict[str, str]:
    group = "account_quality"
    ledgers = ("accounts", "balances", "transactions", "statements")
    every = " union all ".join(f"select account_id, _event_time, _known_time from {name}_known" for name in ledgers)
    found = _of_rows(group, "account_id", ACCOUNTS) | {
        f"{group}.dq_completeness_score": _filled(
            "account_id", "accounts_known", ("credit_limit", "lender", "product_type"), "version desc"
        ),
        f"{group}.dq_freshness_hours": f"select account_id, epoch(cut_off() - max(_known_time)) / 3600 from ({every}) group by 1",
        f"{group}.dq_history_days": f"select account_id, least(day() - min(cast(_event_time as date)), 365) from ({every}) group by 1",
        f"{group}.dq_balance_reconcile_diff_1d": """
            select account_id, now - (before - coalesce(moved, 0)) from (
                select account_id, arg_max(balance, day) filter (day < day()) as now,
                    arg_max(balance, day) filter (day < day() - 1) as before
                from balances_known group by 1)
            left join (select account_id, sum(amount) as moved from transactions_known where cast(posted_at as date) = day() - 1 group by 1)
            using (account_id)""",
        f"{group}.dq_window_coverage_ratio_365d":
            "select account_id, count(distinct day) / 365 from balances_known where due_in(day, 365) group by 1",
    }  # fmt: skip
    nothing = "select account_id, 0 from accounts_known"
    weights = (0.35, 0.35, 0.2, 0, 0.1)
    complete = found[f"{group}.dq_completeness_score"]
    return found | {f"{group}.dq_overall_score": _score("account_id", complete, found, group, weights, nothing)}


FORMULAS = _of_customers() | _of_accounts()
NULL_OF_NOTHING = {
    name for name in FORMULAS if any(part in name for part in ("late_row", "validity", "freshness", "overall", "reconcile"))
}
