"""The older methods of one type each (`crm.lead.add`, `crm.company.list` …): names in capitals, values as text, ids alone.

Used by methods.py. They know no observers, take no `logic` in filters, and compare PHONE, EMAIL, WEB and IM whole [DOC].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncd.twins.bitrix24 import filters, items, phpdata, reads
from syncd.twins.bitrix24.fields import ItemField, ItemType, item_types
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import (
    Act,
    Bitrix24Error,
    RestAnswer,
    RestCall,
    RestMethod,
    as_int,
    page,
    sorted_rows,
    upper_keys,
)
from syncd.twins.state import Record

_ALSO = {
    "createdTime": "DATE_CREATE",
    "updatedTime": "DATE_MODIFY",
    "createdBy": "CREATED_BY_ID",
    "updatedBy": "MODIFY_BY_ID",
}
_OWN = {1: {"stageId": "STATUS_ID"}, 4: {"typeId": "COMPANY_TYPE"}}
_NEWER = frozenset({"observers", "fm", "contactIds", "companyIds"})
_MULTI = ("PHONE", "EMAIL", "WEB", "IM")


def _old_name(type_: ItemType, field: ItemField) -> str:
    return _OWN.get(type_.id, {}).get(field.name) or _ALSO.get(field.name) or field.upper_name


def _names(type_: ItemType) -> dict[str, str]:
    """Older name -> the one that `crm.item.*` has."""
    return {_old_name(type_, field): field.name for field in type_.fields.values() if field.name not in _NEWER}


def _given(portal: Bitrix24Portal, type_: ItemType, fields: dict[str, Any]) -> dict[str, Any]:
    names = _names(type_)
    found = {names[key]: value for key, value in fields.items() if key in names}
    entries: list[tuple[str, Any]] = []
    for kind in _MULTI:
        for key, one in phpdata.entries(fields.get(kind)):
            each = upper_keys(one)
            entry = {"typeId": kind, "valueType": each.get("VALUE_TYPE") or "WORK", "value": each.get("VALUE")}
            entries.append((str(each.get("ID") or f"n{len(entries)}_{key}"), entry))
    portal.ignored |= {f"{type_.name}.{key}" for key in fields if key not in names and key not in _MULTI}
    return found | ({"fm": dict(entries)} if entries and "fm" in type_.fields else {})


def add(type_: ItemType) -> Act:
    def act(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
        own = portal.types[type_.id]
        given = _given(portal, own, upper_keys(call.any_case("fields")))
        return RestAnswer(items.create(portal, own, given, call.user)["id"])

    return act


def _held(portal: Bitrix24Portal, type_: ItemType, call: RestCall) -> Record:
    try:
        return reads.existing(portal, type_, as_int(call.any_case("id")) or 0)
    except Bitrix24Error:
        raise Bitrix24Error("", "Not found") from None


def update(type_: ItemType) -> Act:
    def act(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
        own = portal.types[type_.id]
        held = _held(portal, own, call)
        fields = _given(portal, own, upper_keys(call.any_case("fields")))
        items.change(portal, own, held, items.checked(portal, own, fields, held), call.user)
        return RestAnswer(True)

    return act


def get(type_: ItemType) -> Act:
    def act(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
        own = portal.types[type_.id]
        return RestAnswer(_shown(own, _held(portal, own, call), {"*", "UF_*", *_MULTI}))

    return act


def list_(type_: ItemType) -> Act:
    def act(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
        own = portal.types[type_.id]
        names = _names(own)
        filter_ = upper_keys(call.any_case("filter"))
        multi = {key: filter_.pop(key) for key in list(filter_) if filters.split(key)[1] in _MULTI}
        filter_ = {k: v for k, v in filter_.items() if filters.split(k)[1] in names}  # others are dropped [UNV]
        test = filters.compiled(filter_, lambda name: names[name])
        rows = [r for r in portal.store.table(own.name).records.values() if test(r) and not reads.gone(portal, own, r)]
        rows = [row for row in rows if all(_has(row, filters.split(key)[1], value) for key, value in multi.items())]
        order = {names[k]: v for k, v in upper_keys(call.any_case("order")).items() if k in names}
        rows = sorted_rows(rows, order or {"id": "ASC"}, filters.comparable)
        select = {str(one).upper() for one in phpdata.values(call.any_case("select"))} or {"*", "UF_*"}
        return page(rows, call.start, lambda found: [_shown(own, row, select) for row in found])

    return act


def _has(row: Record, kind: str, wanted: Any) -> bool:
    accepted = {
        str(one).casefold() for one in (phpdata.values(wanted) if isinstance(wanted, list | dict) else [wanted])
    }
    return any(e["typeId"] == kind and e["value"].casefold() in accepted for e in row.get("fm", []))


def _shown(type_: ItemType, row: Record, select: set[str]) -> dict[str, Any]:
    """A row with numbers as text; multifields only where they are asked for."""
    told: dict[str, Any] = {}
    for old, name in _names(type_).items():
        custom = bool(type_.fields[name].uf)
        if old in select or old == "ID" or ("UF_*" if custom else "*") in select:
            value = row.get(name)
            told[old] = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    for kind in _MULTI:
        entries = [e for e in row.get("fm", []) if e["typeId"] == kind]
        if kind in select and entries:
            told[kind] = [
                {"ID": str(e["id"]), "VALUE_TYPE": e["valueType"], "VALUE": e["value"], "TYPE_ID": kind}
                for e in entries
            ]
    return told


def _methods() -> dict[str, RestMethod]:
    verbs: tuple[tuple[str, Callable[[ItemType], Act], float], ...] = (
        ("add", add, 0.1),
        ("update", update, 0.1),
        ("get", get, 0.02),
        ("list", list_, 0.03),
    )
    return {
        f"crm.{type_.name}.{verb}": RestMethod(make(type_), ("crm",), seconds)
        for type_ in item_types().values()
        for verb, make, seconds in verbs
    }


METHODS = _methods()
