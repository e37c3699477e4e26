"""Zoho accounts for the twins: refresh-token grants under the ten-tokens law, access tokens that end, and a person's consent.

Used by the Zoho CRM and Zoho Desk twins. Facts: zoho.md, OAuth. Permanent failures are HTTP 200 with {"error": …} [3P].
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from syncd.twins.consent import ConsentError, Consents, Refusal, page_of_error
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho import scopes as zoho_scopes

WINDOW = 600.0  # seconds
PER_WINDOW = 10  # access tokens per refresh token [DOC]
LIFE = 3_600.0  # seconds

THROTTLED = {
    "error_description": "You have made too many requests continuously. Please try again after some time.",
    "error": "Access Denied",
    "status": "failure",
}


_SAID = {
    ConsentError.CODE: "invalid_code",
    ConsentError.EXPIRED: "invalid_code",
    ConsentError.REDIRECT: "invalid_redirect_uri",
    ConsentError.VERIFIER: "invalid_code",  # [UNV]
    ConsentError.CLIENT: "invalid_client",
}


class Accounts:
    """Grants and live tokens. A client id, secret or refresh token that is not set is not checked, only asked for."""

    def __init__(
        self,
        clock: Callable[[], float],
        client_id: str | None,
        client_secret: str | None,
        refresh_token: str | None,
        per_window: int,
        life: float,
        scopes: Iterable[str] | None = None,
    ) -> None:
        self._clock, self._per_window, self._life = clock, per_window, life
        self.client_id, self.client_secret, self.refresh_token = client_id, client_secret, refresh_token
        self.issued = 0
        # "A two-minute authorization token that can be exchanged for an access token" [DOC accounts, Authorization Request].
        self.consents = Consents(clock, life=120.0)
        self.refreshable: set[str] = set()
        """Refresh tokens that people's consent made; while there are some, no other is taken."""
        self.location, self.server = "us", ""
        """What the redirect tells of where the account lives; `server` "": here."""
        self.scopes = None if scopes is None else frozenset(scopes)
        """Of refresh tokens that no consent made (`scopes` None: every one)."""
        self._consented: dict[str, frozenset[str]] = {}
        self._scopes: dict[str, frozenset[str] | None] = {}
        self._live: dict[str, float] = {}
        self._granted: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}

    def valid(self, token: str) -> bool:
        return self._live.get(token, 0.0) > self._clock()

    def may(self, token: str, needed: Iterable[str]) -> bool:
        """Whether a valid token has every scope that is needed."""
        held = self._scopes.get(token)
        return held is None or zoho_scopes.allowed(held, needed)

    def expires(self, token: str) -> float:
        return self._live.get(token, 0.0)

    def expire_all(self) -> None:
        self._live.clear()

    def forget(self) -> None:
        self._live.clear()
        self._granted.clear()
        self._blocked.clear()
        self.consents.forget()

    def grant(self, call: TwinCall, api_domain: str) -> TwinResponse:
        """Answers the token endpoint: the token, a throttle (HTTP 400) or a refusal (HTTP 200)."""
        form = call.form()
        if form.get("grant_type") not in ("refresh_token", "authorization_code"):
            return TwinResponse(200, {"error": "invalid_request"})
        if not form.get("client_id") or self.client_id not in (None, form["client_id"]):
            return TwinResponse(200, {"error": "invalid_client"})
        if not form.get("client_secret") or self.client_secret not in (None, form["client_secret"]):
            return TwinResponse(200, {"error": "invalid_client_secret"})
        body: dict[str, Any] = {"api_domain": api_domain, "token_type": "Bearer", "expires_in": int(self._life)}
        if form["grant_type"] == "authorization_code":
            try:
                given = self.consents.redeem(form)
            except Refusal as refusal:
                return TwinResponse(200, {"error": _SAID[refusal.wrong]})
            refresh = secrets.token_hex(16)
            if given.offline:
                body |= {"refresh_token": refresh, "scope": given.scope.replace(",", " ")}
                self.refreshable.add(refresh)
                self._consented[refresh] = zoho_scopes.granted(given.scope)
            scopes: frozenset[str] | None = zoho_scopes.granted(given.scope)
        else:
            refresh = form.get("refresh_token", "")
            if not self._known(refresh):
                return TwinResponse(200, {"error": "invalid_code"})
            scopes = self._consented.get(refresh, self.scopes)
        if self._throttled(refresh):
            return TwinResponse(400, THROTTLED)
        self.issued += 1
        token = f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}"
        self._live[token] = self._clock() + self._life
        self._scopes[token] = scopes
        return TwinResponse(200, {"access_token": token, **body})

    def _known(self, refresh: str) -> bool:
        if refresh in self.refreshable:
            return True
        return refresh == self.refresh_token if self.refresh_token or self.refreshable else bool(refresh)

    def authorize(self, call: TwinCall, url: str) -> TwinResponse:
        """The page that asks a person, and its outcome."""
        form = call.form()
        if not form.get("client_id") or self.client_id not in (None, form["client_id"]):
            return page_of_error("ERROR_invalid_client: Invalid Client Id")
        if not self.consents.known(form.get("redirect_uri", "")):
            return page_of_error(
                "ERROR_invalid_redirect_uri: Redirect URI passed does not match with the one configured"
            )
        scope = form.get("scope", "")
        if not scope or zoho_scopes.unknown(scope):
            return page_of_error("ERROR_invalid_scope: Scope does not exist")
        beside = {"location": self.location, "accounts-server": self.server or url}  # [DOC accounts, Multi DC]
        return self.consents.ask(call, form, "would like to access the following information", beside)

    def _throttled(self, refresh: str) -> bool:
        """Ten tokens in ten minutes; the eleventh blocks the rest of the window [DOC]."""
        now = self._clock()
        granted = self._granted.setdefault(refresh, deque())
        if self._blocked.get(refresh, 0.0) > now:
            return True
        while granted and granted[0] <= now - WINDOW:
            granted.popleft()
        if len(granted) >= self._per_window:
            self._blocked[refresh] = granted[0] + WINDOW
            return True
        granted.append(now)
        return False
