"""How a job ends: its exit code, a message for a person on stderr, and one JSON object as the last line of stdout."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from conf.errors import EtrError, HeldBack
from jobs.arguments import JobParser

Status = Literal["succeeded", "held_back", "failed"]
HELD_BACK = 3
INTERRUPTED = 130


@dataclass(frozen=True)
class Summary:
    """What a run did. `counts`: of the whole run; `tables`: what happened to each, by its name.

    `answer`: what a person or a script asked for, at the top of the JSON.
    """

    job: str
    run_id: str
    status: Status = "succeeded"
    counts: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, seconds: float) -> str:
        """One line of JSON; `error` only where there is one."""
        told: dict[str, Any] = {
            "job": self.job,
            "status": self.status,
            "run_id": self.run_id,
            "counts": dict(self.counts),
            "seconds": round(seconds, 3),
            "tables": dict(self.tables),
            **self.answer,
        }
        return json.dumps(told | ({"error": self.error} if self.error else {}), default=str)


def new_run_id(now: datetime | None = None) -> str:
    """A name for a run, such as `20250930T160000Z-1f2e3d`: sorts by time, and no two are alike."""
    return f"{(now or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"


def run_job(parser: JobParser, work: Callable[[Namespace, str], Summary | None], argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, do the `work` with them and a new run id, and return the exit code.

    0 done, 1 failed, 2 wrong use or wrong definition, 3 held back. A Summary becomes the last line of stdout; work that
    returns None has answered on stdout itself. What isn't an EtrError is a fault of ours: it is raised on, after the summary.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    started, run_id = time.monotonic(), new_run_id()

    def conclude(summary: Summary) -> None:
        sys.stderr.flush()
        print(summary.to_json(time.monotonic() - started), flush=True)  # noqa: T201 - the interface of DESIGN section 10

    try:
        summary = work(parser.parse(argv), run_id)
        if summary is not None:
            conclude(summary)
            return HELD_BACK if summary.status == "held_back" else int(summary.status == "failed")
        sys.stdout.flush()
        return 0
    except EtrError as problem:
        sys.stderr.write(f"{problem}\n")
        conclude(Summary(parser.job, run_id, "held_back" if isinstance(problem, HeldBack) else "failed", error=str(problem)))
        return problem.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"etr {parser.job}: interrupted; the same command goes on from here\n")
        conclude(Summary(parser.job, run_id, "failed", error="interrupted"))
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as fault:
        conclude(Summary(parser.job, run_id, "failed", error=f"{type(fault).__name__}: {fault}"))
        raise
