"""The calendars of the Microsoft Graph twin: the events of a time, occurrence by occurrence.

From learn.microsoft.com ("List calendarView", "event resource type"). An event is a record of `calendar_events` with Graph's own
field names and `calendar` ("calendar" is the default one); without an end it lasts half an hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from syncd.twins.fake_events import comparable
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

PAGE = 3
CALENDARS = ("calendar", "team")


def whole(record: Record) -> dict[str, Any]:
    """The event with its end."""
    start = record["start"]
    ends = datetime.fromisoformat(start["dateTime"][:19]) + timedelta(minutes=30)
    end = {"dateTime": ends.strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": "UTC"}
    return {"end": end, **{name: value for name, value in record.items() if name != "calendar"}}


def _at(row: Record, which: str) -> tuple[int, float, str]:
    return comparable(whole(row)[which]["dateTime"][:19] + "+00:00")


def calendar_view(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    name = parts.get("calendar", "calendar")
    if name not in CALENDARS:
        return vendor.error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    if not (call.query.get("startDateTime") and call.query.get("endDateTime")):
        return vendor.error(400, "ErrorInvalidParameter", "This request requires a time window.")
    of, _, place = call.query.get("$skiptoken", f"{vendor.expired_pages}.0").partition(".")
    if of != str(vendor.expired_pages):
        return vendor.error(410, "SyncStateNotFound", "The page token is not found.")
    least, most = comparable(call.query["startDateTime"]), comparable(call.query["endDateTime"])
    rows = [row for row in vendor.records("calendar_events") if row.get("calendar", "calendar") == name]
    rows = [row for row in rows if _at(row, "end") >= least and _at(row, "start") < most]
    rows.sort(key=lambda row: _at(row, "start"))
    start = int(place)
    page = [vendor.shown("calendar_events", row) for row in rows[start : start + PAGE]]
    link = f"{vendor.url}{call.path}?{urlencode({**call.query, '$skiptoken': f'{of}.{start + PAGE}'})}"
    return TwinResponse(200, {"value": page, **({"@odata.nextLink": link} if start + PAGE < len(rows) else {})})


def calendar(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    name = parts.get("calendar", "calendar")
    if name not in CALENDARS:
        return vendor.error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    return TwinResponse(200, {"id": name, "name": name.title()})


ROUTES = (
    FakeRoute("GET /v1.0/users/{user}/calendar", calendar, "calendar"),
    FakeRoute("GET /v1.0/users/{user}/calendars/{calendar}", calendar, "calendar"),
    FakeRoute("GET /v1.0/users/{user}/calendar/calendarView", calendar_view, "calendar_view"),
    FakeRoute("GET /v1.0/users/{user}/calendars/{calendar}/calendarView", calendar_view, "calendar_view"),
)
