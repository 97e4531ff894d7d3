"""Says in words what every published column is, and what changed between two states of the definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from conf.catalogue import Catalogue
from conf.specs import ColumnType, Scoring
from transforms.answer import answer
from transforms.calendar import day_number, midnights_of
from transforms.feature_group import LIFETIME, Column, Compiled, CompiledGroup, WindowColumn
from transforms.feature_group.meaning import answered_columns, column_versions, sources_of_columns
from transforms.kernel import Queries


@dataclass(frozen=True)
class Feature:
    """A published column. `window` is None where there is none; `version` the hash of what the column means."""

    group: str
    name: str
    type: ColumnType
    description: str
    window: str | None
    null_rule: str
    owner: str
    version: str
    inputs: tuple[str, ...]
    online: bool
    scoring: Scoring

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"inputs": list(self.inputs)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Feature:
        """Raises ValueError for what `as_json` did not write."""
        names = [field.name for field in fields(cls)]
        if not isinstance(told, Mapping) or set(told) != set(names):
            raise ValueError(f"a feature has the keys {', '.join(names)}")
        return cls(**{**told, "inputs": tuple(told["inputs"])})


def features_of(catalogue: Catalogue, compiled: Compiled, groups: Iterable[str]) -> list[Feature]:
    """Every published column of the groups, in order of definition."""
    return [feature for name in groups for feature in _features(catalogue, compiled, name)]


def _features(catalogue: Catalogue, compiled: Compiled, name: str) -> list[Feature]:
    group = compiled.group(name)
    owner = catalogue.group(name).owner
    versions, inputs = column_versions(compiled, group), sources_of_columns(compiled, group)
    windows = _windows(compiled, group) if isinstance(group, CompiledGroup) else {}
    answers = of_no_facts(group, compiled.zone) if isinstance(group, CompiledGroup) else {}
    return [
        Feature(
            name, column.name, column.type, column.words, windows.get(column.name), null_rule(column, answers.get(column.name)),
            owner, versions[column.name], inputs[column.name], column.online, column.scoring,
        )
        for column in group.columns
    ]  # fmt: skip


def null_rule(column: Column, of_nothing: str | None) -> str:
    """When a column is null, and what it says of no facts at all where that is something else."""
    rule = f"null: {column.null_when}" if column.nullable else "never null"
    return rule if of_nothing is None else f"{rule}; {of_nothing} of no facts"


SOME_DAYS = (date(2024, 2, 29), date(2025, 6, 30))


def of_no_facts(group: CompiledGroup, zone: str) -> Mapping[str, str]:
    """What the published columns say of an entity of which nothing is known, consent aside; those that are null left out.

    As the engine answers it. What depends on the day, by which two days differ, is left out, too.
    """
    days = np.array([day_number(day) for day in SOME_DAYS])
    queries = Queries(np.zeros(len(days), dtype=np.int64), days, midnights_of(days + 1, zone))
    rows = pa.concat_tables(answer(replace(group, blank_unless=None), {}, queries, pa.array(["nobody"]), zone)).to_pylist()
    told = {column.name: [row[column.name] for row in rows] for column in group.columns}
    return {name: _text(values[0]) for name, values in told.items() if values[0] is not None and len(set(values)) == 1}


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _windows(compiled: Compiled, group: CompiledGroup) -> dict[str, str]:
    """Columns with a window; all history counts as one, what holds at the cut-off has none."""
    found = {item.column.name: str(item.column.window) for item in group.derived if item.column.window}
    for item in answered_columns(group):
        clock = next(clock for clock in compiled.streams[item.stream].clocks if clock.name == item.clock)
        if item.column.window or (item.window == LIFETIME and not (clock.from_ or clock.until)):
            lag = f" lag {item.lag}d" if item.lag else ""
            ahead = " ahead" if isinstance(item, WindowColumn) and item.ahead else ""
            found[item.column.name] = f"{item.window}{ahead}{lag}"
    return found


@dataclass(frozen=True)
class Difference:
    """Features that are new, gone, or changed in type or meaning. A changed type changes the meaning, too."""

    new: tuple[Feature, ...]
    gone: tuple[Feature, ...]
    changed_type: tuple[tuple[Feature, Feature], ...]
    changed_meaning: tuple[tuple[Feature, Feature], ...]
    renamed: tuple[tuple[Feature, Feature], ...]

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def as_json(self) -> dict[str, Any]:
        def pairs(changed: Iterable[tuple[Feature, Feature]], told: Callable[[Feature], object]) -> list[dict[str, object]]:
            return [{"group": was.group, "name": was.name, "was": told(was), "is": told(now)} for was, now in changed]

        return {
            "new": [{"group": feature.group, "name": feature.name} for feature in self.new],
            "gone": [{"group": feature.group, "name": feature.name} for feature in self.gone],
            "changed_type": pairs(self.changed_type, lambda feature: feature.type),
            "changed_meaning": pairs(self.changed_meaning, lambda feature: feature.version),
            "renamed": pairs(self.renamed, lambda feature: feature.name),
        }


def difference(was: Sequence[Feature], now: Sequence[Feature]) -> Difference:
    """What changed. A new column with the meaning of one that is gone, in the same group, is that one under another name."""
    before = {(feature.group, feature.name): feature for feature in was}
    after = {(feature.group, feature.name): feature for feature in now}
    both = [(before[key], after[key]) for key in before if key in after]
    gone = [feature for key, feature in before.items() if key not in after]
    new = [feature for key, feature in after.items() if key not in before]
    renamed = []
    for old in list(gone):
        same = next((feature for feature in new if (feature.group, feature.version) == (old.group, old.version)), None)
        if same:
            renamed.append((old, same))
            gone.remove(old)
            new.remove(same)
    return Difference(
        tuple(new),
        tuple(gone),
        tuple(pair for pair in both if pair[0].type != pair[1].type),
        tuple(pair for pair in both if pair[0].version != pair[1].version),
        tuple(renamed),
    )
