"""The tables at the end of a training set's run: what became of the labels, what each group knew, what is to be learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.console import open_console, show_table
from jobs.training_set_asked import Asked
from stores.training_sets import TrainingSetVersion

_LABEL_COLUMNS = ("labels", "rejected", "unripe", "duplicates", "rows", "without_history")
_GROUP_COLUMNS = ("columns", "not_on_spine", "without_history")


def show_result(asked: Asked, made: TrainingSetVersion, seconds: float, *, is_new: bool) -> None:
    """Say on stderr what a training set holds, where it lies, and what to try next."""
    console = open_console()
    if not is_new:
        console.print(f"Nothing changed: {made.name} was made of these labels and ledgers by run {made.run_id}.", highlight=False)
    show_table(console, "labels", _LABEL_COLUMNS, {made.name: _texts(_LABEL_COLUMNS, made.counts)})
    groups = {name: [made.groups[name], *_texts(_GROUP_COLUMNS, told)] for name, told in made.of_groups.items()}
    show_table(console, "features", ("version", *_GROUP_COLUMNS), groups)
    if made.targets:
        targets = {name: [f"{told['present']:,}", _mean(told["mean"])] for name, told in made.targets.items()}
        show_table(console, "targets", ("present", "mean"), targets)
    table, lake = asked.table, asked.lake
    lines = [f"{seconds:,.0f} s; newest complete day: {made.newest_day}; Parquet and Delta: {lake.uri(table.path)}"]
    if made.counts["rejected"]:
        lines.append(
            f"{made.counts['rejected']:,} labels in quarantine, each with its reason: {lake.uri('quarantine', made.run_id)}"
        )
    if made.without_history:
        lines.append(f"{made.counts['without_history']:,} labels of which nothing was known: {lake.uri(table.history_path)}")
    if days := made.counts.get("unripe_days", 0):
        lines.append(f"{days:,} days of the spine aren't ripe")
    query = f"import duckdb; print(duckdb.sql(\\\"select * from '{lake.uri(table.path)}/*.parquet' limit 5\\\"))"
    lines += ["Next:", f'  .venv/bin/python -c "{query}"', f"  cat {lake.uri(table.report)}"]
    console.print(*lines, sep="\n", highlight=False, markup=False)


def _texts(names: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    return [f"{counts.get(name, 0):,}" for name in names]


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"
