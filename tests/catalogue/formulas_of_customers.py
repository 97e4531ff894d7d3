"""Features of customers said anew in SQL: a customer and a number, of those of whom there is any."""

from __future__ import annotations

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
    "customer_payment.pay_max_dpd_365d": "select customer_id, max(dpd) from past_due where due_in(d, 365) group by 1",
    "customer_payment.pay_dpd_bucket_count_365d": """
        select customer_id, json_group_object(band, n) from (
            select customer_id, case when dpd = 0 then '0' when dpd < 30 then '1-29' when dpd < 60 then '30-59'
                when dpd < 90 then '60-89' else '90+' end as band, count(*) as n
            from past_due where d = last_day(d) and due_in(d, 365) group by all)
        group by 1""",
    "customer_payment.pay_dpd_trend_12mo": """
        select customer_id, regr_slope(dpd, day() - d) * -1 from past_due
        where d = last_day(d) and d <= day() and d > last_day(day() + 1 - interval 13 month) group by 1""",
    "customer_bnpl.bnpl_first_payment_default_count_365d": """
        select customer_id, count(*) from (
            select p.customer_id, p.made, d.due_date, d.paid_on from plans p join dues d using (plan_id)
            where d.due_date > cast(d.agreed_at as date)
            qualify row_number() over (partition by plan_id order by d.due_date, d.number) = 1)
        where due_in(made, 365) and due_date + 30 <= day() and (paid_on is null or paid_on > due_date + 30) group by 1""",
    "customer_profile.cust_known_since_days": """
        select customer_id, day() - min(cast(_event_time as date)) from (
            select customer_id, _event_time from customers_known union all select customer_id, _event_time from consents_known
            union all select customer_id, _event_time from accounts_known union all select customer_id, _event_time from applications_known
            union all select customer_id, _event_time from bnpl_plans_known) group by 1""",
    "customer_credit.cust_declared_income_monthly": """
        select customer_id, arg_max(declared_income_monthly, (valid_from, recorded_at, version)) from customers_known
        where declared_income_monthly is not null group by 1""",
    "customer_regulatory.reg_total_exposure": """
        select customer_id, sum(exposed) from (
            select customer_id, balance + if(product_type = 'personal_loan', 0, greatest(credit_limit - balance, 0)) as exposed
            from (select a.*, coalesce(t.balance, 0) as balance from accounts_known a left join told_last t using (account_id))
            where closed_at is null or closed_at >= cut_off()
            union all
            select p.customer_id, greatest(due_amount - paid_amount, 0) from plans p join dues using (plan_id) where approved and ended is null)
        group by 1""",
}  # fmt: skip
NULL_OF_NOTHING = {
    "customer_payment.pay_weighted_days_late_365d",
    "customer_payment.pay_late_rate_fraction_90d_365d",
    "customer_payment.pay_dpd_trend_12mo",
    "customer_bnpl.bnpl_days_between_plans_avg_180d",
    "customer_transaction.txn_mcc_entropy_90d",
    "customer_credit.cust_utilisation_avg_90d",
    "customer_credit.cust_declared_income_monthly",
}
"""Null of no facts; the others are 0, and maps are empty."""
