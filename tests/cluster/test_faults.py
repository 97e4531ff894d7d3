"""What goes wrong on a cluster, made to go wrong: the right rows all the same, none twice, and nothing left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from conf.errors import LeaseError
from conf.settings import S3Settings
from stores.curated_files import PARTITION, commit_curated, write_curated
from stores.delta import open_delta
from stores.lease import Lease, hold
from stores.snapshots import SnapshotTable
from stores.storage import Storage, open_storage
from tests.cluster.conftest import BUCKET, ENTITIES, GROUPS, InS3, Made, Run, ended, made, strays
from tests.cluster.servers import Process, wait_until

SCHEMA = pa.schema([("id", pa.string()), (PARTITION, pa.string())])
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "20ms",
    "spark.speculation.multiplier": "1",
    "spark.speculation.quantile": "0.1",
    "spark.speculation.minTaskRuntime": "1ms",
}


# ---- the main job on two executors


@pytest.fixture
def in_tasks(in_s3) -> InS3:
    """A lake whose facts have buckets enough for eight tasks, of which a small sample would need one."""
    for entity in ENTITIES:
        in_s3.lake.storage.write(f"facts/{entity}/buckets.json", json.dumps({"bits": 3}).encode())
    return in_s3


class Started:
    """A run of the main job on the standalone cluster, under way."""

    def __init__(self, submit, standalone, packed, in_s3: InS3, options=()) -> None:
        self._folder = submit.folder
        self._number = len(list(self._folder.glob("*.err")))
        own = {
            "spark.executor.cores": "1",
            "spark.cores.max": "2",
            "spark.pyspark.driver.python": str(packed.python),
            **dict(options),
        }
        command = submit.command(["--master", standalone.master], own, [*in_s3.arguments, "--wait", "120"], packed=False)
        self.out, self.err = (self._folder / f"{self._number}.{kind}" for kind in ("out", "err"))
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command, cwd=self._folder, env=submit.environ, stdout=out, stderr=err, start_new_session=True
            )

    def wait(self) -> Run:
        code = self.process.wait(900)
        return ended(code, self.out.read_text(), self.err.read_text())

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def when(self, happened: Callable[[], object], what: str) -> None:
        """Wait until something is seen in the lake, as long as the run goes on."""
        wait_until(lambda: happened() or self.process.poll() is not None, what, seconds=600, log=self.err)
        assert self.process.poll() is None, self.err.read_text()[-3000:]


@pytest.fixture
def start(submit, standalone, packed) -> Iterator[Callable[..., Started]]:
    """Starts a run in a lake; one that a failed test left under way is killed."""
    runs: list[Started] = []

    def start(in_s3: InS3, options=()) -> Started:
        runs.append(Started(submit, standalone, packed, in_s3, options))
        return runs[-1]

    yield start
    for run in runs:
        run.kill()


def is_prepared(storage: Storage) -> bool:
    """Whether the facts of a stream are."""
    return any("/manifests/" in file.path for file in storage.list("facts"))


def is_written(storage: Storage) -> bool:
    """Whether a file of a snapshot is."""
    return any(file.path.endswith(".parquet") for file in storage.list("snapshots"))


def same_rows(expected: Made, in_s3: InS3, run: Run) -> None:
    assert run.code == 0, run.last_words
    assert made(in_s3.lake, run) == expected
    assert strays(in_s3.lake) == []
    leases = list(in_s3.lake.storage.list("leases"))
    assert all(b'"released": true' in in_s3.lake.storage.read(lease.path) for lease in leases)


def test_an_executor_dies(in_tasks, expected, start, standalone):
    run = start(in_tasks)
    run.when(lambda: is_written(in_tasks.lake.storage), "a file of a snapshot")
    os.kill(standalone.executors()[0], signal.SIGKILL)
    ended = run.wait()
    same_rows(expected, in_tasks, ended)
    assert "Lost executor" in ended.said


def test_a_task_runs_twice(in_tasks, expected, start, standalone):
    """An executor's Python stands still until Spark has another one do the same, and goes on then."""
    run = start(in_tasks, SPECULATION.items())
    run.when(lambda: is_written(in_tasks.lake.storage), "a file of a snapshot")
    still = standalone.python_of(standalone.executors()[0])
    signal_all(still, signal.SIGSTOP)
    try:
        twice = re.compile(r"Starting task \d+\.1 in stage")
        run.when(lambda: twice.search(run.err.read_text()), "a task's second start")
    finally:
        signal_all(still, signal.SIGCONT)
    ended = run.wait()
    for group in GROUPS:
        SnapshotTable(in_tasks.lake.storage, group).sweep()  # as the next run does, when the first start has ended, too
    same_rows(expected, in_tasks, ended)


def signal_all(processes: list[int], what: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def test_the_driver_dies_and_the_run_is_repeated(in_tasks, expected, start):
    """It dies when the first day is written; its lease is free when its process is gone, or has run out."""
    dead = start(in_tasks)
    dead.when(lambda: is_written(in_tasks.lake.storage), "a file of a snapshot")
    dead.kill()
    same_rows(expected, in_tasks, start(in_tasks).wait())


def test_the_s3_server_dies_and_comes_back(in_tasks, expected, start, s3_server):
    run = start(in_tasks)
    run.when(lambda: is_prepared(in_tasks.lake.storage), "prepared facts")
    s3_server.stop()
    time.sleep(3)
    s3_server.start()
    same_rows(expected, in_tasks, run.wait())


# ---- one table, written by processes of their own


def append(storage: Storage, table: str, name: str) -> bool:
    """Whether a commit of one row went through; all that was written for one that didn't is left lying."""
    batch = pa.RecordBatch.from_pydict({"id": [name], PARTITION: ["2025-09"]}, schema=SCHEMA)
    files = write_curated([batch], storage=storage, folder=table, schema=SCHEMA, run_id=name)
    try:
        commit_curated(storage, table, files, SCHEMA, {"run": name})
    except LeaseError:
        return False
    return True


def append_in_turns(address, settings, table, me, turns, barrier, done, leased) -> None:
    """Runs in a process: so many commits, each at the moment at which the other process makes its own."""
    storage = open_storage(address, settings)
    for number in range(turns):
        name = f"{me}{number}"
        barrier.wait(120)
        if leased:
            with hold(storage, table, name, 60):
                done.put((name, append(storage, table, name)))
        else:
            done.put((name, append(storage, table, name)))


@pytest.mark.parametrize(("turns", "leased"), [(50, False), (10, True)], ids=["without leases", "with leases"])
def test_two_drivers_at_once(s3_server, turns, leased):
    """Without leases Delta lets one of two through, and says so to the other; with them both go through, one after the other."""
    address, table = f"s3a://{BUCKET}/pairs{int(leased)}", "curated/pairs"
    storage = open_storage(address, s3_server.settings)
    assert append(storage, table, "first")
    context = multiprocessing.get_context("spawn")
    barrier, done = context.Barrier(2), context.Queue()
    arguments = [(address, s3_server.settings, table, me, turns, barrier, done, leased) for me in "ab"]
    processes = [context.Process(target=append_in_turns, args=mine) for mine in arguments]
    for process in processes:
        process.start()
    told = dict(done.get(timeout=300) for _ in range(2 * turns))
    for process in processes:
        process.join(60)

    through = sorted(name for name, went in told.items() if went)
    found = open_delta(storage, table)
    assert found is not None
    assert sorted(found.to_pyarrow_table()["id"].to_pylist()) == sorted([*through, "first"])
    assert found.version() == len(through)
    assert all(told[f"a{number}"] or told[f"b{number}"] for number in range(turns))
    assert len(through) == 2 * turns if leased else len(through) < 2 * turns


def take_and_stay(address: str, settings: S3Settings, taken, lifetime: float) -> None:
    """Runs in a process that will be killed: as one on another machine, whose process numbers say nothing here."""
    import stores.lease

    stores.lease._host = lambda: "another machine"
    Lease(open_storage(address, settings), "curated/t", "killed", lifetime=lifetime).take(0)
    taken.set()
    time.sleep(600)


def test_a_lease_of_a_killed_machine_runs_out_and_is_taken_over(s3_server):
    address = f"s3a://{BUCKET}/leases"
    storage = open_storage(address, s3_server.settings)
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    holder = context.Process(target=take_and_stay, args=(address, s3_server.settings, taken, 4.0))
    holder.start()
    assert taken.wait(60)
    time.sleep(5)  # longer than the lease: it is renewed
    with pytest.raises(LeaseError, match="is being written by run killed"):
        Lease(storage, "curated/t", "early").take(0)
    holder.kill()
    holder.join()
    with hold(storage, "curated/t", "next", 15):
        assert len(list(storage.list("leases/curated.t"))) == 1


def test_a_server_that_comes_back_is_waited_for(s3_server):
    storage = open_storage(f"s3a://{BUCKET}/restart", s3_server.settings)
    storage.write("a", b"1" * 2**20)
    s3_server.stop()
    back = threading.Timer(3, s3_server.start)
    back.start()
    assert storage.read("a") == b"1" * 2**20  # asked while nobody answers
    back.join()
    assert append(storage, "curated/t", "x")


def test_parts_of_a_killed_writer_go_with_the_next_commit(s3_server, environ, tmp_path):
    """An executor that is killed in the middle of a large file leaves parts that no listing shows and that cost money."""
    address = f"s3a://{BUCKET}/parts"
    storage = open_storage(address, s3_server.settings)
    script = (
        "import sys; from conf.settings import S3Settings; from stores.storage import open_storage\n"
        f"storage = open_storage('{address}', S3Settings(**{s3_server.settings.model_dump()!r}))\n"
        "with storage.open_output('snapshots/g/as_of=2025-09-30/part') as stream:\n"
        "    stream.write(b'x' * 20 * 2**20); print('sent', flush=True); import time; time.sleep(600)\n"
    )
    writer = Process([sys.executable, "-c", script], tmp_path / "log", env=environ, cwd=Path(__file__).parents[2])
    wait_until(lambda: "sent" in (tmp_path / "log").read_text(), "a part that was sent", log=tmp_path / "log")
    writer.kill()
    client = s3_server.client()
    assert len(client.list_multipart_uploads(Bucket=BUCKET, Prefix="parts/")["Uploads"]) == 1

    storage.delete_unfinished("snapshots/g/as_of=2025-09-30")
    assert not client.list_multipart_uploads(Bucket=BUCKET, Prefix="parts/").get("Uploads")
    assert list(storage.list()) == []
