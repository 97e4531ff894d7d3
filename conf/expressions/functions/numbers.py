"""Functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from conf.expressions.functions.base import ANY_NULL, Builder, Function, Parameter, simple
from conf.expressions.values import BY_ZERO, NO_ANSWER, NUMERIC, ExpressionError, Value, build, convert, finite

_X = (Parameter("x", NUMERIC),)


def divide(name: str, args: Sequence[Value]) -> Value:
    numbers = [convert(arg, "number") for arg in args]
    in_spark, in_duckdb = "try_divide({0}, {1})", "({0} / nullif({1}, 0))"
    return build("number", name, numbers, in_spark, in_duckdb, unbounded=_may_overflow(args), also=by_zero(args[1]))


def _may_overflow(args: Sequence[Value]) -> bool:
    """Whether a quotient may lie past a double: not of whole numbers or money, of which none but 0 is below a cent."""
    return any(arg.type == "number" for arg in args)


def by_zero(divisor: Value) -> str | None:
    """Why a division may be null: by a number that is written out and not 0 it isn't."""
    return None if divisor.constant else BY_ZERO


def _ratio(args: Sequence[Value], zone: str) -> Value:
    return divide("/", args)


def _percentage(args: Sequence[Value], zone: str) -> Value:
    numbers = [convert(arg, "number") for arg in args]
    hundred = "CAST(100 AS DOUBLE)"
    in_spark, in_duckdb = f"({hundred} * try_divide({{0}}, {{1}}))", f"({hundred} * ({{0}} / nullif({{1}}, 0)))"
    return build("number", "percentage", numbers, in_spark, in_duckdb, unbounded=_may_overflow(args), also=by_zero(args[1]))


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
        return finite(build("number", name, numbers, f"{name}({places})", unbounded=True, also=NO_ANSWER))

    return built


NUMBERS = (
    Function(
        "ratio",
        (Parameter("a", NUMERIC), Parameter("b", NUMERIC)),
        "number",
        "`a / b`: the division by its other name.",
        ANY_NULL + ", or `b` is 0",
        "ratio(paid, amount)",
        _ratio,
    ),
    Function(
        "percentage",
        (Parameter("a", NUMERIC), Parameter("b", NUMERIC)),
        "number",
        "`100 * a / b`.",
        ANY_NULL + ", or `b` is 0",
        "percentage(paid, amount)",
        _percentage,
    ),
    Function("abs", _X, "the argument's type", "Without its sign.", ANY_NULL, "abs(paid - amount)", _abs),
    Function(
        "round",
        (Parameter("x", NUMERIC), Parameter("decimals", ("integer",), constant=True, optional=True)),
        "the argument's type",
        "To so many decimals (0 to 10; 0 when absent), halves away from zero, as the number is written in decimals:"
        " `round(2.675, 2)` is 2.68.",
        ANY_NULL,
        "round(x, 2)",
        _round,
    ),
    Function("floor", _X, "integer", "The next whole number below.", ANY_NULL + ", or past 64 bits", "floor(x)", _whole("floor")),
    Function(
        "ceil", _X, "integer", "The next whole number above.", ANY_NULL + ", or past 64 bits", "ceil(amount)", _whole("ceil")
    ),
    Function(
        "sign",
        _X,
        "integer",
        "-1, 0 or 1.",
        ANY_NULL,
        "sign(paid - amount)",
        simple("sign", "integer", "number", "CAST(sign({0}) AS BIGINT)"),
    ),
    Function(
        "ln",
        _X,
        "number",
        "Natural logarithm.",
        ANY_NULL + ", or `x` is 0 or less",
        "ln(x)",
        simple("ln", "number", "number", "CASE WHEN {0} > 0 THEN ln({0}) END", also=NO_ANSWER),
    ),
    Function("exp", _X, "number", "e to the power of `x`.", ANY_NULL + ", or past a double", "exp(x)", _bounded("exp")),
    Function(
        "sqrt",
        _X,
        "number",
        "Square root.",
        ANY_NULL + ", or `x` is below 0",
        "sqrt(amount)",
        simple("sqrt", "number", "number", "CASE WHEN {0} >= 0 THEN sqrt({0}) END", also=NO_ANSWER),
    ),
    Function(
        "power",
        (Parameter("x", NUMERIC), Parameter("y", NUMERIC)),
        "number",
        "`x` to the power of `y`.",
        ANY_NULL + ", or the result isn't a finite number",
        "power(x, y)",
        _bounded("power"),
    ),
)
