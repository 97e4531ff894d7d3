"""A curated ledger as it was known at a cut-off: the version of each row that counts, mutable timestamps masked."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from conf.specs import Source


def as_of(curated: DataFrame, *, source: Source, cut_off: int) -> DataFrame:
    """The rows that count at T (`cut_off`: microseconds since 1970 UTC).

    Rows in: one per key and version. Rows out: at most one per key: the greatest version with `event_time < T` and
    `known_time <= T + grace`; of a mutable timestamp at or after T, it and what it settles read as null. Columns: the source's,
    those of dropped personal data aside, `_event_time` and `_known_time`.
    """
    grace = int(source.grace.total_seconds() * 1_000_000)
    known = F.coalesce(F.unix_micros("_known_time") <= cut_off + grace, F.lit(True))
    rows = curated.where((F.unix_micros("_event_time") < cut_off) & known)
    if source.version:
        newest = Window.partitionBy(*source.key).orderBy(F.col(source.version).desc_nulls_last())
        rows = rows.withColumn("_rank", F.row_number().over(newest)).where("_rank = 1")
    conditions: dict[str, list[str]] = {}
    for moment, settled in source.mutable.items():
        for column in dict.fromkeys((moment, *settled)):
            conditions.setdefault(column, []).append(moment)
    columns = [name for name, column in source.columns.items() if column.personal != "drop"]
    visible = [_visible(name, conditions.get(name, ()), cut_off) for name in columns]
    return rows.select(*visible, "_event_time", "_known_time")


def _visible(name: str, moments: list[str] | tuple[()], cut_off: int) -> Column:
    column = F.col(f"`{name}`")
    if not moments:
        return column
    passed = F.lit(True)
    for moment in moments:
        passed = passed & (F.unix_micros(F.col(f"`{moment}`")) < cut_off)
    return F.when(passed, column).alias(name)
