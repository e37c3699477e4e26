"""What an org's objects look like, and what its user may do: the reads behind `check --online` and `prepare`.

The destination calls these on its client. Descriptions of many objects are one call where composite is on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncd.capabilities import FieldDescription, Finding, Level
from syncd.connectors.answers import listed, mappings, whole
from syncd.connectors.crm.missing_fields import REFUSALS
from syncd.connectors.crm.queried import is_name
from syncd.connectors.crm.salesforce import soql
from syncd.connectors.crm.salesforce.client import SalesforceClient
from syncd.connectors.crm.salesforce.errors import answer_failure
from syncd.connectors.crm.salesforce.settings import SalesforceSettings
from syncd.errors import Failure, Misconfigured
from syncd.http.error_table import dig

LIGHT = 25
"""Subrequests of a composite call that are neither queries nor collections (salesforce.md, Composite)."""
ABSENT = 404
PICKLISTS = frozenset({"picklist"})
"""Types whose value is one of a list. A combobox takes any text; of a multipicklist several stand in one value."""
RIGHTS = "UserPermissionAccess"
"""The object with one row: what the user who asks may do [M]. Where an org has none, nothing is concluded."""
SEES_ALL = "PermissionsViewAllData"


def describe(client: SalesforceClient, objects: Sequence[str]) -> dict[str, tuple[FieldDescription, ...]]:
    """The fields of these objects as our user sees them, without those that do not exist or are hidden."""
    found: dict[str, tuple[FieldDescription, ...]] = {}
    paths = {name: f"/sobjects/{name}/describe" for name in objects if is_name(name)}
    for name, answer in zip(paths, client.answers(list(paths.values()), LIGHT), strict=True):
        if not answer.ok and answer.status != ABSENT and len(paths) > 1:  # a composite that does not take it: by itself
            (answer,) = client.answers([paths[name]], 1)
        if answer.ok:
            found[name] = tuple(_field(row) for row in mappings(answer.body, "fields") if row.get("name"))
        elif answer.status != ABSENT:
            raise answer_failure(answer.status, answer.body, write=False)
    return found


def _field(row: Mapping[str, Any]) -> FieldDescription:
    kind = str(row.get("type") or "")
    values = tuple(str(one.get("value")) for one in mappings(row, "picklistValues") if one.get("active", True))
    demanded = row.get("nillable") is False and not row.get("defaultedOnCreate") and kind != "boolean"
    return FieldDescription(
        name=str(row["name"]),
        type=kind,
        length=whole(row.get("length")) or None,
        values=values if kind in PICKLISTS and values else None,
        restricted=bool(row.get("restrictedPicklist")),
        required=demanded and bool(row.get("createable")),
        unique=bool(row.get("unique")) or kind == "id",
        key=bool(row.get("externalId") or row.get("idLookup")),
        creatable=bool(row.get("createable")),
        updatable=bool(row.get("updateable")),
        references=tuple(str(name) for name in listed(row.get("referenceTo"))),
    )


def user_of(client: SalesforceClient) -> Mapping[str, Any]:
    """Who the token belongs to (`user_id`, `preferred_username`, `organization_id`); empty when the app's scopes do not let
    us ask. With the scope `api` alone there is no userinfo: Chatter, where it is on, tells the same."""
    response = client.get("/services/oauth2/userinfo")
    said = response.json() if response.ok else None
    return said if isinstance(said, Mapping) else _chatter_user(client)


def _chatter_user(client: SalesforceClient) -> Mapping[str, Any]:
    try:
        (answer,) = client.answers(["/chatter/users/me"], 1)
    except REFUSALS:
        return {}
    names = {"user_id": "id", "preferred_username": "username"}
    return {name: dig(answer.body, path) for name, path in names.items()} if answer.ok else {}


def sees_all(client: SalesforceClient) -> bool | None:
    """Whether our user may see (and so upsert) everything; None where the org does not tell."""
    try:
        (rows,) = client.query([soql.select((SEES_ALL,), RIGHTS)])
    except Misconfigured as unknown:
        if unknown.code in ("INVALID_TYPE", "INVALID_FIELD"):
            return None
        raise
    return rows[0].get(SEES_ALL) is True if rows else None


def check(client: SalesforceClient, settings: SalesforceSettings) -> Iterator[Finding]:
    """Sign-in, version and rights, in two calls."""
    user = user_of(client)
    who = str(user.get("preferred_username") or "")
    where = f" (org {user['organization_id']})" if user.get("organization_id") else ""
    try:
        all_seen = sees_all(client)
    except Misconfigured as refused:
        if refused.code not in ("404", "NOT_FOUND"):
            raise
        yield _unserved(client, settings, refused)
        return
    yield Finding(Level.OK, "sign-in", f"signed in{f' as {who}' if who else ''}{where}")
    yield Finding(Level.OK, "version", f"the org speaks API {settings.api_version}")
    if all_seen is None:
        yield Finding(Level.WARNING, "rights", "the org does not tell what our user may do", _SEES_ALL)
    elif not all_seen:
        text = "our user has not View All Data: without it Salesforce upserts by unique external ids only"
        yield Finding(Level.WARNING, "rights", f"{text}, and Activity (tasks, events) cannot have one", _SEES_ALL)
    else:
        yield Finding(Level.OK, "rights", "our user may upsert by an external id that is not unique (View All Data)")


_SEES_ALL = "in Setup give the user a permission set with View All Data"


def _unserved(client: SalesforceClient, settings: SalesforceSettings, refused: Failure) -> Finding:
    """The version of the configuration is not there: which are?"""
    response = client.get("/services/data")
    known = [str(one.get("version")) for one in mappings(response.json() if response.ok else None)]
    text = f"the org does not speak API {settings.api_version}: {refused}"
    hint = f"set api_version to one of v{known[0]} … v{known[-1]}" if known else ""
    return Finding(Level.FAULT, "version", text, hint)
