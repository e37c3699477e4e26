"""Setting up the Salesforce twin's org through its API: custom fields (Tooling), and who may see them (FieldPermissions).

Used by twin.py. A field made through the API is hidden from everybody until a permission set shows it, as in a real org.
What is marked [M] is from memory: the refusals' exact codes and texts stand on no page at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from syncd.twins.salesforce.org import SalesforceOrg
from syncd.twins.salesforce.rows import SalesforceRowError, checksum
from syncd.twins.salesforce.schema import SalesforceField, SObject
from syncd.twins.wire import TwinCall, TwinResponse

ACTIVITY = ("Task", "Event")
"""Custom fields of both are made on Activity."""
SETUP_OBJECTS = frozenset({"PermissionSet", "PermissionSetAssignment", "FieldPermissions"})
TYPES = {
    "Text": "string",
    "LongTextArea": "textarea",
    "Date": "date",
    "DateTime": "datetime",
    "Number": "double",
    "Checkbox": "boolean",
}
NOT_ALLOWED = "insufficient access rights on cross-reference id"


def custom_field(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    """POST tooling/sobjects/CustomField {FullName, Metadata}."""
    if not org.customizes:
        raise SalesforceRowError("INSUFFICIENT_ACCESS", NOT_ALLOWED, status=403)  # [M]
    given = org.given(call)
    made = given.get("Metadata")
    object_, _, name = str(given.get("FullName") or "").partition(".")
    if not isinstance(made, dict) or not name.endswith("__c") or made.get("type") not in TYPES or not made.get("label"):
        raise SalesforceRowError(
            "FIELD_INTEGRITY_EXCEPTION", "The custom field is not described as it must be", ["Metadata"]
        )
    targets = ACTIVITY if object_ == "Activity" else (object_,)
    if object_ in ACTIVITY or any(target not in org.schema for target in targets):
        text = f"Entity Enumeration Or ID: bad value for restricted picklist field: {object_}"  # [M]
        raise SalesforceRowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", text, ["TableEnumOrId"])
    if made.get("unique") and object_ == "Activity":  # [M], salesforce.md
        raise SalesforceRowError(
            "FIELD_INTEGRITY_EXCEPTION", "Can not specify 'unique' for a field of Activity", ["Metadata"]
        )
    if any(_known(org, target, name) for target in targets):
        text = f"There is already a field named {name.removesuffix('__c')} on {object_}."  # [M]
        raise SalesforceRowError("DUPLICATE_DEVELOPER_NAME", text, ["FullName"])
    for target in targets:
        one = _field(name, made)
        org.schema[target].add(one)
        org.hide(target, name)
    org.made_fields += 1
    id15 = f"00N{org.made_fields:012d}"
    return TwinResponse(201, {"id": id15 + checksum(id15), "success": True, "errors": [], "warnings": [], "infos": []})


_ASKED = re.compile(
    r"SELECT Id FROM CustomField WHERE TableEnumOrId = '(\w+)' AND DeveloperName = '(\w+)'", re.IGNORECASE
)


def tooling_query(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    """GET tooling/query: whether a custom field is there, seen by our user or not. No other statement is understood."""
    asked = _ASKED.fullmatch(call.query.get("q", "").strip())
    if asked is None:
        raise SalesforceRowError("MALFORMED_QUERY", "unexpected token")
    if not org.customizes:
        raise SalesforceRowError("INSUFFICIENT_ACCESS", NOT_ALLOWED, status=403)  # [M]
    table, name = asked[1], f"{asked[2]}__c"
    targets = ACTIVITY if table == "Activity" else (table,)
    there = any(target in org.schema and _known(org, target, name) for target in targets)
    records = [{"attributes": {"type": "CustomField"}, "Id": "00N000000000001AAA"}] if there else []
    return TwinResponse(200, {"size": len(records), "totalSize": len(records), "done": True, "records": records})


def _known(org: SalesforceOrg, object_: str, name: str) -> bool:
    return org.schema[object_].field(name) is not None or name in org.hidden.get(object_, {})


def _field(name: str, made: Mapping[str, Any]) -> SalesforceField:
    type_ = TYPES[str(made["type"])]
    length = int(made.get("length") or 0)
    if type_ in ("string", "textarea") and not length:
        raise SalesforceRowError(
            "FIELD_INTEGRITY_EXCEPTION", "Must specify 'length' for a CustomField of type Text", ["Metadata"]
        )
    return SalesforceField(
        name,
        type_,
        length,
        str(made["label"]),
        external=bool(made.get("externalId")),
        unique=bool(made.get("unique")),
        lookup=bool(made.get("externalId")),
        default=False if type_ == "boolean" else None,
    )


def may_insert(org: SalesforceOrg, made: SObject) -> None:
    """Only who may set up the org makes permission sets."""
    if made.name in SETUP_OBJECTS and not org.customizes:
        raise SalesforceRowError("INSUFFICIENT_ACCESS_OR_READONLY", NOT_ALLOWED)  # [M]


def inserted(org: SalesforceOrg, made: SObject) -> None:
    """After a permission or an assignment: fields that a permission set of our user shows are in sight now."""
    if made.name not in SETUP_OBJECTS:
        return
    ours = {
        r["PermissionSetId"]
        for r in org.store.table("PermissionSetAssignment").records.values()
        if r["AssigneeId"] == org.user and not r["IsDeleted"]
    }
    for row in org.store.table("FieldPermissions").records.values():
        object_, _, name = row["Field"].partition(".")
        one = org.hidden.get(object_, {}).get(name)
        if row["ParentId"] in ours and row.get("PermissionsRead") and one is not None:
            del org.hidden[object_][name]
            org.schema[object_].add(replace(one, writable=bool(row.get("PermissionsEdit"))))
