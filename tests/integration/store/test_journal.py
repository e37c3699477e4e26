"""The journal on both databases: deduplication, fences, poison, and what is written with the signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from syncd.connector import Hint
from syncd.signals import Person, Route
from syncd.store import Store, balance, queries
from syncd.store.journal.entries import (
    Fence,
    FenceLost,
    InitialDelivery,
    JobStep,
    JournalEntry,
    NewSignal,
    Quarantined,
    StoreUnavailable,
)
from syncd.store.journal.group_commit import WakeUp
from syncd.store.schema import deliveries, receipts, settled, signals
from tests.entries import CRM, MOMENT, a_signal, an_entry


def rows(store: Store, table: Any) -> list[dict[str, Any]]:
    with store.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def count(store: Store, table: Any) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_signal_is_stored_once_with_its_deliveries(store: Store) -> None:
    seeds = (
        InitialDelivery("crm", live=True),
        InitialDelivery("archive", live=False, old=True),
        InitialDelivery("desk", live=True, skipped="not wanted"),
    )
    first = store.journal.commit(an_entry(1, 2, seeds=seeds))
    again = store.journal.submit(an_entry(2, 3, seeds=seeds)).result(10)
    assert [len(first.new), first.repeats, len(again.new), again.repeats] == [2, 0, 1, 1]
    repeated = a_signal(2)
    assert balance.kept_out(store) == {(repeated.source, repeated.type, "known"): 1}
    assert {(row["destination"], row["live"], row["old"]) for row in rows(store, deliveries)} == {
        ("crm", True, False),
        ("archive", False, True),
    }
    assert {row["reason"] for row in rows(store, settled)} == {"not wanted"}
    lines = {line.destination: line for line in balance.balance(store)}
    assert all(line.balanced and line.signals == 3 for line in lines.values())
    assert (lines["crm"].pending, lines["desk"].skipped) == (3, 3)
    assert queries.get(store, str(first.new[0])) == a_signal(1)


def test_duplicates_within_one_entry_and_one_group_are_one_signal(store: Store) -> None:
    assert store.journal.commit(an_entry(1, 1, 1)).repeats == 2
    with held_journal(store):
        futures = [store.journal.submit(an_entry(7)) for _ in range(20)]
    assert sum(len(future.result(10).new) for future in futures) == 1
    assert futures[0].result().new  # the first one brought it
    assert count(store, signals) == 2


def test_history_waits_behind_live(store: Store) -> None:
    store.journal.commit(
        JournalEntry("phones", [NewSignal(a_signal(1, route=Route.BACKFILL), CRM), NewSignal(a_signal(2), CRM)])
    )
    assert sorted(row["priority"] for row in rows(store, deliveries)) == [0, 1]


def test_cursor_memory_counts_and_job_are_committed_with_the_signals(store: Store) -> None:
    job = store.jobs.create("backfill", "phones", {"since": "2026-01-01"})
    entry = an_entry(
        1,
        state=b"page 2",
        remember={"etag": "a", "gone": None},
        off={("call.missed", "switch"): 2},
        job=JobStep(job.id, b"p2", '{"read": 10}'),
    )
    store.journal.commit(entry)
    store.journal.commit(an_entry(2, remember={"etag": None, "b": "2"}, off={("call.missed", "switch"): 1}))
    assert store.cursors.read("phones") == b"page 2"
    assert store.cursors.read("other") is None
    assert store.cursors.recall("phones", ["etag", "b"]) == {"b": "2"}
    assert balance.kept_out(store) == {("phones", "call.missed", "switch"): 3}
    stepped = store.jobs.get(job.id)
    assert stepped is not None
    assert (stepped.cursor, stepped.progress) == (b"p2", {"read": 10})


def test_a_lost_fence_refuses_its_entry_alone(store: Store) -> None:
    lease = store.leases.acquire("poll:phones", timedelta(minutes=1))
    assert lease is not None
    good, stale = Fence(lease.lease, lease.claim), Fence(lease.lease, "somebody else")
    with held_journal(store):
        futures = [store.journal.submit(an_entry(1, fence=good, state=b"1"))]
        futures.append(store.journal.submit(an_entry(2, fence=stale, state=b"2")))
        futures.append(store.journal.submit(an_entry(3)))
    assert len(futures[0].result(10).new) == len(futures[2].result(10).new) == 1
    with pytest.raises(FenceLost, match="poll:phones"):
        futures[1].result(10)
    assert store.cursors.read("phones") == b"1"
    assert count(store, signals) == 2


def test_an_expired_lease_is_a_lost_fence(open_store: Callable[..., Store]) -> None:
    now = [MOMENT]
    store = open_store(clock=lambda: now[0])
    lease = store.leases.acquire("poll:phones", timedelta(milliseconds=1 if store.postgresql else 1000))
    assert lease is not None
    now[0] += timedelta(seconds=2)
    if store.postgresql:  # its clock is the server's
        with store.read() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(0.01)")
    with pytest.raises(FenceLost):
        store.journal.commit(an_entry(1, fence=Fence(lease.lease, lease.claim)))
    assert count(store, signals) == 0


def test_hints_of_one_key_merge(store: Store) -> None:
    late, early = MOMENT + timedelta(hours=2), MOMENT + timedelta(hours=1)
    store.journal.commit(JournalEntry("desk", hints=[Hint(key="t1", data={"n": 1}, not_before=early), Hint(key="t2")]))
    store.journal.commit(JournalEntry("desk", hints=[Hint(key="t1", data={"n": 2}, not_before=late)]))
    found = {row["key"]: row for row in rows(store, receipts)}
    assert found["t1"]["payload"] == b'{"n":2}'
    assert found["t1"]["version"] == 1
    assert found["t1"]["not_before"] == round(early.timestamp() * 1000)
    assert found["t2"]["not_before"] == 0


def test_a_fetched_receipt_goes_with_its_answer_unless_it_moved_on(store: Store) -> None:
    store.journal.commit(JournalEntry("desk", hints=[Hint(key="t1")]))
    (due,) = store.receipts.claim(10, timedelta(minutes=1))
    assert store.receipts.claim(10, timedelta(minutes=1)) == []
    store.journal.commit(JournalEntry("desk", hints=[Hint(key="t1", data={"newer": True})]))
    store.journal.commit(an_entry(1, fetched=due.fetched))
    (again,) = store.receipts.claim(10, timedelta(minutes=1))
    assert again.payload == b'{"newer":true}'
    store.journal.commit(an_entry(2, fetched=again.fetched))
    assert count(store, receipts) == 0


def test_a_body_in_quarantine_is_one_row_however_often_it_comes(store: Store) -> None:
    bad = Quarantined(UUID(int=7), "forms", b"\xff\x00", "no JSON\0", MOMENT)
    for _ in range(3):
        store.journal.commit(JournalEntry("forms", quarantined=[bad]))
    (row,) = store.receipts.list()
    assert (row.payload, row.error, row.kind) == (b"\xff\x00", "no JSON\u2400", "body")


POISON = {
    "unpaired surrogate": Person(email="a\ud800@example.com"),
    "NUL": Person(email="a\0@example.com"),
    "over-long": Person(email="a" * 400 + "@example.com"),
}


@pytest.mark.parametrize("kind", POISON)
def test_a_poison_row_is_quarantined_and_harms_nobody(store: Store, kind: str) -> None:
    poison = a_signal("poison", person=POISON[kind])
    with held_journal(store):
        before = [store.journal.submit(an_entry(f"a{n}")) for n in range(5)]
        mixed = JournalEntry(
            "phones", [NewSignal(a_signal("x"), CRM), NewSignal(poison, CRM), NewSignal(a_signal("y"), CRM)]
        )
        sick = store.journal.submit(JournalEntry("phones", mixed.arrivals, state=b"after"))
        after = [store.journal.submit(an_entry(f"b{n}")) for n in range(5)]
    assert all(len(future.result(10).new) == 1 for future in before + after)
    answer = sick.result(10)
    taken = not store.postgresql and kind != "unpaired surrogate"  # SQLite takes a NUL and any length
    assert (len(answer.new), answer.poisoned) == ((3, 0) if taken else (2, 1))
    assert store.cursors.read("phones") == b"after"
    assert len(store.receipts.list()) == answer.poisoned
    assert all(line.balanced for line in balance.balance(store))
    for receipt in store.receipts.list():
        assert "cannot be stored" in receipt.error
        assert b"poison" in receipt.payload


def test_poison_hints_and_memory_are_quarantined_too(store: Store) -> None:
    entry = an_entry(1, hints=[Hint(key="k\ud800"), Hint(key="good")], remember={"m\udc00": "v", "fine": "v"})
    answer = store.journal.submit(entry).result(10)
    assert (len(answer.new), answer.poisoned) == (1, 2)
    assert {row.key for row in store.receipts.list(state="pending")} == {"good"}
    assert store.cursors.recall("phones", ["fine"]) == {"fine": "v"}
    assert len(store.receipts.list()) == 2


def test_an_entry_that_cannot_be_stored_at_all_is_refused_and_nothing_loops(store: Store) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        store.journal.submit(JournalEntry("phones\ud800", state=b"1")).result(10)
    assert len(store.journal.commit(an_entry(1)).new) == 1


def test_close_drains_and_then_refuses(open_store: Callable[..., Store]) -> None:
    store = open_store()
    futures = [store.journal.submit(an_entry(n)) for n in range(50)]
    store.journal.close()
    assert all(len(future.result(0).new) == 1 for future in futures)
    with pytest.raises(StoreUnavailable, match="stopping"):
        store.journal.submit(an_entry("late"))
    assert store.journal.depth == 0


def test_listeners_hear_of_new_work_only(store: Store) -> None:
    heard: list[WakeUp] = []

    def broken(wake_up: WakeUp) -> None:
        raise RuntimeError("a listener's own trouble")

    store.journal.listen(broken)
    store.journal.listen(heard.append)
    store.journal.commit(an_entry(1, hints=[Hint(key="h")]))
    store.journal.commit(an_entry(1))
    store.journal.commit(an_entry(2, seeds=(InitialDelivery("crm", live=True, skipped="off"),)))
    assert heard == [WakeUp(frozenset({"crm"}), hints=True)]


def test_many_threads_and_two_stores_lose_and_double_nothing(open_store: Callable[..., Store]) -> None:
    """Two daemons on one database, each event told to both of them, by several threads at once."""
    stores = [open_store(), open_store()]
    new: list[int] = []
    start = threading.Barrier(6)

    def work(store: Store, offset: int) -> None:
        start.wait(10)
        futures = [store.journal.submit(an_entry(n, n + 1)) for n in range(offset, 120)]
        commits = [store.journal.commit(an_entry(n)) for n in range(offset, 30)]
        new.append(sum(len(f.result(30).new) for f in futures) + sum(len(c.new) for c in commits))

    threads = [threading.Thread(target=work, args=(stores[n % 2], n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(new) == count(stores[0], signals) == 121
    assert [line.signals for line in balance.balance(stores[0]) if line.balanced] == [121]


class held_journal:
    """While the block runs, nothing is committed: what is submitted in it becomes one group."""

    def __init__(self, store: Store) -> None:
        self._turn = store.journal._turn

    def __enter__(self) -> None:
        self._turn.acquire()

    def __exit__(self, *_: object) -> None:
        self._turn.release()
