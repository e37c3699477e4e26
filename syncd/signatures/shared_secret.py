"""Verifiers for vendors that sign nothing and only show a secret: bearer, basic, or a secret part of the URL.

Webhook sources build them; the same promises as `syncd.signatures.verifier`: closed on failure, constant time, no
secret in a reason.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from syncd.connector import Request, Verifier
from syncd.errors import NotAuthentic


def bearer(secrets: Sequence[str], *, header: str = "authorization", scheme: str = "Bearer") -> Verifier:
    """A shared secret in a header: `Authorization: Bearer S`; with scheme "" the header's whole value."""
    accepted = _some(secrets, "bearer")
    name = header.lower()

    def verify(request: Request, now: datetime) -> None:
        value = request.headers.get(name, "").strip()
        if scheme:
            word, _, value = value.partition(" ")
            if word.lower() != scheme.lower():
                raise NotAuthentic(f"no {scheme} token in {name}")
        if not _among(value.strip(), accepted):
            raise NotAuthentic(f"the secret in {name} is not ours")

    return verify


def basic(pairs: Sequence[tuple[str, str]]) -> Verifier:
    """HTTP basic authentication by any of the (username, password) pairs."""
    accepted = _some([f"{username}:{password}" for username, password in pairs if password], "basic")

    def verify(request: Request, now: datetime) -> None:
        word, _, value = request.headers.get("authorization", "").strip().partition(" ")
        if word.lower() != "basic":
            raise NotAuthentic("no basic authorization")
        try:
            given = unbase64(value.strip()).decode()
        except ValueError:
            raise NotAuthentic("basic authorization that is not base64 of text") from None
        if not _among(given, accepted):
            raise NotAuthentic("the username or password is not ours")

    return verify


def path(secrets: Sequence[str]) -> Verifier:
    """A secret as the last part of the URL: /webhooks/NAME/SECRET. For vendors that can do nothing better."""
    accepted = _some(secrets, "path")
    if any(len(secret) < 16 for secret in accepted):
        raise ValueError("a secret path shorter than 16 characters can be guessed")

    def verify(request: Request, now: datetime) -> None:
        if not _among(request.tail, accepted):
            raise NotAuthentic("the secret part of the URL is missing or not ours")

    return verify


def anybody(request: Request, now: datetime) -> None:
    """Accepts every request: the verifier of a source whose admin asked for none."""


def _some(secrets: Sequence[str], what: str) -> tuple[str, ...]:
    accepted = tuple(secret.strip() for secret in secrets)
    if not accepted or not all(accepted):
        raise ValueError(f"{what} needs a secret that is not empty")
    return accepted


def _among(given: str, accepted: Sequence[str]) -> bool:
    return any([same(given, secret) for secret in accepted])  # noqa: C419  every one, so that time tells nothing


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(hashlib.sha256(as_bytes(one)).digest(), hashlib.sha256(as_bytes(other)).digest())


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def unbase64(text: str, *, padded: bool = True) -> bytes:
    """Strict base64. Raises ValueError."""
    if not padded:
        text = text.rstrip("=")
        text += "=" * (-len(text) % 4)
    return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
