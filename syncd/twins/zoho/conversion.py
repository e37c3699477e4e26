"""Conversion of leads over the API of the Zoho CRM twin: the options, and the convert action.

Used by twin.py. Facts: Zoho's pages "Convert Lead" and "Get Lead Conversion Options" [DOC]; v2 answers with plain ids [REC],
later versions with details [OAS]; errors stand in `data` under 202 [OAS].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.twins.state import Record, fold
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho import people
from syncd.twins.zoho.org import ZohoOrg
from syncd.twins.zoho.rows import ZohoRowError

DEAL = ("Deal_Name", "Closing_Date", "Stage")
"""Without these no deal is made; nor without a Pipeline where the account has pipelines [DOC]."""
BARE = ("v2", "v2.1")


def options(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    """GET Leads/{id}/__conversion_options: what Zoho itself would match; 204 for nothing."""
    lead = org.rows.live("Leads", call.segments[3])
    if lead is None:
        raise ZohoRowError("INVALID_DATA", "the id given seems to be invalid", {"resource_path_index": 1})
    if lead.get("$converted"):
        raise ZohoRowError("ID_ALREADY_CONVERTED", "id already converted", {"resource_path_index": 1})
    contacts, accounts = _contacts(org, lead), _accounts(org, lead)
    if not contacts and not accounts:
        return TwinResponse(204)
    told = {
        "module_preference": {"api_name": "Contacts", "id": "7328395000000002177"},
        "Contacts": [{"id": one["id"], "name": org.rows.label("Contacts", one["id"])} for one in contacts],
        "Accounts": [{"id": one["id"], "name": one.get("Account_Name")} for one in accounts],
        "Deals": None,
        "preference_field_matched_value": {"Contacts": {"Email": lead.get("Email")}},
        "modules_with_multiple_layouts": [],
    }
    return TwinResponse(200, {"__conversion_options": told})


def convert(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    """POST Leads/{id}/actions/convert."""
    try:
        made = _converted(org, call, call.segments[3])
    except ZohoRowError as error:
        return TwinResponse(202, {"data": [error.body()]})
    if call.segments[1] == "v2":
        return TwinResponse(200, {"data": [made]})
    details = {module: {"name": org.rows.label(module, id_), "id": id_} for module, id_ in made.items()}
    done = {"code": "SUCCESS", "details": details, "message": "The record has been converted", "status": "success"}
    return TwinResponse(200, {"data": [done]})


def _converted(org: ZohoOrg, call: TwinCall, id_: str) -> dict[str, Any]:
    lead = org.rows.live("Leads", id_)
    if lead is None:
        raise ZohoRowError("INVALID_DATA", "the id given seems to be invalid", {"id": id_})
    if lead.get("$converted"):
        raise ZohoRowError("ID_ALREADY_CONVERTED", "id already converted", {"id": id_})
    body = call.json()
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
        raise ZohoRowError(
            "MANDATORY_NOT_FOUND", "required field not found", {"api_name": "data", "json_path": "$.data"}
        )
    call.rows = 1
    given: Mapping[str, Any] = data[0]
    for fault in call.row_faults:
        if fault.hits_row(0, {"id": id_, **given}):
            names = fault.params.get("fields", ())
            details = {"api_name": names[0], "json_path": f"$.data[0].{names[0]}"} if names else {}
            code, text = (
                fault.params.get("code", "INTERNAL_ERROR"),
                fault.params.get("message", "internal server error"),
            )
            raise ZohoRowError(code, text, details)
    contact, account = _named(org, given, "Contacts"), _named(org, given, "Accounts")
    if not contact and (found := _contacts(org, lead)):
        contact = found[0]["id"]
    if not account and (companies := _accounts(org, lead)):
        account = companies[0]["id"]
    owner = _owner(org, given, call.segments[1])
    savepoint = org.store.savepoint()
    try:
        deal = _deal(org, given["Deals"]) if given.get("Deals") else None
    except ZohoRowError:
        org.store.rollback(savepoint)
        raise
    return people.convert(org, id_, contact=contact, account=account, deal=deal, owner=owner)


def _named(org: ZohoOrg, given: Mapping[str, Any], module: str) -> str:
    """The record that the call says the lead is to join, "" for none."""
    told = given.get(module)
    id_ = told.get("id") if isinstance(told, dict) else told
    if not id_:
        return ""
    if org.rows.live(module, str(id_)) is None:
        details = {"api_name": "id", "json_path": f"$.data[0].{module}.id"}
        raise ZohoRowError("INVALID_DATA", "the related id given seems to be invalid", details)
    return str(id_)


def _owner(org: ZohoOrg, given: Mapping[str, Any], version: str) -> str:
    told = given.get("assign_to")
    id_ = told if version in BARE else told.get("id") if isinstance(told, dict) else ""
    if told and org.store.get("users", str(id_)) is None:
        raise ZohoRowError(
            "INVALID_DATA", "invalid data", {"api_name": "assign_to", "json_path": "$.data[0].assign_to"}
        )
    return str(id_ or "")


def _contacts(org: ZohoOrg, lead: Record) -> list[Record]:
    """Contacts with the lead's address."""
    email = lead.get("Email")
    found = org.store.find("Contacts", "Email", email) if email else []
    return sorted((one for one in found if not one.get("_deleted")), key=lambda one: str(one["id"]))


def _accounts(org: ZohoOrg, lead: Record) -> list[Record]:
    """Accounts that are called as the lead's company."""
    name = lead.get("Company")
    found = org.store.find("Accounts", "Account_Name", name) if name else []
    return [one for one in found if not one.get("_deleted") and fold(one["Account_Name"]) == fold(name)]


def _deal(org: ZohoOrg, given: Any) -> dict[str, Any]:
    """The values of the new deal, checked."""
    module = org.module("Deals")
    told = given if isinstance(given, dict) else {}
    role = told.get("Contact_Role")  # of the contact in the deal, not a field of it [DOC]
    if role is not None and not (isinstance(role, str) and role.isdigit()):
        where = {"api_name": "Contact_Role", "json_path": "$.data[0].Deals.Contact_Role"}
        raise ZohoRowError("INVALID_DATA", "invalid data", where)  # [UNV]
    values = org.rows.checked(module, {name: value for name, value in told.items() if name != "Contact_Role"}, 0)
    for name in (*DEAL, *(["Pipeline"] if org.pipelines else [])):
        if not values.get(name):
            details = {"api_name": name, "json_path": f"$.data[0].Deals.{name}"}
            raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", details)
    if org.pipelines and values["Stage"] not in org.pipelines.get(values["Pipeline"], ()):
        details = {"api_name": "Stage", "json_path": "$.data[0].Deals.Stage"}
        raise ZohoRowError("MAPPING_MISMATCH", "the stage is not of the pipeline", details)
    return values | ({"$contact_role": role} if role else {})
