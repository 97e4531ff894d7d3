"""Rollups answered: what each operation makes of members, by both engines and by plain Python on random ones."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup
from conf.yaml_file import load_model, parse_yaml
from tests.transforms.feature_group.given import SHIPPED, ZONE, compiled
from transforms.answer import snapshot_schema
from transforms.by_hand.moments import Moment
from transforms.by_hand.rollups import RollupExplainer
from transforms.fact_sql import SPARK
from transforms.feature_group import Compiled, compile_groups
from transforms.rollups import roll_up, rollup_sql

DAY = date(2025, 6, 30)
GROUP = """\
name: g
record_identifier: portfolio_id
rollup:
  members:
    - group: h
      entity: lender
      beside: {i: owner}
      columns: {n: accounts, owed: limit_sum, rate: limit_share, word: product, opened: opened_on, seen: opened_at, good: "plans > 2"}
    - group: i
      entity: "case when plans >= 4 then null when plans >= 2 then 'cimb' else 'plans' end"
      columns: {n: plans, word: customer_id, rate: plans / 3}
  columns:
    - {name: members, op: count}
    - {name: good, op: count, where: good}
    - {name: known, op: count, of: owed, where: n > 0}
    - {name: n_sum, op: sum, of: n}
    - {name: n_sum_good, op: sum, of: n, where: good}
    - {name: owed_sum, op: sum, of: owed}
    - {name: owed_sum_good, op: sum, of: owed, where: good}
    - {name: rate_sum, op: sum, of: rate}
    - {name: n_mean, op: mean, of: n}
    - {name: owed_mean, op: mean, of: owed, where: n != 1}
    - {name: rate_mean, op: mean, of: rate}
    - {name: n_min, op: min, of: n}
    - {name: owed_max, op: max, of: owed}
    - {name: rate_max, op: max, of: rate, where: not good}
    - {name: word_min, op: min, of: word}
    - {name: opened_min, op: min, of: opened}
    - {name: seen_max, op: max, of: seen}
    - {name: good_share, op: share, of: good}
    - {name: rich_share, op: share, of: owed >= 100, where: good is not null}
"""
ACCOUNTS = """\
name: h
record_identifier: account_id
spine: accounts
inputs:
  - source: accounts
    aggregates:
      - {name: lender, op: last, of: lender}
      - {name: product, op: last, of: product_type}
      - {name: owner, op: last, of: customer_id}
      - {name: limit_sum, op: sum, of: credit_limit}
      - {name: opened_on, op: last, of: local_date(opened_at)}
      - {name: opened_at, op: last, of: opened_at}
      - {name: accounts, op: sum, of: version}
derived:
  - {name: limit_share, expr: "ratio(limit_sum, 100)"}
"""
CUSTOMERS = """\
name: i
record_identifier: customer_id
spine: customers
inputs:
  - source: bnpl_plans
    aggregates: [{name: plans, op: sum, of: "if(decision = 'approved', 1, 0)"}]
"""
MADE = compiled(GROUP, ACCOUNTS, CUSTOMERS)


def rows(made: Compiled, group: str, *given: Mapping[str, Any]) -> pa.Table:
    """Rows of a group's snapshot; what isn't given is null."""
    schema = snapshot_schema(made.groups[group])
    own = {"event_time": "t", "time_zone": ZONE, "has_history": True}
    return pa.Table.from_pylist([own | dict(row) for row in given], schema=schema)


def rolled_up(accounts: pa.Table, customers: pa.Table) -> dict[str, dict[str, Any]]:
    found = roll_up(MADE.rollups["g"], {"h": accounts, "i": customers}, day=DAY, zone=ZONE)
    assert found.schema == snapshot_schema(MADE.rollups["g"])
    return {row["portfolio_id"]: row for row in found.to_pylist()}


def test_what_is_made_of_members():
    """Of cimb: three accounts, one of whose owner nothing is known; of rhb one of which nothing is. An account of nobody counts nowhere."""
    found = rolled_up(
        rows(
            MADE, "h",
            {"account_id": "a", "lender": "cimb", "owner": "ann", "limit_sum": Decimal("0.01"), "accounts": 1, "limit_share": 0.5},
            {"account_id": "b", "lender": "cimb", "owner": "ann", "limit_sum": Decimal("0.02"), "accounts": 2, "limit_share": None},
            {"account_id": "c", "lender": "cimb", "owner": "zoe", "limit_sum": Decimal("100.00"), "accounts": 4},
            {"account_id": "d", "lender": "rhb", "owner": "zoe"},
            {"account_id": "e", "lender": None, "owner": "ann", "limit_sum": Decimal("7.00"), "accounts": 9},
        ),
        rows(MADE, "i", {"customer_id": "ann", "plans": 4}),  # a member of nothing itself, and beside three accounts
    )  # fmt: skip
    assert found.keys() == {"cimb", "rhb"}
    cimb, rhb = found["cimb"], found["rhb"]
    assert (cimb["event_time"], cimb["time_zone"], cimb["has_history"]) == ("2025-06-30T16:00:00Z", ZONE, True)
    told = {name: cimb[name] for name in ("members", "good", "known", "n_sum", "n_sum_good", "owed_sum", "owed_sum_good")}
    assert told == {
        "members": 3, "good": 2, "known": 3, "n_sum": 7, "n_sum_good": 3, "owed_sum": Decimal("100.03"), "owed_sum_good": Decimal("0.03"),
    }  # fmt: skip
    assert (cimb["owed_mean"], cimb["n_mean"], cimb["rate_sum"]) == (Decimal("50.01"), 7 / 3, 0.5)
    assert (cimb["good_share"], cimb["rich_share"]) == (2 / 3, 0.0)  # of all, and of the two of whom it is known
    nothing = {
        name: rhb[name]
        for name in ("members", "good", "n_sum", "n_sum_good", "owed_sum", "rate_sum", "n_mean", "owed_mean", "owed_max")
    }
    assert nothing == {"members": 1, "good": 0, "n_sum_good": 0} | dict.fromkeys(
        ("n_sum", "owed_sum", "rate_sum", "n_mean", "owed_mean", "owed_max")
    )  # of no member that counts a sum is 0; of one whose value isn't known it isn't known
    assert (rhb["good_share"], rhb["rich_share"]) == (0.0, None)


def test_a_mean_of_money_is_rounded_half_away_from_zero():
    """0.01 and 0.02, and the same owed the other way round."""
    accounts = [
        {"account_id": f"{lender}{cents}", "lender": lender, "limit_sum": Decimal(cents).scaleb(-2), "accounts": 0}
        for lender, cents in (("up", 1), ("up", 2), ("down", -1), ("down", -2))
    ]
    found = rolled_up(rows(MADE, "h", *accounts), rows(MADE, "i"))
    assert (found["up"]["owed_mean"], found["down"]["owed_mean"]) == (Decimal("0.02"), Decimal("-0.02"))


def test_no_member_no_row():
    assert rolled_up(rows(MADE, "h"), rows(MADE, "i")) == {}


def random_rows(seed: int) -> tuple[pa.Table, pa.Table]:
    pick = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if pick.random() < 0.2 else value

    customers = [{"customer_id": f"c{number}", "plans": maybe(pick.randrange(6))} for number in range(60)]
    accounts = [
        {
            "account_id": f"a{number}",
            "lender": maybe(pick.choice(["cimb", "rhb", "", "ümlaut", "plans", "one"]) if number else "alone"),
            "product": maybe(pick.choice(["card", "Card", "é", "loan"])),
            "owner": maybe(f"c{pick.randrange(80)}"),
            "limit_sum": maybe(Decimal(pick.choice([pick.randrange(-500, 50_000), pick.randrange(10**20)])).scaleb(-2)),
            "accounts": maybe(pick.choice([0, 1, 2, -3, 2**52])),
            "limit_share": maybe(pick.choice([0.1, -0.7, pick.random() * 1e15, 1e-12])),
            "opened_on": maybe(date(2020, 1, 1 + pick.randrange(28))),
            "opened_at": maybe(pa.scalar(pick.randrange(10**15), pa.timestamp("us", tz="UTC")).as_py()),
        }
        for number in range(300)
    ]
    return rows(MADE, "h", *accounts), rows(MADE, "i", *customers)


@pytest.mark.parametrize("seed", range(3))
def test_spark_and_duckdb_make_the_same_of_random_members(spark, tmp_path, seed):
    tables = dict(zip("hi", random_rows(seed), strict=True))
    views = {}
    for name, table in tables.items():
        views[name] = f"v{uuid.uuid4().hex}"
        pq.write_table(table, tmp_path / f"{name}.parquet")
        spark.read.parquet(str(tmp_path / f"{name}.parquet")).repartition(5).createTempView(views[name])
    group = MADE.rollups["g"]
    by_spark = spark.sql(rollup_sql(group, views, SPARK, day=DAY, zone=ZONE))
    schema = snapshot_schema(group)
    assert by_spark.columns == schema.names
    kinds = {field.name: field.dataType.simpleString() for field in by_spark.schema.fields}
    assert (kinds["owed_sum"], kinds["owed_mean"], kinds["n_sum"], kinds["good_share"]) == (
        "decimal(28,2)",
        "decimal(18,2)",
        "bigint",
        "double",
    )
    by_spark.write.parquet(str(tmp_path / "rolled_up"))
    written = pq.read_table(tmp_path / "rolled_up").cast(schema)
    in_spark = {row["portfolio_id"]: row for row in written.to_pylist()}
    in_duckdb = rolled_up(tables["h"], tables["i"])
    assert in_spark == in_duckdb  # to the last bit of a number
    assert len(in_duckdb) > 5


@pytest.mark.parametrize("seed", range(3))
def test_random_members_by_plain_python(seed):
    accounts, customers = random_rows(seed)
    plans = {row["customer_id"]: row["plans"] for row in customers.to_pylist()}
    members: dict[str, list[dict[str, Any]]] = {}
    for row in accounts.to_pylist():
        known = plans.get(row["owner"])
        told = {"n": row["accounts"], "owed": row["limit_sum"], "rate": row["limit_share"], "word": row["product"],
                "opened": row["opened_on"], "seen": row["opened_at"], "good": None if known is None else known > 2}  # fmt: skip
        if row["lender"] is not None:
            members.setdefault(row["lender"], []).append(told)
    for customer, known in plans.items():
        portfolio = "plans" if known is None or known < 2 else "cimb" if known < 4 else None
        if portfolio:
            told = {"n": known, "word": customer, "rate": None if known is None else known / 3}
            members.setdefault(portfolio, []).append({"owed": None, "good": None, "opened": None, "seen": None} | told)
    found = rolled_up(accounts, customers)
    assert found.keys() == members.keys()
    for portfolio, some in members.items():
        row = found[portfolio]
        assert [(name, row[name], value) for name, value in expected(some).items() if not same(row[name], value)] == [], portfolio


def same(one: Any, other: Any) -> bool:
    """Doubles may be added in another order."""
    return math.isclose(one, other, rel_tol=1e-12) if isinstance(one, float) and isinstance(other, float) else bool(one == other)


class InMemory:
    """Snapshots of a day as an explanation reads them."""

    def __init__(self, **tables: pa.Table) -> None:
        self.tables = tables

    def batches(self, group: str, columns: Sequence[str], only: tuple[str, str] | None) -> Iterator[list[dict[str, Any]]]:
        for batch in self.tables[group].select(columns).to_batches(max_chunksize=70):
            yield [row for row in batch.to_pylist() if only is None or row[only[0]] == only[1]]

    def rows(self, group: str, columns: Sequence[str], identifier: str, values: Collection[str]) -> list[dict[str, Any]]:
        return [row for row in self.tables[group].select(columns).to_pylist() if row[identifier] in values]


IN_ANOTHER_WAY = """\
name: g
record_identifier: portfolio_id
rollup:
  members:
    - group: h
      entity: "case when i.plans >= 2 then concat(lender, ' ', product) end"
      beside: {i: owner}
      columns: {n: accounts + plans, owed: limit_sum, known: i.plans is not null, day: opened_on}
  columns:
    - {name: members, op: count}
    - {name: n_sum, op: sum, of: n, where: owed > 100}
    - {name: owed_mean, op: mean, of: owed - 1}
    - {name: first, op: min, of: "coalesce(day, date '2030-01-01')", where: known}
    - {name: share, op: share, of: n > 3, where: owed is not null}
"""


@pytest.mark.parametrize("text", [GROUP, IN_ANOTHER_WAY], ids=["one way", "another"])
def test_an_explanation_makes_the_same_again_of_random_members(text):
    """Of every entity every number, and of every member that counts what it adds."""
    files = [parse_yaml(told, "x.yaml") for told in (text, ACCOUNTS, CUSTOMERS)]
    groups = {group.name: group for group in (load_model(FeatureGroup, file) for file in files)}
    catalogue = Catalogue(SHIPPED.sources, groups)
    group = compile_groups(catalogue, ZONE).rollups["g"]
    accounts, customers = random_rows(7)
    answered = roll_up(group, {"h": accounts, "i": customers}, day=DAY, zone=ZONE).to_pylist()
    assert len(answered) > 4
    differ = []
    for row in answered:
        moment = Moment.end_of(DAY, ZONE)
        explainer = RollupExplainer(catalogue, InMemory(h=accounts, i=customers), groups["g"], row["portfolio_id"], moment)
        for column in group.columns:
            made = explainer.explain(column.name)
            assert made.type == column.type
            assert len(made.members) == row["members"]
            if not same(made.value, row[column.name]):
                differ.append((row["portfolio_id"], column.name, row[column.name], made.value))
    assert differ == []


def expected(some: list[dict[str, Any]]) -> dict[str, Any]:
    def of(name: str, among: list[dict[str, Any]] = some) -> list[Any]:
        return [member[name] for member in among if member[name] is not None]

    good = [member for member in some if member["good"]]
    judged = [member for member in some if member["good"] is not None]
    not_one = of("owed", [member for member in some if member["n"] not in (None, 1)])
    fits = not_one and abs(sum(not_one)) < len(not_one) * 10**16  # of decimal(18,2)
    mean = (sum(not_one) / len(not_one)).quantize(Decimal("0.01"), ROUND_HALF_UP) if fits else None

    def total(values: list[Any]) -> Any:
        return sum(values) if values else None

    return {
        "members": len(some),
        "good": len(good),
        "known": len([m for m in some if m["owed"] is not None and (m["n"] or 0) > 0]),
        "n_sum": total(of("n")),
        "n_sum_good": total(of("n", good)) if good else 0,
        "owed_sum": total(of("owed")),
        "owed_sum_good": total(of("owed", good)) if good else Decimal(0),
        "rate_sum": total(of("rate")),
        "n_mean": sum(of("n")) / len(of("n")) if of("n") else None,
        "owed_mean": mean,
        "rate_mean": sum(of("rate")) / len(of("rate")) if of("rate") else None,
        "n_min": min(of("n"), default=None),
        "owed_max": max(of("owed"), default=None),
        "rate_max": max(of("rate", [m for m in judged if not m["good"]]), default=None),
        "word_min": min(of("word"), default=None),
        "opened_min": min(of("opened"), default=None),
        "seen_max": max(of("seen"), default=None),
        "good_share": len(good) / len(some),
        "rich_share": len([m for m in judged if (m["owed"] or 0) >= 100]) / len(judged) if judged else None,
    }
