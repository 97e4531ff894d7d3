"""The SQL of definitions (docs/expressions.md), evaluated one row at a time in plain Python; sqlglot only parses.

Where the page is silent: `round` and casts to money of a number round the shortest text that reads back as that number; an
interval on a timestamp is exact time, a date takes whole days; nothing fails on a row, what has no answer is null.
"""

from __future__ import annotations

import functools
import json
import math
import re
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import sqlglot
from sqlglot import exp

from tests.oracle.sql_types import Types, column_of
from tests.oracle.values import (
    OracleError,
    convert,
    finite,
    first_of_month,
    local_date,
    ratio,
    rounded,
    start_of_day,
    text_of,
)

Row = Mapping[str, object]
_DIGITS = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_FLOATING = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z?")
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_WEEKDAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
_TRUTHS = dict.fromkeys(("true", "t", "yes", "y", "1"), True) | dict.fromkeys(("false", "f", "no", "n", "0"), False)


class Expression:
    """One SQL expression over columns of known types. `type` is the type of its value; `value(row)` the value, or None."""

    def __init__(self, text: str, types: Mapping[str, str], zone: str) -> None:
        self._tree, self._zone = _parsed(text), zone
        self.names = names_in(text)
        self._types = Types(text, {name: types[name] for name in self.names if name in types})
        found = self._types.of(self._tree)
        self.type = "number" if found == "literal" else found
        self._known: dict[tuple[Any, ...], Any] = {}

    def value(self, row: Row) -> Any:
        """Remembered by the values of the columns that it names: days of a series mostly see the same ones."""
        told = tuple((type(row[name]), row[name]) for name in self.names)
        if told not in self._known:
            with localcontext() as context:
                context.prec = 80
                self._known[told] = convert(self._value(self._tree, row), self.type)
        return self._known[told]

    def _value(self, node: exp.Expression, row: Row) -> Any:
        for kinds, method in _EVALUATORS:
            if isinstance(node, kinds):
                return method(self, node, row)
        raise self._types.refused(node, f"{type(node).__name__} is not in the subset")

    def _values(self, nodes: Sequence[exp.Expression], row: Row) -> list[Any]:
        return [self._value(node, row) for node in nodes]

    def _alike(self, node: exp.Expression, nodes: Sequence[exp.Expression], row: Row) -> list[Any]:
        """The values of several nodes in the type in which they meet."""
        kind = self._types.common(node, nodes)
        kind = "number" if kind == "literal" else kind
        return [convert(value, kind) for value in self._values(nodes, row)]

    def _literal(self, node: exp.Expression, row: Row) -> Any:
        kind = self._types.of(node)
        return {"string": str, "integer": int, "literal": Decimal, "number": float}[kind](node.this)

    # Conditions, three-valued

    def _connective(self, node: exp.Expression, row: Row) -> Any:
        """Null only where the answer hangs on what is unknown."""
        sides = self._values([node.this, node.expression], row)
        deciding = isinstance(node, exp.Or)
        if deciding in sides:
            return deciding
        return None if None in sides else not deciding

    def _not(self, node: exp.Expression, row: Row) -> Any:
        value = self._value(node.this, row)
        return None if value is None else not value

    def _is(self, node: exp.Expression, row: Row) -> Any:
        wanted = None if isinstance(node.expression, exp.Null) else self._value(node.expression, row)
        return self._value(node.this, row) is wanted

    def _comparison(self, node: exp.Expression, row: Row) -> Any:
        left, right = self._alike(node, [node.this, node.expression], row)
        return None if left is None or right is None else _COMPARISONS[type(node)](left, right)

    def _between(self, node: exp.Expression, row: Row) -> Any:
        value, low, high = self._alike(node, [node.this, node.args["low"], node.args["high"]], row)
        sides = [None if value is None or low is None else low <= value, None if None in (value, high) else value <= high]
        return False if False in sides else None if None in sides else True

    def _in(self, node: exp.Expression, row: Row) -> Any:
        value, *listed = self._alike(node, [node.this, *node.expressions], row)
        if value is None:
            return None
        return True if value in listed else None if None in listed else False

    def _like(self, node: exp.Expression, row: Row) -> Any:
        value, pattern = self._values([node.this, node.expression], row)
        if value is None or pattern is None:
            return None
        regex = "".join({"%": ".*", "_": "."}.get(part) or re.escape(part) for part in pattern)
        return (re.fullmatch(regex, value, re.DOTALL) is not None) is not bool(node.args.get("negate"))

    # Numbers

    def _arithmetic(self, node: exp.Expression, row: Row) -> Any:
        if isinstance(node.expression, exp.Interval):
            return self._moved(node, row)
        left, right = self._values([node.this, node.expression], row)
        kind = self._types.of(node)
        if isinstance(node, exp.Mul) and kind == "money":  # money times a whole number is exact
            return None if left is None or right is None else convert(Decimal(left) * Decimal(right), "money")
        kind = "number" if kind == "literal" else kind
        left, right = convert(left, kind), convert(right, kind)
        if left is None or right is None:
            return None
        found = _remainder(left, right) if isinstance(node, exp.Mod) else finite(lambda: _ARITHMETIC[type(node)](left, right))
        return convert(found, kind)

    def _moved(self, node: exp.Expression, row: Row) -> Any:
        moment, interval = self._value(node.this, row), node.expression
        unit = interval.unit.name.lower().removesuffix("s")
        if unit not in ("day", "hour", "minute"):
            raise self._types.refused(node, "an interval is a number of days, hours or minutes")
        length = timedelta(**{f"{unit}s": int(interval.this.this)})
        if moment is None:
            return None
        if not isinstance(moment, datetime) and unit != "day":
            raise self._types.refused(node, "a date takes whole days")
        return finite(lambda: moment - length if isinstance(node, exp.Sub) else moment + length)

    def _negative(self, node: exp.Expression, row: Row) -> Any:
        value = self._value(node.this, row)
        return None if value is None else -value

    def _of_number(self, node: exp.Expression, row: Row) -> Any:
        value = self._value(node.this, row)
        return None if value is None else finite(lambda: _CURVES[type(node)](value))

    def _round(self, node: exp.Expression, row: Row) -> Any:
        value = self._value(node.this, row)
        places = self._value(node.args["decimals"], row) if node.args.get("decimals") is not None else 0
        if value is None:
            return None
        exact = rounded(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), places)
        return convert(int(exact) if isinstance(value, int) else exact, self._types.of(node))

    def _power(self, node: exp.Expression, row: Row) -> Any:
        base, exponent = self._values([node.this, node.expression], row)
        if base is None or exponent is None:
            return None
        return finite(lambda: math.pow(float(base), float(exponent)))

    # Choices

    def _case(self, node: exp.Expression, row: Row) -> Any:
        for branch in node.args["ifs"]:
            if node.this is None:
                chosen = self._value(branch.this, row)
            else:
                left, right = self._alike(node, [node.this, branch.this], row)
                chosen = left is not None and left == right
            if chosen is True:
                return self._chosen(node, branch.args["true"], row)
        return self._chosen(node, node.args.get("default"), row)

    def _if(self, node: exp.Expression, row: Row) -> Any:
        branch = node.args["true"] if self._value(node.this, row) is True else node.args.get("false")
        return self._chosen(node, branch, row)

    def _chosen(self, node: exp.Expression, branch: exp.Expression | None, row: Row) -> Any:
        return None if branch is None else convert(self._value(branch, row), self._types.of(node))

    def _coalesce(self, node: exp.Expression, row: Row) -> Any:
        return next((v for v in self._alike(node, [node.this, *node.expressions], row) if v is not None), None)

    def _extreme(self, node: exp.Expression, row: Row) -> Any:
        known = [v for v in self._alike(node, [node.this, *node.expressions], row) if v is not None]
        return (max if isinstance(node, exp.Greatest) else min)(known) if known else None

    def _nullif(self, node: exp.Expression, row: Row) -> Any:
        left, right = self._alike(node, [node.this, node.expression], row)
        return None if left == right else left

    def _cast(self, node: exp.Expression, row: Row) -> Any:
        value, to = self._value(node.this, row), self._types.of(node)
        if value is None:
            return None
        if isinstance(value, str):
            return _read(value.strip(" "), to)
        came = next(kind for kinds, kind in _KINDS if type(value) is kinds)
        if (came, to) not in _CASTS and came != to:
            raise self._types.refused(node, f"no cast from {came} to {to}")
        if to == "string":
            return text_of(value)
        if to == "integer":
            return convert(int(value), to)
        return bool(value) if to == "boolean" else convert(value, to)

    # Text and dates

    def _of_text(self, node: exp.Expression, row: Row) -> Any:
        values = self._values([part for part in (node.this, *_rest(node)) if part is not None], row)
        return None if None in values else _TEXT[type(node)](*values)

    def _joined(self, node: exp.Expression, row: Row) -> Any:
        parts = self._values(node.expressions or [node.this, node.expression], row)
        return None if None in parts else "".join(parts)

    def _date_part(self, node: exp.Expression, row: Row) -> Any:
        value = self._value(node.this.this if isinstance(node.this, exp.TsOrDsToDate) else node.this, row)
        if value is None:
            return None
        if isinstance(node, exp.Hour):
            if not isinstance(value, datetime):
                raise self._types.refused(node, "a date has no hour")
            return value.astimezone(ZoneInfo(self._zone)).hour
        return getattr(local_date(value, self._zone), type(node).__name__.lower())

    def _call(self, node: exp.Expression, row: Row) -> Any:
        name, values = node.name.lower(), self._values(node.expressions, row)
        if None in values:
            return None
        return finite(lambda: _OURS[name](self._zone, *values))


def _read(text: str, to: str) -> Any:
    """What a text says; null where it can't be read."""
    if to == "string":
        return text
    if to == "boolean":
        return _TRUTHS.get(text.lower())
    shape, read = _READERS[to]
    return convert(finite(lambda: read(text)), to) if shape.fullmatch(text) else None


def _read_timestamp(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)


def _remainder(left: Any, right: Any) -> Any:
    """With the sign of the dividend; null by zero."""
    if right == 0:
        return None
    if isinstance(left, float):
        return math.fmod(left, right)
    exact = Decimal(left) % Decimal(right)
    return int(exact) if isinstance(left, int) else exact


def _substring(text: str, start: int, length: int | None = None) -> str:
    rest = text[start - 1 :]
    return rest if length is None else rest[: max(length, 0)]


def _regexp_like(text: str, pattern: str) -> bool:
    return re.search(re.sub(r"(?<!\\)\$", r"\\Z", pattern), text, re.ASCII) is not None


def _months_between(a: date, b: date) -> int:
    return (b.year - a.year) * 12 + b.month - a.month - (b.day < a.day)


def _add_months(day: date, months: int) -> date:
    first = first_of_month(day, months)
    return first.replace(day=min(day.day, monthrange(first.year, first.month)[1]))


def _json_item(text: str, place: str | int) -> Any:
    """The item of a flat map or list; None where there is none, or something else stands in the text."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if isinstance(place, str):
        items = found if isinstance(found, dict) else {}
    else:
        items = dict(enumerate(found, start=1)) if isinstance(found, list) else {}
    return None if any(isinstance(item, dict | list) for item in items.values()) else items.get(place)


def _json_number(text: str, place: str | int) -> float | None:
    item = _json_item(text, place)
    if isinstance(item, str):
        return float(item) if _JSON_NUMBER.fullmatch(item) else None
    return None if item is None or isinstance(item, bool) else float(item)


def _list_text(text: str, separator: str) -> str | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, list) or not all(item is None or isinstance(item, str | int) for item in found):
        return None
    words = [str(item).lower() if isinstance(item, bool) else str(item) for item in found if item is not None]
    return separator.join(words)


def _rest(node: exp.Expression) -> list[exp.Expression | None]:
    return [node.args.get(name) for name in ("expression", "replacement", "start", "length")]


def names_in(text: str) -> list[str]:
    """The columns that an expression names, each once, `group.column` where it is written so."""
    return list(dict.fromkeys(column_of(column) for column in _parsed(text).find_all(exp.Column)))


def expression(text: str, types: Mapping[str, str], zone: str) -> Expression:
    """The same Expression for the same text over columns of the same types, so that what it remembers is shared."""
    return _expression(text, tuple((name, types[name]) for name in names_in(text) if name in types), zone)


@functools.lru_cache(maxsize=2048)
def _expression(text: str, types: tuple[tuple[str, str], ...], zone: str) -> Expression:
    return Expression(text, dict(types), zone)


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> exp.Expression:
    tree = sqlglot.parse_one(text)
    if not isinstance(tree, exp.Expression):
        raise OracleError(f"{text}: not one expression")
    return tree.transform(_as_called)


def _as_called(node: exp.Expression) -> exp.Expression:
    """Functions of ours that sqlglot knows by the same name, with another meaning."""
    name = {exp.AddMonths: "add_months", exp.MonthsBetween: "months_between"}.get(type(node))
    return exp.Anonymous(this=name, expressions=[node.this, node.expression]) if name else node


_KINDS = ((bool, "boolean"), (int, "integer"), (float, "number"), (Decimal, "money"), (datetime, "timestamp"), (date, "date"))
_CASTS = {
    ("integer", "string"), ("integer", "number"), ("integer", "money"), ("integer", "boolean"), ("number", "integer"),
    ("number", "money"), ("money", "string"), ("money", "integer"), ("money", "number"), ("boolean", "string"),
    ("boolean", "integer"), ("date", "string"), ("timestamp", "string"),
}  # fmt: skip
_READERS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "integer": (_DIGITS, int),
    "number": (_FLOATING, float),
    "money": (_DECIMAL, Decimal),
    "date": (_DATE, date.fromisoformat),
    "timestamp": (_TIMESTAMP, _read_timestamp),
}
_OURS: dict[str, Callable[..., Any]] = {
    "ratio": lambda zone, a, b: ratio(a, b),
    "percentage": lambda zone, a, b: None if ratio(a, b) is None else 100 * ratio(a, b),
    "weekday": lambda zone, moment: local_date(moment, zone).isoweekday(),
    "weekday_name": lambda zone, moment: _WEEKDAYS[local_date(moment, zone).weekday()],
    "month_name": lambda zone, moment: _MONTHS[local_date(moment, zone).month - 1],
    "local_date": lambda zone, moment: local_date(moment, zone),
    "start_of_day": lambda zone, day: start_of_day(day, zone),
    "end_of_day": lambda zone, day: start_of_day(day + timedelta(days=1), zone),
    "end_of_month": lambda zone, day: start_of_day(first_of_month(day, 1), zone),
    "days_between": lambda zone, a, b: (local_date(b, zone) - local_date(a, zone)).days,
    "seconds_between": lambda zone, a, b: (b - a) / timedelta(seconds=1),
    "months_between": lambda zone, a, b: _months_between(local_date(a, zone), local_date(b, zone)),
    "add_days": lambda zone, day, days: local_date(day, zone) + timedelta(days=days),
    "add_seconds": lambda zone, moment, seconds: moment + timedelta(seconds=seconds),
    "add_months": lambda zone, day, months: _add_months(day, months),
    "json_number": lambda zone, text, place: _json_number(text, place),
    "json_text": lambda zone, text, place: item if isinstance(item := _json_item(text, place), str) else None,
    "list_text": lambda zone, text, separator: _list_text(text, separator),
}
_COMPARISONS: dict[type[exp.Expression], Callable[..., bool]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
}
_ARITHMETIC: dict[type[exp.Expression], Callable[..., object]] = {
    exp.Add: lambda a, b: a + b,
    exp.Sub: lambda a, b: a - b,
    exp.Mul: lambda a, b: a * b,
}
_CURVES: dict[type[exp.Expression], Callable[[Any], Any]] = {
    exp.Abs: abs,
    exp.Floor: lambda x: convert(math.floor(x), "integer"),
    exp.Ceil: lambda x: convert(math.ceil(x), "integer"),
    exp.Sign: lambda x: (x > 0) - (x < 0),
    exp.Ln: lambda x: math.log(float(x)),
    exp.Exp: lambda x: math.exp(float(x)),
    exp.Sqrt: lambda x: math.sqrt(float(x)),
}
_TEXT: dict[type[exp.Expression], Callable[..., object]] = {
    exp.Lower: str.lower,
    exp.Upper: str.upper,
    exp.Trim: lambda text: text.strip(" "),
    exp.Length: len,
    exp.Replace: lambda text, old, new: text.replace(old, new) if old else text,
    exp.StartsWith: str.startswith,
    exp.EndsWith: str.endswith,
    exp.Contains: lambda text, part: part in text,
    exp.RegexpLike: _regexp_like,
    exp.Substring: _substring,
}
_EVALUATORS: tuple[tuple[tuple[type[exp.Expression], ...], Callable[..., object]], ...] = (
    ((exp.Paren,), lambda self, node, row: self._value(node.this, row)),
    ((exp.Literal,), Expression._literal),
    ((exp.Column,), lambda self, node, row: row[column_of(node)]),
    ((exp.Null,), lambda self, node, row: None),
    ((exp.Boolean,), lambda self, node, row: node.this),
    ((exp.And, exp.Or), Expression._connective),
    ((exp.Not,), Expression._not),
    ((exp.Is,), Expression._is),
    (tuple(_COMPARISONS), Expression._comparison),
    ((exp.Between,), Expression._between),
    ((exp.In,), Expression._in),
    ((exp.Like,), Expression._like),
    ((*_ARITHMETIC, exp.Mod), Expression._arithmetic),
    ((exp.Div,), lambda self, node, row: ratio(*self._values([node.this, node.expression], row))),
    ((exp.Neg,), Expression._negative),
    (tuple(_CURVES), Expression._of_number),
    ((exp.Round,), Expression._round),
    ((exp.Pow,), Expression._power),
    ((exp.Case,), Expression._case),
    ((exp.If,), Expression._if),
    ((exp.Coalesce,), Expression._coalesce),
    ((exp.Greatest, exp.Least), Expression._extreme),
    ((exp.Nullif,), Expression._nullif),
    ((exp.Cast,), Expression._cast),
    (tuple(_TEXT), Expression._of_text),
    ((exp.Concat, exp.DPipe), Expression._joined),
    ((exp.Year, exp.Month, exp.Day, exp.Hour), Expression._date_part),
    ((exp.Anonymous,), Expression._call),
)
