"""Compiles rollups: whose members other groups' rows are, what these say, and what is made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from conf.errors import DefinitionError, Problems
from conf.expressions import Expression, ExpressionError, column_of
from conf.specs import ColumnType, FeatureGroup, RollupColumn, RollupMembers, RollupOp
from conf.yaml_file import Place
from transforms.feature_group.checker import Checker
from transforms.feature_group.compiled import (
    AnyGroup,
    Beside,
    Column,
    Compiled,
    CompiledGroup,
    CompiledRollup,
    RolledColumn,
    RolledMembers,
    digest,
)
from transforms.feature_group.meaning import HAS_HISTORY, answered_columns
from transforms.feature_group.names import Names
from transforms.feature_group.sql import Sql
from transforms.operations.base import ANY_TYPE, NUMBERS, ORDERED

_ENTITY_TYPES: frozenset[ColumnType] = frozenset({"string", "integer", "date"})
TAKES: Mapping[RollupOp, frozenset[ColumnType]] = {
    "count": ANY_TYPE,
    "sum": NUMBERS,
    "mean": NUMBERS,
    "min": ORDERED,
    "max": ORDERED,
    "share": frozenset({"boolean"}),
}
"""The types that the value of each operation may have."""


def compile_rollups(checkers: Mapping[str, Checker], compiled: Compiled) -> dict[str, CompiledRollup]:
    """Every rollup of a catalogue, of which the other groups are compiled.

    Raises DefinitionError with everything that can't be: a rollup of itself, columns that no snapshot has, types that don't fit.
    """
    rollups, problems = _Rollups(checkers, compiled), Problems()
    for name, checker in checkers.items():
        if checker.group.rollup:
            with problems.gather():
                rollups.compiled_group(name)
    problems.raise_all()
    return {name: rollups.made[name] for name in checkers if name in rollups.made}


@dataclass(frozen=True)
class _Rollups:
    """Each is compiled once those are whose rows it takes."""

    checkers: Mapping[str, Checker]
    compiled: Compiled
    made: dict[str, CompiledRollup] = field(default_factory=dict)

    def compiled_group(self, name: str) -> AnyGroup:
        checker = self.checkers[name]
        if checker.group.rollup is None:
            return self.compiled.group(name)
        if name not in self.made:
            self._check_cycle(name)
            self.made[name] = self._compile(checker)
        return self.made[name]

    def _check_cycle(self, name: str) -> None:
        for place, read in _reads(self.checkers[name].group):
            if path := self._path(read, name, ()):
                told = f"'{name}' is made of its own rows: {' <- '.join([name, *path])}"
                raise self.checkers[name].problem(place, told)

    def _path(self, start: str, target: str, seen: tuple[str, ...]) -> tuple[str, ...]:
        """The groups by which `start` reads `target`; empty where it doesn't."""
        if start == target:
            return (target,)
        if start in seen:
            return ()
        for _, read in _reads(self.checkers[start].group):
            if path := self._path(read, target, (*seen, start)):
                return (start, *path)
        return ()

    def _compile(self, checker: Checker) -> CompiledRollup:
        assert checker.group.rollup is not None
        spec, names, problems = checker.group.rollup, Names(checker), Problems()
        said: list[_Members] = []
        for index, one in enumerate(spec.members):
            with problems.gather():
                place: Place = ("rollup", "members", index)
                if one.group in [other.spec.group for other in said]:
                    raise checker.problem((*place, "group"), f"the rows of '{one.group}' are members already")
                said.append(_Members(checker, place, one, self._scope(checker, place, one)))
        problems.raise_all()
        scope = _columns_of(said)
        rolled = []
        for index, column in enumerate(spec.columns):
            with problems.gather():
                rolled.append(_rolled(checker, ("rollup", "columns", index), column, names, scope))
        problems.raise_all()
        members = tuple(told.compiled(self.compiled_group(told.spec.group).entity, scope) for told in said)
        return CompiledRollup(
            checker.group.name, checker.group.record_identifier, members, tuple(rolled), _version(checker, members, rolled)
        )

    def _scope(self, checker: Checker, place: Place, spec: RollupMembers) -> _Scope:
        """What the expressions of some members may name."""
        group = self.compiled_group(spec.group)
        own = dict(_published(group))
        beside: dict[str, tuple[str, dict[str, Expression]]] = {}
        for name in spec.beside:
            if name == spec.group:
                raise checker.problem((*place, "beside", name), f"'{name}' is the group of the members themselves")
            other = self.compiled_group(name)
            columns = {told: column_of(f"{name}.{told}", expression.type) for told, expression in _published(other)}
            beside[name] = (other.entity, columns)
        return _Scope(spec.group, own, beside, _internal(group))


def _reads(group: FeatureGroup) -> Iterator[tuple[Place, str]]:
    """The groups whose snapshots a group reads, and where it says so."""
    for index, name in enumerate(group.reads.groups):
        yield ("reads", "groups", index), name
    for index, members in enumerate(group.rollup.members if group.rollup else ()):
        yield ("rollup", "members", index, "group"), members.group
        for name in members.beside:
            yield ("rollup", "members", index, "beside", name), name


def _published(group: AnyGroup) -> Iterator[tuple[str, Expression]]:
    """The columns that a snapshot has of a group."""
    yield group.entity, column_of(group.entity, "string", nullable=False)
    yield HAS_HISTORY, column_of(HAS_HISTORY, "boolean", nullable=False)
    for column in group.columns:
        yield column.name, column_of(column.name, column.type, nullable=column.nullable)


def _internal(group: AnyGroup) -> frozenset[str]:
    if not isinstance(group, CompiledGroup):
        return frozenset()
    every = [item.column for item in answered_columns(group)] + [item.column for item in group.derived]
    return frozenset(column.name for column in every if column.internal and "." not in column.name)


class _Scope(Mapping[str, Expression]):
    """The columns of a group's rows, and of the rows beside them: by `group.column`, or by a name that only one of these has."""

    def __init__(
        self,
        group: str,
        own: Mapping[str, Expression],
        beside: Mapping[str, tuple[str, Mapping[str, Expression]]],
        internal: frozenset[str],
    ) -> None:
        self.own, self.beside = own, beside
        self._group, self._internal = group, internal

    def __getitem__(self, name: str) -> Expression:
        if name in self.own:
            return self.own[name]
        group, _, column = name.rpartition(".")
        having = [other for other, (_, columns) in self.beside.items() if column in columns and group in ("", other)]
        if len(having) > 1:
            places = " or ".join(f"{other}.{name}" for other in having)
            raise ExpressionError(f"'{name}' is a column of several groups; write {places}")
        if not having:
            raise ExpressionError(f"'{name}' is internal to {self._group}, so that no snapshot holds it")
        return self.beside[having[0]][1][column]

    def __contains__(self, name: object) -> bool:
        if name in self.own or name in self._internal:
            return True
        return isinstance(name, str) and any(name in (column, f"{group}.{column}") for group, column in self._others())

    def __iter__(self) -> Iterator[str]:
        """Each column by the shortest name that it has."""
        others = list(self._others())
        plain = Counter(column for _, column in others)
        yield from self.own
        for group, column in others:
            yield column if column not in self.own and plain[column] == 1 else f"{group}.{column}"

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _others(self) -> Iterator[tuple[str, str]]:
        return ((group, column) for group, (_, columns) in self.beside.items() for column in columns)


class _Members:
    """The members of one group, checked."""

    def __init__(self, checker: Checker, place: Place, spec: RollupMembers, scope: _Scope) -> None:
        self.checker, self.place, self.spec, self.scope = checker, place, spec, scope
        problems = Problems()
        with problems.gather():
            self.entity = self._identifier((*place, "entity"), spec.entity, scope, "an entity")
        self.keys: dict[str, Expression] = {}
        for name, text in spec.beside.items():
            with problems.gather():
                self.keys[name] = self._identifier((*place, "beside", name), text, scope.own, "a record identifier")
        self.columns: dict[str, Expression] = {}
        for name, text in spec.columns.items():
            with problems.gather():
                spot = (*place, "columns", name)
                if not name.isidentifier() or name.startswith("_"):
                    told = f"'{name}' can't be named in an expression: letters, digits and '_', a letter first"
                    raise checker.problem(spot, told)
                self.columns[name] = checker.parse(spot, text, {}, scope)
        problems.raise_all()

    def _identifier(self, place: Place, text: str, named: Mapping[str, Expression], what: str) -> Expression:
        found = self.checker.parse(place, text, {}, named)
        if found.type not in _ENTITY_TYPES:
            raise self.checker.problem(place, f"'{text}' is {found.type}; {what} is text, a whole number or a date")
        return found if found.type == "string" else self.checker.parse(place, "cast(x as string)", {}, {"x": found})

    def problem(self, column: str, message: str) -> DefinitionError:
        return self.checker.problem((*self.place, "columns", column), message)

    def compiled(self, identifier: str, columns: Mapping[str, Expression]) -> RolledMembers:
        """`columns`: what the members of any group say; null where these don't."""
        beside = tuple(Beside(name, self.scope.beside[name][0], Sql.of(key)) for name, key in self.keys.items())
        said = {name: self.columns.get(name) or self._null(known.type) for name, known in columns.items()}
        told = {name: Sql.of(expression) for name, expression in said.items()}
        return RolledMembers(self.spec.group, identifier, Sql.of(self.entity), beside, told)

    def _null(self, type_: ColumnType) -> Expression:
        return self.checker.parse(self.place, f"cast(null as {type_})", {})


def _columns_of(said: Sequence[_Members]) -> dict[str, Expression]:
    """What members say, by name. Raises DefinitionError for a column of two types."""
    first: dict[str, tuple[str, Expression]] = {}
    problems = Problems()
    for members in said:
        for name, expression in members.columns.items():
            group, known = first.setdefault(name, (members.spec.group, expression))
            with problems.gather():
                if known.type != expression.type:
                    told = f"'{name}' is {known.type} of '{group}' and {expression.type} of '{members.spec.group}'"
                    raise members.problem(name, f"{told}: cast one of them")
    problems.raise_all()
    return {
        name: column_of(name, known.type, nullable=any(name not in m.columns or m.columns[name].nullable for m in said))
        for name, (_, known) in first.items()
    }


def _rolled(checker: Checker, place: Place, spec: RollupColumn, names: Names, scope: Mapping[str, Expression]) -> RolledColumn:
    name = names.take(place, spec.name)
    of = checker.parse((*place, "of"), spec.of, {}, scope) if spec.of is not None else None
    where = checker.parse((*place, "where"), spec.where, {}, scope, condition=True) if spec.where is not None else None
    if of and of.type not in TAKES[spec.op]:
        takes = "a condition" if spec.op == "share" else ", ".join(sorted(TAKES[spec.op]))
        raise checker.problem((*place, "of"), f"'{spec.of}' is {of.type}; `{spec.op}` takes {takes}")
    value, counts = Sql.of(of) if of else None, Sql.filled("CASE WHEN {0} THEN true END", Sql.of(where)) if where else None
    if value and spec.op == "share":
        value = Sql.filled("coalesce({0}, false)", value)
    if value and where:
        value = Sql.filled("CASE WHEN {0} THEN {1} END", Sql.of(where), value)
    column = Column(
        name=name,
        feature=name,
        type=_type(spec.op, of),
        words=f"{spec.description or name.replace('_', ' ')}: {formula(spec)}",
        null_when=_null_when(spec, of),
        online=spec.online and checker.group.online,
        internal=False,
        scoring=spec.scoring,
        op=None if spec.op in ("min", "max") else spec.op,  # money keeps its digits
    )
    return RolledColumn(column, spec.op, value, counts, of.type if of else None)


def formula(spec: RollupColumn) -> str:
    """How a column is made, in short."""
    told = [*([spec.of] if spec.of else []), *([f"where {spec.where}"] if spec.where else [])]
    return f"{spec.op}({', '.join(told)}) of members"


def _type(op: RollupOp, of: Expression | None) -> ColumnType:
    if op == "count" or of is None:
        return "integer"
    if op == "share" or (op == "mean" and of.type != "money"):
        return "number"
    return of.type


def _null_when(spec: RollupColumn, of: Expression | None) -> str:
    """An entity has a member; what is asked may be true of none, and known of none."""
    if spec.op == "count":
        return ""
    reasons = [f"{spec.of} is null of all of them"] if of and of.nullable and spec.op != "share" else []
    reasons += [f"no member meets {spec.where}"] if spec.where and spec.op != "sum" else []
    return " or ".join(reasons)


def _version(checker: Checker, members: Sequence[RolledMembers], rolled: Sequence[RolledColumn]) -> str:
    columns = sorted([r.column.name, r.column.type, r.column.decimal_digits, r.op, str(r.value), str(r.counts)] for r in rolled)
    told = []
    for one in members:
        beside = sorted([other.group, str(other.key)] for other in one.beside)
        told.append([one.group, str(one.entity), beside, {name: str(sql) for name, sql in one.columns.items()}])
    return digest([checker.group.record_identifier, checker.zone, sorted(told, key=str), columns], 16)
