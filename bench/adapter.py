"""What the bench knows of an engine. Another engine is put beside ours by one class with these methods."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Protocol


class Engine(Protocol):
    """One way to compute the sixty features of question.py. It lives in a process of its own, whose CPU seconds are taken.

    `rows`: a folder for the answer as Parquet, the entity, `as_of` or `label_time`, and the columns; None: it is computed and
    dropped, if the engine can. A method that no measurement calls may be missing. Events come as Parquet files in time order; see
    data.py.
    """

    name: str
    tuning: str
    """What its best user does to make it fast, in one sentence."""

    def open(self) -> None:
        """Start what it runs on. Never timed."""

    def prepare(self, events: Sequence[Path]) -> None:
        """Take in all events so far, and do whatever pays before a day is asked for."""

    def daily(self, events: Sequence[Path]) -> None:
        """Take in what came since."""

    def snapshot(self, day: date, rows: Path | None = None) -> None:
        """The features of every entity as of a day. Asked again, it is computed again."""

    def backfill(self, days: Sequence[date], rows: Path | None = None) -> None:
        """The same as of many days."""

    def labels(self, labels: Path, rows: Path | None = None) -> None:
        """The features of each label's entity, of what happened before the label's time, to the microsecond."""

    def forget(self) -> None:
        """Drop what was answered, so that the same may be asked again. Never timed."""

    def close(self) -> None:
        """End what was started."""
