"""What a column is, in words, from its definition."""

from __future__ import annotations

from conf.specs import Aggregate, Daily, Derived, State
from conf.windows import Window
from transforms.operations import Operation


def of_aggregate(operation: Operation, feature: Aggregate | State, source: str, map_by: str | None) -> str:
    """All but its window and pivot value; the description where the definition has one."""
    if feature.description:
        return feature.description + (f", by {map_by}" if map_by else "")
    words = f"{operation.words} {_taken(operation, feature, source)}"
    if feature.weight:
        words += f" weighted by {feature.weight}"
    if feature.where and not (operation.judges and not feature.of):
        words += f" where {feature.where}"
    if feature.newest_per:
        words += f", of the newest of each {feature.newest_per}"
    if isinstance(feature, Aggregate) and feature.at:
        words += f", counted at {feature.at}"
    if feature.from_ or feature.until:
        since = f"from {feature.from_}" if feature.from_ else ""
        until = f"until {feature.until}" if feature.until else ""
        words += f", holding at the cut-off ({' '.join(filter(None, (since, until)))})"
    return words + (f", for each {map_by}" if map_by else "")


def _taken(operation: Operation, feature: Aggregate | State, source: str) -> str:
    if operation.judges:
        return f"{source} meets {feature.of or feature.where}"
    if not feature.of:
        return source
    return f"{feature.of} of {source}" if operation.needs_of else f"{source} with {feature.of}"


def of_window(window: Window | None, lag: int, *, ahead: bool = False) -> str:
    """What follows the rest; empty for all history."""
    words = ""
    if window:
        words = f" in the {window.count} local days after the cut-off" if ahead else f" {window.describe()}"
    return words + (f", {lag} days earlier" if lag else "")


def of_daily(operation: Operation, feature: Daily, source: str) -> str:
    """All but its window."""
    if feature.description:
        return feature.description
    days = "month ends" if feature.every == "month_end" else "days"
    of = "" if operation.words.endswith((" of", " between")) else " of"
    words = f"{operation.words}{of} the {days}' {feature.value} of {source}"
    if feature.where:
        words += f" where {feature.where}"
    if feature.newest_per:
        words += f", of the newest of each {feature.newest_per}"
    if feature.within:
        words += f", each of what began {feature.within.describe().replace('the cut-off', 'that day')}"
        words += f" (from {feature.from_})" if feature.from_ else ""
    elif feature.from_ or feature.until:
        since = f"from {feature.from_}" if feature.from_ else ""
        until = f"until {feature.until}" if feature.until else ""
        words += f", holding that day ({' '.join(filter(None, (since, until)))})"
    return words + (f", of {days} where {feature.days_where}" if feature.days_where else "")


def of_derived(spec: Derived, window: Window | None, formula: str) -> str:
    words = (spec.description or spec.name.replace("_", " ")) + (f" {window.describe()}" if window else "")
    return f"{words}: {formula}"
