"""The timeline of CRM records: comments, log messages, and their links to further records.

Used by methods.py. Comments take `fields` in lower case only [DOC]; one command is one comment, nothing is unique.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from syncd.twins.bitrix24 import filters, phpdata
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import (
    Bitrix24Error,
    RestAnswer,
    RestCall,
    RestMethod,
    as_int,
    page,
    sorted_rows,
    upper_keys,
)
from syncd.twins.state import Record

LOG_PAGE = 10
"""Rows of a list of log messages [DOC]."""


def owner_key(portal: Bitrix24Portal, type_: Any, id_: Any) -> str:
    """The key of a record given by the number or name of its type and its id. Raises Bitrix24Error."""
    number = as_int(type_)
    kind = portal.types.get(number) if number is not None else portal.named_type(str(type_))
    whole = as_int(id_)
    if kind is None or not whole or portal.item(kind, whole) is None:
        raise Bitrix24Error("OWNER_NOT_FOUND", "Owner not found")
    return kind.key(whole)


def named_owner(portal: Bitrix24Portal, key: str) -> tuple[int, str, int]:
    """(entityTypeId, name, id) of a record's key."""
    short, _, id_ = key.rpartition("_")
    kind = next(one for one in portal.types.values() if one.short == short)
    return kind.id, kind.name, int(id_)


def _needed(fields: dict[str, Any], *names: str) -> None:
    for name in names:
        if fields.get(name) in (None, ""):
            raise Bitrix24Error("100", f"Could not find value for parameter {{{name}}}")


def add_comment(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    fields = upper_keys(call.array("fields"))
    _needed(fields, "ENTITY_ID", "ENTITY_TYPE")
    if not str(fields.get("COMMENT") or "").strip():
        raise Bitrix24Error("INVALID_ARG_VALUE", "Empty comment")
    key = owner_key(portal, fields["ENTITY_TYPE"], fields["ENTITY_ID"])
    row = {"OWNER": key, "BINDINGS": [key], "COMMENT": str(fields["COMMENT"]), "FILES": _files(fields.get("FILES"))}
    return RestAnswer(_kept(portal, "comment", call, row))


def _kept(portal: Bitrix24Portal, object_: str, call: RestCall, row: Record) -> int:
    id_ = portal.new_id(object_)
    portal.store.put(object_, str(id_), {"ID": id_, **row, "AUTHOR_ID": call.user, "CREATED": portal.stamp()})
    return id_


def _files(given: Any) -> list[Record]:
    """[[name, base64]] as it is kept; what is not that is dropped [UNV]."""
    found = []
    for one in phpdata.values(given):
        parts = phpdata.values(one)
        if len(parts) == 2:
            try:
                found.append({"name": str(parts[0]), "size": len(base64.b64decode(str(parts[1]), validate=True))})
            except binascii.Error:
                continue
    return found


def _comment(portal: Bitrix24Portal, id_: Any) -> Record:
    found = portal.store.get("comment", str(id_))
    if found is None:
        raise Bitrix24Error("NOT_FOUND", "Not found.")
    return found


def update_comment(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    held = _comment(portal, call.number("id"))
    fields = upper_keys(call.array("fields"))
    changed = {"COMMENT": str(fields["COMMENT"])} if "COMMENT" in fields else {}
    portal.store.put("comment", str(held["ID"]), {**held, **changed})
    return RestAnswer(held["ID"])


def get_comment(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    held = _comment(portal, call.number("id"))
    return RestAnswer(_shown_comment(portal, held, held["OWNER"]))


def comments(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.timeline.comment.list: of one record, which the filter names."""
    filter_ = upper_keys(call.any_case("filter"))
    try:
        key = owner_key(portal, filter_.pop("ENTITY_TYPE", ""), filter_.pop("ENTITY_ID", 0))
    except Bitrix24Error:
        raise Bitrix24Error("", "Access denied.") from None
    test = filters.compiled(filter_)
    rows = [row for row in portal.store.table("comment").records.values() if key in row["BINDINGS"] and test(row)]
    order = {k: v for k, v in upper_keys(call.any_case("order")).items() if k in ("ID", "CREATED", "AUTHOR_ID")}
    rows = sorted_rows(rows, order or {"ID": "DESC"}, filters.comparable)
    select = {str(one).upper() for one in phpdata.values(call.any_case("select"))}
    return page(
        rows,
        call.start,
        lambda found: [
            {k: v for k, v in _shown_comment(portal, row, key).items() if not select or k in select} for row in found
        ],
    )


def _shown_comment(portal: Bitrix24Portal, row: Record, key: str) -> dict[str, Any]:
    _, name, id_ = named_owner(portal, key)
    files = {str(number): file for number, file in enumerate(row["FILES"], 1)}
    return {
        "ID": str(row["ID"]),
        "ENTITY_ID": str(id_),
        "ENTITY_TYPE": name,
        "CREATED": row["CREATED"],
        "COMMENT": row["COMMENT"],
        "AUTHOR_ID": str(row["AUTHOR_ID"]),
        "FILES": files,
    }


def add_log_message(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    fields = call.mapping("fields")
    _needed(fields, "entityTypeId", "entityId", "title", "text", "iconCode")
    key = owner_key(portal, fields["entityTypeId"], fields["entityId"])
    row = {name: str(fields[name]) for name in ("title", "text", "iconCode")}
    id_ = _kept(portal, "logmessage", call, {"OWNER": key, "BINDINGS": [key], **row})
    return RestAnswer({"logMessage": _shown_log(portal.store.get("logmessage", str(id_)) or {})})


def log_messages(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.timeline.logmessage.list: ten a page, the newest first."""
    key = owner_key(portal, call.number("entityTypeId"), call.number("entityId"))
    rows = [r for r in portal.store.table("logmessage").records.values() if key in r["BINDINGS"]]
    order = {str(k).upper(): v for k, v in call.mapping("order", needed=False).items()}
    rows = sorted_rows(rows, order or {"ID": "DESC"}, filters.comparable)
    start = max(0, call.start)
    more = start + LOG_PAGE if start + LOG_PAGE < len(rows) else None
    return RestAnswer([_shown_log(row) for row in rows[start : start + LOG_PAGE]], len(rows), more)


def _shown_log(row: Record) -> dict[str, Any]:
    told = {name: row[name] for name in ("title", "text", "iconCode")}
    return {"id": row["ID"], "created": row["CREATED"], "authorId": row["AUTHOR_ID"], **told}


def bind(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.timeline.bindings.bind: a comment shows at a further record as well."""
    fields = upper_keys(call.any_case("fields"))
    held = portal.store.get("comment", str(fields.get("OWNER_ID", "")))
    if held is None:
        raise Bitrix24Error("", "OWNER_ID is not defined or invalid.")
    if portal.named_type(str(fields.get("ENTITY_TYPE", ""))) is None:
        raise Bitrix24Error("", "ENTITY_TYPE is not defined or invalid.")
    try:
        key = owner_key(portal, fields["ENTITY_TYPE"], fields.get("ENTITY_ID"))
    except Bitrix24Error:
        raise Bitrix24Error("", "ENTITY_ID is not defined or invalid.") from None
    portal.store.put("comment", str(held["ID"]), {**held, "BINDINGS": list(dict.fromkeys([*held["BINDINGS"], key]))})
    return RestAnswer(True)


def bindings(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.timeline.bindings.list"""
    wanted = upper_keys(call.any_case("filter"))
    held = portal.store.get("comment", str(wanted.get("OWNER_ID", "")))
    if held is None:
        raise Bitrix24Error("", "OWNER_ID is not defined or invalid.")
    owners = [named_owner(portal, key) for key in held["BINDINGS"]]
    rows = [{"OWNER_ID": str(held["ID"]), "ENTITY_ID": str(id_), "ENTITY_TYPE": name} for _, name, id_ in owners]
    return page(rows, call.start)


METHODS = {
    "crm.timeline.comment.add": RestMethod(add_comment, ("crm",), 0.05),
    "crm.timeline.comment.update": RestMethod(update_comment, ("crm",), 0.05),
    "crm.timeline.comment.get": RestMethod(get_comment, ("crm",)),
    "crm.timeline.comment.list": RestMethod(comments, ("crm",)),
    "crm.timeline.logmessage.add": RestMethod(add_log_message, ("crm",), 0.05),
    "crm.timeline.logmessage.list": RestMethod(log_messages, ("crm",)),
    "crm.timeline.bindings.bind": RestMethod(bind, ("crm",), 0.05),
    "crm.timeline.bindings.list": RestMethod(bindings, ("crm",)),
}
