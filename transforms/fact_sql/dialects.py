"""The words in which the engines' SQL differs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from conf.expressions.values import duckdb_name, duckdb_text, spark_name, spark_text
from transforms.feature_group.sql import Sql


class Dialect(ABC):
    """Pieces of SQL. Instants are bigints, microseconds since 1970 UTC.

    `reads_again`: whether a step is computed anew for each that reads it, so that what reads it should be one step.
    """

    reads_again: ClassVar[bool]
    kept: ClassVar[str]  # before a step whose rows are to be kept, if that can be said

    @abstractmethod
    def sql(self, expression: Sql) -> str: ...

    @abstractmethod
    def name(self, column: str) -> str: ...

    @abstractmethod
    def text(self, text: str) -> str: ...

    @abstractmethod
    def micros(self, moment: str) -> str:
        """A timestamp as an instant."""

    @abstractmethod
    def moment(self, micros: str) -> str:
        """An instant as a timestamp."""

    @abstractmethod
    def day_number(self, day: str) -> str:
        """A date as days since 1970."""

    @abstractmethod
    def list(self, *items: str) -> str: ...

    @abstractmethod
    def struct(self, fields: Mapping[str, str]) -> str: ...

    @abstractmethod
    def concat(self, *lists: str) -> str: ...

    @abstractmethod
    def filter(self, items: str, name: str, condition: str) -> str:
        """The items for which a condition over `name` holds."""

    @abstractmethod
    def transform(self, items: str, name: str, made: str) -> str:
        """What is made of each item, by the name it has in it."""

    @abstractmethod
    def fold(self, items: str, start: str, step: str) -> str:
        """`step`, over `a` (what there is, first `start`) and `x` (the next item), of all items in turn; both of one type."""

    @abstractmethod
    def gathered(self, item: str) -> str:
        """The items of a group as a list, in order."""

    @abstractmethod
    def spans(self, starts: str, end: str) -> str:
        """Of a list of instants, the structs (`opens`, `closes`) from each to the next, from the last to `end`."""

    @abstractmethod
    def whole_quotient(self, dividend: str, divisor: str) -> str:
        """Of whole numbers of up to 38 digits, none of them negative, the divisor not 0 and the quotient within 64 bits."""

    @abstractmethod
    def explode(self, items: str) -> str:
        """In a select list: one row an item."""


class _Spark(Dialect):
    reads_again = True
    kept = ""

    def sql(self, expression: Sql) -> str:
        return expression.spark

    def name(self, column: str) -> str:
        return spark_name(column)

    def text(self, text: str) -> str:
        return spark_text(text)

    def micros(self, moment: str) -> str:
        return f"unix_micros({moment})"

    def moment(self, micros: str) -> str:
        return f"timestamp_micros({micros})"

    def day_number(self, day: str) -> str:
        return f"unix_date({day})"

    def list(self, *items: str) -> str:
        return f"array({', '.join(items)})"

    def struct(self, fields: Mapping[str, str]) -> str:
        return f"named_struct({', '.join(f'{self.text(name)}, {value}' for name, value in fields.items())})"

    def concat(self, *lists: str) -> str:
        return f"concat({', '.join(lists)})"

    def filter(self, items: str, name: str, condition: str) -> str:
        return f"filter({items}, {name} -> {condition})"

    def transform(self, items: str, name: str, made: str) -> str:
        return f"transform({items}, {name} -> {made})"

    def fold(self, items: str, start: str, step: str) -> str:
        return f"aggregate({items}, {start}, (a, x) -> {step})"

    def gathered(self, item: str) -> str:
        return f"array_sort(collect_list({item}))"

    def spans(self, starts: str, end: str) -> str:
        following = f"coalesce(get({starts}, i + 1), {end})"
        return f"transform({starts}, (x, i) -> {self.struct({'opens': 'x', 'closes': following})})"

    def whole_quotient(self, dividend: str, divisor: str) -> str:
        return f"(CAST({dividend} AS DECIMAL(38, 0)) div CAST({divisor} AS DECIMAL(38, 0)))"

    def explode(self, items: str) -> str:
        return f"explode({items})"


class _DuckDB(Dialect):
    reads_again = False
    kept = "materialized "

    def sql(self, expression: Sql) -> str:
        return expression.duckdb

    def name(self, column: str) -> str:
        return duckdb_name(column)

    def text(self, text: str) -> str:
        return duckdb_text(text)

    def micros(self, moment: str) -> str:
        return f"epoch_us({moment})"

    def moment(self, micros: str) -> str:
        return f"make_timestamp({micros})"

    def day_number(self, day: str) -> str:
        return f"({day} - date '1970-01-01')"

    def list(self, *items: str) -> str:
        return f"[{', '.join(items)}]"

    def struct(self, fields: Mapping[str, str]) -> str:
        return f"{{{', '.join(f'{self.text(name)}: {value}' for name, value in fields.items())}}}"

    def concat(self, *lists: str) -> str:
        return f"list_concat({', '.join(lists)})"

    def filter(self, items: str, name: str, condition: str) -> str:
        return f"list_filter({items}, lambda {name}: {condition})"

    def transform(self, items: str, name: str, made: str) -> str:
        return f"list_transform({items}, lambda {name}: {made})"

    def fold(self, items: str, start: str, step: str) -> str:
        return f"list_reduce({items}, lambda a, x: {step}, {start})"

    def gathered(self, item: str) -> str:
        return f"list_sort(list({item}))"

    def spans(self, starts: str, end: str) -> str:
        following = f"coalesce(({starts})[i + 1], {end})"
        return f"list_transform({starts}, lambda x, i: {self.struct({'opens': 'x', 'closes': following})})"

    def whole_quotient(self, dividend: str, divisor: str) -> str:
        return f"(CAST({dividend} AS HUGEINT) // CAST({divisor} AS HUGEINT))"

    def explode(self, items: str) -> str:
        return f"unnest({items})"


SPARK: Dialect = _Spark()
DUCKDB: Dialect = _DuckDB()
