"""One row per key and version: which rows are new, known already, or in conflict with one that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

KEPT, DUPLICATE, CONFLICT, BAD = "kept", "duplicate", "conflict", "bad"


def needed_sql(rows: str, known: str, *, by: Sequence[str], few: bool, quote: Callable[[str], str]) -> str:
    """SQL for those rows of `known` whose key and version are among `rows`, which are `few`, and fit into memory, or not."""
    hint = "/*+ broadcast(r) */ " if few else ""
    return f"select {hint}k.* from {known} k semi join {rows} r on {_same('k', 'r', [quote(name) for name in by])}"


def contested_sql(rows: str, known: str | None, *, by: Sequence[str], quote: Callable[[str], str]) -> str:
    """SQL for the keys and versions `by` that more than one of `rows` has, or one that is `known`: few, mostly, and each once.

    Bad rows, which break a rule, contest nothing.
    """
    named = ", ".join(quote(name) for name in by)
    repeated = f"select {named} from {rows} where _rule is null group by {named} having count(*) > 1"
    return f"{repeated} union select {named} from {known}" if known else repeated


def contest_sql(
    rows: str, contested: str, known: str | None, *, by: Sequence[str], columns: Sequence[str], quote: Callable[[str], str]
) -> str:
    """SQL, for Spark as for DuckDB, that says of every row whose key and version are contested whether it is kept.

    `rows`: the table of conformed rows, any number per `by` (key and version; nulls are equal to each other), with `columns`.
    `contested`: the keys and versions that `contested_sql` finds. `known`: the table of rows kept before, each `by` once, with
    `_row_hash`, `_file` and `_line`; None when there are none.
    Rows out: those contested, with `_class` and `_again`. `_class`: `bad` when it breaks a rule; of the others the first in
    (`_file`, `_line`) order is `kept` unless `known` has its key and version, and the rest are a `duplicate` when their
    `_row_hash` is that of the row known or kept, else a `conflict`, with `_rule` and `_reason`. `_again`: a duplicate of a row
    known from the same file, which was read before: the row itself once more. `quote` writes a column's name.
    """
    named = [quote(name) for name in by]
    # Bad rows take no part: each is on its own, so that many with an empty key are not one group.
    group = [*named, "if(_rule is null, null, _file)", "if(_rule is null, null, _line)"]
    first = {name: f"first_value({name}) over in_order as _new{name}" for name in ("_row_hash", "_file", "_line")}
    old = {name: f"k.{name}" if known else "null" for name in first}
    joined = f" left join {known} k on {_same('r', 'k', named)}" if known else ""
    return f"""
        select {_others(columns, quote)},
            if(_class = '{CONFLICT}', '{CONFLICT}', _rule) as _rule,
            if(_class = '{CONFLICT}', concat(
                'its key and version are those of ', _first_file, ' line ', cast(_first_line as string), ', with other content'
            ), _reason) as _reason,
            _class,
            _class = '{DUPLICATE}' and _is_known and _first_file = _file as _again
        from (
            select *, case
                when _rule is not null then '{BAD}'
                when not _is_known and _rank = 1 then '{KEPT}'
                when _row_hash = _first_hash then '{DUPLICATE}'
                else '{CONFLICT}' end as _class
            from (
                select r.*, {"k._row_hash is not null" if known else "false"} as _is_known,
                    coalesce({old["_row_hash"]}, r._new_row_hash) as _first_hash,
                    coalesce({old["_file"]}, r._new_file) as _first_file,
                    coalesce({old["_line"]}, r._new_line) as _first_line
                from (
                    select *, row_number() over in_order as _rank, {", ".join(first.values())}
                    from (select r.* from {rows} r semi join {contested} c on {_same("r", "c", named)}) o
                    window in_order as (
                        partition by {", ".join(group)}
                        order by _file nulls first, _line nulls first, _row_hash nulls first
                    )
                ) r{joined}
            )
        )"""


def classify_sql(
    rows: str, contested: str, contest: str, *, by: Sequence[str], columns: Sequence[str], quote: Callable[[str], str]
) -> str:
    """SQL for all rows with what becomes of each: of the contested ones what the table `contest` says, by `contest_sql`.

    Of the others those that break no rule are kept.
    """
    alone = f"{rows} r anti join {contested} c on {_same('r', 'c', [quote(name) for name in by])}"
    return f"""
        select {_others(columns, quote)}, _rule, _reason, if(_rule is null, '{KEPT}', '{BAD}') as _class, false as _again
        from {alone} union all select * from {contest}"""


def _others(columns: Sequence[str], quote: Callable[[str], str]) -> str:
    return ", ".join(quote(name) for name in columns if name not in ("_rule", "_reason"))


def _same(left: str, right: str, names: Sequence[str]) -> str:
    return " and ".join(f"{left}.{name} is not distinct from {right}.{name}" for name in names)
