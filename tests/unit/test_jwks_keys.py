"""Every kind of key a vendor may publish: bad ones are passed over and named, the others verify by the algorithms they may."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt as pyjwt
import pytest
import responses
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from syncd.connector import Request
from syncd.errors import KeyUnavailable, NotAuthentic, Transient
from syncd.signatures.jwks import JwksKeys
from syncd.signatures.jwt import ALGORITHMS, KeySet, jwt, read_key

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
CLAIMS = {"iss": "me", "iat": NOW.timestamp() - 30, "exp": NOW.timestamp() + 60}
CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
    "ES256K": ec.SECP256K1(),
}


@cache
def private(algorithm: str, name: str = "") -> Any:
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate() if name != "448" else ed448.Ed448PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def row(algorithm: str, name: str = "", **more: Any) -> dict[str, Any]:
    kind = ECAlgorithm if algorithm in CURVES else OKPAlgorithm if algorithm == "EdDSA" else RSAAlgorithm
    made = dict(kind.to_jwk(private(algorithm, name).public_key(), as_dict=True))
    made.pop("key_ops", None)
    return made | more


def keys(*rows: Any, now: datetime | None = NOW) -> tuple[KeySet, list[str]]:
    held = KeySet()
    return held, held.load(json.dumps({"keys": rows}).encode(), now)


def token(algorithm: str, name: str = "", *, head: dict[str, Any] | None = None, **claims: Any) -> Request:
    told = {key: value for key, value in (CLAIMS | claims).items() if value is not None}
    text = pyjwt.encode(told, private(algorithm, name), algorithm=algorithm, headers=head)
    return Request("POST", "https://h/x", {"authorization": f"Bearer {text}"}, b"{}", NOW)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("kid", ["a", None])
def test_every_algorithm(algorithm: str, declared: bool, kid: str | None) -> None:
    more = {"alg": algorithm} if declared else {}
    held, faults = keys(row(algorithm, **more, **({"kid": kid} if kid else {}), use="sig"))
    check = jwt(held, issuer="me")
    assert faults == []
    for head in ({"kid": kid} if kid else None, None):
        check(token(algorithm, head=head), NOW)
    with pytest.raises(NotAuthentic):
        check(token(algorithm, "another", head={"kid": "a"} if kid else None), NOW)


def test_a_key_declared_for_one_algorithm_is_not_used_for_another() -> None:
    held, _ = keys(row("RS256", kid="a", alg="RS256"))
    with pytest.raises(NotAuthentic):
        jwt(held)(token("PS256", head={"kid": "a"}), NOW)


BAD = [
    5,
    "key",
    None,
    [],
    {},
    {"kty": 5},
    {"kty": "RSA", "kid": "bad", "e": "AQAB"},
    {"kty": "RSA", "kid": "bad", "n": "!", "e": "AQAB"},
    {"kty": "RSA", "kid": "bad", "n": [1], "e": {}},
    {"kty": "RSA", "kid": "bad", "n": "AQ", "e": "AQ"},
    {"kty": "EC", "kid": "bad"},
    {"kty": "EC", "kid": "bad", "crv": "P-256", "x": "AQ", "y": "AQ"},
    {"kty": "OKP", "kid": "bad", "crv": "Ed25519", "x": "AQ"},
    {"kty": "EC", "kid": "bad", "crv": "P-256", "x": "AQ", "y": "AQ", "alg": "RS256"},
]
OTHER_USE = [
    {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
    {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQ"},
    {"kty": "OKP", "crv": "X25519", "x": "AQ"},
    {"kty": "EC", "crv": "P-999", "x": "AQ", "y": "AQ"},
]


@pytest.mark.parametrize("bad", BAD)
def test_a_malformed_key_is_passed_over_and_named(bad: Any) -> None:
    held, faults = keys(bad, row("RS256", kid="a"))
    jwt(held)(token("RS256", head={"kid": "a"}), NOW)
    assert len(faults) == 1
    assert faults[0].startswith("key 0")
    assert len(faults[0]) < 250


@pytest.mark.parametrize("other", OTHER_USE)
def test_a_key_of_another_kind_is_no_fault(other: dict[str, Any]) -> None:
    held, faults = keys(other, row("RS256", kid="a"))
    assert (len(held), faults) == (1, [])


@pytest.mark.parametrize(
    "use", [{"use": "enc"}, {"key_ops": ["encrypt", "wrapKey"]}, {"alg": "RSA-OAEP-256"}, {"use": 5}]
)
def test_a_key_for_encryption_verifies_nothing(use: dict[str, Any]) -> None:
    assert read_key(row("RS256", **use)) is None
    held, _ = keys(row("RS256", kid="a", **use), row("ES256", kid="b"))
    for head in ({"kid": "a"}, None):
        with pytest.raises((NotAuthentic, KeyUnavailable)):
            jwt(held)(token("RS256", head=head), NOW)


def test_one_kid_with_two_algorithms_and_two_keys() -> None:
    rows = [row("RS256", kid="a"), row("ES256", kid="a"), row("RS256", "new", kid="a")]
    held, _ = keys(*rows)
    for algorithm, name in (("RS256", ""), ("ES256", ""), ("RS256", "new")):
        jwt(held)(token(algorithm, name, head={"kid": "a"}), NOW)


def test_a_private_key_in_the_document_verifies_as_a_public_one() -> None:
    made = dict(RSAAlgorithm.to_jwk(private("RS256", ""), as_dict=True))
    made.pop("key_ops")
    held, faults = keys(made | {"kid": "a"})
    assert faults == []
    jwt(held)(token("RS256", head={"kid": "a"}), NOW)


def test_a_token_without_kid_may_be_of_a_newer_key() -> None:
    """Its sender has rotated the key since the document was read: it comes again. What was issued before is a forgery."""
    held, _ = keys(row("RS256"), now=NOW - timedelta(minutes=1))
    with pytest.raises(KeyUnavailable):
        jwt(held)(token("RS256", "new"), NOW)
    with pytest.raises(NotAuthentic):
        jwt(held)(token("RS256", "new", iat=NOW.timestamp() - 90), NOW)
    with pytest.raises(KeyUnavailable):
        jwt(held)(token("RS256", "new", iat=None), NOW)
    with pytest.raises(KeyUnavailable):
        jwt(KeySet())(token("RS256"), NOW)


@pytest.mark.parametrize(
    "head",
    [{"crit": ["exp"], "exp": 1}, {"b64": False, "crit": ["b64"]}, {"alg": "none"}, {"alg": "HS256"}, {"alg": 5}],
)
def test_heads_that_are_refused(head: dict[str, Any]) -> None:
    import base64

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    held, _ = keys(row("RS256", kid="a"))
    text = f"{part({'alg': 'RS256', 'kid': 'a'} | head)}.{part(CLAIMS)}."
    signature = pyjwt.algorithms.RSAAlgorithm(RSAAlgorithm.SHA256).sign(text[:-1].encode(), private("RS256", ""))
    request = Request(
        "POST",
        "https://h/x",
        {"authorization": text + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()},
        b"",
        NOW,
    )
    with pytest.raises(NotAuthentic):
        jwt(held)(request, NOW)


@responses.activate
def test_what_is_wrong_with_keys_is_handed_on() -> None:
    url = "https://keys.example/jwks.json"
    responses.get(url, json={"keys": [{"kty": "RSA", "kid": "bad", "e": "AQAB"}, row("RS256", kid="a")]})
    held = JwksKeys(url)
    first = held.fetch(NOW)
    assert len(first) == 1
    assert "key 0 (bad) cannot be used" in first[0]
    assert held.fetch(NOW + timedelta(seconds=1)) == first  # not asked again, and still so
    responses.replace(responses.GET, url, json={"keys": [{"kty": "RSA", "kid": "bad", "e": "AQAB"}]})
    with pytest.raises(Transient, match=r"no key that can verify.*key 0 \(bad\)"):
        held.fetch(NOW + timedelta(minutes=1))
