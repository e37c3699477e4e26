"""The two ways into a mailbox, by password and by token, so that no account is locked and no token asked for twice.

`imap_session` calls them with a fresh connection. A password that was refused is tried again only as
`syncd.http.lockout` lets it; a token that was refused is renewed once.
"""

from __future__ import annotations

from typing import Any, Protocol

from syncd.connector import Context
from syncd.connectors.mail.imap_errors import translated
from syncd.connectors.mail.imap_oauth import grant_of, minter
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.connectors.text import one_line, shorten
from syncd.errors import Misconfigured
from syncd.http.lockout import LoginBackoff


class LoginMethod(Protocol):
    """`prepare` gives the secret to enter with, `refused` being one that the server did not take; `enter` says whether the
    server took it, False when another is worth a try (never when it is the `last`). Both raise failures."""

    def prepare(self, refused: str) -> str: ...

    def enter(self, client: Any, where: str, secret: str, *, last: bool) -> bool: ...


def way_into(settings: ImapSettings, context: Context) -> LoginMethod:
    if settings.password is not None:
        return ByPassword(settings, context.refusals)
    return ByToken(settings, context)


class ByPassword:
    """LOGIN, or SASL PLAIN for what is not ASCII."""

    def __init__(self, settings: ImapSettings, refusals: LoginBackoff) -> None:
        assert settings.password is not None
        self._username, self._password = settings.username, settings.password.get_secret_value()
        self._credentials = ("imap", settings.host, str(settings.effective_port), self._username, self._password)
        self._refusals = refusals

    def prepare(self, refused: str) -> str:
        self._refusals.check(*self._credentials)
        return self._password

    def enter(self, client: Any, where: str, secret: str, *, last: bool) -> bool:
        with self._refusals.attempt(*self._credentials), translated(where, otherwise=Misconfigured):
            if self._username.isascii() and secret.isascii():
                client.login(self._username, secret)
            else:
                client.plain_login(self._username, secret)  # LOGIN carries ASCII only; SASL PLAIN is UTF-8
        return True


_REMEDY = {
    False: "check username, auth.scopes and that IMAP is switched on for the mailbox, then run: syncd auth {name}",
    True: "check username, that IMAP is switched on for the mailbox, and that the app was given the right to it",
}


class ByToken:
    """SASL XOAUTH2 (developers.google.com/workspace/gmail/imap/xoauth2-protocol)."""

    def __init__(self, settings: ImapSettings, context: Context) -> None:
        self._username = settings.username
        self._tokens = context.tokens
        self._grant = grant_of(settings, context.name)
        self._mint = minter(settings, context.name, context.clock, context.refusals)
        self._by_app = settings.auth is not None and settings.auth.flow == "client_credentials"
        self._remedy = _REMEDY[self._by_app].format(name=context.name)

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
                sign_in=not self._by_app,
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
