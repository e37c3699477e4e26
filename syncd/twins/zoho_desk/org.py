"""The state of the Zoho Desk twin: its options, records, credits, tokens and the key that signs its webhooks.

The modules beside it work on this; the routes and their handlers are in twin.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from syncd.twins.server import Named, Twin
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho.auth import LIFE, PER_WINDOW, THROTTLED, Accounts
from syncd.twins.zoho_desk.webhook import Signer


def _answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Named:
    def make(twin: Any, call: TwinCall) -> TwinResponse:
        answer: TwinResponse = twin.error(status, code, message)
        answer.headers |= dict(headers or {})
        return answer

    return make


class ZohoDeskOrg(Twin):
    """Options beside those of Twin: `org_id`, `credits` (a day), `per_window`, `token_life` (seconds), `client_id`,
    `client_secret`,
    `refresh_token` (each checked only when given), `webhooks_allowed` (by the edition), `scopes` (of refresh tokens
    that no consent made; default: all)."""

    key_field = ""
    indexes: ClassVar[Mapping[str, Iterable[str]]] = {"threads": ("ticketId",), "comments": ("ticketId",)}
    named: ClassVar[Mapping[str, Named]] = {  # zoho.md, Desk: the concurrency 429 has no Retry-After, the daily one has
        "concurrency": _answer(429, "TOO_MANY_REQUESTS", "You have exceeded the number of concurrent requests."),
        "threshold": _answer(
            429, "THRESHOLD_EXCEEDED", "You have exceeded the daily API credits.", {"Retry-After": "3600"}
        ),
        "internal": _answer(500, "INTERNAL_SERVER_ERROR", "An internal server error occurred."),
        "scope": _answer(403, "SCOPE_MISMATCH", "The OAuth token does not have the scope for this call."),
        "token_throttle": lambda twin, call: TwinResponse(400, THROTTLED),
        "invalid_code": lambda twin, call: TwinResponse(200, {"error": "invalid_code"}),
    }

    def __init__(
        self,
        *,
        org_id: str = "927523540",
        credits: int = 5_000,
        per_window: int = PER_WINDOW,
        token_life: float = LIFE,
        client_id: str | None = None,
        client_secret: str | None = None,
        refresh_token: str | None = None,
        webhooks_allowed: int = 5,
        scopes: Iterable[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.accounts = Accounts(self.clock, client_id, client_secret, refresh_token, per_window, token_life, scopes)
        self.org_id, self.credits, self.spent = org_id, credits, 0
        self.webhooks_allowed = webhooks_allowed
        self.signer = Signer(self.clock, org_id)
        self._next = 0

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        body: dict[str, Any] = {"errorCode": code, "message": message}
        wrong = [{"fieldName": f"/{f}", "errorType": "invalid", "errorMessage": ""} for f in fields]
        return TwinResponse(status, body | {"errors": wrong} if wrong else body)

    def refused(self) -> TwinResponse:
        return self.error(401, "INVALID_OAUTH", "The OAuth Token you provided is invalid.")

    def expire_tokens(self) -> None:
        self.accounts.expire_all()

    def alive(self, record: Record) -> bool:
        return not record.get("isDeleted") and not record.get("isTrashed")

    def forget(self) -> None:
        self.accounts.forget()
        self.spent = 0

    def webhook(
        self, *events: Mapping[str, Any], webhook_id: str = "1", milliseconds: bool = False
    ) -> tuple[dict[str, str], bytes]:
        """(headers, body) of one delivery of `events` ({"eventType", "payload", "prevState"?}), signed as Desk signs."""
        return self.signer.delivery(events, webhook_id, milliseconds)

    def new_id(self) -> str:
        if not self._next:
            known = (int(i) for t in self.store.tables.values() for i in t.records)
            self._next = max((1329983000000425000, *known))
        self._next += 1
        return str(self._next)
