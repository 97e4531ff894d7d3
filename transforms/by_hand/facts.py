"""Each row of an input with its time, its value, and the reason why one feature doesn't count it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from conf.expressions import Expression
from conf.specs import Aggregate, Daily, State
from transforms.by_hand.history import sort_key, text_of
from transforms.by_hand.inputs import InputReader, InputRow
from transforms.by_hand.operations import key_text
from transforms.by_hand.rows import evaluate

JUDGING = ("any", "all")  # operations whose value may be the condition itself


@dataclass(frozen=True)
class Fact:
    """A row as a feature sees it. `told`: the values of the feature's expressions. `reason`: empty when it counts."""

    row: InputRow
    at: datetime | None
    value: Any
    told: Mapping[str, Any]
    reason: str

    @property
    def time(self) -> datetime:
        """When it counts; of a row that counts there is one."""
        assert self.at is not None
        return self.at

    @property
    def order(self) -> tuple[Any, ...]:
        """Oldest first: by time, known time, primary key."""
        origin = self.row.origin
        known = origin.get("_known_time") or origin["_event_time"]
        return (self.time, known, *(sort_key(origin[name]) for name in self.row.source.key))

    def unless(self, is_so: bool, reason: str) -> Fact:
        """The same, ruled out by `reason` if it is so and nothing else rules it out."""
        return replace(self, reason=reason) if is_so and not self.reason else self


def counting(facts: Sequence[Fact]) -> list[Fact]:
    """Those that count, oldest first."""
    return sorted((fact for fact in facts if not fact.reason), key=lambda fact: fact.order)


def newest_only(facts: Sequence[Fact], column: str) -> list[Fact]:
    """Of those that count, only the newest of each value of a column goes on counting."""
    newest = {fact.told["newest_per"]: id(fact) for fact in counting(facts)}
    return [
        fact.unless(
            newest.get(fact.told["newest_per"]) != id(fact) or fact.told["newest_per"] is None,
            f"there is a newer one of {column} {text_of(fact.told['newest_per'])}",
        )
        for fact in facts
    ]


def of_value(facts: Sequence[Fact], spec: Aggregate | State, by_value: str | None) -> list[Fact]:
    """Of those that count, only the facts of one pivot value go on counting."""
    if by_value is None:
        return list(facts)
    column, values = next(iter(spec.by.items()))
    named = {value for value in values if value != "other"}
    told = []
    for fact in facts:
        found = fact.told[column]
        text = None if found is None else key_text(found)
        is_of = text not in named if by_value == "other" else text == by_value
        told.append(fact.unless(not is_of, f"filtered: {column} is {text_of(found)}, not {by_value}"))
    return told


def judge_facts(
    spec: Aggregate | State | Daily, reader: InputReader, rows: Sequence[InputRow], *, moment: datetime
) -> list[Fact]:
    """Each row with its time and value, and what keeps it from counting at `moment`, windows apart."""
    expressions = _expressions(spec, reader)
    told = evaluate(expressions, [row.values for row in rows], reader.types)
    return [_judge(spec, row, found, moment) for row, found in zip(rows, told, strict=True)]


def _expressions(spec: Aggregate | State | Daily, reader: InputReader) -> dict[str, Expression]:
    texts = {"from": spec.from_, "until": spec.until, "newest_per": spec.newest_per}
    if not isinstance(spec, Daily):
        texts |= {"of": spec.of, "weight": spec.weight}
        texts |= {column: f'"{column}"' for column in spec.by}
    if isinstance(spec, Aggregate):
        texts["at"] = spec.at
    expressions = {name: reader.expression(text) for name, text in texts.items() if text is not None}
    for name in ("at", "from", "until"):
        if name in expressions and expressions[name].type == "date":
            expressions[name] = reader.expression(f"start_of_day({texts[name]})")
    if spec.where:
        expressions["where"] = reader.condition(spec.where)
    return expressions


def _judge(spec: Aggregate | State | Daily, row: InputRow, told: Mapping[str, Any], moment: datetime) -> Fact:
    happened = row.values["_event_time"]
    judges = not isinstance(spec, Daily) and spec.of is None and spec.op in JUDGING
    at = told.get("at", happened)
    value = bool(told.get("where")) if judges else told.get("of", True)
    fact = Fact(row, at, value, told, row.reason)
    fact = fact.unless("where" in told and not told["where"] and not judges, f"filtered: not {spec.where}")
    if "from" in told:
        since = told["from"]
        fact = fact.unless(since is None or since >= moment, f"it does not hold yet: {spec.from_} is {text_of(since)}")
    until = told.get("until")
    fact = fact.unless(until is not None and until < moment, f"it holds no longer: {spec.until} is {text_of(until)}")
    fact = fact.unless(at is None, f"it has no time: {getattr(spec, 'at', None)} is null")
    return fact.unless(value is None, f"no value: {getattr(spec, 'of', None)} is null")
