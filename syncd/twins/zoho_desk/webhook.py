"""Webhook deliveries of the Zoho Desk twin: the JWT in X-ZDesk-JWT, and the JWKS that proves it.

Used by twin.py. Facts: zoho.md, Desk, Auth: RS256 with a kid, iss "orgId:…", aud "webhookId:…", times in seconds
or milliseconds;
the JWT does not cover the body.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

HEADER = "X-ZDesk-JWT"
LIFE = 300  # seconds


class Signer:
    """Makes and rotates the key, signs deliveries, publishes the public halves. The key is made when it is first needed."""

    def __init__(self, clock: Callable[[], float], org_id: str) -> None:
        self._clock, self._org_id = clock, org_id
        self._retired: list[dict[str, str]] = []

    @cached_property
    def key(self) -> tuple[str, RSAPrivateKey]:
        """(key id, private key) now in use."""
        from cryptography.hazmat.primitives.asymmetric import rsa

        return secrets.token_hex(8), rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    def rotate(self, keep: bool = True) -> None:
        """A new key from now on; the old one stays published by default."""
        if keep:
            self._retired.append(_jwk(*self.key))
        else:
            self._retired.clear()
        self.__dict__.pop("key", None)

    def jwks(self) -> dict[str, Any]:
        return {"keys": [_jwk(*self.key), *self._retired]}

    def token(self, webhook_id: str, milliseconds: bool = False, **claims: Any) -> str:
        """A signed token; `claims` replace the true ones, for forgeries."""
        import jwt

        kid, private = self.key
        unit = 1_000 if milliseconds else 1
        now = int(self._clock())
        true = {
            "iss": f"orgId:{self._org_id}",
            "aud": f"webhookId:{webhook_id}",
            "iat": now * unit,
            "exp": (now + LIFE) * unit,
        }
        return jwt.encode(true | claims, private, algorithm="RS256", headers={"kid": kid})

    def delivery(
        self, events: Iterable[Mapping[str, Any]], webhook_id: str, milliseconds: bool
    ) -> tuple[dict[str, str], bytes]:
        """One POST: a JSON array of events."""
        at = str(int(self._clock() * 1_000))
        body = [{"eventTime": at, "orgId": self._org_id, **event} for event in events]
        headers = {HEADER: self.token(webhook_id, milliseconds), "Content-Type": "application/json"}
        return headers, orjson.dumps(body)


def _jwk(kid: str, private: RSAPrivateKey) -> dict[str, str]:
    numbers = private.public_key().public_numbers()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
