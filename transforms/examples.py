"""Examples of feature groups: their rows made whole, what they expect checked, and what comes out, without Spark.

An example has the columns that it cares about; docs/definitions.md says what stands for those that it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from conf.catalogue import Catalogue
from conf.errors import DefinitionError, Problems, did_you_mean
from conf.specs import ColumnType, Example, Expected, FeatureGroup, Source
from conf.yaml_file import Place
from transforms.curated import curated_table
from transforms.expected import Expectation, expectation, shown
from transforms.feature_group import Compiled
from transforms.feature_group.meaning import HAS_HISTORY
from transforms.feature_group.needed import only
from transforms.rollups import answer_rollup
from transforms.small import answer_rows

LONG_AGO = "2000-01-01"  # since when the spine has an entity whose row an example leaves out
Rows = Mapping[str, Sequence[Mapping[str, str | None]]]


@dataclass(frozen=True)
class Cell:
    """A column of an entity on a day: what is expected, what came out, and where the example says so."""

    as_of: date
    entity: str
    column: str
    expected: str
    got: str
    holds: bool
    where: str


@dataclass(frozen=True)
class Outcome:
    """An example that was run. `given`: its rows as it has them, those of the spine that were added too."""

    group: str
    number: int
    where: str
    description: str
    given: Rows
    cells: tuple[Cell, ...]

    @property
    def holds(self) -> bool:
        return all(cell.holds for cell in self.cells)


def examples_of(catalogue: Catalogue, compiled: Compiled, groups: Iterable[str]) -> dict[str, Examples]:
    """The examples of each group, checked.

    Raises DefinitionError for all rows, columns and values that can't be, each with its line.
    """
    found = {name: Examples(catalogue, compiled, catalogue.group(name)) for name in groups}
    problems = Problems()
    for examples in found.values():
        problems.found += examples.problems
    problems.raise_all()
    return found


class Examples:
    """The examples of a group, and what is wrong with them."""

    def __init__(self, catalogue: Catalogue, compiled: Compiled, group: FeatureGroup) -> None:
        self.catalogue, self.compiled, self.group = catalogue, compiled, group
        self.problems: list[DefinitionError] = []
        self.cases: list[_Case] = []
        if group.function and group.examples:
            told = "a group that a Python function makes takes Spark, so it has no examples; test the function"
            self.problem(("examples",), told)
        elif group.examples and (made := self._made_by_function()):
            told = f"'{group.name}' is made of '{made}', which a Python function makes: that takes Spark, so it has no examples"
            self.problem(("examples",), told)
        elif not group.function:
            self.cases = [_Case(self, number, example) for number, example in enumerate(group.examples)]

    def _made_by_function(self) -> str | None:
        behind = self.compiled.groups_behind(self.compiled.group(self.group.name))
        return next((other.name for other in behind if other.name in self.compiled.functions), None)

    def run(self) -> Iterator[Outcome]:
        """Each in turn."""
        return (case.run() for case in self.cases)

    def problem(self, place: Place, message: str) -> None:
        self.problems.append(self.catalogue.problem(self.group, place, message))


class _Case:
    """One example, checked: its tables as curate would have left them, and what is expected where."""

    def __init__(self, examples: Examples, number: int, example: Example) -> None:
        self.examples, self.number, self.example = examples, number, example
        self.place: Place = ("examples", number)
        self.compiled = examples.compiled.group(examples.group.name)
        self.rows = self._with_spine()
        self.tables = {name: self._table(source) for name, source in self._sources().items()}
        self.wanted = {
            (day, entity, column): self._expectation(column, written, self._place_of(day, entity, column))
            for day, entity, column, written in self._cells()
        }

    def run(self) -> Outcome:
        name, columns = self.compiled.name, {column for _, _, column in self.wanted}
        try:
            answered = self._answered(name, columns)
        except Exception as fault:
            fault.add_note(f"while answering the example at {self._where(self.place)}")
            raise
        found = {(row["as_of"], row[self.compiled.entity]): row for row in answered.to_pylist()}
        cells = tuple(self._judged(found))
        return Outcome(name, self.number + 1, self._where(self.place), self.example.description, self.rows, cells)

    def _answered(self, name: str, columns: Collection[str]) -> pa.Table:
        compiled, days = self.examples.compiled, sorted(self.example.expected)
        if name in compiled.rollups:
            return answer_rollup(compiled, name, columns, self.tables, days)
        return answer_rows(only(compiled, name, columns), [name], self.tables, days)[name]

    def _judged(self, found: Mapping[tuple[date, str], Mapping[str, object]]) -> Iterator[Cell]:
        for day, entities in self.example.expected.items():
            for entity, columns in entities.items():
                row = found.get((day, entity))
                where = self._where(self._place_of(day, entity))
                if columns is None:
                    yield Cell(day, entity, "", "no row", "a row" if row else "no row", row is None, where)
                elif row is None:
                    yield Cell(day, entity, "", "a row", "no row", False, where)
                else:
                    for column in columns:
                        wanted = self.wanted[day, entity, column]
                        got, where = row[column], self._where(self._place_of(day, entity, column))
                        yield Cell(day, entity, column, wanted.text, shown(got), wanted.holds(got), where)

    # ---- what is given

    def _sources(self) -> dict[str, Source]:
        """Those that the group reads, and those that the example has rows of."""
        catalogue, known = self.examples.catalogue, {}
        for name in self.rows:
            if name in catalogue.sources:
                known[name] = catalogue.sources[name]
            elif name in catalogue.unions:
                members = ", ".join(catalogue.unions[name].union_of)
                self.examples.problem(self._rows_place(name), f"'{name}' has no rows of its own; give those of {members}")
            else:
                told = f"no source named '{name}'{did_you_mean(name, catalogue.sources)}; known: {', '.join(catalogue.sources)}"
                self.examples.problem(self._rows_place(name), told)
        compiled = self.examples.compiled
        made_of = (self.compiled, *compiled.groups_behind(self.compiled))
        return known | {name: catalogue.sources[name] for group in made_of for name in compiled.sources_of(group)}

    def _with_spine(self) -> dict[str, list[dict[str, str | None]]]:
        """The example's rows; where it has none of the spine, a row of each entity that is expected, since long ago."""
        rows = {name: [dict(row) for row in given] for name, given in self.example.rows.items()}
        group, sources = self.examples.group, self.examples.catalogue.sources
        spine = sources.get(group.spine or "")
        if spine is None or spine.name in rows or group.record_identifier not in spine.columns:
            return rows
        began = spine.event_time.column
        since = LONG_AGO if spine.columns[began].type == "date" else f"{LONG_AGO}T00:00:00Z"
        entities = {entity: None for found in self.example.expected.values() for entity, row in found.items() if row is not None}
        return {spine.name: [{group.record_identifier: entity, began: since} for entity in entities], **rows}

    def _table(self, source: Source) -> pa.Table:
        """As curate would have left the rows; none where one of them can't be, which is told with the problems."""
        rows: list[Mapping[str, str | None]] = list(self.rows.get(source.name, ()))
        for number, row in enumerate(rows):
            self._check_values(source, number, row)
        if source.version and source.columns[source.version].type in ("integer", "string"):
            rows = [{source.version: f"{number:06}"} | dict(row) for number, row in enumerate(rows, start=1)]
        try:
            table = _timed(source, curated_table(source, rows))
        except DefinitionError as problem:
            number, told = _row_and_problem(source, str(problem))
            self.examples.problem(self._rows_place(source.name, number), told)
            return curated_table(source, ())
        self._check_versions(source, table)
        return table

    def _check_values(self, source: Source, number: int, row: Mapping[str, str | None]) -> None:
        for name, text in row.items():
            known = source.columns[name].values if name in source.columns else ()
            if text is not None and known and text not in known:
                told = f"column '{name}' is '{text}'{did_you_mean(text, known)}, which is none of {', '.join(known)}"
                self.examples.problem(self._rows_place(source.name, number, name), told)

    def _check_versions(self, source: Source, table: pa.Table) -> None:
        names = [*source.key, *([source.version] if source.version else [])]
        seen: dict[tuple[object, ...], int] = {}
        for number, row in enumerate(table.select(names).to_pylist()):
            first = seen.setdefault(tuple(row.values()), number)
            if first != number:
                told = f"row {number + 1} of {source.name} is row {first + 1} again: both have the {' and '.join(names)} of one"
                self.examples.problem(self._rows_place(source.name, number), told)

    # ---- what is expected

    def _cells(self) -> Iterator[tuple[date, str, str, Expected]]:
        for day, entities in self.example.expected.items():
            for entity, columns in entities.items():
                for column, written in (columns or {}).items():
                    yield day, entity, column, written

    def _expectation(self, column: str, written: Expected, place: Place) -> Expectation:
        types: dict[str, ColumnType] = {HAS_HISTORY: "boolean", **{found.name: found.type for found in self.compiled.columns}}
        if column not in types:
            told = f"'{self.compiled.name}' publishes no column '{column}'{did_you_mean(column, types)}"
            self.examples.problem(place, told)
            return expectation("string", None)
        try:
            return expectation(types[column], written)
        except ValueError as problem:
            self.examples.problem(place, f"'{column}' is {types[column]}, so what is expected of it is {problem}")
            return expectation("string", None)

    # ---- where it is written

    def _place_of(self, day: date, *within: str) -> Place:
        return (*self.place, "days", str(day), *within) if self.example.days else (*self.place, "expect", *within)

    def _rows_place(self, source: str, *within: int | str) -> Place:
        """Rows stand beside `as_of` or under `rows`."""
        file = self.examples.catalogue.files.get(f"FeatureGroup:{self.compiled.name}")
        beside: Place = (*self.place, source, *within)
        return beside if file is None or (*self.place, "rows") not in file.lines else (*self.place, "rows", source, *within)

    def _where(self, place: Place) -> str:
        """`file.yaml:12`."""
        file = self.examples.catalogue.files.get(f"FeatureGroup:{self.compiled.name}")
        return file.locate(place) if file else self.compiled.name


def _timed(source: Source, table: pa.Table) -> pa.Table:
    """With the times that an example leaves out: when a row was known, and which version it is."""
    stands_in = {source.known_time.column: "_known_time"} if source.known_time and not source.known_time.of_date else {}
    if source.version and source.columns[source.version].type == "timestamp":
        stands_in.setdefault(source.version, "_known_time" if source.known_time else "_event_time")
    for name, clock in stands_in.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pc.coalesce(table[name], table[clock]))
    return table


def _row_and_problem(source: Source, message: str) -> tuple[int, str]:
    """The place of the row that a message of `curated_table` names, from 0, and what is wrong with it."""
    found = re.fullmatch(rf"{re.escape(source.name)}: row (\d+): (.*)", message, re.DOTALL)
    assert found is not None
    return int(found[1]) - 1, f"{source.name}: {found[2]}"
