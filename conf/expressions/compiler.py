"""Checks a parsed expression against the subset and its columns, and turns it into SQL for both engines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from sqlglot import exp

from conf.errors import did_you_mean
from conf.expressions.functions import FUNCTIONS, add_days, by_zero, divide
from conf.expressions.grammar import written
from conf.expressions.values import (
    EVERY,
    NUMERIC,
    ExpressionError,
    UnknownColumnError,
    Value,
    build,
    cast,
    column,
    common_type,
    convert,
    duckdb_text,
    finite,
    in_calendar,
    literal,
    spark_text,
)
from conf.specs import ColumnType

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_SPARK_TRY = {"+": "try_add", "-": "try_subtract", "*": "try_multiply"}
_UNITS = {"DAY": "DAY", "DAYS": "DAY", "HOUR": "HOUR", "HOURS": "HOUR", "MINUTE": "MINUTE", "MINUTES": "MINUTE"}
_LONGEST_INTERVAL = 1_000_000
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z?")


Call = Callable[[str, Sequence[exp.Expr]], Value]


class Compiler:
    """Compiles one expression; `used` collects the columns that it names.

    `named`: names that stand for a piece and the columns that it uses. `calls`: names that are called in place of functions.
    """

    def __init__(
        self,
        columns: Mapping[str, ColumnType],
        zone: str,
        named: Mapping[str, tuple[Value, frozenset[str]]] | None = None,
        calls: Mapping[str, Call] | None = None,
    ) -> None:
        self.columns = columns
        self.zone = zone
        self.named = named or {}
        self.calls = calls or {}
        self.used: set[str] = set()

    def compile(self, tree: exp.Expr) -> Value:
        """Raises ExpressionError for what is not in the subset, or doesn't fit."""
        if isinstance(tree, exp.Paren):
            return self.compile(tree.this)
        kind = type(tree)
        rule = _RULES.get(kind)
        if rule is None:
            raise ExpressionError(f"'{written(tree)}' is not part of the expression language (docs/expressions.md)")
        return replace(rule(self, tree), written=written(tree))

    def all_of(self, trees: Sequence[exp.Expr]) -> list[Value]:
        return [self.compile(tree) for tree in trees]

    # Names and literals

    def column(self, tree: exp.Expr) -> Value:
        name = ".".join(part.name for part in tree.parts)  # type: ignore[attr-defined]
        if name in self.named:
            piece, used = self.named[name]
            self.used |= used
            return piece
        if name not in self.columns:
            known = [*self.columns, *self.named]
            nearest = did_you_mean(name, known) or did_you_mean(name.lower(), known)
            raise UnknownColumnError(name, f"no column named '{name}'{nearest}; columns: {', '.join(known)}")
        self.used.add(name)
        return column(name, self.columns[name])

    def constant(self, tree: exp.Expr) -> Value:
        if isinstance(tree, exp.Null):
            return literal(None, "null")
        if isinstance(tree, exp.Boolean):
            return literal(bool(tree.this), written(tree))
        text = str(tree.this)
        if tree.args.get("is_string"):
            return literal(text, written(tree))
        return literal(int(text) if text.isdigit() else Decimal(text), text)

    def interval(self, tree: exp.Expr) -> Value:
        count, unit = tree.this, _UNITS.get(str(tree.args.get("unit") or "").upper())
        if not isinstance(count, exp.Literal) or not str(count.this).isdigit() or unit is None:
            raise ExpressionError(
                f"'{written(tree)}' is not a length of time here: write a whole number of days, hours or minutes, "
                "such as interval '30' day"
            )
        number = int(count.this)
        if number > _LONGEST_INTERVAL:
            raise ExpressionError(f"'{written(tree)}' is too long; an interval has at most {_LONGEST_INTERVAL:,} of its unit")
        text = f"INTERVAL '{number}' {unit}"
        return Value("interval", text, text, f"interval:{number}{unit[0]}", "", number, True)

    # Operators

    def arithmetic(self, tree: exp.Expr) -> Value:
        operator = _ARITHMETIC[type(tree)]
        left, right = self.all_of([tree.this, tree.expression])
        if "interval" in (left.type, right.type) and operator in "+-":
            return self._shift(operator, left, right)
        for value in (left, right):
            if value.type != "null" and value.type not in NUMERIC:
                raise ExpressionError(self._not_a_number(operator, left, right, value))
        if operator == "/":
            return divide("/", [left, right])
        if operator == "*" and "money" in (left.type, right.type):
            return self._times_money(left, right)
        if left.type == right.type == "null":
            return literal(None, "null")
        type_ = common_type([left, right], what=f"'{operator}'")
        both = [convert(left, type_), convert(right, type_)]
        if operator == "%":
            return build(type_, "%", [finite(value) for value in both], "({0} % nullif({1}, 0))", also=by_zero(right))
        if type_ == "number":
            return build("number", operator, both, f"({{0}} {operator} {{1}})", unbounded=True)
        if type_ == "integer":
            return build("integer", operator, both, f"{_SPARK_TRY[operator]}({{0}}, {{1}})", f"TRY({{0}} {operator} {{1}})")
        return build("money", operator, both, f"try_cast(({{0}} {operator} {{1}}) AS DECIMAL(28, 2))")

    def _times_money(self, left: Value, right: Value) -> Value:
        if left.type == right.type:
            raise ExpressionError(f"{left.shown} and {right.shown} are both money: '*' takes money and an integer or a number")
        if "number" in (left.type, right.type):
            both = [convert(left, "number"), convert(right, "number")]
            return build("number", "*", both, "({0} * {1})", unbounded=True)
        both = [convert(value, "integer") if value.type == "null" else value for value in (left, right)]
        spark, duckdb = (
            f"{'CAST({0} AS DECIMAL(19, 0))' if both[0].type == 'integer' else '{0}'}",
            f"{'CAST({1} AS DECIMAL(19, 0))' if both[1].type == 'integer' else '{1}'}",
        )
        return build(
            "money",
            "*",
            both,
            f"try_cast(try_multiply({spark}, {duckdb}) AS DECIMAL(28, 2))",
            f"try_cast(TRY({spark} * {duckdb}) AS DECIMAL(28, 2))",
        )

    def _shift(self, operator: str, left: Value, right: Value) -> Value:
        moment, interval = (right, left) if left.type == "interval" and operator == "+" else (left, right)
        if moment.type not in ("date", "timestamp"):
            raise ExpressionError(
                f"{moment.shown} is {moment.type}: an interval can only be added to or taken from a date or timestamp"
            )
        if moment.type == "timestamp":
            return in_calendar(build("timestamp", operator, [moment, interval], f"({{0}} {operator} {{1}})"))
        if not interval.spark.endswith("DAY"):
            raise ExpressionError(f"{moment.shown} is a date: {interval.shown} must be in whole days")
        assert isinstance(interval.constant, int)
        return add_days(moment, literal(interval.constant if operator == "+" else -interval.constant, interval.written))

    @staticmethod
    def _not_a_number(operator: str, left: Value, right: Value, wrong: Value) -> str:
        said = f"{wrong.shown} is {wrong.type}, '{operator}' takes numbers"
        if wrong.type not in ("date", "timestamp"):
            return f"{said}; to join texts write ||" if wrong.type == "string" and operator == "+" else said
        if operator == "-" and {left.type, right.type} <= {"date", "timestamp"}:
            return f"{said}; write days_between({right.written}, {left.written})"
        if operator in "+-":
            return f"{said}, or an interval beside a {wrong.type}, such as {wrong.written} {operator} interval '30' day"
        return said

    def negative(self, tree: exp.Expr) -> Value:
        value = self.compile(tree.this)
        if value.type != "null" and value.type not in NUMERIC:
            raise ExpressionError(f"{value.shown} is {value.type}, '-' takes numbers")
        if value.type == "null":
            return value
        if isinstance(value.constant, int | Decimal):
            return literal(-value.constant, written(tree))
        if value.type == "integer":
            return build("integer", "neg", [value], "try_subtract(0L, {0})", "TRY(0 - {0})")
        return build(value.type, "neg", [value], "(- {0})", unbounded=value.unbounded)

    def comparison(self, tree: exp.Expr) -> Value:
        operator = _COMPARISONS[type(tree)]
        left, right = self.all_of([tree.this, tree.expression])
        self._refuse_null(operator, left, right)
        return build("boolean", operator, self._alike([left, right], f"'{operator}'"), f"({{0}} {operator} {{1}})")

    @staticmethod
    def _refuse_null(operator: str, left: Value, right: Value) -> None:
        for value, other in ((left, right), (right, left)):
            if value.type == "null":
                wanted = "is not null" if operator == "!=" else "is null"
                raise ExpressionError(f"a comparison with null is never true; write {other.written} {wanted}")

    @staticmethod
    def _alike(values: Sequence[Value], what: str) -> list[Value]:
        type_ = common_type(values, what=what)
        return [finite(convert(value, type_)) for value in values]

    def logic(self, tree: exp.Expr) -> Value:
        word = "and" if isinstance(tree, exp.And) else "or"
        values = [self._boolean(part, word) for part in _chain(tree, type(tree))]
        text = f" {word.upper()} ".join(f"{{{place}}}" for place in range(len(values)))
        return build("boolean", word, values, f"({text})")

    def negation(self, tree: exp.Expr) -> Value:
        return build("boolean", "not", [self._boolean(tree.this, "not")], "(NOT {0})")

    def _boolean(self, tree: exp.Expr, word: str) -> Value:
        value = self.compile(tree)
        if value.type not in ("boolean", "null"):
            raise ExpressionError(f"{value.shown} is {value.type}, '{word}' takes boolean")
        return convert(value, "boolean")

    def is_null(self, tree: exp.Expr) -> Value:
        value, wanted = self.compile(tree.this), tree.expression
        if isinstance(wanted, exp.Null):
            return build("boolean", "is_null", [finite(value)], "({0} IS NULL)", nulls=[])
        if isinstance(wanted, exp.Boolean) and value.type in ("boolean", "null"):
            said = str(bool(wanted.this)).lower()
            is_so = f"({{0}} IS NOT DISTINCT FROM {said})"
            return build("boolean", f"is_{said}", [convert(value, "boolean")], is_so, nulls=[])
        raise ExpressionError(f"'{written(tree)}': 'is' goes with [not] null, or a boolean with true or false")

    def is_in(self, tree: exp.Expr) -> Value:
        choices = tree.args.get("expressions")
        if not choices or any(tree.args.get(other) for other in ("query", "unnest", "field")):
            raise ExpressionError(f"'{written(tree)}': 'in' takes a list of values in parentheses")
        values = self._alike(self.all_of([tree.this, *choices]), "'in'")
        places = ", ".join(f"{{{place}}}" for place in range(1, len(values)))
        return build("boolean", "in", values, f"({{0}} IN ({places}))")

    def between(self, tree: exp.Expr) -> Value:
        if tree.args.get("symmetric"):
            raise ExpressionError(f"'{written(tree)}' is not part of the expression language (docs/expressions.md)")
        values = self._alike(self.all_of([tree.this, tree.args["low"], tree.args["high"]]), "'between'")
        return build("boolean", "between", values, "({0} BETWEEN {1} AND {2})")

    def like(self, tree: exp.Expr) -> Value:
        text, pattern = self.all_of([tree.this, tree.expression])
        if text.type not in ("string", "null"):
            raise ExpressionError(f"{text.shown} is {text.type}, 'like' takes string")
        if not isinstance(pattern.constant, str):
            raise ExpressionError(f"{pattern.shown} is not a pattern; 'like' takes text written out, such as 'abc%'")
        # A backslash is a character like any other here; Spark takes it for an escape.
        spark = spark_text(pattern.constant.replace("\\", "\\\\")).replace("{", "{{").replace("}", "}}")
        duckdb = duckdb_text(pattern.constant).replace("{", "{{").replace("}", "}}")
        word = "NOT LIKE" if tree.args.get("negate") else "LIKE"
        args = [convert(text, "string")]
        name = f"{word.lower()}[{pattern.canonical}]"
        return build("boolean", name, args, f"({{0}} {word} {spark})", f"({{0}} {word} {duckdb})")

    def joined(self, tree: exp.Expr) -> Value:
        values = self.all_of([tree.this, tree.expression])
        for value in values:
            if value.type not in ("string", "null"):
                raise ExpressionError(f"{value.shown} is {value.type}, '||' takes string; write cast(… as string)")
        return build("string", "concat", [convert(value, "string") for value in values], "({0} || {1})")

    # Calls

    def call(self, tree: exp.Expr) -> Value:
        name = str(tree.this).lower()
        if name in self.calls:
            return self.calls[name](name, tree.expressions)
        function = FUNCTIONS.get(name)
        if function is None:
            known = sorted([*FUNCTIONS, *self.calls])
            kinds = "functions and operations" if self.calls else "functions"
            raise ExpressionError(f"no function named '{tree.this}'{did_you_mean(name, known)}; {kinds}: {', '.join(known)}")
        return function.call(self.all_of(tree.expressions), self.zone)

    def case(self, tree: exp.Expr) -> Value:
        choices = tree.args["ifs"]
        results = self.all_of([choice.args["true"] for choice in choices])
        default = tree.args.get("default")
        results.append(literal(None, "null") if default is None else self.compile(default))
        type_ = common_type(results, what="'case'")
        results = [finite(convert(result, type_)) for result in results]
        if tree.this is None:
            conditions = [self._boolean(choice.this, "when") for choice in choices]
            subject: list[Value] = []
        else:
            compared = self.all_of([tree.this, *(choice.this for choice in choices)])
            subject, conditions = (part := self._alike(compared, "'case'"))[:1], part[1:]
        parts = [value for pair in zip(conditions, results[:-1], strict=True) for value in pair]
        first = len(subject)
        text = "CASE" + (" {0}" if subject else "")
        for place in range(first, first + len(parts), 2):
            text += f" WHEN {{{place}}} THEN {{{place + 1}}}"
        text += f" ELSE {{{first + len(parts)}}} END"
        return build(type_, "case-of" if subject else "case", [*subject, *parts, results[-1]], text, nulls=results)

    def cast(self, tree: exp.Expr) -> Value:
        to: exp.DataType = tree.args["to"]
        if to.this == exp.DType.USERDEFINED:
            name = str(to.args["kind"])
            for type_ in EVERY:
                if type_ == name.lower():
                    return cast(self.compile(tree.this), type_)
            known = ", ".join(EVERY)
            raise ExpressionError(f"no type named '{name}'{did_you_mean(name.lower(), EVERY)}; types: {known}")
        typed = isinstance(tree.this, exp.Literal) and tree.this.args.get("is_string")
        if typed and to.this == exp.DType.DATE:
            return literal(self._day(str(tree.this.this)), "")
        if typed and to.this == exp.DType.TIMESTAMP:
            return literal(self._instant(str(tree.this.this)), "")
        raise ExpressionError(f"'{written(tree)}' is not part of the expression language; write cast(x as <type>)")

    @staticmethod
    def _day(text: str) -> date:
        try:
            if len(text) != 10:
                raise ValueError
            return date.fromisoformat(text)
        except ValueError:
            raise ExpressionError(f"date '{text}' is no day; write it as date '2025-01-31'") from None

    @staticmethod
    def _instant(text: str) -> datetime:
        try:
            if _TIMESTAMP.fullmatch(text) is None:
                raise ValueError
            return datetime.fromisoformat(text.rstrip("Z"))
        except ValueError:
            raise ExpressionError(
                f"timestamp '{text}' is no instant; write it in UTC, as timestamp '2025-01-31T16:00:00Z'"
            ) from None


def _chain(tree: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The parts of `a and (b and c)`: parentheses make no difference in a chain of one kind."""
    bare = tree.unnest()
    if isinstance(bare, kind):
        yield from _chain(bare.this, kind)
        yield from _chain(bare.expression, kind)
    else:
        yield tree


_RULES: dict[type[exp.Expr], Callable[[Compiler, exp.Expr], Value]] = {
    exp.Column: Compiler.column,
    exp.Literal: Compiler.constant,
    exp.Boolean: Compiler.constant,
    exp.Null: Compiler.constant,
    exp.Interval: Compiler.interval,
    exp.Neg: Compiler.negative,
    exp.And: Compiler.logic,
    exp.Or: Compiler.logic,
    exp.Not: Compiler.negation,
    exp.Is: Compiler.is_null,
    exp.In: Compiler.is_in,
    exp.Between: Compiler.between,
    exp.Like: Compiler.like,
    exp.DPipe: Compiler.joined,
    exp.Anonymous: Compiler.call,
    exp.Case: Compiler.case,
    exp.Cast: Compiler.cast,
    **dict.fromkeys(_COMPARISONS, Compiler.comparison),
    **dict.fromkeys(_ARITHMETIC, Compiler.arithmetic),
}
