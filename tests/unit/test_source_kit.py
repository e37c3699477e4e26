"""The kit's check of several events in one body: it passes a source that keeps them apart and fails those that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from syncd.connector import Request
from syncd.testing import SourceLedger, Vendor, WebhookConformance
from syncd.testing.hostile import SECRET, HostileWebhook, ListWebhook
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
