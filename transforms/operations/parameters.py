"""How the texts of parameters are read. Each raises ValueError with what the text must be instead."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from itertools import pairwise


def whole_number(text: str) -> int:
    """1 or more."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError("a whole number from 1")
    return int(text)


def days_of(text: str) -> int:
    """Local days: `30` or `30d`."""
    try:
        return whole_number(text.removesuffix("d"))
    except ValueError:
        raise ValueError("a whole number of local days, such as '30'") from None


def number(text: str) -> Decimal:
    """Any number, exactly."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError("a number") from None
    if not value.is_finite():
        raise ValueError("a number")
    return value


def duration_in_days(text: str) -> float:
    """Local days, whole or not: `30`, `30d`, `0.5`."""
    try:
        days = number(text.removesuffix("d"))
    except ValueError:
        days = Decimal(0)
    if days <= 0:
        raise ValueError("a number of local days above 0, such as '30'")
    return float(days)


def percent(text: str) -> Decimal:
    """0 to 100."""
    try:
        value = number(text)
    except ValueError:
        raise ValueError("a number from 0 to 100") from None
    if not 0 <= value <= 100:
        raise ValueError("a number from 0 to 100")
    return value


def ascending(text: str) -> tuple[Decimal, ...]:
    """Numbers, each greater than the one before: `0, 30, 60` or `[0, 30, 60]`."""
    try:
        values = tuple(number(part.strip()) for part in text.strip().removeprefix("[").removesuffix("]").split(","))
    except ValueError:
        values = ()
    if not values or any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError("numbers in ascending order, such as '0, 30, 60'")
    return values
