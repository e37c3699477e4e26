"""Access tokens for XOAUTH2: where they are kept, how one is asked for, and the interactive sign-in. `imap_login` uses them.

A refusal of the token endpoint becomes a failure by one table (RFC 6749 errors, Microsoft's AADSTS numbers); a refresh token
that the host rotates is kept by the TokenStore.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from syncd.capabilities import SignIn, own_grant
from syncd.connectors.mail.imap_hosts import HOSTS
from syncd.connectors.mail.imap_settings import ImapAuth, ImapSettings
from syncd.connectors.text import one_line, shorten
from syncd.errors import Ambiguous, Failure, Misconfigured, RateLimited, Transient, UsageError
from syncd.http.client import Deadlines, HttpClient, Response, throttled
from syncd.http.lockout import LoginBackoff
from syncd.http.oauth import Mint, Token, grant_id

LIFE = 3600.0
"""Seconds that a token lives when the host does not say."""
_DEADLINES = Deadlines(connect=5, read=20, total=30)
_AADSTS = re.compile(r"AADSTS\d+")
_AGAIN = "to sign in again run: syncd auth {name}"

# What a person can do, by the host's own word for it. Sources: RFC 6749 5.2; learn.microsoft.com, "Microsoft Entra
# authentication and authorization error codes". The first that is known decides, numbers before RFC words.
_REMEDIES = {
    "AADSTS7000215": "client_secret is wrong: set its value, not its id",
    "AADSTS7000222": "client_secret has expired; make a new one for the app",
    "AADSTS700016": "client_id is unknown in this tenant; check client_id and tenant",
    "AADSTS90002": "there is no such tenant; check auth.tenant",
    "AADSTS900023": "there is no such tenant; check auth.tenant",
    "AADSTS65001": "consent for the app is missing; " + _AGAIN,
    "AADSTS70008": "the sign-in has expired; " + _AGAIN,
    "AADSTS700082": "the refresh token was not used for too long and has expired; " + _AGAIN,
    "AADSTS50173": "the password was changed since; " + _AGAIN,
    "AADSTS50076": "the tenant wants a second factor; " + _AGAIN,
    "invalid_grant": "the refresh token is revoked, expired or another client's; " + _AGAIN,
    "invalid_client": "check client_id and client_secret",
    "unauthorized_client": "this app may not get tokens that way; check auth.flow and the app's settings",
    "unsupported_grant_type": "the host does not know this way; check auth.flow and auth.token_url",
    "invalid_scope": "check auth.scopes",
    "access_denied": "the host's administrator has not allowed the app",
    "interaction_required": _AGAIN,
    "consent_required": _AGAIN,
}
_SIGN_IN = frozenset(word for word, remedy in _REMEDIES.items() if remedy.endswith(_AGAIN))
_LATER = frozenset({"temporarily_unavailable", "server_error"})
_SLOWER = frozenset({"slow_down", "AADSTS50196", "AADSTS90055", "rate_limit_exceeded"})
_PAUSE = 300.0


def grant_of(settings: ImapSettings, name: str) -> str:
    """Where the tokens of this source are kept. A refresh token of the configuration, or an app's own right, is one grant for
    all sources that have it; what `syncd auth` signed in for belongs to this source alone."""
    auth = _auth(settings)
    if auth.flow == "client_credentials":
        return grant_id("imap", "app", settings.token_url, auth.client_id, *settings.scopes)
    if auth.refresh_token:
        given = auth.refresh_token.get_secret_value()
        return grant_id("imap", "refresh", settings.token_url, auth.client_id, given)
    return grant_id(*own_grant("imap", name, settings.token_url, auth.client_id, settings.username))


def sign_in_of(settings: ImapSettings, name: str) -> SignIn:
    """The interactive sign-in for this source. Raises UsageError for a flow without one."""
    auth = settings.auth
    if auth is None:
        raise UsageError(f"{name} signs in by password; there is nothing to sign in for (set auth: for OAuth)")
    if auth.flow == "client_credentials":
        raise UsageError(f"{name}: flow client_credentials signs in by itself; no person is needed")
    if auth.refresh_token:
        raise UsageError(f"{name} has a refresh_token in the configuration; take it out to sign in with syncd auth")
    if not settings.authorize_url:
        raise UsageError(f"{name}: set auth.authorize_url and auth.scopes to those of the mail host")
    known = settings.known_host
    return SignIn(
        grant=grant_of(settings, name),
        authorize_url=settings.authorize_url,
        token_url=settings.token_url,
        revoke_url=next((host.revoke_url for host in HOSTS.values() if host.token_url == settings.token_url), ""),
        client_id=auth.client_id,
        client_secret=auth.client_secret.get_secret_value() if auth.client_secret else "",
        scopes=settings.scopes,
        parameters={**known.sign_in, "login_hint": settings.username},
        account=settings.username,
    )


def minter(settings: ImapSettings, name: str, clock: Callable[[], datetime], refusals: LoginBackoff) -> Mint:
    """Asks the host for a token, and what it refused only as `refusals` lets it. Raises Misconfigured, RateLimited or
    Transient."""
    auth = _auth(settings)

    def mint(held: Token | None) -> Token:
        form = {"client_id": auth.client_id}
        if auth.client_secret:
            form["client_secret"] = auth.client_secret.get_secret_value()
        if auth.flow == "client_credentials":
            form |= {"grant_type": "client_credentials", "scope": " ".join(settings.scopes)}
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": _refresh_token(auth, held, name)}
        with refusals.attempt(settings.token_url, *form.values()):
            return read_token(_ask(settings.token_url, form), held, name, clock())

    return mint


def _refresh_token(auth: ImapAuth, held: Token | None, name: str) -> str:
    """The newest there is: a host that rotates them takes no older one."""
    first = auth.refresh_token.get_secret_value() if auth.refresh_token else ""
    newest = (held.refresh if held else "") or first
    if not newest:
        raise Misconfigured(f"not signed in yet; run: syncd auth {name}", code="sign_in", sign_in=True)
    return newest


def _ask(url: str, form: dict[str, str]) -> Response:
    client = HttpClient(url, deadlines=_DEADLINES)
    try:
        return client.request("POST", "", form=form)
    except Ambiguous as error:  # a token that was made and lost does no harm
        raise Transient(error.message, code=error.code) from None
    finally:
        client.close()


def read_token(answer: Response, held: Token | None, name: str, now: datetime) -> Token:
    """The token in an answer of the token endpoint. Raises what its refusal means."""
    if (slow := throttled(answer, now)) is not None:
        raise RateLimited("the token endpoint asks for a pause", code=slow.code, retry_after=slow.retry_after or _PAUSE)
    try:
        said = answer.json()
    except Ambiguous as error:
        raise Transient(f"the token endpoint: {error.message}", code=str(answer.status)) from None
    access = said.get("access_token") if isinstance(said, dict) else None
    if not answer.ok or not isinstance(access, str) or not access:
        raise _refusal(said if isinstance(said, dict) else {}, answer.status, name)
    refresh = said.get("refresh_token")
    return Token(
        access=access,
        expires_at=now + timedelta(seconds=_life(said.get("expires_in"))),
        refresh=refresh if isinstance(refresh, str) and refresh else (held.refresh if held else ""),
    )


def _refusal(said: dict[str, Any], status: int, name: str) -> Failure:
    word, text = str(said.get("error", "")), str(said.get("error_description", ""))
    number = found[0] if (found := _AADSTS.search(text)) else ""
    words = [each for each in (number, word) if each]
    if _SLOWER.intersection(words):
        return RateLimited("the token endpoint asks for a pause", code=words[0], retry_after=_PAUSE)
    word_known = next((each for each in words if each in _REMEDIES), "")
    if word_known and word not in _LATER:
        said_text = f" ({shorten(one_line(text.partition('Trace ID')[0]), 160)})" if text else ""
        remedy = _REMEDIES[word_known].format(name=name)
        return Misconfigured(f"no access token: {remedy}{said_text}", code=words[0], sign_in=word_known in _SIGN_IN)
    return Transient(
        f"the token endpoint gave no token (HTTP {status})",
        code=words[0] if words else str(status),
        known=status >= 500 or word in _LATER,
    )


def _life(told: Any) -> float:
    try:
        return max(float(told), 0.0)
    except (TypeError, ValueError):
        return LIFE


def _auth(settings: ImapSettings) -> ImapAuth:
    assert settings.auth is not None, "asked for tokens of a source with a password"
    return settings.auth
