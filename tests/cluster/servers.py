"""What a cluster test starts on this machine, each part a process group of its own: S3, a standalone Spark, a YARN."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from conf.settings import S3Settings
from jobs.java import Jars, fetched

HOST = "127.0.0.1"
REGION = "us-east-1"
MINICLUSTER = Jars.listed(
    "Hadoop's mini cluster",
    "hadoop-client-minicluster-3.3.4",
    """
    cd8a1703393946c302bb3a52d0fcd23f6f8ded4554bc0dac5d2ee673dbe2b40e  org.apache.hadoop:hadoop-client-minicluster:3.3.4
    a82ac5bc24bcbf6ba9eb70f334d6782e25245c8da36d9848ad553b5b7b68efd1  org.bouncycastle:bcpkix-jdk15on:1.60
    7f1a0e6badab38666f8467a9a0ee96656b2f8ec8623867ed34f3cdc173b7ee07  org.bouncycastle:bcprov-jdk15on:1.60
    8e495b634469d64fb8acfa3495a065cbacc8a0fff55ce1e31007be4c16dc57d3  junit:junit:4.13.2
    66fdef91e9739348df7a096aa384a5685f4e875584cce89386a7a47251c4d8e9  org.hamcrest:hamcrest-core:1.3
    """,
)


def free_port() -> int:
    """A port that nobody listens on, nor on the one 10,000 above it, which SeaweedFS takes as well."""
    while True:
        port = random.randrange(12_000, 22_000)
        with socket.socket() as one, socket.socket() as other, suppress(OSError):
            one.bind((HOST, port))
            other.bind((HOST, port + 10_000))
            return port


def wait_until(ready: Callable[[], object], what: str, *, seconds: float = 120, log: Path | None = None) -> None:
    """Look ten times a second. Raises TimeoutError with the end of the log."""
    give_up = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > give_up:
            told = log.read_text(errors="replace")[-3000:] if log and log.exists() else ""
            raise TimeoutError(f"{what}: not within {seconds:g} s\n{told}")
        time.sleep(0.1)


class Process:
    """A program in a process group of its own, its output in a log."""

    def __init__(self, command: Sequence[str | Path], log: Path, *, env: Mapping[str, str], cwd: Path | None = None) -> None:
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [*map(str, command)], stdout=stream, stderr=subprocess.STDOUT, env=dict(env), cwd=cwd, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """As a machine that goes down: the program and all that it started."""
        if self.is_running():
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


class Server(ABC):
    """What runs inside a `with` block, and not a moment longer: what began to start is stopped, too."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Return when it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """Leave no process."""


class SeaweedFS(Server):
    """An S3 server with a disk, that checks credentials. It can be killed and started again; objects stay."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.settings = S3Settings(endpoint=f"http://{HOST}:{free_port()}", region=REGION, path_style=True)
        self._folder, self._environ = folder, dict(environ)
        self._process: Process | None = None
        folder.mkdir()

    def start(self) -> None:
        port = str(self.settings.endpoint).rpartition(":")[2]
        program = Path(sys.executable).with_name("weed")
        options = {
            "dir": self._folder,
            "ip": HOST,
            "ip.bind": HOST,
            "s3.port": port,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.port": free_port(),
            "volume.port": free_port(),
            "filer.port": free_port(),
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
        }
        command = [program, "mini", *(f"-{name}={value}" for name, value in options.items())]
        log = self._folder.with_suffix(".log")
        self._process = Process(command, log, env=self._environ)
        wait_until(self._answers, "SeaweedFS", log=log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()

    def client(self) -> object:
        return boto3.Session(
            aws_access_key_id=self._environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._environ["AWS_SECRET_ACCESS_KEY"],
        ).client("s3", endpoint_url=self.settings.endpoint, region_name=REGION)

    def _answers(self) -> bool:
        try:
            self.client().list_buckets()  # type: ignore[attr-defined]
        except (BotoCoreError, ClientError):
            return False
        return True


class Standalone(Server):
    """A Spark master and two workers of one core, each with a folder of its own. Their machine has the credentials."""

    def __init__(self, folder: Path, spark_home: Path, environ: Mapping[str, str]) -> None:
        self.master = f"spark://{HOST}:{free_port()}"
        self._spark_class = spark_home / "bin" / "spark-class"
        self._folder = folder
        self._environ = {**environ, "SPARK_NO_DAEMONIZE": "1", "SPARK_LOCAL_IP": HOST}
        self._processes: list[Process] = []
        folder.mkdir()

    def start(self) -> None:
        port = self.master.rpartition(":")[2]
        master = self._start("master", "Master", "--host", HOST, "--port", port, "--webui-port", str(free_port()))
        wait_until(lambda: "I have been elected leader" in master.log.read_text(), "the master", log=master.log)
        for name, host in (
            ("worker1", HOST),
            ("worker2", "localhost"),
        ):  # a task's second copy never runs on the first one's host
            options = ("--cores", "1", "--memory", "1500m", "--work-dir", str(self._folder / name), "--host", host)
            worker = self._start(name, "Worker", *options, "--webui-port", str(free_port()), self.master)
            wait_until(lambda log=worker.log: "Successfully registered" in log.read_text(), name, log=worker.log)  # type: ignore[misc]

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
        kill_all_in(self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)  # environments that executors unpacked

    def executors(self) -> list[int]:
        """The process numbers of the executors that run now."""
        return [pid for pid, command in processes_in(self._folder) if "CoarseGrainedExecutorBackend" in command]

    def python_of(self, executor: int) -> list[int]:
        """The process numbers of the Python that an executor has its tasks done by."""
        folder = Path(f"/proc/{executor}/cwd").readlink()
        return [pid for pid, command in processes_in(folder) if "pyspark.daemon" in command]

    def _start(self, name: str, kind: str, *arguments: str) -> Process:
        command = [self._spark_class, f"org.apache.spark.deploy.{kind.lower()}.{kind}", *arguments]
        process = Process(command, self._folder / f"{name}.log", env=self._environ, cwd=self._folder)
        self._processes.append(process)
        return process


class Yarn(Server):
    """Hadoop's mini YARN with two node managers. `conf`: the folder that HADOOP_CONF_DIR and YARN_CONF_DIR name."""

    def __init__(self, folder: Path, spark_home: Path, java_home: Path, environ: Mapping[str, str]) -> None:
        self.conf = folder / "conf"
        self._folder, self._java_home, self._spark_home = folder, java_home, spark_home
        self._environ = dict(environ)
        self._process: Process | None = None
        self.conf.mkdir(parents=True)

    def start(self) -> None:
        jars = [*fetched(MINICLUSTER, self._java_home), self._spark_home / "jars" / "*"]
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.lang", "java.util", "java.net")]
        command = [
            self._java_home / "bin" / "java",
            *opened,
            "-cp",
            ":".join(map(str, jars)),
            Path(__file__).with_name("MiniYarn.java"),
        ]
        self._process = Process([*command, self.conf], self._folder / "yarn.log", env=self._environ, cwd=self._folder)
        site = self.conf / "yarn-site.xml"
        running = self._process.is_running
        wait_until(lambda: site.exists() or not running(), "YARN", log=self._process.log)
        if not site.exists():
            raise RuntimeError(f"YARN did not start:\n{self._process.log.read_text()[-3000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
        kill_all_in(self._folder)  # containers are groups of their own
        shutil.rmtree(self._folder, ignore_errors=True)  # environments that they unpacked

    def printed(self) -> str:
        """What the containers wrote to stdout."""
        return "".join(path.read_text(errors="replace") for path in self._written("stdout"))

    def logs(self) -> str:
        """The end of what each container wrote to stderr, under its name."""
        return "\n".join(
            f"--- {path.parent.name}\n{path.read_text(errors='replace')[-4000:]}" for path in self._written("stderr")
        )

    def _written(self, name: str) -> list[Path]:
        return sorted(self._folder.glob(f"target/**/*-logDir-*/*/*/{name}"))


def kill_all_in(folder: Path) -> None:
    for pid, _ in processes_in(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_in(folder: Path) -> list[tuple[int, str]]:
    """The number and command of every process that runs in the folder or names it."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # ended meanwhile
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(folder) in command or (process / "cwd").readlink().is_relative_to(folder):
                    found.append((int(process.name), command))
    return found
