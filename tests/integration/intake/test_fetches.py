"""Hints and freed bodies on a real store: none lost, none fetched twice in vain, failures by class, quarantine and back."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from syncd.connector import Batch, Context, Hint, NotYet, Request
from syncd.connectors.generic.webhook import CONNECTOR, WebhookSettings
from syncd.errors import AuthExpired, Malformed, Misconfigured, RateLimited, Transient
from syncd.http.oauth import MemoryTokens
from syncd.intake.admit import DeliveryTarget, Policy, admit
from syncd.intake.fetches import Fetches, RetryLaw, retry_quarantined
from syncd.intake.quarantine import quarantined_request
from syncd.signals import Route, decode_signal
from syncd.store import Store
from syncd.store.journal.entries import JournalEntry
from syncd.store.schema import signals
from syncd.testing.hostile import HostileSource, HostileWebhook, body, make_signal, page

POLICY = Policy({"custom": {"*": True}}, (DeliveryTarget("crm"),))
LAW = RetryLaw((timedelta(0), timedelta(seconds=5), timedelta(minutes=5)), jitter=0)
STOP = threading.Event()


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(sqlite_url: str, clock: Clock) -> object:
    with Store.open(sqlite_url, clock=clock) as opened:
        yield opened


def worker(store: Store, source: object, clock: Clock, law: RetryLaw = LAW) -> Fetches:
    return Fetches("desk", source, store, lambda: POLICY, law, clock=clock, chance=lambda: 0.0)


def hint(store: Store, clock: Clock, *keys: str, not_before: datetime | None = None) -> None:
    hints = [Hint(key=key, data={"n": key}, not_before=not_before) for key in keys]
    store.journal.commit(JournalEntry("desk", hints=hints, received_at=clock()))


def stored(store: Store) -> list[str]:
    with store.read() as connection:
        return sorted(connection.execute(select(signals.c.id)).scalars())


def states(store: Store) -> list[tuple[str, str, int]]:
    return sorted((r.key, r.state, r.attempts) for r in store.receipts.list(state=""))


def test_a_hint_becomes_its_signals_and_goes(store: Store, clock: Clock) -> None:
    hint(store, clock, "a", "b")
    source = HostileSource(answers={"a": [page([1])], "b": [page([2, 3])]})
    assert worker(store, source, clock).run(STOP) is None
    assert (len(stored(store)), states(store)) == (3, [])


def test_a_fetch_may_give_a_timed_hint_again(store: Store, clock: Clock) -> None:
    hint(store, clock, "a")
    due = clock() + timedelta(hours=1)
    source = HostileSource(
        answers={"a": [page([1], hints=[Hint(key="later", not_before=due)]), page([])], "later": [page([2])]}
    )
    fetches = worker(store, source, clock)
    fetches.run(STOP)
    assert states(store) == [("later", "pending", 0)]
    clock.forward(hours=1)
    fetches.run(STOP)
    assert (len(stored(store)), states(store)) == (2, [])


def test_not_yet_waits_and_is_no_attempt(store: Store, clock: Clock) -> None:
    hint(store, clock, "a")
    source = HostileSource(answers={"a": [NotYet(clock() + timedelta(minutes=1)), page([1])]})
    fetches = worker(store, source, clock)
    fetches.run(STOP)
    fetches.run(STOP)
    assert (source.fetched, states(store)) == (["a"], [("a", "pending", 0)])
    clock.forward(minutes=1)
    fetches.run(STOP)
    assert len(stored(store)) == 1


def test_failures_follow_the_schedule_then_quarantine_with_the_reason(store: Store, clock: Clock) -> None:
    hint(store, clock, "bad", "good")
    source = HostileSource(answers={"bad": [Transient("busy", code="E7")], "good": [page([1])]})
    fetches = worker(store, source, clock)
    for attempts, wait in enumerate([0, 5, 300]):
        clock.forward(seconds=wait)
        fetches.run(STOP)
        assert len(stored(store)) == 1
        assert source.fetched.count("bad") == attempts + 1
    (kept,) = store.receipts.list()
    assert (kept.key, kept.state) == ("bad", "quarantined")
    assert "given up after 3 tries: Transient: E7: busy" in kept.error
    source.answers["bad"] = [page([2])]
    assert retry_quarantined(store, fetches, [kept.id]) == 1
    assert (len(stored(store)), states(store)) == (2, [])


@pytest.mark.parametrize(
    ("failure", "pause"),
    [(RateLimited("slow", retry_after=60), timedelta(minutes=1)), (Misconfigured("scope"), timedelta(hours=1))],
)
def test_the_whole_source_pauses_without_counting(
    store: Store, clock: Clock, failure: Exception, pause: timedelta
) -> None:
    hint(store, clock, "a", "b", "c")
    source = HostileSource(answers={key: [failure, page([ord(key)])] for key in "abc"})
    fetches = worker(store, source, clock)
    assert fetches.run(STOP) == clock() + pause
    assert (len(source.fetched), {attempts for _, _, attempts in states(store)}) == (1, {0})
    fetches.run(STOP)
    assert len(source.fetched) == 1
    for _ in range(3):
        clock.forward(seconds=pause.total_seconds())
        fetches.run(STOP)
    assert len(stored(store)) == 3


def test_a_limit_of_one_operation_holds_back_only_what_needs_it(store: Store, clock: Clock) -> None:
    hint(store, clock, "a", "b", "c")
    limited = RateLimited("slow", retry_after=60, scope="GET /a")
    source = HostileSource(answers={"a": [limited, page([1])], "b": [page([2])], "c": [page([3])]})
    fetches = worker(store, source, clock)
    assert fetches.run(STOP) is None
    assert (len(stored(store)), {attempts for _, _, attempts in states(store)}) == (2, {0})
    clock.forward(seconds=60)
    fetches.run(STOP)
    assert len(stored(store)) == 3


@pytest.mark.parametrize("failure", [Misconfigured("scope"), AuthExpired("revoked")])
def test_after_a_reload_what_was_misconfigured_is_fetched_at_once(
    store: Store, clock: Clock, failure: Exception
) -> None:
    hint(store, clock, "a", "b", "c")
    source = HostileSource(answers={key: [failure, page([ord(key)])] for key in "abc"})
    fetches = worker(store, source, clock)
    fetches.run(STOP)
    source.answers = {key: [page([ord(key)])] for key in "abc"}
    fetches.forget_pause()
    assert fetches.run(STOP) is None
    assert len(stored(store)) == 3


def test_a_reload_hurries_nothing_else(store: Store, clock: Clock) -> None:
    hint(store, clock, "a", "b")
    later = clock() + timedelta(hours=2)
    source = HostileSource(answers={"a": [NotYet(later)], "b": [RateLimited("slow", retry_after=600)]})
    fetches = worker(store, source, clock)
    fetches.run(STOP)
    fetches.forget_pause()
    fetches.run(STOP)
    assert sorted(source.fetched) == ["a", "b"]


def test_what_cannot_be_understood_is_quarantined_at_once(store: Store, clock: Clock) -> None:
    hint(store, clock, "a")
    worker(store, HostileSource(answers={"a": [Malformed("no such field: id")]}), clock).run(STOP)
    (kept,) = store.receipts.list()
    assert (kept.state, kept.error) == ("quarantined", "no such field: id")


def test_a_hint_merged_during_its_fetch_is_fetched_again(store: Store, clock: Clock) -> None:
    hint(store, clock, "a")
    source = HostileSource(answers={"a": [page([1]), page([2])]})
    fetch: Callable[[Hint, datetime], Batch | NotYet] = source.fetch

    def meanwhile(hint_: Hint, now: datetime) -> Batch | NotYet:
        if len(source.fetched) == 0:
            hint(store, clock, "a")
        return fetch(hint_, now)

    source.fetch = meanwhile  # type: ignore[method-assign, assignment]
    worker(store, source, clock).run(STOP)
    assert (source.fetched, len(stored(store)), states(store)) == (["a", "a"], 2, [])


def test_a_quarantined_body_is_parsed_again_after_a_fix(store: Store, clock: Clock) -> None:
    request = Request("POST", "https://x/webhooks/desk", {"content-type": "application/json"}, body(1, 2), clock())
    kept = quarantined_request(request, "desk", "the parser was wrong", clock())
    store.journal.commit(JournalEntry("desk", quarantined=(kept,), received_at=clock()))
    fetches = worker(store, HostileWebhook(), clock)
    assert retry_quarantined(store, fetches) == 1
    assert (len(stored(store)), states(store)) == (2, [])


@pytest.mark.parametrize(
    ("sent", "headers", "title"),
    [
        (gzip.compress(b'{"id": "1", "title": "packed"}'), {"content-encoding": "gzip"}, "packed"),
        (b'\xef\xbb\xbf{"id": "1", "title": "marked"}', {}, "marked"),
        (rb'{"id": "1", "title": "half \ud83d"}', {}, "half \ufffd"),
    ],
    ids=["packed", "marked", "half"],
)
def test_what_an_earlier_version_could_not_read_is_released(
    store: Store, clock: Clock, sent: bytes, headers: dict[str, str], title: str
) -> None:
    request = Request("POST", "https://x/webhooks/desk", {"content-type": "application/json", **headers}, sent, clock())
    kept = quarantined_request(request, "desk", "the body is not JSON", clock())
    store.journal.commit(JournalEntry("desk", quarantined=(kept,), received_at=clock()))
    keys = {
        "verify": {"scheme": "none", "insecure": True},
        "format": "json",
        "signal": {"type": "custom.a", "id": "{{ body.id }}", "title": "{{ body.title }}"},
    }
    source = CONNECTOR.build(WebhookSettings.model_validate(keys), Context(name="desk", tokens=MemoryTokens()))
    assert retry_quarantined(store, worker(store, source, clock)) == 1
    with store.read() as connection:
        assert [decode_signal(bytes(row.body)).title for row in connection.execute(select(signals))] == [title]
    assert states(store) == []


def test_a_body_that_is_still_bad_goes_back(store: Store, clock: Clock) -> None:
    request = Request("POST", "https://x/webhooks/desk", {}, b"bug", clock())
    store.journal.commit(JournalEntry("desk", quarantined=(quarantined_request(request, "desk", "first", clock()),)))
    fetches = worker(store, HostileWebhook(), clock)
    assert retry_quarantined(store, fetches) == 1
    (receipt,) = store.receipts.list()
    assert receipt.error == "the parser tripped"


def test_a_poisoned_signal_comes_back_once_it_can_be_stored(store: Store, clock: Clock) -> None:
    odd = admit(Batch((make_signal(1, type="nonsense"), make_signal(2))), "desk", Route.POLL, POLICY, clock())
    store.journal.commit(odd)
    assert len(stored(store)) == 1
    fetches = worker(store, HostileSource(), clock)
    retry_quarantined(store, fetches)
    assert len(store.receipts.list(state="")) == 1  # its type is still nonsense: kept


def test_stop_gives_the_claimed_ones_back(store: Store, clock: Clock) -> None:
    hint(store, clock, "a", "b")
    stop = threading.Event()
    source = HostileSource(answers={"a": [page([1])], "b": [page([2])]})
    fetch = source.fetch
    source.fetch = lambda hint, now: (stop.set(), fetch(hint, now))[1]  # type: ignore[method-assign, func-returns-value]
    worker(store, source, clock).run(stop)
    assert len(source.fetched) == 1
    worker(store, source, clock).run(STOP)
    assert len(stored(store)) == 2
