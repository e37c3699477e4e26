"""JSON Web Tokens in a webhook's header, checked against keys that were fetched beforehand (JWKS).

Sources whose vendor signs so (Zoho Desk) hold one `KeySet` and refill it in `fetch_keys`. Failure policy: closed. A key id
that is not in the set is KeyUnavailable (503: the vendor may have rotated), and only for a token that names the right
issuer and is not out of date; everything else wrong is NotAuthentic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from syncd.connector import Request, Verifier
from syncd.errors import KeyUnavailable, NotAuthentic
from syncd.shared_secret import unbase64

LEEWAY = timedelta(minutes=1)
_MILLISECONDS_FROM = 1e11  # as seconds that is the year 5138
_LONGEST = 16_384

Check = Callable[[bytes, bytes], bool]


class KeySet:
    """RSA keys by `kid`. Replaced whole, so readers need no lock."""

    def __init__(self) -> None:
        self._keys: dict[str, Check] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def load(self, document: bytes) -> None:
        """Takes the RS256 keys of a JWKS document. Raises ValueError, keeping the old keys, for one without any."""
        try:
            listed = orjson.loads(document)["keys"]
            found = {str(key["kid"]): _rsa_check(key) for key in listed if key.get("kty") == "RSA" and key.get("kid")}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the key document is no JWKS: {type(error).__name__}") from None
        if not found:
            raise ValueError("the key document holds no RSA key with a kid")
        self._keys = found

    def check(self, kid: str) -> Check:
        """Raises KeyUnavailable for a key id that is not here."""
        try:
            return self._keys[kid]
        except KeyError:
            raise KeyUnavailable(f"no key {kid[:40]!r} among the {len(self._keys)} fetched") from None


def jwt(keys: KeySet, *, header: str = "authorization", issuer: str = "", audiences: Sequence[str] = ()) -> Verifier:
    """RS256 only. `exp` is required, `nbf` and `iat` are checked when there; each in seconds or milliseconds."""
    name = header.lower()
    accepted = frozenset(audiences)

    def verify(request: Request, now: datetime) -> None:
        token = request.headers.get(name, "").strip()
        if token[:7].lower() == "bearer ":
            token = token[7:].strip()
        parts = token.split(".")
        if len(parts) != 3 or len(token) > _LONGEST:
            raise NotAuthentic(f"no JSON Web Token in {name}")
        head, claims = _json_part(parts[0]), _json_part(parts[1])
        if head.get("alg") != "RS256" or not isinstance(head.get("kid"), str):
            raise NotAuthentic("the token is not RS256 with a key id")
        _check_claims(claims, issuer, accepted, now)
        if not keys.check(head["kid"])(f"{parts[0]}.{parts[1]}".encode(), _part(parts[2])):
            raise NotAuthentic("the token's signature does not match")

    return verify


def _check_claims(claims: dict[str, Any], issuer: str, audiences: frozenset[str], now: datetime) -> None:
    if issuer and claims.get("iss") != issuer:
        raise NotAuthentic(f"the token's issuer is not {issuer}")
    aud = claims.get("aud")
    named = {value for value in (aud if isinstance(aud, list) else [aud]) if isinstance(value, str)}
    if audiences and not audiences & named:
        raise NotAuthentic("the token is for another audience")
    seconds = now.timestamp()
    if _seconds(claims, "exp", required=True) < seconds - LEEWAY.total_seconds():
        raise NotAuthentic("the token has expired")
    if max(_seconds(claims, "nbf"), _seconds(claims, "iat")) > seconds + LEEWAY.total_seconds():
        raise NotAuthentic("the token is not valid yet")


def _seconds(claims: dict[str, Any], name: str, *, required: bool = False) -> float:
    value = claims.get(name)
    if value is None and not required:
        return 0.0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        value = int(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise NotAuthentic(f"the token has no {name} that can be read")
    return value / 1000 if value >= _MILLISECONDS_FROM else float(value)


def _json_part(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(_part(text))
    except orjson.JSONDecodeError:
        raise NotAuthentic("the token is no JSON") from None
    if not isinstance(value, dict):
        raise NotAuthentic("the token is no JSON object")
    return value


def _part(text: str) -> bytes:
    if "+" in text or "/" in text or "=" in text:
        raise NotAuthentic("the token is not base64url")
    try:
        return unbase64(text.replace("-", "+").replace("_", "/"), padded=False)
    except ValueError:
        raise NotAuthentic("the token is not base64url") from None


def _rsa_check(key: dict[str, Any]) -> Check:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    modulus, exponent = (int.from_bytes(_number(key[name]), "big") for name in ("n", "e"))
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()

    def check(signed: bytes, sent: bytes) -> bool:
        try:
            public.verify(sent, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    return check


def _number(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not text")
    return unbase64(text.replace("-", "+").replace("_", "/"), padded=False)
