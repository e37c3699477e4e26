"""Sources and a journal made to hurt: duplicates, wrong order, a failure at the nth batch, hanging, floods.

syncd's own tests and those of connector authors run the intake against them. They are scripted, so a test says
exactly what happens and when.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from uuid import UUID

import orjson

from syncd.connector import Batch, Hint, NotYet, Reply, Request, Verifier
from syncd.errors import Malformed, NotAuthentic
from syncd.http.json_text import parse
from syncd.items import each_item
from syncd.signals import Route, Signal, derive_id, make_person
from syncd.store.journal.entries import Committed, JournalEntry, OnDone, OnDoneMany

GENESIS = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "hostile-secret"  # noqa: S105  what the stub verifier accepts


def make_signal(
    number: int,
    *,
    source: str = "hostile",
    type: str = "custom.event",
    at: datetime = GENESIS,
    email: str = "ann@example.com",
    route: Route = Route.WEBHOOK,
) -> Signal:
    """Signal number n of the hostile vendor: always the same id for the same number and type."""
    return Signal(
        id=derive_id("hostile", "", type, str(number)),
        type=type,
        source=source,
        occurred_at=at,
        received_at=at,
        title=f"event {number}",
        person=make_person(email=email),
        route=route,
    )


def page(
    numbers: Sequence[int], state: bytes | None = None, *, at: datetime = GENESIS, hints: Sequence[Hint] = ()
) -> Batch:
    """A batch of signals by number."""
    return Batch(tuple(make_signal(number, at=at) for number in numbers), hints, state)


@dataclass
class HostileSource:
    """Polls, is backfilled and fetches hints by script.

    `pages`: the numbers of each batch. The cursor is the number of batches read. `failures`: batch -> what to raise there, once.
    `gates`: batch -> an event waited for before it (a hang). `answers`: hint key -> what its fetches give, one after another
    (an exception is raised; the last one stays).
    """

    pages: Sequence[Sequence[int]] = ()
    failures: dict[int, Exception] = field(default_factory=dict)
    gates: dict[int, threading.Event] = field(default_factory=dict)
    answers: dict[str, list[Batch | NotYet | Exception]] = field(default_factory=dict)
    at: datetime = GENESIS
    start_state: bytes = b"0"
    start_failure: Exception | None = None
    started: int = 0
    read: list[int] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)

    def start(self, now: datetime) -> bytes:
        self.started += 1
        if self.start_failure is not None:
            failure, self.start_failure = self.start_failure, None
            raise failure
        return self.start_state

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        yield from self._from(int(state))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        yield from self._from(int(state or b"0"))

    def _from(self, first: int) -> Iterator[Batch]:
        for index in range(first, len(self.pages)):
            self.reached.set()
            if index in self.gates:
                self.gates[index].wait(30)
            if index in self.failures:
                raise self.failures.pop(index)
            self.read.append(index)
            yield page(self.pages[index], str(index + 1).encode(), at=self.at)

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        self.fetched.append(hint.key)
        script = self.answers.get(hint.key, [])
        answer = script.pop(0) if len(script) > 1 else script[0] if script else Batch()
        if isinstance(answer, Exception):
            raise answer
        return answer


def duplicates(size: int = 5) -> HostileSource:
    """The same page again and again, within a batch too."""
    return HostileSource(pages=[[*range(size), *range(size)], list(range(size)), list(range(size))])


def backwards(size: int = 5) -> HostileSource:
    """Newest first, pages overlapping."""
    return HostileSource(pages=[[9, 8, 7], [8, 6, 5], [5, 4, 9]][:size])


def flood(size: int = 20_000) -> HostileSource:
    """One batch much too large."""
    return HostileSource(pages=[range(size)])


class HostileWebhook:
    """A webhook source whose requests say how they want to hurt.

    The header `x-secret` must be SECRET. Body: JSON `{"numbers": [...], "hints": [...], "type": "..."}`; the body `bug` makes the
    parser trip, and `probe` is a handshake. `trip`: what the verifier raises instead of deciding.
    """

    def __init__(self, *, trip: Exception | None = None) -> None:
        self.trip = trip
        self.parsed = 0

    def handshake(self, request: Request) -> Reply | None:
        if request.method == "GET" and any(name == "challenge" for name, _ in request.query):
            return Reply(200, dict(request.query)["challenge"].encode(), {"content-type": "text/plain"})
        if request.method in ("HEAD", "OPTIONS"):
            return Reply(204)
        return Reply(200, b"hello") if request.body == b"probe" else None

    def verifier(self) -> Verifier:
        return self._verify

    def _verify(self, request: Request, now: datetime) -> None:
        if self.trip is not None:
            raise self.trip
        if request.headers.get("x-secret") != SECRET:
            raise NotAuthentic("x-secret is not ours")

    def parse(self, request: Request) -> Batch:
        self.parsed += 1
        if request.body == b"bug":
            raise ZeroDivisionError("the parser tripped")
        try:
            said = orjson.loads(request.body)
            signals = tuple(
                make_signal(int(number), type=said.get("type", "custom.event"), at=request.received_at)
                for number in said.get("numbers", ())
            )
            return Batch(signals, [Hint(key=str(key)) for key in said.get("hints", ())])
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
            raise Malformed(f"not what we send: {error}") from error


class ListWebhook(HostileWebhook):
    """A webhook source whose bodies are JSON lists of numbers. `careless`: one item that is not a number spoils its body, or
    (`quiet`) silently drops the rest of the list."""

    def __init__(self, *, careless: bool = False, quiet: bool = False) -> None:
        super().__init__()
        self._careless = careless
        self._quiet = quiet

    def parse(self, request: Request) -> Batch:
        try:
            numbers = parse(request.body).value
        except ValueError as error:
            raise Malformed(f"the body is not JSON: {error}") from error
        if not isinstance(numbers, list):
            raise Malformed("the body is not a list")
        if self._quiet:
            numbers = list(takewhile(_is_number, numbers))
        if self._careless or self._quiet:
            return Batch([self._made(number, request) for number in numbers])
        return each_item(request, numbers, lambda number, where: Batch([self._made(number, request)]))

    def _made(self, number: object, request: Request) -> Signal:
        if not _is_number(number):
            raise Malformed(f"{number!r:.40} is not a number")
        return make_signal(int(str(number)), at=request.received_at)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def body(*numbers: int, hints: Sequence[str] = (), type: str = "custom.event") -> bytes:
    """A body that HostileWebhook understands."""
    return orjson.dumps({"numbers": numbers, "hints": hints, "type": type})


class HostileJournal:
    """A journal in memory that can hold its commits back (`hold`, `release`) or refuse them (`refuse`); thread-safe.

    `entries` are the committed ones in order; ids it has seen are repeats, as in the real one.
    """

    enough = 32

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.refuse: Exception | None = None
        self.before_commit: Callable[[JournalEntry], None] = lambda entry: None
        self._held: list[tuple[JournalEntry, Future[Committed]]] = []
        self._holding = False
        self._seen: set[UUID] = set()
        self._lock = threading.Lock()

    @property
    def depth(self) -> int:
        return len(self._held)

    def hold(self) -> None:
        self._holding = True

    def release(self) -> None:
        """Commits what was held, and all that comes."""
        with self._lock:
            held, self._held, self._holding = self._held, [], False
        for entry, future in held:
            self._settle(entry, future)

    def submit(self, entry: JournalEntry) -> Future[Committed]:
        future: Future[Committed] = Future()
        with self._lock:
            if self._holding:
                self._held.append((entry, future))
                return future
        self._settle(entry, future)
        return future

    def prepare(self, entry: JournalEntry) -> JournalEntry:
        return entry

    def submit_all(self, entries: Sequence[tuple[JournalEntry, OnDone]], tell: OnDoneMany) -> None:
        for entry, done in entries:
            self.submit(entry).add_done_callback(partial(_tell, done, tell))

    def commit(self, entry: JournalEntry) -> Committed:
        return self.submit(entry).result(30)

    def _settle(self, entry: JournalEntry, future: Future[Committed]) -> None:
        if self.refuse is not None:
            future.set_exception(self.refuse)
            return
        self.before_commit(entry)
        with self._lock:
            new: list[UUID] = []
            for arrival in entry.arrivals:
                if arrival.signal.id not in self._seen:
                    self._seen.add(arrival.signal.id)
                    new.append(arrival.signal.id)
            self.entries.append(entry)
        future.set_result(Committed(tuple(new), len(entry.arrivals) - len(new)))


def _tell(done: OnDone, tell: OnDoneMany, future: Future[Committed]) -> None:
    error = future.exception()
    outcome = future.result() if error is None else error if isinstance(error, Exception) else RuntimeError(repr(error))
    tell([(done, outcome)])
