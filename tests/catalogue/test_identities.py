"""What must be true of the shipped features whatever the data: the golden identities, on a sample."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.catalogue.lake import COMPILED, DAY, GROUPS, Lake
from transforms.small import answer_rows

DAYS = (30, 90, 180, 365)
PAYMENT = ("customer_payment", "account_payment", "plan_payment")
BY_CALENDAR = ("bnpl_month_share", "pay_dpd_bucket_count", "pay_roll_forward_count")
"""Of a window of days, but by calendar months: another day is another answer."""


def rows_of(lake: Lake, group: str) -> list[dict[str, object]]:
    """Rows that consent doesn't blank."""
    told = [column.name for column in COMPILED.groups[group].columns if not column.internal]
    rows = [row for row in lake.snapshots[group].to_pylist() if any(row[name] is not None for name in told)]
    assert len(rows) > 50
    return rows


@pytest.mark.parametrize("group", PAYMENT)
@pytest.mark.parametrize("days", DAYS)
def test_due_late_and_missed(lake: Lake, group: str, days: int) -> None:
    """due ≥ late ≥ missed, and the share on time is 1 - late / due."""
    some = 0
    for row in rows_of(lake, group):
        due, late = row[f"pay_due_count_{days}d"], row[f"pay_late_count_{days}d"]
        missed = row.get(f"pay_missed_count_{days}d", 0)  # none is asked for of 30 days
        assert due >= late >= missed
        on_time = row[f"pay_on_time_rate_{days}d"]
        assert on_time is None if due == 0 else on_time == pytest.approx(1 - late / due)
        some += 0 < late < due
    assert some > 0 or days < 365


@pytest.mark.parametrize("group", GROUPS)
def test_counts_sums_and_maxima_grow_with_the_window(lake: Lake, group: str) -> None:
    """Of what isn't negative: a longer window holds all that a shorter one does."""
    families: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for column in COMPILED.groups[group].columns:
        match = re.fullmatch(
            r"(.*(?:_count|_amount_sum|_max|_max_dpd|_max_concurrent_plans)(?:_provider_\w+?)?)_(\d+)d", column.name
        )
        if match and column.type in ("integer", "money"):
            families[match[1]].append((int(match[2]), column.name))
    for row in rows_of(lake, group) if families else []:
        for family in families.values():
            for (_, short), (_, long) in pairwise(sorted(family)):
                assert row[short] is None or row[short] <= row[long], (short, long, row)


def test_active_plans_and_their_parts(lake: Lake) -> None:
    """What is active now was among the most at once; providers add up."""
    some = 0
    for row in rows_of(lake, "customer_bnpl"):
        active = row["bnpl_active_plan_count"]
        assert active <= row["bnpl_max_concurrent_plans_30d"]
        some += active > 1
        for whole, parts in {
            "bnpl_active_plan_count": "bnpl_active_plan_count_provider_{}",
            "bnpl_outstanding_amount": "bnpl_outstanding_amount_plan_provider_{}",
            "bnpl_amount_sum_365d": "bnpl_amount_sum_provider_{}_365d",
        }.items():
            assert row[whole] == sum(row[parts.format(provider)] for provider in ("atome", "grab", "spay", "other"))
    assert some > 0


def test_what_goes_in_and_out_is_the_change_of_balance(lake: Lake) -> None:
    """Of accounts with end-of-day balances, own transfers apart: what is owed falls by inflow less outflow."""
    day = timedelta(days=1)
    balances = {(row["account_id"], row["day"]): row["balance"] for row in lake.curated["balances"].to_pylist()}
    customers = {row["account_id"]: row["customer_id"] for row in lake.curated["accounts"].to_pylist()}
    own: dict[str, Decimal] = defaultdict(Decimal)
    with_transactions: dict[str, set[str]] = defaultdict(set)
    for row in lake.curated["transactions"].to_pylist():
        with_transactions[row["customer_id"]].add(row["account_id"])
        local = (row["posted_at"] + timedelta(hours=8)).date()
        if row["is_own_transfer"] and DAY - 90 * day < local <= DAY:
            own[row["customer_id"]] += row["amount"]
    compared = 0
    for row in rows_of(lake, "customer_transaction"):
        accounts = with_transactions[row["customer_id"]]
        ends = [(balances.get((account, DAY - 90 * day)), balances.get((account, DAY))) for account in accounts]
        if not accounts or any(None in pair for pair in ends) or {customers[a] for a in accounts} != {row["customer_id"]}:
            continue
        fell = sum(before - after for before, after in ends)
        assert row["txn_inflow_amount_sum_90d"] - row["txn_outflow_amount_sum_90d"] == fell - own[row["customer_id"]]
        compared += 1
    assert compared > 0


def test_whole_days_later_everything_is_the_same(lake: Lake) -> None:
    """All times and D moved by 28 local days (four weeks, no clock is put forward): windows of days give the same answers."""
    weeks = timedelta(days=28)
    # A month is a name (of a statement, of its instalment), no moment.
    moved = {name: _moved(table, weeks, but=("period", "month", "birth_date")) for name, table in lake.curated.items()}
    later = answer_rows(COMPILED, GROUPS, moved, [DAY + weeks])
    compared = 0
    for group in GROUPS:
        now, then = lake.snapshots[group], later[group]
        assert len(now) == len(then)
        for column in COMPILED.groups[group].columns:
            if column.window is not None and column.window.kind == "days" and not column.name.startswith(BY_CALENDAR):
                assert now[column.name].to_pylist() == then[column.name].to_pylist(), column.name
                compared += 1
    assert compared > 200


def _moved(table: pa.Table, by: timedelta, *, but: tuple[str, ...]) -> pa.Table:
    for place, field in enumerate(table.schema):
        if (pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)) and field.name not in but:
            values = table[field.name]
            seconds = values.cast(pa.timestamp("us", getattr(field.type, "tz", None)))
            table = table.set_column(place, field, pc.add(seconds, pa.scalar(by, pa.duration("us"))).cast(field.type))
    return table
