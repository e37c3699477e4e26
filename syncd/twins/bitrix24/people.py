"""The portal's employees: `user.get`, `user.current`, `profile`, departments, who is online, who is at work.

Used by methods.py. Bots and mail users are not in `user.get`; what a scope does not cover is left out without an error [DOC].
"""

from __future__ import annotations

from typing import Any

from syncd.twins.bitrix24 import filters, phpdata
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import (
    Bitrix24Error,
    RestAnswer,
    RestCall,
    RestMethod,
    as_int,
    page,
    sorted_rows,
    truth,
    upper_keys,
)
from syncd.twins.state import Record

_BRIEF = (
    "ID ACTIVE NAME LAST_NAME SECOND_NAME IS_ONLINE TIME_ZONE DATE_REGISTER PERSONAL_GENDER WORK_POSITION UF_DEPARTMENT"
)
_BASIC = (
    "ID ACTIVE NAME LAST_NAME SECOND_NAME EMAIL IS_ONLINE TIME_ZONE DATE_REGISTER PERSONAL_GENDER PERSONAL_MOBILE WORK_PHONE "
    "WORK_POSITION"
)
_FULL = f"{_BASIC} LAST_LOGIN USER_TYPE UF_DEPARTMENT"
FIELDS = {"user_brief": _BRIEF.split(), "user_basic": _BASIC.split(), "user": _FULL.split()}
"""What each scope shows [DOC, User Scope Versions]."""
_HIDDEN = frozenset({"email", "bot", "imconnector", "replica"})
_USER = ("user_brief", "user_basic", "user")


def _shown(call: RestCall, user: Record, select: list[str]) -> dict[str, Any]:
    names = {name for scope in call.scopes for name in FIELDS.get(scope, ())}
    masks = [one.upper() for one in select]
    chosen = [
        n
        for n in user
        if n in names and (not masks or n in masks or "*" in masks or ("UF_*" in masks and n[:3] == "UF_"))
    ]
    return {name: str(user[name]) if name == "ID" else user[name] for name in chosen}


def get(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """user.get: the filter is the map FILTER, or the parameters themselves."""
    given = call.any_case("FILTER")
    wanted = upper_keys(given if given is not None else call.params)
    known = {name for fields in FIELDS.values() for name in fields}
    wanted = {key: value for key, value in wanted.items() if filters.split(key)[1] in known}
    active = wanted.pop("ACTIVE", None)
    test = filters.compiled(wanted)
    rows = [u for u in portal.store.table("user").records.values() if u["USER_TYPE"] not in _HIDDEN and not u["BOT"]]
    rows = [u for u in rows if test(u) and (active is None or bool(u["ACTIVE"]) == truth(active))]
    order = {str(call.any_case("sort") or "ID").upper(): call.any_case("order") or "ASC"}
    rows = sorted_rows(rows, order, filters.comparable)
    select = [str(one) for one in phpdata.values(call.any_case("select"))]
    return page(rows, call.start, lambda found: [_shown(call, u, select) for u in found])


def current(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    return RestAnswer(_shown(call, portal.user(call.user) or {}, []))


def profile(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """profile: whoever is called for; empty for a user who was dismissed."""
    me = portal.user(call.user)
    if me is None or not me["ACTIVE"]:
        return RestAnswer({})
    names = ("ID", "ADMIN", "NAME", "LAST_NAME", "PERSONAL_GENDER", "TIME_ZONE")
    return RestAnswer({name: str(me[name]) if name == "ID" else me[name] for name in names})


def departments(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """department.get: filters by equality; parents do not contain the departments below them."""
    wanted = {k: v for k, v in upper_keys(call.params).items() if k in ("ID", "NAME", "SORT", "PARENT", "UF_HEAD")}
    test = filters.compiled(wanted)
    rows = [row for row in portal.store.table("department").records.values() if test(row)]
    return page(rows, call.start, lambda found: [{k: v for k, v in row.items() if v != ""} for row in found])


def online(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.user.list.get: a map by id, a list with RESULT_TYPE array. A user who does not exist is left out [UNV]."""
    ids = [as_int(one) for one in phpdata.values(call.any_case("ID"))]
    if not ids:
        raise Bitrix24Error("ID_EMPTY", "User IDs can't be empty")
    found = {str(u["ID"]): _messenger(u) for u in (portal.user(id_) for id_ in ids) if u is not None}
    return RestAnswer(list(found.values()) if str(call.any_case("RESULT_TYPE")).lower() == "array" else found)


def _messenger(user: Record) -> dict[str, Any]:
    return {
        "id": user["ID"],
        "active": user["ACTIVE"],
        "name": f"{user['NAME']} {user['LAST_NAME']}".strip(),
        "first_name": user["NAME"],
        "last_name": user["LAST_NAME"],
        "work_position": user["WORK_POSITION"],
        "bot": user["BOT"],
        "connector": False,
        "extranet": user["USER_TYPE"] == "extranet",
        "status": user["STATUS"],
        "idle": False,
        "last_activity_date": user.get("LAST_ACTIVITY_DATE") or False,
        "mobile_last_date": False,
        "absent": user["ABSENT"],
        "departments": user["UF_DEPARTMENT"],
    }


def working_day(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """timeman.status: of the caller, or of another user."""
    user = portal.user(call.any_case("USER_ID") or call.user)
    if user is None:
        raise Bitrix24Error("", "User not found")
    day = {"TIME_START": None, "TIME_FINISH": None, "DURATION": "00:00:00", "TIME_LEAKS": "00:00:00", "ACTIVE": False}
    started = user["TIMEMAN"] in ("OPENED", "PAUSED")
    return RestAnswer({"STATUS": user["TIMEMAN"], **day, "ACTIVE": started, "TZ_OFFSET": 10_800})


METHODS = {
    "user.get": RestMethod(get, _USER),
    "user.current": RestMethod(current, _USER),
    "profile": RestMethod(profile),
    "department.get": RestMethod(departments, ("department",)),
    "im.user.list.get": RestMethod(online, ("im",)),
    "timeman.status": RestMethod(working_day, ("timeman",)),
}
