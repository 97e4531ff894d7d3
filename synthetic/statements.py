"""What an account does month by month: statements, instalments and their payments, transactions, balances, fees, conduct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic import calibration as c
from synthetic.accounts import LOAN, OVERDRAFT, limit_at
from synthetic.clock import (
    DAY,
    NEVER,
    NULL,
    Flags,
    Floats,
    Ints,
    first_day_of,
    known_after,
    local_day,
    midnight,
    month_of,
    pick,
    stream,
    year_month,
)
from synthetic.columns import Columns, concat, rank_within, take
from synthetic.parameters import Parameters
from synthetic.repayment import UNIFORMS, Dues, late_fees, pay

DAYS_TO_PAY = 20
DAYS_TO_PAY_LOAN = 14
ACCOUNT_INSTALMENT = np.int64(2**61)
"""Added to the code of an instalment of an account, to tell it from one of a plan."""
STATUSES = ("current", "arrears", "default", "closed")
DIRECTIONS = ("credit", "debit")
CHANNELS = ("pos", "online", "atm", "transfer")
# category, merchant category code, share of the debits, median amount, channel. From `loan_repayment` on: of a current account
# alone (an overdraft); a returned debit is the charge for it. The two that follow in CATEGORIES are credits.
SPENDING = (
    ("groceries", "5411", 0.34, 22.0, 0),
    ("restaurants", "5812", 0.17, 14.0, 0),
    ("fuel", "5541", 0.12, 25.0, 0),
    ("online_retail", "5999", 0.12, 38.0, 1),
    ("utilities", "4900", 0.08, 60.0, 1),
    ("cash", "6011", 0.06, 80.0, 2),
    ("gambling", "7995", 0.02, 35.0, 1),
    ("travel", "4511", 0.04, 160.0, 1),
    ("loan_repayment", "6012", 0.02, 120.0, 3),
    ("bnpl_repayment", "6012", 0.02, 34.0, 3),
    ("returned_debit", "6012", 0.01, 10.0, 3),
)
CATEGORIES = (*(row[0] for row in SPENDING), "repayment", "salary")
CODES = (*(row[1] for row in SPENDING), "6012")
_GROCERIES, _CASH, _LOAN_REPAYMENT = 0, 5, 8
_REPAYMENT = len(SPENDING)
_SALARY = _REPAYMENT + 1


@dataclass(frozen=True)
class Months:
    """Accounts by month, in arrays of (month, account)."""

    number: Ints
    statement_at: Ints
    is_active: Flags
    balance: Ints
    limit: Ints
    uniform: Floats
    wait: Floats


def make_account_months(block: int, accounts: Columns, by_month: Ints, parameters: Parameters) -> dict[str, Columns]:
    """The rows of a block in `statements`, `instalments`, `payments`, `fees`, `conduct`, `transactions` and `balances`.

    Writes when a loan was paid off into `accounts["_closed"]`.
    """
    months = _simulate(block, accounts, by_month, parameters)
    statements, dues, where, instalments = _bill(accounts, months, parameters)
    uniform = months.uniform[where]
    payments, paid = pay(dues, uniform)
    fees = [late_fees(dues, paid, uniform, of_plan=False, share=0.8), _other_fees(accounts, months)]
    charged = concat(fees)
    charged["account_id"] = (charged["_instalment"] - ACCOUNT_INSTALMENT) // 1_000_000
    charged["plan_id"] = np.full(len(charged["account_id"]), NULL)
    _close_paid_loans(accounts, where[1], instalments, paid)
    transactions = _transactions(block, accounts, months, parameters)
    return {
        "statements": statements,
        "instalments": instalments,
        "payments": payments,
        "fees": charged,
        "conduct": _conduct(accounts, months, where[1], dues.due_day, paid, parameters),
        "transactions": transactions,
        "balances": _balances(accounts, months, transactions),
    }


def _simulate(block: int, accounts: Columns, by_month: Ints, parameters: Parameters) -> Months:
    """Utilisation as a noisy level with memory, month by month; each month draws for the accounts that exist by then."""
    number = np.array(parameters.months, np.int64)
    shape = (len(number), len(accounts["account_id"]))
    deviation = np.zeros(shape)
    overpaid = np.ones(shape)
    uniform = np.zeros((*shape, UNIFORMS))
    wait = np.ones((*shape, 4))
    current = np.zeros(shape[1])
    for row, month in enumerate(number):
        n = int(by_month[row])
        draw = stream(parameters.seed, block, "statements", int(month))
        current[:n] = c.UTILISATION_PERSISTENCE * current[:n] + c.UTILISATION_NOISE * draw.standard_normal(n)
        deviation[row] = current
        overpaid[row, :n] = draw.random(n)
        uniform[row, :n] = draw.random((n, UNIFORMS))
        wait[row, :n] = draw.random((n, 4))
    first = first_day_of(number)
    statement_at = midnight(first[:, None] + accounts["_statement_day"]) + accounts["_statement_second"]
    every = np.broadcast_to(np.arange(shape[1]), shape)
    limit = limit_at(accounts, every.ravel(), statement_at.ravel()).reshape(shape)
    has_stopped = statement_at > accounts["_stopped"]
    level = np.clip(accounts["_utilisation"] + deviation, 0.0, 1.12)
    level = np.where(has_stopped, 1.06, level)
    balance = np.round(np.where(limit > 0, limit, 0) * level).astype(np.int64)
    share = c.NEGATIVE_BALANCE_SHARE
    balance = np.where((overpaid < share) & ~has_stopped, -(1_00 + (overpaid / share * 60_00)).astype(np.int64), balance)
    is_active = (statement_at > accounts["opened_at"] + DAY) & (statement_at < accounts["_closed"])
    return Months(number, statement_at, is_active, balance, limit, uniform, wait)


def _bill(accounts: Columns, months: Months, parameters: Parameters) -> tuple[Columns, Dues, tuple[Ints, Ints], Columns]:
    """Statements, and what they make due: the minimum of a revolving account, the scheduled part of a loan."""
    is_loan = accounts["product_type"] == LOAN
    opened_month = month_of(local_day(accounts["opened_at"]))
    part = months.number[:, None] - opened_month
    term = accounts["_term"]
    regular = accounts["_principal"] // term
    loan_due = np.where(part == term, accounts["_principal"] - regular * (term - 1), regular)
    stopped_at = np.minimum(month_of(local_day(np.minimum(accounts["_stopped"], 2**40))) - opened_month + 1, part)
    owed = accounts["_principal"] - regular * (np.minimum(stopped_at, part) - 1)
    balance = np.where(is_loan, owed, months.balance)
    minimum = np.where(is_loan, loan_due, np.clip(np.maximum(balance * 5 // 100, 25_00), 0, np.maximum(balance, 0)))
    exists = np.where(is_loan, (part >= 1) & (part <= term), months.is_active)
    due_day = local_day(months.statement_at) + np.where(is_loan, DAYS_TO_PAY_LOAN, DAYS_TO_PAY)

    rows, which = np.nonzero(exists)
    statements = {
        "_owner": accounts["_owner"][which],
        "account_id": accounts["account_id"][which],
        "period": first_day_of(months.number[rows]),
        "statement_at": months.statement_at[rows, which],
        "recorded_at": months.statement_at[rows, which] + known_after(months.wait[rows, which, 0], c.LATE_SHARE),
        "balance": balance[rows, which],
        "credit_limit": months.limit[rows, which],
        "minimum_due": minimum[rows, which],
        "due_date": due_day[rows, which],
        "full_due": np.maximum(balance, 0)[rows, which],
    }
    # A loan's instalments are all agreed when it is opened, beyond the months simulated too.
    loans = np.flatnonzero(is_loan)
    later = np.arange(1, int(term.max(initial=1)) + 1)
    later_part, later_which = np.meshgrid(later, loans, indexing="ij")
    later_month = opened_month[later_which] + later_part
    is_later = (later_part <= term[later_which]) & (later_month > months.number[-1])
    beyond, beyond_part = later_which[is_later], later_part[is_later]

    is_due = exists & (minimum > 0)
    rows, which = np.nonzero(is_due)
    running = np.cumsum(is_due, axis=0)
    loan = is_loan[which]
    agreed = np.where(loan, accounts["opened_at"][which], months.statement_at[rows, which])
    due = minimum[rows, which]
    full = balance[rows, which]
    style = accounts["_style"][which]
    between = due + np.round((full - due) * (0.15 + 0.6 * months.wait[rows, which, 1])).astype(np.int64)
    pays = np.where(loan | (style == 2), due, np.where(style == 0, full, between))
    dues = Dues(
        owner=accounts["_owner"][which],
        customer=accounts["customer_id"][which],
        instalment=ACCOUNT_INSTALMENT + accounts["account_id"][which] * 1_000_000 + year_month(months.number[rows]),
        agreed=agreed,
        due_day=due_day[rows, which],
        due=due,
        pays=pays,
        late_share=accounts["_late_share"][which],
        mean_days_late=16.0,
        never=midnight(due_day[rows, which]) > accounts["_stopped"][which],
        at_checkout=np.zeros(len(which), bool),
        automatic=accounts["_automatic"][which],
        credited=np.full(len(which), NEVER),
    )
    beyond_month = opened_month[beyond] + beyond_part
    beyond_due_day = first_day_of(beyond_month) + accounts["_statement_day"][beyond] + DAYS_TO_PAY_LOAN
    agreed_and_later = np.concatenate([agreed, accounts["opened_at"][beyond]])
    of_account = np.concatenate([which, beyond])
    is_loan_row = np.concatenate([loan, np.ones(len(beyond), bool)])
    told = np.where(is_loan_row, accounts["_delays"][of_account, 0], 0.0)
    told[: len(which)] = np.where(loan, told[: len(which)], months.wait[rows, which, 0])
    instalments = {
        "_owner": accounts["_owner"][of_account],
        "instalment_id": np.concatenate(
            [dues.instalment, ACCOUNT_INSTALMENT + accounts["account_id"][beyond] * 1_000_000 + year_month(beyond_month)]
        ),
        "plan_id": np.full(len(of_account), NULL),
        "account_id": accounts["account_id"][of_account],
        "customer_id": accounts["customer_id"][of_account],
        "number": np.concatenate([np.where(loan, part[rows, which], running[rows, which]), beyond_part]),
        "agreed_at": agreed_and_later,
        "recorded_at": agreed_and_later + known_after(told, c.LATE_SHARE),
        "due_date": np.concatenate([dues.due_day, beyond_due_day]),
        "due_amount": np.concatenate(
            [due, np.where(beyond_part == term[beyond], (accounts["_principal"] - regular * (term - 1))[beyond], regular[beyond])]
        ),
    }
    return statements, dues, (rows, which), instalments


def _close_paid_loans(accounts: Columns, which: Ints, instalments: Columns, paid: Ints) -> None:
    """A loan is closed an hour after its last open instalment was paid, when all of them were within the months simulated."""
    last = np.zeros(len(accounts["account_id"]), np.int64)
    np.maximum.at(last, which, paid)
    is_loan = accounts["product_type"] == LOAN
    has_later = np.isin(accounts["account_id"], instalments["account_id"][len(paid) :])
    is_paid_off = is_loan & ~has_later & (last > 0) & (last < NEVER)
    accounts["_closed"] = np.where(is_paid_off, last + 3_600, accounts["_closed"])


def _other_fees(accounts: Columns, months: Months) -> Columns:
    """An annual fee of a card in the month of its opening; now and then one for a cash advance."""
    opened_month = month_of(local_day(accounts["opened_at"])) % 12
    revolves = months.is_active & (accounts["product_type"] != LOAN)
    kinds = (
        (2, revolves & (accounts["product_type"] != OVERDRAFT) & (months.number[:, None] % 12 == opened_month), 60_00),
        (3, revolves & (months.wait[:, :, 2] < 0.03), 15_00),
    )
    parts = []
    for kind, charged, amount in kinds:
        rows, which = np.nonzero(charged)
        at = months.statement_at[rows, which] - 7 * 3_600 + (months.wait[rows, which, 3] * 3_000).astype(np.int64)
        parts.append(
            {
                "_owner": accounts["_owner"][which],
                "_kind_of_id": np.full(len(which), kind),
                "_instalment": ACCOUNT_INSTALMENT + accounts["account_id"][which] * 1_000_000 + year_month(months.number[rows]),
                "customer_id": accounts["customer_id"][which],
                "charged_at": at,
                "recorded_at": at + known_after((months.wait[rows, which, 3] * 7.0) % 1.0, c.LATE_SHARE),
                "kind": np.full(len(which), kind),
                "amount": np.full(len(which), amount),
            }
        )
    return concat(parts)


def _conduct(accounts: Columns, months: Months, which: Ints, due_day: Ints, paid: Ints, parameters: Parameters) -> Columns:
    """Months in arrears at each month's end: instalments due by then and not paid in full by then."""
    first_month, count = int(months.number[0]), len(months.number)
    open_by_month = np.zeros((count + 1, len(accounts["account_id"])), np.int64)
    due_month = month_of(due_day) - first_month
    paid_month = np.minimum(month_of(local_day(np.minimum(paid, 2**40))) - first_month, count)
    np.add.at(open_by_month, (np.clip(due_month, 0, count), which), 1)
    np.add.at(open_by_month, (np.clip(np.maximum(paid_month, due_month), 0, count), which), -1)
    arrears = np.cumsum(open_by_month[:count], axis=0)
    month_ends = midnight(first_day_of(months.number + 1))[:, None]
    closing_month = np.where(
        accounts["_closed"] < NEVER, month_of(local_day(np.minimum(accounts["_closed"], 2**40))), np.int64(10**6)
    )
    is_closed = months.number[:, None] == closing_month
    reported = accounts["_is_reported"] & (accounts["opened_at"] < month_ends) & (months.number[:, None] <= closing_month)
    rows, of = np.nonzero(reported)
    behind = np.where(is_closed, 0, arrears)[rows, of]
    status = np.where(is_closed[rows, of], 3, np.where(behind == 0, 0, np.where(behind < 3, 1, 2)))
    wait = (months.wait[rows, of, 3] * 6 * DAY).astype(np.int64)
    return {
        "_owner": accounts["_owner"][of],
        "account_id": accounts["account_id"][of],
        "month": first_day_of(months.number[rows]),
        "recorded_at": month_ends[rows, 0] + 3 * DAY + 9 * 3_600 + wait,
        "months_in_arrears": behind,
        "status": status,
    }


def _transactions(block: int, accounts: Columns, months: Months, parameters: Parameters) -> Columns:
    """Spending between one statement and the next, and what brings the balance exactly to the next statement's."""
    parts = []
    is_sent = accounts["_is_transactional"] & (accounts["product_type"] != LOAN)
    for row in range(1, len(months.number)):
        draw = stream(parameters.seed, block, "transactions", int(months.number[row]))
        which = np.flatnonzero(is_sent & months.is_active[row] & months.is_active[row - 1])
        counts = draw.poisson(c.TRANSACTIONS_A_MONTH * (0.3 + 1.4 * accounts["_utilisation"][which]))
        spender = np.repeat(which, counts)
        kind = pick(draw.random(len(spender)), tuple(spending[2] for spending in SPENDING))
        is_current_account = accounts["product_type"][spender] == OVERDRAFT
        kind = np.where((kind >= _LOAN_REPAYMENT) & ~is_current_account, _GROCERIES, kind)
        medians = np.array([spending[3] for spending in SPENDING])
        amount = np.maximum(np.round(medians[kind] * draw.lognormal(0, 0.6, len(spender)) * 100), 50).astype(np.int64)
        amount = np.where(kind == _CASH, np.maximum(amount // 1_000, 1) * 1_000, amount)
        spent = np.zeros(len(accounts["account_id"]), np.int64)
        np.add.at(spent, spender, amount)
        settling = months.balance[row - 1, which] + spent[which] - months.balance[row, which]
        is_salary = (accounts["product_type"][which] == OVERDRAFT) & (settling > 0)
        settling_kind = np.where(settling < 0, 3, np.where(is_salary, _SALARY, _REPAYMENT))
        of = np.concatenate([spender, which])
        signed = np.concatenate([-amount, settling])
        category = np.concatenate([kind, settling_kind])
        start, end = months.statement_at[row - 1, of], months.statement_at[row, of]
        posted = start + 1 + (draw.random(len(of)) * (end - start - 2)).astype(np.int64)
        rows = {
            "_owner": accounts["_owner"][of],
            "_which": of,
            "transaction_id": accounts["account_id"][of] * 10**7
            + year_month(months.number[row]) % 10**4 * 1_000
            + rank_within(of) % 1_000,
            "account_id": accounts["account_id"][of],
            "customer_id": accounts["customer_id"][of],
            "posted_at": posted,
            "recorded_at": posted + known_after(draw.random(len(of)), c.LATE_SHARE),
            "amount": signed,
            "direction": np.where(signed > 0, 0, 1),
            "mcc": np.where(category == _SALARY, NULL, category),
            "category": category,
            "channel": np.append(np.array([spending[4] for spending in SPENDING]), [3, 3])[category],
            "merchant_id": np.where(category < _REPAYMENT, draw.integers(0, 500, len(of)), NULL),
            "is_own_transfer": ((category == _REPAYMENT) & (draw.random(len(of)) < 0.15)).astype(np.int64),
        }
        parts.append(take(rows, signed != 0))
    return concat(parts)


def _balances(accounts: Columns, months: Months, transactions: Columns) -> Columns:
    """End-of-day balances: the first statement's plus what was posted since; every day of some accounts, else when it changed."""
    sends = accounts["_is_transactional"] & (months.is_active.sum(axis=0) >= 2)
    which = np.flatnonzero(sends)
    first = months.is_active.argmax(axis=0)[which]
    last = len(months.number) - 1 - months.is_active[::-1].argmax(axis=0)[which]
    opening = np.zeros(len(accounts["account_id"]), np.int64)
    opening[which] = months.balance[first, which]
    start_day = local_day(months.statement_at[first, which])
    length = local_day(months.statement_at[last, which]) - start_day
    of = np.repeat(which, length)
    day = np.repeat(start_day, length) + np.arange(len(of)) - np.repeat(np.cumsum(length) - length, length)

    order = np.lexsort((transactions["posted_at"], transactions["_which"]))
    owner, posted = transactions["_which"][order], transactions["posted_at"][order]
    running = np.concatenate([[0], np.cumsum(-transactions["amount"][order])])
    span = np.int64(2**33)
    upto = np.searchsorted(owner * span + posted, of * span + midnight(day + 1), side="left")
    before = np.searchsorted(owner * span + posted, of * span + midnight(day), side="left")
    beginning = np.searchsorted(owner, of, side="left")
    rows = {
        "_owner": accounts["_owner"][of],
        "account_id": accounts["account_id"][of],
        "day": day,
        "recorded_at": midnight(day + 1) + 1_800 + (of * 7_919 + day * 104_729) % 9_000,
        "balance": opening[of] + running[upto] - running[beginning],
    }
    return take(rows, accounts["_is_daily"][of] | (upto > before))
