"""The kit's check of several events in one body: it passes a source that keeps them apart and fails those that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from syncd.connector import Batch, Connector, ConnectorSettings, Request, SignalSpec
from syncd.errors import Malformed
from syncd.testing import SourceLedger, Vendor, WebhookConformance
from syncd.testing.hostile import SECRET, HostileWebhook, ListWebhook, make_signal
from syncd.testing.hostile_repeats import CountingWebhook, CountsEachRequest, CountsOnce, ForgetsToName, NamesTheEvent


class Numbers(Vendor):
    """Posts lists of numbers."""

    def request(self, number: int) -> Request:
        return self.sign(orjson.dumps([number]))

    def sign(self, body: bytes) -> Request:
        return Request(
            "POST", "https://x.example/webhooks/a", {"x-secret": SECRET}, body, datetime(2026, 11, 22, tzinfo=UTC)
        )


class OneNumber(Numbers):
    """Posts one object a body."""

    def request(self, number: int) -> Request:
        return self.sign(orjson.dumps({"numbers": [number]}))


def check(source: Any, vendor: Vendor) -> None:
    WebhookConformance().test_a_wrong_event_harms_no_other(SourceLedger(connect=lambda: source), vendor)


def test_a_source_that_keeps_events_apart_passes() -> None:
    check(ListWebhook(), Numbers())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (ListWebhook(careless=True), "beside two events spoils the body"),
        (ListWebhook(quiet=True), "beside two events takes one of them along"),
    ],
)
def test_a_source_that_does_not_fails(source: HostileWebhook, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check(source, Numbers())


def test_a_source_of_one_event_a_body_has_nothing_to_keep_apart() -> None:
    check(HostileWebhook(), OneNumber())


# ---- order, many events, spoilt events


class CountsOn(HostileWebhook):
    """Numbers its events as they come."""

    came = 0

    def parse(self, request: Request) -> Batch:
        self.came += 1
        return Batch([make_signal(self.came, at=request.received_at)])


class TakesAHundred(ListWebhook):
    """Reads the beginning of a body only."""

    def parse(self, request: Request) -> Batch:
        numbers = orjson.loads(request.body)
        if len(numbers) > 100:
            raise Malformed("too many")
        return super().parse(request)


class TrustsTheVendor(HostileWebhook):
    """Knows one type of event."""

    def parse(self, request: Request) -> Batch:
        said = orjson.loads(request.body)
        return Batch([make_signal(said["numbers"][0], at=request.received_at)])


class NumbersSuite(WebhookConformance):
    """The suite of a source of numbers; the tests below call its checks themselves."""

    __test__ = False
    connector = Connector(
        "numbers",
        "numbers in lists",
        ConnectorSettings,
        lambda *_: HostileWebhook(),
        (SignalSpec("custom.event", "the number", backfill=False),),
    )


@pytest.mark.parametrize(
    ("source", "vendor", "name", "says"),
    [
        (CountsOn, OneNumber(), "test_the_order_of_events_does_not_matter", "depends on the events before it"),
        (TakesAHundred, Numbers(), "test_a_thousand_events_of_one_body_bring_what_each_brings", "too many"),
        (TrustsTheVendor, OneNumber(), "test_a_spoilt_event_is_understood_or_malformed", "breaks the parser"),
    ],
)
def test_each_of_these_checks_can_fail(source: Any, vendor: Vendor, name: str, says: str) -> None:
    suite = NumbersSuite()
    getattr(suite, name)(SourceLedger(connect=ListWebhook if vendor.__class__ is Numbers else HostileWebhook), vendor)
    with pytest.raises((AssertionError, Malformed), match=says):
        getattr(suite, name)(SourceLedger(connect=source), vendor)


# ---- events that are counted


class Opens(Numbers):
    """Posts one event a body."""

    def request(self, number: int) -> Request:
        return self.opened(number, 0)

    def again(self, number: int, time: int) -> Request | None:
        return self.opened(number, time)

    def opened(self, number: int, time: int) -> Request:
        return self.sign(orjson.dumps({"thing": number, "event": 10 * number + time, "at": 60 * time}))


class OpensOnce(Opens):
    """Its stand-in cannot repeat an event."""

    def again(self, number: int, time: int) -> Request | None:
        return None


def count_events(source: Any, vendor: Vendor) -> None:
    WebhookConformance().test_events_of_one_thing_are_counted_once_each(SourceLedger(connect=lambda: source), vendor)


def test_a_source_that_counts_events_passes() -> None:
    count_events(CountingWebhook(), Opens())
    count_events(HostileWebhook(), OneNumber())  # and one that does not count


@pytest.mark.parametrize(
    ("source", "vendor", "says"),
    [
        (NamesTheEvent(), Opens(), "must be one signal"),
        (CountsOnce(), Opens(), "are counted as 1"),
        (CountsEachRequest(), Opens(), "are counted as 6"),
        (ForgetsToName(), Opens(), "are counted as None"),
        (CountingWebhook(), OpensOnce(), "override Vendor.again"),
    ],
)
def test_a_source_that_counts_wrongly_fails(source: HostileWebhook, vendor: Vendor, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        count_events(source, vendor)
