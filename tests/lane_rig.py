"""A lane on a real store with a hostile CRM behind it, its clock in the test's hand: what every dispatch test stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from syncd.config.models import DestinationSettings, Retry, Settings
from syncd.connector import Idempotency, WriteKind
from syncd.dispatch.lane import Lane, StepResult
from syncd.dispatch.plan import write_key
from syncd.mapping.loading import load_mapping
from syncd.signals import Route, Signal, derive_id, make_person
from syncd.store import Store
from syncd.store.balance import balance, unbalanced
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.schema import attempts, deliveries, people, settled, writes
from syncd.testing.hostile_destination import HostileCrm, HostileDestination

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

MAPPING = """
people:
  match:
    - object: Contact
      by: {Email: "{{ person.email }}", Phone: "{{ person.phone }}"}
    - object: Lead
      by: {Email: "{{ person.email }}", Phone: "{{ person.phone }}"}
  strangers: {"*.bounced": skip, "chat.*": {hold: 7d}, "*": create}
  create:
    object: Lead
    key: Key
    fields:
      LastName: "{{ person.last_name or person.email or person.phone }}"
      Email: "{{ person.email }}"
      Phone: "{{ person.phone }}"
rules:
  - id: timeline
    name: Everything
    signals: ["*"]
    upsert: Task
    key: Key
    link: {WhoId: person}
    fields: {Subject: "{{ signal.title }}"}
    on_create: {Status: Completed}
"""
THREADS = """
rules:
  - id: case
    name: One case a thread
    signals: ["*"]
    upsert: Case
    key: Key
    about: thread
    fields: {Subject: "{{ signal.title }}", Text: "{{ signal.text }}"}
    on_create: {Status: New}
"""


def signal(
    number: int,
    *,
    email: str = "ann@example.com",
    phone: str = "",
    name: str = "",
    handles: dict[str, str] | None = None,
    type: str = "email.received",
    thread: str = "",
    at: datetime = T0,
    route: Route = Route.WEBHOOK,
    title: str = "",
    text: str = "",
) -> Signal:
    """Signal number n: always the same id for the same number and type."""
    return Signal(
        id=derive_id("rig", "", type, str(number)),
        type=type,
        source="rig",
        occurred_at=at,
        received_at=at,
        title=title or f"signal {number}",
        text=text,
        person=make_person(name=name, email=email, phone=phone, handles=handles),
        thread=thread,
        route=route,
    )


@dataclass
class Rig:
    """`store_url` may be a PostgreSQL's. `now` is the clock of everything."""

    store_url: str
    crm: HostileCrm = field(default_factory=HostileCrm)
    mapping: str = MAPPING
    channels: dict[str, Any] = field(default_factory=dict)
    here: dict[str, Any] = field(default_factory=dict)
    retry: Retry = field(default_factory=Retry)
    options: dict[str, Any] = field(default_factory=dict)
    now: datetime = T0
    store: Store = field(init=False)
    lane: Lane = field(init=False)

    def __post_init__(self) -> None:
        self.store = Store.open(self.store_url, clock=lambda: self.now)
        self.compiled = load_mapping(self.mapping, name="rig.yaml")
        self.connect()

    def connect(self) -> None:
        """A new lane, as after a restart: the former one is simply gone."""
        # Nothing waits for others unless the test is about it: quotas here are tight, so `auto` would wait.
        here = DestinationSettings(name="crm", type="hostile", **{"gather": "0s", **self.here})
        settings = Settings(channels=self.channels, destinations={"crm": here}, retry=self.retry)
        self.destination = HostileDestination(self.crm, **self.options)
        self.lane = Lane(
            "crm", self.destination, self.compiled, self.store, settings, random=lambda: 0.0, clock=lambda: self.now
        )

    def restart(self) -> None:
        self.connect()
        self.lane.take_over()

    def arrive(self, signals: Sequence[Signal], *, live: bool = True, old: bool = False) -> None:
        seed = InitialDelivery("crm", live=live, old=old)
        self.store.journal.commit(
            JournalEntry("rig", [NewSignal(one, (seed,)) for one in signals], received_at=self.now)
        )

    def step(self) -> StepResult:
        done = self.lane.step(self.now)
        self.check_books()
        return done

    def drain(self, rounds: int = 200) -> None:
        """Steps, letting the clock go to whatever is waited for, until nothing is left."""
        for _ in range(rounds):
            done = self.step()
            if done.wait_until is None:
                return
            self.later(max(0, done.wait_until - round(self.now.timestamp() * 1000)) / 1000)
        raise AssertionError(f"still not done: {self.rows(deliveries)} {self.rows(writes)}")

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def check_books(self) -> None:
        assert unbalanced(balance(self.store)) == []

    def rows(self, table: Any) -> list[dict[str, Any]]:
        with self.store.read() as connection:
            return [dict(row._mapping) for row in connection.execute(select(table))]

    def states(self) -> dict[str, int]:
        """How many deliveries stand where."""
        found: dict[str, int] = {}
        for table in (deliveries, settled):
            for row in self.rows(table):
                found[row["state"]] = found.get(row["state"], 0) + 1
        return found

    @property
    def writes(self) -> list[dict[str, Any]]:
        return self.rows(writes)

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return self.rows(attempts)

    @property
    def people(self) -> dict[str, dict[str, Any]]:
        return {row["identity"]: row for row in self.rows(people)}

    def records(self, object: str) -> list[dict[str, Any]]:
        return list(self.crm.records.get(object, {}).values())


def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/syncd.db"


KEPT = Idempotency(WriteKind.UPSERT)


def known(tmp_path: Path, keying: Idempotency = KEPT, **more: object) -> Rig:
    """A rig whose CRM knows Ann already; its tasks are written as `keying` says."""
    rig = Rig(sqlite(tmp_path), HostileCrm(kinds={"Task": keying}), **more)  # type: ignore[arg-type]
    rig.crm.add("Contact", Email="ann@example.com")
    return rig


def key_of(number: int, rule: str = "timeline") -> str:
    """The key of the record that a rule makes of signal `number`."""
    return write_key(f"signal:{signal(number).id}", rule)


def write_state(rig: Rig) -> str:
    """The state of the only write there is."""
    (row,) = rig.writes
    return str(row["state"])
