"""Where tasks are done: the same answers and errors from processes of this machine and from Spark; none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from conf.errors import EnvironmentProblem, InputError, PublishError
from conf.settings import load_settings
from jobs.progress import Progress
from jobs.workers import LocalWorkers, SparkWorkers, Workers, open_workers


@dataclass(frozen=True)
class Said:
    number: int
    process: int
    words: tuple[str, ...] = ()


def say(number: int) -> Said:
    return Said(number, os.getpid(), ("a", "b"))


def refuse(reason: str) -> Said:
    raise InputError(reason)


def die() -> Said:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def not_started() -> None:
    raise AssertionError("Spark was started")


@pytest.fixture(params=["of this machine", "of Spark"])
def workers(request: pytest.FixtureRequest) -> Workers:
    if request.param == "of Spark":
        return SparkWorkers(lambda: request.getfixturevalue("spark"))
    return LocalWorkers(2, not_started)  # type: ignore[arg-type]


def test_answers_come_in_the_order_of_the_calls_from_other_processes(workers: Workers) -> None:
    told = workers.run([partial(say, number) for number in range(5)])
    assert [(answer["number"], answer["words"]) for answer in told] == [(number, ["a", "b"]) for number in range(5)]
    assert os.getpid() not in {answer["process"] for answer in told}
    assert workers.run([]) == []


def test_what_a_user_can_mend_is_told_once_for_all_calls(workers: Workers) -> None:
    calls: list[Callable[[], Said]] = [partial(refuse, "no a"), partial(say, 1), partial(refuse, "no b"), partial(refuse, "no a")]
    with pytest.raises(PublishError) as failure:
        workers.run(calls)
    assert str(failure.value) == "no a\nno b"


def test_a_worker_that_is_killed_is_told_and_the_next_run_has_others() -> None:
    workers = LocalWorkers(2, not_started)  # type: ignore[arg-type]
    with pytest.raises(
        EnvironmentProblem, match=r"one of the 2 processes that do the work was killed.*--set spark.master=local\[1\]"
    ):
        workers.run([die, partial(say, 1)])
    assert [answer["number"] for answer in workers.run([partial(say, 1), partial(say, 2)])] == [1, 2]


def test_one_at_once_is_done_in_this_process() -> None:
    [told] = LocalWorkers(1, not_started).run([partial(say, 1)])  # type: ignore[arg-type]
    assert told["process"] == os.getpid()


def sleep(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def script(folder: Path, call: str) -> subprocess.Popen[str]:
    """A program that is one call, as a cell of a notebook is: no function, and no `if __name__ == "__main__"`."""
    program = folder / "program.py"
    program.write_text(f"from pathlib import Path\nfrom tests.jobs.test_workers import *\nprint({call})\n")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, str(program)], env=env, text=True, stdout=subprocess.PIPE)


def test_a_program_needs_no_guard_against_being_run_by_its_workers(tmp_path: Path) -> None:
    out, _ = script(
        tmp_path, "[told['number'] for told in LocalWorkers(2, None).run([partial(say, 1), partial(say, 2)])]"
    ).communicate()
    assert out == "[1, 2]\n"


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    parent = script(tmp_path, f"LocalWorkers(2, None).run([partial(sleep, Path({str(seen)!r}))] * 2)")
    wait_until(lambda: len(list(seen.iterdir())) == 2)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not any(Path(f"/proc/{file.name}").exists() for file in seen.iterdir()))


def wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(1200):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


@pytest.mark.parametrize(
    ("platform", "master", "at_once"),
    [("local", None, len(os.sched_getaffinity(0))), ("local", "local[*]", len(os.sched_getaffinity(0))), ("local", "local[3]", 3),
     ("local", "local[3, 2]", 3), ("local", "local", 1), ("local", "local-cluster[2,1,1024]", None),
     ("local", "spark://a:7077", None), ("yarn", None, None)],
)  # fmt: skip
def test_one_machine_works_without_spark_and_a_cluster_by_it(monkeypatch, platform, master, at_once) -> None:
    started = []
    monkeypatch.setattr("jobs.session.open_session", lambda settings, light: started.append(settings))
    given = {"lake": "s3://bucket/lake", "raw": "s3://bucket/raw"} | ({"spark.master": master} if master else {})
    workers = open_workers(load_settings(platform, given), Progress())
    assert (workers.many_machines, len(started)) == (at_once is None, 0)
    if at_once:
        assert workers.at_once == at_once
    assert (workers.spark(), workers.spark(), len(started)) == (None, None, 1)
