"""What the conformance suites check of a source's secrets: whose the first is, and where none may appear. The suites call it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from syncd.connector import Reply, Request
from syncd.errors import Malformed, NotAuthentic
from syncd.signals import encode
from syncd.testing.ledger import SourceLedger
from syncd.testing.vendor import Vendor
from syncd.testing.wrong_requests import bodies, forgeries

STRANGERS = "a-strangers-secret-71"


def first_secret_counts(ledger: SourceLedger, vendor: Vendor) -> None:
    """A handshake brings a secret by `Reply.remember`, so that the first can be kept, and a stranger's second is not used."""
    known, other = vendor.introduction(), vendor.introduction(STRANGERS)
    if known is None or other is None:
        return
    reply = ledger.connect().handshake(known)
    assert isinstance(reply, Reply), "the handshake that brings the secret is not answered"
    assert reply.remember, "the secret of the handshake is not in Reply.remember: it is lost with the process"
    ledger.receive(known)
    vendor.happen(0)
    request = vendor.request(0)
    ledger.connect().verifier()(request, ledger.now)
    assert not ledger.receive(other)
    try:
        ledger.connect().verifier()(request, ledger.now)
    except NotAuthentic as error:
        raise AssertionError(
            "a stranger's handshake replaced the vendor's secret: keep it under one fixed key"
        ) from error
    ledger.memory.clear()
    with pytest.raises(NotAuthentic):
        ledger.connect().verifier()(request, ledger.now)


def no_message_shows_a_secret(ledger: SourceLedger, vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a secret nor the right signature of a request is in an error, a log line, a reason or a signal."""
    vendor.happen(0)
    request, source = vendor.request(0), ledger.connect()
    hidden = [*vendor.secrets, *(request.headers[name] for name in vendor.auth_headers)]
    verifier = source.verifier()
    with caplog.at_level(logging.DEBUG):
        said = [_raised(verifier, forged, ledger.now) for _, forged in forgeries(request, vendor)]
        for body in [*bodies(), request.body]:
            said += _said_of(source.parse, vendor.sign(body) if body != request.body else request)
    said += [record.getMessage() for record in caplog.records]
    for text in said:
        assert not [secret for secret in hidden if len(secret) > 7 and secret in text], (
            f"a message shows a secret or the right signature: {text[:80]!r}…"
        )


def _raised(verifier: Callable[[Request, datetime], None], request: Request, now: datetime) -> str:
    try:
        verifier(request, now)
    except NotAuthentic as error:
        return str(error)
    return ""


def _said_of(parse: Callable[[Request], Any], request: Request) -> Iterator[str]:
    try:
        batch = parse(request)
    except Malformed as error:
        yield str(error)
        return
    yield from (encode(signal).decode("utf-8", "replace") for signal in batch.signals)
    yield from (misfit.reason for misfit in batch.misfits)
    yield from batch.dropped
    yield from (repr(hint) for hint in batch.hints)
