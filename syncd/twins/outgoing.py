"""Calls that a twin makes itself: a vendor tries a new address, or delivers an event.

Used by the twins that have webhooks. Loopback only: a twin never calls a stranger.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

PATIENCE = 5.0  # seconds
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def call(method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> int:
    """The status it is answered with; 0 when nobody answers."""
    return exchange(method, url, headers, body)[0]


def exchange(method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of the answer; 0 when nobody answers."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        return 0, b""
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=PATIENCE)
        try:
            connection.request(method, path or "/", body=body or None, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return 0, b""
