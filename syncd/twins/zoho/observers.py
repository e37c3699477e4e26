"""Tags of records, and users in a multi-user field, of the Zoho CRM twin.

Used by twin.py. Tags: Zoho's pages "Add Tags to Records" and "Remove Tags from Records" (v3 to v8) [DOC]; a record has at most
ten [M], what does not fit is named in `not_added_tags` [DOC].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from syncd.twins.state import Record, fold
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho.org import ZohoOrg
from syncd.twins.zoho.rows import ZohoRowError

IDS = 500  # records in one call [DOC]
TAGS = 10
Spare = Callable[[TwinCall, Mapping[str, Any], int], None]


def tag(org: ZohoOrg, call: TwinCall, spare: Spare) -> TwinResponse:
    """POST {module}/actions/add_tags and remove_tags: one outcome a record."""
    module, body = org.module(call.segments[2]), call.json()
    names = [str(one["name"]) for one in body.get("tags") or [] if one.get("name")]
    ids = [str(one) for one in body.get("ids") or []]
    for key, given in (("tags", names), ("ids", ids)):
        if not given:
            raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", {"api_name": key})
    if len(ids) > IDS:
        raise ZohoRowError("LIMIT_EXCEEDED", "the limit of records in one call is exceeded", {"limit": IDS})
    call.rows = len(ids)
    rows = []
    for index, id_ in enumerate(ids):
        try:
            spare(call, {"id": id_}, index)
            rows.append(tagged(org, module.name, id_, names, adds=call.operation == "add_tags"))
        except ZohoRowError as error:
            rows.append(error.body())
    return TwinResponse(200, {"data": rows, "locked_count": 0})


def tagged(org: ZohoOrg, module: str, id_: str, names: Iterable[str], *, adds: bool) -> dict[str, Any]:
    """The outcome of a record. Raises ZohoRowError."""
    record = org.rows.live(module, id_)
    if record is None or record.get("$converted"):
        raise ZohoRowError("INVALID_DATA", "the id given seems to be invalid", {"id": id_})
    there: list[dict[str, str]] = list(record.get("Tag") or [])
    missed = []
    if adds:
        known = {fold(one["name"]) for one in there}
        for name in names:
            if fold(name) not in known and len(there) < TAGS:
                there.append({"name": name, "id": org.rows.new_id()})
            elif fold(name) not in known:
                missed.append({"name": name})
    else:
        there = [one for one in there if fold(one["name"]) not in {fold(name) for name in names}]
    org.store.put(module, id_, record | {"Tag": there, "Modified_Time": org.rows.stamp()})
    details: dict[str, Any] = {"id": id_, "tags": there}
    if missed:
        details["not_added_tags"] = missed
    return {"code": "SUCCESS", "details": details, "message": "tags updated successfully", "status": "success"}


def add(org: ZohoOrg, module: str, id_: str, field: str, user: str) -> None:
    """What a user does in the page."""
    record: Record = org.rows.live(module, id_) or {}
    members = [*(record.get(field) or []), {"id": org.rows.new_id(), "user": user}]
    org.store.put(module, id_, {**record, field: members})
