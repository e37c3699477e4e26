"""What is kept of a request, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syncd.connector import Request
from syncd.intake.quarantine import quarantined_request, quarantined_signal, read_payload
from syncd.testing.hostile import make_signal

NOW = datetime(2026, 6, 1, tzinfo=UTC)
REQUEST = Request(
    "POST",
    "https://user:pw@syncd.example.com/webhooks/forms/s3cr3tpath?token=s3cr3t&topic=x",
    {"authorization": "Bearer s3cr3t", "x-api-key": "s3cr3t", "content-type": "application/json", "ce-id": "7"},
    b"\xff\x00 not json",
    NOW,
    [("token", "s3cr3t"), ("topic", "x")],
    "s3cr3tpath",
)


def test_a_request_comes_back_as_it_was_but_for_its_credentials() -> None:
    kept = quarantined_request(REQUEST, "forms", "bad", NOW)
    assert b"s3cr3t" not in kept.payload
    assert b"pw@" not in kept.payload
    back = read_payload(kept.payload)
    assert isinstance(back, Request)
    assert (back.body, back.method, back.received_at) == (REQUEST.body, "POST", NOW)
    assert dict(back.headers) == {"content-type": "application/json", "ce-id": "7"}
    assert [tuple(pair) for pair in back.query] == [("topic", "x")]
    assert back.url == "https://syncd.example.com/webhooks/forms/?topic=x"


def test_repeats_of_a_body_have_one_id() -> None:
    later = Request("POST", REQUEST.url, {"webhook-timestamp": "2"}, REQUEST.body, NOW)
    assert quarantined_request(REQUEST, "forms", "bad", NOW).id == quarantined_request(later, "forms", "worse", NOW).id
    assert quarantined_request(REQUEST, "forms", "bad", NOW).id != quarantined_request(REQUEST, "shop", "bad", NOW).id


def test_a_signal_comes_back() -> None:
    assert read_payload(quarantined_signal(make_signal(1), "s", "odd", NOW).payload) == make_signal(1)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b"\xff", b'{"method": 3}'])
def test_other_payloads_say_so(payload: bytes) -> None:
    with pytest.raises(ValueError, match="neither a request nor a signal"):
        read_payload(payload)


def test_long_errors_are_cut() -> None:
    assert len(quarantined_request(REQUEST, "forms", "x" * 10_000, NOW).error) == 2000
