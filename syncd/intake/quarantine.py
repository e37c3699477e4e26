"""What cannot be understood is kept whole: the stored form of requests and signals, and reading it back.

The receiver, the fetches and `syncd quarantine retry` use it. Promise: a stored request holds what `parse` needs and none of the
credentials it came with.
"""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import sha256
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid5

import msgspec

from syncd.connector import Request
from syncd.runtime.known_secrets import mask_body
from syncd.signals import NAMESPACE, Signal, encode, frame
from syncd.store.journal.entries import Quarantined

LONGEST_ERROR = 2000
_CREDENTIAL = re.compile(r"auth|cookie|token|secret|password|passwd|api-?_?key|credential", re.IGNORECASE)
_decode_request = msgspec.json.Decoder(Request).decode
_decode_signal = msgspec.json.Decoder(Signal).decode


def quarantine_id(source: str, payload: bytes) -> UUID:
    """One id for one bad payload of a source, however often the vendor repeats it."""
    return uuid5(NAMESPACE, frame("quarantine", source, sha256(payload).hexdigest()))


def quarantined_request(request: Request, source: str, error: str, now: datetime) -> Quarantined:
    """An authentic request that could not be parsed. Its id is the body's, so a repeat with new headers is the same."""
    return Quarantined(
        quarantine_id(source, request.body), source, encode(without_credentials(request)), short(error), now
    )


def quarantined_signal(signal: Signal, source: str, error: str, now: datetime) -> Quarantined:
    """A signal that cannot be stored as it is."""
    payload = encode(signal)
    return Quarantined(quarantine_id(source, payload), source, payload, short(error), now)


def read_payload(payload: bytes) -> Request | Signal:
    """What was put in quarantine. Raises ValueError for bytes that are neither a request nor a signal."""
    try:
        return _decode_request(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return _decode_signal(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the stored payload is neither a request nor a signal: {error}") from error


def without_credentials(request: Request) -> Request:
    """The request without what proves who sent it: it has been verified, and secrets are not for the database."""
    parts = urlsplit(request.url)
    path = parts.path.removesuffix(request.tail) if request.tail else parts.path
    query = "&".join(pair for pair in parts.query.split("&") if not _CREDENTIAL.search(pair.partition("=")[0]))
    return Request(
        method=request.method,
        url=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=path, query=query)),
        headers={name: value for name, value in request.headers.items() if not _CREDENTIAL.search(name)},
        body=mask_body(request.body),
        received_at=request.received_at,
        query=[(name, value) for name, value in request.query if not _CREDENTIAL.search(name)],
    )


def short(text: str) -> str:
    return text if len(text) <= LONGEST_ERROR else text[: LONGEST_ERROR - 1] + "…"
