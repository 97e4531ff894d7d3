"""Every operation over the facts of one window, each said the long way.

Facts come oldest first, ordered by (when they count, known time, key in its declared type); their values are not null. `before` are
the facts of the same feature that lie before the window: `change_count`, `rise_count`, `close_count` and `return_count` look back at
them, so that what happens in a window doesn't hang on where the window begins.

- Skewness needs three values and kurtosis four, both adjusted for the sample as pandas does: 0 when all values are the same.
- `recency`, `age` and `decayed_sum` count local days to D, in a lagged window too.
- Parameters are text. A list of values is JSON text; of an empty window `[]`, and `{}` for `share` and `frequency`.
- With a weight: `mean` is the weighted one, and `share`, `frequency`, `entropy`, `top_k`, `bottom_k` and `mode` add weights up
  instead of counting. Where all weights add up to 0, a mean, an entropy and the shares are null; an entropy is where a value's are
  negative, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.oracle.moment import Moment
from tests.oracle.values import OracleError, cents, convert, days_apart, json_text, key_text, local_date, zero


@dataclass(frozen=True)
class Fact:
    """A fact as an operation sees it: when it counts, its place among others, its value and its weight."""

    at: datetime
    order: tuple[Any, ...]
    value: Any = None
    weight: Any = None


@dataclass(frozen=True)
class Seen:
    """The facts of a window, those before it, the type of their values, the parameters, and the moment of the question."""

    facts: Sequence[Fact]
    before: Sequence[Fact]
    type: str | None
    given: Mapping[str, str]
    moment: Moment

    @property
    def values(self) -> list[Any]:
        return [fact.value for fact in self.facts]

    @property
    def exact(self) -> list[Fraction]:
        return [Fraction(value) for value in self.values]

    def number(self, name: str) -> Fraction:
        return Fraction(self.given[name])

    def local_days(self, facts: Sequence[Fact]) -> list[int]:
        return [local_date(fact.at, self.moment.zone).toordinal() for fact in facts]

    def pairs(self) -> list[tuple[Fact | None, Fact]]:
        """Each fact of the window behind the one before it, wherever that lies."""
        return list(zip([*(self.before[-1:] or [None]), *self.facts[:-1]], self.facts, strict=True)) if self.facts else []


# Sums, means and spreads


def _sum(seen: Seen) -> Any:
    return math.fsum(seen.values) if seen.type == "number" else convert(sum(seen.values, start=zero(seen.type)), str(seen.type))


def _mean(seen: Seen) -> Any:
    weights = [Fraction(1 if fact.weight is None else fact.weight) for fact in seen.facts]
    if sum(weights) == 0:
        return None
    total = sum((value * weight for value, weight in zip(seen.exact, weights, strict=True)), start=Fraction(0))
    mean = total / sum(weights)
    return cents(mean) if seen.type == "money" else float(mean)


def _moment_sum(values: Sequence[Fraction], power: int) -> Fraction:
    """The sum of the powers of the distances from the mean."""
    mean = sum(values) / len(values)
    return sum(((value - mean) ** power for value in values), start=Fraction(0))


def _variance_of(values: Sequence[Fraction]) -> Fraction | None:
    return _moment_sum(values, 2) / (len(values) - 1) if len(values) > 1 else None


def _variance(seen: Seen) -> Any:
    variance = _variance_of(seen.exact)
    return None if variance is None else float(variance)


def _std(seen: Seen) -> Any:
    variance = _variance(seen)
    return None if variance is None else math.sqrt(variance)


def _skew(seen: Seen) -> Any:
    n = len(seen.facts)
    if n < 3:
        return None
    second, third = (_moment_sum(seen.exact, power) / n for power in (2, 3))
    if second == 0:
        return 0.0
    return math.copysign(math.sqrt(float(n * (n - 1) * third**2 / second**3)), third) / (n - 2)


def _kurtosis(seen: Seen) -> Any:
    n = len(seen.facts)
    if n < 4:
        return None
    second, fourth = (_moment_sum(seen.exact, power) for power in (2, 4))
    if second == 0:
        return 0.0
    fraction = Fraction(n * (n + 1) * (n - 1), (n - 2) * (n - 3)) * fourth / second**2
    return float(fraction - Fraction(3 * (n - 1) ** 2, (n - 2) * (n - 3)))


def _cv(seen: Seen) -> Any:
    if len(seen.facts) < 3 or sum(seen.exact) == 0:
        return None
    return math.sqrt(float(_variance_of(seen.exact))) / float(sum(seen.exact) / len(seen.exact))


def _slope(seen: Seen) -> Any:
    """Least squares of the value on the number of the local day."""
    if len(seen.facts) < 3:
        return None
    days, values = [Fraction(day) for day in seen.local_days(seen.facts)], seen.exact
    day_mean, value_mean = sum(days) / len(days), sum(values) / len(values)
    spread = sum((day - day_mean) ** 2 for day in days)
    if spread == 0:
        return None
    return float(sum((d - day_mean) * (v - value_mean) for d, v in zip(days, values, strict=True)) / spread)


def _percentile(seen: Seen) -> Any:
    """Linear between the two values that the place q / 100 * (n - 1) lies between."""
    if not seen.facts:
        return None
    values = sorted(seen.exact)
    place = seen.number("q") / 100 * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    exact = values[below] + (values[above] - values[below]) * (place - below)
    return cents(exact) if seen.type == "money" else float(exact)


def _decayed_sum(seen: Seen) -> Any:
    today = seen.moment.as_of.toordinal()
    ages = [today - day for day in seen.local_days(seen.facts)]
    halved = [age / float(seen.number("half_life")) for age in ages]
    return math.fsum(float(value) * 2.0**-half for value, half in zip(seen.values, halved, strict=True))


# Which values there are, and how often


def _totals(seen: Seen) -> dict[Any, Fraction]:
    """How often each value occurs, or its weight, by value ascending."""
    totals: dict[Any, Fraction] = {}
    for fact in sorted(seen.facts, key=lambda fact: fact.value):
        totals[fact.value] = totals.get(fact.value, Fraction(0)) + Fraction(1 if fact.weight is None else fact.weight)
    return totals


def _ranked(seen: Seen, *, most: bool) -> list[Any]:
    """Values by how often they occur; ties by value ascending."""
    totals = _totals(seen)
    return sorted(totals, key=lambda value: -totals[value] if most else totals[value])


def _shares(seen: Seen) -> dict[Any, Fraction] | None:
    totals = _totals(seen)
    whole = sum(totals.values())
    return None if totals and whole == 0 else {value: total / whole for value, total in totals.items()}


def _share(seen: Seen) -> Any:
    shares = _shares(seen)
    return None if shares is None else json_text({key_text(value): float(share) for value, share in shares.items()})


def _frequency(seen: Seen) -> Any:
    """Weights add up to what they are: money to money, whole numbers to a whole number."""
    kinds = {type(fact.weight) for fact in seen.facts}
    as_written = {Decimal: cents, float: float}.get(*kinds, int) if kinds else int
    return json_text({key_text(value): as_written(total) for value, total in _totals(seen).items()})


def _entropy(seen: Seen) -> Any:
    shares = _shares(seen)
    if shares and min(_totals(seen).values()) < 0:
        return None
    return -math.fsum(float(p) * math.log(p) for p in shares.values() if p > 0) + 0.0 if shares else None


def _histogram(seen: Seen) -> Any:
    """How many values lie below the first edge, from each edge to the next, and from the last on."""
    edges = [Fraction(edge.strip()) for edge in seen.given["edges"].split(",")]
    bands = list(zip([None, *edges], [*edges, None], strict=True))
    counts = [sum((a is None or a <= v) and (b is None or v < b) for v in seen.exact) for a, b in bands]
    return json_text(counts if seen.facts else [])


# What came when


def _days_since(seen: Seen, facts: Sequence[Fact]) -> Any:
    return seen.moment.as_of.toordinal() - seen.local_days(facts)[0] if facts else None


def _gaps(seen: Seen) -> list[int]:
    return [later - earlier for earlier, later in itertools.pairwise(seen.local_days(seen.facts))]


def _gap_mean(seen: Seen) -> Any:
    gaps = _gaps(seen)
    return sum(gaps) / len(gaps) if gaps else None


def _gap_std(seen: Seen) -> Any:
    variance = _variance_of([Fraction(gap) for gap in _gaps(seen)])
    return None if variance is None else math.sqrt(variance)


def _streak(seen: Seen) -> Any:
    return sum(1 for _ in itertools.takewhile(bool, reversed(seen.values)))


def _change_count(seen: Seen) -> Any:
    return sum(before is not None and before.value != fact.value for before, fact in seen.pairs())


def _rise_count(seen: Seen) -> Any:
    return sum(before is not None and before.value < fact.value for before, fact in seen.pairs())


def _close_count(seen: Seen) -> Any:
    zone, within = seen.moment.zone, int(seen.given["within"])
    return sum(before is not None and days_apart(before.at, fact.at, zone) <= within for before, fact in seen.pairs())


def _return_count(seen: Seen) -> Any:
    high, low = seen.number("high"), seen.number("low")
    was_high, returns = False, 0
    for facts, counts in ((seen.before, 0), (seen.facts, 1)):
        for fact in facts:
            if fact.value >= high:
                was_high = True
            elif fact.value <= low and was_high:
                was_high = False
                returns += counts
    return returns


@dataclass(frozen=True)
class Operation:
    """`gives`: the type of its answer, "of" being that of its values, "json" a string of JSON. `takes`: the types of values;
    none: needs no value."""

    answer: Callable[[Seen], Any]
    gives: str
    takes: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    weighs: bool = False
    looks_back: bool = False


_NUMBERS = ("integer", "number", "money")
_ORDERED = (*_NUMBERS, "string", "date", "timestamp")
_EVERY = (*_ORDERED, "boolean")
_TRUTH = ("boolean",)
OPERATIONS: dict[str, Operation] = {
    "count": Operation(lambda seen: len(seen.facts), "integer", ()),
    "sum": Operation(_sum, "of", _NUMBERS),
    "mean": Operation(_mean, "mean", _NUMBERS, weighs=True),
    "min": Operation(lambda seen: min(seen.values, default=None), "of", _ORDERED),
    "max": Operation(lambda seen: max(seen.values, default=None), "of", _ORDERED),
    "std": Operation(_std, "number", _NUMBERS),
    "variance": Operation(_variance, "number", _NUMBERS),
    "skew": Operation(_skew, "number", _NUMBERS),
    "kurtosis": Operation(_kurtosis, "number", _NUMBERS),
    "cv": Operation(_cv, "number", _NUMBERS),
    "slope": Operation(_slope, "number", _NUMBERS),
    "percentile": Operation(_percentile, "mean", _NUMBERS, ("q",)),
    "decayed_sum": Operation(_decayed_sum, "number", _NUMBERS, ("half_life",)),
    "distinct_count": Operation(lambda seen: len(set(seen.values)), "integer", _EVERY),
    "first": Operation(lambda seen: seen.values[0] if seen.facts else None, "of", _EVERY),
    "last": Operation(lambda seen: seen.values[-1] if seen.facts else None, "of", _EVERY),
    "first_n": Operation(lambda seen: json_text(seen.values[: int(seen.given["n"])]), "json", _EVERY, ("n",)),
    "last_n": Operation(lambda seen: json_text(seen.values[::-1][: int(seen.given["n"])]), "json", _EVERY, ("n",)),
    "top_k": Operation(lambda seen: json_text(_ranked(seen, most=True)[: int(seen.given["n"])]), "json", _EVERY, ("n",), True),
    "bottom_k": Operation(
        lambda seen: json_text(_ranked(seen, most=False)[: int(seen.given["n"])]), "json", _EVERY, ("n",), True
    ),
    "mode": Operation(lambda seen: next(iter(_ranked(seen, most=True)), None), "of", _EVERY, (), True),
    "share": Operation(_share, "json", _EVERY, (), True),
    "frequency": Operation(_frequency, "json", _EVERY, (), True),
    "entropy": Operation(_entropy, "number", _EVERY, (), True),
    "histogram": Operation(_histogram, "json", _NUMBERS, ("edges",)),
    "any": Operation(lambda seen: any(seen.values), "boolean", _TRUTH),
    "all": Operation(lambda seen: all(seen.values) if seen.facts else None, "boolean", _TRUTH),
    "streak": Operation(_streak, "integer", _TRUTH),
    "recency": Operation(lambda seen: _days_since(seen, seen.facts[-1:]), "integer", ()),
    "age": Operation(lambda seen: _days_since(seen, seen.facts[:1]), "integer", ()),
    "gap_mean": Operation(_gap_mean, "number", ()),
    "gap_min": Operation(lambda seen: min(_gaps(seen), default=None), "integer", ()),
    "gap_max": Operation(lambda seen: max(_gaps(seen), default=None), "integer", ()),
    "gap_std": Operation(_gap_std, "number", ()),
    "change_count": Operation(_change_count, "integer", _EVERY, looks_back=True),
    "rise_count": Operation(_rise_count, "integer", _ORDERED, looks_back=True),
    "close_count": Operation(_close_count, "integer", (), ("within",), looks_back=True),
    "return_count": Operation(_return_count, "integer", _NUMBERS, ("high", "low"), looks_back=True),
}


def operation(name: str, of_type: str | None, given: Mapping[str, str]) -> tuple[Operation, str]:
    """An operation by name and the type of its answers over values of a type (None: it is given no value)."""
    if name not in OPERATIONS:
        raise OracleError(f"the oracle has no operation '{name}'; it has: {', '.join(OPERATIONS)}")
    found = OPERATIONS[name]
    if found.takes and of_type is None:
        raise OracleError(f"operation '{name}' needs a value: `of`")
    if found.takes and of_type not in found.takes:
        raise OracleError(f"operation '{name}' can't take a {of_type}")
    if set(given) != set(found.parameters):
        raise OracleError(f"operation '{name}' takes {found.parameters or 'no parameters'}, not {tuple(given)}")
    if found.gives == "of":
        return found, str(of_type)
    if found.gives == "mean":
        return found, "money" if of_type == "money" else "number"
    return found, "string" if found.gives == "json" else found.gives


def newest_of_each(facts: Sequence[tuple[Any, Fact]]) -> list[Fact]:
    """Of (column, fact) pairs, the newest fact of each value of the column, oldest first; those of a null column are left out."""
    newest: dict[Any, Fact] = {}
    for value, fact in sorted(facts, key=lambda pair: pair[1].order):
        if value is not None:
            newest[value] = fact
    return sorted(newest.values(), key=lambda fact: fact.order)
