"""The OAuth scopes of Zoho CRM: what each is for, and which call takes which (Zoho's API pages, "Scopes"). Pure."""

from __future__ import annotations

from collections.abc import Mapping

RECORDS, QUERIES, FIELDS = "ZohoCRM.modules.ALL", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields"
ORG, USERS = "ZohoCRM.org.READ", "ZohoCRM.users.READ"
SIGNALS_SEND, SIGNALS_READ = "ZohoCRM.signals.CREATE", "ZohoCRM.settings.signals.READ"

SCOPES: Mapping[str, tuple[str, str]] = {
    RECORDS: ("", "to read and write records"),
    QUERIES: ("", "to look people and records up"),
    f"{FIELDS}.READ": ("", "to compare the mapping with the fields (check --online, prepare)"),
    f"{FIELDS}.CREATE": ("", "to make missing key fields (prepare)"),
    ORG: ("credits", "to read the edition, which tells the day's credits (check --online)"),
    SIGNALS_SEND: ("notify", "to send SalesSignals (notify rules)"),
    SIGNALS_READ: ("notify", "to compare notify rules with the signals there are (check --online)"),
    USERS: ("owners", "to skip owners who are not active (assign rules, owner: {turn: ...})"),
}
"""Scope -> for what kind of configuration alone it is asked for ("" for every one), and why."""
LEAST = f"{RECORDS}, {QUERIES} and {FIELDS}.READ"
MISSING = "OAUTH_SCOPE_MISMATCH"
"""The code of a call whose scope the token lacks."""
OF_RULES = frozenset({USERS, SIGNALS_SEND})
"""Scopes whose lack holds the rules that need them, not the destination."""
_TAKES: Mapping[str, str] = {
    "POST /coql": f"{QUERIES} (and {RECORDS})",
    "GET /org": ORG,
    "GET /settings/signals": SIGNALS_READ,
    "GET /users": USERS,
    "POST /crm/v2/signals/notifications": SIGNALS_SEND,
    "POST /settings/fields": f"{FIELDS}.CREATE",
    "GET /settings/fields": f"{FIELDS}.READ",
}


def scope_of(method: str, path: str) -> str:
    """The scope that a call takes; `path` is below /crm/vN."""
    return _TAKES.get(f"{method} {path.partition('?')[0]}", RECORDS)
