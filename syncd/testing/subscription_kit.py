"""The conformance suite of sources whose vendor has an API for webhooks (`Subscribable`), and of those whose webhooks expire
(`Renewable`). What the daemon does by it, when it renews and when it polls, is in syncd/intake/subscriptions.py."""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from typing import Any

import pytest

from syncd.capabilities import Renewable, Subscribable, Subscribed, Subscription
from syncd.connector import PollingSource, WebhookSource
from syncd.errors import Failure, SyncdError
from syncd.testing.ledger import SourceLedger
from syncd.testing.suite import ConformanceSuite
from syncd.testing.vendor import Vendor

SLACK = timedelta(minutes=10)
"""So far may the clocks of the vendor, of the source and of the test be apart."""


class SubscriptionConformance(ConformanceSuite, covers=Subscribable):
    """For sources that register their webhook at the vendor. `connect` gives `Context.webhook_url`."""

    def test_registering_twice_leaves_one(self, ledger: SourceLedger) -> None:
        first = self.registered(ledger)
        assert first, "subscribe() leaves no webhook"
        second = self.registered(ledger)
        assert sorted(one.id for one in second) == sorted(one.id for one in first), (
            "subscribe() again makes other webhooks: look for what points here already"
        )
        there = [one for one in ledger.connect().subscriptions() if one.ours and one.active]
        assert len(there) == len(first), f"subscribe() twice leaves {len(there)} webhooks instead of {len(first)}"

    def test_what_is_registered_is_listed(self, ledger: SourceLedger) -> None:
        made = self.registered(ledger)
        listed = {one.id: one for one in ledger.connect().subscriptions()}
        for one in made:
            assert one.id in listed, f"subscriptions() does not list {one.id}, which subscribe() made"
            shown = listed[one.id]
            assert shown.ours, (
                "subscriptions() does not know its own webhook: compare the address with Context.webhook_url"
            )
            assert one.ours, "what subscribe() made must be marked as ours"
            assert shown.active, "the webhook is not active after subscribe()"
            assert one.active, "the webhook is not active after subscribe()"
            assert (shown.expires_at is None) == (one.expires_at is None), (
                "subscriptions() and subscribe() differ in expires_at"
            )

    def test_what_is_removed_is_gone(self, ledger: SourceLedger) -> None:
        made = self.registered(ledger)
        for _ in range(2):  # gone already is done already
            for one in made:
                ledger.connect().unsubscribe(one.id)
        left = [one.id for one in ledger.connect().subscriptions() if one.ours and one.active]
        assert not left, f"unsubscribe() leaves {left}"
        assert self.registered(ledger), "subscribe() after unsubscribe() leaves no webhook"

    def test_the_end_is_what_the_vendor_says(self, ledger: SourceLedger, vendor: Vendor) -> None:
        for one in self.registered(ledger):
            self.check_end(one, ledger, vendor)

    def test_a_renewal_prolongs(self, ledger: SourceLedger, vendor: Vendor) -> None:
        source = ledger.connect()
        if not isinstance(source, Renewable):
            return
        before = self.registered(ledger)
        for one in before:
            renewed = source.renew(one.id)
            assert renewed is not None, "renew() of a webhook that is there returns None: that means that it is lost"
            self.check_end(renewed, ledger, vendor)
            listed = {each.id: each for each in ledger.connect().subscriptions() if each.ours and each.active}
            assert renewed.id in listed, f"renew() returns {renewed.id}, which subscriptions() does not list"
            shown, told = listed[renewed.id].expires_at, renewed.expires_at
            if shown is None or told is None or abs(shown - told) > SLACK:
                raise AssertionError(f"renew() says that it expires at {told}, the vendor says {shown}")
            assert len(listed) == len(before), (
                f"after renew() there are {len(listed)} webhooks instead of {len(before)}"
            )

    def test_a_lost_subscription_is_made_anew(self, ledger: SourceLedger, vendor: Vendor) -> None:
        source = ledger.connect()
        if isinstance(source, PollingSource):
            ledger.start()
        made = self.registered(ledger)
        if not vendor.forget_subscriptions():
            return
        if isinstance(source, Renewable):
            for one in made:
                try:
                    renewed = source.renew(one.id)
                except Failure as error:
                    raise AssertionError(
                        f"renew() of a webhook that the vendor lost fails ({error}): it must return None, so that it is made anew"
                    ) from error
                assert renewed is None, (
                    "renew() of a webhook that the vendor lost must return None, so that it is made anew"
                )
        assert not [one for one in ledger.connect().subscriptions() if one.ours and one.active]
        again = self.registered(ledger)
        assert len(again) == len(made), "subscribe() does not make anew what the vendor lost"
        if isinstance(source, PollingSource):  # the daemon polls after every gap
            vendor.happen(1)
            ledger.now = vendor.moment(1) + timedelta(hours=1)
            ledger.poll()
            ledger.fetch(patience=timedelta(hours=2))
            assert ledger.signals, "an event of the time without a webhook is not found by a poll"

    def test_the_secret_of_a_registration_is_used(self, ledger: SourceLedger, vendor: Vendor) -> None:
        made = ledger.connect().subscribe()
        if made.remember and isinstance(ledger.connect(), WebhookSource):
            ledger.memory = dict(made.remember)
            ledger.connect().verifier()(vendor.request(0), ledger.now)

    def test_no_message_of_a_registration_shows_a_secret(
        self, ledger: SourceLedger, vendor: Vendor, caplog: pytest.LogCaptureFixture
    ) -> None:
        said: list[str] = []
        with caplog.at_level(logging.DEBUG):
            made = ledger.connect().subscribe()
            said += [repr(made), str(made)]
            said += [_words(one) for one in (*made.there, *ledger.connect().subscriptions())]
            for trouble in (vendor.break_once, vendor.throttle):
                if trouble():
                    with contextlib.suppress(Failure, SyncdError):
                        said += _failures(ledger.connect())
        said += [record.getMessage() for record in caplog.records]
        for secret in (*vendor.secrets, *made.remember.values()):
            shown = [text for text in said if len(secret) > 7 and secret in text]
            assert not shown, f"a message of a registration shows a secret: {shown[0][:60]!r}…"

    def registered(self, ledger: SourceLedger) -> list[Subscription]:
        """What `syncd webhooks register` does: the secrets are kept, then what is there is noted."""
        made = ledger.connect().subscribe()
        assert isinstance(made, Subscribed), "subscribe() returns Subscribed"
        ledger.memory.update(made.remember)
        return list(made.there)

    def check_end(self, one: Subscription, ledger: SourceLedger, vendor: Vendor) -> None:
        expires = isinstance(ledger.connect(), Renewable)
        assert expires == (vendor.lifetime is not None), (
            "Vendor.lifetime belongs to a source with renew(), and only to it"
        )
        if vendor.lifetime is None:
            assert one.expires_at is None, "a webhook that expires needs renew(): else its end goes unnoticed"
            return
        if one.expires_at is None:
            raise AssertionError("a webhook that expires has no expires_at, so it is never renewed")
        assert one.expires_at.utcoffset() == timedelta(0), "expires_at must be UTC"
        left = one.expires_at - max(ledger.now, vendor.first_moment)
        assert vendor.lifetime / 2 - SLACK <= left <= vendor.lifetime + SLACK, (
            f"the webhook lasts {left} from now, the vendor's are for {vendor.lifetime}"
        )


def _words(one: Subscription) -> str:
    """What is shown of a webhook beside its address, which may itself be a secret and is the operator's own."""
    return repr((one.id, one.events, one.state, one.note, one.details))


def _failures(source: Any) -> list[str]:
    try:
        source.subscriptions()
    except (Failure, SyncdError) as error:
        return [str(error), repr(error)]
    return []
