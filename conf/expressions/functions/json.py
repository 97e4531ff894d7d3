"""Functions of the JSON lists and maps that operations give: flat, of texts, numbers, booleans and nulls.

Engines read JSON with different leniency, and write numbers differently. So both are given the same pattern of what a list or a
map is, and of where its item stands; only the text of a string is left to them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from conf.expressions.functions.base import Function, Parameter
from conf.expressions.values import NO_ANSWER, ExpressionError, Value, build, convert, duckdb_text, finite, spark_text

_LAST_PLACE = 100  # in a list: patterns have a limit
_SPACE = "[ \\t\\r\\n]*"
_STRING = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_WHOLE = "(?:0|-?[1-9][0-9]{0,17})"
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SCALAR = f"(?:{_STRING}|{_NUMBER}|true|false|null)"
_COMMA = f"{_SPACE},{_SPACE}"
_MEMBER = f"{_STRING}{_SPACE}:{_SPACE}{_SCALAR}"


def _sequence(opening: str, item: str, closing: str) -> str:
    return f"^{_SPACE}{opening}{_SPACE}(?:{item}(?:{_COMMA}{item})*)?{_SPACE}{closing}{_SPACE}\\z"


_LIST = _sequence("\\[", _SCALAR, "\\]")
_MAP = _sequence("\\{", _MEMBER, "\\}")
_LIST_OF_WORDS = _sequence("\\[", f"(?:{_STRING}|{_WHOLE}|true|false|null)", "\\]")


def _in_spark(pattern: str) -> str:
    """Groups that repeat take all they can and give nothing back: otherwise Java's stack overflows on long texts."""
    return spark_text(pattern.replace(")*", ")*+"))


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _matches(pattern: str, piece: str = "{0}") -> tuple[str, str]:
    """Whether a piece is of the pattern, for each engine."""
    return f"{piece} RLIKE {_escaped(_in_spark(pattern))}", f"regexp_matches({piece}, {_escaped(duckdb_text(pattern))})"


def _found(function: str, place: Value) -> tuple[str, str]:
    """The item at a place of a list or a key of a map as JSON, for each engine; '' where there is none."""
    if isinstance(place.constant, str):
        key = re.escape(json.dumps(place.constant, ensure_ascii=False)).replace("\\ ", " ")
        whole, item = _MAP, f"[{{,]{_SPACE}{key}{_SPACE}:{_SPACE}({_SCALAR})"
    elif isinstance(place.constant, int) and 1 <= place.constant <= _LAST_PLACE:
        before = f"(?:{_SCALAR}{_COMMA}){{{place.constant - 1}}}"
        whole, item = _LIST, f"^{_SPACE}\\[{_SPACE}{before}({_SCALAR})"
    else:
        told = f"{function}() takes a map's key, or a list's place from 1 to {_LAST_PLACE}"
        raise ExpressionError(f"{place.shown} is no place in JSON; {told}")
    in_spark, in_duckdb = _matches(whole)
    return (
        f"CASE WHEN {in_spark} THEN regexp_extract({{0}}, {_escaped(_in_spark(item))}, 1) END",
        f"CASE WHEN {in_duckdb} THEN regexp_extract({{0}}, {_escaped(duckdb_text(item))}, 1) END",
    )


def _json_number(args: Sequence[Value], zone: str) -> Value:
    text = convert(args[0], "string")
    in_spark, in_duckdb = (f"replace({item}, '\"', '')" for item in _found("json_number", args[1]))
    spark_fits, _ = _matches(f"^{_NUMBER}\\z", in_spark)
    _, duckdb_fits = _matches(f"^{_NUMBER}\\z", in_duckdb)
    number = build(
        "number",
        f"json_number[{args[1].canonical}]",
        [text],
        f"CASE WHEN {spark_fits} THEN try_cast({in_spark} AS DOUBLE) END",
        f"CASE WHEN {duckdb_fits} THEN try_cast({in_duckdb} AS DOUBLE) END",
        unbounded=True,
        also=NO_ANSWER,
    )
    return finite(number)


def _json_text(args: Sequence[Value], zone: str) -> Value:
    text = convert(args[0], "string")
    in_spark, in_duckdb = _found("json_text", args[1])
    return build(
        "string",
        f"json_text[{args[1].canonical}]",
        [text],
        f"CASE WHEN {in_spark} LIKE '\"%' THEN from_json(concat('{{{{\"v\":', {in_spark}, '}}}}'), 'v string').v END",
        f"CASE WHEN {in_duckdb} LIKE '\"%' THEN json_extract_string(concat('{{{{\"v\":', {in_duckdb}, '}}}}'), '$.v') END",
        also=NO_ANSWER,
    )


def _list_text(args: Sequence[Value], zone: str) -> Value:
    values = [convert(arg, "string") for arg in args]
    in_spark, in_duckdb = _matches(_LIST_OF_WORDS)
    return build(
        "string",
        "list_text",
        values,
        f"CASE WHEN {in_spark} THEN array_join(from_json({{0}}, 'array<string>'), {{1}}) END",
        f"CASE WHEN {in_duckdb} THEN coalesce(array_to_string(CAST(CAST({{0}} AS JSON) AS VARCHAR[]), {{1}}), '') END",
        also=NO_ANSWER,
    )


_PLACE = Parameter("key or place", ("string", "integer"), constant=True)
_ELSE = "when `json` is null, no flat list or map, or has no such {} there"

JSON = (
    Function(
        "json_number",
        (Parameter("json", ("string",)), _PLACE),
        "number",
        "The number at a map's key, or at a list's place (the first is 1); money, which is text there, as a number too.",
        _ELSE.format("number"),
        "json_number(shares, 'atome')",
        _json_number,
    ),
    Function(
        "json_text",
        (Parameter("json", ("string",)), _PLACE),
        "string",
        "The text at a map's key, or at a list's place (the first is 1).",
        _ELSE.format("text"),
        "json_text(items, 1)",
        _json_text,
    ),
    Function(
        "list_text",
        (Parameter("list", ("string",)), Parameter("separator", ("string",), constant=True)),
        "string",
        "The texts, whole numbers and booleans of a JSON list, one after the other with `separator` between; nulls are left out.",
        "when an argument is null, or the first is no flat list of these",
        "list_text(items, '-')",
        _list_text,
    ),
)
