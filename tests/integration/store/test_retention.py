"""Nothing unbounded stays: quarantine, who is who and old sources go with their time, in bites, while others write."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import func, insert, select

from syncd.connector import Hint
from syncd.signals import Signal, make_person
from syncd.store import Store
from syncd.store.balance import balance, unbalanced
from syncd.store.engine import millis
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.purge import purge
from syncd.store.schema import people, receipts, source_health

OLD = timedelta(days=200)


def count(store: Store, table: object) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_quarantine_people_and_silent_sources_go(store: Store) -> None:
    now = store.clock()
    old, new = millis(now - OLD), millis(now)
    body = {"source": "s", "kind": "body", "payload": b"{}", "error": "", "not_before": 0}
    with store.write() as connection:
        connection.execute(
            insert(receipts),
            [
                {**body, "id": str(uuid4()), "key": f"{at}{n}", "state": state, "received_at": at}
                for at in (old, new)
                for state in ("quarantined", "pending")
                for n in (f"{state}1", f"{state}2", f"{state}3")
            ],
        )
        connection.execute(
            insert(people),
            [
                {"destination": f"d{n % 3}", "identity": f"email:{n}{state}{at}", "state": state, "checked_at": at}
                for n in range(35)
                for state in ("known", "creating")
                for at in (old, new)
            ],
        )
        connection.execute(
            insert(source_health), [{"source": f"s{at}", "last_ok_at": at, "last_signal_at": 0} for at in (old, new)]
        )
    done = purge(store, now - timedelta(days=180), bite=2)
    assert done is not None
    assert (done.quarantined, done.people) == (3, 35)
    assert (count(store, receipts), count(store, people), count(store, source_health)) == (9, 105, 1)


def arrivals(at: datetime, number: int) -> tuple[NewSignal, ...]:
    person = make_person(email="an@example.org")
    return tuple(
        NewSignal(
            Signal(
                id=uuid4(), type="custom.a", source="s", occurred_at=at, received_at=at, title="t", person=person
            ),
            (InitialDelivery("crm", live=True, skipped="for the test"),),
        )
        for _ in range(number)
    )  # fmt: skip


def test_under_load_the_writer_is_not_starved(store: Store) -> None:
    long_ago = datetime.now(UTC) - OLD
    for _ in range(20):
        store.journal.commit(JournalEntry("s", received_at=long_ago, arrivals=arrivals(long_ago, 200)))
    worst, stop = [0.0], threading.Event()

    def write() -> None:
        while not stop.is_set():
            begun = time.monotonic()
            store.journal.commit(JournalEntry("s", arrivals=arrivals(datetime.now(UTC), 1), hints=(Hint(key="k"),)))
            worst[0] = max(worst[0], time.monotonic() - begun)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = purge(store, datetime.now(UTC) - timedelta(days=180))
    finally:
        stop.set()
        writer.join()
    assert done is not None
    assert done.signals == 4000
    assert unbalanced(balance(store)) == []
    assert worst[0] < 5, "far from what a busy machine adds: no commit waits for the whole purge"
