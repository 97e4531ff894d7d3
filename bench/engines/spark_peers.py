"""PySpark over raw files: one filtered groupBy a window, joined; and all windows in one pass of conditional aggregates."""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from bench.engines.raw_peer import RawPeer, files_of
from bench.question import COLUMNS, ENTITY, LONGEST, WINDOWS, column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "6g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -Duser.timezone=UTC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.codegen.maxFields": "400",
}


class SparkPeer(RawPeer):
    """A Spark session of its own over the raw files."""

    def open(self) -> None:
        import os
        import sys

        from pyspark.sql import SparkSession

        from jobs.java import find_java_home

        os.environ["JAVA_HOME"] = str(find_java_home())
        os.environ["PYSPARK_PYTHON"] = sys.executable
        builder = SparkSession.builder.master("local[*]").appName("bench")
        for key, value in _SETTINGS.items():
            builder = builder.config(key, value)
        self.spark: SparkSession = builder.getOrCreate()
        self.spark.sparkContext.setLogLevel("ERROR")

    def close(self) -> None:
        self.spark.stop()

    def shuffle_and_sort(self) -> None:
        """What preparing can't do without: every event read, shuffled to its entity and sorted by time."""
        events = self.spark.read.parquet(*self.files)
        spread = events.repartition(8, ENTITY).sortWithinPartitions(ENTITY, "occurred_at", "event_id")
        spread.write.format("noop").mode("overwrite").save()

    def _events(self, day: date) -> DataFrame:
        """The events of the longest window, and the number of their day counted back from the as-of day."""
        from pyspark.sql import functions as F

        first, following = day - timedelta(days=LONGEST - 1), day + timedelta(days=1)
        events = self.spark.read.parquet(*files_of(self.files, day))
        inside = (F.col("occurred_at") >= F.lit(f"{first} 00:00:00")) & (F.col("occurred_at") < F.lit(f"{following} 00:00:00"))
        return events.where(inside).withColumn("age", F.datediff(F.lit(str(day)), F.col("occurred_at").cast("date")))

    def _finish(self, answer: DataFrame, key: str, rows: Path | None) -> None:
        """Rows to Parquet, or computed and dropped."""
        if rows is None:
            answer.write.format("noop").mode("overwrite").save()
        else:
            answer.select(ENTITY, key, *COLUMNS).write.mode("overwrite").parquet(str(rows))


class NaiveSpark(SparkPeer):
    """One filtered groupBy a window, joined on the entity, with the functions that the documentation offers."""

    name = "naive PySpark"
    tuning = (
        "a filtered groupBy for each window with countDistinct, stddev_samp and regr_slope, joined; only the files of the last "
        "365 days are read, into a no-op sink; ParallelGC, AQE, 8 shuffle partitions."
    )

    def snapshot(self, day: date, rows: Path | None = None) -> None:
        from pyspark.sql import functions as F

        events = self._events(day)
        parts = [self._window(events, window) for window in sorted(WINDOWS, reverse=True)]
        joined = reduce(lambda left, right: left.join(right, ENTITY, "left"), parts)
        empty: dict[str, bool | float | int | str] = {column(name, window): 0 for window in WINDOWS for name in _COUNTS}
        self._finish(joined.fillna(empty).withColumn("as_of", F.lit(str(day))), "as_of", rows)

    def _window(self, events: DataFrame, window: int) -> DataFrame:
        from pyspark.sql import functions as F

        late = F.col("is_late")
        count = F.count("*")
        answers = {
            "event_count": count,
            "amount_sum": F.sum("amount"),
            "amount_mean": F.avg("amount"),
            "amount_min": F.min("amount"),
            "amount_max": F.max("amount"),
            "amount_std": F.stddev_samp("amount"),
            "provider_count": F.countDistinct("provider"),
            "late_ratio": F.avg(late.cast("int")),
            "days_since_last": F.min("age"),
            "days_past_due_max": F.max("days_past_due"),
            "amount_slope": F.when(count > 2, F.regr_slope(F.col("amount"), -F.col("age"))),
            "late_amount_sum": F.coalesce(F.sum(F.when(late, F.col("amount"))), F.lit(0)),
        }
        inside = events.where(F.col("age") < window)
        return inside.groupBy(ENTITY).agg(*(told.alias(column(name, window)) for name, told in answers.items()))


class OnePassSpark(SparkPeer):
    """All windows in one pass: conditional sums of whole numbers, quotients at the end."""

    name = "one-pass PySpark"
    tuning = (
        "one groupBy with FILTER (WHERE ..) over whole numbers, distinct providers as a bit mask (the providers are known "
        "beforehand), quotients once an entity; wide aggregates kept in generated code; otherwise as naive PySpark."
    )

    def open(self) -> None:
        super().open()
        self.bits: dict[str, int] = {}

    def snapshot(self, day: date, rows: Path | None = None) -> None:
        from pyspark.sql import functions as F

        events = self._with_bit(self._events(day)).withColumn("day", LONGEST - F.col("age"))
        held = {
            f"{name}_{window}": F.expr(f"{sql} filter (where {_and(where)}age < {window})")
            for window in WINDOWS
            for name, (sql, where) in HELD.items()
        }
        sums = events.groupBy(ENTITY).agg(*(told.alias(name) for name, told in held.items()))
        self._finish(sums.select(ENTITY, F.lit(str(day)).alias("as_of"), *answers()), "as_of", rows)

    def labels(self, labels: Path, rows: Path | None = None) -> None:
        """Joined on the entity, then the same conditional aggregates a label."""
        from pyspark.sql import functions as F

        of_label = self.spark.read.parquet(str(labels)).select(ENTITY, "label_time")
        # A window ends at the label and begins with a midnight: its last day is that of the microsecond before.
        last_day = F.to_date(F.col("label_time") - F.expr("interval 1 microsecond"))
        of_label = of_label.withColumn("last_day", last_day)
        joined = self._with_bit(self.spark.read.parquet(*self.files)).join(of_label, ENTITY)
        age = F.datediff(F.col("last_day"), F.col("occurred_at").cast("date"))
        inside = joined.where(F.col("occurred_at") < F.col("label_time")).withColumn("age", age).where(F.col("age") < LONGEST)
        held = {
            f"{name}_{window}": F.expr(f"{sql} filter (where {_and(where)}age < {window})")
            for window in WINDOWS
            for name, (sql, where) in HELD.items()
        }
        inside = inside.withColumn("day", LONGEST - F.col("age"))
        sums = inside.groupBy(ENTITY, "label_time").agg(*(told.alias(name) for name, told in held.items()))
        self._finish(sums.select(ENTITY, "label_time", *answers()), "label_time", rows)

    def _with_bit(self, events: DataFrame) -> DataFrame:
        """Each provider's bit of a mask."""
        from pyspark.sql import functions as F

        if not self.bits:
            found = events.select("provider").distinct().collect()
            self.bits = {row["provider"]: 1 << number for number, row in enumerate(found)}
        listed = ", ".join(f"('{provider}', {bit}L)" for provider, bit in self.bits.items())
        bits = self.spark.sql(f"select * from values {listed} as known(provider, bit)")
        return events.join(F.broadcast(bits), "provider")


_COUNTS = ("event_count", "amount_sum", "provider_count", "late_amount_sum")
HELD = {
    "n": ("count(1)", ""),
    "s": ("sum(amount)", ""),
    "q": ("sum(amount * amount)", ""),
    "low": ("min(amount)", ""),
    "high": ("max(amount)", ""),
    "mask": ("bit_or(bit)", ""),
    "late": ("count(1)", "is_late"),
    "late_s": ("sum(amount)", "is_late"),
    "last": ("max(day)", ""),
    "due": ("max(days_past_due)", ""),
    "d": ("sum(day)", ""),
    "dd": ("sum(day * day)", ""),
    "ds": ("sum(day * amount)", ""),
}
"""What is held of each window: the aggregate, and which events it is of."""


def _and(where: str) -> str:
    return f"{where} and " if where else ""


def answers() -> list[Column]:
    """The columns, from what is held of each window."""
    return [told.alias(column(name, window)) for window in WINDOWS for name, told in _answers(window).items()]


def _answers(window: int) -> dict[str, Column]:
    """The twelve features of a window, from what is held of it."""
    from pyspark.sql import functions as F

    def held(name: str) -> Column:
        return F.col(f"{name}_{window}")

    n, s, d = held("n"), held("s"), held("d")
    spread = n * held("dd") - d * d
    return {
        "event_count": n,
        "amount_sum": F.coalesce(s, F.lit(0)),
        "amount_mean": s / n,
        "amount_min": held("low"),
        "amount_max": held("high"),
        "amount_std": F.when(n > 1, F.sqrt((held("q") - s * (s / n)) / (n - 1))),
        "provider_count": F.coalesce(F.bit_count(held("mask")), F.lit(0)),
        "late_ratio": F.when(n > 0, held("late") / n),
        "days_since_last": F.lit(LONGEST) - held("last"),
        "days_past_due_max": held("due"),
        "amount_slope": F.when((n > 2) & (spread > 0), (n * held("ds") - d * s) / spread),
        "late_amount_sum": F.coalesce(held("late_s"), F.lit(0)),
    }
