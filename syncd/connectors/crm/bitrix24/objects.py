"""Bitrix24's objects as data: their numbers, what is known of people, companies and deals, and rows as syncd reads them. Pure.

Facts: bitrix24.md, Which entity API; bitrix24_more.md, Lead conversion and Small. `phone`, `mobile`, `email` and `web` are not
fields of the API: they stand for the entries of `fm`, of which a record may have several.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syncd.connectors.answers import mappings
from syncd.connectors.crm.deals import DealRows
from syncd.connectors.crm.directory import Facts, PersonObjects

TYPES: Mapping[str, int] = {"Lead": 1, "Deal": 2, "Contact": 3, "Company": 4, "Quote": 7, "Invoice": 31}
"""Object -> its entityTypeId; a smart process is `Dynamic_` and its number."""
COMMENT, TO_DO = "Comment", "Todo"
"""A comment in the timeline of a record, and a to-do (universal activity) of one: they are found beside it."""
BESIDE = frozenset({COMMENT, TO_DO})
_DYNAMIC = re.compile(r"Dynamic_(\d{1,9})")
FINDS: Mapping[str, str] = {"Contact": "CONTACT", "Lead": "LEAD", "Company": "COMPANY"}
"""Object -> its name for crm.duplicate.findbycomm. (Deals have no addresses.)"""
PSEUDO: Mapping[str, str] = {"phone": "PHONE", "mobile": "PHONE", "email": "EMAIL", "web": "WEB"}
"""Our name -> the typeId of the entries of `fm`."""
VALUE_TYPES: Mapping[str, str] = {"mobile": "MOBILE"}
"""Our name -> the valueType of what is written under it; the others are WORK."""
COMMUNICATIONS: Mapping[str, str] = {name: kind for name, kind in PSEUDO.items() if kind != "WEB"}
KEY, ORIGINATOR, OURS = "originId", "originatorId", "syncd"
"""The fields that hold syncd's key, and what the second one has then."""
REF = "ref"
"""The key of what stands in a text: a line at its end."""
ID, CONVERTED, NAME = "id", "converted", "fullName"

PEOPLE = PersonObjects(
    ID,
    {
        "Contact": Facts("contact", "companyId", NAME, ("email",)),
        "Lead": Facts("lead", "companyId", NAME, ("email",), converted=(CONVERTED,), became=("contactId", "companyId")),
        "Company": Facts("contact", ID, "title", ("email",), company=True, classes=("typeId", "industry", "employees")),
    },
    "Contact",
    "Company",
    folds_case=False,
)
LINKS: Mapping[str, tuple[str, ...]] = {
    "contactId": ("Contact",),
    "contactIds": ("Contact",),
    "companyId": ("Company",),
    "leadId": ("Lead",),
}
"""Standard link field -> the objects it takes."""
DEALS = tuple(
    DealRows("Deal", owner, person, ID, "Deal", "filter[closed]=N", "createdTime", "updatedTime", "opportunity")
    for owner, person in (("contactId", "Contact"), ("leadId", "Lead"), ("companyId", ""))
)
"""Of several contacts of a deal, the first one is asked for."""


def type_id(object_: str) -> int | None:
    """The entityTypeId of an object, None for what crm.item.* does not know."""
    found = _DYNAMIC.fullmatch(object_)
    return int(found[1]) if found else TYPES.get(object_)


def timeline_name(object_: str) -> str:
    """An object as the timeline's methods call it: lead, dynamic_128."""
    return object_.lower()


def row_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """A record as the shared parts read it: its addresses, numbers and sites as lists, its name in one piece, and whether it is a
    lead that became a contact. (A lead that was converted without one stays the person: there is nobody else.)"""
    row = dict(item)
    row[ID] = str(item.get(ID) or item.get("ID") or "")
    entries = mappings(item, "fm")
    if "fm" in item:
        for name, kind in PSEUDO.items():
            only = VALUE_TYPES.get(name)
            row[name] = [
                str(one.get("value") or "")
                for one in entries
                if one.get("typeId") == kind and (not only or one.get("valueType") == only)
            ]
    row[NAME] = " ".join(part for part in (item.get("name"), item.get("lastName")) if part)
    done = str(item.get("stageId") or "") == "CONVERTED" or item.get("isConvert") in ("Y", True)
    row[CONVERTED] = bool(done and item.get("contactId"))
    return row
