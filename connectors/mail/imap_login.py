"""The two ways into a mailbox, by password and by token, so that no account is locked and no token asked for twice.

`imap_session` calls them with a fresh connection. A password that was refused is not tried for ever; a token that was refused is
renewed once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from connectors.mail.imap_errors import translated
from connectors.mail.imap_oauth import grant_of, minter
from connectors.mail.imap_settings import ImapSettings
from connectors.mail.text import one_line, shorten
from syncd.connector import Context
from syncd.errors import Misconfigured

MOST_REFUSALS = 3
WINDOW = timedelta(hours=1)
"""One password may be refused so often in so long: hosts lock accounts after five to ten in a row, and polls, waiting
connections, backfills and reloads all try it. Another password is tried at once."""


class Way(Protocol):
    """`prepare` gives the secret to enter with, `refused` being one that the server did not take; `enter` says whether the
    server took it, False when another is worth a try (never when it is the `last`). Both raise failures."""

    def prepare(self, refused: str) -> str: ...

    def enter(self, client: Any, where: str, secret: str, *, last: bool) -> bool: ...


def way_into(settings: ImapSettings, context: Context) -> Way:
    if settings.password is not None:
        return ByPassword(settings, context.clock)
    return ByToken(settings, context)


class Refusals:
    """When which password was refused, in this process. Thread-safe. What is kept is no password, but a digest that means
    nothing elsewhere."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        self._lock = threading.Lock()
        self._at: dict[bytes, tuple[list[datetime], str]] = {}

    def key(self, *parts: str) -> bytes:
        return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), key=self._salt, digest_size=16).digest()

    def note(self, key: bytes, now: datetime, message: str) -> None:
        with self._lock:
            moments = [moment for moment in self._at.get(key, ([], ""))[0] if now - moment < WINDOW]
            self._at[key] = ([*moments, now], message)

    def forget(self, key: bytes) -> None:
        with self._lock:
            self._at.pop(key, None)

    def until(self, key: bytes, now: datetime) -> tuple[datetime, str] | None:
        """(when it may be tried again, what the server said); None when it may be now."""
        with self._lock:
            moments, message = self._at.get(key, ([], ""))
        recent = [moment for moment in moments if timedelta(0) <= now - moment < WINDOW]
        return (recent[-MOST_REFUSALS] + WINDOW, message) if len(recent) >= MOST_REFUSALS else None


REFUSALS = Refusals()


class ByPassword:
    """LOGIN, or SASL PLAIN for what is not ASCII."""

    def __init__(self, settings: ImapSettings, clock: Callable[[], datetime], refusals: Refusals = REFUSALS) -> None:
        assert settings.password is not None
        self._username, self._password = settings.username, settings.password.get_secret_value()
        self._clock, self._refusals = clock, refusals
        self._key = refusals.key(settings.host, str(settings.effective_port), self._username, self._password)

    def prepare(self, refused: str) -> str:
        held = self._refusals.until(self._key, self._clock())
        if held is not None:
            again, said = held
            raise Misconfigured(
                f"{said}; not tried again before {again:%H:%M} UTC, lest the host locks the account; "
                "another password is tried at once",
                code="refused_before",
            )
        return self._password

    def enter(self, client: Any, where: str, secret: str, *, last: bool) -> bool:
        try:
            with translated(where, otherwise=Misconfigured):
                if self._username.isascii() and secret.isascii():
                    client.login(self._username, secret)
                else:
                    client.plain_login(self._username, secret)  # LOGIN carries ASCII only; SASL PLAIN is UTF-8
        except Misconfigured as failure:
            self._refusals.note(self._key, self._clock(), failure.message)
            raise
        self._refusals.forget(self._key)
        return True


_REMEDY = {
    False: "check username, auth.scopes and that IMAP is switched on for the mailbox, then sign in again: syncd auth {name}",
    True: "check username, that IMAP is switched on for the mailbox, and that the app was given the right to it",
}


class ByToken:
    """SASL XOAUTH2 (developers.google.com/workspace/gmail/imap/xoauth2-protocol)."""

    def __init__(self, settings: ImapSettings, context: Context) -> None:
        self._username = settings.username
        self._tokens = context.tokens
        self._grant = grant_of(settings, context.name)
        self._mint = minter(settings, context.name, context.clock)
        by_app = settings.auth is not None and settings.auth.flow == "client_credentials"
        self._remedy = _REMEDY[by_app].format(name=context.name)

    def prepare(self, refused: str) -> str:
        return self._tokens.token(self._grant, self._mint, refused=refused).access

    def enter(self, client: Any, where: str, secret: str, *, last: bool) -> bool:
        with translated(where):
            if not client.has_capability("AUTH=XOAUTH2"):
                raise Misconfigured(
                    f"{where}: the server takes no tokens (it does not announce XOAUTH2); set password: instead of auth:",
                    code="no_xoauth2",
                )
        reply = _Reply(self._username, secret)
        try:
            with translated(where, otherwise=Misconfigured):
                client.sasl_login("XOAUTH2", reply)
        except Misconfigured as failure:
            if not last:
                return False
            raise Misconfigured(
                f"{where}: the server refuses a fresh token too ({reply.error or failure.code or 'no reason given'}); "
                f"{self._remedy}",
                code="token_refused",
            ) from None
        return True


class _Reply:
    """What is said in the exchange: the token first, then, when the server explains its refusal, an empty line."""

    def __init__(self, username: str, token: str) -> None:
        self._first = f"user={username}\1auth=Bearer {token}\1\1"
        self.said = False
        self.error = ""

    def __call__(self, challenge: bytes) -> str:
        if not self.said:
            self.said = True
            return self._first
        self.error = shorten(one_line(challenge.decode("utf-8", "replace")), 200)
        return ""
