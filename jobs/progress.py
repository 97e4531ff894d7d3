"""What a person sees while a job works: steps and counts on a terminal, nothing where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Step:
    """One step under way."""

    def __init__(self, bars: Bars | None, title: str, total: int | None) -> None:
        self._bars = bars
        self._task = bars.add_task(title, total=total, note="") if bars else None

    def advance(self, count: int = 1, note: str = "") -> None:
        """So much more is done; `note` is shown behind the bar."""
        if self._bars and self._task is not None:
            self._bars.update(self._task, advance=count, note=note)

    def finish(self, note: str = "") -> None:
        if self._bars and self._task is not None:
            task = next(t for t in self._bars.tasks if t.id == self._task)
            self._bars.update(self._task, completed=task.total or 1, total=task.total or 1, note=note or task.fields["note"])


class Progress:
    """Steps of a job, each a line with a bar, on a terminal; quiet otherwise."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.console = Console(file=stream)
        self._bars: Bars | None = None

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            columns = (
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn("{task.description}"),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
            )
            self._bars = Bars(*columns, console=self.console)
            self._bars.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._bars:
            self._bars.stop()

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Step]:
        """A step; finished when the block ends without an error."""
        step = Step(self._bars, title, total)
        yield step
        step.finish()
