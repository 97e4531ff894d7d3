"""Functions of text."""

from __future__ import annotations

from collections.abc import Sequence

from conf.expressions.functions.base import ANY_NULL, Function, Parameter, simple, texts
from conf.expressions.patterns import portable
from conf.expressions.values import ExpressionError, Value, build, convert, duckdb_text, spark_text


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


TEXT = (
    Function(
        "lower",
        texts("text"),
        "string",
        "In lower case.",
        ANY_NULL,
        "lower(name)",
        simple("lower", "string", "string", "lower({0})"),
    ),
    Function(
        "upper",
        texts("text"),
        "string",
        "In upper case, letter for letter: don't rely on letters whose upper case is two letters (ß).",
        ANY_NULL,
        "upper(name)",
        simple("upper", "string", "string", "upper({0})"),
    ),
    Function(
        "trim",
        texts("text"),
        "string",
        "Without the spaces at both ends.",
        ANY_NULL,
        "trim(name)",
        simple("trim", "string", "string", "trim({0})", "trim({0}, ' ')"),
    ),
    Function(
        "length",
        texts("text"),
        "integer",
        "How many characters.",
        ANY_NULL,
        "length(name)",
        simple("length", "integer", "string", "CAST(length({0}) AS BIGINT)"),
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
        ANY_NULL,
        "substring(name, 2, 3)",
        _substring,
    ),
    Function(
        "concat",
        (*texts("a"), Parameter("b", ("string",), repeated=True)),
        "string",
        "One after the other, as `a || b`.",
        ANY_NULL,
        "concat(name, '-', code)",
        _concat,
    ),
    Function(
        "replace",
        texts("text", "old", "new"),
        "string",
        "Every `old` replaced by `new`; an empty `old` replaces nothing.",
        ANY_NULL,
        "replace(name, 'a', 'xy')",
        simple("replace", "string", "string", "replace({0}, {1}, {2})"),
    ),
    Function(
        "starts_with",
        texts("text", "start"),
        "boolean",
        "Whether `text` starts with `start`.",
        ANY_NULL,
        "starts_with(name, 'a')",
        simple("starts_with", "boolean", "string", "startswith({0}, {1})", "starts_with({0}, {1})"),
    ),
    Function(
        "ends_with",
        texts("text", "end"),
        "boolean",
        "Whether `text` ends with `end`.",
        ANY_NULL,
        "ends_with(name, code)",
        simple("ends_with", "boolean", "string", "endswith({0}, {1})", "ends_with({0}, {1})"),
    ),
    Function(
        "contains",
        texts("text", "part"),
        "boolean",
        "Whether `part` is somewhere in `text`.",
        ANY_NULL,
        "contains(name, code)",
        simple("contains", "boolean", "string", "contains({0}, {1})"),
    ),
    Function(
        "regexp_like",
        (Parameter("text", ("string",)), Parameter("pattern", ("string",), constant=True)),
        "boolean",
        "Whether the pattern is found in `text`: characters, `.`, `^ $` (of the whole text), classes, `\\d \\w \\s` (ASCII), "
        "groups, `|` and `* + ? {2,5}`.",
        ANY_NULL,
        "regexp_like(name, '^[a-c]+\\d?')",
        _regexp_like,
    ),
)
