"""Telephone numbers, addresses and links of a record (`fm`): how they are changed, and how duplicates are found by them.

Used by items.py; `crm.duplicate.findbycomm` is here. How a number is normalised is not documented: here only its digits count,
without a leading 00 and without the extension [UNV].
"""

from __future__ import annotations

import re
from typing import Any

from syncd.twins.bitrix24 import phpdata, reads
from syncd.twins.bitrix24.fields import ItemField, ItemType
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import Bitrix24Error, RestAnswer, RestCall, RestMethod
from syncd.twins.state import Record

VALUES = 20
"""Values of one look-up [DOC]; those beyond are not looked at [UNV]."""
DUPLICATES = 20
"""So many of one type, and the types behind it are not returned [DOC]."""
# crm_multifield of Bitrix24's page "Data Types and Object Structure in CRM"
_KINDS = {
    "PHONE": frozenset({"WORK", "MOBILE", "FAX", "HOME", "PAGER", "MAILING", "OTHER"}),
    "EMAIL": frozenset({"WORK", "HOME", "MAILING", "OTHER"}),
    "WEB": frozenset({"WORK", "HOME", "VK", "LIVEJOURNAL", "TWITTER", "OTHER"}),
    "IM": frozenset(
        {"TELEGRAM", "VK", "SKYPE", "VIBER", "BITRIX24", "OPENLINE", "IMOL", "ICQ", "MSN", "JABBER", "OTHER"}
    ),
    "LINK": frozenset({"USER", "OTHER"}),
}
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_ALIASES = {
    "phoneMobile": ("PHONE", "MOBILE"),
    "phoneWork": ("PHONE", "WORK"),
    "phoneMailing": ("PHONE", "MAILING"),
    "emailHome": ("EMAIL", "HOME"),
    "emailWork": ("EMAIL", "WORK"),
    "emailMailing": ("EMAIL", "MAILING"),
    "email": ("EMAIL", ""),
    "phone": ("PHONE", ""),
}


def changed(portal: Bitrix24Portal, field: ItemField, held: list[Record], given: Any) -> list[Record]:
    """The entries after a write: a numeric key that is an entry's id changes it, or deletes it with an empty value; other keys
    add. An entry without `typeId` does nothing [DOC]. Raises Bitrix24Error."""
    if not isinstance(given, dict | list):
        kind = "null" if given is None else {str: "string", int: "integer", bool: "boolean"}.get(type(given), "double")
        raise Bitrix24Error("100", f"Expected iterable value for multiple field, but got {kind} instead")
    entries = {str(entry["id"]): entry for entry in held}
    for key, one in phpdata.entries(given):
        if not isinstance(one, dict) or not one.get("typeId"):
            continue
        known = entries.get(key) if isinstance(given, dict) else None
        if known is None and held and isinstance(given, dict) and key.isdigit():
            continue  # an entry of another record [UNV]
        value = str(one.get("value") or "").strip()
        if known is not None and not value:
            del entries[key]
        elif value:
            entry = _checked(field, {**(known or {}), **one, "value": value})
            id_ = known["id"] if known is not None else portal.new_id("multifield")
            entries[str(id_)] = {"id": id_} | entry
    return list(entries.values())


def _checked(field: ItemField, one: dict[str, Any]) -> Record:
    kind, use = str(one["typeId"]), str(one.get("valueType") or "OTHER")
    wrong = kind not in _KINDS or use not in _KINDS[kind] or (kind == "EMAIL" and not _EMAIL.fullmatch(one["value"]))
    if wrong:
        raise Bitrix24Error("CRM_FIELD_ERROR_VALUE_NOT_VALID", f'Invalid value for field "{field.title}"')
    return {"valueType": use, "value": one["value"], "typeId": kind}


def aliases(entries: list[Record]) -> dict[str, Any]:
    """The flat fields that show the first value of a kind."""
    found: dict[str, Any] = {"hasPhone": "N", "hasEmail": "N", "hasImol": "N", "imol": ""}
    for name, (kind, use) in _ALIASES.items():
        fits = [e["value"] for e in entries if e["typeId"] == kind and use in ("", e["valueType"])]
        found[name] = fits[0] if fits else ""
    return found | {"hasPhone": "Y" if found["phone"] else "N", "hasEmail": "Y" if found["email"] else "N"}


def indexed(portal: Bitrix24Portal, type_: ItemType, id_: int, before: list[Record], after: list[Record]) -> None:
    """Keeps what duplicates are found by in step with a record's entries."""
    for gone in {entry["id"] for entry in before} - {entry["id"] for entry in after}:
        portal.store.put("multifield", str(gone), None)
    for entry in after:
        if entry not in before:
            row = {
                "type": type_.id,
                "item": id_,
                "match": f"{entry['typeId']}:{normal(entry['typeId'], entry['value'])}",
            }
            portal.store.put("multifield", str(entry["id"]), row)


def normal(kind: str, value: str) -> str:
    """The form in which values are compared."""
    if kind == "EMAIL":
        return value.strip().casefold()
    digits = re.sub(r"\D", "", re.split(r"[,;#]|\bext", value, maxsplit=1)[0])
    return digits.removeprefix("00")


def find(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.duplicate.findbycomm"""
    kind = str(call.any_case("type") or "")
    if not kind:
        raise Bitrix24Error("Communication type is not defined", "Parameter 'type' is required.")
    if kind not in ("EMAIL", "PHONE"):
        raise Bitrix24Error(f"Communication type '{kind}' is not supported in current context")
    values = [str(one) for one in phpdata.values(call.any_case("values")) if str(one).strip()]
    if not values:
        raise Bitrix24Error("Communication values is not defined", "Parameter 'values' is required.")
    asked = str(call.any_case("entity_type") or "").upper()
    owners: dict[int, dict[int, None]] = {}
    for value in values[:VALUES]:
        for row in portal.store.find("multifield", "match", f"{kind}:{normal(kind, value)}"):
            owners.setdefault(row["type"], {})[row["item"]] = None
    found: dict[str, list[int]] = {}
    for id_ in (1, 3, 4):
        type_ = portal.types[id_]
        there = [
            one for one in sorted(owners.get(id_, ())) if not reads.gone(portal, type_, portal.item(type_, one) or {})
        ]
        ids = there[:DUPLICATES] if asked in ("", type_.code) else []
        if ids:
            found[type_.code] = ids
        if len(ids) >= DUPLICATES:
            break
    return RestAnswer(found)


METHODS = {"crm.duplicate.findbycomm": RestMethod(find, ("crm",), 0.01)}
