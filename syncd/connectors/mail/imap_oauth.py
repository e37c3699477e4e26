"""Access tokens for XOAUTH2: where they are kept, how one is asked for, and the interactive sign-in. `imap_login` uses them.

A refusal of the token endpoint becomes a failure by one table (RFC 6749 errors, Microsoft's AADSTS numbers); a refresh token
that the host rotates is kept by the TokenStore.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from syncd.capabilities import SignIn, own_grant
from syncd.connectors.accounts.microsoft import REMEDIES, SIGN_IN, THROTTLES, detail, words
from syncd.connectors.mail.imap_hosts import HOSTS
from syncd.connectors.mail.imap_settings import ImapAuth, ImapSettings
from syncd.errors import UsageError
from syncd.http.lockout import LoginBackoff
from syncd.http.oauth import Mint, grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers

ANSWERS = TokenAnswers(
    "the mail host",
    REMEDIES,
    ended=SIGN_IN,
    throttles=THROTTLES,
    words=words,
    detail=detail,
    refuses="no access token",
)


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
    form = {"client_id": auth.client_id}
    if auth.client_secret:
        form["client_secret"] = auth.client_secret.get_secret_value()
    own_right = auth.flow == "client_credentials"
    return Refreshing(
        settings.token_url,
        form | {"scope": " ".join(settings.scopes)} if own_right else form,
        ANSWERS,
        clock,
        name,
        grant="client_credentials" if own_right else "refresh_token",
        refresh=auth.refresh_token.get_secret_value() if auth.refresh_token and not own_right else "",
        around=refusals.attempt,
    )


def _auth(settings: ImapSettings) -> ImapAuth:
    assert settings.auth is not None, "asked for tokens of a source with a password"
    return settings.auth
