"""DuckDB over raw files: conditional aggregates in one pass, distinct providers as a bit mask."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from bench.engines.raw_peer import RawPeer, files_of, window_end, window_start
from bench.question import COLUMNS, ENTITY, LONGEST, MICROSECONDS_A_DAY, WINDOWS, column

if TYPE_CHECKING:
    import duckdb

_HELD = {
    "n": "count(*)",
    "s": "sum_no_overflow(amount)",
    "q": "sum_no_overflow(amount * amount)",
    "low": "min(amount)",
    "high": "max(amount)",
    "mask": "bit_or(bit)",
    "late": "count(*)",
    "late_s": "sum_no_overflow(amount)",
    "last": "max(day)",
    "due": "max(days_past_due)",
    "d": "sum_no_overflow(day)",
    "dd": "sum_no_overflow(day * day)",
    "ds": "sum_no_overflow(day * amount)",
}


class DuckDB(RawPeer):
    """One SELECT with FILTER over the files of the last 365 days."""

    name = "DuckDB"
    tuning = (
        "one aggregation with FILTER over 64-bit sums, distinct providers as a bit mask of an enum (the providers are known "
        "beforehand); every core, no order kept; the result becomes an Arrow table in memory."
    )

    def open(self) -> None:
        import duckdb

        self.connection: duckdb.DuckDBPyConnection = duckdb.connect(
            config={
                "threads": os.cpu_count() or 1,
                "preserve_insertion_order": False,
                "memory_limit": "8GB",
                "temp_directory": str(self.work / "spill"),
            }
        )
        self.connection.execute("set enable_progress_bar_print = false")
        self.connection.execute("set timezone = 'UTC'")
        self._knows_providers = False

    def snapshot(self, day: date, rows: Path | None = None) -> None:
        """Days are counted from the first one of the longest window."""
        self._learn_providers()
        first, end = window_start(day, LONGEST), window_end(day)
        events = f"""
            select customer_id, amount, is_late, days_past_due, 1::bigint << enum_code(provider::provider) as bit,
                   (epoch_us(occurred_at) - {first}) // {MICROSECONDS_A_DAY} as day
            from read_parquet({files_of(self.files, day)})
            where occurred_at >= make_timestamptz({first}) and occurred_at < make_timestamptz({end})
        """
        held = _held({window: f"day >= {LONGEST - window}" for window in WINDOWS})
        sums = f"select {ENTITY}, {held} from ({events}) group by {ENTITY}"
        self._finish(f"select {ENTITY}, '{day}' as as_of, {_answers(str(LONGEST - 1))} from ({sums})", rows)

    def labels(self, labels: Path, rows: Path | None = None) -> None:
        """Joined on the entity, then the same a label; days are counted from the label's last one back, so they are negative."""
        self._learn_providers()
        joined = f"""
            select customer_id, label_time, amount, is_late, days_past_due, 1::bigint << enum_code(provider::provider) as bit,
                   epoch_us(occurred_at) // {MICROSECONDS_A_DAY} - (epoch_us(label_time) - 1) // {MICROSECONDS_A_DAY} as day
            from read_parquet({self.files}) events join read_parquet('{labels}') labels using (customer_id)
            where occurred_at < label_time and day > -{LONGEST}
        """
        held = _held({window: f"day > -{window}" for window in WINDOWS})
        sums = f"select {ENTITY}, label_time, {held} from ({joined}) group by {ENTITY}, label_time"
        self._finish(f"select {ENTITY}, label_time, {_answers('0')} from ({sums})", rows)

    def close(self) -> None:
        self.connection.close()

    def _learn_providers(self) -> None:
        if not self._knows_providers:
            self.connection.execute(
                f"create type provider as enum (select distinct provider from read_parquet({self.files}) order by 1)"
            )
            self._knows_providers = True

    def _finish(self, query: str, rows: Path | None) -> None:
        if rows is None:
            self.connection.sql(query).to_arrow_table()
            return
        rows.mkdir(parents=True)
        columns = ", ".join(COLUMNS)
        key = "label_time" if "label_time," in query else "as_of"
        self.connection.execute(f"copy (select {ENTITY}, {key}, {columns} from ({query})) to '{rows}/rows.parquet'")


def _held(inside: dict[int, str]) -> str:
    """What is held of each window: `inside` says which events are."""
    return ", ".join(
        f"{sql} filter (where {'is_late and ' if name.startswith('late') else ''}{condition}) as {name}_{window}"
        for window, condition in inside.items()
        for name, sql in _HELD.items()
    )


def _answers(today: str) -> str:
    """The features from what is held; `today`: the number of the last day."""
    answers = {
        "event_count": "n_W",
        "amount_sum": "coalesce(s_W, 0)",
        "amount_mean": "s_W / n_W",
        "amount_min": "low_W",
        "amount_max": "high_W",
        "amount_std": "case when n_W > 1 then sqrt((q_W - s_W * (s_W / n_W)) / (n_W - 1)) end",
        "provider_count": "coalesce(bit_count(mask_W), 0)",
        "late_ratio": "case when n_W > 0 then late_W / n_W end",
        "days_since_last": f"{today} - last_W",
        "days_past_due_max": "due_W",
        "amount_slope": "case when n_W > 2 and n_W * dd_W > d_W * d_W "
        "then (n_W * ds_W - d_W * s_W) / (n_W * dd_W - d_W * d_W) end",
        "late_amount_sum": "coalesce(late_s_W, 0)",
    }
    return ", ".join(
        f"{sql.replace('_W', f'_{window}')} as {column(name, window)}" for window in WINDOWS for name, sql in answers.items()
    )
