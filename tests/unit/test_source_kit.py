"""The kit's check of several events in one body: it passes a source that keeps them apart and fails those that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from syncd.connector import Request
from syncd.testing import SourceLedger, Vendor, WebhookConformance
from syncd.testing.hostile import SECRET, HostileWebhook, ListWebhook


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
