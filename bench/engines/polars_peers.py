"""Polars over raw files, two ways: filtered aggregates; and values set to zero outside their window, distinct in two levels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from bench.engines.raw_peer import RawPeer, files_of, window_end, window_start
from bench.question import COLUMNS, ENTITY, LONGEST, MICROSECONDS_A_DAY, WINDOWS, column

if TYPE_CHECKING:
    import polars as pl

_USED = ("customer_id", "occurred_at", "provider", "amount", "is_late", "days_past_due")


class PolarsPeer(RawPeer):
    """A lazy query over the files of the last 365 days, by the streaming engine."""

    def open(self) -> None:
        import polars

        polars.Config.set_engine_affinity("streaming")

    def close(self) -> None:
        """Nothing was started."""

    def snapshot(self, day: date, rows: Path | None = None) -> None:
        import polars as pl

        first, end = window_start(day, LONGEST), window_end(day)
        at = pl.col("occurred_at").to_physical()
        events = (
            pl.scan_parquet(files_of(self.files, day))
            .select(_USED)
            .filter((at >= first) & (at < end))
            .with_columns(day=(at - first) // MICROSECONDS_A_DAY - (LONGEST - 1))
        )
        self._finish(self._answer(events, [ENTITY]).with_columns(as_of=pl.lit(str(day))), "as_of", rows)

    def labels(self, labels: Path, rows: Path | None = None) -> None:
        """Joined on the entity, then the same a label."""
        import polars as pl

        at, moment = pl.col("occurred_at").to_physical(), pl.col("label_time").to_physical()
        of_label = pl.scan_parquet(labels).select(ENTITY, "label_time")
        joined = (
            pl.scan_parquet(self.files)
            .select(_USED)
            .join(of_label, on=ENTITY)
            .with_columns(day=at // MICROSECONDS_A_DAY - (moment - 1) // MICROSECONDS_A_DAY)
            .filter((at < moment) & (pl.col("day") > -LONGEST))
        )
        self._finish(self._answer(joined, [ENTITY, "label_time"]), "label_time", rows)

    @abstractmethod
    def _answer(self, events: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
        """The features of each of `by`; `day`: of an event, 0 the last one and negative before."""

    def _finish(self, answer: pl.LazyFrame, key: str, rows: Path | None) -> None:
        if rows is None:
            answer.collect(engine="streaming")
            return
        rows.mkdir(parents=True)
        answer.select(ENTITY, key, *COLUMNS).collect(engine="streaming").write_parquet(rows / "rows.parquet")


class PolarsFilters(PolarsPeer):
    """`filter` inside each aggregate, `n_unique` for distinct values."""

    name = "Polars, filters"
    tuning = "a lazy scan by the streaming engine; each aggregate filtered to its window, n_unique over a categorical."

    def _answer(self, events: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
        import polars as pl

        amount, day, late = pl.col("amount"), pl.col("day"), pl.col("is_late")
        held = []
        for window in WINDOWS:
            inside = day > -window
            told = {
                "n": inside.sum(),
                "s": amount.filter(inside).sum(),
                "q": (amount * amount).filter(inside).sum(),
                "low": amount.filter(inside).min(),
                "high": amount.filter(inside).max(),
                "different": pl.col("provider").filter(inside).n_unique(),
                "late": (late & inside).sum(),
                "late_s": amount.filter(inside & late).sum(),
                "last": day.filter(inside).max(),
                "due": pl.col("days_past_due").filter(inside).max(),
                "d": day.filter(inside).sum(),
                "dd": (day * day).filter(inside).sum(),
                "ds": (day * amount).filter(inside).sum(),
            }
            held += [expression.alias(f"{name}_{window}") for name, expression in told.items()]
        events = events.with_columns(pl.col("provider").cast(pl.Categorical))
        return events.group_by(by).agg(held).select(*by, *_answers())


class PolarsZeroFilled(PolarsPeer):
    """Sums of values that are zero outside their window, and distinct values by the last day of each."""

    name = "Polars, zero-filled"
    tuning = (
        "a lazy scan by the streaming engine; plain sums of products with 0 or 1, extremes over nulls, distinct providers by a "
        "first level of the last day of each (entity, provider)."
    )

    def _answer(self, events: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
        import polars as pl

        amount, day, late = pl.col("amount"), pl.col("day"), pl.col("is_late")
        inside = {window: pl.col(f"in_{window}") for window in WINDOWS}
        events = events.with_columns(
            *((day > -window).cast(pl.Int64).alias(f"in_{window}") for window in WINDOWS),
            square=amount * amount,
            day_square=day * day,
            day_amount=day * amount,
            late_one=late.cast(pl.Int64),
            late_amount=amount * late,
        )
        held = []
        for window, one in inside.items():
            within = one == 1
            sums = {
                "n": one,
                "s": amount * one,
                "q": pl.col("square") * one,
                "late": pl.col("late_one") * one,
                "late_s": pl.col("late_amount") * one,
                "d": day * one,
                "dd": pl.col("day_square") * one,
                "ds": pl.col("day_amount") * one,
            }
            held += [expression.sum().alias(f"{name}_{window}") for name, expression in sums.items()]
            held += [
                pl.when(within).then(amount).min().alias(f"low_{window}"),
                pl.when(within).then(amount).max().alias(f"high_{window}"),
                pl.when(within).then(day).max().alias(f"last_{window}"),
                pl.when(within).then(pl.col("days_past_due")).max().alias(f"due_{window}"),
            ]
        sums_of = events.group_by(by).agg(held)
        last = events.group_by(*by, "provider").agg(last_of_provider=day.max())
        counted = [(pl.col("last_of_provider") > -window).sum().alias(f"different_{window}") for window in WINDOWS]
        different = last.group_by(by).agg(counted)
        return sums_of.join(different, on=by).select(*by, *_answers())


def _answers() -> list[pl.Expr]:
    """The features from what is held of each window."""
    import polars as pl

    found = []
    for window in WINDOWS:
        held: Callable[[str], pl.Expr] = lambda name, window=window: pl.col(f"{name}_{window}").cast(pl.Int64)  # type: ignore[misc]  # noqa: E731
        n, s, d = held("n"), held("s"), held("d")
        spread = n * held("dd") - d * d
        some = n > 0
        told = {
            "event_count": n,
            "amount_sum": s,
            "amount_mean": pl.when(some).then(s / n),
            "amount_min": held("low"),
            "amount_max": held("high"),
            "amount_std": pl.when(n > 1).then(((held("q") - s * (s / n)) / (n - 1)).sqrt()),
            "provider_count": held("different"),
            "late_ratio": pl.when(some).then(held("late") / n),
            "days_since_last": -held("last"),
            "days_past_due_max": held("due"),
            "amount_slope": pl.when((n > 2) & (spread > 0)).then((n * held("ds") - d * s) / spread),
            "late_amount_sum": held("late_s"),
        }
        found += [expression.alias(column(name, window)) for name, expression in told.items()]
    return found
