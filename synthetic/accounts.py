"""Credit accounts: applications, openings, changes of limit and standing, closings."""

from __future__ import annotations

import numpy as np

from synthetic import calibration as c
from synthetic.clock import DAY, NEVER, NULL, Floats, Ints, first_day_of, known_after, midnight, pick, stream
from synthetic.columns import Columns, concat, rank_within, take
from synthetic.customers import YEAR, People
from synthetic.parameters import Parameters

CARD, LOAN, OVERDRAFT = range(3)
LOAN_TERMS = (12, 24, 36)


def open_accounts(block: int, people: People, parameters: Parameters) -> tuple[Columns, Columns, Ints]:
    """The accounts of a block with what drives them, its rows of `applications`, and how many accounts exist by each month.

    Accounts stand in the order in which they came: those from before the sample, then month by month.
    """
    opened = [_from_before(block, people, parameters)]
    applications = []
    for month in parameters.months:
        asked, accounts = _applied_in(month, block, people, parameters)
        applications.append(asked)
        opened.append(accounts)
    accounts = concat(opened)
    accounts["account_id"] = accounts["customer_id"] * 100 + rank_within(accounts["_owner"]) + 1
    by_month = np.cumsum([len(part["_owner"]) for part in opened])[1:]
    return accounts, _application_versions(concat(applications)), by_month


def limit_at(accounts: Columns, which: Ints, time: Ints) -> Ints:
    """The credit limit in cents of account `which` at a time; NULL for loans."""
    changes = (accounts["_changed"][which] <= time[:, None]).sum(axis=1)
    limit: Ints = accounts["_limits"][which, changes]
    return limit


def account_versions(accounts: Columns) -> Columns:
    """Version 1 when an account is opened, one more for each change of limit or standing and for the closing."""
    standing = ("restructured", "special_attention", "legal_action", "closed")
    times = np.column_stack([accounts["opened_at"], accounts["_changed"], *(accounts[f"_{name}"] for name in standing)])
    times = np.where(times < accounts["_closed"][:, None] + 1, times, NEVER)
    times.sort(axis=1)
    delays = known_after(accounts["_delays"], c.LATE_SHARE * 2)
    recorded = np.zeros(len(times), np.int64)
    parts = []
    for slot in range(times.shape[1]):
        time = times[:, slot]
        recorded = np.maximum(time + delays[:, slot], recorded + 1)
        rows = {name: accounts[name] for name in ("_owner", "account_id", "customer_id", "product_type", "lender", "opened_at")}
        rows["version"] = np.full(len(time), slot + 1)
        rows["credit_limit"] = limit_at(accounts, np.arange(len(time)), time)
        rows["recorded_at"] = recorded
        for name in standing:
            rows[f"{name}_at"] = np.where(accounts[f"_{name}"] <= time, accounts[f"_{name}"], NULL)
        parts.append(take(rows, time < NEVER))
    return concat(parts)


def _from_before(block: int, people: People, parameters: Parameters) -> Columns:
    """Accounts opened before the sample begins: at most one of each product a customer; loans within the last year."""
    draw = stream(parameters.seed, block, "accounts")
    n = len(people.number)
    parts = []
    for product, share in enumerate(c.INITIAL_ACCOUNT_SHARES):
        has = draw.random(n) < share * np.minimum(0.5 + 0.5 * people.activity, 3.0)
        longest = np.where(product == LOAN, YEAR, 8 * YEAR)
        ago = (draw.random(n) * longest).astype(np.int64)
        opened = np.maximum(parameters.start - DAY - ago, people.joined + 3_600)
        owner = np.flatnonzero(has & (opened < parameters.start))
        traits = _traits(draw, owner, people, np.full(len(owner), product), opened[owner], parameters.start)
        parts.append(traits)
    return concat(parts)


def _applied_in(month: int, block: int, people: People, parameters: Parameters) -> tuple[Columns, Columns]:
    draw = stream(parameters.seed, block, "applications", month)
    owner = np.repeat(np.arange(len(people.number)), draw.poisson(c.APPLICATIONS_A_YEAR / 12 * people.activity))
    n = len(owner)
    first, following = int(first_day_of(month)), int(first_day_of(month + 1))
    applied = midnight(first) + (draw.random(n) * (following - first) * DAY).astype(np.int64)
    product = pick(draw.random(n), c.APPLIED_PRODUCT_WEIGHTS)
    decided = applied + 600 + draw.exponential(2.2 * DAY, n).astype(np.int64)
    decided = np.where(draw.random(n) < c.PENDING_SHARE, NEVER, decided)
    is_approved = draw.random(n) < c.APPLICATION_APPROVAL - 0.6 * people.late_propensity[owner]
    opened = decided + 3_600 + draw.exponential(1.5 * DAY, n).astype(np.int64)
    accounts = _traits(draw, owner, people, product, opened, parameters.start)
    asked = {
        "_owner": owner,
        "customer_id": people.number[owner],
        "product_type": product,
        "lender": accounts["lender"],
        "amount": np.round(draw.lognormal(np.log(7_000), 0.7, n) / 100).astype(np.int64) * 10_000,
        "applied_at": applied,
        "_decided": decided,
        "decision": np.where(is_approved, 0, 1),
        "_delays": draw.random((n, 2)),
    }
    is_customer = (applied > people.joined[owner]) & (applied < people.closed[owner])
    return take(asked, is_customer), take(accounts, is_customer & is_approved & (decided < NEVER))


def _traits(draw: np.random.Generator, owner: Ints, people: People, product: Ints, opened: Ints, start: int) -> Columns:
    """What an account is and what will become of it; nothing here depends on where the sample ends."""
    n = len(owner)
    revolves = product != LOAN
    propensity = people.late_propensity[owner]
    seen = np.maximum(opened, start)
    closed = np.where(revolves, seen + draw.exponential(22 * YEAR, n).astype(np.int64) + 30 * DAY, NEVER)
    size = draw.lognormal(0.0, 0.6, n)
    limits = np.empty((n, 4), np.int64)
    limits[:, 0] = np.round(size * np.where(product == CARD, 6_000, 2_000) / 500 + 1) * 50_000
    factor = np.where(draw.random((n, 3)) < 0.75, 1.1 + 0.5 * draw.random((n, 3)), 0.5 + 0.4 * draw.random((n, 3)))
    for change in range(3):
        limits[:, change + 1] = np.round(limits[:, change] * factor[:, change] / 10_000) * 10_000
    changed = seen[:, None] + DAY + np.cumsum(draw.exponential(4 * YEAR, (n, 3)), axis=1).astype(np.int64)
    changed = np.where(revolves[:, None] & (changed < closed[:, None]), changed, NEVER)
    stops = draw.random(n) < c.DEFAULT_TO_PROPENSITY * propensity
    stopped = np.where(stops, seen + 20 * DAY + draw.exponential(YEAR, n).astype(np.int64), NEVER)
    closed = np.where(stops, NEVER, closed)
    after_stop = draw.random((n, 3))
    wait = (draw.random((n, 3)) * 60 * DAY).astype(np.int64)

    def happens(column: int, share: float, days: int) -> Ints:
        return np.where(stops & (after_stop[:, column] < share), stopped + days * DAY + wait[:, column], NEVER)

    return {
        "_owner": owner,
        "customer_id": people.number[owner],
        "product_type": product,
        "lender": pick(draw.random(n), c.LENDER_WEIGHTS),
        "opened_at": opened,
        "_closed": closed,
        "_changed": changed,
        "_limits": np.where(revolves[:, None], limits, NULL),
        "_stopped": stopped,
        "_restructured": happens(0, 0.25, 100),
        "_special_attention": happens(1, 0.5, 95),
        "_legal_action": happens(2, 0.3, 200),
        "_principal": (np.round(size * 8_000 / 100 + 1) * 10_000 * 1.12).astype(np.int64),
        "_term": np.array(LOAN_TERMS)[draw.integers(0, 3, n)],
        "_utilisation": _utilisation(draw, n),
        "_statement_day": draw.integers(0, 28, n),
        "_statement_second": 2 * 3_600 + draw.integers(0, 3 * 3_600, n),
        "_style": pick(draw.random(n), (0.35, 0.45, 0.20)),
        "_automatic": draw.random(n) < 0.4,
        "_late_share": propensity,
        "_is_transactional": revolves & (draw.random(n) < c.TRANSACTIONAL_SHARE),
        "_is_daily": draw.random(n) < c.DAILY_BALANCE_SHARE,
        "_is_reported": draw.random(n) < c.REPORTED_SHARE,
        "_delays": draw.random((n, 8)),
    }


def _utilisation(draw: np.random.Generator, n: int) -> Floats:
    """The level around which an account's utilisation moves: many low, some at the limit, a few above."""
    level: Floats = draw.beta(*c.UTILISATION, n) * 1.0
    return level


def _application_versions(applications: Columns) -> Columns:
    """An application is recorded when it is made and again when it is decided."""
    application_id = applications["customer_id"] * 1_000 + rank_within(applications["_owner"])
    delays = known_after(applications["_delays"], c.LATE_SHARE)
    base = {name: applications[name] for name in ("_owner", "customer_id", "product_type", "lender", "amount", "applied_at")}
    base["application_id"] = application_id
    recorded = applications["applied_at"] + delays[:, 0]
    decided = applications["_decided"]
    nothing = np.full(len(recorded), NULL)
    first = {**base, "recorded_at": recorded, "decided_at": nothing, "decision": nothing}
    again = np.maximum(decided + delays[:, 1], recorded + 1)
    second = {**base, "recorded_at": again, "decided_at": decided, "decision": applications["decision"]}
    return concat([first, take(second, decided < NEVER)])
