"""The column names that a group has given out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conf.naming import SNAPSHOT_COLUMNS, column_name
from conf.specs import ColumnType
from conf.windows import Window
from conf.yaml_file import Place
from transforms.feature_group.checker import Checker

OF_THE_ROW: Mapping[str, ColumnType] = {"as_of": "date", "cut_off": "timestamp", "has_history": "boolean"}
"""What derived columns may name of the row itself."""


@dataclass(frozen=True)
class Names:
    """Take one for each column of a group. `taken`: by their lower case, those that every row has among them."""

    checker: Checker
    taken: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        of_every_row = (self.checker.group.record_identifier, *SNAPSHOT_COLUMNS, *OF_THE_ROW)
        self.taken.update((name.lower(), name) for name in of_every_row)

    def take(self, place: Place, feature: str, *, part: str | None = None, window: Window | None = None, lag: int = 0) -> str:
        """The column's name. Raises DefinitionError for one that SageMaker refuses, or that is taken, case aside."""
        spot = (*place, "name")
        try:
            name = column_name(feature, by_value=part, window=window, lag_days=lag)
        except ValueError as problem:
            raise self.checker.problem(spot, str(problem)) from problem
        return self.take_as_written(spot, name)

    def take_as_written(self, spot: Place, name: str) -> str:
        """A column's whole name, which is known to be one. Raises DefinitionError where it is taken, case aside."""
        alike = self.taken.get(name.lower())
        if alike == name:
            raise self.checker.problem(spot, f"column '{name}' is there already; choose another name")
        if alike:
            told = f"column '{name}' is '{alike}' but for upper and lower case, which SQL engines don't tell apart"
            raise self.checker.problem(spot, f"{told}; choose another name")
        self.taken[name.lower()] = name
        return name
