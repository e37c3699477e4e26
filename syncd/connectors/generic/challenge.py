"""The handshake by which Slack proves that a URL is ours before it sends events there: a signed POST whose challenge is echoed.
Pure.

https://api.slack.com/events/url_verification: "verify the request's authenticity and then respond in plaintext with the
challenge attribute value"; JSON would do, too.
"""

from __future__ import annotations

import orjson

from syncd.connector import Reply, Request, Verifier
from syncd.errors import KeyUnavailable, NotAuthentic

TYPE = "url_verification"
LONGEST = 4000
"""Bytes of such a body, of which Slack's has about 150."""


def answer(request: Request, verify: Verifier) -> Reply | None:
    """The echo for an authentic challenge; None for any other request, which is then verified and read as an event."""
    if request.method != "POST" or len(request.body) > LONGEST or TYPE.encode() not in request.body:
        return None
    try:
        said = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return None
    challenge = said.get("challenge") if isinstance(said, dict) and said.get("type") == TYPE else None
    if not isinstance(challenge, str) or not challenge.isascii() or not challenge.isprintable():
        return None
    try:
        verify(request, request.received_at)
    except (NotAuthentic, KeyUnavailable):
        return None
    return Reply(
        200, challenge.encode(), {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
    )
