"""The process that serves one data folder: `python -m stores.embedded.server --data DIR`.

One server a folder: it holds a lock for as long as it lives, and writes `server.json` (address, pid) when it is ready.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

import uvicorn

from conf.errors import EnvironmentProblem
from stores.embedded.asgi import application
from stores.embedded.endpoint import DEFAULT_ACCOUNT, DEFAULT_REGION, Endpoint
from stores.embedded.faults import Faults
from stores.embedded.storage import Storage

SERVER_FILE = "server.json"
LOCK_FILE = "server.lock"
HOST = "127.0.0.1"


EXIT_FOLDER_TAKEN = 75


class FolderTaken(EnvironmentProblem):
    """Another process serves the folder."""


@dataclass(frozen=True)
class ServerInfo:
    """Where a server listens, and what it serves."""

    endpoint: str
    pid: int
    data: str
    region: str
    account: str


def serve(
    data: Path,
    *,
    port: int = 0,
    region: str = DEFAULT_REGION,
    account: str = DEFAULT_ACCOUNT,
    durable: bool = False,
    faults: Faults | None = None,
    when_ready: Callable[[ServerInfo], None] = lambda info: None,
    until_parent_goes: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM, or, with `until_parent_goes`, until standard input ends or the parent dies.

    Raises: EnvironmentProblem when the folder is served already or the port is taken.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / LOCK_FILE).open("a") as lock:
        _take(lock, data)
        listener = _listen(port)
        info = ServerInfo(f"http://{HOST}:{listener.getsockname()[1]}", os.getpid(), str(data.resolve()), region, account)
        storage = Storage(data, durable=durable)
        endpoint = Endpoint(storage, region=region, account=account, faults=faults, identity=vars(info))

        def ready() -> None:
            _write_whole(data / SERVER_FILE, json.dumps(vars(info)))
            when_ready(info)

        server = _Server(
            uvicorn.Config(
                application(endpoint),
                loop="uvloop",
                http="httptools",
                lifespan="off",
                access_log=False,
                log_level="critical",
                backlog=1024,
                timeout_graceful_shutdown=2,
            ),
            ready,
        )
        if until_parent_goes:
            threading.Thread(target=_stop_without_parent, args=(server, os.getppid()), daemon=True).start()
        # uvicorn stops on these signals and then raises them once more: that must not end us before we have tidied up.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        try:
            server.run(sockets=[listener])
        finally:
            (data / SERVER_FILE).unlink(missing_ok=True)
            storage.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def _take(lock: IO[str], data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        where = (data / SERVER_FILE).read_text() if (data / SERVER_FILE).exists() else "still starting"
        raise FolderTaken(
            f"{data}: a Feature Store server runs on this folder already ({where}); use it, or stop it first"
        ) from None


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise EnvironmentProblem(f"port {port} of {HOST} can't be used ({error.strerror}); choose another") from None
    return listener


def _write_whole(path: Path, text: str) -> None:
    """Write so that a reader sees the old file or the new one, never half of it."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _stop_without_parent(server: uvicorn.Server, parent: int) -> None:
    """Stop when standard input ends; a fork of the parent may hold the pipe open, so its pid is watched too."""
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            break
    server.should_exit = True


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a child of LocalFeatureStore: the ready server's address is one JSON line on standard output."""
    parser = argparse.ArgumentParser(prog="stores.embedded.server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--region", default=DEFAULT_REGION)
    parser.add_argument("--account", default=DEFAULT_ACCOUNT)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--until-parent-goes", action="store_true")
    for fault in fields(Faults):
        parser.add_argument(
            f"--fault-{fault.name.replace('_', '-')}",
            dest=fault.name,
            type=type(fault.default),
            default=fault.default,
            help=fault.metadata["help"],
        )
    arguments = vars(parser.parse_args(argv))
    faults = Faults(**{fault.name: arguments.pop(fault.name) for fault in fields(Faults)})

    def announce(info: ServerInfo) -> None:
        sys.stdout.write(json.dumps(vars(info)) + "\n")
        sys.stdout.flush()

    try:
        serve(faults=faults, when_ready=announce, **arguments)
    except EnvironmentProblem as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FOLDER_TAKEN if isinstance(error, FolderTaken) else error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
