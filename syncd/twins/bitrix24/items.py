"""Writing CRM items: `crm.item.add`, `update`, `delete`, with what Bitrix24 does beside it (links, stages, simple mode).

Used by methods.py; reads.py has the lists. Unknown and read-only fields are dropped without a word; nothing is unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.twins.bitrix24 import multifields, phpdata, reads, values
from syncd.twins.bitrix24.fields import ItemType, bare_name
from syncd.twins.bitrix24.portal import SIMPLE, Bitrix24Portal
from syncd.twins.bitrix24.rest import Bitrix24Error, RestAnswer, RestCall, RestMethod, as_int, truth
from syncd.twins.state import Record

_SHARED = (
    "honorific",
    "name",
    "secondName",
    "lastName",
    "birthdate",
    "post",
    "sourceId",
    "sourceDescription",
    "assignedById",
)
_PRIMARY = {"contactIds": "contactId", "companyIds": "companyId"}


def add(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    type_ = portal.type(call.number("entityTypeId"))
    given = call.mapping("fields")
    portal.allow(type_, "add")
    record = create(portal, type_, given, call.user, names=truth(call.params.get("useOriginalUfNames")))
    return RestAnswer({"item": reads.shape(portal, type_, record, call, fresh=True)})


def update(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    type_ = portal.type(call.number("entityTypeId"))
    held = reads.existing(portal, type_, call.number("id"))
    portal.allow(type_, "update")
    fields = checked(portal, type_, call.mapping("fields"), held, names=truth(call.params.get("useOriginalUfNames")))
    named = any({**held, **fields}.get(name) for name in ("name", "lastName"))
    if type_.id == 3 and not named:
        raise Bitrix24Error("CRM_FIELD_ERROR_REQUIRED", 'Fields "First name" and "Last name" are required')
    _filled(type_, fields)
    record = change(portal, type_, held, fields, call.user)
    return RestAnswer({"item": reads.shape(portal, type_, record, call)})


def delete(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    type_ = portal.type(call.number("entityTypeId"))
    held = reads.existing(portal, type_, call.number("id"))
    portal.allow(type_, "delete")
    remove(portal, type_, held)
    return RestAnswer([])


def create(
    portal: Bitrix24Portal,
    type_: ItemType,
    given: Mapping[str, Any],
    user: int,
    names: bool = False,
    strict: bool = True,
) -> Record:
    """A new record. In simple mode a lead with a first name is a deal at once. `strict`: with the fields the portal demands."""
    fields = checked(portal, type_, given, {}, names)
    if strict:
        _filled(type_, {name: fields.get(name) for name in type_.fields})
    id_, now = portal.new_id(type_.name), portal.stamp()
    record: Record = {"id": id_, "createdTime": now, "updatedTime": now, "createdBy": user, "updatedBy": user}
    record |= {"assignedById": user, "opened": "Y", "lastActivityBy": user, "lastActivityTime": now, "observers": []}
    record |= _defaults(portal, type_, id_, fields)
    record |= {name: value for name, value in fields.items() if value is not None}
    record = _settled(portal, type_, record, {}, fields)
    _save(portal, type_, record, None)
    if type_.id == 1 and portal.mode == SIMPLE and record.get("name"):
        convert(portal, record)
        record = portal.item(type_, id_) or record
    return record


def _filled(type_: ItemType, fields: Mapping[str, Any]) -> None:
    """Raises Bitrix24Error where one of these is empty although the portal demands it."""
    for name, value in fields.items():
        if type_.fields[name].required and value in (None, "", []):
            raise Bitrix24Error("CRM_FIELD_ERROR_REQUIRED", f'The "{type_.fields[name].title}" field is required')


def _defaults(portal: Bitrix24Portal, type_: ItemType, id_: int, fields: Mapping[str, Any]) -> Record:
    made: Record = {}
    if "title" in type_.fields:
        made["title"] = f"{type_.title} #{id_}"
    if type_.id == 3 and not fields.get("name") and not fields.get("lastName"):
        made["name"] = "Unnamed"  # "Bitrix24 assigns a default name" [DOC]; its text is [UNV]
    if type_.id == 1:
        made["sourceId"] = portal.first_of("SOURCE")
    if type_.stages:
        made |= {"isManualOpportunity": "N", "currencyId": "USD", "stageId": portal.first_of(_stages(type_, fields))}
    if type_.id == 2:
        made["categoryId"] = 0
    return made


def _stages(type_: ItemType, record: Mapping[str, Any]) -> str:
    """The directory of the stages that a record may have: each pipeline of deals has its own."""
    return f"{type_.stages}_{record['categoryId']}" if type_.id == 2 and record.get("categoryId") else type_.stages


def checked(
    portal: Bitrix24Portal, type_: ItemType, given: Mapping[str, Any], held: Record, names: bool = False
) -> dict[str, Any]:
    """Known fields that may be written, as they are kept."""
    found: dict[str, Any] = {}
    pipeline = as_int(given.get("categoryId", held.get("categoryId"))) if type_.id == 2 else 0
    for given_name, value in given.items():
        name = bare_name(given_name, type_.fields.values()) if names else given_name
        field = type_.fields.get(name)
        if field is None or field.read_only:
            portal.ignored.add(f"{type_.name}.{given_name}")
        elif name == "fm":
            found["fm"] = multifields.changed(portal, field, held.get("fm", []), value)
        elif name == "stageId" and type_.stages:
            if value and portal.in_directory(_stages(type_, {"categoryId": pipeline}), value) is None:
                raise values.invalid(field)
            found["stageId"] = value or None
        elif field.type == "enumeration" and field.multiple and held and not phpdata.values(value):
            continue  # an update does not clear such a field: it succeeds, and the values stay [DOC]
        else:
            found[name] = values.checked(portal, field, value)
    if found.get("categoryId") and portal.store.get("category", str(found["categoryId"])) is None:
        raise values.invalid(type_.fields["categoryId"])
    return found


def change(portal: Bitrix24Portal, type_: ItemType, held: Record, fields: Mapping[str, Any], user: int) -> Record:
    """Saves what differs; nothing is saved, and no time changes, when nothing does [DOC]."""
    record = _settled(portal, type_, {**held, **fields}, held, fields)
    if {k: v for k, v in record.items() if v is not None} == held:
        portal.counts["unsaved"] += 1
        return held
    record |= {"updatedTime": portal.stamp(), "updatedBy": user}
    if record.get("stageId") != held.get("stageId"):
        record |= {"movedBy": user, "movedTime": portal.stamp()}
    record = {k: v for k, v in record.items() if v is not None}
    _save(portal, type_, record, held)
    return record


def _settled(
    portal: Bitrix24Portal, type_: ItemType, record: Record, held: Record, fields: Mapping[str, Any]
) -> Record:
    """Links and stage made to agree: the first of the list is the one; a single one replaces the first of the list [UNV]."""
    for many, one in _PRIMARY.items():
        if many not in type_.fields or one not in type_.fields:
            continue
        if fields.get(many) is not None:
            record[one] = fields[many][0] if fields[many] else 0
        elif one in fields:
            rest = [id_ for id_ in held.get(many, []) if id_ not in (held.get(one), fields[one])]
            record[many] = [fields[one], *rest] if fields[one] else rest
            record[one] = record[many][0] if record[many] else 0
    if "categoryId" in fields and held and fields["categoryId"] != held.get("categoryId") and not fields.get("stageId"):
        record["stageId"] = portal.first_of(_stages(type_, record))
    if type_.stages:
        stage = portal.in_directory(_stages(type_, record), record.get("stageId")) or {}
        record["stageSemanticId"] = stage.get("SEMANTICS") or "P"
        if type_.id == 2:
            record["closed"] = "N" if record["stageSemanticId"] == "P" else "Y"
    return record


def _save(portal: Bitrix24Portal, type_: ItemType, record: Record, held: Record | None) -> None:
    if "fm" in type_.fields:
        entries = record.get("fm", [])
        record |= {"fm": entries} | multifields.aliases(entries)
        multifields.indexed(portal, type_, record["id"], (held or {}).get("fm", []), entries)
    portal.store.put(type_.name, type_.key(record["id"]), record)


def remove(portal: Bitrix24Portal, type_: ItemType, record: Record) -> None:
    multifields.indexed(portal, type_, record["id"], record.get("fm", []), [])
    portal.store.put(type_.name, type_.key(record["id"]), None)


def convert(portal: Bitrix24Portal, lead: Record) -> dict[str, Any]:
    """What a lead becomes in simple mode, or when a user converts it: a company if it names one, a contact, a deal."""
    user = lead["assignedById"]
    made: dict[str, Any] = {}
    shared = {name: lead[name] for name in _SHARED if name in lead}
    entries = [{k: v for k, v in entry.items() if k != "id"} for entry in lead.get("fm", [])]
    company = lead.get("companyId") or 0
    if lead.get("companyTitle") and not company:
        company = create(
            portal, portal.types[4], {"title": lead["companyTitle"], "leadId": lead["id"]}, user, strict=False
        )["id"]
        made["company"] = company
    contact = lead.get("contactId") or 0
    if not contact:
        person = shared | {"fm": entries, "leadId": lead["id"]} | ({"companyIds": [company]} if company else {})
        contact = made["contact"] = create(portal, portal.types[3], person, user, strict=False)["id"]
    sale = {"title": lead["title"], "leadId": lead["id"], "contactIds": [contact], "assignedById": user}
    sale |= {"companyId": company} if company else {}
    sale |= {name: lead[name] for name in ("sourceId", "opportunity", "currencyId", "observers") if lead.get(name)}
    made["deal"] = create(portal, portal.types[2], sale, user, strict=False)["id"]
    end = {"stageId": "CONVERTED", "contactIds": [contact], "companyId": company or None}
    change(portal, portal.types[1], lead, end, user)
    return made


METHODS = {
    "crm.item.add": RestMethod(add, ("crm",), 0.1),
    "crm.item.update": RestMethod(update, ("crm",), 0.1),
    "crm.item.delete": RestMethod(delete, ("crm",), 0.1),
}
