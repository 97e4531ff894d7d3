"""What must hold in the ledgers, and how near they come to the published figures."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from synthetic.calibration import FIGURES
from synthetic.parameters import Parameters
from synthetic.sample import make_sample
from tests.synthetic.measures import measure
from tests.synthetic.recount import SOURCES, ZONE, BadRowError, rows_of, typed

ORPHAN = "9"  # ids of customers that don't exist begin with it


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory):
    """The kept rows of 1,500 customers by source, the first of each key and version, orphans left out."""
    root = tmp_path_factory.mktemp("ledgers")
    make_sample(Parameters(customers=1_500), root)
    kept = {}
    for name, source in SOURCES.items():
        rows = {}
        for path in sorted((root / name).iterdir()):
            for read in rows_of(path, source):
                try:
                    row = typed(read, source)
                except BadRowError:
                    continue
                key = tuple(row[column] for column in (*source.key, *([source.version] if source.version else [])))
                if not any(
                    str(row[column] or "")[1:2] == ORPHAN for column in ("customer_id", *source.references) if column in row
                ):
                    rows.setdefault(key, row)
        kept[name] = list(rows.values())
    return kept


def newest(rows, key):
    found = {}
    for row in sorted(rows, key=lambda row: row["recorded_at"]):
        found[row[key]] = row
    return found


def paid_in_full(ledgers):
    """When each instalment was paid in full, by the sum of what was paid."""
    due = {i["instalment_id"]: i["due_amount"] for i in ledgers["instalments"]}
    paid, when = defaultdict(Decimal), {}
    for payment in sorted(ledgers["payments"], key=lambda p: p["attempted_at"]):
        key = payment["instalment_id"]
        if payment["outcome"] == "succeeded" and key not in when:
            paid[key] += payment["amount"]
            if key in due and paid[key] >= due[key]:
                when[key] = payment["attempted_at"]
    return when


def test_published_figures(default_sample):
    figures = measure(default_sample)
    outside = {
        name: (value, FIGURES[name].low, FIGURES[name].high)
        for name, value in figures.items()
        if not FIGURES[name].low <= value <= FIGURES[name].high
    }
    assert not outside
    assert figures.keys() == FIGURES.keys()


def test_instalments_sum_to_the_financed_amount(ledgers):
    sums, counts = defaultdict(Decimal), defaultdict(int)
    for instalment in ledgers["instalments"]:
        if instalment["plan_id"]:
            sums[instalment["plan_id"]] += instalment["due_amount"]
            counts[instalment["plan_id"]] += 1
    plans = newest(ledgers["bnpl_plans"], "plan_id")
    whole = {key: plan["financed_amount"] for key, plan in plans.items() if key in sums}
    assert len(whole) > 1_000
    assert {key: sums[key] for key in whole} == whole
    assert set(counts.values()) == {3, 4, 6}


def test_a_plan_is_settled_when_its_last_instalment_is_paid(ledgers):
    when = paid_in_full(ledgers)
    of_plan = defaultdict(list)
    for instalment in ledgers["instalments"]:
        of_plan[instalment["plan_id"]].append(when.get(instalment["instalment_id"]))
    plans = newest(ledgers["bnpl_plans"], "plan_id")
    settled = {key: plan["settled_at"] for key, plan in plans.items() if plan["settled_at"] and None not in of_plan[key]}
    assert len(settled) > 800
    assert settled == {key: max(of_plan[key]) for key in settled}
    known_for_long = [
        key for key, plan in plans.items() if plan["recorded_at"].date() < date(2025, 9, 1) and not plan["settled_at"]
    ]
    never_paid = [key for key in known_for_long if plans[key]["decision"] == "approved" and not plans[key]["cancelled_at"]]
    assert all(None in of_plan[key] or max(of_plan[key]).date() >= date(2025, 8, 20) for key in never_paid)


def test_a_row_carries_what_was_known_when_it_was_recorded(ledgers):
    """No time in a row lies after its recording, dates of what is due aside; of versions the later one is recorded later."""
    for name, source in SOURCES.items():
        times = [column for column, spec in source.columns.items() if spec.type == "timestamp" and column != "recorded_at"]
        for row in ledgers[name]:
            assert all(row[column] is None or row[column] <= row["recorded_at"] for column in times), (name, row)
    settled_by = {"decided_at": "decision", "refunded_at": "refunded_amount"}
    for plan in ledgers["bnpl_plans"]:
        assert all((plan[time] is None) == (plan[value] is None) for time, value in settled_by.items())


def test_a_late_fee_comes_after_the_days_of_grace_and_only_where_nothing_was_paid(ledgers):
    when = paid_in_full(ledgers)
    due = {i["instalment_id"]: i["due_date"] for i in ledgers["instalments"]}
    late = [fee for fee in ledgers["fees"] if fee["kind"] == "late"]
    assert len(late) > 100
    for fee in late:
        instalment = fee["fee_id"].removeprefix("F").rsplit("-", 1)[0]
        charged = fee["charged_at"].astimezone(ZONE)
        assert charged.date() == due[instalment] + timedelta(days=4)
        assert instalment not in when or when[instalment] > charged


def test_payments_are_as_varied_as_life(ledgers):
    """On time, early, late, in parts, after failures, never, by themselves: each happens."""
    due = {i["instalment_id"]: i["due_date"] for i in ledgers["instalments"]}
    attempts, days = defaultdict(list), []
    for payment in ledgers["payments"]:
        attempts[payment["instalment_id"]].append(payment["outcome"])
    for key, at in paid_in_full(ledgers).items():
        days.append((at.astimezone(ZONE).date() - due[key]).days)
    overdue = [key for key, day in due.items() if day < date(2025, 6, 1)]
    when = paid_in_full(ledgers)
    shares = {
        "early": sum(d < 0 for d in days) / len(days),
        "late": sum(d > 0 for d in days) / len(days),
        "failed first": sum(a.count("failed") > 0 and a.count("succeeded") > 0 for a in attempts.values()) / len(attempts),
        "in parts": sum(a.count("succeeded") > 1 for a in attempts.values()) / len(attempts),
        "never": sum(key not in when for key in overdue) / len(overdue),
        "autopay": sum(p["is_autopay"] for p in ledgers["payments"]) / len(ledgers["payments"]),
    }
    assert 0.1 < shares["early"] < 0.5
    assert all(0.01 < share < 0.2 for share in (shares["late"], shares["failed first"], shares["in parts"], shares["never"])), (
        shares
    )
    assert 0.3 < shares["autopay"] < 0.8


def test_balances_are_the_statements_and_the_transactions_between(ledgers):
    """From one statement to the next, what was posted is the change of the balance; so at the end of each day."""
    posted = defaultdict(list)
    for transaction in ledgers["transactions"]:
        posted[transaction["account_id"]].append((transaction["posted_at"], transaction["amount"]))
    statements = defaultdict(list)
    for statement in ledgers["statements"]:
        statements[statement["account_id"]].append((statement["statement_at"], statement["balance"]))
    checked = 0
    for account, moves in posted.items():
        marks = sorted(statements[account])
        for (start, before), (end, after) in pairwise(marks):
            if (end - start).days > 32 or end > datetime(2025, 8, 15, tzinfo=ZONE):
                continue  # a statement recorded late, or transactions that are not all known yet
            assert before - sum(amount for at, amount in moves if start < at < end) == after
            checked += 1
    assert checked > 200
    first = {account: min(marks) for account, marks in statements.items()}
    daily = [b for b in ledgers["balances"] if b["day"] < date(2025, 8, 15)]
    for balance in daily:
        begun, opening = first[balance["account_id"]]
        following = balance["day"] + timedelta(days=1)
        end = datetime(following.year, following.month, following.day, tzinfo=ZONE)
        moved = sum(amount for at, amount in posted[balance["account_id"]] if begun < at < end)
        assert balance["balance"] == opening - moved
    assert len(daily) > 500


def test_conduct_is_what_the_instalments_say(ledgers):
    """Months in arrears at a month's end: instalments due by then and not paid in full by then."""
    when = paid_in_full(ledgers)
    of_account = defaultdict(list)
    for instalment in ledgers["instalments"]:
        of_account[instalment["account_id"]].append(instalment)
    behind = set()
    for row in ledgers["conduct"]:
        if row["status"] == "closed" or row["month"] > date(2025, 7, 1):
            continue
        ends = (row["month"] + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        open_ones = [
            i
            for i in of_account[row["account_id"]]
            if i["due_date"] <= ends
            and (i["instalment_id"] not in when or when[i["instalment_id"]].astimezone(ZONE).date() > ends)
        ]
        assert row["months_in_arrears"] == len(open_ones), row
        assert row["status"] == {0: "current", 1: "arrears", 2: "arrears"}.get(len(open_ones), "default")
        behind.add(min(len(open_ones), 3))
    assert behind == {0, 1, 2, 3}


def test_versions_are_counted_on(ledgers):
    for name, key in (("customers", "customer_id"), ("accounts", "account_id")):
        versions = defaultdict(list)
        for row in ledgers[name]:
            versions[row[key]].append((row["version"], row["recorded_at"]))
        whole = [sorted(found) for found in versions.values()]
        assert sum(len(found) > 1 for found in whole) > 30
        assert all([version for version, _ in found] == list(range(1, len(found) + 1)) for found in whole if found[0][0] == 1)


def test_activity_is_a_power_law(ledgers):
    """A tenth of the borrowers have more than a third of the plans."""
    plans = defaultdict(int)
    for key, plan in newest(ledgers["bnpl_plans"], "plan_id").items():
        plans[plan["customer_id"]] += key is not None
    ranked = sorted(plans.values(), reverse=True)
    assert sum(ranked[: len(ranked) // 10]) > 0.34 * sum(ranked)
