"""The Outlook contacts of the Microsoft Graph twin: lists and deltas of the default folder and of others.

From learn.microsoft.com ("contact: delta", "contact resource type", "List contacts"). A contact is a record of `contacts` with
Graph's own field names and `folder` ("contacts" is the default one). `FakeVendor.delete` removes one: the delta says so.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from syncd.twins.delta import delta_page
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

PAGE = 3
FOLDERS = ("contacts", "partners")


def _rows(vendor: FakeVendor, folder: str) -> list[Record]:
    return [row for row in vendor.records("contacts") if row.get("folder", "contacts") == folder]


def _shown(vendor: FakeVendor, row: Record) -> dict[str, Any]:
    return {name: value for name, value in vendor.shown("contacts", row).items() if name != "folder"}


def contacts(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    folder = parts.get("folder", "contacts")
    if folder not in FOLDERS:
        return vendor.error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    rows, start = _rows(vendor, folder), int(call.query.get("$skip", 0))
    size = min(int(call.query.get("$top", PAGE)), PAGE)
    page = [_shown(vendor, row) for row in rows[start : start + size]]
    link = f"{vendor.url}{call.path}?{urlencode({**call.query, '$skip': start + size})}"
    return TwinResponse(200, {"value": page, **({"@odata.nextLink": link} if start + size < len(rows) else {})})


def delta(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    folder = parts.get("folder", "contacts")
    if folder not in FOLDERS:
        return vendor.error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    token = call.query.get("$skiptoken") or call.query.get("$deltatoken") or ""
    page = delta_page(vendor, _rows(vendor, folder), token, PAGE)
    if page is None:
        return vendor.error(410, "SyncStateNotFound", "The sync state generation is not found.")
    rows = [_shown(vendor, row) for row in page.changed]
    for id_ in page.gone:
        moved = vendor.store.get("contacts", id_) is not None
        rows.append({"id": id_, "@removed": {"reason": "changed" if moved else "deleted"}})
    kind, name = ("$skiptoken", "@odata.nextLink") if page.more else ("$deltatoken", "@odata.deltaLink")
    return TwinResponse(200, {"value": rows, name: f"{vendor.url}{call.path}?{urlencode({kind: page.token})}"})


ROUTES = (
    FakeRoute("GET /v1.0/users/{user}/contacts", contacts, "contacts"),
    FakeRoute("GET /v1.0/users/{user}/contacts/delta", delta, "contacts_delta"),
    FakeRoute("GET /v1.0/users/{user}/contactFolders/{folder}/contacts", contacts, "contacts"),
    FakeRoute("GET /v1.0/users/{user}/contactFolders/{folder}/contacts/delta", delta, "contacts_delta"),
)
