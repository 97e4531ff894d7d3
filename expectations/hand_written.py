"""Rules written by hand: one YAML file a feature group or source, in `expectations/` of the package or of `--conf DIR`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from conf.errors import did_you_mean
from conf.expressions import Expression, ExpressionError, parse, parse_condition
from conf.specs import ColumnType, Name, Spec
from conf.yaml_file import Place, YamlFile, load_model, parse_yaml
from expectations.rules import Rule, RuleSql, bounded, condition, quoted

NUMBERS = frozenset({"integer", "number", "money"})
Metric = Literal["share", "null_share", "count", "sum", "mean", "min", "max"]


def _number(value: Any) -> Any:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise ValueError(f"'{value}' is not a number")
    return number


Bound = Annotated[Decimal, BeforeValidator(_number)]


class WrittenRowRule(Spec):
    """A condition that every row must meet. Where it is false or null, `error` sends the row to quarantine."""

    name: Name
    expr: str
    severity: Literal["error", "warning"] = "error"
    description: str = ""


class WrittenTableRule(Spec):
    """A metric of the whole table between two ends, both in. `critical` holds the day back.

    `share`: of the rows for which the condition `of` is true; `null_share`: of those where `of` is null; `count`: rows where
    `of` is not null (all rows without `of`); `sum`, `mean`, `min`, `max`: of the values of `of`, nulls left out.
    """

    name: Name
    metric: Metric
    of: str | None = None
    min: Bound | None = None
    max: Bound | None = None
    severity: Literal["critical", "warning"] = "critical"
    description: str = ""

    @model_validator(mode="after")
    def _has_ends(self) -> WrittenTableRule:
        if self.min is None and self.max is None:
            raise ValueError(f"'{self.name}' needs `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"'{self.name}': min {self.min} is more than max {self.max}")
        if self.of is None and self.metric != "count":
            raise ValueError(f"'{self.name}': metric '{self.metric}' needs `of`: the column or expression that it is taken of")
        return self


class WrittenSuite(Spec):
    """The rules of one table. Exactly one of `group` and `source` names it."""

    group: str | None = None
    source: str | None = None
    description: str = ""
    rows: tuple[WrittenRowRule, ...] = ()
    table: tuple[WrittenTableRule, ...] = ()

    @model_validator(mode="after")
    def _names_one_table(self) -> WrittenSuite:
        if (self.group is None) == (self.source is None):
            raise ValueError("name the table: `group: <feature group>` or `source: <source>`, one of them")
        if not self.rows and not self.table:
            raise ValueError("no rules; write some below `rows` or `table`")
        names = [*(rule.name for rule in self.rows), *(rule.name for rule in self.table)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two rules are named '{twice}'")
        return self


TableName = tuple[Literal["group", "source"], str]


@dataclass(frozen=True)
class Table:
    """What rules by hand may be written about: the columns of a snapshot or of curated rows.

    `null_in_blank_rows`: a column that is null in rows that a missing consent blanks, and in no others. Rules by hand are not
    about such rows.
    """

    kind: Literal["group", "source"]
    name: str
    columns: Mapping[str, ColumnType]
    null_in_blank_rows: str | None = None


def load_written(folder: str | Path | None, tables: Iterable[Table], *, zone: str) -> dict[TableName, tuple[Rule, ...]]:
    """The rules of `expectations/*.yaml` below `folder` (the shipped ones when None), by kind and name of table.

    Raises DefinitionError, with file and line, for what isn't a suite, an unknown table or column, and an expression that
    isn't one.
    """
    root: Traversable = resources.files("expectations") if folder is None else Path(folder) / "expectations"
    by_name: dict[TableName, Table] = {(table.kind, table.name): table for table in tables}
    rules: dict[TableName, tuple[Rule, ...]] = {}
    files: dict[TableName, str] = {}
    for path in _yaml_files(root):
        file = parse_yaml(path.read_text(encoding="utf-8"), path.name)
        suite = load_model(WrittenSuite, file)
        name = _table_name(suite, file, by_name)
        if name in files:
            raise file.error((name[0],), f"'{name[1]}' has rules in {files[name]} too; write them in one file")
        files[name] = path.name
        rules[name] = tuple(_compile(suite, file, by_name[name], zone))
    return rules


def _yaml_files(root: Traversable) -> list[Traversable]:
    if not root.is_dir():
        return []
    return sorted((p for p in root.iterdir() if p.name.endswith((".yaml", ".yml"))), key=lambda path: path.name)


def _table_name(suite: WrittenSuite, file: YamlFile, tables: Mapping[TableName, Table]) -> TableName:
    name: TableName = ("group", suite.group) if suite.group else ("source", suite.source or "")
    if name not in tables:
        known = [other for kind, other in tables if kind == name[0]]
        words = {"group": "feature group", "source": "source"}[name[0]]
        raise file.error((name[0],), f"no {words} named '{name[1]}'{did_you_mean(name[1], known)}; known: {', '.join(known)}")
    return name


def _compile(suite: WrittenSuite, file: YamlFile, table: Table, zone: str) -> Iterator[Rule]:
    for number, row in enumerate(suite.rows):
        held = _parse(file, ("rows", number, "expr"), row.expr, table, zone, condition=True)
        blank = f"{quoted(table.null_in_blank_rows)} is null or " if table.null_in_blank_rows else ""
        sql = RuleSql.filled(f"{blank}({{0}})", _sql(held))
        yield condition(f"written.{row.name}", sql, row.description or row.expr, row.severity)
    for number, rule in enumerate(suite.table):
        place: Place = ("table", number, "of")
        value = _parse(file, place, rule.of, table, zone, condition=rule.metric == "share") if rule.of else None
        if value is not None and rule.metric in ("sum", "mean", "min", "max") and value.type not in NUMBERS:
            raise file.error(place, f"'{rule.of}' is {value.type}; metric '{rule.metric}' takes integer, number or money")
        name = f"written.{rule.name}"
        words = rule.description or " ".join(filter(None, [rule.metric, rule.of]))
        yield bounded(name, _aggregate(rule.metric, value), rule.min, rule.max, words, rule.severity)


def _parse(file: YamlFile, place: Place, text: str, table: Table, zone: str, *, condition: bool) -> Expression:
    try:
        return (parse_condition if condition else parse)(text, table.columns, zone=zone)
    except ExpressionError as problem:
        raise file.error(place, str(problem)) from problem


def _aggregate(metric: Metric, value: Expression | None) -> RuleSql:
    if value is None:
        return RuleSql.of("count(*)")
    templates = {
        "share": "count_if(coalesce(({0}), false)) / count(*)",
        "null_share": "count_if(({0}) is null) / count(*)",
        "mean": "cast(sum(({0})) as double) / nullif(count(({0})), 0)",
    }
    return RuleSql.filled(templates.get(metric, f"{metric}(({{0}}))"), _sql(value))


def _sql(expression: Expression) -> RuleSql:
    return RuleSql(expression.spark(), expression.duckdb())
