"""One row per key and version: which rows are new, known already, or in conflict with one that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

KEPT, DUPLICATE, CONFLICT, BAD = "kept", "duplicate", "conflict", "bad"


def classify_sql(rows: str, known: str | None, *, by: Sequence[str], columns: Sequence[str], quote: Callable[[str], str]) -> str:
    """SQL, for Spark as for DuckDB, that says of every row whether it is kept.

    `rows`: the table of conformed rows, any number per `by` (key and version; nulls are equal to each other), with `columns`.
    `known`: the table of rows kept before, each `by` once, with `_row_hash`, `_file` and `_line`; None when there are none.
    Rows out: the same, with `_class` and `_again`. `_class`: `bad` when it breaks a rule; of the others the first in (`_file`,
    `_line`) order is `kept` unless `known` has its key and version, and the rest are a `duplicate` when their `_row_hash` is that
    of the row known or kept, else a `conflict`, with `_rule` and `_reason`. `_again`: a duplicate of a row known from the same
    file, which was read before: the row itself once more. `quote` writes a column's name.
    """
    named = [quote(name) for name in by]
    # Bad rows take no part: each is on its own, so that many with an empty key are not one group.
    group = [*named, "if(_rule is null, null, _file)", "if(_rule is null, null, _line)"]
    first = {name: f"first_value({name}) over in_order as _new{name}" for name in ("_row_hash", "_file", "_line")}
    old = {name: f"k.{name}" if known else "null" for name in first}
    joined = f" left join {known} k on {' and '.join(_same('r', 'k', named))}" if known else ""
    return f"""
        select {", ".join(quote(name) for name in columns if name not in ("_rule", "_reason"))},
            if(_class = '{CONFLICT}', '{CONFLICT}', _rule) as _rule,
            if(_class = '{CONFLICT}', concat(
                'its key and version are those of ', _first_file, ' line ', cast(_first_line as {{text}}), ', with other content'
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
                    from {rows}
                    window in_order as (
                        partition by {", ".join(group)}
                        order by _file nulls first, _line nulls first, _row_hash nulls first
                    )
                ) r{joined}
            )
        )""".replace("{text}", "string")


def needed_sql(rows: str, known: str, *, by: Sequence[str], quote: Callable[[str], str]) -> str:
    """SQL for those rows of `known` whose key and version are among `rows`: a look-up in a large table of what few came."""
    named = [quote(name) for name in by]
    return f"select /*+ broadcast(r) */ k.* from {known} k semi join {rows} r on {' and '.join(_same('k', 'r', named))}"


def _same(left: str, right: str, names: Sequence[str]) -> list[str]:
    return [f"{left}.{name} is not distinct from {right}.{name}" for name in names]
