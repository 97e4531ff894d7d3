"""The table of functions: what each takes and gives, in both engines, and what its null rule is.

A new function is one entry here; its `example` is documented and run by both engines in the tests. `example` uses the columns
of EXAMPLE_COLUMNS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from conf.expressions.patterns import portable
from conf.expressions.values import (
    EVERY,
    NUMERIC,
    ORDERED,
    ExpressionError,
    Value,
    build,
    common_type,
    convert,
    duckdb_text,
    finite,
    in_calendar,
    recast,
    spark_text,
)
from conf.specs import ColumnType

EXAMPLE_COLUMNS: dict[str, ColumnType] = {
    "name": "string",
    "code": "string",
    "n": "integer",
    "m": "integer",
    "x": "number",
    "y": "number",
    "amount": "money",
    "paid": "money",
    "late": "boolean",
    "due_date": "date",
    "birth_date": "date",
    "created_at": "timestamp",
    "paid_at": "timestamp",
}

Builder = Callable[[Sequence[Value], str], Value]  # checked arguments and the zone
MOMENT: tuple[ColumnType, ...] = ("date", "timestamp")
_DAYS_LIMIT = 3_652_059  # days in the years 1 to 9999


@dataclass(frozen=True)
class Parameter:
    """`types`: any of these. `constant`: written out, not computed. `repeated`: once or more (the last one only)."""

    name: str
    types: tuple[ColumnType, ...] = EVERY
    constant: bool = False
    optional: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Function:
    """`gives`: its type, in words where it depends. `nulls`: when the result is null."""

    name: str
    parameters: tuple[Parameter, ...]
    gives: str
    says: str
    nulls: str
    example: str
    build: Builder

    def signature(self) -> str:
        texts = []
        for parameter in self.parameters:
            text = parameter.name + (", …" if parameter.repeated else "")
            texts.append(f"[{text}]" if parameter.optional else text)
        return f"{self.name}({', '.join(texts)})"

    def call(self, args: Sequence[Value], zone: str) -> Value:
        """Raises ExpressionError for a wrong number of arguments, or one of a wrong type."""
        self._check_count(len(args))
        for place, arg in enumerate(args):
            parameter = self.parameters[min(place, len(self.parameters) - 1)]
            if parameter.constant and not arg.is_constant:
                kind = " or ".join(parameter.types)
                raise ExpressionError(f"{arg.shown} is computed; {parameter.name} of {self.name}() must be written out ({kind})")
            if arg.type != "null" and arg.type not in parameter.types:
                raise ExpressionError(f"{arg.shown} is {arg.type}, {self.name}() takes {_one_of(parameter.types)}")
        return self.build([finite(arg) for arg in args], zone)

    def _check_count(self, count: int) -> None:
        least = sum(not parameter.optional for parameter in self.parameters)
        most = None if self.parameters[-1].repeated else len(self.parameters)
        if count >= least and (most is None or count <= most):
            return
        wanted = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise ExpressionError(f"{self.name}() takes {wanted} arguments, here it has {count}: {self.signature()}")


def _one_of(types: Sequence[str]) -> str:
    return types[0] if len(types) == 1 else f"{', '.join(types[:-1])} or {types[-1]}"


def _simple(name: str, gives: ColumnType, takes: ColumnType, spark: str, duckdb: str | None = None) -> Builder:
    """Every argument is read as `takes`; one template for each engine."""

    def built(args: Sequence[Value], zone: str) -> Value:
        return build(gives, name, [convert(arg, takes) for arg in args], spark, duckdb)

    return built


def local_time(value: Value, zone: str) -> Value:
    """A UTC timestamp as wall-clock time of `zone`; a date as it is."""
    if value.type != "timestamp" or zone == "UTC":
        return value
    local = recast(
        value,
        "timestamp",
        f"from_utc_timestamp({{0}}, {spark_text(zone)})",
        f"timezone({duckdb_text(zone)}, timezone('UTC', {{0}}))",
    )
    return Value(local.type, local.spark, local.duckdb, f"in[{zone}]({value.canonical})", value.written)


def local_date(value: Value, zone: str) -> Value:
    if value.type == "null":
        return convert(value, "date")
    if value.type == "date":
        return value
    local = local_time(value, zone)
    return recast(local, "date", "CAST({0} AS DATE)")


def _date_part(name: str, spark: str, duckdb: str, kinds: Sequence[str] = MOMENT) -> Builder:
    def built(args: Sequence[Value], zone: str) -> Value:
        value = convert(args[0], "date" if "date" in kinds else "timestamp") if args[0].type == "null" else args[0]
        return build("integer", name, [local_time(value, zone)], f"CAST({spark} AS BIGINT)", f"CAST({duckdb} AS BIGINT)")

    return built


def _midnight(name: str, spark_day: str, duckdb_day: str) -> Builder:
    """The instant at which a local date begins: the earlier one when clocks show that midnight twice."""

    def built(args: Sequence[Value], zone: str) -> Value:
        given = convert(args[0], "date")
        day = in_calendar(recast(given, "date", spark_day, duckdb_day), margin=True)
        meaning = replace(day, canonical=given.canonical)
        midnight = "CAST({0} AS TIMESTAMP)"
        if zone == "UTC":
            return build("timestamp", name, [meaning], midnight)
        in_zone = duckdb_text(zone)
        instant = f"timezone({in_zone}, {midnight})"
        hour_before = f"{instant} - INTERVAL '1' HOUR"
        return build(
            "timestamp",
            f"{name}[{zone}]",
            [meaning],
            f"to_utc_timestamp({midnight}, {spark_text(zone)})",
            f"timezone('UTC', CASE WHEN timezone({in_zone}, {hour_before}) >= {midnight} THEN {hour_before} ELSE {instant} END)",
        )

    return built


def _local_date(args: Sequence[Value], zone: str) -> Value:
    return local_date(in_calendar(convert(args[0], "timestamp"), margin=zone != "UTC"), zone)


def _days_between(args: Sequence[Value], zone: str) -> Value:
    days = [local_date(arg, zone) for arg in args]
    return build("integer", "days_between", days, "CAST(datediff({1}, {0}) AS BIGINT)", "CAST({1} - {0} AS BIGINT)")


def _add_days(args: Sequence[Value], zone: str) -> Value:
    return add_days(convert(args[0], "date"), convert(args[1], "integer"))


def add_days(day: Value, count: Value) -> Value:
    if isinstance(count.constant, int):
        if abs(count.constant) > _DAYS_LIMIT:
            raise ExpressionError(f"{count.shown} is more days than the calendar has (years 1 to 9999)")
        within = str(count.constant)
    else:
        within = f"CASE WHEN {{1}} BETWEEN -{_DAYS_LIMIT} AND {_DAYS_LIMIT} THEN CAST({{1}} AS INTEGER) END"
    shifted = build("date", "add_days", [day, count], f"date_add({{0}}, {within})", f"({{0}} + {within})")
    return in_calendar(shifted)


def divide(name: str, args: Sequence[Value]) -> Value:
    numbers = [convert(arg, "number") for arg in args]
    return build("number", name, numbers, "try_divide({0}, {1})", "({0} / nullif({1}, 0))", unbounded=True)


def _ratio(args: Sequence[Value], zone: str) -> Value:
    return divide("/", args)


def _alike(name: str, template: str) -> Builder:
    """All arguments are read as their common type, which is the result's."""

    def built(args: Sequence[Value], zone: str) -> Value:
        type_ = common_type(args, what=f"{name}()")
        same = [convert(arg, type_) for arg in args]
        places = ", ".join(f"{{{place}}}" for place in range(len(same)))
        return build(type_, name, [finite(arg) for arg in same], template.format(places))

    return built


def _if(args: Sequence[Value], zone: str) -> Value:
    condition, *branches = args
    type_ = common_type(branches, what="if()")
    same = [finite(convert(branch, type_)) for branch in branches]
    return build(type_, "if", [convert(condition, "boolean"), *same], "CASE WHEN {0} THEN {1} ELSE {2} END")


def _numeric(value: Value) -> Value:
    return convert(value, "number") if value.type == "null" else value


def _abs(args: Sequence[Value], zone: str) -> Value:
    value = _numeric(args[0])
    if value.type == "integer":
        return build("integer", "abs", [value], "CASE WHEN {0} >= -9223372036854775807L THEN abs({0}) END", "TRY(abs({0}))")
    assert value.type in ("number", "money")
    return build(value.type, "abs", [value], "abs({0})")


def _round(args: Sequence[Value], zone: str) -> Value:
    value, places = _numeric(args[0]), args[1].constant if len(args) > 1 else 0
    if not isinstance(places, int) or not 0 <= places <= 10:
        raise ExpressionError(f"{args[1].shown} is not a number of decimals; round() takes 0 to 10")
    name = f"round[{places}]"
    if value.type == "integer" or (value.type == "money" and places >= 2):
        return value
    if value.type == "money":
        rounded = f"try_cast(round({{0}}, {places}) AS DECIMAL(28, 2))"
        return build("money", name, [value], rounded)
    # DuckDB would multiply and round the double: 2.675 is then below the half. As Spark does: round the decimal one sees.
    decimals = f"try_cast(CAST({{0}} AS VARCHAR) AS DECIMAL(38, {places}))"
    return build("number", name, [value], f"round({{0}}, {places})", f"coalesce(CAST({decimals} AS DOUBLE), {{0}})")


def _whole(name: str) -> Builder:
    def built(args: Sequence[Value], zone: str) -> Value:
        value = _numeric(args[0])
        if value.type == "integer":
            return value
        if value.type == "money":
            return build("integer", name, [value], f"try_cast({name}({{0}}) AS BIGINT)")
        whole = f"CAST({name}({{0}}) AS BIGINT)"
        within = f"CASE WHEN abs({{0}}) < CAST('9223372036854775808' AS DOUBLE) THEN {whole} END"
        return build("integer", name, [value], within)

    return built


def _bounded(name: str) -> Builder:
    """A function whose result may be infinite or NaN."""

    def built(args: Sequence[Value], zone: str) -> Value:
        places = ", ".join(f"{{{place}}}" for place in range(len(args)))
        numbers = [convert(arg, "number") for arg in args]
        return finite(build("number", name, numbers, f"{name}({places})", unbounded=True))

    return built


def _substring(args: Sequence[Value], zone: str) -> Value:
    text = convert(args[0], "string")
    numbers = [arg.constant for arg in args[1:]]
    if not isinstance(numbers[0], int) or numbers[0] < 1:
        raise ExpressionError(f"{args[1].shown} is not a place in a text; substring() counts characters from 1")
    if len(numbers) > 1 and (not isinstance(numbers[1], int) or numbers[1] < 0):
        raise ExpressionError(f"{args[2].shown} is not a length; substring() takes 0 or more characters")
    return build("string", f"substring{numbers}", [text], f"substring({{0}}, {', '.join(str(number) for number in numbers)})")


def _concat(args: Sequence[Value], zone: str) -> Value:
    places = " || ".join(f"{{{place}}}" for place in range(len(args)))
    return build("string", "concat", [convert(arg, "string") for arg in args], f"({places})")


def _regexp_like(args: Sequence[Value], zone: str) -> Value:
    text, pattern = convert(args[0], "string"), args[1].constant
    if not isinstance(pattern, str):
        raise ExpressionError(f"{args[1].shown} is not a pattern; regexp_like() takes text")
    try:
        shared = portable(pattern)
    except ValueError as problem:
        raise ExpressionError(f"{args[1].shown} is not a pattern that regexp_like() takes: {problem}") from None
    spark, duckdb = (part.replace("{", "{{").replace("}", "}}") for part in (spark_text(shared), duckdb_text(shared)))
    name = f"regexp_like[{duckdb_text(pattern)}]"
    return build("boolean", name, [text], f"({{0}} RLIKE {spark})", f"regexp_matches({{0}}, {duckdb})")


def _text(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, ("string",)) for name in names)


_ANY_NULL = "when an argument is null"
_X = (Parameter("x", NUMERIC),)
_MOMENT = (Parameter("date or timestamp", MOMENT),)
_DAY = (Parameter("date", ("date",)),)
_OF_ARGUMENTS = "the arguments' common type"

_TABLE = (
    # Nulls and choices
    Function(
        "coalesce",
        (Parameter("a"), Parameter("b", repeated=True)),
        _OF_ARGUMENTS,
        "The first argument that isn't null.",
        "when all are null",
        "coalesce(amount, paid, 0)",
        _alike("coalesce", "coalesce({})"),
    ),
    Function(
        "nullif",
        (Parameter("a", ORDERED), Parameter("b", ORDERED)),
        _OF_ARGUMENTS,
        "`a`, or null where it equals `b`.",
        "when `a` is null or equals `b`",
        "nullif(n, 0)",
        _alike("nullif", "nullif({})"),
    ),
    Function(
        "if",
        (Parameter("condition", ("boolean",)), Parameter("a"), Parameter("b")),
        "the common type of `a` and `b`",
        "`a` where the condition is true, otherwise (false or null) `b`.",
        "when the one chosen is null",
        "if(late, amount, 0)",
        _if,
    ),
    Function(
        "greatest",
        (Parameter("a", ORDERED), Parameter("b", ORDERED, repeated=True)),
        _OF_ARGUMENTS,
        "The greatest of the arguments that aren't null.",
        "when all are null",
        "greatest(created_at, paid_at)",
        _alike("greatest", "greatest({})"),
    ),
    Function(
        "least",
        (Parameter("a", ORDERED), Parameter("b", ORDERED, repeated=True)),
        _OF_ARGUMENTS,
        "The least of the arguments that aren't null.",
        "when all are null",
        "least(amount, paid)",
        _alike("least", "least({})"),
    ),
    # Numbers
    Function(
        "ratio",
        (Parameter("a", NUMERIC), Parameter("b", NUMERIC)),
        "number",
        "`a / b`: the division by its other name.",
        _ANY_NULL + ", or `b` is 0",
        "ratio(paid, amount)",
        _ratio,
    ),
    Function("abs", _X, "the argument's type", "Without its sign.", _ANY_NULL, "abs(paid - amount)", _abs),
    Function(
        "round",
        (Parameter("x", NUMERIC), Parameter("decimals", ("integer",), constant=True, optional=True)),
        "the argument's type",
        "To so many decimals (0 to 10; 0 when absent), halves away from zero, as the number is written in decimals:"
        " `round(2.675, 2)` is 2.68.",
        _ANY_NULL,
        "round(x, 2)",
        _round,
    ),
    Function(
        "floor", _X, "integer", "The next whole number below.", _ANY_NULL + ", or past 64 bits", "floor(x)", _whole("floor")
    ),
    Function(
        "ceil", _X, "integer", "The next whole number above.", _ANY_NULL + ", or past 64 bits", "ceil(amount)", _whole("ceil")
    ),
    Function(
        "sign",
        _X,
        "integer",
        "-1, 0 or 1.",
        _ANY_NULL,
        "sign(paid - amount)",
        _simple("sign", "integer", "number", "CAST(sign({0}) AS BIGINT)"),
    ),
    Function(
        "ln",
        _X,
        "number",
        "Natural logarithm.",
        _ANY_NULL + ", or `x` is 0 or less",
        "ln(x)",
        _simple("ln", "number", "number", "CASE WHEN {0} > 0 THEN ln({0}) END"),
    ),
    Function("exp", _X, "number", "e to the power of `x`.", _ANY_NULL + ", or past a double", "exp(x)", _bounded("exp")),
    Function(
        "sqrt",
        _X,
        "number",
        "Square root.",
        _ANY_NULL + ", or `x` is below 0",
        "sqrt(amount)",
        _simple("sqrt", "number", "number", "CASE WHEN {0} >= 0 THEN sqrt({0}) END"),
    ),
    Function(
        "power",
        (Parameter("x", NUMERIC), Parameter("y", NUMERIC)),
        "number",
        "`x` to the power of `y`.",
        _ANY_NULL + ", or the result isn't a finite number",
        "power(x, y)",
        _bounded("power"),
    ),
    # Text
    Function(
        "lower",
        _text("text"),
        "string",
        "In lower case.",
        _ANY_NULL,
        "lower(name)",
        _simple("lower", "string", "string", "lower({0})"),
    ),
    Function(
        "upper",
        _text("text"),
        "string",
        "In upper case, letter for letter: don't rely on letters whose upper case is two letters (ß).",
        _ANY_NULL,
        "upper(name)",
        _simple("upper", "string", "string", "upper({0})"),
    ),
    Function(
        "trim",
        _text("text"),
        "string",
        "Without the spaces at both ends.",
        _ANY_NULL,
        "trim(name)",
        _simple("trim", "string", "string", "trim({0})", "trim({0}, ' ')"),
    ),
    Function(
        "length",
        _text("text"),
        "integer",
        "How many characters.",
        _ANY_NULL,
        "length(name)",
        _simple("length", "integer", "string", "CAST(length({0}) AS BIGINT)"),
    ),
    Function(
        "substring",
        (
            Parameter("text", ("string",)),
            Parameter("start", ("integer",), constant=True),
            Parameter("length", ("integer",), constant=True, optional=True),
        ),
        "string",
        "From the `start`-th character (the first is 1), so many characters or to the end.",
        _ANY_NULL,
        "substring(name, 2, 3)",
        _substring,
    ),
    Function(
        "concat",
        (*_text("a"), Parameter("b", ("string",), repeated=True)),
        "string",
        "One after the other, as `a || b`.",
        _ANY_NULL,
        "concat(name, '-', code)",
        _concat,
    ),
    Function(
        "replace",
        _text("text", "old", "new"),
        "string",
        "Every `old` replaced by `new`; an empty `old` replaces nothing.",
        _ANY_NULL,
        "replace(name, 'a', 'xy')",
        _simple("replace", "string", "string", "replace({0}, {1}, {2})"),
    ),
    Function(
        "starts_with",
        _text("text", "start"),
        "boolean",
        "Whether `text` starts with `start`.",
        _ANY_NULL,
        "starts_with(name, 'a')",
        _simple("starts_with", "boolean", "string", "startswith({0}, {1})", "starts_with({0}, {1})"),
    ),
    Function(
        "ends_with",
        _text("text", "end"),
        "boolean",
        "Whether `text` ends with `end`.",
        _ANY_NULL,
        "ends_with(name, code)",
        _simple("ends_with", "boolean", "string", "endswith({0}, {1})", "ends_with({0}, {1})"),
    ),
    Function(
        "contains",
        _text("text", "part"),
        "boolean",
        "Whether `part` is somewhere in `text`.",
        _ANY_NULL,
        "contains(name, code)",
        _simple("contains", "boolean", "string", "contains({0}, {1})"),
    ),
    Function(
        "regexp_like",
        (Parameter("text", ("string",)), Parameter("pattern", ("string",), constant=True)),
        "boolean",
        "Whether the pattern is found in `text`: characters, `.`, `^ $` (of the whole text), classes, `\\d \\w \\s` (ASCII), "
        "groups, `|` and `* + ? {2,5}`.",
        _ANY_NULL,
        "regexp_like(name, '^[a-c]+\\d?')",
        _regexp_like,
    ),
    # Time
    Function(
        "year",
        _MOMENT,
        "integer",
        "Its year.",
        _ANY_NULL,
        "year(created_at)",
        _date_part("year", "year({0})", "year({0})"),
    ),
    Function(
        "month",
        _MOMENT,
        "integer",
        "Its month, 1 to 12.",
        _ANY_NULL,
        "month(created_at)",
        _date_part("month", "month({0})", "month({0})"),
    ),
    Function(
        "day",
        _MOMENT,
        "integer",
        "Its day of the month.",
        _ANY_NULL,
        "day(due_date)",
        _date_part("day", "day({0})", "day({0})"),
    ),
    Function(
        "weekday",
        _MOMENT,
        "integer",
        "1 (Monday) to 7 (Sunday).",
        _ANY_NULL,
        "weekday(due_date)",
        _date_part("weekday", "weekday({0}) + 1", "isodow({0})"),
    ),
    Function(
        "hour",
        (Parameter("timestamp", ("timestamp",)),),
        "integer",
        "The hour on the local clock, 0 to 23.",
        _ANY_NULL,
        "hour(created_at)",
        _date_part("hour", "hour({0})", "hour({0})", ("timestamp",)),
    ),
    Function(
        "local_date",
        (Parameter("timestamp", ("timestamp",)),),
        "date",
        "The local date on which it falls.",
        _ANY_NULL,
        "local_date(created_at)",
        _local_date,
    ),
    Function(
        "start_of_day",
        _DAY,
        "timestamp",
        "The instant at which the local date begins: its midnight, or the clock change that skips it.",
        _ANY_NULL,
        "start_of_day(due_date)",
        _midnight("start_of_day", "{0}", "{0}"),
    ),
    Function(
        "end_of_day",
        _DAY,
        "timestamp",
        "The instant at which the local date ends: the start of the next.",
        _ANY_NULL,
        "end_of_day(due_date)",
        _midnight("end_of_day", "date_add({0}, 1)", "({0} + 1)"),
    ),
    Function(
        "end_of_month",
        _DAY,
        "timestamp",
        "The instant at which the local month of the date ends.",
        _ANY_NULL,
        "end_of_month(due_date)",
        _midnight("end_of_month", "date_add(last_day({0}), 1)", "(last_day({0}) + 1)"),
    ),
    Function(
        "days_between",
        (Parameter("a", MOMENT), Parameter("b", MOMENT)),
        "integer",
        "`b - a` in local days; below 0 when `b` is earlier. A timestamp stands for its local date.",
        _ANY_NULL,
        "days_between(due_date, paid_at)",
        _days_between,
    ),
    Function(
        "add_days",
        (Parameter("date", ("date",)), Parameter("days", ("integer",))),
        "date",
        "So many days later, or earlier when `days` is below 0.",
        _ANY_NULL + ", or outside the years 1 to 9999",
        "add_days(due_date, n)",
        _add_days,
    ),
)
FUNCTIONS: dict[str, Function] = {function.name: function for function in _TABLE}
