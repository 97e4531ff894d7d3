"""Every operation over the values of a window, in plain Python, as its definition reads. Nothing is fast here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from conf.specs import ColumnType
from transforms.by_hand.history import sort_key, text_of

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Value:
    """One value of a window, oldest first. `day`: the local day on which it counts. `before`: the value before it, wherever."""

    value: Any
    day: date
    weight: Any = None
    before: Any = None
    days_before: int | None = None


@dataclass(frozen=True)
class Asked:
    """What an operation is asked: the as-of day, the type of its values, its parameters.

    `weight_type`: of its weights, None where it doesn't weigh. `earlier`: the values before the window, oldest first.
    """

    as_of: date
    type: ColumnType
    parameters: Mapping[str, str]
    weight_type: ColumnType | None = None
    earlier: Sequence[Any] = ()

    @property
    def weighs(self) -> bool:
        return self.weight_type is not None


def answer(operation: str, values: Sequence[Value], asked: Asked) -> Any:
    """The answer to `operation` over `values` (nulls left out before), as a Python value; None for null."""
    return _TABLE[operation](values, asked)


def _numbers(values: Sequence[Value]) -> list[Any]:
    return [value.value for value in values]


def _floats(values: Sequence[Value]) -> list[float]:
    return [float(value.value) for value in values]


def _cents(amount: Fraction) -> Decimal:
    """Rounded to the cent, half away from zero."""
    doubled = abs(amount) * 200
    cents = (doubled.numerator + doubled.denominator) // (2 * doubled.denominator)
    return Decimal(cents if amount >= 0 else -cents).scaleb(-2)


def _sum(values: Sequence[Value], asked: Asked) -> Any:
    zero: Any = {"money": Decimal("0.00"), "number": 0.0}.get(asked.type, 0)
    return sum(_numbers(values), zero)


def _mean(values: Sequence[Value], asked: Asked) -> Any:
    if asked.weighs:
        weighed = [(Fraction(v.value), Fraction(v.weight)) for v in values if v.weight is not None]
        total = sum(weight for _, weight in weighed)
        if not total:
            return None
        mean = sum((value * weight for value, weight in weighed), Fraction(0)) / total
        return _cents(mean) if asked.type == "money" else float(mean)
    if not values:
        return None
    if asked.type == "money":
        return _cents(Fraction(sum(_numbers(values), Decimal(0))) / len(values))
    return sum(_floats(values)) / len(values)


def _central(values: Sequence[Value], power: int) -> float:
    numbers = _floats(values)
    mean = math.fsum(numbers) / len(numbers)
    return math.fsum((number - mean) ** power for number in numbers)


def _variance(values: Sequence[Value], asked: Asked) -> float | None:
    return _central(values, 2) / (len(values) - 1) if len(values) > 1 else None


def _std(values: Sequence[Value], asked: Asked) -> float | None:
    variance = _variance(values, asked)
    return None if variance is None else math.sqrt(variance)


def _cv(values: Sequence[Value], asked: Asked) -> float | None:
    if len(values) < 3:
        return None
    mean = math.fsum(_floats(values)) / len(values)
    spread = _std(values, asked)
    return spread / mean if mean and spread is not None else None


def _skew(values: Sequence[Value], asked: Asked) -> float | None:
    n = len(values)
    if n < 3:
        return None
    if not (second := _central(values, 2) / n):
        return 0.0
    return float(_central(values, 3) / n / second**1.5 * math.sqrt(n * (n - 1)) / (n - 2))


def _kurtosis(values: Sequence[Value], asked: Asked) -> float | None:
    n = len(values)
    if n < 4:
        return None
    if not (second := _central(values, 2) / n):
        return 0.0
    excess = _central(values, 4) / n / second**2 - 3
    return ((n + 1) * excess + 6) * (n - 1) / ((n - 2) * (n - 3))


def _slope(values: Sequence[Value], asked: Asked) -> float | None:
    days = [float(value.day.toordinal()) for value in values]
    if len(values) < 3 or len(set(days)) < 2:
        return None
    numbers = _floats(values)
    day, number = sum(days) / len(days), sum(numbers) / len(numbers)
    return sum((d - day) * (n - number) for d, n in zip(days, numbers, strict=True)) / sum((d - day) ** 2 for d in days)


def _gaps(values: Sequence[Value]) -> list[int]:
    days = [value.day for value in values]
    return [(later - earlier).days for earlier, later in pairwise(days)]


def _over_gaps(of: Callable[[list[int]], Any], least: int = 1) -> Callable[[Sequence[Value], Asked], Any]:
    return lambda values, asked: of(_gaps(values)) if len(_gaps(values)) >= least else None


def _gap_std(gaps: list[int]) -> float:
    mean = sum(gaps) / len(gaps)
    return math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1))


def _streak(values: Sequence[Value], asked: Asked) -> int:
    length = 0
    for value in reversed(values):
        if not value.value:
            break
        length += 1
    return length


def _shares(values: Sequence[Value], asked: Asked) -> dict[Any, Fraction]:
    """The total weight of each value (1 each without weights)."""
    totals: dict[Any, Fraction] = {}
    for value in values:
        if not asked.weighs or value.weight is not None:
            totals[value.value] = totals.get(value.value, Fraction(0)) + (Fraction(value.weight) if asked.weighs else 1)
    return totals


def _share(values: Sequence[Value], asked: Asked) -> str | None:
    totals = _shares(values, asked)
    whole = sum(totals.values())
    if totals and not whole:
        return None
    return as_json({key_text(key): float(total / whole) for key, total in totals.items()})


def _frequency(values: Sequence[Value], asked: Asked) -> str:
    return as_json({key_text(key): _total(total, asked) for key, total in _shares(values, asked).items()})


def _total(total: Fraction, asked: Asked) -> Any:
    """A count, or the sum of weights as JSON has it."""
    if not asked.weighs:
        return int(total)
    return str(_cents(total)) if asked.weight_type == "money" else float(total) if asked.weight_type == "number" else int(total)


def _entropy(values: Sequence[Value], asked: Asked) -> float | None:
    totals = _shares(values, asked)
    whole = sum(totals.values())
    if whole <= 0 or min(totals.values()) < 0:
        return None
    shares = [float(total / whole) for total in totals.values() if total]
    return abs(-math.fsum(share * math.log(share) for share in shares))


def _ranked(values: Sequence[Value], asked: Asked, *, greatest_first: bool) -> list[Any]:
    sign = -1 if greatest_first else 1
    return [value for value, _ in sorted(_shares(values, asked).items(), key=lambda item: (sign * item[1], sort_key(item[0])))]


def _top(greatest_first: bool) -> Callable[[Sequence[Value], Asked], str]:
    def top(values: Sequence[Value], asked: Asked) -> str:
        ranked = _ranked(values, asked, greatest_first=greatest_first)
        return as_json([json_value(value) for value in ranked[: int(asked.parameters["n"])]])

    return top


def _mode(values: Sequence[Value], asked: Asked) -> Any:
    ranked = _ranked(values, asked, greatest_first=True)
    return ranked[0] if ranked else None


def _percentile(values: Sequence[Value], asked: Asked) -> Any:
    if not values:
        return None
    numbers = sorted(Fraction(value.value) for value in values)
    place = Fraction(asked.parameters["q"]) / 100 * (len(numbers) - 1)
    low = math.floor(place)
    high = min(low + 1, len(numbers) - 1)
    found = numbers[low] + (numbers[high] - numbers[low]) * (place - low)
    return _cents(found) if asked.type == "money" else float(found)


def _histogram(values: Sequence[Value], asked: Asked) -> str:
    if not values:
        return "[]"
    edges = [Fraction(text.strip()) for text in asked.parameters["edges"].strip("[]").split(",")]
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[sum(Fraction(value.value) >= edge for edge in edges)] += 1
    return as_json(counts)


def _decayed_sum(values: Sequence[Value], asked: Asked) -> float:
    half_life = float(asked.parameters["half_life"].removesuffix("d"))
    return math.fsum(float(value.value) * 2 ** (-(asked.as_of - value.day).days / half_life) for value in values)


def _return_count(values: Sequence[Value], asked: Asked) -> int:
    high, low = Fraction(asked.parameters["high"]), Fraction(asked.parameters["low"])
    count, was_high = 0, False
    for earlier in map(Fraction, asked.earlier):
        was_high = earlier >= high or (was_high and earlier > low)
    for value in values:
        if Fraction(value.value) >= high:
            was_high = True
        elif was_high and Fraction(value.value) <= low:
            count, was_high = count + 1, False
    return count


def _close_count(values: Sequence[Value], asked: Asked) -> int:
    within = int(asked.parameters["within"].removesuffix("d"))
    return sum(value.days_before is not None and value.days_before <= within for value in values)


_TABLE: Mapping[str, Callable[[Sequence[Value], Asked], Any]] = {
    "count": lambda values, asked: len(values),
    "sum": _sum,
    "mean": _mean,
    "min": lambda values, asked: min(_numbers(values), default=None),
    "max": lambda values, asked: max(_numbers(values), default=None),
    "std": _std,
    "variance": _variance,
    "skew": _skew,
    "kurtosis": _kurtosis,
    "cv": _cv,
    "distinct_count": lambda values, asked: len(set(_numbers(values))),
    "first": lambda values, asked: values[0].value if values else None,
    "last": lambda values, asked: values[-1].value if values else None,
    "first_n": lambda values, asked: as_json([json_value(v.value) for v in values[: int(asked.parameters["n"])]]),
    "last_n": lambda values, asked: as_json([json_value(v.value) for v in reversed(values[-int(asked.parameters["n"]) :])]),
    "top_k": _top(greatest_first=True),
    "bottom_k": _top(greatest_first=False),
    "mode": _mode,
    "histogram": _histogram,
    "percentile": _percentile,
    "any": lambda values, asked: any(_numbers(values)),
    "all": lambda values, asked: all(_numbers(values)) if values else None,
    "slope": _slope,
    "recency": lambda values, asked: (asked.as_of - values[-1].day).days if values else None,
    "age": lambda values, asked: (asked.as_of - values[0].day).days if values else None,
    "gap_mean": _over_gaps(lambda gaps: sum(gaps) / len(gaps)),
    "gap_min": _over_gaps(min),
    "gap_max": _over_gaps(max),
    "gap_std": _over_gaps(_gap_std, least=2),
    "streak": _streak,
    "entropy": _entropy,
    "share": _share,
    "frequency": _frequency,
    "decayed_sum": _decayed_sum,
    "change_count": lambda values, asked: sum(v.before is not None and v.value != v.before for v in values),
    "rise_count": lambda values, asked: sum(v.before is not None and v.value > v.before for v in values),
    "close_count": _close_count,
    "return_count": _return_count,
}


OPERATION_NAMES = tuple(_TABLE)
LOOKING_BACK = ("change_count", "rise_count", "close_count", "return_count")  # at what lies before the window
_GIVES: Mapping[ColumnType, Sequence[str]] = {
    "integer": (
        "count", "distinct_count", "recency", "age", "streak", "change_count", "rise_count", "close_count", "return_count",
        "gap_min", "gap_max",
    ),
    "number": (
        "std", "variance", "skew", "kurtosis", "cv", "slope", "gap_mean", "gap_std", "entropy", "decayed_sum",
    ),
    "boolean": ("any", "all"),
    "string": ("first_n", "last_n", "top_k", "bottom_k", "histogram", "share", "frequency"),
}  # fmt: skip


def answer_type(operation: str, of: ColumnType | None) -> ColumnType:
    """The type of an operation's answer over values of a type."""
    for gives, names in _GIVES.items():
        if operation in names:
            return gives
    if operation == "mean":
        return "money" if of == "money" else "number"
    assert of is not None
    return of


def as_json(value: Any) -> str:
    """Compact, with sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_value(value: Any) -> Any:
    """A value inside a list or map: money as text, instants and dates in ISO-8601."""
    if isinstance(value, Decimal):
        return str(value.quantize(CENT, ROUND_HALF_UP))
    return text_of(value) if isinstance(value, (date, datetime)) else value


def key_text(value: Any) -> str:
    """A value as the key of a map."""
    told = json_value(value)
    return str(told).lower() if isinstance(told, bool) else str(told)
