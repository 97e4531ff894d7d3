"""How instalments are paid: on time, early, late, in parts, after failed attempts, or never."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic import calibration as c
from synthetic.clock import DAY, NEVER, Flags, Floats, Ints, known_after, midnight
from synthetic.columns import Columns, concat, take

UNIFORMS = 9
"""Random numbers that one instalment's payments take."""


@dataclass(frozen=True)
class Dues:
    """Instalments as a payer sees them. `pays`: what is paid when it is paid, at least `due`; `credited`: when the merchant's
    refund pays what is open, NEVER where it doesn't."""

    owner: Ints
    customer: Ints
    instalment: Ints
    agreed: Ints
    due_day: Ints
    due: Ints
    pays: Ints
    late_share: Floats
    mean_days_late: float
    never: Flags
    at_checkout: Flags
    automatic: Flags
    credited: Ints


def pay(dues: Dues, uniform: Floats) -> tuple[Columns, Ints]:
    """The payments, and when each instalment was paid in full (NEVER where it wasn't).

    `uniform`: an array of `UNIFORMS` random numbers for each instalment.
    """
    u = uniform.T
    late = (u[0] < dues.late_share) & ~dues.never & ~dues.at_checkout
    morning = 6 * 3_600 + (u[2] * 3 * 3_600).astype(np.int64)
    daytime = 8 * 3_600 + (u[2] * 14.5 * 3_600).astype(np.int64)
    days_early = np.minimum(-np.log1p(-u[1]) * 2.2, 12).astype(np.int64)
    days_late = 1 + np.minimum(-np.log1p(-u[1]) * dues.mean_days_late, 88).astype(np.int64)
    shift = np.where(late, days_late, np.where(dues.automatic, 0, -days_early))
    time = midnight(dues.due_day + shift) + np.where(dues.automatic & ~late, morning, daytime)
    paid = np.maximum(time, dues.agreed + 600)
    paid = np.where(dues.at_checkout, dues.agreed + 2 + (u[2] * 50).astype(np.int64), paid)
    paid = np.where(dues.never, NEVER, paid)
    is_credit = dues.credited < paid
    paid = np.where(is_credit, dues.credited, paid)

    plain = ~dues.at_checkout & ~is_credit
    on_due_day = midnight(dues.due_day) + morning
    behind = late | dues.never
    first_failure = np.where(behind, on_due_day, paid - 10_800)
    fails = plain & (u[3] < np.where(behind, 0.6, 0.03)) & (first_failure > dues.agreed) & (first_failure < paid)
    second_failure = first_failure + 3 * DAY + 1_800
    fails_again = fails & behind & (u[4] < 0.4) & (second_failure < paid)

    splits = plain & (dues.due >= 500) & (dues.pays == dues.due) & (u[5] < np.where(dues.never, 0.15, 0.03))
    splits_again = splits & ~dues.never & (u[5] < 0.008)
    first_part = np.where(dues.never, on_due_day + 5 * DAY, paid - DAY * (2 + (u[6] * 4).astype(np.int64)))
    first_part = np.maximum(first_part, dues.agreed + 60)
    splits &= first_part < paid - 120
    splits_again &= splits
    second_part = (first_part + np.where(paid < NEVER, paid, first_part)) // 2
    first_amount = np.where(splits, (dues.due * (0.3 + 0.2 * u[6])).astype(np.int64), 0)
    second_amount = np.where(splits_again, (dues.due * 0.25).astype(np.int64), 0)

    slots = (
        (fails, first_failure, dues.due, False),
        (fails_again, second_failure, dues.due, False),
        (splits, first_part, first_amount, True),
        (splits_again, second_part, second_amount, True),
        (paid < NEVER, paid, dues.pays - first_amount - second_amount, True),
    )
    parts = []
    for slot, (exists, at, amount, succeeds) in enumerate(slots):
        rows = {
            "_owner": dues.owner,
            "_slot": np.full(len(paid), slot + 1),
            "instalment_id": dues.instalment,
            "customer_id": dues.customer,
            "attempted_at": at,
            "recorded_at": at + known_after((u[7] + 0.618 * slot) % 1.0, c.LATE_SHARE),
            "amount": amount,
            "outcome": np.full(len(paid), 0 if succeeds else 1),
            "is_autopay": (dues.automatic & ~is_credit & ((slot < 2) | ~late)).astype(np.int64),
        }
        parts.append(take(rows, exists))
    return concat(parts), paid


def late_fees(dues: Dues, paid: Ints, uniform: Floats, *, of_plan: bool, share: float) -> Columns:
    """The late fee of an instalment unpaid when its days of grace are over, and penalty interest a month after its due date."""
    u = uniform.T[8]
    grace = c.LATE_FEE_GRACE_DAYS
    parts = []
    for kind, days, applies, amount in (
        (0, 1 + grace, u < share, (700 + 200 * (u * 977 % 1.0)).astype(np.int64)),
        (1, 31, (u < share) & (not of_plan), np.maximum(dues.due * 15 // 1000, 50)),
    ):
        at = midnight(dues.due_day + days) + 3 * 3_600
        rows = {
            "_owner": dues.owner,
            "_kind_of_id": np.full(len(paid), kind),
            "_instalment": dues.instalment,
            "customer_id": dues.customer,
            "charged_at": at,
            "recorded_at": at + known_after((uniform.T[7] + 0.31) % 1.0, c.LATE_SHARE),
            "kind": np.full(len(paid), kind),
            "amount": amount,
        }
        parts.append(take(rows, applies & (paid > at)))
    return concat(parts)
