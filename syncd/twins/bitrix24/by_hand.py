"""What users of a portal do behind an integration's back: add, change, delete, convert and merge records of the twin.

Used by twin.py; reachable from tests and under /_twin/. The twin commits. A record is named by its key, as L_12, D_12, C_12 or
CO_12, or by its number alone where only one type has it.
"""

from __future__ import annotations

from typing import Any

from syncd.twins.bitrix24 import chats, directories, items
from syncd.twins.bitrix24.fields import ItemType
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import Bitrix24Error
from syncd.twins.state import Record

_SHORT = {"email": ("EMAIL", "WORK"), "phone": ("PHONE", "WORK"), "mobile": ("PHONE", "MOBILE")}


def add(portal: Bitrix24Portal, object_: str, fields: dict[str, Any]) -> str:
    """A record; its number. `email`, `phone` and `mobile` stand for entries of `fm`. Raises ValueError."""
    type_ = portal.named_type(object_)
    if type_ is not None:
        return str(_item(portal, type_, fields))
    maker = _OTHERS.get(object_)
    if maker is None:
        raise ValueError(f"no object {object_!r}; there are: lead, deal, contact, company, {', '.join(_OTHERS)}")
    return maker(portal, fields)


def _item(portal: Bitrix24Portal, type_: ItemType, fields: dict[str, Any]) -> int:
    given = dict(fields)
    if "fm" in type_.fields:
        short = [(name, given.pop(name)) for name in _SHORT if name in given]
        entries = [{"typeId": _SHORT[n][0], "valueType": _SHORT[n][1], "value": value} for n, value in short]
        given["fm"] = [*given.get("fm", []), *entries]
    _known(type_, given)
    try:
        return int(items.create(portal, type_, given, int(given.get("assignedById", 1)))["id"])
    except Bitrix24Error as error:
        raise ValueError(f"{type_.name}: {error.code} {error.description}") from error


def _known(type_: ItemType, given: dict[str, Any]) -> None:
    unknown = [name for name in given if name not in type_.fields or type_.fields[name].read_only]
    if unknown:
        raise ValueError(f"{type_.name} has no field {', '.join(unknown)}")


def _user(portal: Bitrix24Portal, fields: dict[str, Any]) -> str:
    id_ = int(fields.get("ID") or portal.new_id("user"))
    portal.store.put("user", str(id_), portal.new_user() | fields | {"ID": id_})
    return str(id_)


def _department(portal: Bitrix24Portal, fields: dict[str, Any]) -> str:
    id_ = str(fields.get("ID") or portal.new_id("department"))
    row = {"ID": id_, "NAME": f"Department {id_}", "SORT": 500, "PARENT": "1", "UF_HEAD": ""}
    portal.store.put("department", id_, row | fields | {"ID": id_})
    return id_


def _status(portal: Bitrix24Portal, fields: dict[str, Any]) -> str:
    """ENTITY_ID and STATUS_ID (with /S or /F behind it for a final stage)."""
    id_ = portal.new_id("status")
    code = str(fields["STATUS_ID"])
    name = str(fields.get("NAME", code))
    portal.store.put(
        "status", str(id_), directories.row(id_, fields["ENTITY_ID"], code, name, int(fields.get("SORT", 900)))
    )
    return str(id_)


def _category(portal: Bitrix24Portal, fields: dict[str, Any]) -> str:
    """A further pipeline of deals, with the stages of a new one."""
    id_ = portal.new_id("category")
    row = {"id": id_, "name": fields.get("name", f"Pipeline {id_}"), "sort": 500, "entityTypeId": 2, "isDefault": "N"}
    portal.store.put("category", str(id_), row)
    for number, code in enumerate(("NEW", "PREPARATION", "EXECUTING", "WON/S", "LOSE/F"), 1):
        number_of = portal.new_id("status")
        made = directories.row(
            number_of, f"DEAL_STAGE_{id_}", f"C{id_}:{code}", code.partition("/")[0], number * 10, id_
        )
        portal.store.put("status", str(number_of), made)
    return str(id_)


def _custom_field(portal: Bitrix24Portal, fields: dict[str, Any]) -> str:
    """A custom field: entityTypeId, FIELD_NAME (UF_CRM_…), USER_TYPE_ID; LIST of an enumeration ([{ID, VALUE}]), MULTIPLE,
    MANDATORY, LABEL."""
    row = {"USER_TYPE_ID": "string"} | {name: value for name, value in fields.items() if name != "entityTypeId"}
    return str(portal.keep_field(int(fields["entityTypeId"]), row))


def _chat(portal: Bitrix24Portal, fields: dict[str, Any]) -> str:
    """A chat that users opened: ENTITY_ID of a record (DEAL|7), OWNER, MEMBERS; CLOSED where only the owner may add members."""
    owner = int(fields.get("OWNER", 1))
    members = list(dict.fromkeys([owner, *fields.get("MEMBERS", ())]))
    entity = f"CRM:{fields['ENTITY_ID']}" if fields.get("ENTITY_ID") else ""
    return str(
        chats.create(portal, owner, members, entity, str(fields.get("TITLE", "")), bool(fields.get("CLOSED")))["ID"]
    )


_OTHERS = {
    "user": _user,
    "department": _department,
    "status": _status,
    "category": _category,
    "field": _custom_field,
    "chat": _chat,
}


def find(portal: Bitrix24Portal, id_: str) -> tuple[ItemType, Record] | None:
    """The type and record that a key or number names. Raises ValueError where several types have the number."""
    keys = [(t, t.key(int(id_)) if id_.isdigit() else id_) for t in portal.types.values()]
    found = [(t, record) for t, key in keys if (record := portal.store.get(t.name, key)) is not None]
    if len(found) > 1:
        raise ValueError(
            f"{id_}: {' and '.join(t.name for t, _ in found)} have this number; name one as {found[0][0].key(1)}"
        )
    return found[0] if found else None


def delete(portal: Bitrix24Portal, id_: str) -> bool:
    found = find(portal, id_)
    if found is not None:
        items.remove(portal, *found)
    return found is not None


def convert(portal: Bitrix24Portal, id_: str) -> dict[str, Any]:
    found = find(portal, id_)
    if found is None or found[0].id != 1:
        raise ValueError(f"{id_} is not a lead that can be converted")
    return {} if found[1].get("stageId") == "CONVERTED" else items.convert(portal, found[1])


def change(portal: Bitrix24Portal, id_: str, fields: dict[str, Any]) -> Record:
    found = find(portal, id_)
    if found is None:
        raise ValueError(f"there is no record {id_}")
    _known(found[0], fields)
    return items.change(portal, *found, fields, 1)


def merge(portal: Bitrix24Portal, master: str, loser: str) -> None:
    winner, lost = find(portal, master), find(portal, loser)
    if winner is None or lost is None or winner[0] != lost[0] or winner[1]["id"] == lost[1]["id"]:
        raise ValueError(f"{master} and {loser} cannot be merged")
    held = {(entry["typeId"], entry["value"]) for entry in winner[1].get("fm", [])}
    more = [entry for entry in lost[1].get("fm", []) if (entry["typeId"], entry["value"]) not in held]
    items.remove(portal, *lost)
    _moved(portal, winner[0], lost[1]["id"], winner[1]["id"])
    if more:
        moved = [entry | {"id": portal.new_id("multifield")} for entry in more]
        items.change(portal, *winner, {"fm": [*winner[1].get("fm", []), *moved]}, 1)


def _moved(portal: Bitrix24Portal, type_: ItemType, old_id: int, new_id: int) -> None:
    """What was bound to one record is bound to another: timeline, activities, links."""
    old, new = type_.key(old_id), type_.key(new_id)
    for object_ in ("comment", "logmessage", "activity"):
        for row in [r for r in portal.store.table(object_).records.values() if old in r["BINDINGS"]]:
            bound = list(dict.fromkeys(new if key == old else key for key in row["BINDINGS"]))
            owned = {"OWNER": new, "OWNER_ID": new_id} if row["OWNER"] == old else {}
            portal.store.put(object_, str(row["ID"]), {**row, **owned, "BINDINGS": bound})
    for other in portal.types.values():
        links = [field for field in other.fields.values() if field.type == f"crm_{type_.name}"]
        for row in list(portal.store.table(other.name).records.values()):
            fields = {f.name: _relinked(row[f.name], old_id, new_id) for f in links if row.get(f.name)}
            if any(row[name] != value for name, value in fields.items()):
                items.change(portal, other, row, fields, 1)


def _relinked(value: Any, old: int, new: int) -> Any:
    if isinstance(value, list):
        return list(dict.fromkeys(new if each == old else each for each in value))
    return new if value == old else value


def invite(portal: Bitrix24Portal, chat: int, user: int) -> None:
    """A user is invited to a chat by hand: in a record's chat that makes him an observer of the record."""
    held = portal.store.get("chat", str(chat))
    if held is None:
        raise ValueError(f"there is no chat {chat}")
    chats.join(portal, held, [user], False, held["OWNER"])
    name, _, id_ = held["ENTITY"].removeprefix("CRM:").partition("|")
    type_ = portal.named_type(name)
    record = portal.item(type_, int(id_)) if type_ is not None and id_.isdigit() else None
    if type_ is not None and record is not None and user not in record["observers"]:
        items.change(portal, type_, record, {"observers": [*record["observers"], user]}, user)


def complete(portal: Bitrix24Portal, activity: int) -> None:
    """A user ticks an activity off."""
    held = portal.store.get("activity", str(activity))
    if held is None:
        raise ValueError(f"there is no activity {activity}")
    portal.store.put("activity", str(activity), {**held, "COMPLETED": "Y", "STATUS": 2})
