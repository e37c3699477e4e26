"""Activities of CRM records: universal ones (`crm.activity.todo.*`) and those of the older API, calls and meetings among them.

Used by methods.py. Errors of the older API have an empty code and a sentence.
"""

from __future__ import annotations

from datetime import datetime
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
from syncd.twins.bitrix24.timeline import named_owner, owner_key
from syncd.twins.state import Record

MEETING, CALL, TASK, MAIL, BY_PROVIDER = 1, 2, 3, 4, 6
TO_DO = "CRM_TODO"
_PROVIDERS = {MEETING: ("CRM_MEETING", "MEETING"), CALL: ("VOXIMPLANT_CALL", "CALL"), MAIL: ("CRM_EMAIL", "EMAIL")}
_WRITABLE = frozenset(
    {"SUBJECT", "DESCRIPTION", "DESCRIPTION_TYPE", "DIRECTION", "COMPLETED", "RESPONSIBLE_ID"}
    | {"PRIORITY", "LOCATION", "START_TIME", "END_TIME", "STATUS", "ORIGINATOR_ID"}
    | {"ORIGIN_ID", "ORIGIN_VERSION", "NOTIFY_TYPE", "NOTIFY_VALUE", "PROVIDER_ID", "PROVIDER_TYPE_ID", "SETTINGS"}
)
_NUMBERS = frozenset(
    {"DIRECTION", "RESPONSIBLE_ID", "PRIORITY", "STATUS", "DESCRIPTION_TYPE", "NOTIFY_TYPE", "NOTIFY_VALUE"}
)


def _moment(portal: Bitrix24Portal, given: Any, code: str = "WRONG_DATETIME_FORMAT") -> str:
    try:
        found = datetime.fromisoformat(str(given))
    except ValueError:
        raise Bitrix24Error(code, "Wrong datetime format") from None
    return (
        (found if found.tzinfo else found.replace(tzinfo=portal.zone)).astimezone(portal.zone).isoformat("T", "seconds")
    )


def _blank(portal: Bitrix24Portal, user: int, key: str) -> Record:
    """An activity where nothing else is said, with the fields of `crm.activity.list` [DOC, sample answer]."""
    type_, _, id_ = named_owner(portal, key)
    now = portal.stamp()
    absent = ("PROVIDER_GROUP_ID", "ORIGINATOR_ID", "ORIGIN_ID", "PROVIDER_DATA", "RESULT_VALUE", "RESULT_SUM")
    return dict.fromkeys(absent) | {
        "OWNER": key,
        "BINDINGS": [key],
        "OWNER_ID": id_,
        "OWNER_TYPE_ID": type_,
        "ASSOCIATED_ENTITY_ID": 0,
        "SUBJECT": "",
        "CREATED": now,
        "LAST_UPDATED": now,
        "COMPLETED": "N",
        "STATUS": 1,
        "RESPONSIBLE_ID": user,
        "PRIORITY": 2,
        "NOTIFY_TYPE": 0,
        "NOTIFY_VALUE": 0,
        "DESCRIPTION": "",
        "DESCRIPTION_TYPE": 1,
        "DIRECTION": 0,
        "LOCATION": "",
        "SETTINGS": [],
        "AUTHOR_ID": user,
        "EDITOR_ID": user,
        "PROVIDER_PARAMS": [],
        "COMMUNICATIONS": [],
    }


def _kept(portal: Bitrix24Portal, row: Record) -> int:
    id_ = portal.new_id("activity")
    portal.store.put("activity", str(id_), {"ID": id_, **row})
    return id_


# Universal activities.


def add_todo(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    type_, id_, deadline = call.number("ownerTypeId"), call.number("ownerId"), call.need("deadline")
    key = owner_key(portal, type_, id_)
    made = {
        "TYPE_ID": BY_PROVIDER,
        "PROVIDER_ID": TO_DO,
        "PROVIDER_TYPE_ID": "TO_DO",
        "SUBJECT": str(call.params.get("title") or ""),
        "DESCRIPTION": str(call.params.get("description") or ""),
        "DEADLINE": _moment(portal, deadline),
        "PING_OFFSETS": [as_int(one) for one in phpdata.values(call.params.get("pingOffsets"))],
        "RESPONSIBLE_ID": _responsible(portal, call.params.get("responsibleId") or call.user),
    }
    made |= {"START_TIME": made["DEADLINE"], "END_TIME": made["DEADLINE"]}
    return RestAnswer({"id": _kept(portal, _blank(portal, call.user, key) | made)})


def _responsible(portal: Bitrix24Portal, given: Any) -> int:
    found = as_int(given) or 0
    if portal.user(found) is None:
        raise Bitrix24Error("INVALID_ARG_VALUE", 'Parameter "responsibleId" must be greater than 0')
    return found


def _todo(portal: Bitrix24Portal, call: RestCall, closed: str) -> Record:
    """The activity that a call names together with its owner. `closed`: the error of one that is done. Raises Bitrix24Error."""
    key = owner_key(portal, call.number("ownerTypeId"), call.number("ownerId"))
    held = portal.store.get("activity", str(call.number("id")))
    if held is None or held["PROVIDER_ID"] != TO_DO or key not in held["BINDINGS"]:
        raise Bitrix24Error("NOT_FOUND", "Not found.")
    if held["COMPLETED"] == "Y":
        raise Bitrix24Error(closed, "The activity is completed")
    return held


def update_todo(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    held = _todo(portal, call, "CAN_NOT_UPDATE_COMPLETED_TODO")
    deadline = _moment(portal, call.need("deadline"))
    changed: Record = {"DEADLINE": deadline, "START_TIME": deadline, "END_TIME": deadline}
    changed |= {
        k: str(call.params[n]) for n, k in (("title", "SUBJECT"), ("description", "DESCRIPTION")) if n in call.params
    }
    if "responsibleId" in call.params:
        changed["RESPONSIBLE_ID"] = _responsible(portal, call.params["responsibleId"])
    return RestAnswer({"id": _changed(portal, call, held, changed)})


def update_responsible(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    responsible = call.number("responsibleId")
    held = _todo(portal, call, "CAN_NOT_UPDATE_RESPONSIBLE_USER_COMPLETED_TODO")
    return RestAnswer({"id": _changed(portal, call, held, {"RESPONSIBLE_ID": _responsible(portal, responsible)})})


def _changed(portal: Bitrix24Portal, call: RestCall, held: Record, changed: Record) -> int:
    row = {**held, **changed, "LAST_UPDATED": portal.stamp(), "EDITOR_ID": call.user}
    portal.store.put("activity", str(held["ID"]), row)
    return int(held["ID"])


# The older API.


def add(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    fields = upper_keys(call.any_case("fields"))
    type_ = as_int(fields.get("TYPE_ID")) or 0
    if not str(fields.get("SUBJECT") or "").strip():
        raise Bitrix24Error("", "The field SUBJECT is not defined or empty.")
    if portal.user(as_int(fields.get("RESPONSIBLE_ID"))) is None:
        raise Bitrix24Error("", "The field RESPONSIBLE_ID is not defined or invalid.")
    if type_ not in (MEETING, CALL, MAIL, BY_PROVIDER):
        raise Bitrix24Error("", "The field TYPE_ID is not defined or invalid.")
    provider = _PROVIDERS.get(type_, (str(fields.get("PROVIDER_ID") or ""), str(fields.get("PROVIDER_TYPE_ID") or "")))
    if not provider[0]:
        raise Bitrix24Error("", "The custom activity without provider is not supported in current context.")
    if type_ == BY_PROVIDER and not call.app:
        raise Bitrix24Error("", "Application context required.", 403)
    communications = _communications(type_, fields.get("COMMUNICATIONS"))
    try:
        key = owner_key(portal, fields.get("OWNER_TYPE_ID"), fields.get("OWNER_ID"))
    except Bitrix24Error:
        text = "Could not build binding. Please ensure that owner info and communications are defined correctly."
        raise Bitrix24Error("", text) from None
    made = {"TYPE_ID": type_, "PROVIDER_ID": provider[0], "PROVIDER_TYPE_ID": provider[1], **_given(portal, fields)}
    made |= {"COMMUNICATIONS": communications, "DEADLINE": made.get("START_TIME")}
    made["STATUS"] = 2 if made.get("COMPLETED") == "Y" else 1
    return RestAnswer(_kept(portal, _blank(portal, call.user, key) | made))


def _communications(type_: int, given: Any) -> list[Any]:
    found = [one for one in phpdata.values(given) if isinstance(one, dict) and one.get("VALUE")]
    if not found:
        raise Bitrix24Error("", "The field COMMUNICATIONS is not defined or invalid.")
    if type_ == CALL and len(found) > 1:
        raise Bitrix24Error("", "The only one communication is allowed for activity of specified type.")
    return found


def _given(portal: Bitrix24Portal, fields: dict[str, Any]) -> Record:
    """The fields of a write that are kept; the others are dropped without a word."""
    found: Record = {}
    for name, value in fields.items():
        if name not in _WRITABLE:
            portal.ignored.add(f"activity.{name}")
        elif name.endswith("_TIME"):
            found[name] = _moment(portal, value, "") if value else None
        else:
            found[name] = as_int(value) if name in _NUMBERS else value
    return found


def _held(portal: Bitrix24Portal, call: RestCall, code: str, text: str) -> Record:
    held = portal.store.get("activity", str(call.any_case("id")))
    if held is None:
        raise Bitrix24Error(code, text)
    return held


def update(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    held = _held(portal, call, "", "Activity is not found.")
    fields = upper_keys(call.any_case("fields"))
    if "RESPONSIBLE_ID" in fields and portal.user(as_int(fields["RESPONSIBLE_ID"])) is None:
        raise Bitrix24Error("", "The field RESPONSIBLE_ID is not defined or invalid.")
    _changed(portal, call, held, _given(portal, fields))
    return RestAnswer(True)


def get(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    return RestAnswer(_shown(_held(portal, call, "", "Not found"), ()))


def delete(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    held = _held(portal, call, "", "Not found")
    portal.store.put("activity", str(held["ID"]), None)
    return RestAnswer(True)


def list_(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.activity.list: by the fields of an activity, or by BINDINGS; COMMUNICATIONS only where they are selected."""
    filter_ = upper_keys(call.any_case("filter"))
    pairs = phpdata.values(filter_.pop("BINDINGS", None))
    test = filters.compiled(filter_)
    owner = (as_int(filter_.get("OWNER_TYPE_ID")), as_int(filter_.get("OWNER_ID")))
    kind = portal.types.get(owner[0] or 0)
    rows = portal.store.find("activity", "OWNER", kind.key(owner[1])) if kind is not None and owner[1] else None
    if rows is None:
        rows = list(portal.store.table("activity").records.values())
    rows = [row for row in rows if test(row) and (not pairs or any(_bound(portal, row, pair) for pair in pairs))]
    order = upper_keys(call.any_case("order")) or {"START_TIME": "ASC"}
    rows = sorted_rows(rows, order, filters.comparable)
    select = [str(one).upper() for one in phpdata.values(call.any_case("select"))]
    return page(rows, call.start, lambda found: [_shown(row, select) for row in found])


def _bound(portal: Bitrix24Portal, row: Record, pair: Any) -> bool:
    wanted = {name: as_int(value) for name, value in upper_keys(pair).items()}
    owners = [named_owner(portal, key) for key in row["BINDINGS"]]
    return any(
        wanted.get("OWNER_TYPE_ID", type_) == type_ and wanted.get("OWNER_ID", id_) == id_ for type_, _, id_ in owners
    )


def _shown(row: Record, select: Any) -> dict[str, Any]:
    """A row as lists show it: numbers are text."""
    hidden = {"OWNER", "BINDINGS", "PING_OFFSETS", "COMMUNICATIONS"} - set(select)
    told = {k: str(v) if isinstance(v, int) else v for k, v in row.items() if k not in hidden}
    return {k: v for k, v in told.items() if not select or "*" in select or k in select}


METHODS = {
    "crm.activity.todo.add": RestMethod(add_todo, ("crm",), 0.1),
    "crm.activity.todo.update": RestMethod(update_todo, ("crm",), 0.1),
    "crm.activity.todo.updateResponsibleUser": RestMethod(update_responsible, ("crm",), 0.1),
    "crm.activity.add": RestMethod(add, ("crm",), 0.1),
    "crm.activity.update": RestMethod(update, ("crm",), 0.1),
    "crm.activity.get": RestMethod(get, ("crm",)),
    "crm.activity.list": RestMethod(list_, ("crm",)),
    "crm.activity.delete": RestMethod(delete, ("crm",), 0.05),
}
