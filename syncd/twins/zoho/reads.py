"""Reads of the Zoho CRM twin: one record, lists, search, COQL, users, org and modules.

Used by zoho.py. Empty answers are 204 without a body [REC]; lists and users carry `info` [REC].
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from syncd.twins import sql_run
from syncd.twins.state import Record, fold
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho import coql as zoho_coql
from syncd.twins.zoho.coql import alive
from syncd.twins.zoho.rows import ZohoRowError

if TYPE_CHECKING:
    from syncd.twins.zoho.twin import ZohoTwin

PAGE = 200  # rows of a list or search [DOC]
SEARCHABLE = 2_000  # rows of a search in all [DOC]
CRITERIA = 10  # of a search [DOC]
_CRITERION = re.compile(r"\((\w+):(equals|starts_with|in):((?:\\.|[^()\\])*)\)")


def get(twin: ZohoTwin, call: TwinCall) -> TwinResponse:
    module, id_ = twin.module(call.segments[2]), call.segments[3]
    if not id_.isdigit():
        raise ZohoRowError("INVALID_DATA", "the id given seems to be invalid", {"id": id_})
    record = twin.rows.live(module.name, id_)
    if record is None:
        return TwinResponse(204)
    return TwinResponse(200, {"data": [twin.rows.shape(module, record, _names(call))]})


def list_(twin: ZohoTwin, call: TwinCall) -> TwinResponse:
    """Newest first, by id. From v3 on `fields` must be given [DOC]."""
    module = twin.module(call.segments[2])
    names = _names(call)
    if names is None and call.segments[1] != "v2":
        raise ZohoRowError(
            "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "fields"}
        )
    found = sorted(
        (r for r in twin.store.table(module.name).records.values() if alive(r)), key=lambda r: r["id"], reverse=True
    )
    page, size = _paging(call)
    rows = found[(page - 1) * size : page * size]
    if not rows:
        return TwinResponse(204)
    info = {"per_page": size, "count": len(rows), "page": page, "sort_by": "id", "sort_order": "desc"}
    info["more_records"] = page * size < len(found)
    return TwinResponse(200, {"data": [twin.rows.shape(module, r, names) for r in rows], "info": info})


def search(twin: ZohoTwin, call: TwinCall) -> TwinResponse:
    """By email, phone, word or criteria. `equals` behaves like contains, phones match by their tail, and new records appear late
    (`search_lag`): zoho.md, "Finding people"."""
    module = twin.module(call.segments[2])
    test = _search_test(call)
    newest = twin.rows.stamp(twin.clock() - twin.search_lag)
    table = twin.store.table(module.name).records.values()
    found = [r for r in table if alive(r) and r["Modified_Time"] <= newest and test(r)]
    page, size = _paging(call)
    if page * size > SEARCHABLE:
        raise ZohoRowError("LIMIT_REACHED", "the limit of records of a search is reached", {"limit": SEARCHABLE})
    rows = found[(page - 1) * size : page * size]
    if not rows:
        return TwinResponse(204)
    info = {"per_page": size, "count": len(rows), "page": page, "more_records": page * size < len(found)}
    return TwinResponse(200, {"data": [twin.rows.shape(module, r, _names(call)) for r in rows], "info": info})


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


def coql(twin: ZohoTwin, call: TwinCall) -> TwinResponse:
    body = call.json()
    select, module = zoho_coql.parse(body.get("select_query") if isinstance(body, dict) else None, twin.schema)
    twin.spend(zoho_coql.credits(select) - 1)  # one is booked for every call
    found = zoho_coql.run(select, module, twin.rows)
    return TwinResponse(204) if found is None else TwinResponse(200, found)


def modules(twin: ZohoTwin) -> TwinResponse:
    known = [
        {
            "api_name": m.name,
            "module_name": m.name,
            "singular_label": m.name.removesuffix("s"),
            "plural_label": m.name,
            "api_supported": True,
        }
        for m in twin.schema.values()
    ]
    return TwinResponse(200, {"modules": known})


def users(twin: ZohoTwin, call: TwinCall) -> TwinResponse:
    found = [dict(u) for u in twin.store.table("users").records.values()]
    page, size = _paging(call)
    rows = found[(page - 1) * size : page * size]
    info = {"per_page": size, "count": len(rows), "page": page, "more_records": page * size < len(found)}
    return TwinResponse(200, {"users": rows, "info": info})


def org() -> TwinResponse:
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


def user() -> dict[str, Any]:
    """The user the tokens belong to, with the keys of a recorded one [REC]."""
    me = {"name": "Twin Owner", "id": "7328395000000605001"}
    absent = (
        "fax Reporting_To zip phone Current_Shift__s dob city signature Shift_Effective_From__s street alias "
        "status_reason__s website "
        "mobile Next_Shift__s"
    )
    views = ("notes_desc", "bc_view", "unpin_recent_item")
    theme = {
        "normal_tab": {"font_color": "#FFFFFF", "background": "#222222"},
        "new_background": None,
        "background": "#F3F0EB",
    }
    theme |= {"selected_tab": {"font_color": "#FFFFFF", "background": "#222222"}, "screen": "fixed", "type": "default"}
    return dict.fromkeys(absent.split()) | {
        "id": me["id"],
        "full_name": me["name"],
        "first_name": "Twin",
        "last_name": "Owner",
        "email": "owner@example.com",
        "status": "active",
        "confirm": True,
        "zuid": "924194079",
        "profile": {"name": "Administrator", "id": "7328395000000026011"},
        "role": {"name": "CEO", "id": "7328395000000026005"},
        "created_by": me,
        "Modified_By": me,
        "created_time": "2026-05-14T11:34:21+03:00",
        "Modified_Time": "2026-05-14T11:35:10+03:00",
        "country": "Kenya",
        "state": "Nairobi City",
        "country_locale": "KE",
        "language": "en_US",
        "locale": "en_US",
        "decimal_separator": "en_KE",
        "time_zone": "Africa/Nairobi",
        "offset": 10_800_000,
        "time_format": "hh:mm a",
        "date_format": "MM/dd/yyyy",
        "name_format": "Salutation,First Name,Last Name",
        "distance_preference__s": "Miles",
        "microsoft": False,
        "sandboxDeveloper": False,
        "personal_account": True,
        "Isonline": True,
        "default_tab_group": "0",
        "territories": [],
        "theme": theme,
        "customize_info": dict.fromkeys(views)
        | {"show_right_panel": None, "show_home": False, "show_detail_view": True}
        | {"show_left_panel": True},
    }
