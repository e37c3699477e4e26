"""Tokens in a header against fetched keys: PyJWT signs, the key document is fetched apart and seldom."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt as pyjwt
import pytest
import responses
from cryptography.hazmat.primitives.asymmetric import rsa

from syncd.connector import Context, Request
from syncd.connectors.generic.webhook import Webhook, WebhookSettings
from syncd.errors import Failure, KeyUnavailable, Misconfigured, NotAuthentic, RateLimited, Transient
from syncd.http.oauth import MemoryTokens
from syncd.signatures.jwks import LEAST_GAP, JwksKeys
from syncd.signatures.jwt import KeySet, jwt

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
URL = "https://keys.example/jwks.json"
CLAIMS = {"iss": "me", "aud": "you", "exp": NOW.timestamp() + 60}


@cache
def key(kid: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def document(*kids: str) -> bytes:
    def number(value: int) -> str:
        return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()

    rows: list[dict[str, str]] = [{"kty": "EC", "kid": "other"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]
    for kid in kids:
        numbers = key(kid).public_key().public_numbers()
        rows.append({"kty": "RSA", "kid": kid, "n": number(numbers.n), "e": number(numbers.e)})
    return json.dumps({"keys": rows}).encode()


def request(token: str) -> Request:
    return Request(
        method="POST", url="https://h/x", headers={"authorization": f"Bearer {token}"}, body=b"{}", received_at=NOW
    )


def signed(kid: str = "a", **claims: Any) -> Request:
    told = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return request(pyjwt.encode(told, key(kid), algorithm="RS256", headers={"kid": kid}))


def keys(*kids: str) -> KeySet:
    made = KeySet()
    made.load(document(*kids))
    return made


@pytest.mark.parametrize(
    "claims", [{}, {"aud": ["x", "you"]}, {"exp": (NOW.timestamp() + 60) * 1000, "iat": NOW.timestamp() * 1000}]
)
def test_a_good_token(claims: dict[str, Any]) -> None:
    jwt(keys("a", "b"), issuer="me", audiences=["you"])(signed(**claims), NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "them"},
        {"aud": "them"},
        {"aud": None},
        {"aud": {"you": 1}},
        {"exp": None},
        {"exp": NOW.timestamp() - 61},
        {"exp": (NOW.timestamp() - 61) * 1000},
        {"exp": True},
        {"nbf": NOW.timestamp() + 61},
        {"iat": NOW.timestamp() + 61},
        {"iat": "9" * 40},
    ],
)
def test_a_token_for_somebody_else_or_another_time(claims: dict[str, Any]) -> None:
    # PyJWT refuses to encode some of these by itself, so the token is signed by hand
    told = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    token = pyjwt.api_jws.encode(json.dumps(told).encode(), key("a"), algorithm="RS256", headers={"kid": "a"})
    with pytest.raises(NotAuthentic):
        jwt(keys("a"), issuer="me", audiences=["you"])(request(token), NOW)


def test_a_key_we_do_not_have_is_503_but_not_for_a_token_that_is_wrong_anyway() -> None:
    check = jwt(keys("a"), issuer="me")
    with pytest.raises(KeyUnavailable):
        check(signed("b"), NOW)
    with pytest.raises(NotAuthentic):
        check(signed("b", iss="them"), NOW)


def test_the_signature_must_be_of_the_key_it_names() -> None:
    forged = pyjwt.encode(CLAIMS, key("b"), algorithm="RS256", headers={"kid": "a"})
    unsigned = pyjwt.encode(CLAIMS, "", algorithm="none", headers={"kid": "a"})
    public = base64.b64encode(document("a")).decode()
    confused = pyjwt.encode(CLAIMS, public, algorithm="HS256", headers={"kid": "a"})
    good = pyjwt.encode(CLAIMS, key("a"), algorithm="RS256", headers={"kid": "a"})
    for token in (forged, unsigned, confused, good[:-4] + "AAAA", good + "=", f"{good}.x"):
        with pytest.raises(NotAuthentic):
            jwt(keys("a"), issuer="me")(request(token), NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"keys": 1}',
        b'{"keys": [1]}',
        b'{"keys": []}',
        b'{"keys":[{"kty":"RSA","kid":"a","n":"!","e":"AQAB"}]}',
        b'{"keys":[{"kty":"RSA","kid":"a","n":"AQ","e":"AQ"}]}',
    ],
)
def test_a_document_without_keys_leaves_the_old_ones(body: bytes) -> None:
    held = keys("a")
    with pytest.raises(ValueError, match="key"):
        held.load(body)
    jwt(held, issuer="me")(signed(), NOW)


@responses.activate
def test_invented_key_ids_do_not_make_us_hammer_the_vendor() -> None:
    answer = responses.get(URL, body=document("a"))
    held = JwksKeys(URL)
    for seconds in (0, 1, 29):
        held.fetch(NOW + timedelta(seconds=seconds))
    assert answer.call_count == 1
    held.fetch(NOW + LEAST_GAP)
    assert answer.call_count == 2


@responses.activate
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(404, b"", Misconfigured), (429, b"", RateLimited), (500, b"", Transient), (200, b"<html>", Transient)],
)
def test_a_key_document_that_does_not_come(status: int, body: bytes, expected: type[Failure]) -> None:
    responses.get(URL, status=status, body=body)
    with pytest.raises(expected):
        JwksKeys(URL).fetch(NOW)


@responses.activate
def test_the_generic_webhook_takes_tokens() -> None:
    responses.get(URL, body=document("a"))
    verify = {"scheme": "jwt", "jwks_url": URL, "issuer": "me", "audience": ["you"]}
    made = Webhook(WebhookSettings.model_validate({"verify": verify}), Context(name="door", tokens=MemoryTokens()))
    check = made.verifier()
    with pytest.raises(KeyUnavailable):
        check(signed(), NOW)
    made.fetch_keys(NOW)
    check(signed(), NOW)
