"""Whether a number as it stands is the one made again."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

SAME_DIGITS = 1e-9  # doubles are added in another order than the engine does


def same(told: Any, made: Any) -> bool:
    """Whether a number as it stands (typed, or text of the online store) is the one made again; doubles to nine digits."""
    if told is None or made is None:
        return told is made
    if isinstance(told, str) and not isinstance(made, str):
        told = _like(told, made)
    if isinstance(told, str) and isinstance(made, str) and told[:1] in ("[", "{"):
        return _same_json(json.loads(told), json.loads(made))
    if isinstance(told, float) or isinstance(made, float):
        return math.isclose(float(told), float(made), rel_tol=SAME_DIGITS, abs_tol=1e-12)
    return bool(told == made)


def _same_json(told: Any, made: Any) -> bool:
    if isinstance(told, dict) and isinstance(made, dict):
        return told.keys() == made.keys() and all(_same_json(told[key], made[key]) for key in told)
    if isinstance(told, list) and isinstance(made, list):
        return len(told) == len(made) and all(map(_same_json, told, made))
    return same(told, made)


def _like(text: str, made: Any) -> Any:
    """A record's text as a value of the kind of `made`."""
    if isinstance(made, bool):
        return text.lower() in ("true", "1")
    if isinstance(made, datetime):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    if isinstance(made, date):
        return date.fromisoformat(text)
    return Decimal(text) if isinstance(made, Decimal) else type(made)(text)
