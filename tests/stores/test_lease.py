"""A lease: one writer at a time, whatever happens to the writers."""

import json
import multiprocessing
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conf.errors import LeaseError
from stores.lease import Holder, Lease, hold, hold_all
from stores.storage import open_storage

TABLE = "curated/accounts"


@pytest.fixture
def storage(tmp_path):
    return open_storage(tmp_path)


def written_by_hand(storage, generation=1, **changes):
    """A lease as another machine would have left it."""
    now = time.time()
    holder = {"run_id": "other", "host": "elsewhere", "pid": 7, "process": "1", "since": 0.0, "expires": now + 60, **changes}
    storage.write(f"leases/curated.accounts/{generation:012d}.json", json.dumps(holder).encode())


def hold_until_told(root, ready, go):
    with hold(open_storage(root), TABLE, "first"):
        ready.set()
        go.wait(30)


def take_and_die(root):
    Lease(open_storage(root), TABLE, "first").take(0)


def test_another_process_waits_for_its_turn(storage, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=hold_until_told, args=(str(tmp_path), ready, go))
    other.start()
    assert ready.wait(30)

    with pytest.raises(LeaseError) as problem, hold(storage, TABLE, "second", 0):
        pass
    assert re.fullmatch(
        rf"curated/accounts is being written by run first \(process {other.pid} on [^/,]+, "
        r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\); waited 0 s\. Let that run end and run again, or stop it: "
        r"its lease is free at once when it ran on this machine, else 60 s after its last sign of life",
        str(problem.value),
    )

    go.set()
    with hold(storage, TABLE, "second", 30) as lease:
        lease.check()
    other.join(30)


def test_the_lease_of_a_dead_process_is_free(storage, tmp_path):
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=take_and_die, args=(str(tmp_path),))
    other.start()
    other.join(30)
    assert [file.path for file in storage.list("leases")] == ["leases/curated.accounts/000000000001.json"]

    with hold(storage, TABLE, "second", 0) as lease:
        lease.check()


def test_a_process_with_a_dead_ones_number_does_not_have_its_lease(storage):
    here = Holder.here("first", 60)
    written_by_hand(storage, host=here.host, pid=here.pid, process="another start")
    with hold(storage, TABLE, "second", 0):
        pass


def test_another_machines_lease_is_free_when_it_expired(storage):
    written_by_hand(storage, expires=time.time() + 60)
    with pytest.raises(LeaseError), hold(storage, TABLE, "second", 0):
        pass
    written_by_hand(storage, expires=time.time() - 1)
    with hold(storage, TABLE, "second", 0):
        pass


def test_of_many_who_take_over_one_wins(storage):
    written_by_hand(storage, expires=time.time() - 1)

    def attempt(number):
        lease = Lease(storage, TABLE, f"run {number}")
        try:
            lease.take(0)
        except LeaseError:
            return None
        return lease

    with ThreadPoolExecutor(8) as pool:
        won = [lease for lease in pool.map(attempt, range(8)) if lease]

    assert len(won) == 1
    won[0].check()
    won[0].release()


def test_a_slow_taker_does_not_get_a_generation_that_is_past(storage, monkeypatch):
    """It saw generation 1 expired; meanwhile two others held 2 and 3, and 2 was cleaned away."""
    written_by_hand(storage, expires=time.time() - 1)
    slow = Lease(storage, TABLE, "slow")
    seen = iter([1])
    newest = slow._newest
    monkeypatch.setattr(slow, "_newest", lambda: next(seen, None) or newest())
    written_by_hand(storage, generation=3)

    with pytest.raises(LeaseError, match=r"^curated/accounts is being written by run other \(process 7 on elsewhere, "):
        slow.take(0)

    assert [file.path[-6:] for file in storage.list("leases")] == ["1.json", "3.json"]


def test_a_holder_that_was_overtaken_finds_out_before_it_commits(storage):
    lease = Lease(storage, TABLE, "first")
    lease.take(0)
    written_by_hand(storage, generation=2)

    with pytest.raises(LeaseError) as problem:
        lease.check()
    assert str(problem.value) == (
        "curated/accounts: run other (process 7 on elsewhere, since 1970-01-01T00:00:00Z) took over while this run made no "
        "progress for over 60 s; nothing was committed. Run again"
    )
    lease.release()
    assert json.loads(storage.read("leases/curated.accounts/000000000002.json"))["run_id"] == "other"


def test_a_lease_is_renewed_while_it_is_held(storage):
    lease = Lease(storage, TABLE, "first", lifetime=0.2)
    lease.take(0)
    first = storage.read("leases/curated.accounts/000000000001.json")
    deadline = time.monotonic() + 20
    while storage.read("leases/curated.accounts/000000000001.json") == first and time.monotonic() < deadline:
        time.sleep(0.02)
    assert storage.read("leases/curated.accounts/000000000001.json") != first
    lease.release()


def test_a_run_holds_its_lease_twice_and_gives_it_back_once(storage):
    with hold_all(storage, [TABLE, "curated/fees"], "first"):
        with hold(storage, TABLE, "first"):
            pass
        with pytest.raises(LeaseError), hold(storage, TABLE, "second", 0):
            pass
    with hold(storage, TABLE, "second", 0):
        pass


def test_two_runs_in_one_process_take_turns(storage):
    def write(run_id):
        with hold(storage, TABLE, run_id, 30) as lease:
            lease.check()
            return run_id

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(write, "abcd")) == list("abcd")


def test_a_broken_lease_object_is_no_lease(storage):
    storage.write("leases/curated.accounts/000000000004.json", b"{")
    with hold(storage, TABLE, "second", 0):
        pass
