"""What engines share that read the raw files each time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from bench.data import microseconds
from bench.question import LONGEST


class RawPeer(ABC):
    """An engine over raw files: nothing to prepare, and a backfill is a loop over days."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.files: list[str] = []

    def prepare(self, events: Sequence[Path]) -> None:
        self.files += [str(file) for file in events]

    def daily(self, events: Sequence[Path]) -> None:
        self.prepare(events)

    @abstractmethod
    def snapshot(self, day: date, rows: Path | None = None) -> None: ...

    def backfill(self, days: Sequence[date], rows: Path | None = None) -> None:
        for day in days:
            self.snapshot(day, None if rows is None else rows / f"as_of_{day}")

    def forget(self) -> None:  # noqa: B027 - for whoever keeps nothing
        """Nothing is kept."""


def files_of(files: Sequence[str], day: date) -> list[str]:
    """The files that may hold events of the longest window to a day: each is named after the day on which it begins."""
    begins = [Path(file).stem.removeprefix("events-") for file in files]
    first = (day - timedelta(days=LONGEST - 1)).isoformat()
    ends = [*begins[1:], "9999"]
    return [file for file, begin, end in zip(files, begins, ends, strict=True) if end > first and begin <= day.isoformat()]


def window_start(day: date, window: int) -> int:
    """The microsecond at which a window of so many days that ends with a day begins."""
    return microseconds(day - timedelta(days=window - 1))


def window_end(day: date) -> int:
    """The microsecond at which it ends, exclusive."""
    return microseconds(day + timedelta(days=1))
