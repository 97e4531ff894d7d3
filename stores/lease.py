"""One writer at a time: a lease on each table that a run writes.

A lease is a row of numbered objects, `leases/<table>/<generation>.json`. Whoever creates the next generation, a write with
a condition that one alone can win, has the lease; only its holder rewrites that object, to renew or to release it. So no
store needs more than "write if absent".
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from conf.errors import EtrError, LeaseError
from stores.storage import Storage

LIFETIME_SECONDS = 60.0
"""How long a lease lasts without being renewed; it is renewed four times as often."""
_POLL_SECONDS = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who has a lease. Times are seconds since 1970, UTC."""

    run_id: str
    host: str
    pid: int
    process: str
    """Tells this process from an earlier one of the same number; empty where the system doesn't say."""
    since: float
    expires: float
    released: bool = False

    @classmethod
    def here(cls, run_id: str, lifetime: float) -> Holder:
        now = time.time()
        return cls(run_id, _host(), os.getpid(), _process(os.getpid()), now, now + lifetime)

    def is_free(self) -> bool:
        """Released, expired, or held by a process of this machine that is no more."""
        return self.released or self.expires < time.time() or (self.host == _host() and not _is_alive(self))

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"run {self.run_id} (process {self.pid} on {self.host.split('/')[0]}, since {since})"


class Lease:
    """The right to write one table, renewed in the background until released."""

    def __init__(self, storage: Storage, table: str, run_id: str, *, lifetime: float = LIFETIME_SECONDS) -> None:
        self.table = table
        self._storage = storage
        self._folder = f"leases/{table.replace('/', '.')}"
        self._run_id = run_id
        self._lifetime = lifetime
        self._generation = 0
        self._holder: Holder | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._renewer: threading.Thread | None = None

    def take(self, wait_seconds: float) -> None:
        """Take the lease, waiting while another has it. Raises LeaseError when it isn't free in time."""
        give_up = time.monotonic() + wait_seconds
        told: Holder | None = None
        while (other := self._try_to_take()) is not None:
            if time.monotonic() >= give_up:
                raise LeaseError(
                    f"{self.table} is being written by {other}; waited {wait_seconds:g} s. Let that run end and run "
                    f"again, or stop it: its lease is free at once when it ran on this machine, else "
                    f"{self._lifetime:g} s after its last sign of life"
                )
            if told is None or told.run_id != other.run_id:
                _log.warning("%s: waiting for %s, up to %g s", self.table, other, wait_seconds)
                told = other
            time.sleep(min(_POLL_SECONDS, self._lifetime / 4))
        self._done.clear()
        self._renewer = threading.Thread(target=self._keep, name=f"lease {self.table}", daemon=True)
        self._renewer.start()

    def check(self) -> None:
        """Renew, and make sure that the lease is still ours. Raises LeaseError when another took it."""
        with self._lock:
            if self._holder is None:
                raise LeaseError(f"{self.table}: the lease of run {self._run_id} is not held; nothing was committed")
            self._write(replace(self._holder, expires=time.time() + self._lifetime))
            newest = self._newest()
            if newest != self._generation:
                other = self._read(newest)
                raise LeaseError(
                    f"{self.table}: {other or 'another run'} took over while this run made no progress for over "
                    f"{self._lifetime:g} s; nothing was committed. Run again"
                )

    def release(self) -> None:
        """Give the lease back; fine when it was lost."""
        self._done.set()
        if self._renewer is not None:
            self._renewer.join()
        with self._lock:
            if self._holder is not None and self._newest() == self._generation:
                self._write(replace(self._holder, released=True))
            self._holder = None

    def _try_to_take(self) -> Holder | None:
        """Take it and return None, or return who has it."""
        newest = self._newest()
        current = self._read(newest) if newest else None
        if current is not None and not current.is_free():
            return current
        mine = Holder.here(self._run_id, self._lifetime)
        generation = newest + 1
        won = self._storage.write_if_absent(self._path(generation), _to_json(mine))
        ahead = self._newest()
        if not won or ahead != generation:
            if won:  # a generation long past was free again: those who came later have the lease
                self._storage.delete(self._path(generation))
            return self._read(ahead) or mine
        self._generation, self._holder = generation, mine
        for old in self._generations():
            if old < generation:
                self._storage.delete(self._path(old))
        return None

    def _keep(self) -> None:
        while not self._done.wait(self._lifetime / 4):
            with self._lock:
                try:
                    if self._holder is None or self._newest() != self._generation:
                        return
                    self._write(replace(self._holder, expires=time.time() + self._lifetime))
                except (OSError, EtrError) as problem:  # the next turn tries again; check() decides before a commit
                    _log.warning("%s: the lease could not be renewed: %s", self.table, problem)

    def _write(self, holder: Holder) -> None:
        self._storage.write(self._path(self._generation), _to_json(holder))
        self._holder = holder

    def _path(self, generation: int) -> str:
        return f"{self._folder}/{generation:012d}.json"

    def _generations(self) -> list[int]:
        names = (file.path.rsplit("/", 1)[-1].removesuffix(".json") for file in self._storage.list(self._folder))
        return [int(name) for name in names if name.isdigit()]

    def _newest(self) -> int:
        return max(self._generations(), default=0)

    def _read(self, generation: int) -> Holder | None:
        with suppress(FileNotFoundError, ValueError, TypeError):
            return Holder(**json.loads(self._storage.read(self._path(generation))))
        return None


@dataclass
class _Held:
    """A lease that this process has, and how often."""

    lease: Lease
    lock: threading.Lock
    users: int = 0
    taken: bool = False


_held: dict[tuple[str, str, str], _Held] = {}
_held_lock = threading.Lock()


@contextmanager
def hold(storage: Storage, table: str, run_id: str, wait_seconds: float = 0.0) -> Iterator[Lease]:
    """Hold the lease on `table` inside the block; a run that has it already may hold it again.

    Raises LeaseError when another run has it for longer than `wait_seconds`.
    """
    name = (storage.root, table, run_id)
    with _held_lock:
        held = _held.setdefault(name, _Held(Lease(storage, table, run_id), threading.Lock()))
        held.users += 1
    try:
        with held.lock:
            if not held.taken:
                held.lease.take(wait_seconds)
                held.taken = True
        yield held.lease
    finally:
        with _held_lock:
            held.users -= 1
            if held.users == 0:
                del _held[name]
                held.lease.release()


@contextmanager
def hold_all(storage: Storage, tables: Sequence[str], run_id: str, wait_seconds: float = 0.0) -> Iterator[list[Lease]]:
    """Hold several leases, taken in the order of their names so that two runs can't block each other."""
    with ExitStack() as stack:
        yield [stack.enter_context(hold(storage, table, run_id, wait_seconds)) for table in sorted(set(tables))]


def _to_json(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _host() -> str:
    """This machine; in a container also its process numbers' own space, as two may share a name and a disk."""
    try:
        return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _process(pid: int) -> str:
    """When it started, in clock ticks; empty when it has ended, or the system doesn't say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _is_alive(holder: Holder) -> bool:
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not holder.process or _process(holder.pid) == holder.process
