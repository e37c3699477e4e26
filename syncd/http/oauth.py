"""Access tokens: kept by grant, refreshed once however many threads, processes or machines find them expired.

Connectors describe how a token is minted; a `TokenStore` (the store's, durable and encrypted, or the one in memory here)
decides when, under a lease. Nothing here logs or shows a token.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from syncd.runtime.known_secrets import learn

EARLY = timedelta(seconds=60)
"""A token is renewed this long before its end, so that it does not die in flight."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_at` None: good until refused (the vendor tells no life). `refresh` is the newest refresh token when the
    vendor rotates them. `extra` holds what came along (where the API is)."""

    access: str
    expires_at: datetime | None = None
    refresh: str = ""
    extra: dict[str, str] = {}

    def __post_init__(self) -> None:
        learn(self.access, self.refresh, passing=True)

    def fresh(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at - EARLY

    def __repr__(self) -> str:
        """Without the secrets: a token may end up in a traceback."""
        return f"Token(expires_at={self.expires_at!r}, refresh={'yes' if self.refresh else 'no'})"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("expires_at", self.expires_at), ("refresh", "yes" if self.refresh else "no")]


Mint = Callable[[Token | None], Token]
"""Asks the vendor for a token; gets the stored one (for its rotated refresh token) or None. Raises a Failure."""


class TokenStore(Protocol):
    def token(self, grant: str, mint: Mint, *, refused: str = "") -> Token:
        """The current token of `grant` (see `grant_id`). Mints a new one, single-flight across everything that shares
        the store, when there is no token, it is about to expire, or its access text equals `refused` (a refusal of an older
        token costs nothing: it has been refreshed already). A Failure of `mint` is raised to every caller that waits for it.
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
        self._flights: dict[str, Future[Token]] = {}
        self._guard = threading.Lock()

    def token(self, grant: str, mint: Mint, *, refused: str = "") -> Token:
        with self._guard:
            held = self._tokens.get(grant)
            if held is not None and held.access != refused and held.fresh(self._clock()):
                return held
            flight = self._flights.get(grant)
            if flight is None:
                mine = self._flights[grant] = Future()
        if flight is not None:
            return flight.result()
        return self._mint(grant, mint, held, mine)

    def _mint(self, grant: str, mint: Mint, held: Token | None, flight: Future[Token]) -> Token:
        """Mints for everybody who waits for `flight`, whether it ends with a token or a failure."""
        try:
            token = mint(held)
        except BaseException as error:
            with self._guard:
                del self._flights[grant]
            flight.set_exception(error)
            raise
        with self._guard:
            self._tokens[grant] = token
            del self._flights[grant]
        flight.set_result(token)
        return token
