"""Any bytes at the door of a real verifier: 200, 401 or a 4xx, never a 5xx, and nothing stored that was not signed."""

from __future__ import annotations

import hashlib
import hmac
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.intake.webhooks import Endpoint
from syncd.testing.hostile import HostileWebhook
from tests.integration.intake.conftest import POLICY
from tests.named_styles import STYLES, verifier

if TYPE_CHECKING:
    from tests.integration.intake.conftest import House

SECRETS = {
    "hmac": "k" * 20,
    "standard_webhooks": "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "mailgun": "k",
    "twilio": "k",
}
header_values = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80),
    st.binary(max_size=40).map(lambda raw: raw.hex()),
)
NAMES = [
    "x-signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-twilio-signature",
    "content-type",
    "x-odd",
]
headers = st.dictionaries(st.sampled_from(NAMES), header_values, max_size=6)


@pytest.mark.parametrize("style", SECRETS)
def test_unsigned_requests_are_never_more_than_401(house: House, style: str) -> None:
    endpoint = Endpoint("shop", HostileWebhook(), verifier(STYLES[style], [SECRETS[style]]))
    house.receiver.open(POLICY, {"shop": endpoint})

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.binary(max_size=300).filter(lambda body: body != b"probe"),
        headers,
        st.text(st.characters(max_codepoint=127), max_size=20),
    )
    def attack(body: bytes, sent: dict[str, str], query: str) -> None:
        status = raw_post(house.server.port, body, sent, query)
        assert status == 401

    attack()
    assert house.journal.entries == []


def test_signed_garbage_is_200_and_kept(house: House) -> None:
    endpoint = Endpoint("shop", HostileWebhook(), verifier(STYLES["hmac"], [SECRETS["hmac"]]))
    house.receiver.open(POLICY, {"shop": endpoint})

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=300).filter(lambda body: body != b"probe"))
    def send(body: bytes) -> None:
        signature = hmac.new(SECRETS["hmac"].encode(), body, hashlib.sha256).hexdigest()
        assert raw_post(house.server.port, body, {"x-signature": signature}, "") == 200
        kept = house.journal.entries[-1]
        assert kept.quarantined or kept.arrivals

    send()


def raw_post(port: int, body: bytes, headers: dict[str, str], query: str) -> int:
    """Posts bytes as they are: no client library tidies them."""
    path = "/webhooks/shop" + ("?" + "".join(c for c in query if c.isalnum() or c in "=&+%") if query else "")
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.encode("latin-1") + b"\r\n" + body)
        return int(connection.makefile("rb").readline().split()[1])
