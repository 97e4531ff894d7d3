"""One raw line to many rows, or a wide one to a long one: a source's reshaping select, in Spark SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from conf.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PROVENANCE = ("_file", "_line")


def reshape(df: DataFrame, *, sql: str) -> DataFrame:
    """Run a source's reshaping select over `df`, its table `raw`. Rows in: one a line; rows out: any number a line.

    `_file` and `_line` stay with every row that comes of a line. Rows without text of their own are not for this.
    """
    name = f"raw_{abs(hash(sql)):x}_{id(df):x}"
    tree = _parsed(sql)
    for _, table in _selects_over_raw(tree):
        table.set("this", exp.to_identifier(name))
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier("raw")))
    for select in tree.find_all(exp.Select):
        if not any(expression.is_star for expression in select.expressions):
            given = {expression.alias_or_name for expression in select.expressions}
            added = [exp.column(name) for name in PROVENANCE if name not in given]
            select.set("expressions", added + select.expressions)
    df.createOrReplaceTempView(name)
    try:
        return df.sparkSession.sql(tree.sql("spark"))
    finally:
        df.sparkSession.catalog.dropTempView(name)


def reshape_inputs(sql: str) -> tuple[set[str], bool]:
    """The columns of `raw` that a reshaping select names, and whether it takes them all by `*`.

    Raises DefinitionError when it isn't one select over `raw`.
    """
    tree = _parsed(sql)
    named: set[str] = set()
    everything = False
    selects = _selects_over_raw(tree)
    if not selects:
        raise DefinitionError(f"reshape: the select reads no table named 'raw': {sql}")
    for select, _ in selects:
        made = {column.name for lateral in select.args.get("laterals") or () for column in lateral.args["alias"].columns}
        inner = {
            column for nested in select.find_all(exp.Select) if nested is not select for column in nested.find_all(exp.Column)
        }
        named |= {column.name for column in select.find_all(exp.Column) if column not in inner} - made
        everything |= any(expression.is_star for expression in select.expressions)
    return named - {"*"}, everything


def _parsed(sql: str) -> exp.Select:
    try:
        tree = sqlglot.parse_one(sql, read="spark")
    except sqlglot.errors.ParseError as problem:
        raise DefinitionError(f"reshape: not SQL: {problem.errors[0]['description']} in: {sql}") from problem
    if not isinstance(tree, exp.Select) or any(s.args.get("group") for s in tree.find_all(exp.Select)):
        raise DefinitionError(f"reshape: write one select over the table raw, without group by: {sql}")
    return tree


def _selects_over_raw(tree: exp.Expression) -> list[tuple[exp.Select, exp.Table]]:
    found = []
    for table in tree.find_all(exp.Table):
        select = table.find_ancestor(exp.Select)
        if table.name == "raw" and select is not None:
            found.append((select, table))
    return found
