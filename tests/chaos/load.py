"""What comes in while processes die: a vendor that posts signed events, each again until its 200, and mails into a maildir.

Every event carries a mark in its title and text, so that it can be found again in the store and in the CRM.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import orjson

from tests.chaos.processes import until

KEY = b"chaos has a secret of 32 bytes.."
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PEOPLE = 40
KNOWN = 10
"""The first of the people are contacts in the CRM already; the others must become one lead each."""


def address(person: int) -> str:
    return f"person{person}@customer.example"


@dataclass(frozen=True)
class Event:
    """One thing that happens: `records` tasks are due for it in the CRM."""

    mark: str
    kind: str
    person: int

    @property
    def records(self) -> int:
        return 2 if self.kind == "chat.missed" else 1

    def body(self, padding: int = 0) -> bytes:
        return orjson.dumps(
            {
                "specversion": "1.0",
                "type": self.kind,
                "source": "https://shop.example/chaos",
                "id": self.mark,
                "time": datetime.now(UTC).isoformat(),
                "subject": f"event {self.mark}",
                "datacontenttype": "application/json",
                "data": {
                    "person": {"email": address(self.person), "name": f"Person Number{self.person}"},
                    "text": f"mark:{self.mark}:",
                    "padding": os.urandom(padding // 2).hex(),
                },
            }
        )


def signed(body: bytes, ident: str, at: float | None = None, key: bytes = KEY) -> dict[str, str]:
    """Headers of Standard Webhooks."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(key, f"{ident}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": ident,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        "content-type": "application/cloudevents+json",
    }


def post(port: int, body: bytes, headers: dict[str, str], *, path: str = "/webhooks/forms") -> tuple[int, str, str]:
    """(status, Retry-After, text) of one POST. Raises OSError or HTTPException when no answer comes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("retry-after", ""), answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


class Vendor:
    """Posts events from threads of its own until `stop`; an event without a 200 is posted again, as vendors do."""

    def __init__(self, ports: Sequence[int], *, seed: int, threads: int = 3, every: float = 0.015) -> None:
        self.acked: dict[str, Event] = {}
        self.statuses: Counter[int] = Counter()
        self.skew = 0.0
        """Seconds by which the vendor's clock is ahead of the machine's."""
        self._ports = tuple(ports)
        self._serial = itertools.count(1)
        self._seed = seed
        self._every = every
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._giving_up = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def start(self) -> Vendor:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self, within: float = 60.0) -> None:
        """No new events; returns when each that was begun has its 200, so a daemon must be up."""
        self._stopping.set()
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self._giving_up.set()
        assert not any(thread.is_alive() for thread in self._threads), "events without an answer are left"

    def give_up(self) -> None:
        """Ends at once; what has no 200 was never acknowledged."""
        self._stopping.set()
        self._giving_up.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(30)

    def post_some(self, count: int) -> list[Event]:
        """Posts so many events from the calling thread; each has its 200 afterwards."""
        chance = random.Random(self._seed + 977)
        events = [self._next(chance) for _ in range(count)]
        for event in events:
            self._deliver(event, chance)
        return events

    def event(self) -> Event:
        """A new event, for a test that posts it itself."""
        return self._next(random.Random(self._seed + 983))

    def post_everywhere(self, count: int) -> None:
        """Posts each of so many events to every port at the same time; each port says 200."""
        chance = random.Random(self._seed + 991)
        for event in [self._next(chance) for _ in range(count)]:
            body = event.body()
            headers = signed(body, f"msg_{event.mark}")
            with ThreadPoolExecutor(len(self._ports)) as pool:
                answers = list(pool.map(lambda port: post(port, body, headers)[0], self._ports))  # noqa: B023
            assert answers == [200] * len(self._ports)
            self.acked[event.mark] = event

    def _run(self, number: int) -> None:
        chance = random.Random(self._seed * 1000 + number)
        while not self._stopping.wait(self._every):
            event = self._next(chance)
            self._deliver(event, chance)
            if chance.random() < 0.05:  # vendors repeat themselves now and then, for no reason
                self._deliver(event, chance)

    def _next(self, chance: random.Random) -> Event:
        kind = "chat.missed" if chance.random() < 0.2 else "survey.responded"
        return Event(f"w{next(self._serial)}", kind, chance.randrange(PEOPLE))

    def _deliver(self, event: Event, chance: random.Random) -> None:
        body = event.body()
        while not self._giving_up.is_set():
            port = chance.choice(self._ports)
            try:
                status, _, _ = post(port, body, signed(body, f"msg_{event.mark}", time.time() + self.skew))
            except (OSError, http.client.HTTPException):
                status = 0
            with self._lock:
                self.statuses[status] += 1
                if status == 200:
                    self.acked[event.mark] = event
            if status == 200:
                return
            self._giving_up.wait(0.03)

    def acked_at_least(self, count: int, within: float = 30.0) -> None:
        until(lambda: len(self.acked) >= count, f"{count} events acknowledged (are: {len(self.acked)})", within)


class Postman:
    """Drops mails into a maildir, as a mail server does: written and flushed under tmp/, then moved to new/."""

    def __init__(self, maildir: Path) -> None:
        self.mails: dict[str, Event] = {}
        self.names: dict[str, str] = {}
        self._maildir = maildir
        self._serial = itertools.count(1)
        for part in ("tmp", "new", "cur"):
            (maildir / part).mkdir(parents=True, exist_ok=True)

    def drop(self, count: int, person: Callable[[int], int] = lambda n: n % PEOPLE) -> None:
        for _ in range(count):
            number = next(self._serial)
            event = Event(f"m{number}", "email.received", person(number))
            name = f"{1_700_000_000 + number}.{number}.chaos"
            raw = (
                f"From: Person Number{event.person} <{address(event.person)}>\r\nTo: sales@ourcompany.example\r\n"
                f"Subject: event {event.mark}\r\nMessage-ID: <{event.mark}@customer.example>\r\n"
                f"Date: {format_datetime(datetime.now(UTC))}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
                f"mark:{event.mark}:\r\n"
            )
            with (self._maildir / "tmp" / name).open("wb") as file:
                file.write(raw.encode())
                file.flush()
                os.fsync(file.fileno())
            self.mails[event.mark] = event
            self.names[name] = event.mark
            os.rename(self._maildir / "tmp" / name, self._maildir / "new" / name)
