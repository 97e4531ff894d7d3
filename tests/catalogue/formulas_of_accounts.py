"""Features of accounts and plans said anew in SQL: an account (or a plan) and a number, of those of which there is any."""

from __future__ import annotations

STAGES = """
    select account_id, d, case when coalesce(dpd, 0) > 90 or legal_action_at < cut_off() and cast(legal_action_at as date) <= d then 3
        when coalesce(dpd, 0) > 30 or special_attention_at < cut_off() and cast(special_attention_at as date) <= d
        or restructured_at < cut_off() and d - cast(restructured_at as date) between 0 and 729 then 2 else 1 end as stage
    from accounts_known cross join days left join spread s using (d) where s.entity = account_id"""

FORMULAS = {
    "account_payment.pay_current_dpd": "select entity, dpd from spread where d = day()",
    "account_payment.pay_max_dpd_180d": "select entity, max(dpd) from spread where due_in(d, 180) group by 1",
    "plan_payment.pay_max_dpd_180d": "select entity, max(dpd) from spread where due_in(d, 180) group by 1",
    "account_regulatory.reg_stage_migration_count_365d": f"""
        select account_id, count(*) from (
            select *, lag(stage) over (partition by account_id order by d) as before from ({STAGES}))
        where due_in(d, 365) and stage != before group by 1""",
    "account_regulatory.reg_months_in_arrears": """
        select account_id, count(*) from dues where account_id is not null
        and due_date <= last_day(day() + 1 - interval 1 month) and (paid_on is null or paid_on > last_day(day() + 1 - interval 1 month)) group by 1""",
    "account_conduct.acct_balance": "select account_id, balance from told_last",
    "account_conduct.acct_balance_avg_90d": """
        select account_id, round(sum(balance) / count(*)::decimal(18, 0), 2) from (
            select account_id, d, arg_max(balance, (told_at, recorded_at)) as balance from told join days on cast(told_at as date) <= d
            where due_in(d, 90) group by all)
        group by 1""",
}
NULL_OF_NOTHING = {"account_conduct.acct_balance", "account_conduct.acct_balance_avg_90d"}
