"""Reads of the Salesforce twin: whole records, query pages, descriptions, limits, versions and who the user is.

Used by twin.py. Shapes are those of recorded answers [R].
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any

from syncd.twins.salesforce import soql
from syncd.twins.salesforce.auth import ORG
from syncd.twins.salesforce.org import SalesforceOrg
from syncd.twins.salesforce.rows import SalesforceRowError, stamp
from syncd.twins.salesforce.schema import SObject
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

VERSIONS = range(31, 69)
CURSORS = 50  # open query locators kept; the oldest ends first
SMALLEST = 200  # rows that Sforce-Query-Options may ask for [D]


def whole(call: TwinCall, made: SObject, record: Record) -> TwinResponse:
    """A record with every field, or those of `fields=`."""
    wanted = call.query.get("fields")
    names = [n.strip() for n in wanted.split(",")] if wanted else list(made.fields)
    for name in names:
        if made.field(name) is None:
            raise SalesforceRowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {made.name}")
    row: dict[str, Any] = {"attributes": soql.attributes(made.name, record["Id"], call.segments[2])}
    return TwinResponse(200, row | {n: record.get(n) for n in names})


def several(call: TwinCall, made: SObject, found: Iterable[Record]) -> TwinResponse:
    """Several records have the external id: HTTP 300 with their URLs [D]."""
    return TwinResponse(300, [f"/services/data/{call.segments[2]}/sobjects/{made.name}/{r['Id']}" for r in found])


def query(org: SalesforceOrg, call: TwinCall, deleted: bool) -> TwinResponse:
    if "q" not in call.query:
        raise SalesforceRowError("MALFORMED_QUERY", "unexpected token: '<EOF>'")
    total, rows = soql.execute(call.query["q"], org.store, org.schema, call.segments[2], deleted)
    return _page(org, call, f"0r8{secrets.token_hex(8)}"[:18], rows, 0, total)


def query_more(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    locator, _, start = call.segments[-1].rpartition("-")
    rows = org.cursors.get(locator)
    if rows is None or not start.isdigit():
        raise SalesforceRowError("INVALID_QUERY_LOCATOR", "invalid query locator")
    return _page(org, call, locator, rows, int(start), len(rows))


def _page(org: SalesforceOrg, call: TwinCall, locator: str, rows: list[Any], start: int, total: int) -> TwinResponse:
    option = re.search(r"batchSize=(\d+)", call.headers.get("sforce-query-options", ""))
    size = min(org.page_size, max(SMALLEST, int(option.group(1)))) if option else org.page_size
    end = start + size
    body: dict[str, Any] = {"totalSize": total, "done": end >= len(rows)}
    if end < len(rows):
        org.cursors[locator] = rows
        if len(org.cursors) > CURSORS:
            org.cursors.pop(next(iter(org.cursors)))
        body["nextRecordsUrl"] = f"/services/data/{call.segments[2]}/query/{locator}-{end}"
    return TwinResponse(200, body | {"records": rows[start:end]})


def describe_global(org: SalesforceOrg) -> TwinResponse:
    known = [{"name": o.name, "label": o.name, "keyPrefix": o.prefix, "queryable": True} for o in org.schema.values()]
    return TwinResponse(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": known})


def limits(org: SalesforceOrg) -> TwinResponse:
    left = max(0, org.daily_limit - org.usage)
    return TwinResponse(200, {"DailyApiRequests": {"Max": org.daily_limit, "Remaining": left}})


def versions() -> TwinResponse:
    known = [{"label": f"Release {n}", "url": f"/services/data/v{n}.0", "version": f"{n}.0"} for n in VERSIONS]
    return TwinResponse(200, known)


def userinfo(org: SalesforceOrg) -> TwinResponse:
    user = org.store.get("User", org.user) or {}
    picture = f"{org.url}/profilephoto/005/F"
    resources = {n: f"{org.url}/services/data/v{{version}}/{n}/" for n in ("sobjects", "search", "query", "recent")}
    resources |= {n: f"{org.url}/services/data/v{{version}}/chatter/{n}" for n in ("feeds", "groups", "users")}
    resources |= {
        n: f"{org.url}/services/data/v{{version}}/chatter/{n.replace('_', '-')}"
        for n in ("feed_items", "feed_elements")
    }
    resources |= {
        n: f"{org.url}/services/Soap/{n[0]}/{{version}}/{ORG[:15]}" for n in ("enterprise", "metadata", "partner")
    }
    resources["tooling_soap"] = f"{org.url}/services/Soap/T/{{version}}/{ORG[:15]}"
    resources["tooling_rest"] = f"{org.url}/services/data/v{{version}}/tooling/"
    resources |= {
        "rest": f"{org.url}/services/data/v{{version}}/",
        "profile": f"{org.url}/{org.user}",
        "custom_domain": org.url,
    }
    return TwinResponse(
        200,
        {
            "sub": f"{org.url}/id/{ORG}/{org.user}",
            "user_id": org.user,
            "organization_id": ORG,
            "preferred_username": user.get("Username"),
            "nickname": user.get("Alias"),
            "name": user.get("Name"),
            "email": user.get("Email"),
            "email_verified": True,
            "given_name": user.get("FirstName"),
            "family_name": user.get("LastName"),
            "zoneinfo": "America/Los_Angeles",
            "photos": {"picture": picture, "thumbnail": f"{org.url}/profilephoto/005/T"},
            "profile": f"{org.url}/{org.user}",
            "picture": picture,
            "address": {},
            "is_salesforce_integration_user": False,
            "urls": resources,
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": -28_800_000,
            "updated_at": stamp(org.clock())[:19] + "Z",
        },
    )
