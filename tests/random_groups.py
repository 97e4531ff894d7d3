"""Random definitions over the small sources of tests/conformance: any operation, window, lag, filter, pivot, join and day together.

A seed makes the same group again. What a definition may not say together (a lag ahead, for one) isn't drawn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conf.specs import FeatureGroup, Source, UnionSource
from tests.conformance.cases import shared_sources
from tests.oracle import OPERATIONS, column_types

_SNAPSHOTS = {
    "balances": {"account": "account", "person": "person", "balance": "balance"},
    "statements": {"account": "account", "balance": "balance", "limit": "limit"},
}
SOURCES: Mapping[str, Source | UnionSource] = shared_sources() | {"snapshots": UnionSource(name="snapshots", union_of=_SNAPSHOTS)}
_WINDOWS = ("1d", "2d", "7d", "8d", "30d", "90d", "365d", "1mo", "3mo", "mtd", "life")
_AHEAD = ("1d", "7d", "30d")
_DAYS = ("1d", "3d", "7d", "10d", "31d", "mtd", "1mo", "2mo", "life")
_LAGS: tuple[list[int], ...] = ([1], [7], [30], [0, 7])
_NUMBERS = ("integer", "number", "money")
_PARAMETERS = {
    "percentile": {"q": ("0", "25", "50", "95", "100", "33.3")},
    "decayed_sum": {"half_life": ("1", "7", "30")},
    "first_n": {"n": ("1", "3")},
    "last_n": {"n": ("1", "3")},
    "top_k": {"n": ("1", "2")},
    "bottom_k": {"n": ("1", "2")},
    "histogram": {"edges": ("0", "0, 10", "-1, 0, 2.5, 100")},
    "close_count": {"within": ("1", "7", "40")},
    "return_count": {"high": ("5", "10"), "low": ("0", "1")},
}
# What may stand in an expression over the rows of a source, by its type.
_VALUES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "plans": {
        "money": ("amount", "amount * size", "cast(amount / 3 as money)", "coalesce(amount, 0)"),
        "number": ("score", "amount / size", "score * 2.5 - 1"),
        "integer": ("size", "days_between(created, due)", "hour(created)", "if(good, 1, 0)"),
        "string": ("provider", "outcome", "coalesce(provider, 'none')", "plan"),
        "boolean": ("good", "size > 2", "settled is null", "outcome = 'alpha'"),
        "date": ("due", "local_date(created)", "local_date(settled)"),
        "timestamp": ("created", "settled", "_known_time"),
    },
    "parts": {
        "money": ("amount", "-amount"),
        "number": ("amount / 7",),
        "integer": ("part", "weekday(paid)"),
        "string": ("plan",),
        "boolean": ("ok", "amount > 10"),
        "date": ("local_date(paid)",),
        "timestamp": ("paid", "recorded"),
    },
    "balances": {
        "money": ("balance", "greatest(balance, 0)"),
        "number": ("balance / 100",),
        "integer": ("day(day)",),
        "string": ("account",),
        "boolean": ("balance < 0",),
        "date": ("day",),
        "timestamp": ("_event_time",),
    },
    "statements": {
        "money": ("balance", "limit", "limit - balance"),
        "number": ("balance / limit",),
        "integer": ("hour(issued)",),
        "string": ("account",),
        "boolean": ("balance > limit",),
        "date": ("local_date(issued)",),
        "timestamp": ("issued",),
    },
}
_VALUES = {
    **_VALUES,
    "snapshots": {
        **_VALUES["statements"],
        **_VALUES["balances"],
        "integer": ("hour(_event_time)",),
        "date": ("local_date(_event_time)",),
    },
}
_BROUGHT: Mapping[str, Sequence[str]] = {
    "money": ("account_limit",),
    "string": ("product", "closed_why", "owner"),
    "boolean": ("account_closed is null", "product = 'alpha'"),
    "timestamp": ("account_closed",),
}
_SETTLED: Mapping[str, Sequence[str]] = {
    "money": ("paid_amount", "amount - paid_amount"),
    "boolean": ("paid_at is null", "paid_at >= end_of_day(due)"),
    "timestamp": ("paid_at", "last_paid_at"),
    "integer": ("days_between(due, paid_at)",),
}
_OF_ACCOUNTS = ("balances", "statements", "snapshots")
_WEIGHTS = {"plans": "abs(amount)", "parts": "abs(amount)"} | dict.fromkeys(_OF_ACCOUNTS, "abs(balance)")
_PIVOTS = {"plans": "provider", "parts": "plan"} | dict.fromkeys(_OF_ACCOUNTS, "account")
_PER = {"plans": ("account", "provider"), "parts": ("plan",)} | dict.fromkeys(_OF_ACCOUNTS, ("account",))
_OWN_TIME = {"plans": "created", "parts": "paid", "statements": "issued", "balances": "_event_time", "snapshots": "_event_time"}


def random_group(seed: object) -> FeatureGroup:
    """A group of one to three inputs with a few features each, and columns made from theirs."""
    chance = random.Random(f"group {seed}")
    names = (f"f{number}" for number in range(1000))
    identifier, spine = chance.choice([("person", "people"), ("person", "people"), ("account", "accounts")])
    inputs = [_Input(chance, names, identifier).definition() for _ in range(chance.randint(1, 3))]
    group: dict[str, Any] = {"name": "g", "record_identifier": identifier, "spine": spine, "inputs": inputs}
    group["derived"] = list(_derived(chance, column_types(FeatureGroup.model_validate(group), SOURCES)))
    return FeatureGroup.model_validate(group)


class _Input:
    """One input being drawn."""

    def __init__(self, chance: random.Random, names: Iterator[str], identifier: str) -> None:
        self._chance, self._names, self._identifier = chance, names, identifier
        self._source = chance.choice(["plans", "plans", "plans", "parts", "balances", "statements", "snapshots"])
        self._values = {kind: list(texts) for kind, texts in _VALUES[self._source].items()}

    def _maybe(self, probability: float) -> bool:
        return self._chance.random() < probability

    def definition(self) -> dict[str, Any]:
        item: dict[str, Any] = {"source": self._source}
        if self._source != "parts" and self._maybe(0.4):
            columns = {"product": "product", "account_limit": "limit", "account_closed": "closed", "closed_why": "reason"}
            item["parent"] = {"source": "accounts", "columns": columns | {"owner": "person"}}
            self._extend(_BROUGHT)
        entity = self._entity("parent" in item)
        item |= {"entity": {self._identifier: entity}} if entity else {}
        if self._source == "plans" and self._maybe(0.4):
            item["settled_by"] = {"source": "parts", "on": {"plan": "plan"}, "amount": "amount", "due": "amount"}
            item["settled_by"] |= {"where": "ok"} if self._maybe(0.5) else {}
            self._extend(_SETTLED)
        if self._maybe(0.3):
            item["columns"] = {"named": self._chance.choice(self._values["integer"])}
            self._values["integer"].append("named")
        item["aggregates"] = [self._aggregate() for _ in range(self._chance.randint(1, 4))]
        item["states"] = [self._state() for _ in range(self._chance.randint(0, 2))]
        item["daily"] = [self._daily() for _ in range(self._chance.choice([0, 0, 1, 2]))]
        return item

    def _entity(self, has_parent: bool) -> str | None:
        """A join or an expression that gives the entity, or None: the column of its name."""
        if self._identifier == "account":
            if self._source == "parts":
                return "via accounts on person"
            return "coalesce(account, 'none')" if self._maybe(0.1) else None
        if self._source == "parts":
            return "via plans" if self._maybe(0.5) else None
        if self._source == "statements" or self._maybe(0.3):
            return "via accounts"
        if has_parent and self._maybe(0.3):
            return self._chance.choice(["coalesce(owner, person)", "if(product = 'alpha', owner, person)"])
        return "coalesce(person, 'nobody')" if self._maybe(0.1) else None

    def _extend(self, brought: Mapping[str, Sequence[str]]) -> None:
        for kind, texts in brought.items():
            self._values[kind] += texts

    def _aggregate(self) -> dict[str, Any]:
        feature = self._operation(list(OPERATIONS))
        looks_back = OPERATIONS[feature["op"]].looks_back
        if self._maybe(0.3):
            feature["at"] = self._moment()
        if self._maybe(0.15):
            feature["from"] = self._moment()
        if self._maybe(0.25):
            feature["until"] = self._moment()
        if self._maybe(0.1) and "at" in feature and not looks_back and feature["op"] != "decayed_sum":
            feature |= {"ahead": True, "windows": self._some(_AHEAD) or ["30d"]}
        else:
            feature["windows"] = self._some(_WINDOWS)
            if self._maybe(0.25) and feature["windows"]:
                feature["lag"] = self._chance.choice(_LAGS)
        self._by_and_newest(feature, looks_back)
        return feature

    def _state(self) -> dict[str, Any]:
        feature = self._operation([name for name, operation in OPERATIONS.items() if not operation.looks_back])
        feature["from"] = _OWN_TIME[self._source] if self._maybe(0.6) else self._moment()
        if self._maybe(0.7):
            feature["until"] = self._moment()
        self._by_and_newest(feature, False)
        return feature

    def _by_and_newest(self, feature: dict[str, Any], looks_back: bool) -> None:
        column = _PIVOTS[self._source]
        if self._maybe(0.2):
            values: Any = self._chance.choice(["map", ["alpha", "gamma", "other"], ["alpha"]])
            feature["by"] = {column: values}
        if self._maybe(0.15) and not looks_back:
            feature["newest_per"] = self._chance.choice(_PER[self._source])

    def _daily(self) -> dict[str, Any]:
        kind, value = self._chance.choice(list(self._questions()))
        usable = [name for name, operation in OPERATIONS.items() if not operation.takes or kind in operation.takes]
        op = self._chance.choice(usable)
        feature: dict[str, Any] = {"name": next(self._names), "value": value, "op": op, "windows": self._some(_DAYS) or ["7d"]}
        feature |= self._parameters(op)
        if self._maybe(0.3):
            feature["where"] = self._chance.choice(self._values["boolean"])
        if self._maybe(0.4):
            feature["from"] = self._moment()
        if self._maybe(0.25):
            feature["within"] = self._chance.choice(["1d", "3d", "7d", "1mo"])
        elif self._maybe(0.5):
            feature["until"] = self._moment()
        if self._maybe(0.3):
            feature["newest_per"] = self._chance.choice(_PER[self._source])
        if self._maybe(0.25):
            feature |= {"every": "month_end", "windows": self._some(("31d", "90d", "2mo", "3mo")) or ["90d"]}
        if self._maybe(0.3):
            numeric = "value > 1" if kind in _NUMBERS else "value is not null"
            feature["days_where"] = self._chance.choice([numeric, "weekday(day) < 6", "day(day) > 5"])
        if self._maybe(0.25):
            feature["lag"] = self._chance.choice(_LAGS)
        return feature

    def _questions(self) -> Iterator[tuple[str, str]]:
        """Values of a day with their types."""
        money, integer = (self._chance.choice(self._values[kind]) for kind in ("money", "integer"))
        yield "integer", "count()"
        yield "money", f"sum({money})"
        yield "number", f"sum({money}) / count()"
        yield "integer", f"max({integer})"
        yield "money", f"last({money})"
        yield "integer", f"distinct_count({self._chance.choice(self._values['string'])})"
        yield "boolean", f"any({self._chance.choice(self._values['boolean'])})"
        yield "integer", f"coalesce(days_between(min({self._chance.choice(self._values['date'])}), day), 0)"
        yield "number", f"mean({self._chance.choice(self._values['number'])})"
        yield "money", f"sum({money}) - min({money})"
        yield "number", f"mean({self._chance.choice(self._values['number'])}, {_WEIGHTS[self._source]})"

    def _operation(self, names: Sequence[str]) -> dict[str, Any]:
        op = self._chance.choice(names)
        operation = OPERATIONS[op]
        feature: dict[str, Any] = {"name": next(self._names), "op": op} | self._parameters(op)
        kinds = [kind for kind in operation.takes if kind in self._values]
        if kinds:
            feature["of"] = self._chance.choice(self._values[self._chance.choice(kinds)])
        elif op == "count" and self._maybe(0.3):
            feature["of"] = self._chance.choice(self._values["string"])
        if operation.weighs and self._maybe(0.4):
            feature["weight"] = _WEIGHTS[self._source]
        if self._maybe(0.35):
            feature["where"] = self._chance.choice(self._values["boolean"])
        return feature

    def _parameters(self, op: str) -> dict[str, Any]:
        given = {name: self._chance.choice(values) for name, values in _PARAMETERS.get(op, {}).items()}
        return {"with": given} if given else {}

    def _moment(self) -> str:
        return self._chance.choice(self._values[self._chance.choice(["date", "timestamp", "timestamp"])])

    def _some(self, windows: Sequence[str]) -> list[str]:
        return self._chance.sample(windows, self._chance.choice([0, 1, 1, 2, 3]))


def _derived(chance: random.Random, types: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A few columns made from what is there."""
    numeric = [name for name, kind in types.items() if kind in _NUMBERS]
    words = [name for name, kind in types.items() if kind == "string"]
    if numeric:
        one, other = chance.choice(numeric), chance.choice(numeric)
        yield {"name": "d_ratio", "expr": f"ratio({one}, {other})"}
        yield {
            "name": "d_band",
            "segment": [{"name": "none", "when": f"{one} is null"}, {"name": "up", "when": f"{one} > 0"}, {"name": "down"}],
        }
        bands = [{"below": "0", "points": "-40"}, {"below": "2.5", "points": "10"}, {"points": "300"}]
        part = {"of": other, "bands": bands, "missing": "5"}
        yield {"name": "d_score", "score": {"base": "100", "minimum": "80", "maximum": "250", "parts": [part]}}
        yield {"name": "d_whole", "one_hot": "d_band", "values": ["up", "other"]}
    if words:
        yield {"name": "d_label", "label": chance.choice(words), "values": ["alpha", "beta", "[]"]}
