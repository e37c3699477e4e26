"""Claims and settlements a second with a CRM that answers at once: what dispatch itself costs, on SQLite and PostgreSQL.

`python -m bench dispatch`. Per database: the queue alone (claim and settle in batches), and the whole lane (map, resolve from
the cache, plan, write down before and after each call, settle).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bench.figures import Aim, Figure, Table, workplace
from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Call, Outcome, Written
from syncd.dispatch.lane import Lane
from syncd.mapping.loading import load_mapping
from syncd.signals import Signal, derive_id, make_person
from syncd.store import Store, queue
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.queue import Attempt, Ending, Settlement, WriteRow
from syncd.testing.hostile_destination import HostileCrm, HostileDestination
from tests.servers import postgres_server

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BATCHES = (200, 1000)
PEOPLE = 400
MAPPING = """
people:
  match: [{object: Lead, by: {Email: "{{ person.email }}"}}]
  strangers: create
  create: {object: Lead, key: Key, fields: {Email: "{{ person.email }}", LastName: "{{ person.email }}"}}
rules:
  - {id: timeline, name: Everything, signals: ["*"], upsert: Task, key: Key, link: {WhoId: person},
     fields: {Subject: "{{ signal.title | shorten(255) }}", Description: "{{ signal.text }}"}, on_create: {Status: Completed}}
"""


class Instant(HostileDestination):
    """Answers at once and keeps nothing."""

    def __init__(self, capacity: int) -> None:
        super().__init__(HostileCrm(), capacity=capacity)

    def send(self, call: Call) -> list[Outcome]:
        return [Written(f"00T{index:012}") for index, _ in enumerate(call.writes)]


def fill(store: Store, count: int) -> None:
    """Signals of 400 people, all due."""
    for first in range(0, count, 1000):
        arrivals = []
        for n in range(first, min(first + 1000, count)):
            one = Signal(
                id=derive_id("bench", "", "email.received", f"{count}-{n}-{time.monotonic_ns()}"),
                type="email.received",
                source="bench",
                occurred_at=NOW - timedelta(seconds=count - n),
                received_at=NOW,
                title=f"signal {n}",
                text="hello " * 40,
                person=make_person(email=f"p{n % PEOPLE}@example.com"),
            )
            arrivals.append(NewSignal(one, (InitialDelivery("crm", live=True),)))
        store.journal.commit(JournalEntry("bench", arrivals, received_at=NOW))


def queue_alone(store: Store, batch_size: int) -> int:
    """Claims and settles everything, as a lane does but with nothing in between."""
    now, done = round(NOW.timestamp() * 1000), 0
    while True:
        batch = store.apply(lambda c: queue.claim(c, "crm", limit=batch_size, now=now, until=now + 60_000))
        if not batch.taken:
            return done
        row = WriteRow("timeline", "k" * 36, "Task", "upsert", "written", crm_id="00T000000000001", attempts=1)
        what = Settlement(
            [(one.signal_id, row) for one in batch.taken],
            [Attempt(one.signal_id, "timeline", now, "written") for one in batch.taken],
            [Ending(one.signal_id, one.channel, "delivered", "") for one in batch.taken],
        )
        store.apply(lambda c, b=batch, w=what: queue.settle(c, b, w, now))  # type: ignore[misc]
        done += len(batch.taken)


def whole_lane(store: Store, batch_size: int) -> int:
    """Everything a lane does."""
    settings = Settings(destinations={"crm": DestinationSettings(name="crm", type="instant")})
    lane = Lane("crm", Instant(batch_size), load_mapping(MAPPING, name="bench.yaml"), store, settings)
    done = 0
    while True:
        step = lane.step(NOW)
        done += step.settled
        if not step.claimed:
            return done


def run(*, quick: bool = False) -> list[Table]:
    """The queue alone and the whole lane, in batches as Zoho's and Salesforce's lanes claim them, on both databases."""
    count = 2_000 if quick else 20_000
    tables = []
    with tempfile.TemporaryDirectory(dir=workplace()) as folder, postgres_server() as server:
        for name, url in (("SQLite", f"sqlite:///{folder}/bench.db"), ("PostgreSQL", server.url)):
            with Store.open(url) as store:
                tables.append(Table(f"dispatch on {name}, the CRM answers at once", list(_figures(store, count))))
    return tables


def _figures(store: Store, count: int) -> Iterator[Figure]:
    sqlite = not store.postgresql
    for size in BATCHES:
        for name, work in (("claim and settle", queue_alone), ("whole lane", whole_lane)):
            fill(store, count)
            began, cpu = time.perf_counter(), time.process_time()
            done = work(store, size)
            took, used = time.perf_counter() - began, time.process_time() - cpu
            aim = Aim.at_least(20_000) if sqlite and work is queue_alone and size == max(BATCHES) else None
            yield Figure(f"{name}, batches of {size}", done / took, "/s", aim)
            yield Figure(f"{name}, batches of {size}, CPU", used / done * 1e6, "µs each")
