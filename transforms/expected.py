"""What an example expects of a column, and whether an answer is that."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from conf.specs import ColumnType, Expected

_CLOSE = 1e-9
_FRACTION = re.compile(r"([+-]?\d+)\s*/\s*(\d+)")
_WHOLE = re.compile(r"[+-]?\d+")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Expectation:
    """`text`: as the definition has it. `holds`: whether an answer is what is expected."""

    text: str
    holds: Callable[[Any], bool]


def expectation(type_: ColumnType, written: Expected) -> Expectation:
    """What `written` means for a column of that type. Raises ValueError saying what it must be instead.

    Money is compared to the cent, a number to nine digits; `1/3` is a fraction, and `~0.333` is met by what rounds to it.
    Lists and maps are those of a JSON text.
    """
    if written is None:
        return Expectation("null", lambda got: got is None)
    if not isinstance(written, str):
        if type_ != "string":
            raise ValueError(f"one value, for the column is {type_}; only JSON texts have lists and maps")
        plain = dict(written) if isinstance(written, Mapping) else list(written)
        return Expectation(json.dumps(plain, ensure_ascii=False), lambda got: got is not None and _is_json(plain, got))
    return Expectation(written, _READERS[type_](written))


def shown(value: Any) -> str:
    """An answer as an example would write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return repr(value) if isinstance(value, float) else str(value)


def _equal(wanted: Any) -> Callable[[Any], bool]:
    return lambda got: got is not None and bool(got == wanted)


def _whole_number(text: str) -> Callable[[Any], bool]:
    if not _WHOLE.fullmatch(text):
        raise ValueError("a whole number")
    return _equal(int(text))


def _number(text: str) -> Callable[[Any], bool]:
    fraction = _FRACTION.fullmatch(text)
    if fraction and int(fraction[2]):
        return _close(int(fraction[1]) / int(fraction[2]))
    rounded = text.startswith("~")
    wanted = _decimal(text.removeprefix("~"), "a number such as 0.25, a fraction such as 1/3, or ~0.333 for what rounds to it")
    if not rounded:
        return _close(float(wanted))
    half = Decimal(5).scaleb(int(wanted.as_tuple().exponent) - 1)
    return lambda got: got is not None and abs(Decimal(repr(got)) - wanted) <= half


def _close(wanted: float) -> Callable[[Any], bool]:
    return lambda got: got is not None and math.isclose(got, wanted, rel_tol=_CLOSE, abs_tol=1e-12)


def _money(text: str) -> Callable[[Any], bool]:
    wanted = _decimal(text, "an amount with at most two decimals, such as 120.50")
    if wanted != wanted.quantize(Decimal("0.01")):
        raise ValueError("an amount with at most two decimals, such as 120.50")
    return _equal(wanted)


def _boolean(text: str) -> Callable[[Any], bool]:
    if text not in _BOOLEANS:
        raise ValueError("true or false")
    return _equal(_BOOLEANS[text])


def _date(text: str) -> Callable[[Any], bool]:
    try:
        return _equal(date.fromisoformat(text))
    except ValueError:
        raise ValueError("a date such as 2025-09-30") from None


def _timestamp(text: str) -> Callable[[Any], bool]:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("a time with its offset, such as 2025-09-30T16:00:00Z")
    return _equal(moment.astimezone(UTC))


def _decimal(text: str, otherwise: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(otherwise) from None
    if not value.is_finite():
        raise ValueError(otherwise)
    return value


def _is_json(wanted: Mapping[str, str | None] | list[str | None], got: str) -> bool:
    try:
        found = json.loads(got, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return False
    if isinstance(wanted, Mapping):
        if not isinstance(found, dict) or set(found) != set(wanted):
            return False
        return all(_is_leaf(text, found[key]) for key, text in wanted.items())
    return isinstance(found, list) and len(found) == len(wanted) and all(map(_is_leaf, wanted, found))


def _is_leaf(wanted: str | None, got: Any) -> bool:
    if wanted is None or got is None:
        return wanted is None and got is None
    if isinstance(got, bool):
        return _BOOLEANS.get(wanted) is got
    if isinstance(got, Decimal):
        try:
            return _number(wanted)(float(got))
        except ValueError:
            return False
    return bool(wanted == got)


_READERS: Mapping[ColumnType, Callable[[str], Callable[[Any], bool]]] = {
    "string": _equal,
    "integer": _whole_number,
    "number": _number,
    "money": _money,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
}
