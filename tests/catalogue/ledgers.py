"""The sample's ledgers as they were known at the cut-off, in DuckDB, with the words that the catalogue's formulas share.

Written from the catalogue, not from the definitions.
"""

from __future__ import annotations

import duckdb

from tests.catalogue.lake import CATALOGUE, DAY, ZONE, Lake

SHARED = f"""
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
create table owners as -- whose an account or a plan is
    select account_id as entity, customer_id from accounts_known union all select plan_id, customer_id from bnpl_plans_known
    union all select distinct customer_id, customer_id from customers_known;
create table told_last as -- what is owed on an account
    select account_id, arg_max(balance, (told_at, recorded_at)) as balance from told group by 1;
create table spread as -- of each account and plan, with the days past due at the end of each day
    select coalesce(plan_id, account_id) as entity, d,
        coalesce(max(case when due_date < d and (paid_on is null or paid_on > d) then d - due_date end), 0) as dpd
    from dues cross join days group by all;
create table moments as -- of every row of a customer: when it happened, and when it was known
    select customer_id, unnest([_event_time]) as happened, _known_time as known from customers_known
    {
    "".join(
        f" union all select customer_id, _event_time, _known_time from {name}_known"
        for name in (
            "consents",
            "accounts",
            "applications",
            "bnpl_plans",
            "bnpl_limits",
            "instalments",
            "payments",
            "transactions",
            "fees",
        )
    )
}
    union all select customer_id, s._event_time, s._known_time from statements_known s join accounts_known using (account_id);
create macro late(happened, known) as known > timezone('{ZONE}', date_trunc('day', timezone('{
    ZONE
}', happened)) + interval 1 day);
"""


def open_ledgers(lake: Lake) -> duckdb.DuckDBPyConnection:
    """Of every source the newest version, by declared version, of what had happened and was known by the cut-off."""
    connection = duckdb.connect()
    connection.execute(f"set timezone = '{ZONE}'")
    connection.register("delivered", lake.delivered)
    until = f"timestamptz '{DAY} 00:00:00' + interval 1 day"
    for name, table in lake.curated.items():
        source = CATALOGUE.sources[name]
        connection.register(name, table)
        newest = f"order by {source.version} desc" if source.version else ""
        connection.execute(f"""
            create table {name}_known as select * from {name} where _event_time < {until} and _known_time <= {until}
            qualify row_number() over (partition by {", ".join(source.key)} {newest}) = 1""")
    connection.execute(f"""
        create table told as select account_id, balance, null as credit_limit, _event_time as told_at, recorded_at from balances_known
        union all select account_id, balance, credit_limit, statement_at, recorded_at from statements_known;
        create table delivered_known as select * from delivered where event_time < {until} and known_time <= {until}""")
    connection.execute(SHARED)
    return connection
