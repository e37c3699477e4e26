"""Setting up the Zoho CRM twin's account through its API: custom fields, as zoho.com documents their creation [DOC].

Used by twin.py. The API name comes of the label; a module takes two unique fields at most. What is marked [UNV] is not on that
page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho.org import ZohoOrg
from syncd.twins.zoho.rows import ZohoRowError
from syncd.twins.zoho.schema import Module, ZohoField

FIELDS = 5
"""Made in one call at most."""
UNIQUE = 2
"""Unique fields of a module, in every edition."""
LABEL = 25
"""Characters of a label (Zoho's published spec)."""
LENGTHS = {"text": range(1, 256), "textarea": (2_000, 32_000, 50_000), "integer": range(1, 10)}
TYPES = frozenset({"text", "textarea", "date", "datetime", "integer", "boolean"})
NO_FIELDS = frozenset({"Notes"})


def create(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    """POST settings/fields?module=…: one outcome a field."""
    if not org.customizes:
        raise ZohoRowError(
            "NO_PERMISSION", "permission denied", {"permissions": ["Crm_Implied_Customize_Zoho_CRM"]}
        )  # [UNV]
    if "module" not in call.query:
        raise ZohoRowError(
            "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "module"}
        )
    module = org.module(call.query["module"])
    body = call.json()
    given = body.get("fields") if isinstance(body, dict) else None
    if not isinstance(given, list) or not given:
        raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "fields"})
    if len(given) > FIELDS or module.name in NO_FIELDS:
        raise ZohoRowError("NOT_ALLOWED", "the number of fields is not allowed", {"api_name": "fields"})  # [UNV]
    results = [_outcome(org, module, one) for one in given]
    failed = any(r["status"] == "error" for r in results)
    return TwinResponse(400 if failed else 201, {"fields": results})  # [UNV]: the status


def _outcome(org: ZohoOrg, module: Module, given: Any) -> dict[str, Any]:
    try:
        module.add(_field(org, module, given if isinstance(given, dict) else {}))
    except ZohoRowError as error:
        return error.body()
    id_ = str(7328395000000100000 + len(module.fields))
    return {"code": "SUCCESS", "details": {"id": id_}, "message": "field created", "status": "success"}


def _field(org: ZohoOrg, module: Module, given: Mapping[str, Any]) -> ZohoField:
    for name in ("field_label", "data_type"):
        if not given.get(name):
            raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", {"api_name": name})
    label, type_ = str(given["field_label"]), str(given["data_type"])
    if len(label) > LABEL or type_ not in TYPES:
        raise ZohoRowError("INVALID_DATA", "Given data seems to be invalid", {"api_name": "field_label"})
    length = int(given.get("length") or 255)
    if type_ in LENGTHS and length not in LENGTHS[type_] and "length" in given:
        raise ZohoRowError("DEPENDENT_MISMATCH", "The given length value seems to be invalid", {"api_name": "length"})
    unique = given.get("unique")
    if unique is not None and unique != {"case_sensitive": False}:
        raise ZohoRowError("INVALID_DATA", "Given data seems to be invalid", {"api_name": "unique"})
    if unique is not None and len(module.unique) >= UNIQUE:
        raise ZohoRowError("LIMIT_EXCEEDED", "The field has reached its maximum creation limit", {"api_name": "unique"})
    name = re.sub(r"\W+", "_", label)
    if name in module.fields or name in org.hidden.get(module.name, {}):
        raise ZohoRowError("DUPLICATE_DATA", "Duplicate field label", {"api_name": "field_label"})
    return ZohoField(
        name, type_, length, unique=unique is not None, custom=True, default=False if type_ == "boolean" else None
    )
