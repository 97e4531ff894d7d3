"""Compiles values of every day: an expression over operations of the facts of a day, and an operation over the days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conf.expressions import Expression, ExpressionError, column_of, parse_summary
from conf.specs import ColumnType, Daily
from conf.windows import Window
from conf.yaml_file import Place
from transforms.feature_group import words
from transforms.feature_group.compiled import LIFETIME, Clock, Column
from transforms.feature_group.drafts import DailyDraft, PartDraft
from transforms.feature_group.inputs import InputReader, sql_of
from transforms.feature_group.names import Names
from transforms.feature_group.sql import Sql
from transforms.feature_group.streams import TRUE, Placed
from transforms.operations import NUMBERS, OPERATIONS, Operation

DAY: dict[str, ColumnType] = {"day": "date"}
EVENT_TIME = Sql.column("_event_time")


def daily_columns(place: Place, feature: Daily, reader: InputReader, names: Names) -> Iterator[DailyDraft]:
    """One for each window and lag. Raises DefinitionError for what can't be computed."""
    return _Compiler(place, feature, reader, names).columns()


class _Part:
    """An operation inside `value`, with its arguments."""

    def __init__(self, name: str, operation: Operation, of: Expression | None, weight: Expression | None) -> None:
        self.name, self.operation, self.of, self.weight = name, operation, of, weight
        self.type = operation.type_of(of.type if of else None)

    @property
    def answer(self) -> Expression:
        """Its answer, as a column; some operations have one of no facts, too."""
        return column_of(self.name, self.type, nullable=self.operation.nulls(weighted=self.weight is not None) != "")


class _Compiler:
    def __init__(self, place: Place, feature: Daily, reader: InputReader, names: Names) -> None:
        self.place, self.feature, self.reader, self.names = place, feature, reader, names
        self.checker = reader.checker
        self.operation = self.checker.operation(place, feature.op, feature.parameters)
        self.parts: list[_Part] = []
        self.value = self._value()
        self.where = reader.optional((*place, "where"), feature.where, condition=True)
        self.newest_per = reader.text((*place, "newest_per"), feature.newest_per, "`newest_per`") if feature.newest_per else None
        self.days_where = self._days_where()
        self._check()

    def columns(self) -> Iterator[DailyDraft]:
        feature = self.feature
        since = self.reader.moment((*self.place, "from"), feature.from_)
        clock = self._clock(since)
        parts = tuple(self._part(part, clock) for part in self.parts)
        newest_per = self._add(clock, "string", Sql.of(self.newest_per)) if self.newest_per else None
        began = self._add(clock, "timestamp", sql_of(since) or EVENT_TIME) if feature.within else None
        for window in feature.windows or (None,):
            for lag in feature.lag or (0,):
                name = self.names.take(self.place, feature.name, window=window, lag=lag)
                column = Column(
                    name=name,
                    feature=feature.name,
                    type=self.operation.type_of(self.value.type),
                    words=words.of_daily(self.operation, feature, self.reader.item.source) + words.of_window(window, lag),
                    null_when=self._null_when(window),
                    online=feature.online and self.checker.group.online,
                    internal=feature.internal,
                    scoring=feature.scoring,
                    op=feature.op,
                    window=window,
                    of_type=self.value.type,
                )
                yield DailyDraft(
                    column,
                    self.place,
                    parts,
                    Sql.of(self.value),
                    self.value.type,
                    sql_of(self.days_where),
                    self._changes_daily,
                    self.operation,
                    window or LIFETIME,
                    lag,
                    feature.every,
                    feature.within,
                    began,
                    newest_per,
                )

    @property
    def _changes_daily(self) -> bool:
        """Whether anything but the facts decides what is said of a day."""
        told = [self.value, *filter(None, [self.days_where])]
        return any("day" in expression.columns for expression in told) or any(part.operation.ages for part in self.parts)

    def _null_when(self, window: Window | None) -> str:
        """Never, where an operation needs no more than a day, the window has days whatever happened, and each day has a value."""
        kinds = ("months",) if self.feature.every == "month_end" else ("days", "months", "month_to_date")
        has_days = window is not None and window.kind in kinds and self.days_where is None
        if has_days and not self.value.nullable and not self.operation.null_when:
            return ""
        return self.operation.nulls().replace("fact", "day")

    def _clock(self, since: Expression | None) -> Clock:
        until = self.reader.moment((*self.place, "until"), self.feature.until)
        used = [expression for part in self.parts for expression in (part.of, part.weight)]
        return self.reader.clock([*used, self.where, self.newest_per], from_=since, until=until, daily=True)

    def _part(self, part: _Part, clock: Clock) -> PartDraft:
        type_: ColumnType = part.of.type if part.of else "boolean"
        ordered = part.operation.ordered or self.newest_per is not None
        value = self._add(clock, type_, sql_of(part.of) or TRUE, ordered=ordered)
        weight = self._add(clock, part.weight.type, Sql.of(part.weight)) if part.weight else None
        return PartDraft(part.name, part.operation, value, weight, part.type)

    def _add(self, clock: Clock, type_: ColumnType, sql: Sql, *, ordered: bool = False) -> Placed:
        """Null where `where` isn't met."""
        told = Sql.filled("case when {0} then {1} end", Sql.of(self.where), sql) if self.where else sql
        return self.reader.streams.add(self.reader.key, clock, type_, told, ordered=ordered)

    # ---- what a definition may say

    def _value(self) -> Expression:
        place, reader = (*self.place, "value"), self.reader
        try:
            value = parse_summary(
                self.feature.value, reader.own, DAY, OPERATIONS, self._summarise, zone=self.checker.zone, named=reader.names
            )
        except ExpressionError as problem:
            raise self.checker.problem(place, str(problem)) from problem
        if not self.parts:
            told = f"'{self.feature.value}' takes no operation of the facts of a day, such as count() or sum(balance)"
            raise self.checker.problem(place, told)
        return value

    def _summarise(self, name: str, arguments: Sequence[Expression]) -> Expression:
        """The answer of an operation inside `value`. Raises ExpressionError where it doesn't fit."""
        kind = OPERATIONS[name]
        needed = [parameter for parameter, declared in kind.parameters.items() if declared.default is None]
        if needed:
            raise ExpressionError(f"{name}() can't stand in `value`: it needs {', '.join(needed)}, which only `with` can say")
        most = 2 if kind.weighs else 1
        least = 1 if kind.needs_of or kind.judges else 0
        if not least <= len(arguments) <= most:
            wanted = f"{least}" if least == most else f"{least} or {most}"
            said = f"{wanted} argument{'s' if most > 1 else ''}" + (", the second a weight" if most > 1 else "")
            raise ExpressionError(f"{name}() takes {said}; here it has {len(arguments)}")
        of = arguments[0] if arguments else None
        weight = arguments[1] if len(arguments) > 1 else None
        if of is not None and of.type not in kind.takes:
            raise ExpressionError(f"'{of.text}' is {of.type}; operation '{name}' takes {', '.join(sorted(kind.takes))}")
        if weight is not None and weight.type not in NUMBERS:
            raise ExpressionError(f"'{weight.text}' is {weight.type}; a weight is a number or money")
        for part in self.parts:
            if (part.operation.name, _meaning(part.of), _meaning(part.weight)) == (name, _meaning(of), _meaning(weight)):
                return part.answer
        made = _Part(f"part_{len(self.parts) + 1}", kind(), of, weight)
        self.parts.append(made)
        return made.answer

    def _days_where(self) -> Expression | None:
        text = self.feature.days_where
        if text is None:
            return None
        return self.checker.parse((*self.place, "days_where"), text, {"value": self.value.type, **DAY}, condition=True)

    def _check(self) -> None:
        feature, type_ = self.feature, self.value.type
        if type_ not in self.operation.takes:
            takes = ", ".join(sorted(self.operation.takes))
            told = f"'{feature.value}' is {type_}; operation '{feature.op}' takes {takes}"
            raise self.checker.problem((*self.place, "value"), told)
        if feature.within and feature.until:
            told = "`within` takes what began in its window, whether or not it still holds; leave `until` out"
            raise self.checker.problem((*self.place, "until"), told)


def _meaning(expression: Expression | None) -> str | None:
    return expression.canonical() if expression else None
