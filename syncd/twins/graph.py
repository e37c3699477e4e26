"""The Microsoft Graph twin: one mailbox with folders, their delta, mails as MIME, contacts, calendars, and change notifications
with their handshake.

From learn.microsoft.com ("message: delta", "List messages", "Get MIME content of a message", "Receive change notifications
through webhooks", "Microsoft Graph error responses") and recorded lists of messages. A mail is a record of `messages`: `folder`,
`received` and either `raw` (MIME) or `from`, `subject` and `text`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from syncd.twins import graph_calendar, graph_contacts, outgoing
from syncd.twins.fake_events import FakeEvents, comparable
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, changed, listed, removed, token_endpoint
from syncd.twins.mime import as_mime
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

MOST_MINUTES = 10_080
_RANGE = re.compile(r"receivedDateTime (ge|lt) (\S+)")
_ORDER = {"ge": lambda held, given: held >= given, "lt": lambda held, given: held < given}


def _inside(vendor: FakeVendor, folder: str, wanted: str) -> list[Record]:
    rows = [row for row in vendor.records("messages") if row.get("folder", "inbox") == folder]
    for word, given in _RANGE.findall(wanted):
        rows = [row for row in rows if _ORDER[word](comparable(row["received"]), comparable(given))]
    return rows


def _page(vendor: FakeVendor, call: TwinCall, rows: list[Record], at: int) -> tuple[list[dict[str, Any]], int, bool]:
    size = vendor.page_size if isinstance(vendor, GraphTwin) else 3
    shown = [vendor.shown("messages", row) for row in rows[at : at + size]]
    return shown, at + len(shown), at + size < len(rows)


def folder(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    if parts["folder"] not in ("inbox", "sentitems", "archive"):
        return vendor.error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    count = len(_inside(vendor, parts["folder"], ""))
    return TwinResponse(200, {"id": parts["folder"], "displayName": parts["folder"], "totalItemCount": count})


def delta(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """A token holds the round, the position and the filter of the first call, which later calls do not repeat."""
    token = call.query.get("$skiptoken") or call.query.get("$deltatoken") or ""
    of, place, wanted = (*token.split("!", 2), "", "")[:3] if token else (str(vendor.expired_pages), "0", "")
    if of != str(vendor.expired_pages):
        return vendor.error(410, "SyncStateNotFound", "The sync state generation is not found.")
    wanted = wanted or call.query.get("$filter", "")
    rows, end, more = _page(vendor, call, _inside(vendor, parts["folder"], wanted), int(place))
    kind, name = ("$skiptoken", "@odata.nextLink") if more else ("$deltatoken", "@odata.deltaLink")
    link = f"{vendor.url}{call.path}?{urlencode({kind: f'{of}!{end}!{wanted}'})}"
    return TwinResponse(200, {"value": rows, name: link})


def messages(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    found = _inside(vendor, parts["folder"], call.query.get("$filter", ""))
    found.sort(key=lambda row: comparable(row["received"]))
    rows, end, more = _page(vendor, call, found, int(call.query.get("$skip", 0)))
    link = f"{vendor.url}{call.path}?{urlencode({**call.query, '$skip': end})}"
    return TwinResponse(200, {"value": rows, **({"@odata.nextLink": link} if more else {})})


def mime(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    record = vendor.store.get("messages", parts["id"])
    if record is None:
        return vendor.missing()
    received = datetime.fromisoformat(record["received"])
    return TwinResponse(200, as_mime(record, str(record["id"]), received), content_type="text/plain")


def subscribe(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """A new address is tried first, and must answer with the token."""
    given = call.json()
    if missing := [
        name for name in ("changeType", "notificationUrl", "resource", "expirationDateTime") if not given.get(name)
    ]:
        return vendor.error(400, "InvalidRequest", f"{missing[0]} is required")
    ends = datetime.fromisoformat(given["expirationDateTime"]).timestamp()
    if ends > vendor.clock() + MOST_MINUTES * 60:
        return vendor.error(400, "ExtensionError", "Subscription expiration can only be 10080 minutes in the future.")
    token = f"Validation: twin {vendor.tokens_made} & more"
    for url in {given["notificationUrl"], given.get("lifecycleNotificationUrl") or given["notificationUrl"]}:
        address = f"{url}{'&' if '?' in url else '?'}{urlencode({'validationToken': token})}"
        status, said = outgoing.exchange("POST", address, {"Content-Type": "text/plain"})
        if status != 200 or said != token.encode():
            return vendor.error(400, "ValidationError", f"Subscription validation request failed: HTTP {status}")
    id_ = vendor.put_record("subscriptions", {**given, "id": f"s-{vendor.clock():.6f}"})
    return TwinResponse(201, dict(vendor.store.get("subscriptions", id_) or {}))


class GraphTwin(FakeVendor):
    """Options beside those of FakeVendor: `page_size` of its lists, whatever the client asks for."""

    name = "graph"
    absent = (404, "ErrorItemNotFound")
    throttled = (429, "ApplicationThrottled")
    subscriptions = "subscriptions"
    events = FakeEvents(
        object="messages",
        at="received",
        key="AAkALg{}=".format,
        fields={
            "folder": "inbox",
            "subject": "Question {n}",
            "text": "please call me",
            "from": "An <an{n}@customer.example>",
        },
        people={"email": {"from": "An <an{n}@customer.example>"}},
        spoilt={"id": None},
    )
    routes = (
        FakeRoute("POST /{tenant}/oauth2/v2.0/token", token_endpoint(), "token", open=True),
        FakeRoute("GET /v1.0/users/{user}/mailFolders/{folder}", folder, "folder"),
        FakeRoute("GET /v1.0/users/{user}/mailFolders/{folder}/messages", messages, "messages"),
        FakeRoute("GET /v1.0/users/{user}/mailFolders/{folder}/messages/delta", delta, "delta"),
        FakeRoute("GET /v1.0/users/{user}/messages/{id}/$value", mime, "mime"),
        *graph_contacts.ROUTES,
        *graph_calendar.ROUTES,
        FakeRoute("GET /v1.0/subscriptions", listed("subscriptions", items="value"), "subscriptions"),
        FakeRoute("POST /v1.0/subscriptions", subscribe, "subscribe"),
        FakeRoute("PATCH /v1.0/subscriptions/{id}", changed("subscriptions"), "renew"),
        FakeRoute("DELETE /v1.0/subscriptions/{id}", removed("subscriptions"), "unsubscribe"),
    )
    example = """\
sources:
  mail:
    type: graph_mail
    poll: 1m
    mailbox: sales@ourcompany.example
    auth: {{tenant: ourcompany.example, client_id: app, client_secret: twin-secret-of-the-app}}
    graph_url: {url}
    login_url: {url}
"""

    def __init__(self, *, page_size: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.page_size = page_size

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        inner = {"date": datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S"), "request-id": "twin"}
        return TwinResponse(status, {"error": {"code": code, "message": message, "innerError": inner}})

    def refused(self) -> TwinResponse:
        return self.error(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        if object_ == "calendar_events":
            return graph_calendar.whole(record)
        if object_ != "messages":
            return dict(record)
        return {
            "@odata.etag": 'W/"twin"',
            "id": record["id"],
            "receivedDateTime": record["received"],
            "isDraft": record.get("draft", False),
            "isRead": record.get("read", False),
            "webLink": f"https://outlook.office365.com/owa/?ItemID={record['id']}&exvsurl=1&viewmodel=ReadMessageItem",
        }

    def notify(self, **more: Any) -> list[int]:
        """Tells every subscription that something changed, or with `lifecycleEvent=…` what became of it; the statuses."""
        return [
            self.deliver(
                str(row["notificationUrl"]),
                json.dumps(
                    {"value": [{"subscriptionId": row["id"], "clientState": row.get("clientState"), **more}]}
                ).encode(),
            )
            for row in self.records("subscriptions")
        ]
