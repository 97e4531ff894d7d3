"""A group's definition while it is compiled: expressions are checked, and a problem is told with its place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conf.catalogue import Catalogue
from conf.errors import DefinitionError
from conf.expressions import Expression, ExpressionError, parse, parse_condition
from conf.specs import ColumnType, FeatureGroup
from conf.yaml_file import Place
from transforms.operations import Operation, build_operation


@dataclass(frozen=True)
class Checker:
    """`zone`: of local days in the group's expressions."""

    group: FeatureGroup
    catalogue: Catalogue
    zone: str

    def problem(self, place: Place, message: str) -> DefinitionError:
        return self.catalogue.problem(self.group, place, message)

    def parse(
        self,
        place: Place,
        text: str,
        columns: Mapping[str, ColumnType],
        named: Mapping[str, Expression] | None = None,
        *,
        condition: bool = False,
    ) -> Expression:
        """Raises DefinitionError for what is no expression over the columns, or no condition where one is wanted."""
        try:
            return (parse_condition if condition else parse)(text, columns, zone=self.zone, named=named)
        except ExpressionError as problem:
            raise self.problem(place, str(problem)) from problem

    def operation(self, place: Place, name: str, parameters: Mapping[str, str]) -> Operation:
        """The operation that a feature at `place` names, with its parameters."""
        try:
            return build_operation(name, parameters)
        except ValueError as problem:
            raise self.problem((*place, _at_fault(name, parameters, str(problem))), str(problem)) from problem


def _at_fault(name: str, parameters: Mapping[str, str], message: str) -> str:
    return "op" if message.startswith(f"no operation named '{name}'") or not parameters else "with"
