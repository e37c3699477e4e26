"""Zoho accounts for the twins: refresh-token grants under the ten-tokens law, and access tokens that end.

Used by the Zoho CRM and Zoho Desk twins. Facts: zoho.md, OAuth. Permanent failures are HTTP 200 with {"error": …} [3P].
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable

from syncd.twins.wire import Answer, Call

WINDOW = 600.0  # seconds
PER_WINDOW = 10  # access tokens per refresh token [DOC]
LIFE = 3_600.0  # seconds

THROTTLED = {
    "error_description": "You have made too many requests continuously. Please try again after some time.",
    "error": "Access Denied",
    "status": "failure",
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
    ) -> None:
        self._clock, self._per_window, self._life = clock, per_window, life
        self.client_id, self.client_secret, self.refresh_token = client_id, client_secret, refresh_token
        self.issued = 0
        self._live: dict[str, float] = {}
        self._granted: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}

    def valid(self, token: str) -> bool:
        return self._live.get(token, 0.0) > self._clock()

    def expires(self, token: str) -> float:
        return self._live.get(token, 0.0)

    def expire_all(self) -> None:
        self._live.clear()

    def forget(self) -> None:
        self._live.clear()
        self._granted.clear()
        self._blocked.clear()

    def grant(self, call: Call, api_domain: str) -> Answer:
        """Answers the token endpoint: the token, a throttle (HTTP 400) or a refusal (HTTP 200)."""
        form = call.form()
        if form.get("grant_type") != "refresh_token":
            return Answer(200, {"error": "invalid_request"})
        if not form.get("client_id") or self.client_id not in (None, form["client_id"]):
            return Answer(200, {"error": "invalid_client"})
        if not form.get("client_secret") or self.client_secret not in (None, form["client_secret"]):
            return Answer(200, {"error": "invalid_client_secret"})
        refresh = form.get("refresh_token", "")
        if not refresh or self.refresh_token not in (None, refresh):
            return Answer(200, {"error": "invalid_code"})
        if self._throttled(refresh):
            return Answer(400, THROTTLED)
        self.issued += 1
        token = f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}"
        self._live[token] = self._clock() + self._life
        return Answer(
            200,
            {"access_token": token, "api_domain": api_domain, "token_type": "Bearer", "expires_in": int(self._life)},
        )

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
