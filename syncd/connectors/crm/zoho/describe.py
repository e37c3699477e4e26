"""What an account's modules look like, and what its token may do: the reads behind `check --online` and `prepare`.

The destination calls these on its client. Zoho drops fields it does not know, and fields that a profile may not see are
missing from its answers, both without a word: comparing is the only way to learn of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncd.capabilities import FieldDescription, Finding, Level
from syncd.connectors.answers import mappings, whole
from syncd.connectors.crm.queried import fields_of_each
from syncd.connectors.crm.zoho import pack, scopes
from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.connectors.crm.zoho.settings import ZohoSettings
from syncd.connectors.online import tried
from syncd.errors import AuthExpired, Failure, QuotaExhausted, RateLimited, Transient
from syncd.http.error_table import dig

TEXTUAL = frozenset({"text", "textarea", "email", "phone", "website"})
"""Types whose `length` is that of a text."""
PICKLISTS = frozenset({"picklist"})
EDITIONS: Mapping[str, tuple[int, int, int]] = {
    "free": (5_000, 0, 5_000),
    "standard": (50_000, 250, 100_000),
    "professional": (50_000, 500, 3_000_000),
    "enterprise": (50_000, 1_000, 5_000_000),
    "ultimate": (50_000, 2_000, 10_000_000),
}
"""Edition -> API credits in 24 hours: base, for each user, at most (zoho.md, Limits; the last three maxima are not verified)."""


def describe(client: ZohoClient, modules: Sequence[str]) -> dict[str, tuple[FieldDescription, ...]]:
    """The fields of these modules as our user sees them, one call each, without modules that do not exist."""

    def read(module: str) -> list[FieldDescription]:
        rows = client.read(f"/settings/fields?module={module}", "fields")
        return [_field(module, row) for row in rows if row.get("api_name")]

    return fields_of_each(modules, read)


def _field(module: str, row: Mapping[str, Any]) -> FieldDescription:
    """Which of Who_Id and What_Id a person goes into is the destination's affair: they refer to nothing here."""
    name, kind, unique = str(row["api_name"]), str(row.get("data_type") or ""), bool(row.get("unique"))
    used = [one for one in mappings(row, "pick_list_values") if one.get("type", "used") == "used"]
    values = tuple(str(one.get("actual_value") or one.get("display_value")) for one in used)
    linked = str(dig(row, "lookup.module.api_name") or "") if name not in pack.LINKS_OF_ACTIVITIES else ""
    return FieldDescription(
        name=name,
        type=kind,
        length=whole(row.get("length")) or None if kind in TEXTUAL else None,
        values=values if kind in PICKLISTS and values else None,
        restricted=False,
        required=bool(row.get("system_mandatory")),
        unique=unique,
        key=unique and module not in pack.NO_UPSERT,
        creatable=_may(row, "api_create"),
        updatable=_may(row, "api_update"),
        references=(linked,) if linked else (),
    )


def _may(row: Mapping[str, Any], operation: str) -> bool:
    told = dig(row, f"operation_type.{operation}")
    return told if isinstance(told, bool) else not (row.get("read_only") or row.get("field_read_only"))


def check(client: ZohoClient, settings: ZohoSettings) -> Iterator[Finding]:
    """Sign-in and scopes by trying them, and what the edition allows: four calls at most. The scope that reads fields is tried
    by `describe`."""
    client.ask("POST", "/coql", {"select_query": "select id from Leads where id is not null limit 0, 1"}, rows="data")
    yield Finding(Level.OK, "sign-in", "signed in; look-ups (COQL) are allowed")
    yield _writing(_tried(client, "/Leads/upsert", "data"))
    refused = _tried(client, "/settings/fields?module=Leads", "fields")
    if refused and refused.code == scopes.MISSING:
        remedy = "it matters only where the mapping needs a field that is not there"
        yield Finding(Level.WARNING, "prepare", f"`syncd prepare` cannot make fields: {refused.message}", remedy)
    if settings.daily_credits is None:
        yield _edition(client)


def _tried(client: ZohoClient, path: str, rows: str) -> Failure | None:
    """The refusal of a write of nothing: by its form when we may write, by the token's scope or our rights when we may not."""
    refused = tried(lambda: client.ask("POST", path, {rows: []}, rows=rows))
    return refused if isinstance(refused, Failure) else None


def _writing(refused: Failure | None) -> Finding:
    code = refused.code if refused else ""
    if refused and code == scopes.MISSING:
        return Finding(Level.FAULT, "writing", f"records may not be written: {refused.message}")
    if code in scopes.NO_RIGHT:
        remedy = f"make a refresh token with the scopes {scopes.LEAST}, of a user who may write"
        return Finding(Level.FAULT, "writing", f"our user may not write records: {code}", remedy)
    if isinstance(refused, AuthExpired | RateLimited | QuotaExhausted | Transient) and getattr(refused, "known", True):
        raise refused
    return Finding(Level.OK, "writing", "the token may write records")


def _edition(client: ZohoClient) -> Finding:
    hint = "set daily_credits to what Setup, Developer Hub, APIs and SDKs shows, so that `quota: 60%` has a meaning"
    org = tried(lambda: client.read("/org", "org"), scopes.MISSING)
    if isinstance(org, Failure):
        return Finding(Level.WARNING, "credits", f"the day's credit limit is unknown: {org.message}", hint)
    licence = dig(next(iter(org), None), "license_details")
    edition = str(dig(licence, "paid_type") or "free").lower()
    users = whole(dig(licence, "users_license_purchased")) or 1
    if edition not in EDITIONS:
        return Finding(Level.WARNING, "credits", f"edition {edition}: what it allows is not known here", hint)
    base, each, most = EDITIONS[edition]
    credits = min(most, base + each * users)
    text = f"edition {edition}, {users} users: {credits:,} credits in 24 hours by Zoho's table"
    return Finding(Level.OK, "credits", text, f"say daily_credits: {credits}, so that a share as quota has a meaning")
