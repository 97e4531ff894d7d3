"""Reads an expression's text with sqlglot: the tree, or the place of a syntax error."""

from __future__ import annotations

import sqlglot
from sqlglot import TokenType, exp, parser
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError

from conf.expressions.values import ExpressionError


def _parse_cast(reader: parser.Parser) -> exp.Expr | None:
    """`cast(x as <our type name>)`: the name as written, where sqlglot would read `number` as a decimal."""
    value = reader._parse_disjunction()
    if not reader._match(TokenType.ALIAS):
        reader.raise_error("Expecting as")
    name = reader._advance_any()
    if name is None:
        reader.raise_error("Expecting a type")
        return value
    return reader.expression(exp.Cast(this=value, to=exp.DataType(this=exp.DType.USERDEFINED, kind=name.text)))


class Subset(Dialect):
    """SQL expressions in which every function call keeps the name it was written with."""

    class Parser(parser.Parser):
        FUNCTIONS = {}  # noqa: RUF012
        FUNCTION_PARSERS = {"CAST": _parse_cast}  # noqa: RUF012
        NO_PAREN_FUNCTIONS = {}  # noqa: RUF012
        NO_PAREN_FUNCTION_PARSERS = {"CASE": parser.Parser.NO_PAREN_FUNCTION_PARSERS["CASE"]}  # noqa: RUF012


def read(text: str) -> exp.Expr:
    """Raises ExpressionError with the place of a syntax error."""
    if not text.strip():
        raise ExpressionError("the expression is empty")
    try:
        return sqlglot.parse_one(text, dialect=Subset, into=exp.Condition)
    except ParseError as problem:
        raise ExpressionError(_syntax_error(text, problem)) from None
    except TokenError:
        raise ExpressionError(f"syntax error in '{text.strip()}': a quote or a comment is not closed") from None


def written(tree: exp.Expr) -> str:
    """As in the definition, but for spacing and the case of keywords."""
    if isinstance(tree, exp.Null | exp.Boolean):
        return tree.sql(dialect=Subset, copy=False).lower()
    return tree.sql(dialect=Subset, normalize_functions=False, copy=False)


def _syntax_error(text: str, problem: ParseError) -> str:
    if not problem.errors:
        return f"'{text.strip()}' holds no expression"
    error = problem.errors[0]
    found, said = str(error["highlight"]), str(error["description"])
    character = int(error["col"]) - len(found) + 1
    place = f"line {error['line']}, character {character}" if "\n" in text.strip() else f"character {character}"
    if said.startswith("Required keyword"):
        reason = "something is missing after it"
    elif said.startswith("Expect"):
        reason = f"expected '{said.split()[1]}' after it"
    else:
        reason = "unexpected here"
    return f"syntax error at '{found}' ({place}): {reason}"
