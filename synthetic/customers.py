"""Customers and their consents: who they are, how active, how punctual; every change is a new version."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic import calibration as c
from synthetic.clock import DAY, NEVER, NULL, Flags, Floats, Ints, known_after, local_day, pick, stream
from synthetic.columns import Columns, concat
from synthetic.parameters import BLOCK, Parameters

SEXES = ("f", "m", "x")
STATES = ("Selangor", "Kuala Lumpur", "Johor", "Penang", "Sabah", "Sarawak", "Perak", "Kedah", "Negeri Sembilan", "Melaka")
OCCUPATIONS = (
    "clerk",
    "sales",
    "teacher",
    "nurse",
    '"Engineer, civil"',  # quoted as CSV has it: a comma in a value
    "driver",
    "self-employed",
    "student",
    "manager",
    "retired",
)
RESIDENCIES = ("citizen", "permanent", "foreign")
PURPOSES = ("bureau", "bnpl_data", "marketing")
YEAR = 365 * DAY


@dataclass(frozen=True)
class People:
    """The customers of a block: what drives their behaviour."""

    number: Ints
    joined: Ints
    closed: Ints
    late_propensity: Floats
    activity: Floats
    plans_a_year: Floats
    home_provider: Ints
    is_loyal: Flags
    pays_automatically: Flags


def make_customers(block: int, parameters: Parameters) -> tuple[People, Columns, Columns]:
    """The people of a block, and their rows of `customers` and `consents`."""
    draw = stream(parameters.seed, block, "customers")
    start = parameters.start
    number = np.arange(BLOCK, dtype=np.int64) + block * BLOCK
    joins_later = draw.random(BLOCK) < 0.15
    before = start - draw.random(BLOCK) * 6 * YEAR
    after = start + draw.random(BLOCK) * 0.6 * parameters.years * YEAR
    joined = np.where(joins_later, after, before).astype(np.int64)
    seen = np.maximum(joined, start)
    closed = seen + (draw.exponential(60 * YEAR, BLOCK)).astype(np.int64)
    activity = np.minimum(draw.lognormal(-0.5, 1.0, BLOCK), 30.0)
    is_borrower = draw.random(BLOCK) < c.BORROWER_SHARE
    plans_a_year = np.minimum(draw.lognormal(np.log(c.PLANS_A_YEAR_MEDIAN), c.PLANS_A_YEAR_SIGMA, BLOCK), c.PLANS_A_YEAR_MOST)
    people = People(
        number=number,
        joined=joined,
        closed=closed,
        late_propensity=draw.beta(*c.LATE_PROPENSITY, BLOCK),
        activity=activity,
        plans_a_year=np.where(is_borrower, plans_a_year, 0.0),
        home_provider=pick(draw.random(BLOCK), c.PROVIDER_WEIGHTS),
        is_loyal=draw.random(BLOCK) < c.LOYAL_SHARE,
        pays_automatically=draw.random(BLOCK) < 0.6,
    )
    return people, _profiles(draw, people, start), _consents(draw, people, start, is_borrower)


def _profiles(draw: np.random.Generator, people: People, start: int) -> Columns:
    """Version 1 when a customer joins; then one for each change of income or state, and one for the closing."""
    changes, slots = 3, 5
    seen = np.maximum(people.joined, start)
    changed = seen[:, None] + np.cumsum(draw.exponential(6 * YEAR, (BLOCK, changes)), axis=1).astype(np.int64)
    changed = np.where(changed < people.closed[:, None], changed, NEVER)
    is_move = np.zeros((BLOCK, slots), bool)
    is_move[:, 1:4] = draw.random((BLOCK, changes)) < 0.4
    new_state = pick(draw.random((BLOCK, slots)), tuple(1.0 / rank for rank in range(1, len(STATES) + 1)))
    raised = np.ones((BLOCK, slots))
    raised[:, 1:4] = np.where(is_move[:, 1:4], 1.0, np.exp(draw.normal(0.06, 0.2, (BLOCK, changes))))
    delays = known_after(draw.random((BLOCK, slots)), 0.06)
    times = np.column_stack([people.joined, changed, people.closed])
    income = np.round(draw.lognormal(np.log(3_200), 0.55, BLOCK) / 50) * 5_000
    has_income = draw.random(BLOCK) > 0.08
    born = local_day(np.full(BLOCK, start, np.int64)) - (18 * 366 + draw.beta(1.4, 2.2, BLOCK) * 55 * 365).astype(np.int64)
    fixed = {
        "birth_date": born,
        "sex": pick(draw.random(BLOCK), (0.495, 0.495, 0.01)),
        "occupation": pick(draw.random(BLOCK), tuple(1.0 for _ in OCCUPATIONS)),
        "residency": pick(draw.random(BLOCK), (0.9, 0.06, 0.04)),
        "national_id": draw.integers(0, 10**8, BLOCK),
        "phone": draw.integers(0, 10**8, BLOCK),
    }
    state = new_state[:, 0]
    parts = []
    for version in range(slots):
        time = times[:, version]
        state = np.where(is_move[:, version], new_state[:, version], state)
        income = income * raised[:, version]
        is_closing = version == slots - 1
        number_of_version = 1 + (times[:, 1:4] < NEVER).sum(axis=1) + 1 if is_closing else np.full(BLOCK, version + 1)
        parts.append(
            {
                "_owner": np.arange(BLOCK),
                "_exists": time < NEVER,
                "customer_id": people.number,
                "version": number_of_version.astype(np.int64),
                "valid_from": time,
                "recorded_at": time + delays[:, version],
                "state": state,
                "declared_income_monthly": np.where(has_income, np.round(income).astype(np.int64), NULL),
                "closed_at": time if is_closing else np.full(BLOCK, NULL),
                **fixed,
            }
        )
    rows = concat(parts)
    exists = rows.pop("_exists")
    return {name: values[exists] for name, values in rows.items()}


def _consents(draw: np.random.Generator, people: People, start: int, is_borrower: Flags) -> Columns:
    shares = (np.full(BLOCK, 0.97), np.where(is_borrower, 0.92, 0.08), np.full(BLOCK, 0.3))
    parts = []
    for purpose, share in enumerate(shares):
        given = people.joined + draw.integers(30, 900, BLOCK)
        withdrawn = np.maximum(given, start) + draw.exponential(18 * YEAR, BLOCK).astype(np.int64)
        recorded = given + known_after(draw.random(BLOCK), c.LATE_SHARE)
        again = np.maximum(withdrawn + known_after(draw.random(BLOCK), 0.05), recorded + 1)
        agreed = draw.random(BLOCK) < share
        row = {
            "_owner": np.arange(BLOCK)[agreed],
            "consent_id": (people.number * 10 + purpose)[agreed],
            "customer_id": people.number[agreed],
            "purpose": np.full(int(agreed.sum()), purpose),
            "given_at": given[agreed],
        }
        parts.append({**row, "recorded_at": recorded[agreed], "withdrawn_at": np.full(int(agreed.sum()), NULL)})
        parts.append({**row, "recorded_at": again[agreed], "withdrawn_at": withdrawn[agreed]})
    return concat(parts)
