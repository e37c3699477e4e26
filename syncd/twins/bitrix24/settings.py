"""What a portal is: its CRM mode, directories and pipelines, the scopes of the caller, its time.

Used by methods.py.
"""

from __future__ import annotations

from syncd.twins.bitrix24 import filters
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import RestAnswer, RestCall, RestMethod, page, sorted_rows, upper_keys


def mode(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    return RestAnswer(portal.mode)


def statuses(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.status.list: a directory is not divided into pages."""
    test = filters.compiled(upper_keys(call.any_case("filter")))
    order = upper_keys(call.any_case("order")) or {"SORT": "ASC"}
    rows = [row for row in portal.store.table("status").records.values() if test(row)]
    rows = sorted_rows(rows, order, lambda value: filters.comparable(int(value) if str(value).isdigit() else value))
    return RestAnswer(rows, len(rows))


def scopes(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """scope: those of the caller."""
    return RestAnswer(sorted(call.scopes))


def server_time(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    return RestAnswer(portal.stamp())


def categories(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """crm.category.list: the pipelines of deals; the first has the id 0."""
    type_ = portal.type(call.number("entityTypeId"))
    first = {"id": 0, "name": "General", "sort": 300, "entityTypeId": type_.id, "isDefault": "Y"}
    more = [row for row in portal.store.table("category").records.values() if row["entityTypeId"] == type_.id]
    return page([first, *more], call.start, lambda found: {"categories": found})


METHODS = {
    "crm.settings.mode.get": RestMethod(mode, ("crm",)),
    "crm.status.list": RestMethod(statuses, ("crm",)),
    "crm.category.list": RestMethod(categories, ("crm",)),
    "scope": RestMethod(scopes),
    "server.time": RestMethod(server_time),
}
