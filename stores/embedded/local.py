"""A Feature Store of one's own for the length of a `with` block: its server is a process on 127.0.0.1."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import fields
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any

from conf.errors import EnvironmentProblem
from stores.embedded.endpoint import DEFAULT_ACCOUNT, DEFAULT_REGION, HEALTH_PATH
from stores.embedded.faults import Faults
from stores.embedded.server import EXIT_FOLDER_TAKEN, HOST, SERVER_FILE, ServerInfo

SECONDS_TO_START = 30
SECONDS_TO_STOP = 10
LOG_FILE = "server.log"


class LocalFeatureStore:
    """Starts a server for `data`, or joins the one that serves it already; stops only what it started.

    Records stay in `data` between runs. Give `env()` to whatever is to speak to it; this process's own environment is
    left alone.
    """

    def __init__(
        self,
        data: Path | str,
        *,
        region: str = DEFAULT_REGION,
        account: str = DEFAULT_ACCOUNT,
        durable: bool = False,
        faults: Faults | None = None,
    ) -> None:
        self._data = Path(data)
        self._region = region
        self._account = account
        self._durable = durable
        self._faults = faults or Faults()
        self._process: subprocess.Popen[bytes] | None = None
        self._info: ServerInfo | None = None

    def __enter__(self) -> LocalFeatureStore:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    @property
    def info(self) -> ServerInfo:
        if self._info is None:
            raise EnvironmentProblem(f"{self._data}: the Feature Store server is not running; use it in a with block")
        return self._info

    @property
    def endpoint(self) -> str:
        return self.info.endpoint

    @property
    def region(self) -> str:
        return self.info.region

    @property
    def started_here(self) -> bool:
        """False when another process runs the server."""
        return self._process is not None

    def env(self) -> dict[str, str]:
        """The variables by which boto3, the AWS CLI and the Java SDK find this store."""
        return environment_of(self.info)

    def start(self) -> None:
        """Raises: EnvironmentProblem when no server answers in time, with the end of its log."""
        deadline = time.monotonic() + SECONDS_TO_START
        while self._info is None:
            self._info = find_running(self._data) or self._spawn(deadline)
            if self._info is None:  # another process was quicker to the lock: join its server once it is ready
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(
                        f"{self._data}: a Feature Store server holds this folder and does not answer within"
                        f" {SECONDS_TO_START} s; stop it (its pid is in {SERVER_FILE}), then run again"
                    )
                time.sleep(0.1)

    def stop(self) -> None:
        process, self._process, self._info = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _spawn(self, deadline: float) -> ServerInfo | None:
        """Start a server and wait until it is ready; None where another process holds the folder's lock."""
        self._data.mkdir(parents=True, exist_ok=True)
        root = str(Path(__file__).parents[2])  # a folder, or the zip that we run from
        search_path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        with (self._data / LOG_FILE).open("ab") as log:
            process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": search_path},
                start_new_session=True,  # a Ctrl-C at the terminal is ours: we stop the server when we are done
            )
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        line = process.stdout.readline() if readable else b""
        self._process = process
        if line:
            return ServerInfo(**json.loads(line))
        self.stop()
        if process.returncode == EXIT_FOLDER_TAKEN:
            return None
        raise EnvironmentProblem(f"{self._data}: the Feature Store server did not start; its log ends:\n{self._log_end()}")

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "stores.embedded.server", "--data", str(self._data), "--until-parent-goes"]
        command += ["--region", self._region, "--account", self._account]
        if self._durable:
            command.append("--durable")
        for fault in fields(Faults):
            value = getattr(self._faults, fault.name)
            if value != fault.default:
                command += [f"--fault-{fault.name.replace('_', '-')}", str(value)]
        return command

    def _log_end(self) -> str:
        log = self._data / LOG_FILE
        return log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"


def environment_of(info: ServerInfo) -> dict[str, str]:
    """Endpoints, region and credentials for a local server; it checks no signature, so any credentials do."""
    variables = {
        "AWS_ENDPOINT_URL_SAGEMAKER": info.endpoint,
        "AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME": info.endpoint,
        "AWS_REGION": info.region,
        "AWS_DEFAULT_REGION": info.region,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",  # pragma: allowlist secret
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if any(os.environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        variables["NO_PROXY"] = variables["no_proxy"] = f"{exempt},{HOST}" if exempt else HOST
    return variables


def find_running(data: Path) -> ServerInfo | None:
    """The server that serves `data` now, by its `server.json` and its own word; None when there is none."""
    try:
        written = ServerInfo(**json.loads((data / SERVER_FILE).read_text()))
        said = ServerInfo(**_ask_health(written.endpoint))
    except (OSError, ValueError, TypeError, HTTPException):
        return None
    return said if said == written and said.data == str(data.resolve()) else None


def _ask_health(endpoint: str) -> dict[str, Any]:
    connection = HTTPConnection(endpoint.removeprefix("http://"), timeout=5)  # knows no proxy, unlike urllib
    try:
        connection.request("GET", HEALTH_PATH)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()
