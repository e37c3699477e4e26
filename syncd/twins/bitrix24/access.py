"""Who may call a portal: incoming webhooks by the secret in their address, applications by OAuth tokens with a rotating refresh.

Used by portal.py. Facts: bitrix24.md 1 and Bitrix24's pages "Complete OAuth 2.0 Authorization Protocol", "Token Automatic
Renewal" and "Authorization Server Error Codes".
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from syncd.twins.bitrix24.rest import Bitrix24Error
from syncd.twins.wire import TwinCall, TwinResponse

LIFE = 3_600.0  # seconds
REFRESH_LIFE = 180 * 86_400.0
CODE_LIFE = 30.0
MEMBER = "a223c6b3710f85df22e9377d6c4f7553"
SCOPES = ("crm", "department", "disk", "im", "timeman", "user", "userfieldconfig")
"""What a webhook or an application has unless it is made with fewer."""


@dataclass(frozen=True)
class PortalCaller:
    """On whose behalf a call is made: the user, the scopes, and `name`, by which run-time is counted. `app`: an application."""

    user: int
    scopes: frozenset[str]
    name: str
    app: bool = False

    def may(self, scopes: Iterable[str]) -> bool:
        """Whether one of the scopes is there; no scope at all is needed for an empty list."""
        wanted = frozenset(scopes)
        return not wanted or bool(wanted & self.scopes)


class PortalAccess:
    """Webhooks and tokens. A client id, secret or refresh token that is not set is not checked, only asked for."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        secret: str,
        scopes: Iterable[str],
        client_id: str | None,
        client_secret: str | None,
        refresh_token: str | None,
        redirect: str,
    ) -> None:
        self._clock = clock
        self.scopes = frozenset(scopes)
        self.client_id, self.client_secret, self.refresh_token = client_id, client_secret, refresh_token
        self.redirect = redirect
        """Where consent leads, from the application's settings; "": the page shows the code."""
        self.secret = secret
        self.issued = 0
        self.forget()

    def forget(self) -> None:
        """Back to one webhook of user 1, without tokens."""
        self._webhooks: dict[tuple[str, str], tuple[PortalCaller, float | None]] = {}
        self._tokens: dict[str, tuple[PortalCaller, float]] = {}
        self._refresh: dict[str, tuple[int, float]] = {}
        self._codes: dict[str, float] = {}
        self._used: set[str] = set()
        self.add_webhook(1, self.secret, self.scopes)

    def add_webhook(self, user: int, secret: str, scopes: Iterable[str], until: float | None = None) -> None:
        """An incoming webhook of a user; `until`: when it ends."""
        caller = PortalCaller(user, frozenset(scopes), f"hook-{user}-{secret}")
        self._webhooks[str(user), secret] = (caller, until)

    def revoke(self, user: int, secret: str) -> None:
        self._webhooks.pop((str(user), secret), None)

    def webhook(self, user: str, secret: str) -> PortalCaller:
        """The caller behind a webhook's address. Raises Bitrix24Error."""
        caller, until = self._webhooks.get((user, secret), (None, None))
        if caller is None or (until is not None and until <= self._clock()):
            raise Bitrix24Error("NO_AUTH_FOUND", "Wrong authorization data", 401)
        return caller

    def token(self, token: str) -> PortalCaller:
        """The caller behind an access token. Raises Bitrix24Error."""
        caller, until = self._tokens.get(token, (None, 0.0))
        if caller is None:
            raise Bitrix24Error("NO_AUTH_FOUND", "Wrong authorization data", 401)
        if until <= self._clock():
            raise Bitrix24Error("expired_token", "The access token provided has expired", 401)
        return caller

    def expire_all(self) -> None:
        self._tokens = {token: (caller, 0.0) for token, (caller, _) in self._tokens.items()}

    # The authorization server.

    def grant(self, call: TwinCall, url: str) -> TwinResponse:
        """Answers /oauth/token/: a new pair of tokens, or what is wrong. A wrong client is HTTP 200 [REC]; the status of the
        others is [UNV]."""
        form = call.form()
        if form.get("grant_type") not in ("refresh_token", "authorization_code"):
            return TwinResponse(400, {"error": "invalid_request", "error_description": "Invalid request"})
        for name, own in (("client_id", self.client_id), ("client_secret", self.client_secret)):
            if not form.get(name) or own not in (None, form[name]):
                return TwinResponse(200, {"error": "wrong_client"})
        user = self._redeemed(form)
        if user is None:
            return TwinResponse(400, {"error": "invalid_grant", "error_description": "Invalid grant"})
        return TwinResponse(200, self._pair(user, url))

    def _redeemed(self, form: dict[str, str]) -> int | None:
        """The user of a code or refresh token, which is used up by this; None for one that is not good."""
        now = self._clock()
        if form["grant_type"] == "authorization_code":
            return 1 if self._codes.pop(form.get("code", ""), 0.0) > now else None
        given = form.get("refresh_token", "")
        user, until = self._refresh.pop(given, (0, 0.0))
        if user:
            self._used.add(given)
            return user if until > now else None
        first = given == self.refresh_token if self.refresh_token else bool(given)
        if not first or given in self._used:
            return None
        self._used.add(given)  # the first one, which no consent made, is exchanged once like every other
        return 1

    def _pair(self, user: int, url: str) -> dict[str, Any]:
        now, access, refresh = self._clock(), secrets.token_hex(16), secrets.token_hex(16)
        self.issued += 1
        self._tokens[access] = (PortalCaller(user, self.scopes, "app", app=True), now + LIFE)
        self._refresh[refresh] = (user, now + REFRESH_LIFE)
        return {
            "access_token": access,
            "client_endpoint": f"{url}/rest/",
            "domain": "oauth.bitrix.info",
            "expires": int(now + LIFE),
            "expires_in": int(LIFE),
            "member_id": MEMBER,
            "refresh_token": refresh,
            "scope": ",".join(sorted(self.scopes)),
            "server_endpoint": "https://oauth.bitrix.info/rest/",
            "status": "L",
            "user_id": user,
        }

    def authorize(self, call: TwinCall, url: str) -> TwinResponse:
        """The consent page of a portal; its outcome goes to the address in the application's settings. A refusal stays on it."""
        form = call.form()
        if not form.get("client_id") or self.client_id not in (None, form["client_id"]):
            return _page(400, "Application not found")
        if call.method == "GET":
            asked = {name: html.escape(form.get(name, "")) for name in ("client_id", "state")}
            kept = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in asked.items())
            button = '<button name="decision" value="allow">allow</button>'
            return _page(200, f'<form method="post" action="?">{kept}{button}</form>')
        if form.get("decision") != "allow":
            return _page(403, "Access denied")
        code = secrets.token_hex(16)
        self._codes[code] = self._clock() + CODE_LIFE
        if not self.redirect:
            return _page(200, f"<code>{code}</code>")
        back = {"code": code, "state": form.get("state", ""), "domain": url.partition("://")[2], "member_id": MEMBER}
        back |= {"scope": ",".join(sorted(self.scopes)), "server_domain": "oauth.bitrix.info"}
        return TwinResponse(302, None, {"Location": f"{self.redirect}?{urlencode(back)}"})


def _page(status: int, body: str) -> TwinResponse:
    return TwinResponse(status, f"<!doctype html><p>{body}</p>".encode(), content_type="text/html; charset=utf-8")
