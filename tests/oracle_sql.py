"""The SQL of definitions, evaluated one row at a time in plain Python; sqlglot only parses. Shares no code with the engine.

Types are those of a source's columns. Decisions where the pages are silent:
- A literal with a decimal point is exact. Exact with money is money, exact alone becomes a number where it leaves the
  expression, money times money is a number. A number (double) with anything is a number.
- Money that leaves an expression is rounded to cents, half away from zero. `/` and `ratio` divide doubles.
- What has no finite answer (ln of 0, sqrt of -1, an overflow) is null; so is a cast of text that can't be read.
- `round` of a double rounds the shortest text that reads back as that double.
- Types don't mix silently: a comparison of text with a date is an OracleError. A date beside a timestamp is the start of
  its local day. `year` … `hour` of a timestamp are local. A cast between date and timestamp is refused: `local_date`
  and `start_of_day` say which day is meant. `interval n day` on a timestamp is n times 24 hours, on a date n days.
- `concat` and `||` of a null are null. `trim` takes spaces only.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import sqlglot
from sqlglot import exp

CENT = Decimal("0.01")
_MOMENTS = ("date", "timestamp")
_NUMERIC = ("integer", "exact", "money", "number")
_CALLS: dict[str, str] = {  # functions of ours, which sqlglot does not know: the type they return
    "ratio": "number",
    "weekday": "integer",
    "local_date": "date",
    "start_of_day": "timestamp",
    "end_of_day": "timestamp",
    "days_between": "integer",
    "add_days": "date",
}


class OracleError(Exception):
    """An expression that the oracle does not answer: outside the documented subset, or of the wrong types."""


def rounded(value: Decimal, places: int) -> Decimal:
    """`value` with `places` decimals, half away from zero."""
    with localcontext() as context:
        context.prec = 80
        return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def local_date(moment: Any, zone: str) -> date:
    """The local date of an instant; a date is its own."""
    return moment.astimezone(ZoneInfo(zone)).date() if isinstance(moment, datetime) else moment


def start_of_day(day: date, zone: str) -> datetime:
    """The first instant of a local day, in UTC; where no midnight exists, the instant at which clocks jumped over it."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def convert(value: Any, to: str) -> Any:
    """A value in the Python type of a column type, numeric ones widened or rounded; null stays null."""
    if value is None or to not in _NUMERIC:
        return value
    if to == "number":
        return float(value)
    if to == "money":
        return rounded(Decimal(value), 2)
    return value


class Expression:
    """One SQL expression over columns of known types. `type` is the type of its value; `value(row)` the value, or None."""

    def __init__(self, text: str, types: Mapping[str, str], zone: str) -> None:
        self._sql, self._types, self._zone = text, types, zone
        self._tree = _parsed(text)
        found = self._type(self._tree)
        self.type = "number" if found == "exact" else found

    def value(self, row: Mapping[str, object]) -> Any:
        with localcontext() as context:
            context.prec = 80
            return convert(self._value(self._tree, row), self.type)

    def _refuse(self, node: exp.Expression, why: str) -> OracleError:
        return OracleError(f"{self._sql}: {node.sql()}: {why}")

    # What type a node has ("null" for a bare null)

    def _type(self, node: exp.Expression) -> str:
        if isinstance(node, exp.Paren):
            return self._type(node.this)
        if isinstance(node, exp.Column):
            if node.name not in self._types:
                raise self._refuse(node, f"no such column; columns: {', '.join(self._types)}")
            return self._types[node.name]
        if isinstance(node, exp.Literal):
            return "string" if node.is_string else "integer" if node.this.isdigit() else _point_or_exponent(node.this)
        if isinstance(node, exp.Null):
            return "null"
        if isinstance(node, exp.Boolean | exp.Predicate | exp.Connector | exp.Not):
            return "boolean"
        if isinstance(node, exp.Neg | exp.Abs):
            return self._type(node.this)
        if isinstance(node, exp.Round):
            return self._type(node.this)
        if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Mod):
            return self._arithmetic_type(node)
        if isinstance(node, exp.Div | exp.Ln | exp.Exp | exp.Sqrt | exp.Pow):
            return "number"
        if isinstance(node, exp.Floor | exp.Ceil | exp.Length | exp.Year | exp.Month | exp.Day | exp.Hour):
            return "integer"
        if isinstance(node, exp.Lower | exp.Upper | exp.Trim | exp.Substring | exp.Concat | exp.DPipe):
            return "string"
        if isinstance(node, exp.Case):
            return self._common(node, [*(branch.args["true"] for branch in node.args["ifs"]), node.args.get("default")])
        if isinstance(node, exp.If):
            return self._common(node, [node.args["true"], node.args.get("false")])
        if isinstance(node, exp.Coalesce | exp.Least | exp.Greatest):
            return self._common(node, [node.this, *node.expressions])
        if isinstance(node, exp.Nullif):
            return self._type(node.this)
        if isinstance(node, exp.Cast):
            return self._cast_type(node)
        if isinstance(node, exp.Anonymous) and node.name.lower() in _CALLS:
            return _CALLS[node.name.lower()]
        raise self._refuse(node, f"{type(node).__name__} is not in the subset")

    def _arithmetic_type(self, node: exp.Expression) -> str:
        left, right = self._type(node.this), "interval"
        if not isinstance(node.expression, exp.Interval):
            right = self._type(node.expression)
        if right == "interval" and left in _MOMENTS and isinstance(node, exp.Add | exp.Sub):
            return left
        if not {left, right} <= {*_NUMERIC, "null"}:
            raise self._refuse(node, f"no arithmetic between {left} and {right}")
        if left == right == "money" and isinstance(node, exp.Mul):
            return "exact"
        return _widest([left, right])

    def _common(self, node: exp.Expression, branches: Sequence[exp.Expression | None]) -> str:
        found = {self._type(branch) for branch in branches if branch is not None} - {"null"}
        if len(found) > 1 and not found <= set(_NUMERIC):
            raise self._refuse(node, f"its branches are of several types: {', '.join(sorted(found))}")
        return _widest(list(found)) if found else "null"

    def _cast_type(self, node: exp.Expression) -> str:
        to = node.args["to"].this
        if to in exp.DataType.INTEGER_TYPES:
            return "integer"
        if to in exp.DataType.TEXT_TYPES:
            return "string"
        kinds = {exp.DType.DECIMAL: "money", exp.DType.DOUBLE: "number", exp.DType.FLOAT: "number", exp.DType.DATE: "date"}
        kinds |= {exp.DType.BOOLEAN: "boolean", exp.DType.TIMESTAMP: "timestamp", exp.DType.TIMESTAMPTZ: "timestamp"}
        if to not in kinds:
            raise self._refuse(node, "no such type")
        return kinds[to]

    # What value a node has

    def _value(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        for kinds, method in _EVALUATORS:
            if isinstance(node, kinds):
                return method(self, node, row)
        raise self._refuse(node, f"{type(node).__name__} is not in the subset")

    def _values(self, nodes: Sequence[exp.Expression], row: Mapping[str, object]) -> list[Any]:
        return [self._value(node, row) for node in nodes]

    def _literal(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        if node.is_string:
            return node.this
        kind = self._type(node)
        return int(node.this) if kind == "integer" else Decimal(node.this) if kind == "exact" else float(node.this)

    def _column(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        return row[node.name]

    def _connective(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        """Three-valued: null only where the answer hangs on what is unknown."""
        sides = self._values([node.this, node.expression], row)
        deciding = isinstance(node, exp.Or)
        if deciding in sides:
            return deciding
        return None if None in sides else not deciding

    def _not(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        return None if value is None else not value

    def _is(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        wanted = None if isinstance(node.expression, exp.Null) else self._value(node.expression, row)
        return self._value(node.this, row) is wanted

    def _comparison(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        return self._order(node, self._value(node.this, row), self._value(node.expression, row), _COMPARISONS[type(node)])

    def _null_safe(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        left, right = self._values([node.this, node.expression], row)
        same = left is right if left is None or right is None else self._order(node, left, right, lambda a, b: a == b)
        return same if isinstance(node, exp.NullSafeEQ) else not same

    def _order(self, node: exp.Expression, left: Any, right: Any, holds: Callable[..., bool]) -> bool | None:
        if left is None or right is None:
            return None
        return holds(*self._alike(node, [left, right]))

    def _alike(self, node: exp.Expression, values: Sequence[Any]) -> list[Any]:
        """Values made comparable: exact with double as double, a date with a timestamp as its local midnight."""
        kinds = {_python_kind(value) for value in values}
        if kinds == {"number", "exact"}:
            return [float(value) for value in values]
        if kinds == {"date", "timestamp"}:
            return [v if isinstance(v, datetime) else start_of_day(v, self._zone) for v in values]
        if len(kinds) > 1:
            raise self._refuse(node, f"can't compare {' with '.join(sorted(kinds))}")
        return list(values)

    def _between(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value, low, high = self._values([node.this, node.args["low"], node.args["high"]], row)
        sides = [self._order(node, low, value, lambda a, b: a <= b), self._order(node, value, high, lambda a, b: a <= b)]
        return False if False in sides else None if None in sides else True

    def _in(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        found = [self._order(node, value, v, lambda a, b: a == b) for v in self._values(node.expressions, row)]
        return True if True in found else None if None in found else False

    def _like(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value, pattern = self._values([node.this, node.expression], row)
        if value is None or pattern is None:
            return None
        wildcards = {"%": ".*", "_": "."}
        parts = re.findall(r"\\.|.", str(pattern), re.DOTALL)
        regex = "".join(wildcards.get(part) or re.escape(part[-1]) for part in parts)
        return re.fullmatch(regex, str(value), re.DOTALL) is not None

    def _arithmetic(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        if isinstance(node.expression, exp.Interval):
            return self._moved(node, row)
        left, right = self._values([node.this, node.expression], row)
        if left is None or right is None:
            return None
        left, right = self._alike(node, [left, right])
        if isinstance(node, exp.Mod):
            return _remainder(left, right)
        return _finite(lambda: _ARITHMETIC[type(node)](left, right))

    def _moved(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        moment, interval = self._value(node.this, row), node.expression
        if interval.unit is None or interval.unit.name.upper() not in ("DAY", "DAYS"):
            raise self._refuse(node, "an interval is a number of days")
        step = timedelta(days=int(interval.this.this))
        return None if moment is None else moment - step if isinstance(node, exp.Sub) else moment + step

    def _quotient(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        return _ratio(*self._values([node.this, node.expression], row))

    def _negative(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        return None if value is None else -value

    def _absolute(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        return None if value is None else abs(value)

    def _round(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        places = self._value(node.args["decimals"], row) if node.args.get("decimals") is not None else 0
        if value is None or not isinstance(places, int):
            return None
        exact = rounded(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), places)
        return float(exact) if isinstance(value, float) else int(exact) if isinstance(value, int) else exact

    def _whole(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        return None if value is None else (math.floor if isinstance(node, exp.Floor) else math.ceil)(value)

    def _curve(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        return None if value is None else _finite(lambda: _CURVES[type(node)](float(value)))

    def _power(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        base, exponent = self._values([node.this, node.expression], row)
        if base is None or exponent is None:
            return None
        return _finite(lambda: math.pow(float(base), float(exponent)))

    def _case(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        for branch in node.args["ifs"]:
            if node.this is None:
                chosen = self._value(branch.this, row)
            else:
                chosen = self._order(node, self._value(node.this, row), self._value(branch.this, row), lambda a, b: a == b)
            if chosen is True:
                return convert(self._value(branch.args["true"], row), self._type(node))
        default = node.args.get("default")
        return None if default is None else convert(self._value(default, row), self._type(node))

    def _if(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        branch = node.args["true"] if self._value(node.this, row) is True else node.args.get("false")
        return None if branch is None else convert(self._value(branch, row), self._type(node))

    def _coalesce(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        known = [v for v in self._values([node.this, *node.expressions], row) if v is not None]
        return convert(known[0], self._type(node)) if known else None

    def _extreme(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        known = [v for v in self._values([node.this, *node.expressions], row) if v is not None]
        if not known:
            return None
        choose = max if isinstance(node, exp.Greatest) else min
        return convert(choose(self._alike(node, known)), self._type(node))

    def _nullif(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        left, right = self._values([node.this, node.expression], row)
        return None if self._order(node, left, right, lambda a, b: a == b) else left

    def _cast(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value, to = self._value(node.this, row), self._cast_type(node)
        if value is None:
            return None
        if {_python_kind(value), to} == {"date", "timestamp"}:
            raise self._refuse(node, "say which day is meant with local_date or start_of_day")
        if to == "string":
            return text_of(value)
        try:
            return self._read(value, to, node)
        except (ValueError, InvalidOperation, OverflowError):
            return None

    def _read(self, value: Any, to: str, node: exp.Expression) -> Any:
        if to == "integer":
            return int(Decimal(value.strip()) if isinstance(value, str) else value)
        if to == "number":
            return float(value)
        if to == "money":
            sizes = [int(size.name) for size in node.args["to"].expressions]
            exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
            return rounded(exact, sizes[1] if len(sizes) > 1 else 0)
        if not isinstance(value, str):
            if _python_kind(value) == to:
                return value
            raise self._refuse(node, f"no cast from {_python_kind(value)} to {to}")
        if to == "boolean":
            return {"true": True, "false": False}.get(value.strip().lower())
        if to == "date":
            return date.fromisoformat(value.strip())
        moment = datetime.fromisoformat(value.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def _of_text(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        value = self._value(node.this, row)
        return None if value is None else _TEXT[type(node)](value)

    def _substring(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        text, start = self._values([node.this, node.args["start"]], row)
        length = self._value(node.args["length"], row) if node.args.get("length") is not None else None
        if text is None or start is None or (node.args.get("length") is not None and length is None):
            return None
        if start < 1:
            raise self._refuse(node, "substring counts from 1")
        rest = text[start - 1 :]
        return rest if length is None else rest[: max(length, 0)]

    def _joined(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        parts = self._values(node.expressions or [node.this, node.expression], row)
        return None if None in parts else "".join(text_of(part) for part in parts)

    def _date_part(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        inner = node.this.this if isinstance(node.this, exp.TsOrDsToDate) else node.this
        value = self._value(inner, row)
        if value is None:
            return None
        if isinstance(node, exp.Hour):
            if not isinstance(value, datetime):
                raise self._refuse(node, "a date has no hour")
            return value.astimezone(ZoneInfo(self._zone)).hour
        return getattr(local_date(value, self._zone), type(node).__name__.lower())

    def _call(self, node: exp.Expression, row: Mapping[str, object]) -> Any:
        name, values = node.name.lower(), self._values(node.expressions, row)
        if None in values:
            return None
        if name == "ratio":
            return _ratio(*values)
        day = local_date(values[0], self._zone)
        if name == "weekday":
            return day.isoweekday()
        if name == "local_date":
            return day
        if name == "start_of_day":
            return start_of_day(day, self._zone)
        if name == "end_of_day":
            return start_of_day(day + timedelta(days=1), self._zone)
        if name == "days_between":
            return (local_date(values[1], self._zone) - day).days
        return day + timedelta(days=values[1])


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> exp.Expression:
    tree = sqlglot.parse_one(text, read="spark")
    if not isinstance(tree, exp.Expression):
        raise OracleError(f"{text}: not one expression")
    return tree


def _point_or_exponent(literal: str) -> str:
    return "number" if "e" in literal.lower() else "exact"


def _widest(types: Sequence[str]) -> str:
    known = [kind for kind in types if kind != "null"]
    if not known:
        return "null"
    return max(known, key=_NUMERIC.index) if known[0] in _NUMERIC else known[0]


def _python_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, datetime):
        return "timestamp"
    return {int: "exact", Decimal: "exact", float: "number", str: "string", date: "date"}[type(value)]


def text_of(value: Any) -> str:
    """A value as `cast(… as string)` gives it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        raise OracleError("a timestamp has no text of its own: say which zone is meant")
    return value.isoformat() if isinstance(value, date) else str(value)


def _finite(calculate: Callable[[], Any]) -> Any:
    try:
        value = calculate()
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _ratio(left: Any, right: Any) -> Any:
    if left is None or right is None or right == 0:
        return None
    return _finite(lambda: float(left) / float(right))


def _remainder(left: Any, right: Any) -> Any:
    """With the sign of the dividend; null by zero."""
    if right == 0:
        return None
    if isinstance(left, float):
        return math.fmod(left, right)
    exact = Decimal(left) % Decimal(right)
    return int(exact) if isinstance(left, int) and isinstance(right, int) else exact


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
_CURVES: dict[type[exp.Expression], Callable[[float], float]] = {exp.Ln: math.log, exp.Exp: math.exp, exp.Sqrt: math.sqrt}
_TEXT: dict[type[exp.Expression], Callable[..., object]] = {
    exp.Lower: str.lower,
    exp.Upper: str.upper,
    exp.Trim: lambda text: text.strip(" "),
    exp.Length: len,
}
_EVALUATORS: tuple[tuple[tuple[type[exp.Expression], ...], Callable[..., object]], ...] = (
    ((exp.Paren,), lambda self, node, row: self._value(node.this, row)),
    ((exp.Literal,), Expression._literal),
    ((exp.Column,), Expression._column),
    ((exp.Null,), lambda self, node, row: None),
    ((exp.Boolean,), lambda self, node, row: node.this),
    ((exp.And, exp.Or), Expression._connective),
    ((exp.Not,), Expression._not),
    ((exp.Is,), Expression._is),
    (tuple(_COMPARISONS), Expression._comparison),
    ((exp.NullSafeEQ, exp.NullSafeNEQ), Expression._null_safe),
    ((exp.Between,), Expression._between),
    ((exp.In,), Expression._in),
    ((exp.Like,), Expression._like),
    ((*_ARITHMETIC, exp.Mod), Expression._arithmetic),
    ((exp.Div,), Expression._quotient),
    ((exp.Neg,), Expression._negative),
    ((exp.Abs,), Expression._absolute),
    ((exp.Round,), Expression._round),
    ((exp.Floor, exp.Ceil), Expression._whole),
    (tuple(_CURVES), Expression._curve),
    ((exp.Pow,), Expression._power),
    ((exp.Case,), Expression._case),
    ((exp.If,), Expression._if),
    ((exp.Coalesce,), Expression._coalesce),
    ((exp.Greatest, exp.Least), Expression._extreme),
    ((exp.Nullif,), Expression._nullif),
    ((exp.Cast,), Expression._cast),
    (tuple(_TEXT), Expression._of_text),
    ((exp.Substring,), Expression._substring),
    ((exp.Concat, exp.DPipe), Expression._joined),
    ((exp.Year, exp.Month, exp.Day, exp.Hour), Expression._date_part),
    ((exp.Anonymous,), Expression._call),
)
