"""Access tokens: kept by grant, refreshed once however many threads, processes or machines find them expired.

Connectors describe how a token is minted; a `TokenStore` (the store's, durable and encrypted, or the one in memory here)
decides when, under a lease. Nothing here logs or shows a token.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

EARLY = timedelta(seconds=60)
"""A token is renewed this long before its end, so that it does not die in flight."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_at` None: good until refused (Salesforce tells no life). `refresh` is the newest refresh token when the
    vendor rotates them. `extra` holds what came along (instance_url, api_domain)."""

    access: str
    expires_at: datetime | None = None
    refresh: str = ""
    extra: dict[str, str] = {}

    def fresh(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at - EARLY


Mint = Callable[[Token | None], Token]
"""Asks the vendor for a token; gets the stored one (for its rotated refresh token) or None. Raises a Failure."""


class TokenStore(Protocol):
    def token(self, grant: str, mint: Mint, *, refused: str = "") -> Token:
        """The current token of `grant` (see `grant_id`). Mints a new one, single-flight across everything that shares
        the store, when there is none, it is about to expire, or its access text equals `refused` (a refusal of an older
        token costs nothing: somebody refreshed already). A Failure of `mint` is raised to everybody who waited for it.
        """
        ...


def grant_id(*parts: str) -> str:
    """A stable name for one grant, made of what identifies it (host, client id, user); secrets may be among the parts,
    since only a digest is kept."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


class MemoryTokens:
    """A TokenStore for one process, kept nowhere."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def token(self, grant: str, mint: Mint, *, refused: str = "") -> Token:
        with self._guard:
            lock = self._locks.setdefault(grant, threading.Lock())
        with lock:
            held = self._tokens.get(grant)
            if held is None or held.access == refused or not held.fresh(self._clock()):
                held = mint(held)
                self._tokens[grant] = held
            return held
