"""The formula of each column, for a reader of the catalogue: from its definition, with its window, lag and pivot value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conf.specs import Aggregate, Daily, Derived, FeatureGroup, Input, State
from transforms.feature_group import Column, CompiledGroup, DailyColumn, WindowColumn
from transforms.feature_group.meaning import answered_columns
from transforms.feature_group.words import of_derived


def formulas(group: FeatureGroup, compiled: CompiledGroup) -> dict[str, str]:
    """Column -> formula, of every column that the group itself defines, the internal ones too."""
    found = {}
    for item in answered_columns(compiled):
        defined = _defined(group, item.column)
        if defined and _is_own(item.column):
            found[item.column.name] = _answered(*defined, item)
    for derived in compiled.derived:
        spec = next((spec for spec in group.derived if spec.name == derived.column.feature), None)
        if spec and _is_own(derived.column):
            found[derived.column.name] = _derived(spec, derived.column)
    return found


def _is_own(column: Column) -> bool:
    return "." not in column.name  # other groups' columns are called by theirs


def _defined(group: FeatureGroup, column: Column) -> tuple[Input, Aggregate | State | Daily] | None:
    for item in group.inputs:
        features: list[Aggregate | State | Daily] = [*item.aggregates, *item.states, *item.daily]
        for feature in features:
            windows = () if isinstance(feature, State) else feature.windows
            if feature.name == column.feature and (column.window in windows or not windows):
                return item, feature
    return None


def joins(item: Input) -> Iterator[str]:
    """Where an input's entity and columns come from, when not from its own rows."""
    if isinstance(item.entity, Mapping):
        yield from (
            f"`{name}` {text}" if text.startswith("via ") else f"`{name}` is `{text}`" for name, text in item.entity.items()
        )
    elif item.entity:
        yield f"the record identifier is its `{item.entity}`"
    if item.parent and item.parent.columns:
        brought = ", ".join(
            f"`{name}`" + (f" ({column})" if name != column else "") for name, column in item.parent.columns.items()
        )
        yield f"{brought} of the row of `{item.parent.source}`" + _on(item.parent.on)
    if item.settled_by:
        paid = item.settled_by
        where = f" where `{paid.where}`" if paid.where else ""
        by = f"`{paid.amount}` of `{paid.source}`{where}"
        yield f"`paid_amount`, `paid_at`, `last_paid_at`: {by}, settling `{paid.due}`{_on(paid.on)}"


def _on(columns: Mapping[str, str]) -> str:
    """By which columns; nothing to say where both sides call them the same."""
    told = [f"`{name}` = `{text}`" if name != text else f"`{name}`" for name, text in columns.items()]
    return f", by {', '.join(told)}" if told else ""


def _answered(item: Input, feature: Aggregate | State | Daily, column: WindowColumn | DailyColumn) -> str:
    value = _of_days(item, feature) if isinstance(feature, Daily) else _value(item, feature, column)
    parts = [*value, *_conditions(feature, column.column), *_times(feature)]
    if column.column.window:
        ahead = "the next " if isinstance(column, WindowColumn) and column.ahead else ""
        parts.append(f"in {ahead}{column.column.window}")
    if column.lag:
        parts.append(f"ending {column.lag}d before")
    return " ".join(parts)


def _value(item: Input, feature: Aggregate | State, column: WindowColumn | DailyColumn) -> Iterator[str]:
    told = [*filter(None, [feature.of]), *([f"weight {feature.weight}"] if feature.weight else []), *_parameters(feature)]
    yield f"{feature.op}({', '.join(told)}) of {item.source}"
    if isinstance(column, WindowColumn) and column.map_by:
        yield f"for each {next(iter(feature.by))}"


def _of_days(item: Input, feature: Daily) -> Iterator[str]:
    days = "each month end" if feature.every == "month_end" else "each day"
    within = f" (what began in its {feature.within})" if feature.within else ""
    kept = [f"only where {feature.days_where}"] if feature.days_where else []
    yield f"{feature.op}({', '.join([f'{feature.value} of {item.source} at {days}{within}', *kept, *_parameters(feature)])})"


def _parameters(feature: Aggregate | State | Daily) -> Iterator[str]:
    return (f"{name} = {value}" for name, value in feature.parameters.items())


def _conditions(feature: Aggregate | State | Daily, column: Column) -> Iterator[str]:
    said = [feature.where] if feature.where else []
    if column.by_value is not None and not isinstance(feature, Daily):
        by, values = next(iter(feature.by.items()))
        others = [value for value in values if value != "other"]
        other = f"{by} is none of {', '.join(others)}" if others else ""
        said.append(other if column.by_value == "other" else f"{by} = '{column.by_value}'")
    conditions = [text for text in said if text]
    if conditions:
        yield "where " + " and ".join(
            f"({text})" if len(conditions) > 1 and " or " in text.lower() else text for text in conditions
        )
    if feature.newest_per:
        yield f"only the newest of each {feature.newest_per}"


def _times(feature: Aggregate | State | Daily) -> Iterator[str]:
    if isinstance(feature, Aggregate) and feature.at:
        yield f"at {feature.at}"
    if feature.from_:
        yield f"from {feature.from_}"
    if feature.until:
        yield f"until {feature.until}"


def _derived(spec: Derived, column: Column) -> str:
    return column.words.removeprefix(of_derived(spec, column.window, ""))
