"""Rows that refer to what isn't there: fees of an account that no source knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conf.specs import Source
from jobs.engines import SqlEngine, Table
from stores.lake import Lake
from transforms.curated import curated_columns


@dataclass(frozen=True)
class Reference:
    """A column of a source's new rows that should be found as the key of a parent."""

    source: str
    column: str
    parent: str
    key: str


def references(sources: Mapping[str, Source], changed: Sequence[str]) -> list[Reference]:
    """Those of the sources in `changed`, as far as the parent is one of `sources` and the column is kept."""
    found = []
    for name in changed:
        for column, parent in sources[name].references.items():
            if parent in sources and column in curated_columns(sources[name]):
                key = column if column in sources[parent].key else sources[parent].key[0]
                found.append(Reference(name, column, parent, key))
    return found


def count_orphans(
    sources: Mapping[str, Source], changed: Sequence[str], lake: Lake, engine: SqlEngine, run_id: str
) -> dict[str, dict[str, int]]:
    """Rows that this run kept whose reference isn't a key of the source referred to, by source and column.

    A null refers to nothing. All references are looked up in one pass over the tables' files.
    """
    found: dict[str, dict[str, int]] = {}
    children: dict[str, str] = {}
    parents: dict[str, str] = {}
    tables: dict[str, Table] = {}
    asked = references(sources, changed)
    targets = sorted({(reference.parent, reference.key) for reference in asked})
    for number, reference in enumerate(asked):
        ledger = lake.curated(reference.source)
        added = [path for c in ledger.commits() if c.run_id == run_id for path in ledger.paths_added(c.version)]
        if not added:
            continue
        found.setdefault(reference.source, {})[reference.column] = 0
        name, target = f"c{number}", targets.index((reference.parent, reference.key))
        tables[name] = _values(engine, sources[reference.source], reference.column, lake, added)
        children[name] = _side(engine, name, reference.column, f"{number} as reference, {target} as target")
        theirs = lake.curated(reference.parent).paths()
        if f"p{target}" not in parents and theirs:
            tables[f"p{target}"] = _values(engine, sources[reference.parent], reference.key, lake, theirs)
            parents[f"p{target}"] = _side(engine, f"p{target}", reference.key, f"{target} as target")
    if not children:
        return found
    referring = f"({' union all '.join(children.values())}) c"
    keys = f"({' union all '.join(parents.values())}) k"
    lacking = f"{referring} anti join {keys} on c.target = k.target and c.value = k.value" if parents else referring
    for row in engine.collect(f"select reference, count(*) as orphans from {lacking} group by reference", **tables):
        reference = asked[row["reference"]]
        found[reference.source][reference.column] = row["orphans"]
    return found


def _values(engine: SqlEngine, source: Source, column: str, lake: Lake, paths: Sequence[str]) -> Table:
    return engine.parquet(lake.storage, paths, {column: curated_columns(source)[column]})


def _side(engine: SqlEngine, table: str, column: str, told: str) -> str:
    name = engine.quote(column)
    return f"select {told}, cast({name} as string) as value from {{{table}}} where {name} is not null"
