"""A cluster of real processes on loopback: daemons on one database, a CRM twin, a vendor, a maildir; and the audit of it all.

The chaos tests build one each. Promise: `audit` fails when anything acknowledged is lost, a record is doubled, a cursor is
ahead of its data or the books do not balance, whatever was done to the processes before.
"""

from __future__ import annotations

import hashlib
import re
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import orjson
from sqlalchemy import delete, select, update

from syncd.http import refreshing
from syncd.signals import decode_signal
from syncd.store import Store
from syncd.store.balance import balance, unbalanced
from syncd.store.schema import cursors, deliveries, lanes, leases, people, settled, signals, writes
from tests.chaos.load import KNOWN, SECRET, Event, Postman, Vendor, address
from tests.chaos.local import LocalDaemon, LocalTwin
from tests.chaos.processes import SYNCD, Process, Twin, answers, until

LOST_ANSWERS = {"on": "*", "do": "reset", "when": "after", "chance": 0.05}
"""5 % of all answers are lost after the write."""
_MARK = re.compile(r"mark:(\w+):")


@dataclass(frozen=True)
class Crm:
    """How a twin is configured, and what its records are called."""

    name: str
    settings: Mapping[str, Any]
    tasks: tuple[tuple[str, str], ...]  # objects of a signal's records, and their field with the text
    leads: str
    contacts: tuple[str, str, str]  # object, first name, last name
    email: str = "Email"


def salesforce(url: str) -> Crm:
    auth = {"flow": "client_credentials", "client_id": "chaos", "client_secret": "chaos"}
    settings = {"type": "salesforce", "mapping": "mappings/salesforce.yaml", "login_url": url, "auth": auth}
    return Crm("salesforce", settings, (("Task", "Description"),), "Lead", ("Contact", "FirstName", "LastName"))


def zoho(url: str) -> Crm:
    auth = {"client_id": "chaos", "client_secret": "chaos", "refresh_token": "chaos"}
    settings = {
        "type": "zoho",
        "mapping": "mappings/zoho.yaml",
        "accounts_url": url,
        "base_url": url,
        "auth": auth,
    }
    return Crm("zoho", settings, (("Tasks", "Description"),), "Leads", ("Contacts", "First_Name", "Last_Name"))


def bitrix24(url: str) -> Crm:
    settings = {"type": "bitrix24", "mapping": "mappings/bitrix24.yaml", "base_url": f"{url}/rest/1/twin/"}
    texts = (("comment", "COMMENT"), ("activity", "DESCRIPTION"))
    return Crm("bitrix24", settings, texts, "lead", ("contact", "name", "lastName"), "email")


CRMS = {"salesforce": salesforce, "zoho": zoho, "bitrix24": bitrix24}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Report:
    """What an audit counted."""

    acked: int = 0
    mails: int = 0
    stored: int = 0
    states: Counter[str] = field(default_factory=Counter)
    records: int = 0
    leads: int = 0

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        came = f"{self.acked} acked, {self.mails} mails, {self.stored} signals ({states})"
        return f"{came}, {self.records} records, {self.leads} leads"


class Daemon(Process):
    """One `syncd run`."""

    def __init__(
        self, config: Path, port: int, number: int, env: Mapping[str, str], before: Sequence[str] = ()
    ) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        log = config.parent / f"daemon-{number}.log"
        super().__init__([*before, SYNCD, "--config", str(config), "run"], log, cwd=config.parent, env=env)

    def ready(self, within: float = 30.0) -> Self:
        """Waits until it answers. Raises AssertionError with its log when it ended instead."""
        until(
            lambda: not self.alive or answers(f"{self.url}/healthz"), f"the daemon answers\n{self.text[-3000:]}", within
        )
        assert self.alive, self.text[-3000:]
        return self


class Cluster:
    """Processes around one database. `ports`: one for each daemon that may run beside the others."""

    def __init__(
        self,
        folder: Path,
        database: str,
        crm: str = "salesforce",
        *,
        daemons: int = 1,
        faults: Sequence[Mapping[str, Any]] = (),
        seed: int = 0,
        every: float = 0.015,
        poll: str = "300ms",
        env: Mapping[str, str] | None = None,
        local: bool = False,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.local = local
        self.database = database
        self.seed = seed
        self.started = 0
        self.began = time.monotonic()
        self._env = {"SYNCD_LEASE_SECONDS": "60", **(env or {})}
        self._processes: list[Any] = []
        twin_port = free_port()
        self.crm = CRMS[crm](f"http://127.0.0.1:{twin_port}")
        self._twin_port = twin_port
        self.twin: Any = self._track((LocalTwin if local else Twin)(crm, folder, twin_port, faults))
        self._know_people()
        self.ports = [free_port() for _ in range(daemons)]
        self.configs = [self._write_config(port, n, poll, settings) for n, port in enumerate(self.ports)]
        self.vendor = Vendor(self.ports, seed=seed, every=every)
        self.postman = Postman(folder / "Maildir")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.vendor.give_up()
        for process in self._processes:
            process.finish()

    def _track(self, process: Any) -> Any:
        self._processes.append(process)
        return process

    def _know_people(self) -> None:
        object_, first, last = self.crm.contacts
        people = [{first: "Person", last: f"Number{n}", self.crm.email: address(n)} for n in range(KNOWN)]
        self.twin.add(object_, people)

    def _write_config(self, port: int, number: int, poll: str, settings: Mapping[str, Any]) -> Path:
        config = {
            "database": self.database,
            "server": {"listen": f"127.0.0.1:{port}"},
            "channels": {"email": {"received": True}, "survey": {"responded": True}, "chat": {"missed": True}},
            "secret_key": "a key for the tokens of the chaos tests",
            "sources": {
                "forms": {
                    "type": "webhook",
                    "verify": {"scheme": "standard_webhooks", "secret": SECRET},
                    "account": "chaos",
                    "format": "cloudevents",
                },
                "inbox": {"type": "maildir", "poll": poll, "path": str(self.folder / "Maildir")},
            },
            "destinations": {"crm": {**self.crm.settings, "doubt": "1s"}},
            "retry": {"schedule": ["0s", *["200ms"] * 14], "jitter": "20%"},
            **settings,
        }
        path = self.folder / f"config-{number}.yaml"
        path.write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2))  # JSON is YAML
        return path

    # ------------------------------------------------------------------------------------------------------ processes

    def start(self, number: int = 0, *, crash_at: str = "", env: Mapping[str, str] | None = None) -> Any:
        """Starts daemon `number`, without waiting for it."""
        self.started += 1
        if self.local:
            return self._track(LocalDaemon(self.configs[number], self.ports[number]))
        more = {"SYNCD_CRASH_AT": crash_at} if crash_at else {}
        all_env = {**self._env, **more, **(env or {})}
        return self._track(Daemon(self.configs[number], self.ports[number], self.started, all_env))

    def restart_twin(self) -> None:
        """kill -9 for the CRM too; its journal brings its records back. Faults are gone."""
        self.twin.kill()
        self.twin = self._track(Twin(self.crm.name, self.folder, self._twin_port))

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The database as somebody beside the daemon sees it."""
        store = Store.open(self.database, migrate=False)
        try:
            yield store
        finally:
            store.close()

    def owner(self, lease: str = "lane:crm") -> int:
        """The pid of the process that holds a lease, 0 when nobody does."""
        with self.store() as store:
            holder = store.leases.holder(lease)
        return int(holder.split(":")[1]) if holder else 0

    def sending(self) -> int:
        """How many writes have left and have no answer yet."""
        with self.store() as store, store.read() as connection:
            return len(connection.execute(select(writes.c.key).where(writes.c.state == "sending")).all())

    def metric(self, number: int, line: str) -> float:
        """The value of one line of a daemon's /metrics, 0 when it is not there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[number]}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(text.rpartition(" ")[2]) for text in lines if text.startswith(line + " ")), 0.0)

    def rests(self, longer_than: float = 2.0) -> str:
        """Why the lane rests for longer than so many seconds, "" when it does not."""
        with self.store() as store, store.read() as connection:
            row = connection.execute(select(lanes.c.paused_until, lanes.c.reason)).one_or_none()
            return str(row.reason) if row is not None and row.paused_until > store.now() + longer_than * 1000 else ""

    def rested(self) -> None:
        """As if the lane's rest were over, and whatever waits for an hour were due: a daemon must not be up."""
        now = {"due_at": 0}
        refreshing._blocked.clear()  # a `local` cluster's; Zoho's ten minutes without tokens
        with self.store() as store, store.write() as connection:
            connection.execute(delete(lanes))
            connection.execute(update(deliveries).values(now))
            connection.execute(update(writes).where(writes.c.state.in_(("pending", "held"))).values(now))
            connection.execute(update(people).values(checked_at=0).where(people.c.state == "creating"))

    def polls(self) -> None:
        """Waits until the maildir has a cursor: mails dropped before are history."""
        with self.store() as store:
            until(lambda: store.cursors.read("inbox"), "the maildir has a cursor")

    # ------------------------------------------------------------------------------------------------ settle and audit

    def settle(self, within: float = 90.0, *, waits: tuple[str, ...] = ("pending", "held")) -> None:
        """Waits until every mail is a signal and nothing is under way any more. A daemon must be up."""
        with self.store() as store:

            def settled() -> bool:
                if len(self.arrived()) < len(self.postman.mails):  # asked first: a mail that comes later is under way
                    return False
                return not any(getattr(line, state) for line in balance(store) for state in waits)

            try:
                until(settled, "everything settled", within)
            except AssertionError as error:
                raise AssertionError(f"{error}; {self._stuck(store)}\n{self.last_log()}") from None

    def arrived(self) -> list[str]:
        """The signals that mails have become."""
        with self.store() as store, store.read() as connection:
            return list(connection.execute(select(signals.c.id).where(signals.c.source == "inbox")).scalars())

    def _stuck(self, store: Store) -> str:
        with store.read() as connection:
            rows = connection.execute(select(deliveries).limit(5)).all()
            open_writes = connection.execute(select(writes).where(writes.c.state != "written").limit(5)).all()
            held = connection.execute(select(leases)).all()
        return f"now {store.now()}, deliveries {rows}, writes {open_writes}, leases {held}, books {balance(store)}"

    def last_log(self) -> str:
        daemons = [process for process in self._processes if isinstance(process, (Daemon, LocalDaemon))]
        return daemons[-1].text[-3000:] if daemons else ""

    def audit_store(self) -> None:
        """What must be true at any moment, also of a database whose daemon has just been killed."""
        with self.store() as store:
            wrong = unbalanced(balance(store))
            assert not wrong, wrong
            marks = self._stored(store)
            missing = set(self.vendor.acked) - set(marks)
            # Taken before the store was read: whatever had its 200 by then must be in it.
            assert not missing, f"acknowledged, not stored: {sorted(missing)[:10]} of {len(missing)}"
            self._check_cursor(store, set(marks))

    def _stored(self, store: Store) -> dict[str, str]:
        """mark -> signal id."""
        with store.read() as connection:
            bodies = connection.execute(select(signals.c.id, signals.c.body)).all()
        found: dict[str, str] = {}
        for ident, body in bodies:
            mark = decode_signal(body).title.removeprefix("event ")
            assert mark not in found, f"event {mark} is two signals"
            found[mark] = ident
        return found

    def _check_cursor(self, store: Store, marks: set[str]) -> None:
        """The maildir's cursor is the set of file names it is done with (48-bit hashes): each must be a signal."""
        with store.read() as connection:
            state = connection.execute(select(cursors.c.state).where(cursors.c.source == "inbox")).scalar()
        if state is None:
            return
        packed: bytes = msgspec.msgpack.decode(state)["folders"]["INBOX"]
        done = {packed[at : at + 6] for at in range(0, len(packed), 6)}
        for name, mark in self.postman.names.items():
            if hashlib.blake2b(name.encode(), digest_size=6).digest() in done:
                assert mark in marks, f"the cursor is ahead of mail {mark}"

    def audit(
        self, *, unconfirmed: bool = False, dead: bool = False, others: bool = False, leads: bool = True
    ) -> Report:
        """Everything, after `settle`. `unconfirmed`, `dead`: such endings may occur; they are counted apart. `others`: a
        test has posted more than the vendor, and looks after that itself. `leads` False: people come and go."""
        self.audit_store()
        events: dict[str, Event] = {**self.vendor.acked, **self.postman.mails}
        with self.store() as store:
            ids = self._stored(store)
            with store.read() as connection:
                states = {row.signal_id: row.state for row in connection.execute(select(settled))}
        missing = set(events) - set(ids)
        assert not missing, f"lost: {sorted(missing)[:10]} of {len(missing)}"
        tasks: Counter[str] = Counter(
            mark
            for object_, text in self.crm.tasks
            for record in self.twin.records(object_)
            for mark in _MARK.findall(record.get(text) or "")
        )
        if others:
            ids = {mark: ident for mark, ident in ids.items() if mark in events}
        for mark, ident in ids.items():
            event, state = events[mark], states.get(ident, "nowhere")
            if state == "delivered":
                assert tasks[mark] == event.records, f"{mark} ({event.kind}) is delivered and has {tasks[mark]} records"
            else:
                assert (unconfirmed and state == "unconfirmed") or (dead and state == "dead"), f"{mark} ended {state}"
                assert tasks[mark] <= event.records, f"{mark} ended {state} and has {tasks[mark]} records"
        assert others or set(tasks) <= set(ids), f"records of no signal: {sorted(set(tasks) - set(ids))[:10]}"
        self._audit_leads(events.values(), complete=leads and not (dead or others))
        assert self.twin.stats()["doubled"] == {}
        assert self.twin.stats()["counts"].get("bugs", 0) == 0, self.twin.text[-2000:]
        self.check_logs()
        made, ended = len(self.twin.records(self.crm.leads)), Counter(states.values())
        return Report(len(self.vendor.acked), len(self.postman.mails), len(ids), ended, sum(tasks.values()), made)

    def _audit_leads(self, events: Any, *, complete: bool) -> None:
        leads = Counter(record[self.crm.email] for record in self.twin.records(self.crm.leads))
        twice = [email for email, count in leads.items() if count > 1]
        assert not twice, f"leads made twice: {twice}"
        strangers = {address(event.person) for event in events if event.person >= KNOWN}
        assert not complete or set(leads) <= strangers, "leads were made of people who are contacts"
        assert not complete or set(leads) == strangers, f"no lead: {sorted(strangers - set(leads))[:10]}"

    def check_logs(self) -> None:
        """No daemon may have tripped over itself."""
        for process in self._processes:
            if isinstance(process, (Daemon, LocalDaemon)):
                text = process.text
                assert not any(word in text for word in ("Traceback", "bug of ours")), text[-6000:]

    def summary(self, name: str, report: Report, **figures: object) -> None:
        """The line that says what this test has been through."""
        more = "".join(f", {value} {key}" for key, value in figures.items())
        print(f"\n{name}: seed {self.seed}{more}; {report}; {time.monotonic() - self.began:.1f} s")
