"""Several events that one signal counts: each once, whatever the order, on both databases and from several processes."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from threading import Barrier, Thread
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, select

from syncd.store import Store, privacy
from syncd.store.balance import balance, unbalanced
from syncd.store.journal.entries import Committed, InitialDelivery, JournalEntry, NewSignal
from syncd.store.purge import purge
from syncd.store.queries import get
from syncd.store.schema import deliveries, repeats, settled, signals
from tests.entries import CRM, MOMENT, a_signal

HOUR = timedelta(hours=1)


def opened(event: str, *, at: datetime = MOMENT, seeds: tuple[InitialDelivery, ...] = CRM, **changes: Any) -> NewSignal:
    """One opening of the email `native`."""
    changes.setdefault("native", "mail")
    return NewSignal(a_signal(occurred_at=at, repeat=event, **changes), seeds)


def commit(store: Store, *arrivals: NewSignal) -> Committed:
    return store.journal.commit(JournalEntry("phones", arrivals))


def rows(store: Store, table: Any) -> list[dict[str, Any]]:
    with store.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def data(store: Store, native: str = "mail") -> dict[str, Any]:
    found = get(store, str(a_signal(native).id))
    assert found is not None
    assert found.repeat == ""
    return found.data


def deliver(store: Store, state: str = "delivered") -> None:
    """What a lane does at the end."""
    with store.write() as connection:
        for row in rows_of(connection, deliveries):
            connection.execute(deliveries.delete().where(deliveries.c.signal_id == row["signal_id"]))
            values = {name: row[name] for name in ("destination", "signal_id", "channel")}
            connection.execute(settled.insert().values(**values, state=state, reason="", settled_at=0))


def rows_of(connection: Any, table: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


def test_the_first_event_is_a_signal_of_one(store: Store) -> None:
    assert len(commit(store, opened("a")).new) == 1
    assert data(store) == {"count": 1, "last_at": "2026-03-01T09:30:00Z"}


def test_another_event_is_counted_and_the_same_again_is_not(store: Store) -> None:
    commit(store, opened("a"))
    later = commit(store, opened("b", at=MOMENT + HOUR))
    assert (later.new, later.repeats, later.merged) == ((), 0, 1)
    again = commit(store, opened("b", at=MOMENT + HOUR))
    assert (again.new, again.repeats, again.merged) == ((), 1, 0)
    assert data(store) == {"count": 2, "last_at": "2026-03-01T10:30:00Z"}
    (stored,) = rows(store, signals)
    assert stored["occurred_at"] == round(MOMENT.timestamp() * 1000)


@pytest.mark.parametrize("seed", range(5))
def test_neither_order_nor_bundling_matters(store: Store, seed: int) -> None:
    random = Random(seed)
    events = [opened(str(n % 7), at=MOMENT + (n % 7) * HOUR) for n in range(20)]
    random.shuffle(events)
    while events:
        size = random.randint(1, 6)
        commit(store, *events[:size])
        del events[:size]
    assert data(store) == {"count": 7, "last_at": "2026-03-01T15:30:00Z"}
    assert len(rows(store, repeats)) == 7
    assert unbalanced(balance(store)) == []


def test_a_done_delivery_is_pending_again_and_one_that_needs_an_operator_is_not(store: Store) -> None:
    for state, pending in (("delivered", 1), ("dead", 0), ("unconfirmed", 0), ("discarded", 0), ("skipped", 0)):
        commit(store, opened("a", native=state))
        deliver(store, state)
        commit(store, opened("b", native=state, at=MOMENT + HOUR))
        waiting = [row for row in rows(store, deliveries) if row["signal_id"] == str(a_signal(state).id)]
        assert [(row["state"], row["repeated"]) for row in waiting] == [("pending", 1)] * pending, state
        assert data(store, state)["count"] == 2
        assert unbalanced(balance(store)) == []


def test_a_destination_that_does_not_ask_for_it_any_more_is_left_alone(store: Store) -> None:
    commit(store, opened("a"))
    deliver(store)
    commit(store, opened("b", seeds=(InitialDelivery("crm", live=True, skipped="not asked for"),)))
    commit(store, opened("c", seeds=()))
    assert rows(store, deliveries) == []
    assert data(store)["count"] == 3


def test_a_late_event_of_a_purged_signal_brings_nothing_back(store: Store) -> None:
    commit(store, opened("a"))
    deliver(store)
    assert purge(store, MOMENT + HOUR) is not None
    assert rows(store, repeats) == []
    late = commit(store, opened("b", at=MOMENT + 5 * HOUR))
    assert (late.new, late.repeats, late.merged) == ((), 1, 0)
    assert [rows(store, table) for table in (signals, repeats, deliveries, settled)] == [[], [], [], []]


def test_who_is_exported_and_forgotten_is_so_with_their_events(store: Store) -> None:
    person = msgspec.structs.replace(a_signal().person, email="jo@example.com")
    commit(store, opened("jo@example.com opened it", person=person), opened("b", native="another"))
    marks = privacy.marks_of("jo@example.com", None)
    found = privacy.look(store, marks)
    told = [row for row in privacy.everything(store, found, marks) if row["table"] == "repeats"]
    assert [row["signal_id"] for row in told] == [str(a_signal("mail").id)]
    assert "jo@" not in str(told)
    privacy.erase(store, marks, found)
    assert [row["signal_id"] for row in rows(store, repeats)] == [str(a_signal("another").id)]


def test_processes_that_count_the_same_signal_lose_no_event(store_url: str) -> None:
    several = [Store.open(store_url) for _ in range(3)]
    begin = Barrier(len(several))

    def run(store: Store, first: int) -> None:
        begin.wait()
        for number in range(first, first + 8):  # each event comes to two of them
            commit(store, opened(str(number), at=MOMENT + number * HOUR), opened(str(number), native="other"))

    threads = [Thread(target=run, args=(store, 4 * at)) for at, store in enumerate(several)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [data(several[0], native)["count"] for native in ("mail", "other")] == [16, 16]
    assert data(several[0])["last_at"] == "2026-03-02T00:30:00Z"
    assert unbalanced(balance(several[0])) == []
    for store in several:
        store.close()


def test_signals_of_one_event_cost_no_statement_more(store: Store) -> None:
    ran: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *args: ran.append(args[2]))
    store.journal.commit(JournalEntry("phones", [NewSignal(a_signal(n), CRM) for n in range(3)]))
    assert [text for text in ran if "repeats" in text or "repeated" in text] == []
    commit(store, opened("a"))
    assert [text for text in ran if "INTO repeats" in text]
