"""The Google twin: the contacts of one account with their sync tokens, its calendars, and the token endpoint.

From developers.google.com ("people.connections.list", "Events: list", "Resolve errors") and the discovery documents. A contact is
a record of `people` with the API's own fields and `id` (the number in its resourceName); `FakeVendor.delete` removes one. An
event is a record of `events` with the API's own fields and `calendar` ("primary" if it has none).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from syncd.twins.delta import delta_page
from syncd.twins.fake_events import FakeEvents, comparable, iso
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, token_endpoint
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

PAGE = 3
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_STATUS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


def connections(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """Without `requestSyncToken` the list; with it what changed since the token, all without one. No contacts: no list."""
    if not call.query.get("personFields"):
        return vendor.error(400, "badRequest", "personFields mask is required")
    people, sync = vendor.records("people"), call.query.get("requestSyncToken") == "true"
    page = delta_page(vendor, people, call.query.get("pageToken") or call.query.get("syncToken") or "", PAGE)
    if page is None:
        return vendor.error(400, "EXPIRED_SYNC_TOKEN", "Sync token is expired. Clear local cache and retry.")
    rows = [vendor.shown("people", row) for row in page.changed]
    rows += [{"resourceName": f"people/c{id_}", "metadata": {"deleted": True}} for id_ in page.gone]
    said: dict[str, Any] = {"connections": rows} if rows else {}
    if page.more:
        said["nextPageToken"] = page.token
    elif sync:
        said["nextSyncToken"] = page.token
    return TwinResponse(200, {**said, "totalPeople": len(people), "totalItems": len(people)})


def calendar_events(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """Events of a calendar that overlap [timeMin, timeMax), each occurrence for itself, by their start."""
    if parts["calendar"] not in ("primary", "team@ourcompany.example"):
        return vendor.error(404, "notFound", "Not Found")
    of, _, place = call.query.get("pageToken", f"{vendor.expired_pages}.0").partition(".")
    if of != str(vendor.expired_pages):
        return vendor.error(400, "badRequest", "Invalid page token value.")
    least, most = (comparable(call.query[name]) for name in ("timeMin", "timeMax"))
    rows = [row for row in vendor.records("events") if row.get("calendar", "primary") == parts["calendar"]]
    rows = [row for row in rows if _at(row, "end") > least and _at(row, "start") < most]
    rows.sort(key=lambda row: _at(row, "start"))
    start, size = int(place), min(PAGE, int(call.query.get("maxResults", 250)))
    page = [vendor.shown("events", row) for row in rows[start : start + size]]
    more = {"nextPageToken": f"{of}.{start + size}"} if start + size < len(rows) else {}
    return TwinResponse(200, {"kind": "calendar#events", "timeZone": "Asia/Ho_Chi_Minh", "items": page, **more})


def calendar(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    if parts["calendar"] not in ("primary", "team@ourcompany.example"):
        return vendor.error(404, "notFound", "Not Found")
    return TwinResponse(200, {"id": parts["calendar"], "summary": "Sales", "timeZone": "Asia/Ho_Chi_Minh"})


def whole(record: Record) -> dict[str, Any]:
    """The event with its end: half an hour later where none is given."""
    shown = {name: value for name, value in record.items() if name != "calendar"}
    if "end" not in shown and "dateTime" in shown["start"]:
        ends = datetime.fromisoformat(shown["start"]["dateTime"]) + timedelta(minutes=30)
        shown["end"] = {"dateTime": iso(ends)}
    return shown


def _at(row: Record, which: str) -> tuple[int, float, str]:
    said = whole(row)[which]
    return comparable(said.get("dateTime") or f"{said['date']}T00:00:00+07:00")


class GoogleTwin(FakeVendor):
    name = "google"
    absent = (404, "notFound")
    throttled = (429, "RATE_LIMIT_EXCEEDED")
    events = FakeEvents(
        object="people",
        at="updated",
        key=str,
        time=iso,
        fields={"names": [{"displayName": "An {n}", "metadata": {"primary": True}}]},
        people={
            "email": {"emailAddresses": [{"value": "an{n}@customer.example"}]},
            "phone": {"phoneNumbers": [{"value": "0912 345 678", "canonicalForm": "+84912345678"}]},
        },
        spoilt={"resourceName": None},
    )
    routes = (
        FakeRoute("POST /token", token_endpoint(), "token", open=True),
        FakeRoute("GET /v1/people/me/connections", connections, "connections"),
        FakeRoute("GET /calendar/v3/calendars/{calendar}", calendar, "calendar"),
        FakeRoute("GET /calendar/v3/calendars/{calendar}/events", calendar_events, "events"),
    )
    example = """\
sources:
  contacts:
    type: google_contacts
    poll: 1m
    account: sales@ourcompany.example
    auth: {{client_id: app, client_secret: twin-secret-of-the-app, refresh_token: twin-refresh-token}}
    base_url: {url}
    token_url: {url}/token
"""

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "googleapis.com"}
        said = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN"), "details": [info]}
        return TwinResponse(status, {"error": said})

    def refused(self) -> TwinResponse:
        return self.error(401, "ACCESS_TOKEN_EXPIRED", "Request had invalid authentication credentials.")

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        if object_ == "events":
            return whole(record)
        source = {"type": "CONTACT", "id": record.get("source") or f"5f{record['id']}", "updateTime": record["updated"]}
        metadata = {"sources": [source], "objectType": "PERSON", **record.get("metadata", {})}
        own = {name: value for name, value in record.items() if name not in ("id", "updated", "source", "metadata")}
        return {"resourceName": f"people/c{record['id']}", "etag": "%EgU", "metadata": metadata, **own}
