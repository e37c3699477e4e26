"""Signature headers of named values (`t=…,v1=…`), body templates, prefixes and encodings, by their style or written in YAML."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from syncd.connector import Context, Request
from syncd.connectors.generic.auth import Verify
from syncd.connectors.generic.webhook import CONNECTOR, Webhook, WebhookSettings
from syncd.errors import NotAuthentic
from syncd.http.oauth import MemoryTokens
from tests.named_styles import verifier

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
T = f"{NOW.timestamp():.0f}"
BODY = '{"id": "1", "name": "Jörg"}'.encode()
SECRET = "a-long-enough-secret"
OTHER = "another-secret"


def mac(signed: bytes, secret: str = SECRET, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), signed, algorithm)


def sent(header: str, value: str, **more: str) -> Request:
    headers = {header: value, **{name.replace("_", "-"): text for name, text in more.items()}}
    return Request("POST", "https://syncd.example.com/webhooks/a?x=1", headers, BODY, NOW)


STRIPE = mac(f"{T}.".encode() + BODY).hex()
CALENDLY = {
    "scheme": "hmac",
    "header": "Calendly-Webhook-Signature",
    "signature_field": "v1",
    "timestamp_field": "t",
    "signed": "{timestamp}.{body}",
    "tolerance": "3m",
}
YAML: dict[str, tuple[dict[str, Any], Request]] = {
    "t=,v1= in YAML": (CALENDLY, sent("calendly-webhook-signature", f"t={T},v1={STRIPE}")),
    "stripe": ({"scheme": "stripe"}, sent("stripe-signature", f"t={T},v1={STRIPE},v0={'0' * 64}")),
    "calendly": ({"scheme": "calendly"}, sent("calendly-webhook-signature", f"t={T},v1={STRIPE}")),
    "paddle": ({"scheme": "paddle"}, sent("paddle-signature", f"ts={T};h1={mac(f'{T}:'.encode() + BODY).hex()}")),
    "paddle in YAML": (
        {
            "scheme": "hmac",
            "header": "paddle-signature",
            "signature_field": "h1",
            "timestamp_field": "ts",
            "separator": ";",
            "signed": "{timestamp}:{body}",
        },
        sent("paddle-signature", f"ts={T};h1={mac(f'{T}:'.encode() + BODY).hex()}"),
    ),
    "slack": (
        {"scheme": "slack"},
        sent("x-slack-signature", f"v0={mac(f'v0:{T}:'.encode() + BODY).hex()}", x_slack_request_timestamp=T),
    ),
    "slack in YAML": (
        {
            "scheme": "hmac",
            "header": "X-Slack-Signature",
            "prefix": "v0=",
            "timestamp_header": "X-Slack-Request-Timestamp",
            "signed": "v0:{timestamp}:{body}",
            "tolerance": "5m",
        },
        sent("x-slack-signature", f"v0={mac(f'v0:{T}:'.encode() + BODY).hex()}", x_slack_request_timestamp=T),
    ),
    "shopify": ({"scheme": "shopify"}, sent("x-shopify-hmac-sha256", base64.b64encode(mac(BODY)).decode())),
    "typeform in YAML": (
        {"scheme": "hmac", "header": "Typeform-Signature", "prefix": "sha256=", "encoding": "base64"},
        sent("typeform-signature", "sha256=" + base64.b64encode(mac(BODY)).decode()),
    ),
    "github": ({"scheme": "github"}, sent("x-hub-signature-256", f"sha256={mac(BODY).hex()}")),
    "upper-case hex": ({"scheme": "github"}, sent("x-hub-signature-256", f"sha256={mac(BODY).hex().upper()}")),
    "base64url": (
        {"scheme": "hmac", "header": "x-sig", "encoding": "base64url"},
        sent("x-sig", base64.urlsafe_b64encode(mac(BODY)).rstrip(b"=").decode()),
    ),
    "method and url": (
        {"scheme": "hmac", "header": "x-sig", "signed": "{method}{url}{body}"},
        sent("x-sig", mac(b"POST" + b"https://syncd.example.com/webhooks/a?x=1" + BODY).hex()),
    ),
    "milliseconds and spaces": (
        {**CALENDLY, "timestamp_unit": "ms"},
        sent(
            "calendly-webhook-signature", f" t = {T}123 , v1 = {mac(f'{T}123.'.encode() + BODY).hex()} , nonsense,"
        ),
    ),
    "named values without a time": (
        {"scheme": "hmac", "header": "x-sig", "signature_field": "sig", "algorithm": "sha512"},
        sent("x-sig", f"kid=7,sig={mac(BODY, algorithm='sha512').hex()}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", YAML)
def test_a_signed_request_is_authentic_and_another_body_is_not(name: str) -> None:
    keys, request = YAML[name]
    verify = Verify.model_validate({**keys, "secret": SECRET}).build(None)
    verify(request, NOW)
    forged = Request(request.method, request.url, request.headers, request.body + b" ", NOW)
    with pytest.raises(NotAuthentic):
        verify(forged, NOW)
    with pytest.raises(NotAuthentic):
        Verify.model_validate({**keys, "secret": OTHER}).build(None)(request, NOW)


def test_any_of_several_signatures_and_any_of_our_secrets() -> None:
    old = mac(f"{T}.".encode() + BODY, OTHER).hex()
    for header in (f"t={T},v1={old},v1={STRIPE}", f"v1={STRIPE},v1={old},t={T}", f"t={T},v1=zz,v1={STRIPE}"):
        verifier("stripe", [SECRET])(sent("stripe-signature", header), NOW)
    verifier("stripe", ["unused", OTHER])(sent("stripe-signature", f"t={T},v1={old}"), NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"t={T}",
        f"v1={STRIPE}",
        f"t={T},v0={STRIPE}",
        f"t={T},v1=",
        f"t={T},v1=zz",
        f"t={T},v1={STRIPE[:-2]}",
        f"t={T},t=1,v1={STRIPE}",
        f"t=,v1={STRIPE}",
        f"t=never,v1={STRIPE}",
        f"t={T};v1={STRIPE}",
        f"t={int(T) - 1},v1={STRIPE}",
        ",".join([f"t={T}", *[f"v1={'0' * 64}"] * 40, f"v1={STRIPE}"]),
    ],
)
def test_headers_that_prove_nothing(header: str) -> None:
    with pytest.raises(NotAuthentic):
        verifier("stripe", [SECRET])(sent("stripe-signature", header), NOW)


def test_a_time_beyond_the_tolerance_is_refused() -> None:
    request = sent("stripe-signature", f"t={T},v1={STRIPE}")
    for skew in (timedelta(minutes=4), timedelta(minutes=-4)):
        verifier("stripe", [SECRET])(request, NOW + skew)
    for skew in (timedelta(minutes=6), timedelta(minutes=-6)):
        with pytest.raises(NotAuthentic, match="too far from our clock"):
            verifier("stripe", [SECRET])(request, NOW + skew)
    Verify.model_validate({**CALENDLY, "secret": SECRET, "tolerance": None}).build(None)(
        sent("calendly-webhook-signature", f"t={T},v1={STRIPE}"), NOW + timedelta(days=1)
    )


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"scheme": "hmac", "timestamp_field": "t"}, "signature_field is missing"),
        ({"scheme": "hmac", "separator": ";"}, "signature_field is missing"),
        ({**CALENDLY, "timestamp_header": "x-t"}, "not in both"),
        ({**CALENDLY, "timestamp_field": ""}, "needs a header that carries it"),
        ({**CALENDLY, "signed": "{timestamp}"}, "proves nothing about the body"),
        ({**CALENDLY, "signature_field": "v1="}, "match"),
        ({"scheme": "stripe", "signature_field": "v1"}, "only for scheme hmac"),
    ],
)
def test_faults_of_the_keys(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Verify.model_validate({**keys, "secret": SECRET})


@pytest.mark.parametrize("prefix", ["webhook", "svix"])
@pytest.mark.parametrize("drop", ["", "id", "timestamp", "signature"])
def test_standard_webhooks_under_either_name(prefix: str, drop: str) -> None:
    key = b"made-up-key-of-24-bytes!"
    signature = base64.b64encode(hmac.digest(key, f"msg_1.{T}.".encode() + BODY, "sha256")).decode()
    values = {"id": "msg_1", "timestamp": T, "signature": f"v1,{signature}"}
    headers = {f"{prefix}-{name}": value for name, value in values.items() if name != drop}
    request = Request("POST", "https://x/", headers, BODY, NOW)
    verify = verifier("standard_webhooks", ["whsec_" + base64.b64encode(key).decode()])
    if not drop:
        verify(request, NOW)
        for skew in (timedelta(minutes=6), timedelta(minutes=-6)):
            with pytest.raises(NotAuthentic):
                verify(request, NOW + skew)
        return
    with pytest.raises(NotAuthentic):
        verify(request, NOW)


def test_a_form_is_signed_as_its_bytes() -> None:
    """Whatever its charset: percent-encoded Latin-1 must not be replaced before it is compared."""
    body = b"b=Gr%FC%DFe&a=x+y&a=x+y"
    url = "https://syncd.example.com/webhooks/a"
    signed = url.encode() + b"a" + b"x y" + b"b" + "Grüße".encode("latin-1")
    signature = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha1).digest()).decode()
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
    verifier("twilio", [SECRET])(Request("POST", url, headers, body, NOW), NOW)


# ---- Slack's handshake

CHALLENGE = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
HANDSHAKE = json.dumps(
    {"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": CHALLENGE, "type": "url_verification"}
).encode()


def slack(body: bytes, secret: str = SECRET) -> Request:
    signature = f"v0={mac(f'v0:{T}:'.encode() + body, secret).hex()}"
    headers = {"content-type": "application/json", "x-slack-signature": signature, "x-slack-request-timestamp": T}
    return Request("POST", "https://syncd.example.com/webhooks/a", headers, body, NOW)


@pytest.mark.parametrize("name", ["slack", "slack in YAML"])
def test_a_signed_challenge_is_echoed_and_no_other(name: str) -> None:
    verify = {**YAML[name][0], "secret": SECRET}
    settings = WebhookSettings.model_validate({"verify": verify, "format": "json", "signal": {"type": "custom.a"}})
    source = CONNECTOR.build(settings, Context(name="a", tokens=MemoryTokens()))
    assert isinstance(source, Webhook)
    reply = source.handshake(slack(HANDSHAKE))
    assert reply is not None
    assert (reply.status, reply.body.decode()) == (200, CHALLENGE)
    assert reply.headers["content-type"].startswith("text/plain")
    late = replace(slack(HANDSHAKE), received_at=NOW + timedelta(minutes=6))
    event = {"type": "event_callback", "event": {"text": "url_verification"}}
    odd = [{"type": "url_verification"}, {"type": "url_verification", "challenge": "a\r\nb"}, "url_verification", event]
    for other in (
        slack(HANDSHAKE, OTHER),
        late,
        *(slack(json.dumps(said).encode()) for said in odd),
        slack(b"url_verification"),
    ):
        assert source.handshake(other) is None
