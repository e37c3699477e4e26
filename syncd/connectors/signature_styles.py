"""How vendors sign their webhooks: one row each, from their own pages. Data only.

Sources name a row (`scheme: zendesk`) or adapt `hmac`. A new vendor is a new row.
"""

from __future__ import annotations

from datetime import timedelta

from syncd.signatures import styles
from syncd.signatures.styles import Pairs, Style

_VENDORS = (
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
        "crisp",  # as Crisp's own SDK has it; only hooks of plugins are signed
        "header:x-crisp-signature",
        signed="[{timestamp};{body}]",
        timestamp="header:x-crisp-request-timestamp",
        unit="ms",
    ),
    Style(
        "chatwoot",  # since 4.13, by its source (lib/webhooks/trigger.rb); each attempt is signed anew
        "header:x-chatwoot-signature",
        signed="{timestamp}.{body}",
        prefix="sha256=",
        timestamp="header:x-chatwoot-timestamp",
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
        "line",  # developers.line.biz, "Verify webhook signature"
        "header:x-line-signature",
        encoding="base64",
    ),
    Style(
        "zeptomail",  # unverified: what a public receiver signs; the value may be URL-encoded
        "header:producer-signature",
        encoding="base64",
        signed="{timestamp}{body}",
        unit="ms",
        pairs=Pairs(signature="s", timestamp="ts", separator=";"),
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
STYLES: dict[str, Style] = styles.STYLES | {style.name: style for style in _VENDORS}
"""Every signature style by name, the general ones included."""
