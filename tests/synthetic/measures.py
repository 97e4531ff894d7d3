"""The published figures, measured on a sample's rows."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from datetime import date, datetime
from pathlib import Path

import pyarrow.parquet as pq

YEAR = (date(2024, 10, 1), date(2025, 9, 30))
"""The last year of the default sample."""


def read_rows(root: Path, source: str) -> list[dict[str, object]]:
    """Rows of a clean sample: no dirt is told apart."""
    rows: list[dict[str, object]] = []
    for path in sorted((root / source).iterdir()):
        if path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        elif path.suffix == ".jsonl":
            rows += [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        else:
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                rows += list(csv.DictReader(file))
    return rows


def number(value: object) -> float | None:
    try:
        parsed = float(str(value))
        return None if parsed != parsed else parsed
    except ValueError:
        return None


def moment(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def newest(rows: list[dict[str, object]], key: str) -> list[dict[str, object]]:
    """The last version of each key by known time; the few unreadable rows drop out by their text."""
    found: dict[object, dict[str, object]] = {}
    for row in rows:
        known = moment(row.get("recorded_at"))
        if row.get(key) and known and (row[key] not in found or known > moment(found[row[key]]["recorded_at"])):
            found[row[key]] = row
    return list(found.values())


def measure(root: Path) -> dict[str, float]:
    plans = [
        p for p in newest(read_rows(root, "bnpl_plans"), "plan_id") if number(p["financed_amount"]) and moment(p["created_at"])
    ]
    decided = [p for p in plans if p["decision"] in ("approved", "declined")]
    approved = [p for p in decided if p["decision"] == "approved"]
    by_customer: dict[object, list[dict[str, object]]] = defaultdict(list)
    for plan in approved:
        if YEAR[0] <= moment(plan["created_at"]).date() <= YEAR[1]:
            by_customer[plan["customer_id"]].append(plan)
    last_due: dict[object, date] = {}
    for instalment in read_rows(root, "instalments"):
        if instalment["plan_id"]:
            plan_id = instalment["plan_id"]
            last_due[plan_id] = max(instalment["due_date"], last_due.get(plan_id, date.min))
    simultaneous = sum(_has_overlap(mine, last_due) for mine in by_customer.values())
    fees = [f for f in read_rows(root, "fees") if f["kind"] == "late" and f["plan_id"] and moment(f["charged_at"])]
    charged = {f["customer_id"] for f in fees if YEAR[0] <= moment(f["charged_at"]).date() <= YEAR[1]}
    old = [p for p in approved if not p["cancelled_at"] and moment(p["created_at"]).date() < date(2025, 1, 1)]
    borrowers = len(by_customer)

    statements = [s for s in read_rows(root, "statements") if number(s["credit_limit"]) and number(s["balance"]) is not None]
    ratios = [number(s["balance"]) / number(s["credit_limit"]) for s in statements]
    return {
        "plans_a_year_per_borrower": sum(map(len, by_customer.values())) / borrowers,
        "borrowers_with_more_than_12_plans_a_year": sum(len(mine) > 12 for mine in by_customer.values()) / borrowers,
        "borrowers_with_simultaneous_plans": simultaneous / borrowers,
        "borrowers_with_several_providers": sum(len({p["provider"] for p in mine}) > 1 for mine in by_customer.values())
        / borrowers,
        "plan_approval_rate": len(approved) / len(decided),
        "mean_financed_amount": sum(number(p["financed_amount"]) for p in approved) / len(approved),
        "borrowers_charged_a_late_fee": len(charged & set(by_customer)) / borrowers,
        "plans_never_paid_off": sum(not p["settled_at"] for p in old) / len(old),
        "mean_utilisation": sum(ratios) / len(ratios),
        "accounts_over_limit": sum(r > 1 for r in ratios) / len(ratios),
        "negative_balances": sum(r < 0 for r in ratios) / len(ratios),
        "accounts_never_late_in_six_months": _never_late(root),
    }


def _has_overlap(mine: list[dict[str, object]], last_due: dict[object, date]) -> bool:
    open_until = date.min
    for plan in sorted(mine, key=lambda p: moment(p["created_at"])):
        begun = moment(plan["created_at"]).date()
        if begun < open_until:
            return True
        ends = moment(plan["settled_at"]) if plan["settled_at"] else None
        open_until = max(open_until, ends.date() if ends else last_due.get(plan["plan_id"], begun))
    return False


def _never_late(root: Path) -> float:
    """Card and overdraft accounts with six instalments due in April to September 2025, none of them paid late."""
    paid: dict[object, date] = {}
    for payment in read_rows(root, "payments"):
        at = moment(payment["attempted_at"])
        if payment["outcome"] == "succeeded" and at:
            paid[payment["instalment_id"]] = max(paid.get(payment["instalment_id"], date.min), at.date())
    revolving = {a["account_id"] for a in read_rows(root, "accounts") if a["product_type"] != "personal_loan"}
    late: dict[object, list[bool]] = defaultdict(list)
    for i in read_rows(root, "instalments"):
        if i["account_id"] in revolving and i["due_date"] and date(2025, 3, 20) <= i["due_date"] <= date(2025, 9, 28):
            late[i["account_id"]].append(i["instalment_id"] not in paid or paid[i["instalment_id"]] > i["due_date"])
    whole = [flags[:6] for flags in late.values() if len(flags) >= 6]
    return sum(not any(flags) for flags in whole) / len(whole)
