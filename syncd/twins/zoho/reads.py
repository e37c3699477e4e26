"""Reads of the Zoho CRM twin: one record, lists, search, COQL, users, org and modules.

Used by twin.py. Empty answers are 204 without a body [REC]; lists and users carry `info` [REC].
"""

from __future__ import annotations

import re

from syncd.twins import sql_run
from syncd.twins.state import Record, fold
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho import coql as zoho_coql
from syncd.twins.zoho.coql import alive
from syncd.twins.zoho.org import ZohoOrg
from syncd.twins.zoho.rows import ZohoRowError

PAGE = 200  # rows of a list or search [DOC]
SEARCHABLE = 2_000  # rows of a search in all [DOC]
CRITERIA = 10  # of a search [DOC]
_CRITERION = re.compile(r"\((\w+):(equals|starts_with|in):((?:\\.|[^()\\])*)\)")


def get(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    module, id_ = org.module(call.segments[2]), call.segments[3]
    if not id_.isdigit():
        raise ZohoRowError("INVALID_DATA", "the id given seems to be invalid", {"id": id_})
    record = org.rows.live(module.name, id_)
    if record is None or (record.get("$converted") and call.query.get("converted", "false") == "false"):
        return TwinResponse(204)  # a converted lead is hidden, unless it is asked for [UNV]
    return TwinResponse(200, {"data": [org.rows.shape(module, record, _names(call))]})


def list_(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    """Newest first, by id. From v3 on `fields` must be given [DOC]."""
    module = org.module(call.segments[2])
    names = _names(call)
    if names is None and call.segments[1] != "v2":
        raise ZohoRowError(
            "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "fields"}
        )
    found = sorted(
        (r for r in org.store.table(module.name).records.values() if alive(r)), key=lambda r: r["id"], reverse=True
    )
    page, size = _paging(call)
    rows = found[(page - 1) * size : page * size]
    if not rows:
        return TwinResponse(204)
    info = {"per_page": size, "count": len(rows), "page": page, "sort_by": "id", "sort_order": "desc"}
    info["more_records"] = page * size < len(found)
    return TwinResponse(200, {"data": [org.rows.shape(module, r, names) for r in rows], "info": info})


def search(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    """By email, phone, word or criteria. `equals` behaves like contains, phones match by their tail, and new records appear late
    (`search_lag`): zoho.md, "Finding people"."""
    module = org.module(call.segments[2])
    test = _search_test(call)
    newest = org.rows.stamp(org.clock() - org.search_lag)
    table = org.store.table(module.name).records.values()
    found = [r for r in table if alive(r) and r["Modified_Time"] <= newest and test(r)]
    page, size = _paging(call)
    if page * size > SEARCHABLE:
        raise ZohoRowError("LIMIT_REACHED", "the limit of records of a search is reached", {"limit": SEARCHABLE})
    rows = found[(page - 1) * size : page * size]
    if not rows:
        return TwinResponse(204)
    info = {"per_page": size, "count": len(rows), "page": page, "more_records": page * size < len(found)}
    return TwinResponse(200, {"data": [org.rows.shape(module, r, _names(call)) for r in rows], "info": info})


def _search_test(call: TwinCall) -> sql_run.Predicate:
    query = call.query
    if "email" in query:
        email = fold(query["email"])
        return lambda r: email in (fold(r.get("Email", "")), fold(r.get("Secondary_Email", "")))
    if "phone" in query:
        digits = re.sub(r"\D", "", query["phone"])
        return lambda r: any(_phone(r, n, digits) for n in ("Phone", "Mobile", "Home_Phone", "Other_Phone"))
    if "word" in query:
        word = fold(query["word"])
        return lambda r: any(isinstance(v, str) and word in fold(v) for v in r.values())
    if "criteria" in query:
        return _criteria(query["criteria"])
    raise ZohoRowError("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "criteria"})


def _phone(record: Record, name: str, digits: str) -> bool:
    own = re.sub(r"\D", "", str(record.get(name) or ""))
    return bool(own) and bool(digits) and (own.endswith(digits[-9:]) or digits.endswith(own[-9:]))


def _criteria(text: str) -> sql_run.Predicate:
    parts = [(n, op, re.sub(r"\\(.)", r"\1", v)) for n, op, v in _CRITERION.findall(text)]
    if not parts:
        raise ZohoRowError("INVALID_QUERY", "Invalid query formed", {"reason": "invalid criteria"})
    if len(parts) > CRITERIA:
        raise ZohoRowError("LIMIT_EXCEEDED", "the limit of criteria is exceeded", {"limit": CRITERIA})
    every = ")and(" in text

    def one(record: Record, name: str, op: str, value: str) -> bool:
        own = fold(record.get(name) or "")
        if op == "in":
            return own in {fold(v) for v in value.split(",")}
        return own.startswith(fold(value)) if op == "starts_with" else fold(value) in own

    return lambda r: (all if every else any)(one(r, *p) for p in parts)


def coql(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    body = call.json()
    select, module = zoho_coql.parse(body.get("select_query") if isinstance(body, dict) else None, org.schema)
    org.spend(zoho_coql.credits(select) - 1)  # one is booked for every call
    found = zoho_coql.run(select, module, org.rows)
    return TwinResponse(204) if found is None else TwinResponse(200, found)


def modules(org: ZohoOrg) -> TwinResponse:
    known = [
        {
            "api_name": m.name,
            "module_name": m.name,
            "singular_label": m.name.removesuffix("s"),
            "plural_label": m.name,
            "api_supported": True,
        }
        for m in org.schema.values()
    ]
    return TwinResponse(200, {"modules": known})


def users(org: ZohoOrg, call: TwinCall) -> TwinResponse:
    found = [dict(u) for u in org.store.table("users").records.values()]
    if ids := call.query.get("ids"):  # at most 100 [DOC]
        found = [one for one in found if one["id"] in ids.split(",")[:100]]
    if call.query.get("type", "AllUsers").startswith("Active"):
        found = [one for one in found if one.get("status") == "active"]
    page, size = _paging(call)
    rows = found[(page - 1) * size : page * size]
    info = {"per_page": size, "count": len(rows), "page": page, "more_records": page * size < len(found)}
    return TwinResponse(200, {"users": rows, "info": info})


def organization() -> TwinResponse:
    licence = {
        "paid": True,
        "paid_type": "professional",
        "users_license_purchased": 1,
        "paid_expiry": None,
        "trial_type": None,
    }
    known = {
        "id": "7328395000000020420",
        "zgid": "854019021",
        "company_name": "Twin Ltd",
        "time_zone": "Africa/Nairobi",
    }
    return TwinResponse(
        200, {"org": [known | {"currency": "KES", "license_details": licence, "primary_email": "owner@example.com"}]}
    )


def _names(call: TwinCall) -> list[str] | None:
    return [n.strip() for n in call.query["fields"].split(",") if n.strip()] if call.query.get("fields") else None


def _paging(call: TwinCall) -> tuple[int, int]:
    page, size = call.query.get("page", "1"), call.query.get("per_page", str(PAGE))
    if not page.isdigit() or not size.isdigit() or int(page) < 1 or not 1 <= int(size) <= PAGE:
        raise ZohoRowError("INVALID_DATA", "invalid data", {"param_name": "per_page", "expected_data_type": "integer"})
    return int(page), int(size)
