"""A query written as named steps, each a select from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from transforms.fact_sql.dialects import Dialect


@dataclass(frozen=True)
class Table:
    """A table, view or step, and the names of its columns."""

    name: str
    columns: tuple[str, ...]


@dataclass
class Steps:
    """Collects steps; `query` is all of them as one text."""

    dialect: Dialect
    texts: list[tuple[str, str]] = field(default_factory=list)

    def select(
        self,
        table: Table,
        kept: Iterable[str] | None = None,
        made: Mapping[str, str] | None = None,
        *,
        name: str,
        where: str | None = None,
        group_by: Sequence[str] | None = None,
        window: str | None = None,
        join: str = "",
        once: bool = False,
    ) -> Table:
        """A step with the columns `kept` (None: all) of a table, less those `made` anew.

        `window`: the definition of a window named `w`. `once`: its rows are kept for all that read them, where the engine can. A
        kept column is taken as it is, from whichever table of the join has it.
        """
        made = dict(made or {})
        columns = {column: self.dialect.name(column) for column in (table.columns if kept is None else kept)}
        columns = {column: text for column, text in columns.items() if column not in made}
        listed = [*columns.values(), *(f"{text} as {self.dialect.name(column)}" for column, text in made.items())]
        text = f"select {', '.join(listed)} from {table.name}{join}"
        text += f" where {where}" if where else ""
        text += f" group by {self.names(group_by)}" if group_by else ""
        text += f" window w as ({window})" if window else ""
        return self.add(name, f"{self.dialect.kept if once else ''}({text})", [*columns, *made])

    def union(self, tables: Sequence[Table], types: Mapping[str, str], *, name: str) -> Table:
        """The rows of all; a column that one lacks is null in its rows, of the type that `types` says."""
        if len(tables) == 1:
            return tables[0]
        columns = list(dict.fromkeys(column for table in tables for column in table.columns))
        parts = []
        for table in tables:
            listed = [
                self.dialect.name(column)
                if column in table.columns
                else f"cast(null as {types[column]}) as {self.dialect.name(column)}"
                for column in columns
            ]
            parts.append(f"select {', '.join(listed)} from {table.name}")
        return self.add(name, f"({' union all '.join(parts)})", columns)

    def add(self, name: str, text: str, columns: Sequence[str]) -> Table:
        table = Table(f"{name}_{len(self.texts)}", tuple(columns))
        self.texts.append((table.name, text))
        return table

    def names(self, columns: Iterable[str]) -> str:
        return ", ".join(self.dialect.name(column) for column in columns)

    def query(self, last: Table, order_by: Sequence[str] = ()) -> str:
        steps = ",\n".join(f"{name} as {text}" for name, text in self.texts)
        end = f"select {self.names(last.columns)} from {last.name}{ordered(self.dialect, order_by)}"
        return f"with {steps}\n{end}"


def ordered(dialect: Dialect, by: Sequence[str]) -> str:
    """The end of a query whose rows come in the order of some columns, if any."""
    columns = ", ".join(f"{dialect.name(column)} asc nulls first" for column in by)
    return f" order by {columns}" if columns else ""
