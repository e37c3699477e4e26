"""The kit passes the hint-only source, and each of its checks fails on the source that makes the mistake it looks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from syncd.connector import CONTRACT, Connector, ConnectorSettings, Request, SignalSpec
from syncd.errors import NotAuthentic
from syncd.testing import PollingConformance, SubscriptionConformance, WebhookConformance
from syncd.testing import hostile_hint_only as hostile
from syncd.testing import hostile_subscriptions as careless
from syncd.testing.hint_only import ChangeFeed, HintOnlySource
from syncd.testing.ledger import SourceLedger

CONNECTOR: Connector[ConnectorSettings, Any] = Connector(
    "feed",
    "a vendor that only says that something changed",
    ConnectorSettings,
    lambda settings, context: HintOnlySource(ChangeFeed(), context.recall),
    (SignalSpec("custom.event", "poll: id of the event", backfill=False),),
    contract=CONTRACT,
    role="source",
)


class TestHintOnly(WebhookConformance, PollingConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self) -> ChangeFeed:
        return ChangeFeed()

    @pytest.fixture
    def connect(self, vendor: ChangeFeed) -> Callable[..., HintOnlySource]:
        return lambda recall: HintOnlySource(vendor, recall)


def ledger_of(kind: Callable[..., Any], feed: ChangeFeed) -> SourceLedger:
    ledger = SourceLedger(connect=lambda: None, now=feed.first_moment)
    ledger.connect = lambda: kind(feed, ledger.recall)
    ledger.receive(feed.introduction())
    return ledger


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (hostile.ForgetsSecret, "test_the_first_secret_counts", "is not in Reply.remember"),
        (hostile.TakesAnySecret, "test_the_first_secret_counts", "a stranger's handshake replaced"),
        (hostile.TripsOverForgottenToken, "test_a_forgotten_page_token_loses_nothing", "the poll fails"),
        (
            hostile.TripsOverForgottenToken,
            "test_a_page_token_forgotten_in_a_sweep_loses_nothing",
            "forgot the token of the next page, and the poll fails",
        ),
        (hostile.SkipsTheRest, "test_a_page_token_forgotten_in_a_sweep_loses_nothing", "were never read"),
        (hostile.SkipsToNow, "test_a_forgotten_page_token_loses_nothing", "do not start at now again"),
        (hostile.FollowsTheNewest, "test_events_that_appear_during_a_sweep_are_read", "were never read"),
        (hostile.ReadsNewestFirst, "test_death_between_any_two_batches_loses_nothing", None),
        (hostile.KeepsEveryId, "test_the_cursor_does_not_grow", "the cursor grew by"),
        (hostile.StopsAtWrongItem, "test_a_wrong_item_of_the_list_harms_no_other", "ends the poll"),
        (hostile.SilentlySkips, "test_a_wrong_item_of_the_list_harms_no_other", "without a trace"),
        (hostile.KnowsEmailsAlone, "test_every_form_of_identity_is_polled", "known by phone alone is known by nothing"),
        (hostile.KnowsEmailsAlone, "test_every_form_of_identity_is_kept", "known by phone alone is known by nothing"),
        (hostile.KeepsEmailsAsWritten, "test_everything_after_the_start_is_seen_once", "not in normal form"),
    ],
)
def test_each_mistake_is_found(kind: Callable[..., Any], check: str, says: str | None) -> None:
    feed = ChangeFeed()
    with pytest.raises(AssertionError, match=says):
        getattr(TestHintOnly(), check)(ledger_of(kind, feed), feed)
    fresh = ChangeFeed()
    getattr(TestHintOnly(), check)(ledger_of(HintOnlySource, fresh), fresh)


TWICE, LISTED = "test_registering_twice_leaves_one", "test_what_is_registered_is_listed"
END, RENEWED = "test_the_end_is_what_the_vendor_says", "test_a_renewal_prolongs"
LOST = "test_a_lost_subscription_is_made_anew"


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (careless.MakesAnother, TWICE, "makes other webhooks"),
        (careless.LeavesTwo, TWICE, "leaves 2 webhooks"),
        (careless.ListsNothing, LISTED, "does not list"),
        (careless.KnowsNoneAsItsOwn, LISTED, "does not know its own"),
        (careless.RemovesNothing, "test_what_is_removed_is_gone", "unsubscribe.. leaves"),
        (careless.NamesNoEnd, END, "no expires_at"),
        (careless.LastsADay, END, "the webhook lasts 1 day"),
        (careless.RenewsInVain, RENEWED, "the vendor says"),
        (careless.RenewsByAnother, RENEWED, "there are 2 webhooks"),
        (careless.TakesItForLost, RENEWED, "returns None: that means"),
        (careless.FailsWhenLost, LOST, "must return None"),
        (careless.PretendsToRenew, LOST, "must return None"),
        (careless.MissesTheGap, LOST, "is not found by a poll"),
    ],
)
def test_each_mistake_with_a_subscription_is_found(kind: Callable[..., Any], check: str, says: str) -> None:
    feed, fresh = ChangeFeed(), ChangeFeed()
    arguments = 1 if check in (TWICE, LISTED, "test_what_is_removed_is_gone") else 2
    with pytest.raises(AssertionError, match=says):
        getattr(TestHintOnly(), check)(*(ledger_of(kind, feed), feed)[:arguments])
    getattr(TestHintOnly(), check)(*(ledger_of(HintOnlySource, fresh), fresh)[:arguments])


def test_the_wrong_secret_of_a_registration_is_found() -> None:
    feed = ChangeFeed()
    with pytest.raises(NotAuthentic):
        TestHintOnly().test_the_secret_of_a_registration_is_used(ledger_of(careless.RemembersAnother, feed), feed)


def test_a_webhook_that_shows_its_secret_is_found(caplog: pytest.LogCaptureFixture) -> None:
    feed = ChangeFeed()
    with pytest.raises(AssertionError, match="shows a secret"):
        TestHintOnly().test_no_message_of_a_registration_shows_a_secret(
            ledger_of(careless.NotesItsSecret, feed), feed, caplog
        )


def test_a_message_that_shows_the_right_signature_is_found(caplog: pytest.LogCaptureFixture) -> None:
    feed = ChangeFeed()
    with pytest.raises(AssertionError, match="shows a secret or the right signature"):
        TestHintOnly().test_no_message_shows_a_secret(ledger_of(hostile.ShowsSignature, feed), feed, caplog)


class SecretAddress(ChangeFeed):
    """Proves itself by the last part of the address alone."""

    auth_headers = ()
    covers_body = False
    tail: ClassVar[str] = "a-secret-part-of-the-address"

    def sign(self, body: bytes) -> Request:
        return replace(super().sign(body), tail=self.tail)


def test_taking_any_address_is_found() -> None:
    check, feed = TestHintOnly().test_what_is_not_authentic_is_refused, SecretAddress()
    with pytest.raises(AssertionError, match="accepted: last part of the address missing"):
        check(ledger_of(hostile.TakesAnyAddress, feed), feed)
    feed.tail = ""  # type: ignore[misc]
    with pytest.raises(AssertionError, match="name what proves"):
        check(ledger_of(hostile.TakesAnyAddress, feed), feed)


def test_asking_for_a_poll_in_vain_is_found() -> None:
    feed = ChangeFeed()
    ledger = SourceLedger(connect=hostile.AsksInVain)
    with pytest.raises(AssertionError, match="of a source without poll"):
        TestHintOnly().test_whoever_asks_for_a_poll_can_be_polled(ledger, feed)
