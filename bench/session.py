"""An engine in a process of its own: called from here, its CPU seconds taken by the process tree."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.cpu import cpu_seconds, forget_peaks, peak_megabytes
from bench.engines import make


@dataclass(frozen=True)
class Cost:
    """What a call cost. `worker_peak`: megabytes, of the largest Python process that the engine started."""

    cpu: float
    wall: float
    worker_peak: float


class EngineError(Exception):
    """An engine raised; the message has its traceback."""


class Session:
    """An engine, opened. Its process ends with the block."""

    def __init__(self, engine: str, work: Path, conf: Path) -> None:
        self.engine = engine
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, engine, work, conf), daemon=False)
        self._process.start()
        theirs.close()
        self.call("open")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *problem: object) -> None:
        with suppress(OSError):
            self._pipe.send(None)
        self._process.join(60)
        if self._process.is_alive():
            self._process.terminate()

    def call(self, method: str, *arguments: Any, **named: Any) -> Cost:
        """Call a method of the engine and say what that cost. Raises: EngineError with what it raised."""
        root = self._process.pid
        assert root is not None
        forget_peaks(root)
        cpu, wall = cpu_seconds(root), time.monotonic()
        self._pipe.send((method, arguments, named))
        try:
            problem = self._pipe.recv()
        except EOFError:
            problem = "its process ended"
        cost = Cost(cpu_seconds(root) - cpu, time.monotonic() - wall, peak_megabytes(root, "python"))
        if problem:
            raise EngineError(f"{self.engine}: {method} failed:\n{problem}")
        return cost


def _serve(pipe: Connection, engine: str, work: Path, conf: Path) -> None:
    """Runs in the engine's process."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    made = make(engine, work, conf)
    while (asked := pipe.recv()) is not None:
        method, arguments, named = asked
        try:
            getattr(made, method)(*arguments, **named)
            pipe.send(None)
        except Exception:
            pipe.send(traceback.format_exc())
    made.close()
