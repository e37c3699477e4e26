"""What a record is as the request of an outgoing webhook: the signature, the id, the body, and the settings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from syncd.connector import Write
from syncd.connectors.crm.webhook import OutgoingWebhookSettings, body_of, signature, signing_key
from syncd.errors import Rejected
from syncd.http.deadline import is_public

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = {"source": "urn:syncd:phones", "type": "call.missed", "subject": "Missed call", "person.name": "An"}


def write(fields: dict[str, Any], **more: Any) -> Write:
    return Write(key="k-1", object="event", key_field="id", fields=fields, **more)


def test_the_signature_of_the_specification() -> None:
    """The vector that all libraries of Standard Webhooks test."""
    body = b'{"test": 2432232314}'
    made = signature([signing_key(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_changed_both_sign() -> None:
    new, old = b"n" * 32, b"o" * 32
    both = signature([new, old], "1", 2, b"{}")
    assert both == f"{signature([new], '1', 2, b'{}')} {signature([old], '1', 2, b'{}')}"


@pytest.mark.parametrize("secret", ["", "plain", "whsec_", "whsec_ä", "whsec_YWJj", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_what_is_not_a_signing_key(secret: str) -> None:
    with pytest.raises(ValidationError, match="must be whsec_ followed by base64") as caught:
        OutgoingWebhookSettings(url="https://x.example/", secret=secret)
    assert not secret.removeprefix("whsec_") or secret not in str(caught.value).replace("whsec_ followed", "")


@pytest.mark.parametrize("url", ["http://x.example/hook", "ftp://x.example", "x.example/hook", ""])
def test_a_url_that_is_not_safe(url: str) -> None:
    with pytest.raises(ValidationError, match="must be https://"):
        OutgoingWebhookSettings(url=url)


def test_a_cloud_event() -> None:
    at = datetime(2026, 1, 15, 9, tzinfo=UTC)
    id, body = body_of(write({**EVENT, "time": at, "details": {"rings": 5}}), "cloudevents")
    assert id == "k-1"
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "k-1",
        "source": "urn:syncd:phones",
        "type": "call.missed",
        "subject": "Missed call",
        "time": "2026-01-15T09:00:00Z",
        "datacontenttype": "application/json",
        "data": {"person": {"name": "An"}, "details": {"rings": 5}},
    }


def test_plain_json_is_what_the_mapping_says() -> None:
    _, body = body_of(Write(key="k-1", object="message", fields={"text": "Missed call <x> & y"}), "json")
    assert body == b'{"text":"Missed call <x> & y"}'
    _, body = body_of(write({"a": 1}, on_create={"b": None}, clear=("c",)), "json")
    assert json.loads(body) == {"id": "k-1", "a": 1, "b": None, "c": None}


def test_a_record_that_changed_after_it_was_sent_has_an_id_of_its_own() -> None:
    first = body_of(write(EVENT), "cloudevents")
    again = body_of(write(EVENT), "cloudevents")
    assert first == again
    changed, body = body_of(write({**EVENT, "subject": "Missed call (2 times)"}, id="k-1"), "cloudevents")
    later, _ = body_of(write({**EVENT, "subject": "Missed call (3 times)"}, id="k-1"), "cloudevents")
    assert len({first[0], changed, later}) == 3
    assert json.loads(body)["id"] == changed
    assert changed.startswith("k-1.")


@pytest.mark.parametrize(
    ("fields", "format", "field"),
    [
        ({"type": "x"}, "cloudevents", "source"),
        ({"source": "x", "type": ""}, "cloudevents", "type"),
        ({"person": "An", "person.name": "An"}, "json", "person.name"),
        ({"text": "\ud83d"}, "json", ""),
    ],
)
def test_a_record_that_cannot_be_sent(fields: dict[str, Any], format: str, field: str) -> None:
    with pytest.raises(Rejected) as caught:
        body_of(write(fields), format)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::1",
        "64:ff9b::a00:1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)
