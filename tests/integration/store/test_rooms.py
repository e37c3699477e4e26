"""Receipts, source health, jobs, queries and retention, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select

from syncd.connector import Hint
from syncd.signals import Person
from syncd.store import Store, balance, queries
from syncd.store.journal.entries import Fetched, InitialDelivery, JournalEntry, NewSignal
from syncd.store.person_search import signals_of
from syncd.store.purge import purge
from syncd.store.queries import Filter, Tail
from syncd.store.schema import attempts, deliveries, settled, signals, spending, tombstones, writes
from tests.entries import CRM, MOMENT, a_signal, an_entry

MINUTE = timedelta(minutes=1)
LONG_AGO = MOMENT - timedelta(days=3650)  # due on PostgreSQL's own clock too


def hints(store: Store, *keys: str) -> None:
    store.journal.commit(JournalEntry("desk", hints=[Hint(key=key) for key in keys], received_at=LONG_AGO))


# ------------------------------------------------------------------------------------------------------- receipts


def test_receipts_are_claimed_once_each_and_again_when_the_claim_ran_out(open_store: Callable[..., Store]) -> None:
    now = [MOMENT]
    first, second = open_store(clock=lambda: now[0]), open_store(clock=lambda: now[0])
    hints(first, "a", "b", "c")
    mine = first.receipts.claim(2, timedelta(milliseconds=1))
    others = second.receipts.claim(10, MINUTE)
    assert {due.key for due in mine} | {due.key for due in others} >= {"a", "b", "c"}
    now[0] += timedelta(seconds=1)
    again: list[str] = []
    while len(again) < 2:
        again += [due.key for due in second.receipts.claim(10, MINUTE) if due.key in {late.key for late in mine}]
        if len(again) + len(others) >= 3:
            break
    late = mine[0]
    assert not first.receipts.fail(late, "late", MOMENT)
    first.journal.commit(JournalEntry("desk", fetched=Fetched(late.id, late.version, late.claim)))
    assert first.receipts.get(late.id) is not None  # a stalled fetch removes nothing


def test_receipts_of_other_sources_wait(store: Store) -> None:
    hints(store, "a")
    assert store.receipts.claim(10, MINUTE, sources=["mail"]) == []
    assert store.receipts.claim(10, MINUTE, sources=[]) == []
    assert len(store.receipts.claim(10, MINUTE, sources=["mail", "desk"])) == 1


def test_a_postponed_receipt_counts_no_attempt_and_a_failed_one_does(store: Store) -> None:
    hints(store, "a", "b")
    far = store.clock() + timedelta(hours=1)
    for due in store.receipts.claim(10, MINUTE):
        assert store.receipts.postpone(due, far) if due.key == "a" else store.receipts.fail(due, "503", far)
    assert store.receipts.claim(10, MINUTE) == []
    found = {row.key: (row.attempts, row.error, row.not_before is not None) for row in store.receipts.list(state="")}
    assert found == {"a": (0, "", True), "b": (1, "503", True)}
    hints(store, "a")  # something new happened: it is due at once
    assert [due.key for due in store.receipts.claim(10, MINUTE)] == ["a"]


def test_a_hint_merged_while_its_fetch_fails_is_not_put_off(store: Store) -> None:
    hints(store, "a")
    (due,) = store.receipts.claim(10, MINUTE)
    hints(store, "a")
    assert store.receipts.postpone(due, store.clock() + timedelta(hours=1))
    (again,) = store.receipts.claim(10, MINUTE)
    assert store.receipts.renew(again, MINUTE)
    hints(store, "a")
    assert store.receipts.quarantine(again, "nonsense")
    assert [row.state for row in store.receipts.list(state="")] == ["pending"]


def test_quarantine_is_shown_retried_and_discarded(store: Store) -> None:
    hints(store, "a", "b")
    for due in store.receipts.claim(10, MINUTE):
        assert store.receipts.quarantine(due, "what is this\0")
    assert store.receipts.counts() == {("desk", "quarantined"): 2}
    shown = store.receipts.list(source="desk")
    assert {row.error for row in shown} == {"what is this\u2400"}
    assert store.receipts.retry(ids=[shown[0].id]) == 1
    assert [due.id for due in store.receipts.claim(10, MINUTE)] == [shown[0].id]
    assert store.receipts.discard(source="other") == 0
    assert store.receipts.discard() == 1
    assert store.receipts.next_due() is None
    hints(store, "c")
    assert store.receipts.next_due() is not None


# --------------------------------------------------------------------------------------------------- sources, jobs


def test_health_counts_failures_until_it_answers(store: Store) -> None:
    assert store.sources.health("desk").failures == 0
    store.sources.failed("desk", "503", MOMENT + MINUTE)
    store.sources.failed("desk", "429", MOMENT + MINUTE, count=False)
    store.sources.failed("desk", "503 again\0", MOMENT + 2 * MINUTE)
    ill = store.sources.health("desk")
    assert (ill.failures, ill.error, ill.next_at) == (2, "503 again\u2400", MOMENT + 2 * MINUTE)
    store.sources.succeeded("desk", MOMENT)
    well = store.sources.health("desk")
    assert (well.failures, well.error, well.next_at, well.last_ok_at) == (0, "", None, MOMENT)
    store.journal.commit(an_entry(1))
    assert store.sources.all()["phones"].last_signal_at == MOMENT


def test_a_job_is_done_by_one_and_taken_over_where_it_stood(open_store: Callable[..., Store]) -> None:
    first, second = open_store(), open_store()
    job = first.jobs.create("backfill", "phones", {"since": "2026-01-01"})
    assert first.jobs.same("backfill", "phones", {"since": "2026-01-01"}) == job
    taken = first.jobs.claim(MINUTE)
    assert taken is not None
    assert second.jobs.claim(MINUTE) is None
    assert first.jobs.step(job.id, taken[1], cursor=b"half", progress={"read": 5})
    first.leases.release(taken[1])  # it died
    assert not first.jobs.step(job.id, taken[1], progress={"read": 6})
    resumed = second.jobs.claim(MINUTE, kinds=["backfill"], id=job.id)
    assert resumed is not None
    assert (resumed[0].cursor, resumed[0].progress, resumed[0].state) == (b"half", {"read": 5}, "running")
    assert second.jobs.finish(job.id, resumed[1], "done", progress={"read": 9})
    assert second.jobs.claim(MINUTE) is None
    assert first.jobs.same("backfill", "phones", {"since": "2026-01-01"}) is None
    assert [found.state for found in first.jobs.list()] == ["done"]


def test_a_stopped_job_waits_to_be_resumed(store: Store) -> None:
    job = store.jobs.create("replay", "crm", {})
    taken = store.jobs.claim(MINUTE)
    assert taken is not None
    assert store.jobs.stop(job.id)
    assert not store.jobs.finish(job.id, taken[1], "done")
    store.leases.release(taken[1])
    assert store.jobs.claim(MINUTE) is None
    assert store.jobs.resume(job.id, restart=True)
    again = store.jobs.claim(MINUTE)
    assert again is not None
    assert again[0].cursor is None


# -------------------------------------------------------------------------------------------------------- queries


def test_filters(store: Store) -> None:
    ann = a_signal("ann", person=Person(email="ann@example.com"), occurred_at=MOMENT - timedelta(days=2))
    bob = a_signal("bob", person=Person(phone="+84912345678"), type="custom.order", source="forms")
    store.journal.commit(
        JournalEntry(
            "phones", [NewSignal(ann, CRM), NewSignal(bob, (InitialDelivery("crm", live=True, skipped="no"),))]
        )
    )

    def ids(**wanted: Any) -> set[str]:
        return {stored.signal.title for stored in queries.newest(store, Filter(**wanted))}

    assert ids() == {"call ann", "call bob"}
    assert ids(since=MOMENT) == ids(type="custom.*") == ids(channel="custom") == ids(source="forms") == {"call bob"}
    assert ids(until=MOMENT) == ids(type="call.missed") == ids(person="Ann@Example.com") == {"call ann"}
    assert (
        ids(person="+84912345678") == ids(ids=tuple(signals_of(store, "1234"))) == ids(state="skipped") == {"call bob"}
    )
    assert ids(state="pending", destination="crm") == ids(id=str(ann.id)[:8].upper()) == {"call ann"}
    assert ids(state="pending", destination="other") == ids(person="100%") == set()
    assert queries.count(store, Filter(destination="crm")) == 2
    assert {s.signal.title: s.states for s in queries.every(store, Filter())} == {
        "call ann": {"crm": ("pending", "")},
        "call bob": {"crm": ("skipped", "no")},
    }


def test_every_pages_through_ties(store: Store) -> None:
    store.journal.commit(an_entry(*range(1203)))
    seen = [stored.signal.id for stored in queries.every(store, Filter())]
    assert len(seen) == len(set(seen)) == 1203


def test_the_tail_gives_each_signal_once_even_a_late_commit(store: Store) -> None:
    tail = Tail(store, Filter(), MOMENT - MINUTE)
    store.journal.commit(JournalEntry("phones", [NewSignal(a_signal(1, received_at=MOMENT), CRM)]))
    assert [stored.signal.title for stored in tail.new()] == ["call 1"]
    late = a_signal(2, received_at=MOMENT - timedelta(seconds=30))
    store.journal.commit(JournalEntry("phones", [NewSignal(late, CRM)]))
    assert [stored.signal.title for stored in tail.new()] == ["call 2"]
    assert tail.new() == []


def test_explain_shows_all_rows_of_a_signal(store: Store) -> None:
    (id,) = store.journal.commit(an_entry(1)).new
    explained = queries.explain(store, str(id))
    assert explained is not None
    assert [row["state"] for row in explained.deliveries] == ["pending"]
    assert queries.explain(store, "absent") is None


# ------------------------------------------------------------------------------------------------------ retention


def settle_all(store: Store, state: str, *, of: str = "") -> None:
    with store.write() as connection:
        for row in connection.execute(select(deliveries)).all():
            values = {"settled_at": 0, "reason": "", "state": state, "channel": row.channel}
            keys = {"destination": row.destination, "signal_id": row.signal_id}
            if of and str(a_signal(of).id) != row.signal_id:
                continue
            connection.execute(insert(settled).values(**values, **keys))
            connection.execute(insert(attempts).values(**keys, rule="r", at=0, outcome="written", code="", message=""))
            connection.execute(delete(deliveries).where(deliveries.c.signal_id == row.signal_id))


def test_the_purge_keeps_ids_books_and_whatever_has_work_left(store: Store) -> None:
    store.journal.commit(an_entry(*(f"done{n}" for n in range(25)), "dead", "open"))
    settle_all(store, "dead", of="dead")
    for n in range(25):
        settle_all(store, "delivered", of=f"done{n}")
    store.journal.commit(JournalEntry("phones", [NewSignal(a_signal("young", received_at=MOMENT + 3 * MINUTE), ())]))
    with store.write() as connection:
        connection.execute(insert(spending).values(destination="crm", hour=0, units=1, calls=1))
    done = purge(store, MOMENT + MINUTE, bite=7)
    assert done is not None
    assert done.signals == 25
    assert {stored.signal.title for stored in queries.newest(store, Filter())} == {
        "call dead",
        "call open",
        "call young",
    }
    (line,) = balance.balance(store)
    assert (line.signals, line.dead, line.pending, line.delivered, line.balanced) == (2, 1, 1, 0, True)
    again = store.journal.commit(an_entry("done3", "dead", "fresh"))
    assert (len(again.new), again.repeats) == (1, 2)
    with store.read() as connection:
        sizes = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tombstones, attempts, spending, writes, signals)
        ]
    assert sizes == [25, 1, 0, 0, 4]


def test_one_purges_at_a_time(store: Store) -> None:
    assert store.leases.acquire("purge", MINUTE) is not None
    assert purge(store, MOMENT) is None
