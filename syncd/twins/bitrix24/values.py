"""Values of item fields: what `crm.item.add` and `crm.item.update` take, and how it is kept.

Used by items.py. A refused value raises Bitrix24Error; what the documentation does not say is marked [UNV].
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from syncd.twins.bitrix24 import phpdata
from syncd.twins.bitrix24.fields import ItemField
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import Bitrix24Error, as_int

_ITEMS = {"crm_lead": 1, "crm_deal": 2, "crm_contact": 3, "crm_company": 4}
_PHP = {str: "string", int: "integer", float: "double", bool: "boolean", type(None): "null"}
CURRENCIES = frozenset({"EUR", "GBP", "KES", "RUB", "USD", "VND"})
"""Those set up in this portal."""


def checked(portal: Bitrix24Portal, field: ItemField, given: Any) -> Any:
    """A value as it is kept; None for none. Raises Bitrix24Error."""
    if field.type == "file":
        return _file(given)
    if not field.multiple:
        if isinstance(given, dict | list):
            raise invalid(field)  # [UNV]
        return None if given in (None, "") else _one(portal, field, given)
    if not isinstance(given, dict | list):
        kind = _PHP.get(type(given), "string")
        raise Bitrix24Error("100", f"Expected iterable value for multiple field, but got {kind} instead")
    kept = [_one(portal, field, one) for one in phpdata.values(given) if one not in (None, "", 0, "0")]
    return list(dict.fromkeys(kept))


def _file(given: Any) -> Any:
    """[name, base64] of a file, or a list of such pairs, as what reads show of it; what is none of these is dropped [UNV]."""
    parts = phpdata.values(given)
    if parts and all(isinstance(one, list | dict) for one in parts):
        return [found for one in parts if (found := _file(one)) is not None]
    if len(parts) != 2:
        return None
    return {"name": str(parts[0]), "size": len(str(parts[1])) * 3 // 4, "url": f"/crm.file/{parts[0]}"}


def invalid(field: ItemField) -> Bitrix24Error:
    return Bitrix24Error("CRM_FIELD_ERROR_VALUE_NOT_VALID", f'Invalid value for field "{field.title}"')


def _one(portal: Bitrix24Portal, field: ItemField, given: Any) -> Any:
    keep: Callable[[Bitrix24Portal, ItemField, Any], Any] = _KINDS.get(field.type, _text)
    return keep(portal, field, given)


def _text(portal: Bitrix24Portal, field: ItemField, given: Any) -> str:
    text = str(given)
    return text[: field.length] if field.length else text  # cut without a word [UNV; DOC of quotes]


def _whole(portal: Bitrix24Portal, field: ItemField, given: Any) -> int:
    found = as_int(given)
    if found is None:
        raise invalid(field)
    return found


def _double(portal: Bitrix24Portal, field: ItemField, given: Any) -> float | int:
    try:
        found = float(given)
    except (TypeError, ValueError):
        raise invalid(field) from None
    return int(found) if found.is_integer() else found


def _yes_no(portal: Bitrix24Portal, field: ItemField, given: Any) -> str:
    text = str(given).upper()
    if text not in ("Y", "N", "1", "0", "TRUE", "FALSE"):
        raise invalid(field)
    return "Y" if text in ("Y", "1", "TRUE") else "N"


def _moment(portal: Bitrix24Portal, field: ItemField, given: Any) -> str:
    try:
        found = datetime.fromisoformat(str(given))
    except ValueError:
        raise invalid(field) from None
    return (
        (found if found.tzinfo else found.replace(tzinfo=portal.zone)).astimezone(portal.zone).isoformat("T", "seconds")
    )


def _day(portal: Bitrix24Portal, field: ItemField, given: Any) -> str:
    try:
        day = date.fromisoformat(str(given)[:10])
    except ValueError:
        raise invalid(field) from None
    return datetime(day.year, day.month, day.day, tzinfo=portal.zone).isoformat("T", "seconds")


def _user(portal: Bitrix24Portal, field: ItemField, given: Any) -> int:
    """A dismissed user is taken without an error [UNV]."""
    found = as_int(given)
    if found is None or portal.user(found) is None:
        raise invalid(field)
    return found


def _status(portal: Bitrix24Portal, field: ItemField, given: Any) -> str:
    if portal.in_directory(field.status, given) is None:
        raise invalid(field)
    return str(given)


def _currency(portal: Bitrix24Portal, field: ItemField, given: Any) -> str:
    if str(given) not in CURRENCIES:
        raise invalid(field)
    return str(given)


def _item(portal: Bitrix24Portal, field: ItemField, given: Any) -> int:
    found = as_int(given)
    if found == 0:
        return 0
    if found is None or portal.item(portal.types[_ITEMS[field.type]], found) is None:
        raise invalid(field)
    return found


def _choice(portal: Bitrix24Portal, field: ItemField, given: Any) -> int:
    """An enumeration takes the id of an entry, not its text."""
    if str(given) not in {id_ for id_, _ in field.items}:
        raise invalid(field)
    return int(given)


_KINDS: dict[str, Callable[[Bitrix24Portal, ItemField, Any], Any]] = {
    "integer": _whole,
    "crm_category": _whole,
    "double": _double,
    "boolean": _yes_no,
    "datetime": _moment,
    "date": _day,
    "user": _user,
    "employee": _user,
    "crm_status": _status,
    "crm_currency": _currency,
    "enumeration": _choice,
    **dict.fromkeys(_ITEMS, _item),
}
