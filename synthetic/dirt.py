"""What is wrong with the sample, in known amounts: duplicates, conflicts, orphans, late and unordered versions, unreadable rows.

Every amount is one in so many of a block's clean rows, counted in the order in which they became known; so the amounts are
exact, and the dirt of a shorter sample is that of a longer one. Dirt is added: every clean row stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from synthetic.clock import DAY, NULL, Ints
from synthetic.columns import Columns, concat, row_count, take
from synthetic.layout import LAYOUTS, Layout
from synthetic.parameters import UNKNOWN_FROM
from synthetic.statements import ACCOUNT_INSTALMENT

KEPT, DUPLICATE, CONFLICT, FIRST_BAD = 0, 1, 2, 3


@dataclass(frozen=True)
class Share:
    """One in `every` rows, from the one at `first`."""

    every: int
    first: int

    def of(self, rows: int) -> Ints:
        """The positions taken among so many rows."""
        return np.arange(self.first, rows, self.every)


DUPLICATE_BESIDE = Share(400, 37)
"""The same row again on the next line."""
DUPLICATE_ELSEWHERE = Share(800, 119)
"""The same row again, delivered 95 days later: in another file."""
CONFLICTS = Share(1_000, 211)
"""The same key and version with other content, delivered 1 to 40 days later."""
BAD = Share(300, 107)
"""A row broken in one of the ways that its source knows, in turns."""
ORPHANS = Share(1_500, 433)
"""A row of an account, plan, instalment or customer that doesn't exist."""
NULLS_AS_WORDS = Share(3, 1)
"""A null in the text of a CSV file, written as `NaN`, `NULL` or `N/A`; of the nulls in one column."""
FIRST_VERSION_LAST = Share(8, 3)
"""Of accounts and customers with a second version in the sample's first 300 days: the first is delivered 100 days after it."""

AMOUNT_WITH_COMMAS = "1,234.50"
"""Counted as bad. A reader that takes it for 1234.50 finds the key and version of the row that it was copied from, with other
content, and quarantines it as a conflict: the sums are the same."""

Values = dict[str, Any]
Edit = Callable[[Values], None]


@dataclass(frozen=True)
class Bad:
    """A way to break a row: `edit` changes its values (text, or typed in Parquet), or the finished line is changed."""

    kind: str
    edit: Edit | None = None
    line: Literal["", "column_too_many", "column_missing", "latin1_bytes", "broken_json"] = ""


def _says(kind: str, column: str, value: Any) -> Bad:
    return Bad(kind, lambda values: values.__setitem__(column, value))


def _without_parent(values: Values) -> None:
    values["plan_id"] = values["account_id"] = None


_LINES = (Bad("column_too_many", line="column_too_many"), Bad("column_missing", line="column_missing"))

BAD_ROWS: Mapping[str, tuple[Bad, ...]] = {
    "customers": (
        _says("null_key", "customer_id", ""),
        _says("amount_with_commas", "declared_income_monthly", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("date_in_another_format", "birth_date", "31/12/1984"),
        _says("value_outside_vocabulary", "sex", "unknown"),
        _says("nan_where_required", "valid_from", "NaN"),
        _says("unparsable_number", "version", "two"),
        Bad("latin1_bytes", line="latin1_bytes"),
        *_LINES,
    ),
    "consents": (
        _says("null_key", "consent_id", ""),
        _says("value_outside_vocabulary", "purpose", "everything"),
        _says("date_in_another_format", "given_at", "31/12/2024 10:15"),
        _says("nan_where_required", "customer_id", "NaN"),
        *_LINES,
    ),
    "accounts": (
        _says("null_key", "account_id", ""),
        _says("amount_with_commas", "credit_limit", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("value_outside_vocabulary", "product_type", "pawn"),
        _says("date_in_another_format", "opened_at", "31/12/2024 10:15"),
        _says("unparsable_number", "version", "1x"),
        _says("nan_where_required", "lender", "NaN"),
        _says("below_minimum", "credit_limit", "-5.00"),
        *_LINES,
    ),
    "statements": (
        _says("null_key", "account_id", ""),
        _says("amount_with_commas", "balance", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("date_in_another_format", "due_date", "31/12/2024"),
        _says("nan_where_required", "balance", "NaN"),
        _says("unparsable_number", "minimum_due", "12x"),
        _says("below_minimum", "minimum_due", "-25.00"),
        *_LINES,
    ),
    "applications": (
        Bad("broken_json", line="broken_json"),
        _says("amount_with_commas", "amount", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("null_key", "application_id", "null"),
        _says("date_in_another_format", "applied_at", '"31/12/2024 10:15"'),
        _says("value_outside_vocabulary", "decision", '"maybe"'),
        _says("nan_where_required", "lender", '"NaN"'),
        _says("unparsable_number", "amount", '"12x"'),
    ),
    "bnpl_plans": (
        Bad("broken_json", line="broken_json"),
        _says("amount_with_commas", "financed_amount", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("null_key", "plan_id", '""'),
        _says("date_in_another_format", "created_at", '"31/12/2024 10:15"'),
        _says("value_outside_vocabulary", "decision", '"maybe"'),
        _says("nan_where_required", "financed_amount", '"NaN"'),
        _says("below_minimum", "financed_amount", "-1.00"),
    ),
    "bnpl_limits": (
        Bad("broken_json", line="broken_json"),
        _says("null_key", "customer_id", "null"),
        _says("amount_with_commas", "credit_limit", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("date_in_another_format", "set_at", '"31/12/2024 10:15"'),
        _says("below_minimum", "credit_limit", "-1.00"),
    ),
    "payments": (
        _says("null_key", "payment_id", ""),
        _says("amount_with_commas", "amount", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("value_outside_vocabulary", "outcome", "perhaps"),
        _says("date_in_another_format", "attempted_at", "31/12/2024 10:15"),
        _says("nan_where_required", "amount", "NaN"),
        _says("unparsable_number", "amount", "12x"),
        _says("unparsable_flag", "is_autopay", "perhaps"),
        _says("below_minimum", "amount", "-1.00"),
        *_LINES,
    ),
    "fees": (
        _says("null_key", "fee_id", ""),
        _says("amount_with_commas", "amount", f'"{AMOUNT_WITH_COMMAS}"'),
        _says("value_outside_vocabulary", "kind", "handling"),
        _says("date_in_another_format", "charged_at", "31/12/2024 10:15"),
        _says("nan_where_required", "amount", "NaN"),
        *_LINES,
    ),
    "conduct": (
        _says("null_key", "account_id", ""),
        _says("value_outside_vocabulary", "status", "fine"),
        _says("unparsable_number", "months_in_arrears", "two"),
        _says("date_in_another_format", "month", "31/12/2024"),
        _says("nan_where_required", "months_in_arrears", "NaN"),
        _says("below_minimum", "months_in_arrears", "-1"),
        *_LINES,
    ),
    "instalments": (
        _says("null_key", "instalment_id", None),
        _says("null_where_required", "due_amount", None),
        _says("below_minimum", "number", 0),
        Bad("neither_plan_nor_account", _without_parent),
    ),
    "transactions": (
        _says("null_key", "transaction_id", None),
        _says("value_outside_vocabulary", "direction", "sideways"),
        _says("null_where_required", "posted_at", None),
    ),
    "balances": (_says("null_key", "account_id", None), _says("null_where_required", "balance", None)),
}
CUT_LAST_LINE = "cut_last_line"
"""One more kind, of the last line of one file of payments; see files.py."""

NULL_WORDS = ("NaN", "NULL", "N/A")
NULLS_IN: Mapping[str, str] = {"customers": "declared_income_monthly", "accounts": "credit_limit", "statements": "credit_limit"}

_CONFLICTING: Mapping[str, Callable[[Columns], Columns]] = {
    "customers": lambda rows: {"occupation": (rows["occupation"] + 1) % 10},
    "consents": lambda rows: {"purpose": (rows["purpose"] + 1) % 3},
    "accounts": lambda rows: {"lender": (rows["lender"] + 1) % 8},
    "statements": lambda rows: {"balance": rows["balance"] + 1_00},
    "balances": lambda rows: {"balance": rows["balance"] + 1_00},
    "applications": lambda rows: {"amount": rows["amount"] + 100_00},
    "transactions": lambda rows: {"amount": rows["amount"] + 1},
    "bnpl_plans": lambda rows: {"financed_amount": rows["financed_amount"] + 1_00},
    "bnpl_limits": lambda rows: {"credit_limit": rows["credit_limit"] + 1_00},
    "instalments": lambda rows: {"due_amount": rows["due_amount"] + 1},
    "payments": lambda rows: {"amount": rows["amount"] + 1},
    "fees": lambda rows: {"amount": rows["amount"] + 1_00},
    "conduct": lambda rows: {"months_in_arrears": rows["months_in_arrears"] + 1},
}


def soil(name: str, clean: Columns, block: int, start: int) -> Columns:
    """The clean rows and the dirt, in the order of delivery.

    Adds `_delivered` (when the row arrives: at `start` the earliest) and `_kind`: KEPT, DUPLICATE, CONFLICT or FIRST_BAD and
    the position in BAD_ROWS.
    """
    layout = LAYOUTS[name]
    order = np.lexsort([*(clean[column] for column in _tie_breakers(layout, clean)), clean["recorded_at"]])
    rows = take(clean, order)
    rows["_delivered"] = np.maximum(rows["recorded_at"], start)
    rows["_kind"] = np.zeros(row_count(rows), np.int64)
    if layout.newer_by == "version":
        _deliver_first_version_last(layout, rows, start)
    n = row_count(rows)
    added = [
        _again(rows, DUPLICATE_BESIDE.of(n), DUPLICATE),
        _again(rows, DUPLICATE_ELSEWHERE.of(n), DUPLICATE, later=np.int64(95 * DAY)),
        _conflicts(name, rows),
        _bad(name, rows, block),
        _orphans(layout, rows),
    ]
    everything = concat([rows, *added])
    return take(everything, np.argsort(everything["_delivered"], kind="stable"))


def _tie_breakers(layout: Layout, clean: Columns) -> list[str]:
    names = dict.fromkeys(("_slot", "_kind_of_id", "version", *layout.key))
    return [name for name in names if name in clean]


def _deliver_first_version_last(layout: Layout, rows: Columns, start: int) -> None:
    key, delivered = rows[layout.key[0]], rows["_delivered"]
    is_chosen = (rows["version"] == 2) & (key % FIRST_VERSION_LAST.every == FIRST_VERSION_LAST.first)
    second = np.flatnonzero(is_chosen & (delivered < start + 300 * DAY))
    when = dict(zip(key[second].tolist(), delivered[second].tolist(), strict=True))
    for position in np.flatnonzero((rows["version"] == 1) & np.isin(key, key[second])):
        delivered[position] = max(when[int(key[position])] + 100 * DAY, int(delivered[position]))


def _again(rows: Columns, which: Ints, kind: int, later: Any = 0) -> Columns:
    again = take(rows, which)
    again["_kind"] = np.full(len(which), kind)
    again["_delivered"] = again["_delivered"] + later
    return again


def _conflicts(name: str, rows: Columns) -> Columns:
    which = CONFLICTS.of(row_count(rows))
    again = _again(rows, which, CONFLICT, later=DAY * (1 + which % 40))
    return again | _CONFLICTING[name](again)


def _bad(name: str, rows: Columns, block: int) -> Columns:
    which = BAD.of(row_count(rows))
    again = _again(rows, which, FIRST_BAD)
    again["_kind"] = FIRST_BAD + (np.arange(len(which)) + 2 * block) % len(BAD_ROWS[name])
    return again


def _orphans(layout: Layout, rows: Columns) -> Columns:
    """Rows moved to customers whose numbers don't exist, with all ids that are made of the number."""
    orphans = _again(rows, ORPHANS.of(row_count(rows)), KEPT)
    if not layout.references:
        return take(orphans, np.zeros(row_count(orphans), bool))
    for column, digits in _DIGITS_BELOW_CUSTOMER.items():
        if column in orphans and (column != "customer_id" or "customer_id" in layout.references):
            orphans[column] = _moved(orphans[column], digits)
    return orphans


_DIGITS_BELOW_CUSTOMER = {
    "customer_id": 0,
    "consent_id": 1,
    "account_id": 2,
    "application_id": 3,
    "plan_id": 4,
    "transaction_id": 9,
    "instalment_id": 6,
    "_instalment": 6,
}
_DIGITS_OF_ACCOUNT_INSTALMENT = 8


def _moved(codes: Ints, digits: int) -> Ints:
    below = np.where((digits == 6) & (codes >= ACCOUNT_INSTALMENT), 10**_DIGITS_OF_ACCOUNT_INSTALMENT, 10**digits)
    return np.where(codes == NULL, NULL, codes + UNKNOWN_FROM * below)
