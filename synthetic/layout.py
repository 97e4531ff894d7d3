"""How each source is written: its columns in order, and the text or typed form of every value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthetic import bnpl, customers, statements
from synthetic import calibration as c
from synthetic.clock import NULL, OFFSET, Ints
from synthetic.columns import Columns
from synthetic.statements import ACCOUNT_INSTALMENT

Render = Callable[[Ints, Columns], Any]
TimeStyle = Literal["local", "offset", "utc"]


@dataclass(frozen=True)
class Column:
    """`render` gives a typed Arrow array of the codes; `is_bare`: unquoted in JSON."""

    render: Render
    is_time: bool = False
    is_money: bool = False
    is_bare: bool = False


def _valid(codes: Ints) -> Any:
    return pa.array(codes != NULL)


def _only_valid(codes: Ints, values: Any) -> Any:
    return values if not (codes == NULL).any() else pc.if_else(_valid(codes), values, pa.scalar(None, values.type))


def _digits(codes: Ints, width: int) -> Any:
    return pc.utf8_slice_codeunits(pa.array(codes + 10**width).cast(pa.string()), 1)


def identifier(prefix: str, width: int) -> Column:
    def render(codes: Ints, _: Columns) -> Any:
        return _only_valid(codes, pc.binary_join_element_wise(prefix, _digits(np.where(codes == NULL, 0, codes), width), ""))

    return Column(render)


def _instalment_ids(codes: Ints) -> Any:
    """`P…-nn` of a plan, `A…-yyyymm` of an account."""
    of_account = codes >= ACCOUNT_INSTALMENT
    plan, account = np.where(of_account, 0, codes), np.where(of_account, codes - ACCOUNT_INSTALMENT, 0)
    return pc.if_else(
        pa.array(of_account),
        pc.binary_join_element_wise("A", _digits(account // 10**6, 10), "-", _digits(account % 10**6, 6), ""),
        pc.binary_join_element_wise("P", _digits(plan // 100, 12), "-", _digits(plan % 100, 2), ""),
    )


def _payment_ids(codes: Ints, columns: Columns) -> Any:
    slot = pa.array(columns["_slot"]).cast(pa.string())
    return pc.binary_join_element_wise(_instalment_ids(columns["instalment_id"]), "-", slot, "")


def _fee_ids(codes: Ints, columns: Columns) -> Any:
    kind = pa.array(columns["_kind_of_id"]).cast(pa.string())
    return pc.binary_join_element_wise("F", _instalment_ids(columns["_instalment"]), "-", kind, "")


def choice(words: tuple[str, ...]) -> Column:
    dictionary = pa.array(words)

    def render(codes: Ints, _: Columns) -> Any:
        return dictionary.take(pa.array(codes, mask=codes == NULL))

    return Column(render)


def _money(codes: Ints, _: Columns) -> Any:
    """Cents as decimal(18,2), made of their two 64-bit halves."""
    cents = np.where(codes == NULL, 0, codes)
    halves = np.column_stack([cents, cents >> 63])
    decimals = pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(halves.tobytes())])
    return _only_valid(codes, decimals)


def _integer(codes: Ints, _: Columns) -> Any:
    return pa.array(codes, mask=codes == NULL)


def _day(codes: Ints, _: Columns) -> Any:
    return pa.array(np.where(codes == NULL, 0, codes).astype(np.int32), mask=codes == NULL).cast(pa.date32())


def _time(codes: Ints, _: Columns) -> Any:
    return pa.array(codes, mask=codes == NULL).cast(pa.timestamp("s")).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))


def _flag(codes: Ints, _: Columns) -> Any:
    return pa.array(codes == 1)


def _number_text(prefix: str, width: int) -> Column:
    return Column(lambda codes, _: pc.binary_join_element_wise(prefix, _digits(codes, width), ""))


CUSTOMER, ACCOUNT, PLAN = identifier("C", 8), identifier("A", 10), identifier("P", 12)
INSTALMENT = Column(lambda codes, _: _instalment_ids(codes))
MONEY, INTEGER, DAY = Column(_money, is_money=True), Column(_integer), Column(_day)
TIME, FLAG = Column(_time, is_time=True), Column(_flag)
BARE_MONEY = Column(_money, is_money=True, is_bare=True)


@dataclass(frozen=True)
class Layout:
    """A source as it is delivered. `event`: its event time, or the local day whose end it is (`event_is_day`; of a month: its
    first day and `event_is_month`). `references`: column to the source that has it as its key. `times`: how text says them."""

    name: str
    format: Literal["csv", "jsonl", "parquet"]
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    event: str
    version: str | None = None
    event_is: Literal["time", "day", "month"] = "time"
    references: Mapping[str, str] = field(default_factory=dict)
    times: TimeStyle = "local"

    @property
    def newer_by(self) -> str | None:
        """The column that says which of several rows of the same thing is newer: its version, part of the key or not."""
        return "version" if "version" in self.key else self.version

    @property
    def extension(self) -> str:
        return self.format

    def typed(self, columns: Columns) -> dict[str, Any]:
        """The columns as Arrow arrays, as Parquet has them."""
        none = np.zeros(0, np.int64)
        return {name: column.render(columns.get(name, none), columns) for name, column in self.columns.items()}

    def text(self, columns: Columns) -> dict[str, Any]:
        """The columns as Arrow strings, as CSV and JSON have them."""
        none = np.zeros(0, np.int64)
        return {
            name: self._time_text(columns[name])
            if column.is_time
            else column.render(columns.get(name, none), columns).cast(pa.string())
            for name, column in self.columns.items()
        }

    def _time_text(self, codes: Ints) -> Any:
        shift = 0 if self.times == "utc" else OFFSET
        seconds = np.where(codes == NULL, 0, codes) + shift
        text = pa.array(seconds).cast(pa.timestamp("s")).cast(pa.string())
        if self.times != "local":
            text = pc.binary_join_element_wise(
                pc.utf8_slice_codeunits(text, 0, 10),
                "T",
                pc.utf8_slice_codeunits(text, 11),
                "Z" if self.times == "utc" else "+08:00",
                "",
            )
        return _only_valid(codes, text)


def _layout(name: str, format: Literal["csv", "jsonl", "parquet"], columns: Mapping[str, Column], **more: Any) -> Layout:
    return Layout(name, format, columns, **more)


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        _layout(
            "customers",
            "csv",
            {
                "customer_id": CUSTOMER,
                "version": INTEGER,
                "valid_from": TIME,
                "recorded_at": TIME,
                "birth_date": DAY,
                "sex": choice(customers.SEXES),
                "state": choice(customers.STATES),
                "occupation": choice(customers.OCCUPATIONS),
                "declared_income_monthly": MONEY,
                "residency": choice(customers.RESIDENCIES),
                "national_id": _number_text("SYNTHETIC-", 8),
                "phone": _number_text("+00 ", 8),
                "closed_at": TIME,
            },
            key=("customer_id", "version"),
            event="valid_from",
        ),
        _layout(
            "consents",
            "csv",
            {
                "consent_id": identifier("S", 9),
                "customer_id": CUSTOMER,
                "purpose": choice(customers.PURPOSES),
                "given_at": TIME,
                "recorded_at": TIME,
                "withdrawn_at": TIME,
            },
            key=("consent_id",),
            version="recorded_at",
            event="given_at",
            references={"customer_id": "customers"},
            times="offset",
        ),
        _layout(
            "accounts",
            "csv",
            {
                "account_id": ACCOUNT,
                "version": INTEGER,
                "customer_id": CUSTOMER,
                "product_type": choice(c.PRODUCTS),
                "lender": choice(c.LENDERS),
                "credit_limit": MONEY,
                "opened_at": TIME,
                "recorded_at": TIME,
                "closed_at": TIME,
                "restructured_at": TIME,
                "legal_action_at": TIME,
                "special_attention_at": TIME,
            },
            key=("account_id",),
            version="version",
            event="opened_at",
            references={"customer_id": "customers"},
        ),
        _layout(
            "statements",
            "csv",
            {
                "account_id": ACCOUNT,
                "period": DAY,
                "statement_at": TIME,
                "recorded_at": TIME,
                "balance": MONEY,
                "credit_limit": MONEY,
                "minimum_due": MONEY,
                "due_date": DAY,
                "full_due": MONEY,
            },
            key=("account_id", "period"),
            event="statement_at",
            references={"account_id": "accounts"},
        ),
        _layout(
            "balances",
            "parquet",
            {"account_id": ACCOUNT, "day": DAY, "recorded_at": TIME, "balance": MONEY},
            key=("account_id", "day"),
            event="day",
            event_is="day",
            references={"account_id": "accounts"},
        ),
        _layout(
            "applications",
            "jsonl",
            {
                "application_id": identifier("R", 11),
                "customer_id": CUSTOMER,
                "product_type": choice(c.PRODUCTS),
                "lender": choice(c.LENDERS),
                "amount": MONEY,
                "applied_at": TIME,
                "recorded_at": TIME,
                "decided_at": TIME,
                "decision": choice(bnpl.DECISIONS),
            },
            key=("application_id",),
            version="recorded_at",
            event="applied_at",
            references={"customer_id": "customers"},
            times="utc",
        ),
        _layout(
            "transactions",
            "parquet",
            {
                "transaction_id": identifier("T", 17),
                "account_id": ACCOUNT,
                "customer_id": CUSTOMER,
                "posted_at": TIME,
                "recorded_at": TIME,
                "amount": MONEY,
                "direction": choice(statements.DIRECTIONS),
                "mcc": choice(statements.CODES),
                "category": choice(statements.CATEGORIES),
                "channel": choice(statements.CHANNELS),
                "merchant_id": identifier("M", 4),
                "is_own_transfer": FLAG,
            },
            key=("transaction_id",),
            event="posted_at",
            references={"account_id": "accounts"},
        ),
        _layout(
            "bnpl_plans",
            "jsonl",
            {
                "plan_id": PLAN,
                "customer_id": CUSTOMER,
                "provider": choice(c.PROVIDERS),
                "merchant_category": choice(c.CATEGORIES),
                "financed_amount": BARE_MONEY,
                "created_at": TIME,
                "recorded_at": TIME,
                "decided_at": TIME,
                "decision": choice(bnpl.DECISIONS),
                "settled_at": TIME,
                "cancelled_at": TIME,
                "refunded_at": TIME,
                "refunded_amount": BARE_MONEY,
            },
            key=("plan_id",),
            version="recorded_at",
            event="created_at",
            references={"customer_id": "customers"},
            times="offset",
        ),
        _layout(
            "bnpl_limits",
            "jsonl",
            {
                "customer_id": CUSTOMER,
                "provider": choice(c.PROVIDERS),
                "set_at": TIME,
                "recorded_at": TIME,
                "credit_limit": BARE_MONEY,
            },
            key=("customer_id", "provider", "set_at"),
            event="set_at",
            references={"customer_id": "customers"},
            times="utc",
        ),
        _layout(
            "instalments",
            "parquet",
            {
                "instalment_id": INSTALMENT,
                "plan_id": PLAN,
                "account_id": ACCOUNT,
                "customer_id": CUSTOMER,
                "number": INTEGER,
                "agreed_at": TIME,
                "recorded_at": TIME,
                "due_date": DAY,
                "due_amount": MONEY,
            },
            key=("instalment_id",),
            event="agreed_at",
            references={"plan_id": "bnpl_plans", "account_id": "accounts"},
        ),
        _layout(
            "payments",
            "csv",
            {
                "payment_id": Column(_payment_ids),
                "instalment_id": INSTALMENT,
                "customer_id": CUSTOMER,
                "attempted_at": TIME,
                "recorded_at": TIME,
                "amount": MONEY,
                "outcome": choice(("succeeded", "failed")),
                "is_autopay": FLAG,
            },
            key=("payment_id",),
            event="attempted_at",
            references={"instalment_id": "instalments"},
            times="offset",
        ),
        _layout(
            "fees",
            "csv",
            {
                "fee_id": Column(_fee_ids),
                "account_id": ACCOUNT,
                "plan_id": PLAN,
                "customer_id": CUSTOMER,
                "charged_at": TIME,
                "recorded_at": TIME,
                "kind": choice(("late", "penalty_interest", "annual", "cash_advance")),
                "amount": MONEY,
            },
            key=("fee_id",),
            event="charged_at",
            references={"plan_id": "bnpl_plans", "account_id": "accounts"},
        ),
        _layout(
            "conduct",
            "csv",
            {
                "account_id": ACCOUNT,
                "month": DAY,
                "recorded_at": TIME,
                "months_in_arrears": INTEGER,
                "status": choice(statements.STATUSES),
            },
            key=("account_id", "month"),
            event="month",
            event_is="month",
            references={"account_id": "accounts"},
        ),
    )
}
