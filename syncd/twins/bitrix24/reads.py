"""Reading CRM items: `crm.item.get`, `list`, `fields`.

Used by methods.py and items.py. A field without a value is null; `fm` comes only with everything [DOC].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncd.twins.bitrix24 import filters, phpdata
from syncd.twins.bitrix24.fields import ItemField, ItemType, bare_name
from syncd.twins.bitrix24.portal import SIMPLE, Bitrix24Portal
from syncd.twins.bitrix24.rest import Bitrix24Error, RestAnswer, RestCall, RestMethod, as_int, page, sorted_rows, truth
from syncd.twins.state import Record

_ZERO = frozenset({"companyId", "contactId", "webformId"})
"""Links that reads show as 0 where add shows null [DOC, sample answers]."""
_UNSORTED = frozenset({"fm", "contactIds", "companyIds"})
_COMPUTED = frozenset(
    {
        "hasPhone",
        "hasEmail",
        "hasImol",
        "phoneMobile",
        "phoneWork",
        "phoneMailing",
        "emailHome",
        "emailWork",
        "emailMailing",
        "imol",
    }
)
UNFILTERED = _UNSORTED - {"contactIds", "companyIds"} | _COMPUTED | {"email", "phone"}
"""Fields that no filter takes: multifields are looked up by crm.duplicate.findbycomm; the others are [UNV]."""


def existing(portal: Bitrix24Portal, type_: ItemType, id_: int) -> Record:
    """A record that is there. Raises Bitrix24Error. In simple mode a lead that became a deal is not found any more [DOC]."""
    record = portal.item(type_, id_)
    if record is None or gone(portal, type_, record):
        raise Bitrix24Error("NOT_FOUND", "Item not found")
    return record


def gone(portal: Bitrix24Portal, type_: ItemType, record: Record) -> bool:
    """Whether reads no longer find a record."""
    return type_.id == 1 and portal.mode == SIMPLE and record.get("stageId") == "CONVERTED"


def shape(
    portal: Bitrix24Portal,
    type_: ItemType,
    record: Record,
    call: RestCall,
    wanted: Iterable[str] = ("*",),
    fresh: bool = False,
) -> dict[str, Any]:
    """A record as answers show it."""
    names = truth(call.params.get("useOriginalUfNames"))
    chosen = list(type_.fields.values())
    if "*" not in wanted:
        asked = {"id", *(bare_name(n, chosen) if names else n for n in wanted)} - {"fm"}
        chosen = [field for field in chosen if field.name in asked]
    made: dict[str, Any] = {}
    for field in chosen:
        if field.name == "fm" and "fm" not in record:
            continue
        empty: Any = [] if field.multiple else 0 if field.name in _ZERO and not fresh else None
        made[field.uf if names and field.uf else field.name] = record.get(field.name, empty)
    return made | ({"entityTypeId": type_.id} if "*" in wanted else {})


def get(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    type_ = portal.type(call.number("entityTypeId"))
    portal.allow(type_, "read")
    return RestAnswer({"item": shape(portal, type_, existing(portal, type_, call.number("id")), call)})


def list_(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    type_ = portal.type(call.number("entityTypeId"))
    select = [str(one) for one in phpdata.values(call.array("select", needed=False))] or ["*"]
    filter_, order = call.array("filter", needed=False), call.mapping("order", needed=False)
    test = filters.compiled(filter_, lambda name: _usable(type_, name, "filter"))
    kept_order = {_usable(type_, name, "order"): direction for name, direction in order.items()}
    for name, direction in kept_order.items():
        if str(direction).upper() not in ("ASC", "DESC"):
            text = f"allowed sort directions are `ASC, DESC`. But got '{direction}' for field '{name}'"
            raise Bitrix24Error("INVALID_ARG_VALUE", f"Invalid order: {text}")
    rows = [r for r in _candidates(portal, type_, filter_) if test(r) and not gone(portal, type_, r)]
    rows = sorted_rows(sorted(rows, key=lambda r: int(r["id"])), kept_order, filters.comparable)
    return page(rows, call.start, lambda found: {"items": [shape(portal, type_, r, call, select) for r in found]})


def _usable(type_: ItemType, given: str, what: str) -> str:
    """The name under which a field is kept. Raises Bitrix24Error."""
    name = bare_name(given, type_.fields.values())
    if name not in type_.fields or name in (UNFILTERED if what == "filter" else UNFILTERED | _UNSORTED):
        raise Bitrix24Error("INVALID_ARG_VALUE", f"Invalid {what}: field '{given}' is not allowed in {what}")
    return name


def _candidates(portal: Bitrix24Portal, type_: ItemType, filter_: Any) -> Iterable[Record]:
    """Those that an id or an indexed field of the filter leaves; else all. Only for speed: the filter decides."""
    every = phpdata.entries(filter_)
    either = any(key.lower() == "logic" for key, _ in every)
    if f"{type_.name}.read" in portal.denied:
        return []  # what may not be read is not in a list
    for key, wanted in () if either else every:
        prefix, name = filters.split(key)
        accepted = phpdata.values(wanted) if isinstance(wanted, list | dict) else [wanted]
        if prefix not in ("", "=", "@") or not all(accepted):
            continue
        if name == "id":
            ids = dict.fromkeys(as_int(one) for one in accepted)
            return [r for r in (portal.item(type_, id_) for id_ in ids) if r is not None]
        if name in ("originId", "leadId"):
            rows = [row for one in accepted for row in portal.store.find(type_.name, name, one)]
            return {row["id"]: row for row in rows}.values()
    return portal.store.table(type_.name).records.values()


def fields(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    type_ = portal.type(call.number("entityTypeId"))
    names = truth(call.params.get("useOriginalUfNames"))
    told: dict[str, ItemField] = {f.uf if names and f.uf else f.name: f for f in type_.fields.values()}
    return RestAnswer({"fields": {name: field.described() for name, field in told.items()}})


METHODS = {
    "crm.item.get": RestMethod(get, ("crm",), 0.02),
    "crm.item.list": RestMethod(list_, ("crm",), 0.03),
    "crm.item.fields": RestMethod(fields, ("crm",), 0.02),
}
