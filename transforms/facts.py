"""Curated rows -> facts: entity, at, valid from and until, values; in buckets of entities. The two clocks meet here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from conf.specs import Source
from transforms.calendar import FOREVER
from transforms.conform import curated_columns
from transforms.feature_group import Clock, FactValue, Settlement, Stream

Clocks = Mapping[Clock, tuple[FactValue, ...]]
_STORED_TYPES = {"string": "string", "number": "double", "boolean": "boolean"} | dict.fromkeys(
    ("integer", "money", "date", "timestamp"), "bigint"
)
FOREVER_SQL = f"{int(FOREVER)}L"
ORDER = ("clock", "entity", "at", "known")  # and then the primary key


_DATA_TYPES: Mapping[str, DataType] = {
    "string": StringType(),
    "bigint": LongType(),
    "double": DoubleType(),
    "decimal(18,2)": DecimalType(18, 2),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
}


def curated_schema(source: Source) -> StructType:
    """The columns of a curated table, for a source of which nothing has come yet."""
    return StructType([StructField(name, _DATA_TYPES[type_]) for name, type_ in curated_columns(source).items()])


def key_columns(source: Source) -> list[str]:
    """How facts call the primary key's columns, by which ties are broken."""
    return [f"key_{number}" for number in range(len(source.key))]


def prepare(stream: Stream, curated: Mapping[str, DataFrame], sources: Mapping[str, Source], *, bucket_bits: int) -> DataFrame:
    """Facts of a stream, on all its clocks.

    Rows in: curated rows of the stream's sources, every version. Rows out: one a fact and span of time in which its values
    hold: `bucket` int, `clock`, `entity`, `at`, `known`, `valid_from`, `valid_until` (int64 microseconds UTC; a fact holds for
    `valid_from <= T < valid_until`), `key` (hash of the primary key), the primary key, and the values of each clock (null on
    other clocks): money in cents, dates in days, timestamps in microseconds. Rows without an entity or any value are left out.
    """
    source = sources[stream.source]
    rows = versions(curated[stream.source], source)
    if stream.via:
        rows = _bring_entity(rows, versions(curated[stream.via], sources[stream.via]), sources[stream.via], stream.entity)
    rows = rows.where(F.expr(stream.entity_sql.spark).isNotNull())
    settled = None
    if stream.settlement:
        child = sources[stream.settlement.source]
        settled = _attach_children(rows, versions(curated[child.name], child), child, stream.settlement)
    whole: list[DataFrame] = []
    spans: list[DataFrame] = []
    for (masks, settles), clocks in _by_span(stream.clocks).items():
        on = settled if settles and settled is not None else rows
        cut = _cut(on, source, masks, settles=settles)
        is_cut = source.version or masks or settles or stream.via
        (spans if is_cut else whole).append(_facts_on(clocks, cut, source, stream))
    parts = [_union(whole)] if whole else []
    if spans:
        parts.append(_join_facts(_union(spans), stream, source))
    facts = _union(parts).withColumnsRenamed({"_from": "valid_from", "_until": "valid_until"})
    return facts.select(bucket_of(bucket_bits).alias("bucket"), "*")


def bucket_of(bits: int) -> Column:
    """The bucket of `entity`: the high bits of its hash, so that twice as many buckets split each in two."""
    # Never a literal: Spark would drop it from the sort, and the writer sort again by it, in another order of rows.
    hashed = f"shiftrightunsigned(xxhash64(entity), {64 - bits})" if bits else "pmod(xxhash64(entity), 1)"
    return F.expr(f"cast({hashed} as int)")


def versions(curated: DataFrame, source: Source) -> DataFrame:
    """Adds since when (`_from`) and until when (`_until`) each version is the one that counts.

    Rows in: one per key and version. Rows out: those that ever count. A version counts from the first T with
    `event_time < T` and `known_time <= T + grace`, until a greater version counts.
    """
    grace = int(source.grace.total_seconds() * 1_000_000)
    since = F.greatest(F.unix_micros("_event_time") + 1, F.unix_micros("_known_time") - grace)
    rows = curated.withColumn("_from", since)
    if source.version is None:
        return rows.withColumn("_until", F.expr(FOREVER_SQL))
    later = (
        Window.partitionBy(*source.key).orderBy(F.col(source.version).asc_nulls_first()).rowsBetween(1, Window.unboundedFollowing)
    )
    until = F.coalesce(F.min("_from").over(later), F.expr(FOREVER_SQL))
    return rows.withColumn("_until", until).where("_from < _until")


def _bring_entity(rows: DataFrame, parents: DataFrame, parent: Source, entity: str) -> DataFrame:
    """Joins the entity from the parent's version that counts.

    Rows out: one per row and span in which its parent names one entity; rows without a parent are left out.
    """
    spans = _join_spans(
        parents.select(*parent.key, F.col(entity).alias("_entity"), "_from", "_until"), by=[*parent.key], same=[F.col("_entity")]
    ).select(*parent.key, "_entity", F.col("_from").alias("_parent_from"), F.col("_until").alias("_parent_until"))
    joined = rows.join(spans, on=[*parent.key], how="inner")
    return (
        joined.withColumn("_from", F.greatest("_from", "_parent_from"))
        .withColumn("_until", F.least("_until", "_parent_until"))
        .where("_from < _until")
        .drop("_parent_from", "_parent_until")
    )


def _attach_children(rows: DataFrame, children: DataFrame, child: Source, settlement: Settlement) -> DataFrame:
    """Adds `_children`, the child rows of each row, oldest first, with the span in which each counts. Row count unchanged."""
    spans = _masked(children, child, settlement.masks, [])
    one = F.struct(
        F.unix_micros("_event_time").alias("event"),
        F.coalesce(F.unix_micros("_known_time"), F.unix_micros("_event_time")).alias("known"),
        F.struct(*child.key).alias("key"),
        F.expr(f"cast(({settlement.amount.spark}) as decimal(28,2))").alias("amount"),
        F.col("_from").alias("from"),
        F.col("_until").alias("until"),
    )
    names = [f"_on_{number}" for number in range(len(settlement.on))]
    grouped = (
        spans.where(F.expr(settlement.where.spark if settlement.where else "true"))
        .select(*(F.col(column).alias(name) for name, (column, _) in zip(names, settlement.on, strict=True)), one.alias("_child"))
        .groupBy(*names)
        .agg(F.array_sort(F.collect_list("_child")).alias("_children"))
    )
    keyed = rows.select("*", *(F.expr(sql.spark).alias(name) for name, (_, sql) in zip(names, settlement.on, strict=True)))
    return keyed.join(grouped, on=names, how="left").withColumn(
        "_due", F.expr(f"cast(({settlement.due.spark}) as decimal(28,2))")
    )


def _by_span(clocks: Clocks) -> Mapping[tuple[tuple[str, ...], bool], Clocks]:
    """The clocks whose rows are cut at the same moments, together: they are cut once."""
    groups: dict[tuple[tuple[str, ...], bool], dict[Clock, tuple[FactValue, ...]]] = {}
    for clock, values in clocks.items():
        groups.setdefault((clock.masks, clock.settles), {})[clock] = values
    return groups


def _cut(rows: DataFrame, source: Source, masks: Sequence[str], *, settles: bool) -> DataFrame:
    """Rows out: one per row and span between the moments at which a mask passes or a child comes or goes."""
    if not settles:
        return _masked(rows, source, masks, [])
    moments = "flatten(transform(_children, c -> array(c.from, c.until)))"
    return _settle(_masked(rows, source, masks, [f"coalesce({moments}, cast(array() as array<bigint>))"]))


def _facts_on(clocks: Clocks, spans: DataFrame, source: Source, stream: Stream) -> DataFrame:
    """Rows out: one per span and clock on which it counts at some time and has a value."""
    types = {value.name: _STORED_TYPES[value.type] for values in clocks.values() for value in values}
    on_clocks = []
    for clock, values in clocks.items():
        at = F.expr(clock.at.spark) if clock.at else F.col("_event_time")
        since, until = F.col("_from"), F.col("_until")
        if clock.from_:
            moment = F.unix_micros(F.expr(clock.from_.spark))
            since = F.when(moment.isNotNull(), F.greatest(since, moment + 1))
        if clock.until:
            until = F.least(until, F.unix_micros(F.expr(clock.until.spark)) + 1)
        kept = {value.name: _as_stored(value) for value in values}
        fact = F.struct(
            F.lit(clock.name).alias("clock"),
            F.unix_micros(at).alias("at"),
            since.alias("_from"),
            until.alias("_until"),
            *(kept.get(name, F.lit(None)).cast(type_).alias(name) for name, type_ in types.items()),
        )
        on_clocks.append(fact)
    keys = zip(source.key, key_columns(source), strict=True)
    facts = spans.select(
        F.expr(stream.entity_sql.spark).cast("string").alias("entity"),
        F.coalesce(F.unix_micros("_known_time"), F.unix_micros("_event_time")).alias("known"),
        F.xxhash64(*source.key).alias("key"),
        *(F.col(column).alias(name) for column, name in keys),
        F.explode(F.array(*on_clocks)).alias("_fact"),
    )
    some_value = reduce(lambda a, b: a | b, (F.col(name).isNotNull() for name in types))
    told = facts.select("*", "_fact.*").drop("_fact")
    return told.where(F.col("at").isNotNull() & F.col("_from").isNotNull() & (F.col("_from") < F.col("_until")) & some_value)


def _union(parts: Sequence[DataFrame]) -> DataFrame:
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)


def _join_facts(facts: DataFrame, stream: Stream, source: Source) -> DataFrame:
    """Joins the spans of one fact in which its values are the same; and its known time, where that breaks ties."""
    names = sorted({value.name for values in stream.clocks.values() for value in values} & set(facts.columns))
    ordered = [clock.name for clock, values in stream.clocks.items() if any(value.ordered for value in values)]
    tie = F.when(F.col("clock").isin(ordered), F.col("known")).alias("known")
    by = ["clock", "entity", "at", "key", *key_columns(source)]
    return _join_spans(facts, by=by, same=[*(F.col(name) for name in names), tie])


def _masked(rows: DataFrame, source: Source, masks: Sequence[str], boundaries: Sequence[str]) -> DataFrame:
    """Splits rows where a mutable timestamp passes, and blanks it and what it settles until then.

    Rows out: one per row and span between `boundaries` (SQL of arrays of instants) and the masks' own.
    """
    if not masks and not boundaries:
        return rows
    own = ", ".join(f"unix_micros(`{name}`) + 1" for name in masks)
    arrays = [f"array({own})"] if masks else []
    inside = f"filter(concat({', '.join([*arrays, *boundaries])}), x -> x is not null and x > _from and x < _until)"
    cut = rows.withColumn("_cuts", F.expr(f"array_sort(array_distinct(concat(array(_from), {inside})))"))
    spans = cut.select("*", F.posexplode("_cuts").alias("_place", "_since"))
    visible = {}
    for name in masks:
        for column in (name, *source.mutable[name]):
            visible[column] = F.when(F.unix_micros(name) < F.col("_since"), F.col(column))
    kept = [
        visible[name].alias(name) if name in visible else F.col(name) for name in rows.columns if name not in ("_from", "_until")
    ]
    ends = F.coalesce(F.expr("get(_cuts, _place + 1)"), F.col("_until"))
    return spans.select(*kept, F.col("_since").alias("_from"), ends.alias("_until"))


def _settle(spans: DataFrame) -> DataFrame:
    """`paid_amount`, `paid_at` and `last_paid_at` from the children that count in each span."""
    known = F.expr("filter(_children, c -> c.from <= _from and _from < c.until)")
    start = "named_struct('total', cast(0 as decimal(28,2)), 'reached', cast(null as bigint), 'last', cast(null as bigint))"
    total = "cast(a.total + coalesce(c.amount, 0) as decimal(28,2))"
    step = (
        f"named_struct('total', {total}, 'reached', coalesce(a.reached, case when {total} >= _due then c.event end), "
        "'last', greatest(a.last, c.event))"
    )
    paid = F.expr(f"aggregate(_known, {start}, (a, c) -> {step})")
    return (
        spans.withColumn("_known", known)
        .withColumn("_paid", paid)
        .withColumn("paid_amount", F.coalesce(F.col("_paid.total"), F.lit(0)).cast("decimal(18,2)"))
        .withColumn("paid_at", F.timestamp_micros("_paid.reached"))
        .withColumn("last_paid_at", F.timestamp_micros("_paid.last"))
        .drop("_known", "_paid")
    )


def _join_spans(rows: DataFrame, *, by: Sequence[str], same: Sequence[Column]) -> DataFrame:
    """Joins spans that follow one another without a gap and say the same. Rows out: at most as many; columns unchanged."""
    ordered = Window.partitionBy(*by).orderBy("_from")
    told = F.struct(*same)
    begins = ~(F.lag("_until").over(ordered).eqNullSafe(F.col("_from")) & F.lag(told).over(ordered).eqNullSafe(told))
    numbered = rows.withColumn("_begins", begins.cast("int")).withColumn("_run", F.sum("_begins").over(ordered))
    others = [name for name in rows.columns if name not in ("_from", "_until", *by)]
    joined = numbered.groupBy(*by, "_run").agg(
        *(F.first(name).alias(name) for name in others), F.min("_from").alias("_from"), F.max("_until").alias("_until")
    )
    return joined.select(*rows.columns)


def _as_stored(value: FactValue) -> Column:
    sql = F.expr(value.sql.spark)
    match value.type:
        case "money":
            return (F.round(sql, 2) * 100).cast("bigint")
        case "date":
            return F.unix_date(sql).cast("bigint")
        case "timestamp":
            return F.unix_micros(sql)
        case "number":
            return F.when(~F.isnan(sql), sql)
        case _:
            return sql


def affected_keys(
    stream: Stream, curated: Mapping[str, DataFrame], sources: Mapping[str, Source], new_runs: Mapping[str, Sequence[str]]
) -> DataFrame:
    """The primary keys whose facts may differ because of rows that these runs took in, per source.

    Rows out: one per key, with `_known_before`: whether the key had rows before, so that earlier facts of it are replaced.
    """
    source = sources[stream.source]
    own = curated[stream.source]
    fresh = F.col("_run").isin(list(new_runs.get(stream.source, ())))
    parts = [own.where(fresh).select(*source.key)]
    if stream.via and new_runs.get(stream.via):
        parents = curated[stream.via].where(F.col("_run").isin(list(new_runs[stream.via]))).select(*sources[stream.via].key)
        parts.append(own.join(parents.distinct(), on=list(sources[stream.via].key), how="left_semi").select(*source.key))
    if stream.settlement and new_runs.get(stream.settlement.source):
        names = [f"_on_{number}" for number in range(len(stream.settlement.on))]
        children = curated[stream.settlement.source].where(F.col("_run").isin(list(new_runs[stream.settlement.source])))
        parents = children.select(*(F.col(c).alias(n) for n, (c, _) in zip(names, stream.settlement.on, strict=True))).distinct()
        keyed = own.select(
            *source.key, *(F.expr(sql.spark).alias(n) for n, (_, sql) in zip(names, stream.settlement.on, strict=True))
        )
        parts.append(keyed.join(F.broadcast(parents), on=names, how="left_semi").select(*source.key))
    affected = reduce(lambda a, b: a.unionByName(b), parts).distinct()
    before = own.where(~fresh).join(F.broadcast(affected), on=list(source.key), how="left_semi").select(*source.key).distinct()
    return affected.join(before.withColumn("_before", F.lit(True)), on=list(source.key), how="left").select(
        *source.key, F.coalesce("_before", F.lit(False)).alias("_known_before")
    )
