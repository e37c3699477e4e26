"""JSON Web Tokens in a webhook's header, checked against keys that were fetched beforehand (JWKS).

Sources whose vendor signs so hold one `KeySet` and refill it in `fetch_keys`. Keys and algorithms are PyJWT's; only
asymmetric ones count. Failure policy: closed. What a key that is not fetched yet may have signed is KeyUnavailable (503: the
vendor may have rotated), and only for a token that names the right issuer and is not out of date; everything else wrong is
NotAuthentic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import orjson

from syncd.connector import Request, Verifier
from syncd.errors import KeyUnavailable, NotAuthentic
from syncd.signatures.shared_secret import unbase64

LEEWAY = timedelta(minutes=1)
MOST_KEYS = 100
_MILLISECONDS_FROM = 1e11  # as seconds that is the year 5138
_LONGEST = 16_384
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "secp256k1": ("ES256K",)}
_OKP = {"Ed25519": ("EdDSA",), "Ed448": ("EdDSA",)}
ALGORITHMS = frozenset({*_RSA, *(name for names in (*_CURVES.values(), *_OKP.values()) for name in names)})
"""What may sign (RFC 7518, 8037): none with a shared secret, which a public document cannot hold."""
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


@dataclass(frozen=True)
class Key:
    """One public key. `algorithms`: what it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    public: Any

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        try:
            return bool(_algorithms()[algorithm].verify(signed, self.public, signature))
        except (ValueError, TypeError):  # a signature of a length that the key cannot have made
            return False


class KeySet:
    """Keys by `kid`, several under one if so published. Replaced whole, so readers need no lock."""

    def __init__(self) -> None:
        self._keys: tuple[Key, ...] = ()
        self._loaded_at: datetime | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def load(self, document: bytes, now: datetime | None = None) -> list[str]:
        """Takes the keys of a JWKS document that can verify; returns what is wrong with others, a line each. Keys for another
        use and of unknown kinds are passed over (RFC 7517, 5). Raises ValueError, keeping the old keys, for one without any."""
        try:
            listed = orjson.loads(document)["keys"]
            if not isinstance(listed, list):
                raise TypeError("keys is not a list")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"the key document is not a JWKS: {type(error).__name__}") from None
        found: list[Key] = []
        faults: list[str] = []
        for index, row in enumerate(listed[:MOST_KEYS]):
            try:
                key = read_key(row)
            except ValueError as error:
                kid = row.get("kid") if isinstance(row, dict) else None
                faults.append(f"key {index}{f' ({kid!s:.40})' if kid else ''} cannot be used: {error}")
            else:
                found += [key] if key is not None else []
        if not found:
            raise ValueError("; ".join(["the key document holds no key that can verify a signature", *faults[:3]]))
        self._keys, self._loaded_at = tuple(found), now
        return faults

    def verify(self, kid: str | None, algorithm: str, signed: bytes, signature: bytes, issued_at: datetime) -> None:
        """Raises NotAuthentic for a signature that none of the keys made, KeyUnavailable when one that is not here may have."""
        named = [key for key in self._keys if kid is not None and key.kid == kid]
        unnamed = [key for key in self._keys if kid is None or key.kid is None]
        fitting = [key for key in named or unnamed if algorithm in key.algorithms]
        if any(key.verifies(algorithm, signed, signature) for key in fitting):
            return
        if kid is not None and not named:
            raise KeyUnavailable(f"no key {kid[:40]!r} among the {len(self._keys)} fetched")
        newer = self._loaded_at is not None and issued_at > self._loaded_at
        if not self._keys or (newer and not (named and fitting)):
            raise KeyUnavailable(f"no key for a token without a known key id among the {len(self._keys)} fetched")
        raise NotAuthentic("the token's signature does not match")


def read_key(row: Any) -> Key | None:
    """A key of a JWKS; None for one that is not for verifying. Raises ValueError with what is wrong with it."""
    if not isinstance(row, dict):
        raise ValueError("it is not an object")
    operations = row.get("key_ops")
    if row.get("use") not in (None, "sig") or (isinstance(operations, list) and "verify" not in operations):
        return None
    possible = _possible(row)
    declared = row.get("alg")
    if not possible or (isinstance(declared, str) and declared not in ALGORITHMS):
        return None
    if declared is not None and declared not in possible:
        raise ValueError(f"its alg {declared!s:.20} does not fit its kty {row.get('kty')!s:.20}")
    kid = row.get("kid")
    public = {name: value for name, value in row.items() if name not in _PRIVATE}
    algorithms = frozenset({declared} if isinstance(declared, str) else possible)
    return Key(None if kid is None else str(kid), algorithms, _public(public, min(algorithms)))


def _possible(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The algorithms of a kind of key, () for a kind we do not know. Raises ValueError for a curve that is missing."""
    match row.get("kty"):
        case "RSA":
            return _RSA
        case "EC" | "OKP" as kind:
            curve = row.get("crv")
            if not isinstance(curve, str):
                raise ValueError("it has no crv")
            return (_CURVES if kind == "EC" else _OKP).get(curve, ())
        case str():
            return ()
    raise ValueError("it has no kty")


def _public(row: dict[str, Any], algorithm: str) -> Any:
    from jwt import PyJWK, PyJWTError

    try:
        return PyJWK(row, algorithm).key
    except PyJWTError as error:
        raise ValueError(str(error).partition("{")[0][:100].strip() or type(error).__name__) from None
    except Exception as error:  # noqa: BLE001  whatever a made-up key trips, its neighbours count
        raise ValueError(f"{type(error).__name__}: {error!s:.100}") from None


@cache
def _algorithms() -> dict[str, Any]:
    from jwt.algorithms import get_default_algorithms

    return dict(get_default_algorithms())


def jwt(keys: KeySet, *, header: str = "authorization", issuer: str = "", audiences: Sequence[str] = ()) -> Verifier:
    """A token by any of ALGORITHMS. `exp` is required, `nbf` and `iat` are checked when there; in seconds or milliseconds."""
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
        algorithm, kid = _head(head)
        issued_at = _check_claims(claims, issuer, accepted, now)
        keys.verify(kid, algorithm, f"{parts[0]}.{parts[1]}".encode(), _part(parts[2]), issued_at)

    return verify


def _head(head: Mapping[str, Any]) -> tuple[str, str | None]:
    algorithm, kid = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise NotAuthentic(f"the token's algorithm is {algorithm!s:.20}, none of {', '.join(sorted(ALGORITHMS))}")
    if kid is not None and not isinstance(kid, str):
        raise NotAuthentic("the token's key id is not text")
    if "crit" in head or head.get("b64", True) is not True:  # RFC 7515, 4.1.11: what we do not know must not be ignored
        raise NotAuthentic("the token needs extensions that are not supported")
    return algorithm, kid


def _check_claims(claims: dict[str, Any], issuer: str, audiences: frozenset[str], now: datetime) -> datetime:
    """When it was issued; `now` for a token that does not say."""
    if issuer and claims.get("iss") != issuer:
        raise NotAuthentic(f"the token's issuer is not {issuer}")
    aud = claims.get("aud")
    named = {value for value in (aud if isinstance(aud, list) else [aud]) if isinstance(value, str)}
    if audiences and not audiences & named:
        raise NotAuthentic("the token is for another audience")
    seconds = now.timestamp()
    if _seconds(claims, "exp", required=True) < seconds - LEEWAY.total_seconds():
        raise NotAuthentic("the token has expired")
    issued = _seconds(claims, "iat")
    if max(_seconds(claims, "nbf"), issued) > seconds + LEEWAY.total_seconds():
        raise NotAuthentic("the token is not valid yet")
    return now - timedelta(seconds=seconds - issued) if issued > 0 else now


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
        raise NotAuthentic("the token is not JSON") from None
    if not isinstance(value, dict):
        raise NotAuthentic("the token is not a JSON object")
    return value


def _part(text: str) -> bytes:
    if "+" in text or "/" in text or "=" in text:
        raise NotAuthentic("the token is not base64url")
    try:
        return unbase64(text.replace("-", "+").replace("_", "/"), padded=False)
    except ValueError:
        raise NotAuthentic("the token is not base64url") from None
