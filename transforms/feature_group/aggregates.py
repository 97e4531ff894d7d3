"""Compiles aggregates and states: an operation over the facts that count in a window, or that hold at the cut-off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conf.expressions import Expression
from conf.specs import Aggregate, ColumnType, State
from conf.windows import Window
from conf.yaml_file import Place
from transforms.feature_group import words
from transforms.feature_group.compiled import LIFETIME, Clock, Column
from transforms.feature_group.drafts import WindowDraft
from transforms.feature_group.inputs import InputReader, sql_of
from transforms.feature_group.names import Names
from transforms.feature_group.sql import Sql
from transforms.feature_group.streams import TRUE, Placed
from transforms.operations import NUMBERS, OPERATIONS, Operation


def aggregate_columns(place: Place, feature: Aggregate | State, reader: InputReader, names: Names) -> Iterator[WindowDraft]:
    """One for each window, lag and pivot value. Raises DefinitionError for what can't be computed."""
    return _Compiler(place, feature, reader, names).columns()


@dataclass(frozen=True)
class _Split:
    """The facts of one pivot value, those of `map`, or all."""

    value: str | None = None
    condition: Sql | None = None
    key: Sql | None = None  # of a map


class _Compiler:
    def __init__(self, place: Place, feature: Aggregate | State, reader: InputReader, names: Names) -> None:
        self.place, self.feature, self.reader, self.names = place, feature, reader, names
        self.checker = reader.checker
        self.operation = self.checker.operation(place, feature.op, feature.parameters)
        self.of = reader.optional((*place, "of"), feature.of)
        self.where = reader.optional((*place, "where"), feature.where, condition=True)
        self.weight = self._weight()
        self.newest_per = self._newest_per()
        self.by = self._by()
        self._check_value()

    def columns(self) -> Iterator[WindowDraft]:
        clock = self._clock()
        windows, lags, ahead = self._windows()
        type_: ColumnType = self.of.type if self.of else "boolean"
        for split in self._splits():
            sql = _value_sql(self.operation, self.of, self.where, split.condition)
            ordered = self.operation.ordered or self.newest_per is not None
            value = self._add(clock, type_, sql, ordered=ordered)
            weight = self._beside(clock, self.weight.type, Sql.of(self.weight), sql) if self.weight else None
            newest_per = self._newest(clock) if self.newest_per else None
            map_by = self._beside(clock, "string", split.key, sql) if split.key else None
            for window in windows:
                for lag in lags:
                    column = self._column(split, window, lag, ahead)
                    yield WindowDraft(
                        column, self.place, value, self.operation, window or LIFETIME, lag, ahead, weight, newest_per, map_by
                    )

    def _add(self, clock: Clock, type_: ColumnType, sql: Sql, *, ordered: bool = False) -> Placed:
        return self.reader.streams.add(self.reader.key, clock, type_, sql, ordered=ordered)

    def _beside(self, clock: Clock, type_: ColumnType, sql: Sql, value: Sql) -> Placed:
        """A value that is only read beside another: null where that one is."""
        return self._add(clock, type_, sql if value == TRUE else Sql.filled("case when {0} is not null then {1} end", value, sql))

    def _newest(self, clock: Clock) -> Placed:
        """Null of facts that don't count, whatever their pivot value: the newest is chosen before facts are told apart."""
        assert self.newest_per is not None
        counting = _value_sql(self.operation, self.of, self.where, None)
        newest = Sql.of(self.newest_per)
        if self.weight:
            newest = Sql.filled("case when {0} is not null then {1} end", Sql.of(self.weight), newest)
        return self._beside(clock, "string", newest, counting)

    # ---- what a definition may say

    def _check_value(self) -> None:
        operation, name = self.operation, self.feature.op
        if self.of is None and operation.needs_of:
            raise self.checker.problem(self.place, f"operation '{name}' needs `of`: the value that it takes")
        if self.of is not None and self.of.type not in operation.takes:
            takes = ", ".join(sorted(operation.takes))
            told = f"'{self.feature.of}' is {self.of.type}; operation '{name}' takes {takes}"
            raise self.checker.problem((*self.place, "of"), told)
        if self.of is None and self.where is None and operation.judges:
            raise self.checker.problem(self.place, f"operation '{name}' needs `of` or `where`: the condition that it judges")

    def _weight(self) -> Expression | None:
        text, place = self.feature.weight, (*self.place, "weight")
        if text is None:
            return None
        if not self.operation.weighs:
            raise self.checker.problem(place, f"operation '{self.feature.op}' takes no weight; those that do: {weighing()}")
        weight = self.reader.expression(place, text)
        if weight.type not in NUMBERS:
            raise self.checker.problem(place, f"'{text}' is {weight.type}; a weight is a number or money")
        return weight

    def _newest_per(self) -> Expression | None:
        text, place = self.feature.newest_per, (*self.place, "newest_per")
        if text is None:
            return None
        if self.operation.looks_back:
            told = f"operation '{self.feature.op}' looks at the fact before, which `newest_per` may leave out"
            raise self.checker.problem(place, told)
        return self.reader.text(place, text, "`newest_per`")

    def _by(self) -> Expression | None:
        if not self.feature.by:
            return None
        if len(self.feature.by) > 1:
            raise self.checker.problem((*self.place, "by"), "`by` takes one column")
        column = next(iter(self.feature.by))
        return self.reader.text((*self.place, "by", column), column if column.isidentifier() else f'"{column}"', "`by`")

    def _clock(self) -> Clock:
        reader, feature = self.reader, self.feature
        at = reader.moment((*self.place, "at"), feature.at) if isinstance(feature, Aggregate) else None
        since = reader.moment((*self.place, "from"), feature.from_)
        until = reader.moment((*self.place, "until"), feature.until)
        used = (self.of, self.where, self.weight, self.newest_per, self.by)
        return reader.clock(used, at=at, from_=since, until=until)

    def _windows(self) -> tuple[tuple[Window | None, ...], tuple[int, ...], bool]:
        feature = self.feature
        if isinstance(feature, State):
            return (None,), (0,), False
        if feature.ahead and not feature.windows:
            raise self.checker.problem(self.place, "`ahead` needs `windows`")
        if feature.ahead and any(window.kind != "days" for window in feature.windows):
            told = "a window ahead of the cut-off is a number of days, such as '30d'"
            raise self.checker.problem((*self.place, "windows"), told)
        if feature.ahead and any(feature.lag):
            raise self.checker.problem((*self.place, "lag"), "a window ahead of the cut-off has no `lag`")
        return feature.windows or (None,), feature.lag or (0,), feature.ahead

    def _splits(self) -> Iterator[_Split]:
        yield _Split()
        for values in self.feature.by.values():
            assert self.by is not None
            column = Sql.of(self.by)
            if values == "map":
                yield _Split(key=column)
                continue
            named = {value: Sql.text(value) for value in values if value != "other"}
            places = ", ".join(f"{{{place}}}" for place in range(1, len(named) + 1))
            for value in values:
                if value != "other":
                    yield _Split(value, Sql.filled("{0} = {1}", column, named[value]))
                elif named:
                    yield _Split(value, Sql.filled(f"({{0}} is null or {{0}} not in ({places}))", column, *named.values()))
                else:
                    yield _Split(value, TRUE)

    # ---- what comes out

    def _column(self, split: _Split, window: Window | None, lag: int, ahead: bool) -> Column:
        feature, operation = self.feature, self.operation
        by = next(iter(feature.by), None)
        part = f"by_{by}" if split.key else f"{by}_{split.value}" if split.value is not None else None
        name = self.names.take(self.place, feature.name, part=part, window=window, lag=lag)
        said = words.of_aggregate(operation, feature, self.reader.item.source, by if split.key else None)
        said += f", {by} {split.value}" if split.value is not None else ""
        return Column(
            name=name,
            feature=feature.name,
            type="string" if split.key else operation.type_of(self.of.type if self.of else None),
            words=said + words.of_window(window, lag, ahead=ahead),
            null_when="" if split.key else operation.nulls(weighted=self.weight is not None),
            online=feature.online and self.checker.group.online,
            internal=feature.internal,
            scoring=feature.scoring,
            op=feature.op,
            window=window,
            by_value=split.value,
            of_type=self.of.type if self.of else None,
        )


def weighing() -> str:
    """The operations that take a weight."""
    return ", ".join(sorted(name for name, operation in OPERATIONS.items() if operation.weighs))


def _value_sql(operation: Operation, of: Expression | None, where: Expression | None, split: Sql | None) -> Sql:
    """The value of a fact, null where the fact is filtered out.

    Where `where` is the condition that is judged, it filters nothing: facts that fail it are false.
    """
    value = Sql.of(of) if of else TRUE
    judged = where if of is None and operation.judges else None
    if judged:
        value = Sql.filled("coalesce({0}, false)", Sql.of(judged))
    conditions = [condition for condition in (None if judged else sql_of(where), split) if condition and condition != TRUE]
    if not conditions:
        return value
    condition = Sql.filled(" and ".join(f"({{{place}}})" for place in range(len(conditions))), *conditions)
    return Sql.filled("case when {0} then {1} end", condition, value)
