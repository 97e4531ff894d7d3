"""One row per key and version: which rows are new, known already, or in conflict with one that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

KEPT, DUPLICATE, CONFLICT, BAD = "kept", "duplicate", "conflict", "bad"


def classify(df: DataFrame, *, by: Sequence[str], known: DataFrame | None = None, few: bool = False) -> DataFrame:
    """Say of every row whether it is kept.

    Rows in: conformed ones, any number per `by` (key and version; nulls are equal to each other). Rows out: the same,
    with `_class`: `bad` when it has `_reasons`; of the others the first in (`_file`, `_line`) order is `kept` unless `known`
    has its key and version, and the rest are a `duplicate` when their `_row_hash` is that of the row known or kept, else a
    `conflict`, with a reason. `known`: rows kept before, each `by` once. `few`: the keys
    of `df` fit in memory, and spare sorting all that is known.
    """
    is_bad = F.size("_reasons") > 0
    # Bad rows take no part: each is on its own, so that many with an empty key are not one group.
    group = [F.col(f"`{name}`") for name in by] + [F.when(is_bad, F.xxhash64("_file", "_line"))]
    in_order = Window.partitionBy(*group).orderBy(
        F.asc_nulls_first("_file"), F.asc_nulls_first("_line"), F.asc_nulls_first("_row_hash")
    )
    so_far = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ranked = df.select(
        "*",
        F.row_number().over(in_order).alias("_rank"),
        F.first(F.struct("_row_hash", "_file", "_line")).over(so_far).alias("_new"),
    )
    if known is None:
        joined = ranked.withColumn("_old", F.lit(None).cast("struct<_row_hash:string,_file:string,_line:bigint>"))
    else:
        old = known.select(
            *(F.col(f"`{name}`").alias(f"_known_{number}") for number, name in enumerate(by)),
            F.struct("_row_hash", "_file", "_line").alias("_old"),
        )
        if few:
            keys = F.broadcast(
                df.select(*(F.col(f"`{name}`").alias(f"_new_{number}") for number, name in enumerate(by))).distinct()
            )
            wanted = [old[f"_known_{number}"].eqNullSafe(keys[f"_new_{number}"]) for number in range(len(by))]
            old = old.join(keys, on=wanted, how="left_semi")
        same = [ranked[f"`{name}`"].eqNullSafe(old[f"_known_{number}"]) for number, name in enumerate(by)]
        joined = ranked.join(old, on=same, how="left").drop(*(f"_known_{number}" for number in range(len(by))))
    first = F.coalesce("_old", "_new")
    kind = (
        F.when(is_bad, BAD)
        .when(F.col("_old").isNull() & (F.col("_rank") == 1), KEPT)
        .when(F.col("_row_hash") == first["_row_hash"], DUPLICATE)
        .otherwise(CONFLICT)
    )
    reason = F.concat(
        F.lit("its key and version are those of "), first["_file"], F.lit(" line "), first["_line"], F.lit(", with other content")
    )
    conflict = F.array(F.struct(F.lit("conflict").alias("rule"), reason.alias("reason")))
    return (
        joined.select("*", kind.alias("_class"))
        .withColumn("_reasons", F.when(F.col("_class") == CONFLICT, conflict).otherwise(F.col("_reasons")))
        .drop("_rank", "_new", "_old")
    )
