"""What a portfolio reports, said anew in SQL: of each lender's open accounts of a product, and of each provider's active plans."""

from __future__ import annotations

MEMBERS = """
create table members as -- of each portfolio what is in it, with what is owed on it and may still be drawn
    select lender || ':' || product_type as portfolio, account_id as entity, customer_id, coalesce(s.dpd, 0) as dpd,
        coalesce(b.dpd, 0) as dpd_before,
        case when coalesce(s.dpd, 0) > 90 or coalesce(legal_action_at < cut_off(), false) then 3
            when coalesce(s.dpd, 0) > 30 or coalesce(special_attention_at < cut_off(), false)
            or coalesce(restructured_at < cut_off() and cast(restructured_at as date) > day() - 730, false) then 2 else 1 end as stage,
        balance + if(product_type = 'personal_loan', 0, coalesce(greatest(credit_limit - balance, 0), 0)) as exposure
    from accounts_known a left join told_last using (account_id)
    left join spread s on s.entity = account_id and s.d = day() left join spread b on b.entity = account_id and b.d = day() - 30
    where closed_at is null or closed_at >= cut_off()
    union all
    select provider || ':bnpl', plan_id, customer_id, coalesce(s.dpd, 0), coalesce(b.dpd, 0),
        case when coalesce(s.dpd, 0) > 90 then 3 when coalesce(s.dpd, 0) > 30 then 2 else 1 end, coalesce(unpaid, 0)
    from plans p left join (select plan_id, sum(greatest(due_amount - paid_amount, 0)) as unpaid from dues group by 1) using (plan_id)
    left join spread s on s.entity = plan_id and s.d = day() left join spread b on b.entity = plan_id and b.d = day() - 30
    where approved and ended is null;
create table afford as -- what falls due in the 30 days after D, as was agreed by then, over the income last declared
    select customer_id, coalesce(due, 0) / nullif(income, 0) <= 0.6 as passes from (
        select customer_id, arg_max(declared_income_monthly, (valid_from, recorded_at, version)) as income
        from customers_known where declared_income_monthly is not null group by 1)
    left join (select customer_id, sum(due_amount) as due from dues where due_date > day() and due_date <= day() + 30 group by 1)
    using (customer_id);
"""

PORTFOLIOS = """
    select portfolio, count(*) as portfolio_count, sum(exposure) as portfolio_exposure,
        count(*) filter (dpd >= 30) / count(*) as portfolio_30_plus_rate,
        count(*) filter (dpd >= 90) / count(*) as portfolio_90_plus_rate,
        count(*) filter (stage = 1) / count(*) as portfolio_stage_1_share,
        count(*) filter (stage = 2) / count(*) as portfolio_stage_2_share,
        count(*) filter (stage = 3) / count(*) as portfolio_stage_3_share,
        count(*) filter (dpd_before < 30 and dpd >= 30) / count(*) filter (dpd_before < 30) as portfolio_roll_to_30_rate,
        count(*) filter (dpd_before >= 30 and dpd_before < 60 and dpd >= 60)
            / nullif(count(*) filter (dpd_before >= 30 and dpd_before < 60), 0) as portfolio_roll_to_60_rate,
        count(*) filter (dpd_before >= 60 and dpd_before < 90 and dpd >= 90)
            / nullif(count(*) filter (dpd_before >= 60 and dpd_before < 90), 0) as portfolio_roll_to_90_rate,
        count(*) filter (not passes) / nullif(count(passes), 0) as portfolio_affordability_fail_share
    from members left join afford using (customer_id) group by portfolio"""
