"""Buy-now-pay-later: plans, their instalments, payments and fees, over the whole life of each plan."""

from __future__ import annotations

import numpy as np

from synthetic import calibration as c
from synthetic.clock import DAY, NEVER, NULL, Ints, first_day_of, known_after, local_day, midnight, month_of, pick, stream
from synthetic.columns import Columns, concat, rank_within, take
from synthetic.customers import People
from synthetic.parameters import Parameters
from synthetic.repayment import UNIFORMS, Dues, late_fees, pay

DECISIONS = ("approved", "declined")
YEAR = 365 * DAY
MOST_INSTALMENTS = 6
# Share of a day's plans by local hour: few at night, most in the evening. Assumption.
_HOURS = np.array([2, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 7, 6, 6, 6, 6, 6, 7, 8, 9, 9, 7, 4], np.float64)
_HOUR_EDGES = np.concatenate([[0.0], np.cumsum(_HOURS) / _HOURS.sum()])
# Seasons of a year: the sales of November and December, the month before Hari Raya. Assumption.
_SEASON = (0.9, 0.9, 1.15, 1.0, 0.9, 0.95, 0.95, 0.95, 0.95, 1.05, 1.25, 1.2)


def make_plans(block: int, people: People, parameters: Parameters) -> dict[str, Columns]:
    """The rows of a block in `bnpl_plans`, `bnpl_limits`, `instalments`, `payments` and `fees`."""
    plans = concat([_created_in(month, block, people, parameters) for month in parameters.months])
    plans["plan_id"] = plans["customer_id"] * 10_000 + rank_within(plans["_owner"])
    dues, uniform, plan_of = _schedule(plans)
    payments, paid = pay(dues, uniform)
    charges_fees = plans["provider"][plan_of] != 0  # one provider charges none
    fees = late_fees(dues, np.where(charges_fees, paid, 0), uniform, of_plan=True, share=c.LATE_FEE_SHARE)
    fees["plan_id"] = fees["_instalment"] // 100
    fees["account_id"] = np.full(len(fees["_instalment"]), NULL)

    last_paid = np.zeros(len(plans["plan_id"]), np.int64)
    np.maximum.at(last_paid, plan_of, paid)
    is_open = (last_paid == 0) | (last_paid >= NEVER) | (plans["_cancelled"] < NEVER)
    plans["_settled"] = np.where(is_open, NEVER, last_paid)
    instalments = {
        "_owner": dues.owner,
        "instalment_id": dues.instalment,
        "plan_id": plans["plan_id"][plan_of],
        "account_id": np.full(len(paid), NULL),
        "customer_id": dues.customer,
        "number": dues.instalment % 100,
        "agreed_at": dues.agreed,
        "recorded_at": dues.agreed + known_after(plans["_schedule_delay"][plan_of], c.LATE_SHARE / 3),
        "due_date": dues.due_day,
        "due_amount": dues.due,
    }
    limits = _limits(block, people, plans, parameters)
    return {
        "bnpl_plans": _versions(plans),
        "bnpl_limits": limits,
        "instalments": instalments,
        "payments": payments,
        "fees": fees,
    }


def _limits(block: int, people: People, plans: Columns, parameters: Parameters) -> Columns:
    """What each provider lets a customer owe: set minutes before the first plan there, raised once for some."""
    draw = stream(parameters.seed, block, "limits")
    shape = (len(people.number), len(c.PROVIDERS))
    first = np.full(shape, NEVER, np.int64)
    np.minimum.at(first, (plans["_owner"], plans["provider"]), plans["created_at"])
    amount = (
        np.round(draw.lognormal(np.log(c.PROVIDER_LIMIT_MEDIAN), c.PROVIDER_LIMIT_SIGMA, shape) / 50).astype(np.int64) * 50_00
    )
    wait, told = draw.random((2, *shape))
    is_raised = draw.random(shape) < c.LIMIT_RAISED_SHARE
    set_at = first - 60 - (wait * 1_800).astype(np.int64)
    raised_at = first + 90 * DAY + (wait * 1.75 * YEAR).astype(np.int64)
    parts = []
    for moment, exists, limit in ((set_at, first < NEVER, amount), (raised_at, (first < NEVER) & is_raised, amount * 3 // 2)):
        owner, provider = np.nonzero(exists)
        parts.append(
            {
                "_owner": owner,
                "customer_id": people.number[owner],
                "provider": provider,
                "set_at": moment[owner, provider],
                "recorded_at": moment[owner, provider] + known_after(told[owner, provider], c.LATE_SHARE),
                "credit_limit": limit[owner, provider],
            }
        )
    return concat(parts)


def _created_in(month: int, block: int, people: People, parameters: Parameters) -> Columns:
    """The plans asked for in one month, with every random number that their later life takes."""
    draw = stream(parameters.seed, block, "plans", month)
    rate = people.plans_a_year / 12 * _SEASON[month % 12] * draw.gamma(2.0, 0.5, len(people.number))
    owner = np.repeat(np.arange(len(people.number)), draw.poisson(rate / c.APPROVAL_AT_NO_RISK * 1.06))
    n = len(owner)
    first, following = int(first_day_of(month)), int(first_day_of(month + 1))
    day = first + (draw.random(n) * (following - first)).astype(np.int64)
    hour = np.interp(draw.random(n), _HOUR_EDGES, np.arange(25.0))
    created = midnight(day) + np.minimum(hour * 3_600, DAY - 1).astype(np.int64)
    propensity = people.late_propensity[owner]
    wanders = ~people.is_loyal[owner] & (draw.random(n) >= c.STAYS_WITH_HOME_PROVIDER)
    amount = np.clip(draw.lognormal(np.log(c.AMOUNT_MEDIAN), c.AMOUNT_SIGMA, n), 20.0, 2_000.0)
    ends_in_nines = draw.random(n) < 0.5
    cents = np.where(ends_in_nines, np.floor(amount) * 100 + 90, np.round(amount * 100)).astype(np.int64)
    speed, slowness = draw.random(n), draw.random(n)
    decision_seconds = np.where(
        speed < 0.88, 1 + slowness * 7, np.where(speed < 0.97, 60 + slowness * 1_500, 3_600 + slowness * 18_000)
    )
    decided = created + decision_seconds.astype(np.int64)
    is_approved = draw.random(n) < c.APPROVAL_AT_NO_RISK - c.APPROVAL_LOST_TO_RISK * propensity
    what_next, when_next, how_much = draw.random((3, n))
    is_cancelled = is_approved & (what_next < c.CANCELLED_SHARE)
    is_refunded = is_approved & ~is_cancelled & (what_next < c.CANCELLED_SHARE + c.REFUNDED_SHARE)
    is_full_refund = is_refunded & (how_much < c.FULL_REFUND_SHARE)
    cancelled = np.where(is_cancelled, decided + 7_200 + (when_next * 6 * DAY).astype(np.int64), NEVER)
    refunded = np.where(is_refunded, decided + 3 * DAY + (when_next * 25 * DAY).astype(np.int64), NEVER)
    length = pick(draw.random(n), tuple(share for _, share in c.PLAN_LENGTHS))
    stops = draw.random(n) < np.minimum(c.BNPL_DEFAULT_TO_PROPENSITY * propensity, 0.6)
    stops_at = 2 + (draw.random(n) * (np.array([number for number, _ in c.PLAN_LENGTHS])[length] - 1)).astype(np.int64)
    plans = {
        "_owner": owner,
        "customer_id": people.number[owner],
        "provider": np.where(wanders, pick(draw.random(n), c.PROVIDER_WEIGHTS), people.home_provider[owner]),
        "merchant_category": pick(draw.random(n), c.CATEGORY_WEIGHTS),
        "financed_amount": cents,
        "created_at": created,
        "_decided": decided,
        "decision": np.where(is_approved, 0, 1),
        "_cancelled": cancelled,
        "_refunded": refunded,
        "refunded_amount": np.where(is_full_refund, cents, (cents * (0.1 + 0.5 * how_much)).astype(np.int64)),
        "_credited": np.where(is_full_refund, refunded, cancelled),
        "_number_of_instalments": np.array([number for number, _ in c.PLAN_LENGTHS])[length],
        "_stops_at": np.where(stops & ~is_refunded & ~is_cancelled, stops_at, MOST_INSTALMENTS + 1),
        "_late_share": np.minimum(c.BNPL_LATE_TO_CARD_LATE * propensity, 0.9),
        "_automatic": people.pays_automatically[owner] | (draw.random(n) < 0.5),
        "_schedule_delay": draw.random(n),
        "_delays": draw.random((n, 5)),
        "_uniform": draw.random((n, MOST_INSTALMENTS, UNIFORMS)),
    }
    return take(plans, (created > people.joined[owner]) & (created < people.closed[owner]))


def _schedule(plans: Columns) -> tuple[Dues, np.ndarray[tuple[int, ...], np.dtype[np.float64]], Ints]:
    """The instalments of the approved plans, the random numbers of their payments, and the plan that each belongs to.

    They sum to the financed amount: the first takes the cents that don't divide.
    """
    lengths = np.where(plans["decision"] == 0, plans["_number_of_instalments"], 0)
    plan_of = np.repeat(np.arange(len(lengths)), lengths)
    number = np.arange(len(plan_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
    agreed = plans["_decided"][plan_of]
    count = lengths[plan_of]
    amount = plans["financed_amount"][plan_of]
    due = amount // count + np.where(number == 1, amount % count, 0)
    agreed_day = local_day(agreed)
    is_fortnightly = count == 4
    in_months = month_of(agreed_day) + number
    day_of_month = agreed_day - first_day_of(month_of(agreed_day))
    monthly = first_day_of(in_months) + np.minimum(day_of_month, first_day_of(in_months + 1) - first_day_of(in_months) - 1)
    dues = Dues(
        owner=plans["_owner"][plan_of],
        customer=plans["customer_id"][plan_of],
        instalment=plans["plan_id"][plan_of] * 100 + number,
        agreed=agreed,
        due_day=np.where(is_fortnightly, agreed_day + 14 * (number - 1), monthly),
        due=due,
        pays=due,
        late_share=plans["_late_share"][plan_of],
        mean_days_late=9.0,
        never=number >= plans["_stops_at"][plan_of],
        at_checkout=is_fortnightly & (number == 1),
        automatic=plans["_automatic"][plan_of],
        credited=plans["_credited"][plan_of],
    )
    return dues, plans["_uniform"][plan_of, number - 1], plan_of


def _versions(plans: Columns) -> Columns:
    """A plan is recorded when it is created and again at each change, with what is known by then.

    A decision within the minute comes with the first row.
    """
    created, decided = plans["created_at"], plans["_decided"]
    first = np.where(decided - created < 60, decided, created)
    second = np.where(decided - created < 60, NEVER, decided)
    times = np.column_stack([first, second, plans["_cancelled"], plans["_refunded"], plans["_settled"]])
    times.sort(axis=1)
    delays = known_after(plans["_delays"], c.LATE_SHARE)
    recorded = np.zeros(len(created), np.int64)
    parts = []
    for slot in range(times.shape[1]):
        time = times[:, slot]
        recorded = np.maximum(time + delays[:, slot], recorded + 1)
        known = {
            name: np.where(plans[f"_{name}"] <= time, plans[f"_{name}"], NULL)
            for name in ("decided", "cancelled", "refunded", "settled")
        }
        rows = {name: plans[name] for name in ("_owner", "plan_id", "customer_id", "provider", "merchant_category")}
        rows |= {
            "financed_amount": plans["financed_amount"],
            "created_at": created,
            "recorded_at": recorded,
            "decided_at": known["decided"],
            "decision": np.where(known["decided"] == NULL, NULL, plans["decision"]),
            "settled_at": known["settled"],
            "cancelled_at": known["cancelled"],
            "refunded_at": known["refunded"],
            "refunded_amount": np.where(known["refunded"] == NULL, NULL, plans["refunded_amount"]),
        }
        parts.append(take(rows, time < NEVER))
    return concat(parts)
