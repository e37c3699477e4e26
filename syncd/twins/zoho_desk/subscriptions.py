"""Webhooks of the Zoho Desk twin as its API keeps them, and their delivery over HTTP.

Used by twin.py. Facts: zohodesk-oas, v1.0/Webhook.json: a new address is tried by GET, then by POST; one that answers
neither with 200 is not kept. Zoho's pages: how many an edition has, 410 removes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncd.twins import outgoing
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho_desk import records
from syncd.twins.zoho_desk.org import ZohoDeskOrg

TABLE = "webhooks"
KNOWN = frozenset(
    {
        *("Ticket_Add", "Ticket_Update", "Ticket_Delete", "Ticket_Thread_Add", "Ticket_Comment_Add"),
        *("Ticket_Comment_Update", "Contact_Add", "Contact_Update", "Contact_Delete", "Account_Add"),
    }
)
TAKEN = frozenset({"subscriptions", "includeEventsFrom", "isEnabled", "name", "description", "ignoreSourceId", "url"})
INVALID = "The data is invalid due to validation restrictions"


class SubscriptionRefused(ValueError):
    """What Desk does not take; `field` is what it blames."""

    def __init__(self, field: str, text: str = INVALID) -> None:
        super().__init__(text)
        self.field = field


def listed(org: ZohoDeskOrg) -> TwinResponse:
    rows = list(org.store.table(TABLE).records.values())
    return TwinResponse(200, {"data": rows}) if rows else TwinResponse(204)


def one(org: ZohoDeskOrg, id_: str) -> Record | None:
    return org.store.get(TABLE, id_)


def create(org: ZohoDeskOrg, call: TwinCall) -> TwinResponse:
    """Raises SubscriptionRefused."""
    given = _checked(call.json(), ("subscriptions", "url"))
    if len(org.store.table(TABLE).records) >= org.webhooks_allowed:
        return org.error(403, "LICENSE_ACCESS_LIMITED", "Your edition does not allow more webhooks.")
    _try(str(given["url"]))
    id_, now = org.new_id(), records.stamp(org.clock())
    made = {"name": "", "isEnabled": True, "type": "CUSTOMER_WEBHOOK", "createdBy": "1", "createdTime": now}
    row = {**made, **given, "id": id_, "modifiedTime": now}
    org.store.put(TABLE, id_, row)
    return TwinResponse(200, row)


def change(org: ZohoDeskOrg, call: TwinCall, row: Record) -> TwinResponse:
    """Raises SubscriptionRefused. A changed address is tried like a new one."""
    given = _checked(call.json(), ("subscriptions",))
    if given.get("url") not in (None, row["url"]):
        _try(str(given["url"]))
    changed = {**row, **given, "modifiedTime": records.stamp(org.clock())}
    org.store.put(TABLE, str(row["id"]), changed)
    return TwinResponse(200, changed)


def deliver(org: ZohoDeskOrg, events: Iterable[Mapping[str, Any]]) -> list[int]:
    """Sends events to every webhook that asked for them, as Desk does; what each answered. 410 removes a webhook."""
    statuses = []
    for row in list(org.store.table(TABLE).records.values()):
        wanted = [event for event in events if event["eventType"] in row["subscriptions"] and _fits(row, event)]
        if not wanted or not row["isEnabled"]:
            continue
        headers, body = org.webhook(*wanted, webhook_id=str(row["id"]))
        statuses.append(outgoing.call("POST", str(row["url"]), headers, body))
        if statuses[-1] == 410:
            org.store.put(TABLE, str(row["id"]), None)
            org.store.commit()
    return statuses


def _fits(row: Record, event: Mapping[str, Any]) -> bool:
    narrowed = row["subscriptions"][event["eventType"]] or {}
    return narrowed.get("direction") in (None, event["payload"].get("direction"))


def _try(url: str) -> None:
    if not any(outgoing.call(method, url) == 200 for method in ("GET", "POST")):
        raise SubscriptionRefused("url", "The subscription URL did not return 200 OK.")


def _checked(given: Any, needed: Iterable[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise SubscriptionRefused("body")
    for name in (*(name for name in needed if name not in given), *(given.keys() - TAKEN)):
        raise SubscriptionRefused(name)
    events = given["subscriptions"]
    if not isinstance(events, dict) or not events or not events.keys() <= KNOWN:
        raise SubscriptionRefused("subscriptions")
    for narrowed in events.values():
        if narrowed is not None and (not isinstance(narrowed, dict) or not narrowed):
            raise SubscriptionRefused("subscriptions")
    return given
