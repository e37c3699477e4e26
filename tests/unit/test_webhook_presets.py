"""The presets of the generic webhook for vendors of whom a webhook alone is read, and how Zalo and LINE sign."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from syncd.connector import Context, Request
from syncd.connectors.generic.auth import Verify
from syncd.connectors.generic.webhook import CONNECTOR, Webhook, WebhookSettings
from syncd.errors import NotAuthentic
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def source(**keys: Any) -> Webhook:
    settings = WebhookSettings.model_validate({"verify": {"scheme": "bearer", "secret": "s3cret"}, **keys})
    built = CONNECTOR.build(settings, Context(name="messages", tokens=MemoryTokens(), region="VN"))
    assert isinstance(built, Webhook)
    return built


def post(body: Any, kind: str = "application/json", *, method: str = "POST", **headers: str) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    url = "https://syncd.example.com/webhooks/messages"
    return Request(method, url, {"content-type": kind, **lowered}, raw, NOW)


def signals(made: Webhook, request: Request) -> list[Signal]:
    return list(made.parse(request).signals)


ZALO_SECRET = "zalo-oa-secret-0815"


def signal_of(preset: str, body: Any, kind: str = "application/json", **keys: Any) -> Signal:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    (signal,) = signals(source(preset=preset, **keys), post(raw, kind))
    return signal


def test_freshdesk_as_its_administrator_is_told() -> None:
    body = {
        "event": "replied",
        "ticket_id": "17",
        "subject": "Broken",
        "text": "Still broken",
        "email": "an@example.org",
    }
    signal = signal_of("freshdesk", {**body, "url": "https://acme.freshdesk.com/a/tickets/17", "name": "Lan"})
    assert (signal.type, signal.title) == ("ticket.replied", "Ticket #17: Broken")
    assert (signal.person.email, signal.text) == ("an@example.org", "Still broken")
    other = source(preset="freshdesk").parse(post({**body, "event": "merged"}))
    assert other.dropped == {"event merged": 1}


def test_missed_chats_of_salesiq() -> None:
    visitor = {"email_id": "an@example.org", "name": "Lan", "channel": "website", "id": "v1", "type": "visitor"}
    body = {"event": "conversation.missed", "entity_id": "c1", "entity": {"id": "c1", "visitor": visitor}, "attempt": 1}
    made = source(preset="salesiq")
    (signal,) = signals(made, post({**body, "event_time": "1700000000000"}))
    assert (signal.type, signal.person.email) == ("chat.missed", "an@example.org")
    assert signal.occurred_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    (again,) = signals(made, post({**body, "event_time": "1700000000000", "attempt": 2}))
    assert again.id == signal.id
    assert made.parse(post({**body, "event": "conversation.completed"})).dropped == {"event conversation.completed": 1}
    head = made.handshake(post(b"", method="HEAD"))
    assert head is not None
    assert head.status == 200


def test_messages_of_line() -> None:
    told = {"mode": "active", "timestamp": 1700000000123, "source": {"type": "user", "userId": "U4af4980629"}}
    message = {"type": "message", "message": {"type": "text", "id": "325708", "text": "Xin chào"}, **told}
    sticker = {"type": "message", "message": {"type": "sticker", "id": "325709"}, **told}
    made = source(preset="line")
    batch = made.parse(post({"destination": "U1", "events": [message, sticker, {"type": "follow", **told}]}))
    assert batch.dropped == {"event follow": 1}
    text, other = batch.signals
    assert (text.type, text.text, text.person.identities) == (
        "message.received",
        "Xin chào",
        ("handle:line:U4af4980629",),
    )
    assert (other.text, text.thread == other.thread, text.id == other.id) == ("sticker", True, False)
    assert made.parse(post({"destination": "U1", "events": []})).signals == []  # LINE tries an address so


def test_messages_of_zalo() -> None:
    body = {
        "app_id": "360846524940903967",
        "sender": {"id": "246845883529197922"},
        "recipient": {"id": "388613280878808645"},
        "event_name": "user_send_text",
        "message": {"text": "Xin chào", "msg_id": "96d3cdf3af150460909"},
        "timestamp": "1700000000123",
    }
    signal = signal_of("zalo_oa", body)
    assert (signal.type, signal.text) == ("message.received", "Xin chào")
    assert signal.person.identities == ("handle:zalo:246845883529197922",)
    assert signal.data["message_id"] == "96d3cdf3af150460909"
    echo = source(preset="zalo_oa").parse(post({**body, "event_name": "oa_send_text"}))
    assert echo.dropped == {"event oa_send_text": 1}


def test_texts_of_twilio() -> None:
    form = {"MessageSid": "SM1", "From": "+84912345678", "To": "+84287300000", "Body": "Xin chào", "NumMedia": "0"}
    signal = signal_of("twilio_sms", urlencode(form).encode(), "application/x-www-form-urlencoded")
    assert (signal.type, signal.title, signal.text) == ("message.received", "SMS from +84912345678", "Xin chào")
    assert signal.person.identities == ("phone:+84912345678",)


@pytest.mark.parametrize("prefix", ["mac=", ""])
def test_zalo_signs_with_a_digest(prefix: str) -> None:
    verify = Verify.model_validate({"scheme": "zalo", "secret": ["new-0815", ZALO_SECRET]}).build(None)
    body = b'{"app_id": "360846524940903967", "timestamp": "1700000000123"}'
    signed = b"360846524940903967" + body + b"1700000000123" + ZALO_SECRET.encode()
    given = post(body, x_zevent_signature=prefix + hashlib.sha256(signed).hexdigest())
    verify(given, NOW)
    for wrong in (
        replace(given, body=body + b" "),
        replace(given, headers={}),
        replace(given, headers={"x-zevent-signature": "mac=" + "0" * 64}),
        replace(given, headers={"x-zevent-signature": "x" * 5000}),
        replace(given, body=b"{}"),
        replace(given, body=b"[1]"),
        replace(given, body=b"\xff"),
    ):
        with pytest.raises(NotAuthentic):
            verify(wrong, NOW)
    with pytest.raises(ValidationError, match="not empty"):
        Verify.model_validate({"scheme": "zalo", "secret": " "})


def test_line_signs_the_body() -> None:
    body = b'{"destination":"U1","events":[]}'
    verify = Verify.model_validate({"scheme": "line", "secret": "channel-secret-0815"}).build(None)
    mac = base64.b64encode(hmac.new(b"channel-secret-0815", body, hashlib.sha256).digest()).decode()
    verify(post(body, x_line_signature=mac), NOW)
    with pytest.raises(NotAuthentic):
        verify(post(body + b" ", x_line_signature=mac), NOW)


def test_the_scheme_of_a_preset_needs_only_its_secret() -> None:
    for preset, secret in (
        ("line", "channel-secret-0815"),
        ("zalo_oa", ZALO_SECRET),
        ("twilio_sms", "auth-token-0815"),
    ):
        made = WebhookSettings.model_validate({"preset": preset, "verify": {"secret": secret}})
        assert made.verify.scheme == {"line": "line", "zalo_oa": "zalo", "twilio_sms": "twilio"}[preset]
    path = WebhookSettings.model_validate(
        {"preset": "line", "verify": {"scheme": "path", "secret": "a-path-of-16-or-more"}}
    )
    assert path.verify.scheme == "path"
