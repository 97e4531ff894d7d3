"""Which type an expression of the definitions has. sqlglot only parses.

integer, money and number meet as docs/expressions.md says; "literal" is a decimal literal of at most two places, which is money
beside money and a number everywhere else; "null" is a bare null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from tests.oracle.values import NUMERIC, OracleError

_MOMENTS = ("date", "timestamp")
_NUMBERS = {*NUMERIC, "literal", "null"}
CALLS = {  # functions of ours, which sqlglot does not know: the type they return
    "ratio": "number",
    "percentage": "number",
    "weekday": "integer",
    "weekday_name": "string",
    "month_name": "string",
    "local_date": "date",
    "start_of_day": "timestamp",
    "end_of_day": "timestamp",
    "end_of_month": "timestamp",
    "days_between": "integer",
    "seconds_between": "number",
    "months_between": "integer",
    "add_days": "date",
    "add_seconds": "timestamp",
    "add_months": "date",
    "json_number": "number",
    "json_text": "string",
    "list_text": "string",
}
_INTEGER = (exp.Floor, exp.Ceil, exp.Length, exp.Sign, exp.Year, exp.Month, exp.Day, exp.Hour)
_NUMBER = (exp.Div, exp.Ln, exp.Exp, exp.Sqrt, exp.Pow)
_STRING = (exp.Lower, exp.Upper, exp.Trim, exp.Substring, exp.Concat, exp.DPipe, exp.Replace)
_BOOLEAN = (exp.Boolean, exp.Predicate, exp.Connector, exp.Not, exp.StartsWith, exp.EndsWith, exp.Contains, exp.RegexpLike)


def column_of(node: exp.Column) -> str:
    """A column's name, with its group's where it is written so."""
    return f"{node.table}.{node.name}" if node.table else node.name


class Types:
    """The types of one expression's nodes, given those of its columns."""

    def __init__(self, sql: str, columns: Mapping[str, str]) -> None:
        self._sql, self._columns = sql, columns

    def refused(self, node: exp.Expression, why: str) -> OracleError:
        return OracleError(f"{self._sql}: {node.sql()}: {why}")

    def of(self, node: exp.Expression) -> str:
        if isinstance(node, exp.Paren | exp.Neg | exp.Abs | exp.Round):
            return self.of(node.this)
        if isinstance(node, exp.Column):
            if column_of(node) not in self._columns:
                raise self.refused(node, f"no such column; columns: {', '.join(self._columns)}")
            return self._columns[column_of(node)]
        if isinstance(node, exp.Literal):
            return "string" if node.is_string else _literal(node.this)
        if isinstance(node, exp.Null):
            return "null"
        for kinds, kind in ((_BOOLEAN, "boolean"), (_INTEGER, "integer"), (_NUMBER, "number"), (_STRING, "string")):
            if isinstance(node, kinds):
                return kind
        if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Mod):
            return self._arithmetic(node)
        if isinstance(node, exp.Case):
            return self.common(node, [*(branch.args["true"] for branch in node.args["ifs"]), node.args.get("default")])
        if isinstance(node, exp.If):
            return self.common(node, [node.args["true"], node.args.get("false")])
        if isinstance(node, exp.Coalesce | exp.Least | exp.Greatest):
            return self.common(node, [node.this, *node.expressions])
        if isinstance(node, exp.Nullif):
            return self.common(node, [node.this, node.expression])
        if isinstance(node, exp.Cast):
            return self._cast(node)
        if isinstance(node, exp.Anonymous) and node.name.lower() in CALLS:
            return CALLS[node.name.lower()]
        raise self.refused(node, f"{type(node).__name__} is not in the subset")

    def common(self, node: exp.Expression, nodes: Sequence[exp.Expression | None]) -> str:
        """The type in which the values of several nodes meet."""
        found = {self.of(one) for one in nodes if one is not None} - {"null"}
        if len(found) > 1 and not found <= _NUMBERS:
            raise self.refused(node, f"several types meet: {', '.join(sorted(found))}")
        return widest(found)

    def _arithmetic(self, node: exp.Expression) -> str:
        left = self.of(node.this)
        if isinstance(node.expression, exp.Interval):
            if left in _MOMENTS and isinstance(node, exp.Add | exp.Sub):
                return left
            raise self.refused(node, f"no interval on a {left}")
        right = self.of(node.expression)
        if not {left, right} <= _NUMBERS:
            raise self.refused(node, f"no arithmetic between {left} and {right}")
        if isinstance(node, exp.Mul):
            if left == right == "money":
                raise self.refused(node, "money times money")
            return widest({left, right}) if {left, right} <= {"integer", "money", "null"} else "number"
        return widest({left, right})

    def _cast(self, node: exp.Cast) -> str:
        to = node.args["to"]
        if str(to.args.get("kind", "")).lower() == "money":
            return "money"
        if to.this in exp.DataType.INTEGER_TYPES:
            return "integer"
        if to.this in exp.DataType.TEXT_TYPES:
            return "string"
        if to.this == exp.DType.DECIMAL:
            return "money" if to.expressions else "number"
        kinds = {exp.DType.DOUBLE: "number", exp.DType.DATE: "date", exp.DType.BOOLEAN: "boolean"}
        kinds |= dict.fromkeys((exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ), "timestamp")
        if to.this not in kinds:
            raise self.refused(node, "no such type")
        return kinds[to.this]


def widest(types: set[str]) -> str:
    known = types - {"null"}
    if not known:
        return "null"
    if not known <= _NUMBERS:
        return next(iter(known))
    if "literal" in known and "money" not in known:
        return "number" if known != {"literal"} else "literal"
    return max(known - {"literal"}, key=NUMERIC.index)


def _literal(text: str) -> str:
    if text.isdigit():
        return "integer"
    return "literal" if "e" not in text.lower() and len(text.partition(".")[2]) <= 2 else "number"
