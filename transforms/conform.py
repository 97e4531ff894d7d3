"""Text columns to a source's declared types, its two clocks, and the reasons why a row can't be kept."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import sqlglot
from pyspark.sql import functions as F
from sqlglot import exp

from conf.errors import DefinitionError
from conf.expressions import parse_condition
from conf.specs import Column, ColumnType, RowRule, Source, TimeColumn
from transforms.curated import curated_columns as curated_columns

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

PROVENANCE = ("_file", "_line")
_YEARS = ("1900-01-01", "2200-01-01")
_SPACE = " \\t\\r\\n\\u00a0"
_EXAMPLES: dict[ColumnType, str] = {
    "string": "text",
    "integer": "a whole number such as 12",
    "number": "a number such as 0.25",
    "money": "an amount such as 1234.50, below 10^16",
    "boolean": "true or false",
    "date": "a date such as 2025-09-30",
    "timestamp": "a date and time such as 2025-09-30T16:00:00Z",
}
_LONGEST_VALUE = 60


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


def conform(df: DataFrame, *, source: Source, personal_key: bytes | None = None) -> DataFrame:
    """Type a source's columns and judge every row.

    Rows in: text columns, `_file`, `_line`, `_unreadable` and `_raw`. Rows out: the same number, with
    the declared columns typed (null where unreadable; personal ones absent or an HMAC-SHA256 in hex), `_event_time`,
    `_known_time`, `_month`, `_file`, `_line`, `_row_hash`, and
    `_reasons`: array of (rule, reason), empty for a row to keep; `_rounded`: how many amounts had more than two decimals;
    `_key` and `_row`, of rows with reasons: the key as text, and JSON of the row as it was read, both without personal data.

    `personal_key`: needed when a column says `personal: hmac`.
    """
    names = list(source.columns)
    absent = [name for name in names if name not in df.columns]
    texts = [(F.lit(None) if name in absent else F.col(_quoted(name))).cast("string").alias(name) for name in names]
    carried = [F.col(name) for name in ("_file", "_line", "_unreadable", "_raw")]
    cleaned = df.select(*texts, *carried).select(
        *(F.col(_quoted(name)).alias(f"_raw_{name}") for name in names),
        *(F.expr(_cleaned(name, source)).alias(f"_text_{name}") for name in names),
        *carried,
    )
    money = [name for name in names if source.columns[name].type == "money"]
    exact = cleaned.select("*", *(F.expr(_decimal(f"`_text_{name}`", 20)).alias(f"_exact_{name}") for name in money))
    typed = exact.select("*", *(F.expr(_typed(name, source)).alias(name) for name in names))
    timed = typed.select("*", *_clocks(source))
    judged = timed.select("*", _reasons(source).alias("_reasons"), _rounded(money).alias("_rounded"))
    kept = [name for name in names if source.columns[name].personal != "drop"]
    masked = judged.select(
        *(_masked(name, source.columns[name], personal_key) for name in kept),
        "_event_time",
        "_known_time",
        F.date_format("_event_time", "yyyy" if source.layout == "year" else "yyyy-MM").alias("_month"),
        "_file",
        "_line",
        "_reasons",
        "_rounded",
        _row(source).alias("_row"),
        *(F.col(f"`_text_{name}`").alias(f"_text_{name}") for name in source.key),
    )
    return masked.select(
        *(F.col(_quoted(name)) for name in kept),
        "_event_time",
        "_known_time",
        "_month",
        "_file",
        "_line",
        _row_hash(kept, source).alias("_row_hash"),
        "_reasons",
        "_rounded",
        key_text(source).alias("_key"),
        "_row",
    )


def time_sql(time: TimeColumn, zone: str) -> str:
    """SQL for an instant: the column itself, or the start or the last microsecond of a local date, in `zone`."""
    column = _quoted(time.column)
    if time.of_date is None:
        return column
    if time.of_date == "start_of_day":
        return _midnight(column, zone)
    following = f"date_add({column}, 1)" if time.of_date == "end_of_day" else f"add_months(trunc({column}, 'MM'), 1)"
    return f"{_midnight(following, zone)} - interval 1 microsecond"


def _midnight(date: str, zone: str) -> str:
    return f"to_utc_timestamp(cast({date} as timestamp), {_literal(zone)})"


# ---- types


def _cleaned(name: str, source: Source) -> str:
    """The text without white space around it; null when it is one of the source's null values."""
    text = f"trim(BOTH '{_SPACE}' FROM {_quoted(name)})"
    nulls = ", ".join(_literal(value) for value in source.null_values)
    return f"if({text} in ({nulls}), null, {text})" if nulls else text


def _decimal(text: str, scale: int) -> str:
    """A number as it is written, with or without an exponent; null for `1,234.50`, `NaN`, `inf` and anything else."""
    return f"try_cast({text} as decimal(38,{scale}))"


def _typed(name: str, source: Source) -> str:
    column, text = source.columns[name], f"`_text_{name}`"
    if column.type == "integer":
        exact = _decimal(text, 18)
        return f"coalesce(try_cast({text} as bigint), if({exact} = floor({exact}), try_cast({exact} as bigint), null))"
    if column.type == "money":
        return f"try_cast(`_exact_{name}` as decimal(18,2))"
    if column.type == "number":
        is_number = f"{text} rlike '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$'"
        value = f"if({is_number}, try_cast({text} as double), null)"
        return f"if(abs({value}) = double('infinity'), null, {value})"
    if column.type == "boolean":
        return (
            f"case when lower({text}) in ('true', '1', 'yes') then true when lower({text}) in ('false', '0', 'no') then false end"
        )
    if column.type == "date":
        return _first(_date(text), *(f"to_date({_by_format(text, form)})" for form in column.formats))
    if column.type == "timestamp":
        zone = source.zone_of(name)
        return _first(_timestamp(text, zone), *(_formatted_timestamp(text, form, zone) for form in column.formats))
    return text


def _first(*values: str) -> str:
    return f"coalesce({', '.join(values)})"


def _date(text: str) -> str:
    """`2025-09-30`, also with midnight behind it, as a table that keeps dates as timestamps gives it."""
    pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]00:00:00([.]0+)?)?$"
    return f"if({text} rlike '{pattern}', try_cast(substr({text}, 1, 10) as date), null)"


def _timestamp(text: str, zone: str) -> str:
    """ISO-8601 with an offset, else a local time in `zone`; to the microsecond, what lies below is cut off."""
    local = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
    # Spark looks a written zone up each time, which costs more than all else; the session's zone is UTC, so Z needs none.
    without_z = f"substr({text}, 1, length({text}) - 1)"
    with_colon = f"regexp_replace({text}, '([0-9]{{2}})([0-9]{{2}})$', '$1:$2')"
    return (
        f"case when {text} like '%Z' then if({without_z} rlike '{local}$', try_cast({without_z} as timestamp), null) "
        f"when {text} rlike '{local}$' then to_utc_timestamp(try_cast({text} as timestamp), {_literal(zone)}) "
        f"when {text} rlike '{local} ?[+-][0-9]{{2}}(:[0-9]{{2}})?$' then try_cast({text} as timestamp) "
        f"when {text} rlike '{local} ?[+-][0-9]{{4}}$' then try_cast({with_colon} as timestamp) end"
    )


def _by_format(text: str, form: str) -> str:
    return f"try_to_timestamp({text}, {_literal(form)})"


def _formatted_timestamp(text: str, form: str, zone: str) -> str:
    value = _by_format(text, form)
    has_offset = any(letter in form for letter in "XxZOVz")
    return value if has_offset else f"to_utc_timestamp({value}, {_literal(zone)})"


def _clocks(source: Source) -> list[SparkColumn]:
    event = time_sql(source.event_time, source.zone_of(source.event_time.column))
    known = (
        time_sql(source.known_time, source.zone_of(source.known_time.column)) if source.known_time else "cast(null as timestamp)"
    )
    return [F.expr(event).alias("_event_time"), F.expr(known).alias("_known_time")]


# ---- reasons


def _reasons(source: Source) -> SparkColumn:
    """Array of (rule, reason), without nulls; the reasons of a row that could not be read at all are that alone."""
    checks = [check for name, column in source.columns.items() for check in _column_checks(name, column, source)]
    checks.append(
        _check(
            f"_event_time < timestamp'{_YEARS[0]} 00:00:00' or _event_time >= timestamp'{_YEARS[1]} 00:00:00'",
            "event_time",
            _sentence("event time ", "cast(_event_time as string)", f" lies outside {_YEARS[0][:4]} to {int(_YEARS[1][:4]) - 1}"),
        )
    )
    checks += [
        _check(_breaks(rule, source), rule.name, _literal(f"{rule.name} does not hold: {rule.expr}")) for rule in source.rules
    ]
    unreadable = f"array({_reason(_literal('unreadable'), '_unreadable')})"
    return F.expr(f"if(_unreadable is not null, {unreadable}, array_compact(array({', '.join(checks)})))")


def _breaks(rule: RowRule, source: Source) -> str:
    types = {name: column.type for name, column in source.columns.items()}
    return f"not coalesce(({parse_condition(rule.expr, types, zone=source.zone).spark()}), false)"


def _column_checks(name: str, column: Column, source: Source) -> Iterator[str]:
    value, text, raw = _quoted(name), f"`_text_{name}`", f"`_raw_{name}`"
    times = [time.column for time in (source.event_time, source.known_time) if time]
    if column.required or name in (*source.key, *times, source.version):
        written = (
            _sentence(f"{name} is required and is '", raw, "'") if column.personal is None else _literal(f"{name} is required")
        )
        blank = f"coalesce(trim({raw}), '') = ''"
        yield _check(
            f"{text} is null", f"{name}.required", f"if({blank}, {_literal(f'{name} is required and empty')}, {written})"
        )
    shown = _literal("its value") if column.personal else _sentence("'", text, "'")
    if column.type != "string":
        wanted = f" is not {_EXAMPLES[column.type]}" + (f" or of the form {', '.join(column.formats)}" if column.formats else "")
        yield _check(
            f"{text} is not null and {value} is null",
            f"{name}.type",
            f"concat({_literal(name + ': ')}, {shown}, {_literal(wanted)})",
        )
    if column.values:
        allowed = ", ".join(_literal(item) for item in column.values)
        told = _literal(f" is not one of {', '.join(column.values)}")
        yield _check(f"{text} not in ({allowed})", f"{name}.values", f"concat({_literal(name + ': ')}, {shown}, {told})")
    for limit, sign, word in ((column.minimum, "<", "below the minimum"), (column.maximum, ">", "above the maximum")):
        if limit is not None:
            told = _literal(f" is {word} {limit:f}")
            rule = f"{name}.{'minimum' if sign == '<' else 'maximum'}"
            yield _check(f"{value} {sign} {limit:f}", rule, f"concat({_literal(name + ': ')}, {shown}, {told})")


def _check(condition: str, rule: str, reason: str) -> str:
    return f"if({condition}, {_reason(_literal(rule), reason)}, null)"


def _reason(rule: str, reason: str) -> str:
    return f"named_struct('rule', {rule}, 'reason', {reason})"


def _sentence(before: str, value: str, after: str) -> str:
    return f"concat({_literal(before)}, substr({value}, 1, {_LONGEST_VALUE}), {_literal(after)})"


def _rounded(money: Sequence[str]) -> SparkColumn:
    counts = [f"if(`_exact_{name}` <> {_quoted(name)}, 1, 0)" for name in money]
    return F.expr(" + ".join(f"coalesce({count}, 0)" for count in counts) or "0")


# ---- what a row is shown as, and known by


def _row(source: Source) -> SparkColumn:
    """JSON of the row's text without personal columns; of an unreadable row its text, unless the source has personal data."""
    shown = [name for name, column in source.columns.items() if column.personal is None]
    fields = ", ".join(f"{_literal(name)}, `_raw_{name}`" for name in shown)
    of_columns = f"to_json(named_struct({fields}))" if fields else "'{}'"
    is_personal = any(column.personal for column in source.columns.values())
    unreadable = "null" if is_personal else "to_json(named_struct('_raw', _raw))"
    return F.expr(f"case when _unreadable is not null then {unreadable} when size(_reasons) > 0 then {of_columns} end")


def key_text(source: Source) -> SparkColumn:
    """The key as `account_id=A1, period=2025-06-01`; what could not be typed as it is written, personal text left out."""
    parts = []
    for name in source.key:
        column = source.columns[name]
        typed = f"cast({_quoted(name)} as string)"
        written = {None: f"coalesce({typed}, `_text_{name}`)", "hmac": typed}.get(column.personal, "null")
        parts.append(f"concat({_literal(name + '=')}, coalesce({written}, ''))")
    return F.expr(f"if(size(_reasons) > 0, concat_ws(', ', {', '.join(parts)}), null)")


def _row_hash(kept: Sequence[str], source: Source) -> SparkColumn:
    """128 bits of SHA-256, in hex, over the typed columns that are kept; null differs from empty."""
    values = []
    for name in kept:
        value = _quoted(name)
        text = (
            f"cast(unix_micros({value}) as string)"
            if source.columns[name].type == "timestamp" and _is_typed(name, source)
            else value
        )
        values.append(f"coalesce(cast({text} as string), '\\u0000')")
    return F.expr(f"substr(sha2(concat_ws('\\u001f', {', '.join(values)}), 256), 1, 32)")


def _is_typed(name: str, source: Source) -> bool:
    return source.columns[name].personal != "hmac"


def _masked(name: str, column: Column, key: bytes | None) -> SparkColumn:
    value = F.col(_quoted(name))
    if column.personal != "hmac":
        return value
    if key is None:
        raise ValueError(f"'{name}' is personal data to be hashed, and there is no key")

    # A Python function keeps the key out of Spark's plans, which end up in logs.
    def keyed_hash(text: str | None) -> str | None:
        return None if text is None else hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    return F.udf(keyed_hash, "string")(value.cast("string")).alias(name)


def _quoted(name: str) -> str:
    return f"`{name}`"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
