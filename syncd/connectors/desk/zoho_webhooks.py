"""Zoho Desk's webhooks by its API: which there are, one that points here, and none.

The Zoho Desk source hands through to it for `syncd webhooks`. Facts: zohodesk-oas v1.0/Webhook.json: Desk asks a new address by
GET, then by POST, for a 200 before it keeps it; the scopes are Desk.webhooks.READ, CREATE, UPDATE and DELETE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncd.capabilities import Subscription
from syncd.connectors.desk.zoho_api import DeskApi
from syncd.errors import Failure, Misconfigured

SCOPES = "Desk.webhooks.READ, Desk.webhooks.CREATE, Desk.webhooks.UPDATE, Desk.webhooks.DELETE"
EVENTS: Mapping[str, Mapping[str, Any]] = {
    "Ticket_Add": {},
    "Ticket_Update": {},
    "Ticket_Thread_Add": {"direction": "in"},
    "Ticket_Comment_Add": {},
}
"""What this source reads, with what narrows it at Desk."""
AUTOMATION = ["AUTOMATION"]
"""Changes by Desk's own rules (an escalation, say) are sent only on request."""


class DeskWebhooks:
    """The webhooks of one organisation as seen from `url`, the address of this source."""

    def __init__(
        self, api: DeskApi, name: str, url: str, departments: Sequence[str], accepted: Sequence[str] = ()
    ) -> None:
        self._api = api
        self._name = name
        self._url = url
        self._accepted = frozenset(accepted)
        narrowed = {"departmentIds": list(departments)} if departments else {}
        self._events = {event: {**more, **narrowed} or None for event, more in EVENTS.items()}

    def all(self) -> list[Subscription]:
        with _Explained():
            return [self._read(row) for row in self._api.webhooks()]

    def subscribe(self) -> list[Subscription]:
        """One that points here; brought up to date when it is there already. Those beside it that point here too are left."""
        with _Explained():
            ours = [row for row in self._api.webhooks() if _same(row.get("url"), self._url)]
            wanted = {"subscriptions": self._events, "includeEventsFrom": AUTOMATION}
            if not ours:
                named = {"name": f"syncd: {self._name}"[:100], "url": self._url}
                return [self._read(self._api.put_webhook("", {**named, **wanted}))]
            first = ours[0]
            if not _covers(first, self._events):
                first = self._api.put_webhook(str(first["id"]), {**wanted, "isEnabled": True}) or first
            return [self._read(row) for row in (first, *ours[1:])]

    def unsubscribe(self, id: str) -> None:
        with _Explained():
            self._api.delete_webhook(id)

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        active, id_ = row.get("isEnabled") is not False, str(row.get("id") or "")
        events, ours = row.get("subscriptions"), _same(row.get("url"), self._url)
        missed = ours and bool(self._accepted) and id_ not in self._accepted
        return Subscription(
            id=id_,
            url=str(row.get("url") or ""),
            events=tuple(sorted(events)) if isinstance(events, dict) else (),
            state="enabled" if active else "disabled",
            ours=ours,
            active=active,
            note=f"add {id_} to webhook_ids of this source: it takes no other" if missed else "",
        )


def _same(one: Any, other: str) -> bool:
    return isinstance(one, str) and one.rstrip("/") == other.rstrip("/")


def _covers(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a webhook brings what is wanted. An entry that narrows nothing may be written in several ways."""
    held = row.get("subscriptions")
    if not isinstance(held, dict) or row.get("isEnabled") is False:
        return False
    for event, narrowed in wanted.items():
        if event not in held:
            return False
        told = {name: value for name, value in (held[event] or {}).items() if value not in (None, [], False)}
        departments = told.get("departmentIds")
        if isinstance(departments, list):
            told["departmentIds"] = sorted(map(str, departments))
        mine = {name: sorted(value) if isinstance(value, list) else value for name, value in (narrowed or {}).items()}
        if told.get("departmentIds") != mine.get("departmentIds"):
            return False
    return True


class _Explained:
    """Within it, Desk's refusals of webhooks are reported with their remedies."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Failure) and error.code in _REMEDIES:
            raise Misconfigured(f"{_REMEDIES[error.code]} ({error})", code=error.code) from None


_REMEDIES = {
    "SCOPE_MISMATCH": f"webhooks need the scopes {SCOPES} in the refresh token",
    "LICENSE_ACCESS_LIMITED": "webhooks need the edition Professional (5 of them) or Enterprise (10); "
    "without, the poll brings everything, later",
    "UNPROCESSABLE_ENTITY": "Desk did not take the webhook; it asks its address for a 200 first: is syncd running, and is "
    "server.public_url what the internet reaches?",
    "INVALID_DATA": "Desk did not take the webhook; it asks its address for a 200 first: is syncd running, and is "
    "server.public_url what the internet reaches?",
}
