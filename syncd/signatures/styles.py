"""How vendors sign their webhooks: one row each, from their own pages. Data only; `syncd.signatures.verifier` makes
verifiers of the rows.

Sources name a row (`scheme: zendesk`) or adapt `hmac`. A new vendor is a new row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Algorithm = Literal["sha1", "sha256", "sha384", "sha512", "ecdsa-sha256", "rsa-sha256", "ed25519"]
Encoding = Literal["hex", "base64", "base64url"]
Unit = Literal["s", "ms", "iso"]
KeyForm = Literal["text", "standard", "public_key"]


@dataclass(frozen=True)
class Pairs:
    """A signature header that carries named values, `t=1700000000,v1=5257a8…,v1=3a9c…`: their names. Any of the values named
    `signature` (several while a secret is being rotated) proves the request; what has another name is passed over."""

    signature: str = "v1"
    timestamp: str = ""
    separator: str = ","


@dataclass(frozen=True)
class Style:
    """How one vendor signs. A *place* is `header:NAME` or `json:path.in.body`. `signed` is made of literal text and
    {body} {timestamp} {id} {method} {url} {form} (form: each pair of the body, sorted, name and value run together).

    `pairs`: the signature header carries named values, which may include the time (then `timestamp` is not needed).
    `also`: other names of the headers; where one is absent, the other counts. `versions`: the signature is a list
    `v1,SIG v1a,SIG`, its versions naming algorithms (Standard Webhooks).
    `tolerance`: how far the signed time may be from now; None where the vendor sets no limit, since a replay has a known
    id and is dropped, while a late retry that is refused is lost. `binds`: the signature does not cover the body, so one
    `id` is good for one body.
    """

    name: str
    signature: str
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    signed: str = "{body}"
    prefix: str = ""
    timestamp: str = ""
    unit: Unit = "s"
    id: str = ""
    tolerance: timedelta | None = None
    key: KeyForm = "text"
    versions: Mapping[str, Algorithm] = field(default_factory=dict)
    binds: bool = False
    pairs: Pairs | None = None
    also: Mapping[str, str] = field(default_factory=dict)


_STYLES = (
    Style(
        "standard_webhooks",  # spec/standard-webhooks.md; the timestamp's limit is the spec's
        "header:webhook-signature",
        encoding="base64",
        signed="{id}.{timestamp}.{body}",
        id="header:webhook-id",
        timestamp="header:webhook-timestamp",
        tolerance=timedelta(minutes=5),
        key="standard",
        versions={"v1": "sha256", "v1a": "ed25519"},
        also={  # Svix, whose scheme it was, and those who send through it (Clerk, Resend)
            "webhook-id": "svix-id",
            "webhook-timestamp": "svix-timestamp",
            "webhook-signature": "svix-signature",
        },
    ),
    Style("hmac", "header:x-signature"),
    Style("twilio", "header:x-twilio-signature", algorithm="sha1", encoding="base64", signed="{url}{form}"),
    Style("mandrill", "header:x-mandrill-signature", algorithm="sha1", encoding="base64", signed="{url}{form}"),
    Style("facebook", "header:x-hub-signature-256", prefix="sha256="),
    Style("intercom", "header:x-hub-signature", algorithm="sha1", prefix="sha1="),
    Style("x", "header:x-twitter-webhooks-signature", encoding="base64", prefix="sha256="),
    Style("typeform", "header:typeform-signature", encoding="base64", prefix="sha256="),
    Style("surveymonkey", "header:sm-signature", algorithm="sha1", encoding="base64"),  # secret: api_key&api_secret
    Style(
        "zendesk",  # the order of today's docs; an older page's worked example has it the other way round
        "header:x-zendesk-webhook-signature",
        encoding="base64",
        signed="{timestamp}{body}",
        timestamp="header:x-zendesk-webhook-signature-timestamp",
        unit="iso",
    ),
    Style(
        "crisp",  # unverified: the bracket form is from docs.crisp.chat
        "header:x-crisp-signature",
        signed="[{timestamp};{body}]",
        timestamp="header:x-crisp-request-timestamp",
        unit="ms",
    ),
    Style(
        "sendgrid",
        "header:x-twilio-email-event-webhook-signature",
        algorithm="ecdsa-sha256",
        encoding="base64",
        signed="{timestamp}{body}",
        timestamp="header:x-twilio-email-event-webhook-timestamp",
        key="public_key",
    ),
    Style(
        "mailgun",  # retries continue for 8 h; whether they are signed again is not documented
        "json:signature.signature",
        signed="{timestamp}{id}",
        timestamp="json:signature.timestamp",
        id="json:signature.token",
        tolerance=timedelta(hours=12),
        binds=True,
    ),
    Style(
        "stripe",  # the limit is that of Stripe's own libraries; while a secret is rotated, there is a v1 for each
        "header:stripe-signature",
        signed="{timestamp}.{body}",
        tolerance=timedelta(minutes=5),
        pairs=Pairs(timestamp="t"),
    ),
    Style("calendly", "header:calendly-webhook-signature", signed="{timestamp}.{body}", pairs=Pairs(timestamp="t")),
    Style(
        "paddle",  # retries are signed again; Paddle's libraries allow 5 s, which clocks that differ a little would fail
        "header:paddle-signature",
        signed="{timestamp}:{body}",
        tolerance=timedelta(minutes=5),
        pairs=Pairs(signature="h1", timestamp="ts", separator=";"),
    ),
    Style(
        "slack",
        "header:x-slack-signature",
        signed="v0:{timestamp}:{body}",
        prefix="v0=",
        timestamp="header:x-slack-request-timestamp",
        tolerance=timedelta(minutes=5),
    ),
    Style("shopify", "header:x-shopify-hmac-sha256", encoding="base64"),
    Style("github", "header:x-hub-signature-256", prefix="sha256="),
    Style("salesiq", "header:x-siqsignature", algorithm="rsa-sha256", encoding="base64", key="public_key"),
)
STYLES: dict[str, Style] = {style.name: style for style in _STYLES}
"""Every signature style by name, from the vendors' own pages. `hmac` is the one to be adapted (`dataclasses.replace`)."""
