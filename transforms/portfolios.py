"""Portfolios: each lender's open accounts of a product, and each provider's active plans, counted as reporting rules ask."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

PLANS = "bnpl"  # the product of every provider's plans


def portfolio_regulatory(frames: Mapping[str, DataFrame], as_of: date, cut_off: datetime) -> DataFrame:
    """One row a portfolio, `<lender>:<product>` or `<provider>:bnpl`, that has an open account or an active plan at T.

    Rates are shares of its accounts or plans, from 0 to 1; null where they are shares of none. A roll rate is of those that lay
    in a band of days past due 30 days before: the share that is in a worse one now. Plans have no other stage than that of
    their days past due (IFRS 9 5.5.11: past 30 days stage 2, past 90 days stage 3).
    """
    items = _accounts(frames).unionByName(_plans(frames))
    customers = frames["customer_regulatory"].select("customer_id", "reg_affordability_pass_flag")
    items = items.join(customers, on="customer_id", how="left")  # as many rows: one a customer
    past, before = F.coalesce("past_due", F.lit(0)), F.col("past_due_before")
    passes = F.col("reg_affordability_pass_flag")
    return items.groupBy("portfolio_id").agg(
        F.count("*").alias("portfolio_count"),
        F.sum("exposure").cast("decimal(28,2)").alias("portfolio_exposure"),
        _share(past >= 30).alias("portfolio_30_plus_rate"),
        _share(past >= 90).alias("portfolio_90_plus_rate"),
        *(_share(F.col("stage") == stage).alias(f"portfolio_stage_{stage}_share") for stage in (1, 2, 3)),
        _share(past >= 30, among=before < 30).alias("portfolio_roll_to_30_rate"),
        _share(past >= 60, among=before.between(30, 59)).alias("portfolio_roll_to_60_rate"),
        _share(past >= 90, among=before.between(60, 89)).alias("portfolio_roll_to_90_rate"),
        _share(~passes, among=passes.isNotNull()).alias("portfolio_affordability_fail_share"),
    )


def _accounts(frames: Mapping[str, DataFrame]) -> DataFrame:
    """Rows out: one an open account."""
    standing = frames["account_regulatory"].select(
        "account_id",
        F.col("reg_ifrs9_stage").alias("stage"),
        F.col("reg_days_past_due").alias("past_due"),
        F.col("reg_days_past_due_before").alias("past_due_before"),
        F.col("reg_exposure").alias("exposure"),
    )
    accounts = frames["accounts"].where("closed_at is null")
    portfolio = F.concat_ws(":", "lender", "product_type").alias("portfolio_id")
    return accounts.select("account_id", "customer_id", portfolio).join(standing, on="account_id", how="inner").drop("account_id")


def _plans(frames: Mapping[str, DataFrame]) -> DataFrame:
    """Rows out: one an active plan."""
    past = F.col("reg_days_past_due")
    standing = frames["plan_regulatory"].select(
        "plan_id",
        F.when(past > 90, 3).when(past > 30, 2).otherwise(1).cast("bigint").alias("stage"),
        past.alias("past_due"),
        F.col("reg_days_past_due_before").alias("past_due_before"),
        F.col("reg_exposure").alias("exposure"),
    )
    plans = frames["bnpl_plans"].where("decision = 'approved' and settled_at is null and cancelled_at is null")
    portfolio = F.concat_ws(":", "provider", F.lit(PLANS)).alias("portfolio_id")
    return plans.select("plan_id", "customer_id", portfolio).join(standing, on="plan_id", how="inner").drop("plan_id")


def _share(condition: Column, *, among: Column | None = None) -> Column:
    """The share of rows that meet a condition (null is no), of all or of those `among`; null where there are none."""
    met = F.when(F.coalesce(condition, F.lit(False)), 1.0).otherwise(0.0)
    return F.avg(met if among is None else F.when(among, met))
