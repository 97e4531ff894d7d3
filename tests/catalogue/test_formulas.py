"""Intricate features of the catalogue said anew in SQL, over the sample's ledgers as they were known at the cut-off.

What follows is written from the catalogue's formulas, not from the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

import duckdb
import pytest

from tests.catalogue.lake import CATALOGUE, DAY, ZONE, Lake

LEDGERS = f"""
create macro day() as date '{DAY}';
create macro cut_off() as timestamptz '{DAY} 00:00:00' + interval 1 day;
create macro due_in(d, w) as d > day() - w and d <= day();
create table agreed as -- customers who agreed to the use of their data
    select distinct customer_id from consents_known where purpose = 'bureau' and (withdrawn_at is null or withdrawn_at >= cut_off());
create table plans as
    select *, cast(created_at as date) as made, decided_at < cut_off() and decision = 'approved' as approved,
        cast(case when least(settled_at, cancelled_at) < cut_off() then least(settled_at, cancelled_at) end as date) as ended
    from bnpl_plans_known;
create table paid as
    select instalment_id, cast(attempted_at as date) as on_day,
        sum(amount) over (partition by instalment_id order by attempted_at, recorded_at, payment_id) as until_then
    from payments_known where outcome = 'succeeded';
create table dues as -- paid_on: the day on which the last cent that was due came in
    select i.*, (select min(on_day) from paid p where p.instalment_id = i.instalment_id and until_then >= due_amount) as paid_on,
        coalesce((select max(until_then) from paid p where p.instalment_id = i.instalment_id), 0) as paid_amount
    from instalments_known i;
create table days as select day() - cast(n as integer) as d from range(400) numbers(n);
create table past_due as -- the most days past due at the end of each day
    select customer_id, d, coalesce(max(case when due_date < d and (paid_on is null or paid_on > d) then d - due_date end), 0) as dpd
    from dues cross join days group by all;
"""

FORMULAS = {
    "customer_payment.pay_current_dpd": "select customer_id, dpd from past_due where d = day()",
    "customer_payment.pay_max_dpd_90d": "select customer_id, max(dpd) from past_due where due_in(d, 90) group by 1",
    "customer_payment.pay_arrears_amount":
        "select customer_id, sum(greatest(due_amount - paid_amount, 0)) from dues where due_date <= day() group by 1",
    "customer_payment.pay_missed_count_365d":
        "select customer_id, count(*) from dues where due_in(due_date, 365) and paid_on is null and day() - due_date >= 30 group by 1",
    "customer_payment.pay_weighted_days_late_365d":
        "select customer_id, sum(due_amount * greatest(paid_on - due_date, 0)) / sum(due_amount) from dues where due_in(paid_on, 365) group by 1",
    "customer_payment.pay_on_time_streak": """
        select customer_id, count(*) from (
            select customer_id, sum(if(paid_on <= due_date, 0, 1)) over (
                partition by customer_id order by due_date desc, agreed_at desc, recorded_at desc, instalment_id desc) as late
            from dues where due_date <= day())
        where late = 0 group by 1""",
    "customer_payment.pay_roll_forward_count_365d": """
        select customer_id, count(*) from (
            select *, if(dpd = 0, 0, 1 + least(dpd // 30, 3)) as band, lag(band) over (partition by customer_id order by d) as before
            from past_due where d = last_day(d))
        where due_in(d, 365) and band > before group by 1""",
    "customer_payment.pay_late_rate_fraction_90d_365d": """
        select customer_id, avg(late) filter (due_in(due_date, 90)) / nullif(avg(late) filter (due_in(due_date, 365)), 0)
        from (select *, if(paid_on <= due_date, 0, 1) as late from dues) group by 1""",
    "customer_bnpl.bnpl_max_concurrent_plans_90d": """
        select customer_id, max(n) from (
            select customer_id, d, count(*) as n from plans cross join days
            where approved and made <= d and (ended is null or ended > d) and due_in(d, 90) group by all)
        group by 1""",
    "customer_bnpl.bnpl_days_between_plans_avg_180d":
        "select customer_id, (max(made) - min(made)) / (count(*) - 1) from plans where due_in(made, 180) group by 1 having count(*) > 1",
    "customer_bnpl.bnpl_stacked_within_7d_count_180d": """
        select customer_id, count(*) from (
            select *, made - lag(made) over (partition by customer_id order by created_at) as gap from plans)
        where due_in(made, 180) and gap <= 7 group by 1""",
    "customer_bnpl.bnpl_outstanding_amount": """
        select p.customer_id, sum(greatest(due_amount - paid_amount, 0)) from plans p join dues using (plan_id)
        where approved and ended is null group by 1""",
    "customer_transaction.txn_mcc_entropy_90d": """
        select customer_id, -sum(share * ln(share)) from (
            select customer_id, sum(-amount) / sum(sum(-amount)) over (partition by customer_id) as share from transactions_known
            where amount < 0 and not is_own_transfer and due_in(cast(posted_at as date), 90) group by customer_id, mcc)
        group by 1""",
    "customer_credit.cust_utilisation_avg_90d": """
        select customer_id, avg(ratio) from (
            select customer_id, d, sum(told.balance) / sum(coalesce(told.of_day, credit_limit)) filter (told is not null) as ratio from (
                select a.*, d, (select arg_max(struct_pack(balance := balance, of_day := b.credit_limit), (told_at, recorded_at))
                    from told b where b.account_id = a.account_id and cast(told_at as date) <= d) as told
                from accounts_known a cross join days
                where product_type in ('credit_card', 'overdraft') and cast(opened_at as date) <= d
                    and (closed_at is null or closed_at >= cut_off() or cast(closed_at as date) > d))
            group by all)
        where due_in(d, 90) group by 1""",
}  # fmt: skip
NOTHING = {"customer_payment.pay_weighted_days_late_365d", "customer_payment.pay_late_rate_fraction_90d_365d",
           "customer_bnpl.bnpl_days_between_plans_avg_180d", "customer_transaction.txn_mcc_entropy_90d",
           "customer_credit.cust_utilisation_avg_90d"}  # fmt: skip
"""Null of no facts; the others are 0."""


@pytest.fixture(scope="module")
def ledgers(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """Of every source the newest version, by declared version, of what had happened and was known by the cut-off."""
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = '{ZONE}'")
        for name, table in lake.curated.items():
            source = CATALOGUE.sources[name]
            connection.register(name, table)
            newest = f"order by {source.version} desc" if source.version else ""
            connection.execute(f"""
                create table {name}_known as select * from {name}
                where _event_time < timestamptz '{DAY} 00:00:00' + interval 1 day and _known_time <= timestamptz '{DAY} 00:00:00' + interval 1 day
                qualify row_number() over (partition by {", ".join(source.key)} {newest}) = 1""")
        connection.execute("""
            create table told as select account_id, balance, null as credit_limit, _event_time as told_at, recorded_at from balances_known
            union all select account_id, balance, credit_limit, statement_at, recorded_at from statements_known""")
        connection.execute(LEDGERS)
        yield connection


@pytest.mark.parametrize("feature", FORMULAS)
def test_the_formula_gives_what_ships(lake: Lake, ledgers: duckdb.DuckDBPyConnection, feature: str) -> None:
    group, column = feature.split(".")
    of_nothing = None if feature in NOTHING else 0
    made = dict(ledgers.execute(FORMULAS[feature]).fetchall())
    agreed = {customer for (customer,) in ledgers.execute("select customer_id from agreed").fetchall()}
    ships = {row["customer_id"]: row[column] for row in lake.snapshots[group].to_pylist()}
    expected = {customer: made.get(customer, of_nothing) if customer in agreed else None for customer in ships}
    assert sum(value is not None and value != 0 for value in ships.values()) > 3
    assert {
        customer: (expected[customer], value) for customer, value in ships.items() if not _same(expected[customer], value)
    } == {}


def _same(one: Decimal | float | None, other: Decimal | float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
