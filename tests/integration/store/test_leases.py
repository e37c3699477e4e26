"""Leases on both databases: one holder, fencing, take-over, and two processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from syncd.runtime.process_id import is_dead, this_process
from syncd.store import Store
from syncd.store import engine as engines
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.leases import Claim, Heartbeat, still_held
from syncd.store.schema import leases
from tests.entries import MOMENT

MINUTE = timedelta(minutes=1)
BRIEF = timedelta(milliseconds=60)


def test_one_holder_at_a_time_this_process_included(store: Store) -> None:
    claim = store.leases.acquire("lane:crm", MINUTE)
    assert claim is not None
    assert store.leases.acquire("lane:crm", MINUTE) is None
    assert store.leases.holder("lane:crm") == claim.holder == store.holder
    assert store.leases.acquire("lane:other", MINUTE) is not None
    store.leases.release(claim)
    assert store.leases.holder("lane:crm") == ""
    assert store.leases.acquire("lane:crm", MINUTE) is not None


def test_only_one_of_many_threads_gets_it(open_store: Callable[..., Store]) -> None:
    stores = [open_store(), open_store()]
    start, won = threading.Barrier(8), []

    def grab(store: Store) -> None:
        start.wait(10)
        won.append(store.leases.acquire("poll:x", MINUTE))

    threads = [threading.Thread(target=grab, args=(stores[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(won) == 8
    assert sum(claim is not None for claim in won) == 1


def test_who_freezes_in_mid_transaction_keeps_nobody_from_taking_over(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "STALLED_SECONDS", 0.2)
    successors: list[Claim | None] = []

    def freeze(store: Store, claim: str, other: Store) -> None:
        with store.write() as connection:
            still_held(store, connection, "lane:frozen", claim)  # and the row stays locked until the commit
            connection.execute(
                sa.select(leases.c.name).where(leases.c.name == "lane:frozen").with_for_update(read=True)
            )
            while not successors or successors[-1] is None:
                successors.append(other.leases.acquire("lane:frozen", MINUTE))
            connection.execute(sa.select(sa.literal(1)))

    with Store.open(postgres_url) as frozen, Store.open(postgres_url) as other:
        claim = frozen.leases.acquire("lane:frozen", BRIEF)
        assert claim is not None
        with pytest.raises(StoreUnavailable):
            freeze(frozen, claim.claim, other)
        assert other.leases.holder("lane:frozen") == other.holder


def test_a_lease_that_ran_out_is_taken_over_and_the_late_holder_refused(open_store: Callable[..., Store]) -> None:
    now = [MOMENT]
    first, second = open_store(clock=lambda: now[0]), open_store(clock=lambda: now[0])
    stalled = first.leases.acquire("lane:crm", BRIEF)
    assert stalled is not None
    successor = None
    while successor is None:  # PostgreSQL's own clock decides there, and moves by itself
        now[0] += BRIEF
        successor = second.leases.acquire("lane:crm", MINUTE)
    assert not first.leases.renew(stalled)
    with first.write() as connection:
        assert not still_held(first, connection, "lane:crm", stalled.claim)
        assert still_held(first, connection, "lane:crm", successor.claim)
    first.leases.release(stalled)  # gives nothing of the successor's away
    assert second.leases.holder("lane:crm") == successor.holder


def test_a_lease_once_run_out_cannot_be_renewed(open_store: Callable[..., Store]) -> None:
    now = [MOMENT]
    store = open_store(clock=lambda: now[0])
    claim = store.leases.acquire("lane:crm", timedelta(0))
    assert claim is not None
    now[0] += BRIEF
    assert not store.leases.renew(claim, MINUTE)


def test_a_heartbeat_keeps_the_lease_and_gives_it_back(store: Store) -> None:
    claim = store.leases.acquire("lane:crm", timedelta(milliseconds=600))
    assert claim is not None
    term = threading.Event()
    with store.leases.heartbeat(claim) as beat:
        for _ in range(12):  # twice the term, asked all along
            term.wait(0.1)
            assert store.leases.acquire("lane:crm", MINUTE) is None
        assert not beat.lost.is_set()
    assert store.leases.holder("lane:crm") == ""


def test_a_heartbeat_tells_of_the_loss(store: Store) -> None:
    claim = store.leases.acquire("lane:crm", timedelta(milliseconds=300))
    assert claim is not None
    with Heartbeat(store.leases, claim) as beat:
        store.leases.release(claim)
        assert store.leases.acquire("lane:crm", MINUTE) is not None
        assert beat.lost.wait(20)
    assert store.leases.holder("lane:crm") != ""


HOLD = """
import os, signal, sys
from datetime import timedelta
from syncd.store import Store
store = Store.open(sys.argv[1])
print(store.leases.acquire("lane:crm", timedelta(hours=1)) is not None, flush=True)
sys.stdin.readline()
"""


def test_a_lease_left_behind_is_free_for_its_own_process_only(open_store: Callable[..., Store]) -> None:
    """When it could not be given back, because the disk was full: its holder goes on at once, others wait."""
    ours, theirs = open_store(), open_store()
    claim = ours.leases.acquire("lane:crm", timedelta(minutes=1))
    assert claim is not None
    assert ours.leases.acquire("lane:crm", timedelta(minutes=1)) is None
    ours.leases.leave(claim)
    assert theirs.leases.acquire("lane:crm", timedelta(minutes=1)) is None
    again = ours.leases.acquire("lane:crm", timedelta(minutes=1))
    assert again is not None
    assert ours.leases.acquire("lane:crm", timedelta(minutes=1)) is None
    assert not ours.leases.renew(claim)


def test_the_lease_of_a_killed_process_of_this_machine_is_free_at_once(store: Store, store_url: str) -> None:
    command = [sys.executable, "-c", HOLD, store_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert store.leases.acquire("lane:crm", MINUTE) is None
        process.kill()
    claim = store.leases.acquire("lane:crm", MINUTE)
    assert claim is not None
    assert claim.holder == store.holder


def test_only_a_sure_death_counts() -> None:
    assert not is_dead(this_process())
    assert not is_dead("another-machine/12345678:999999:abcd")
    assert not is_dead("")
    machine = this_process().rpartition(":")[0].rpartition(":")[0]
    assert not is_dead(f"{machine}:1:abcd")  # not ours to signal, perhaps, but alive
