"""Values of each query's members as numbers, and how often each of them occurs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.kernel import Mask, Members, Positions, Selection, Values, narrowed, summable


def in_units(values: Values, positions: Positions) -> NDArray[np.float64]:
    """The values at `positions` as doubles; money in whole units of the currency."""
    numbers = values.data[positions].astype(np.float64)
    return numbers / 100 if values.type == "money" else numbers


def from_mean(values: Values, members: Members) -> NDArray[np.float64]:
    """How far each member lies from the mean of its query; exactly 0 where all are equal."""
    numbers = in_units(values, members.positions)
    shifted = numbers - members.first(numbers)[members.query]
    means = members.reduce(np.add, shifted) / np.maximum(members.counts, 1)
    away: NDArray[np.float64] = shifted - means[members.query]
    return away


def finite(data: NDArray[np.float64], present: Mask) -> tuple[NDArray[np.float64], Mask]:
    """Numbers beyond the range of a double are null."""
    present = present & np.isfinite(data)
    return np.where(present, data, 0), present


def divided(numerator: NDArray[Any], denominator: NDArray[Any], present: Mask) -> NDArray[np.float64]:
    """The quotient where `present`; 0 elsewhere."""
    with np.errstate(all="ignore"):
        quotient = numerator / np.where(present, denominator, 1)
    return np.where(present, quotient, 0).astype(np.float64)


def rounded_quotient(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers divided, exactly, and rounded half away from zero. Denominators are positive."""
    whole, rest = np.abs(numerator) // denominator, np.abs(numerator) % denominator
    magnitude = whole + (rest >= denominator - rest)
    rounded: NDArray[Any] = np.where(numerator < 0, -magnitude, magnitude)
    return rounded


def at_least(values: Values, limit: Decimal) -> NDArray[np.bool_]:
    """Which values are `limit` or more, exactly; money in units of the currency."""
    reached: NDArray[np.bool_] = values.data >= scaled(values.type, limit, up=True)
    return reached


def at_most(values: Values, limit: Decimal) -> NDArray[np.bool_]:
    """Which values are `limit` or less."""
    reached: NDArray[np.bool_] = values.data <= scaled(values.type, limit, up=False)
    return reached


def scaled(type_: ColumnType, limit: Decimal, *, up: bool) -> int | float:
    """A limit as values have it: of whole numbers the next one up or down that says the same."""
    if type_ == "number":
        return float(limit)
    whole = limit * 100 if type_ == "money" else limit
    return int(whole.to_integral_value(ROUND_CEILING if up else ROUND_FLOOR))


@dataclass(frozen=True)
class Tally:
    """The different values of each query, ascending, and how often each occurs, or what its facts weigh together."""

    query: Positions
    value: NDArray[Any]
    weight: NDArray[Any]
    members: Members  # the same as members: positions are places in this tally


def tally(facts: Selection, values: Values, weights: Values | None) -> Tally:
    """Weights of whole numbers are added exactly, others oldest first. Facts without a weight are left out."""
    members = facts.members(values, weights)
    different, place = values.different
    key = members.query * max(len(different), 1) + place[members.positions]
    if weights is None:
        key = np.sort(key)
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        weight: NDArray[Any] = np.diff(starts, append=len(key))
    else:
        order = np.argsort(key, kind="stable")
        key = key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        numbers = weights.data if weights.type == "number" else summable(weights, len(order))
        weight = np.add.reduceat(numbers[members.positions][order], starts) if len(starts) else numbers[:0]
    query, value = np.divmod(key[starts], max(len(different), 1))
    found = Members.of(query, np.arange(len(starts)), len(facts))
    return Tally(query, different[value], narrowed(weight), found)
