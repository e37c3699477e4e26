"""Packed bodies: unpacked up to a limit, whichever bytes the sender signed; else 413, 415 or quarantine, never a silent 200."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.connector import Context, Request
from syncd.connectors.generic.webhook import CONNECTOR, WebhookSettings
from syncd.errors import Malformed
from syncd.http.oauth import MemoryTokens
from syncd.intake.admit import DeliveryTarget, Policy
from syncd.intake.quarantine import read_payload
from syncd.intake.unpacking import TooLargeUnpacked, unpacked
from syncd.intake.webhooks import NOT_AUTHENTIC, TOO_LARGE, WRONG_CODING, Endpoint, WebhookResponse, evaluate
from syncd.store.journal.entries import JournalEntry

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
POLICY = Policy(switches={"custom": {"*": True}}, outlets=(DeliveryTarget("crm"),))
PLAIN = json.dumps({"id": "1", "title": "packed"}).encode()
SECRET = "a-long-enough-secret"


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "x-gzip": gzip.compress,
    "gzip ": lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:]) + b"\0\0",
    " gzip": lambda data: gzip.compress(data) + b"\0\0\r\n",
    "deflate": zlib.compress,
    " Deflate": bare_deflate,
    "identity": bytes,
    "": bytes,
    "gzip, identity": gzip.compress,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
}


def sent(body: bytes, coding: str, **headers: str) -> Request:
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"content-type": "application/json", "content-encoding": coding, **lowered}
    return Request("POST", "https://syncd.example.com/webhooks/a", given, body, NOW)


def endpoint(scheme: str = "bearer") -> Endpoint:
    keys = {
        "verify": {"scheme": scheme, "secret": SECRET, **({"header": "x-sig"} if scheme == "hmac" else {})},
        "format": "json",
        "signal": {"type": "custom.x", "id": "{{ body.id }}", "title": "{{ body.title }}"},
    }
    settings = WebhookSettings.model_validate(keys)
    return Endpoint.of("a", CONNECTOR.build(settings, Context(name="a", tokens=MemoryTokens())))


def judged(request: Request, *, at: Endpoint | None = None, limit: int = 100_000) -> Any:
    authentic = replace(request, headers={"authorization": f"Bearer {SECRET}", **request.headers})
    return evaluate(at or endpoint(), authentic, POLICY, NOW, limit)


@pytest.mark.parametrize("coding", PACKERS)
def test_a_packed_body_is_a_signal(coding: str) -> None:
    verdict = judged(sent(PACKERS[coding](PLAIN), coding))
    assert isinstance(verdict, JournalEntry)
    assert [arrival.signal.title for arrival in verdict.arrivals] == ["packed"]


@pytest.mark.parametrize("over", ["packed", "plain"])
def test_the_bytes_as_sent_or_as_packed_may_be_signed(over: str) -> None:
    body = gzip.compress(PLAIN)
    signature = hmac.new(SECRET.encode(), body if over == "packed" else PLAIN, hashlib.sha256).hexdigest()
    assert isinstance(judged(sent(body, "gzip", x_sig=signature), at=endpoint("hmac")), JournalEntry)
    other = gzip.compress(b'{"id": "2"}')
    assert judged(sent(other, "gzip", x_sig=signature), at=endpoint("hmac")) is NOT_AUTHENTIC


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip", "nonsense"])
def test_a_coding_that_is_not_supported_is_415(coding: str) -> None:
    verdict = judged(sent(PLAIN, coding))
    assert verdict is WRONG_CODING
    assert isinstance(verdict, WebhookResponse)
    assert verdict.headers == ((b"accept-encoding", b"gzip, deflate"),)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bare_deflate])
def test_a_bomb_is_413(pack: Callable[[bytes], bytes]) -> None:
    coding = "gzip" if pack is gzip.compress else "deflate"
    assert judged(sent(pack(b"[" * 50_000_000), coding)) is TOO_LARGE
    assert judged(sent(gzip.compress(pack(b" " * 50_000_000)), f"{coding}, gzip")) is TOO_LARGE
    assert judged(sent(b"".join([gzip.compress(b" " * 90_000)] * 2), "gzip")) is TOO_LARGE
    with pytest.raises(TooLargeUnpacked):
        unpacked(sent(pack(b"x" * 11), coding), 10)
    assert unpacked(sent(pack(b"x" * 10), coding), 10).body == b"x" * 10


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(PLAIN)[:-4], "gzip"),
        (gzip.compress(PLAIN)[:12], "gzip"),
        (gzip.compress(PLAIN) + b"more", "gzip"),
        (gzip.compress(PLAIN)[:20] + b"\xff" + gzip.compress(PLAIN)[21:], "gzip"),
        (b"\x00\x01", "deflate"),
        (b"", "deflate"),
    ],
    ids=["no trailer", "cut", "more after it", "a wrong byte", "no deflate", "empty"],
)
def test_a_damaged_body_is_kept_as_it_came(body: bytes, coding: str) -> None:
    request = sent(body, coding)
    with pytest.raises(Malformed, match=r"damaged"):
        unpacked(request, 1000)
    verdict = judged(request)
    (kept,) = verdict.quarantined
    assert "damaged" in kept.error
    stored = read_payload(kept.payload)
    assert isinstance(stored, Request)
    assert (stored.body, stored.headers["content-encoding"]) == (body, coding)
    assert evaluate(endpoint(), request, POLICY, NOW) is NOT_AUTHENTIC


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_a_proxy_has_unpacked_is_taken(coding: str) -> None:
    assert [one.signal.title for one in judged(sent(PLAIN, coding)).arrivals] == ["packed"]


def test_what_is_kept_of_a_packed_body_is_its_text() -> None:
    verdict = judged(sent(gzip.compress(b'{"id": '), "gzip"))
    stored = read_payload(verdict.quarantined[0].payload)
    assert isinstance(stored, Request)
    assert (stored.body, "content-encoding" in stored.headers) == (b'{"id": ', False)
