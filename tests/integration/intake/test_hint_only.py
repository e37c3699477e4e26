"""A vendor that only says that something changed: its secret, the polls that its webhooks ask for, and its subscription."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import requests
from sqlalchemy import select

from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.connector import Batch, Request
from syncd.errors import Transient
from syncd.intake import subscriptions as supervision
from syncd.intake.admit import DeliveryTarget, Policy
from syncd.intake.intake import Intake
from syncd.intake.polls import SPACING, Poll, PollResult
from syncd.intake.quarantine import read_payload
from syncd.intake.subscriptions import SubscriptionLook, keep_subscribed
from syncd.store import Store, poll_requests
from syncd.store.journal.entries import JournalEntry
from syncd.store.schema import memory, receipts
from syncd.store.subscriptions import Registration, faults, registrations
from syncd.store.vendor_secrets import announce
from syncd.testing.hint_only import HOOK_SECRET, HOOK_SIGNATURE, LIFETIME, ChangeFeed, HintOnlySource, signature
from syncd.web.app import Readiness, make_app
from syncd.web.metrics import Gauges, registry_of
from syncd.web.server import Server

NAME = "feed"
POLICY = Policy({"custom": {"*": True}}, (DeliveryTarget("crm"),))
CONFIGURED = Settings(
    channels={"custom": {"*": True}},
    sources={NAME: SourceSettings(name=NAME, type="feed", poll=timedelta(hours=1))},
    destinations={"crm": DestinationSettings(name="crm", type="x")},
)


@pytest.fixture
def feed() -> ChangeFeed:
    return ChangeFeed()


@pytest.fixture
def source(store: Store, feed: ChangeFeed) -> HintOnlySource:
    return HintOnlySource(feed, lambda keys: store.vendor_secrets.recall(NAME, keys))


@pytest.fixture
def intake_of(store: Store) -> Iterator[Callable[[HintOnlySource], tuple[Intake, str]]]:
    """A running intake behind a server, and its address."""
    ending: list[Callable[[], object]] = []

    def make(source: HintOnlySource) -> tuple[Intake, str]:
        intake = Intake(store, CONFIGURED, {NAME: source})
        gauges = Gauges(intake.counts, lambda: 0, lambda: intake.receiver.waiting)
        server = Server(make_app(intake.receiver, registry_of(gauges), Readiness), "127.0.0.1", 0)
        server.start()
        intake.start()
        ending.extend([server.stop, lambda: intake.stop(0.2)])
        return intake, f"{server.url}/webhooks/{NAME}"

    yield make
    for end in ending:
        end()


def until(true: Callable[[], object]) -> None:
    event = threading.Event()
    for _ in range(2000):
        if true():
            return
        event.wait(0.01)
    raise AssertionError("it did not come about")


def offer(url: str, secret: str) -> int:
    return requests.post(url, headers={HOOK_SECRET: secret}, timeout=30).status_code


def notify(url: str, secret: str, body: bytes = b'{"changed": true}') -> int:
    return requests.post(url, data=body, headers={HOOK_SIGNATURE: signature(secret, body)}, timeout=30).status_code


def values(store: Store) -> list[str]:
    with store.read() as connection:
        return [*connection.execute(select(memory.c.value).where(memory.c.source == NAME)).scalars()]


# ------------------------------------------------------------------------------------------- secrets from the vendor


def test_the_first_secret_verifies_and_a_second_does_not_replace_it(
    store: Store, feed: ChangeFeed, source: HintOnlySource, intake_of: Callable[..., tuple[Intake, str]]
) -> None:
    _, url = intake_of(source)
    assert notify(url, feed.secret) == 401, "nothing is let in before a secret is known"
    assert offer(url, feed.secret) == 200
    assert notify(url, feed.secret) == 200, "the verifier was built again"
    assert offer(url, "another-secret-00") == 401
    assert offer(url, feed.secret) == 200, "the vendor may repeat its own"
    assert (notify(url, feed.secret), notify(url, "another-secret-00")) == (200, 401)
    assert store.vendor_secrets.recall(NAME, ["hook secret"]) == {"hook secret": feed.secret}


def test_a_secret_is_durable_before_the_reply_and_encrypted(
    store: Store, feed: ChangeFeed, source: HintOnlySource, intake_of: Callable[..., tuple[Intake, str]]
) -> None:
    _, url = intake_of(source)
    assert offer(url, feed.secret) == 200
    assert values(store), "it is in the store"
    assert not [value for value in values(store) if feed.secret in value]
    again = HintOnlySource(feed, lambda keys: store.vendor_secrets.recall(NAME, keys))
    again.verifier()(feed.request(0), feed.now)


def test_a_secret_that_cannot_be_kept_is_not_acknowledged(
    store: Store,
    feed: ChangeFeed,
    source: HintOnlySource,
    intake_of: Callable[..., tuple[Intake, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, url = intake_of(source)

    def broken(text: str) -> str:
        raise RuntimeError("no key")

    monkeypatch.setattr(store.tokens, "seal_text", broken)
    assert offer(url, feed.secret) == 503


def test_a_secret_appears_in_no_log_line_and_not_in_the_quarantine(
    store: Store,
    feed: ChangeFeed,
    source: HintOnlySource,
    intake_of: Callable[..., tuple[Intake, str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, url = intake_of(source)
    offer(url, feed.secret)
    offer(url, "another-secret-00")
    body = f'{{"clientState": "{feed.secret}", "value": []}}'.encode()
    assert notify(url, feed.secret, body) == 200, "it is kept, though it cannot be understood"
    with store.read() as connection:
        (payload,) = connection.execute(select(receipts.c.payload)).scalars()
    kept = read_payload(bytes(payload))
    assert isinstance(kept, Request)
    assert kept.body == b'{"clientState": "******", "value": []}'
    said = capfd.readouterr()
    assert feed.secret not in said.out + said.err
    assert "another-secret-00" not in said.out + said.err


def test_another_process_makes_a_running_daemon_verify_afresh(
    store: Store, feed: ChangeFeed, source: HintOnlySource, intake_of: Callable[..., tuple[Intake, str]]
) -> None:
    _, url = intake_of(source)
    assert offer(url, "of-the-old-webhook") == 200
    assert store.vendor_secrets.forget(NAME) == 1
    announce(store, NAME)
    until(lambda: notify(url, "of-the-old-webhook") == 401)
    assert offer(url, feed.secret) == 200
    assert notify(url, feed.secret) == 200


def test_a_registration_replaces_the_secret(store: Store, feed: ChangeFeed, source: HintOnlySource) -> None:
    assert store.vendor_secrets.keep_first(NAME, {"hook secret": "of-the-old-webhook"})
    keep_subscribed(store, NAME, source.subscribe(), feed.now)
    assert store.vendor_secrets.recall(NAME, ["hook secret"]) == {"hook secret": feed.secret}
    assert feed.secret not in repr(source.subscribe())


# ------------------------------------------------------------------------------------------------- polls on request


def poll_of(store: Store, source: HintOnlySource) -> Poll:
    return Poll(NAME, source, store, lambda: POLICY, clock=lambda: source.feed.now)


def ask(store: Store) -> None:
    store.journal.commit(JournalEntry(NAME, poll_now=True))


def test_a_webhook_wakes_the_poll(
    store: Store, feed: ChangeFeed, source: HintOnlySource, intake_of: Callable[..., tuple[Intake, str]]
) -> None:
    intake, url = intake_of(source)
    offer(url, feed.secret)
    until(lambda: store.cursors.read(NAME) is not None)
    feed.happen(1)
    assert notify(url, feed.secret) == 200
    until(lambda: intake.counts.fresh.get(NAME) == 1)
    until(lambda: not poll_requests.pending(store, NAME))


def test_a_request_outlives_the_process_until_a_poll_ends_well(
    store: Store, feed: ChangeFeed, source: HintOnlySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store)
    monkeypatch.setattr(source, "poll", lambda state, now: (_ for _ in ()).throw(Transient("down")))
    assert poll_of(store, source).run().ended is PollResult.FAILED
    assert poll_requests.pending(store, NAME)
    monkeypatch.undo()
    assert poll_of(store, source).run(forced=True).ended is PollResult.OK
    assert not poll_requests.pending(store, NAME)


def test_a_storm_is_one_poll_and_one_more_for_what_came_during_it(
    store: Store, feed: ChangeFeed, source: HintOnlySource
) -> None:
    for _ in range(50):
        ask(store)
    polled = poll_of(store, source).run()
    assert (source.polls, polled.not_before) == (1, None)
    feed.happen(1)
    feed.happen(2)
    ask(store)
    batch = source.batch

    def and_another(*words: object) -> Batch:
        ask(store)
        return batch(*words)  # type: ignore[arg-type]

    source.batch = and_another  # type: ignore[assignment, method-assign]
    polled = poll_of(store, source).run()
    assert polled.not_before == feed.now + SPACING
    source.batch = batch  # type: ignore[method-assign]
    assert poll_of(store, source).run().not_before is None


def test_who_finds_the_source_polled_elsewhere_comes_again(store: Store, source: HintOnlySource) -> None:
    poll = poll_of(store, source)
    claim = store.leases.acquire(f"poll:{NAME}", timedelta(minutes=1))
    assert claim is not None
    assert poll.run().not_before is None
    ask(store)
    assert poll.run().not_before == source.feed.now + SPACING
    store.leases.release(claim)
    assert poll.run().ended is PollResult.OK


# ---------------------------------------------------------------------------------------------------- subscriptions


def look(store: Store, source: HintOnlySource) -> object:
    return SubscriptionLook(NAME, source, store, clock=lambda: source.feed.now).run(threading.Event())


@pytest.fixture
def registered(store: Store, feed: ChangeFeed, source: HintOnlySource) -> HintOnlySource:
    keep_subscribed(store, NAME, source.subscribe(), feed.now)
    return source


def test_it_is_renewed_at_two_thirds_of_its_lifetime(
    store: Store, feed: ChangeFeed, registered: HintOnlySource
) -> None:
    began = feed.now
    assert look(store, registered) == began + LIFETIME * 2 / 3
    feed.now = began + LIFETIME * 2 / 3 - timedelta(seconds=1)
    look(store, registered)
    assert feed.hooks == {"h1": began + LIFETIME}
    feed.now = began + LIFETIME * 2 / 3
    assert look(store, registered) == feed.now + LIFETIME * 2 / 3
    assert registrations(store, NAME) == (Registration("h1", feed.now, feed.now + LIFETIME),)
    assert not poll_requests.pending(store, NAME), "there was no gap"


def test_a_renewal_that_fails_is_shown_and_tried_again_in_time(
    store: Store, feed: ChangeFeed, registered: HintOnlySource
) -> None:
    feed.now += LIFETIME - timedelta(hours=2)
    feed.refuses = Transient("the vendor is down")
    assert look(store, registered) == feed.now + timedelta(minutes=30)
    assert "expires at 2026-11-28 08:00 UTC and was not renewed: the vendor is down" in faults(store)[NAME]
    assert "`syncd webhooks register feed`" in faults(store)[NAME]
    feed.refuses = None
    look(store, registered)
    assert faults(store) == {}


def test_one_that_the_vendor_lost_is_made_anew_and_a_poll_follows(
    store: Store, feed: ChangeFeed, registered: HintOnlySource
) -> None:
    feed.now += LIFETIME
    feed.hooks.clear()
    feed.secret = "the-next-secret-9911"
    look(store, registered)
    assert [one.id for one in registrations(store, NAME)] == ["h2"]
    assert store.vendor_secrets.recall(NAME, ["hook secret"]) == {"hook secret": feed.secret}
    assert poll_requests.pending(store, NAME)
    assert faults(store) == {}


def test_one_that_is_lost_again_at_once_is_left_to_the_operator(
    store: Store, feed: ChangeFeed, registered: HintOnlySource
) -> None:
    for expected in ("", "gone at the vendor"):
        feed.now += timedelta(hours=2) if not expected else timedelta(minutes=1)
        feed.hooks.clear()
        again = look(store, registered)
        assert expected in faults(store).get(NAME, "")
    assert feed.made == 2
    assert again == feed.now + supervision.AGAIN


def test_a_lapse_that_the_vendor_forgives_is_a_gap_all_the_same(
    store: Store, feed: ChangeFeed, registered: HintOnlySource
) -> None:
    feed.now += LIFETIME + timedelta(minutes=1)
    look(store, registered)
    assert poll_requests.pending(store, NAME)


def test_one_machine_renews_at_a_time(store: Store, feed: ChangeFeed, registered: HintOnlySource) -> None:
    claim = store.leases.acquire(f"subscriptions:{NAME}", timedelta(minutes=1))
    assert claim is not None
    feed.now += LIFETIME * 0.9
    assert look(store, registered) is None
    assert feed.hooks["h1"] < feed.now + LIFETIME
