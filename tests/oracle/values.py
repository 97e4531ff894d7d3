"""Values as definitions mean them: money to the cent, local days, text of a value, and comparing two answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

NUMERIC = ("integer", "money", "number")
_WHOLE = 2**63
_MONEY = Decimal(10) ** 26


class OracleError(Exception):
    """What the oracle does not answer: outside the documented language, or of the wrong types."""


def rounded(value: Decimal, places: int) -> Decimal:
    """`value` with `places` decimals, half away from zero."""
    with localcontext() as context:
        context.prec = 80
        return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def cents(exact: Fraction) -> Decimal:
    """Money, half away from zero, without a decimal quotient that would round twice."""
    doubled = abs(exact) * 200
    whole = (doubled.numerator // doubled.denominator + 1) // 2
    return rounded(Decimal(whole if exact >= 0 else -whole).scaleb(-2), 2)


def zero(of_type: str | None) -> Any:
    return Decimal("0.00") if of_type == "money" else 0.0 if of_type == "number" else 0


def convert(value: Any, to: str) -> Any:
    """A value in the Python type of a column type, numeric ones widened or rounded; null where it is past the type."""
    if value is None or to not in NUMERIC:
        return value
    if to == "number":
        return finite(lambda: float(value) + 0.0)  # there is one zero, without a sign
    if to == "money":
        exact = rounded(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), 2) + 0
        return exact if abs(exact) < _MONEY else None
    return value if -_WHOLE <= value < _WHOLE else None


def finite(calculate: Callable[[], Any]) -> Any:
    """What `calculate` gives; null where there is no finite answer."""
    try:
        value = calculate()
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ratio(left: Any, right: Any) -> Any:
    """A quotient of doubles; null by zero."""
    if left is None or right is None or right == 0:
        return None
    return finite(lambda: float(left) / float(right))


def local_date(moment: Any, zone: str) -> date:
    """The local date of an instant; a date is its own."""
    return moment.astimezone(ZoneInfo(zone)).date() if isinstance(moment, datetime) else moment


def start_of_day(day: date, zone: str) -> datetime:
    """The first instant of a local day, in UTC; where no midnight exists, the instant at which clocks jumped over it."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def first_of_month(day: date, months: int = 0) -> date:
    """The first day of the month of `day`, or of the month so many later."""
    number = day.year * 12 + day.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def instant(value: Any, zone: str) -> datetime:
    """A timestamp, or the start of a local day."""
    return value if isinstance(value, datetime) else start_of_day(value, zone)


def null_first(value: Any) -> tuple[Any, ...]:
    """Sorts a null before every value."""
    return () if value is None else (value,)


def text_of(value: Any) -> str:
    """A value as `cast(… as string)` gives it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        raise OracleError("a number has no text of its own")
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, date) else str(value)


def json_text(value: Any) -> str:
    """Compact JSON with sorted keys: money as text, dates and times ISO, numbers as Python writes them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=text_of)


def key_text(value: Any) -> str:
    """A value as the key of a JSON object."""
    return repr(value) if isinstance(value, float) else text_of(value)


def days_apart(earlier: datetime, later: datetime, zone: str) -> int:
    return (local_date(later, zone) - local_date(earlier, zone)).days


def step(day: date, days: int) -> date:
    return day + timedelta(days=days)


def disagreements(
    expected: Mapping[str, Mapping[str, object]], actual: Mapping[str, Mapping[str, object]], *, tolerance: float = 1e-9
) -> list[str]:
    """Where two answers differ, one line each; empty when they agree. Only doubles may differ, by `tolerance`; types never."""
    found = [f"{entity}: only expected" for entity in expected.keys() - actual.keys()]
    found += [f"{entity}: not expected" for entity in actual.keys() - expected.keys()]
    for entity in expected.keys() & actual.keys():
        left, right = expected[entity], actual[entity]
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                found.append(f"{entity}.{name}: {'not expected' if name in right else 'missing'}")
            elif not _same(left[name], right[name], tolerance):
                found.append(f"{entity}.{name}: expected {left[name]!r}, got {right[name]!r}")
    return sorted(found)


def _same(left: Any, right: Any, tolerance: float) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(left, str) and left[:1] + left[-1:] in ("[]", "{}"):
        return _same_json(json.loads(left), json.loads(right), tolerance) if right[:1] == left[:1] else False
    return bool(left == right)


def _same_json(left: Any, right: Any, tolerance: float) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return list(left) == list(right) and all(_same_json(left[key], right[key], tolerance) for key in left)
    if isinstance(left, Sequence) and not isinstance(left, str) and isinstance(right, Sequence) and not isinstance(right, str):
        return len(left) == len(right) and all(_same_json(a, b, tolerance) for a, b in zip(left, right, strict=True))
    return _same(left, right, tolerance) if not isinstance(left, str) else bool(left == right)
