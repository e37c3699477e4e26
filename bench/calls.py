"""How many calls 1,000 signals cost a CRM: cold, when only the new leads are new, and when everybody is known; then replayed.

`python -m bench.calls`. Counted at the twin, through the real lane, destination, store and shipped mapping. Counts do not
depend on the machine, so a test asserts them (tests/integration/test_calls.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.figures import Aim, Figure, Table
from syncd import registry
from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Context, Destination
from syncd.dispatch.lane import Lane
from syncd.dispatch.replay import replay
from syncd.http.oauth import MemoryTokens
from syncd.mapping import find_mapping
from syncd.signals import Signal
from syncd.store.queries import Filter
from syncd.twins import create
from syncd.twins.server import Twin
from tests.lane_rig import Rig, signal, sqlite

SIGNALS, PEOPLE, STRANGERS = 1000, 400, 50


@dataclass(frozen=True)
class Crm:
    """Where a CRM keeps what, and how a destination finds its twin. `aims`: calls cold, with new leads, all cached."""

    contacts: str
    leads: str
    tasks: str
    last_name: str
    settings: dict[str, Any]
    urls: tuple[str, ...]
    aims: tuple[int, int, int]
    email: str = "Email"
    path: str = ""  # below the twin's address
    twin: dict[str, Any] = field(default_factory=dict)  # what the twin is made with


_CLIENT = {"client_id": "bench", "client_secret": "bench"}
CRMS = {
    "salesforce": Crm(
        "Contact",
        "Lead",
        "Task",
        "LastName",
        {"auth": {"flow": "client_credentials", **_CLIENT}},
        ("login_url",),
        (4, 2, 1),
    ),
    "zoho": Crm(
        "Contacts",
        "Leads",
        "Tasks",
        "Last_Name",
        {"auth": {"refresh_token": "bench", **_CLIENT}},
        ("accounts_url", "base_url"),
        (20, 11, 10),
    ),
    "bitrix24": Crm(
        "contact",
        "lead",
        "comment",
        "lastName",
        {"requests_per_second": 50},
        ("base_url",),
        (36, 24, 22),
        "email",
        "/rest/1/twin/",
        {"rate": 1000.0, "burst": 1000.0},
    ),
}


@dataclass
class Scene(Rig):
    """A lane with the shipped mapping that writes to a twin instead of the CRM in memory."""

    kind: str = ""
    twin: Twin | None = None
    mapping: str = field(default="")

    def __post_init__(self) -> None:
        self.mapping = find_mapping(self.kind, Path()).read_text("utf-8")
        super().__post_init__()

    def connect(self) -> None:
        assert self.twin is not None
        crm = CRMS[self.kind]
        url = self.twin.url + crm.path
        connector = registry.load("destination", self.kind)
        settings = connector.settings.model_validate({**crm.settings, **dict.fromkeys(crm.urls, url)})
        context = Context(name="crm", tokens=MemoryTokens(lambda: self.now), region="VN", clock=lambda: self.now)
        self.real: Destination = connector.build(settings, context)
        here = Settings(destinations={"crm": DestinationSettings(name="crm", type=self.kind, **self.here)})
        self.lane = Lane("crm", self.real, self.compiled, self.store, here, clock=lambda: self.now)

    def calls(self, signals: list[Signal], *, old: bool = False) -> int:
        """How many calls these cost, tokens not counted."""
        assert self.twin is not None
        before = self._counted()
        self.arrive(signals, live=not old, old=old)
        self.drain()
        return self._counted() - before

    def _counted(self) -> int:
        assert self.twin is not None
        return self.twin.counts["calls"] - self.twin.counts["op:token"]

    def records(self, object: str) -> list[dict[str, Any]]:
        assert self.twin is not None
        return [dict(record) for record in self.twin.records(object)]

    def written(self) -> tuple[int, int]:
        """(leads, tasks) at the twin."""
        crm = CRMS[self.kind]
        return len(self.records(crm.leads)), len(self.records(crm.tasks))


@contextmanager
def scene(kind: str, folder: Path, twin: Twin | None = None, **here: Any) -> Iterator[Scene]:
    """A new database before a twin that knows all people but the strangers."""
    crm = CRMS[kind]
    own = twin is None
    running = twin or create(kind, **crm.twin)
    if own:
        running.start()
        for number in range(PEOPLE - STRANGERS):
            running.add(crm.contacts, **{crm.last_name: f"Person {number}", crm.email: address(number)})
    folder.mkdir(exist_ok=True)
    made = Scene(sqlite(folder), kind=kind, twin=running, here=here)
    try:
        yield made
    finally:
        made.lane.close()
        made.real.close()
        made.store.close()
        if own:
            running.stop()


def address(number: int) -> str:
    return f"person{number % PEOPLE}@customer.example"


def thousand(start: int = 0) -> list[Signal]:
    """A thousand signals of four hundred people, each of which becomes one task."""
    return [signal(number, email=address(number)) for number in range(start, start + SIGNALS)]


def bounces() -> list[Signal]:
    """One signal of each of them for which no stranger becomes a lead."""
    return [signal(number, email=address(number), type="email.bounced") for number in range(PEOPLE)]


@dataclass(frozen=True)
class Counted:
    """Calls, and records that came in spite of being there."""

    cold: int
    new_leads: int
    cached: int
    replayed: int
    replay_made: int
    lost_database: int
    lost_database_made: int


def count(kind: str, folder: Path) -> Counted:
    """Counts it all at one twin after the other. Raises AssertionError where records are missing or doubled."""
    with scene(kind, folder / "cold") as cold:
        first = cold.calls(thousand())
        assert cold.written() == (STRANGERS, SIGNALS), cold.written()
        cached = cold.calls(thousand(SIGNALS))
        assert cold.written() == (STRANGERS, 2 * SIGNALS), cold.written()
        assert cold.states() == {"delivered": 2 * SIGNALS}, cold.states()
        replayed, made = _replay(cold)
        # The database is gone, and a backfill brings the same signals again.
        with scene(kind, folder / "lost", cold.twin) as lost:
            before = lost.written()
            again = lost.calls(thousand(), old=True)
            after = lost.written()
    with scene(kind, folder / "leads") as leads:
        leads.calls(bounces())
        leads.later(60)
        new = leads.calls(thousand())
        assert leads.written()[0] == STRANGERS, leads.written()
    return Counted(first, new, cached, replayed, made, again, sum(after) - sum(before))


def _replay(scene: Scene) -> tuple[int, int]:
    """(calls, new records) of a replay of everything."""
    before, calls = scene.written(), scene._counted()
    scene.later(timedelta(hours=1).total_seconds())
    assert replay(scene.store, Filter(), "crm").again == 2 * SIGNALS
    scene.drain()
    return scene._counted() - calls, sum(scene.written()) - sum(before)


GATHER = "30s"
ONE_BY_ONE = ((2, True, 60), (20, True, 20), (300, False, 4))
"""(signals a second, whether of new people, the aim: calls to Salesforce) of a thousand that come one by one."""


def one_by_one(rate: int, new: bool, folder: Path, kind: str = "salesforce", gather: str = GATHER) -> int:
    """The calls of a thousand signals of which `rate` come in a second, each of a new person or all of known ones. The clock is
    the bench's, so nothing is waited for. Raises AssertionError where records are missing or doubled."""
    with scene(kind, folder, gather=gather) as here:
        if not new:
            here.calls(thousand())
        known, before = here.written(), here._counted()
        began, due = here.now, None
        for number in range(SIGNALS):
            arrives = began + timedelta(seconds=number / rate)
            while due is not None and due <= arrives:
                here.now = due
                due = _stepped(here)
            here.now = arrives
            who = f"new{number}@customer.example" if new else address(number)
            here.arrive([signal(SIGNALS + number, email=who, at=arrives)])
            due = _stepped(here)
        here.drain()
        leads, tasks = (after - had for after, had in zip(here.written(), known, strict=True))
        assert (leads, tasks) == (SIGNALS if new else 0, SIGNALS), (leads, tasks)
        return here._counted() - before


def _stepped(here: Scene) -> datetime | None:
    """When the lane is to be asked again."""
    while (done := here.lane.step(here.now)).wait_until == 0:
        pass
    return None if done.wait_until is None else datetime.fromtimestamp(done.wait_until / 1000, UTC)


def run(*, quick: bool = False) -> list[Table]:
    """The counts of both CRMs."""
    tables = []
    for kind, crm in CRMS.items():
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
            counted = count(kind, Path(folder))
        cold, leads, cached = crm.aims
        tables.append(
            Table(
                f"calls: {SIGNALS:,} signals of {PEOPLE} people, {STRANGERS} of them strangers, to {kind}",
                [
                    Figure("cold", counted.cold, "calls", Aim.most(cold)),
                    Figure("only the leads are new", counted.new_leads, "calls", Aim.most(leads)),
                    Figure("everybody is cached", counted.cached, "calls", Aim.most(cached)),
                    Figure("replayed (2,000 signals)", counted.replayed, "calls"),
                    Figure("new records by the replay", counted.replay_made, "records", Aim.most(0)),
                    Figure("backfilled after the loss of the database", counted.lost_database, "calls"),
                    Figure("new records by that", counted.lost_database_made, "records", Aim.most(0)),
                ],
            )
        )
    figures = []
    for rate, new, aim in ONE_BY_ONE:
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
            calls = one_by_one(rate, new, Path(folder) / "db")
        figures.append(Figure(f"{rate}/s of {'new' if new else 'known'} people", calls, "calls", Aim.most(aim)))
    tables.append(Table(f"calls: {SIGNALS:,} signals that come one by one, to salesforce, gather: {GATHER}", figures))
    return tables


if __name__ == "__main__":
    for table in run():
        print(table)
