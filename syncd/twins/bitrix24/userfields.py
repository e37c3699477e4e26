"""Setting up a portal through its API: custom fields of leads, deals, contacts and companies (`crm.*.userfield.*`).

Used by methods.py. Only an administrator may [UNV for the text]. Errors are those of Bitrix24's page "crm.lead.userfield.add".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from syncd.twins.bitrix24 import filters, phpdata
from syncd.twins.bitrix24.fields import item_types
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import Act, Bitrix24Error, RestAnswer, RestCall, RestMethod, truth, upper_keys
from syncd.twins.state import Record

TYPES = frozenset(
    {"string", "integer", "double", "boolean", "datetime", "date", "money", "url", "address", "enumeration", "file"}
    | {"employee", "crm_status", "iblock_section", "iblock_element", "crm"}
)
LONGEST = 50
"""Characters of a code with its prefix."""


def _name(given: Any) -> str:
    """The whole code: the prefix UF_CRM_ is added, or takes the place of UF_. Raises Bitrix24Error."""
    text = str(given or "").upper()
    if not text:
        raise Bitrix24Error("", "The 'FIELD_NAME' field is not found.")
    name = text if text.startswith("UF_CRM_") else f"UF_CRM_{text.removeprefix('UF_')}"
    if len(name) > LONGEST:
        raise Bitrix24Error("ERROR_CORE", "Field name is too long (more than 50 characters).")
    if not re.fullmatch(r"[A-Z0-9_]+", name):
        raise Bitrix24Error(
            "ERROR_CORE", "Field name contains invalid characters. Allowed characters are: A-Z, 0-9 and _."
        )
    return name


def add(type_id: int) -> Act:
    def act(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
        if not (portal.user(call.user) or {}).get("ADMIN"):
            raise Bitrix24Error("", "Access denied.")
        fields = upper_keys(call.any_case("fields"))
        name, kind = _name(fields.get("FIELD_NAME")), str(fields.get("USER_TYPE_ID") or "")
        if not kind:
            raise Bitrix24Error("", "The 'USER_TYPE_ID' field is not found.")
        if kind not in TYPES:
            raise Bitrix24Error("ERROR_CORE", "Invalid custom type specified.")
        if name in {one.uf for one in portal.types[type_id].fields.values()}:
            raise Bitrix24Error("ERROR_CORE", f"Field {name} already exists.")  # [UNV]: the text
        choices = [upper_keys(one) for one in phpdata.values(fields.get("LIST"))]
        row: Record = {"FIELD_NAME": name, "USER_TYPE_ID": kind, "LABEL": _label(fields) or name}
        row |= {flag: "Y" if truth(fields.get(flag)) else "N" for flag in ("MULTIPLE", "MANDATORY")}
        row["LIST"] = [{"ID": portal.new_id("choice"), "VALUE": str(one.get("VALUE", ""))} for one in choices]
        row["ENTITY_TYPE"] = str(upper_keys(fields.get("SETTINGS")).get("ENTITY_TYPE", ""))
        return RestAnswer(portal.keep_field(type_id, row))

    return act


def _label(fields: dict[str, Any]) -> str:
    given = fields.get("LABEL") or fields.get("EDIT_FORM_LABEL") or ""
    texts = phpdata.values(given)
    return str(texts[0] if texts else given)


def list_(type_id: int) -> Act:
    def act(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
        test = filters.compiled(upper_keys(call.any_case("filter")))
        rows = [row for row in portal.store.table("field").records.values() if row["TYPE"] == type_id and test(row)]
        return RestAnswer([_shown(portal, row) for row in rows], len(rows))

    return act


def _shown(portal: Bitrix24Portal, row: Record) -> dict[str, Any]:
    told = {
        "ID": str(row["ID"]),
        "ENTITY_ID": f"CRM_{portal.types[row['TYPE']].code}",
        "FIELD_NAME": row["FIELD_NAME"],
        "USER_TYPE_ID": row["USER_TYPE_ID"],
        "XML_ID": None,
        "SORT": "100",
        "MULTIPLE": row.get("MULTIPLE", "N"),
        "MANDATORY": row.get("MANDATORY", "N"),
        "EDIT_FORM_LABEL": row.get("LABEL"),
    }
    return told | ({"LIST": row["LIST"]} if row.get("LIST") else {})


def _methods() -> dict[str, RestMethod]:
    kinds: tuple[tuple[str, Callable[[int], Act], float], ...] = (("add", add, 0.2), ("list", list_, 0.02))
    return {
        f"crm.{type_.name}.userfield.{verb}": RestMethod(make(type_.id), ("crm",), seconds)
        for type_ in item_types().values()
        for verb, make, seconds in kinds
    }


METHODS = _methods()
