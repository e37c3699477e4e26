"""The OAuth scopes of Zoho CRM (Zoho's API pages, "Scopes"), and the codes of what a token or its user may not. Pure."""

from __future__ import annotations

from syncd.connectors.accounts.scopes import ScopeTable, ScopeUse

RECORDS, QUERIES, FIELDS = "ZohoCRM.modules.ALL", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields"
ORG, USERS = "ZohoCRM.org.READ", "ZohoCRM.users.READ"
SIGNALS_SEND, SIGNALS_READ = "ZohoCRM.signals.CREATE", "ZohoCRM.settings.signals.READ"
SEND, LIST, LOOK_UP = "POST /crm/v2/signals/notifications", "GET /settings/signals", "GET /users"

_USES = (
    ScopeUse(RECORDS, "to read and write records"),
    ScopeUse(QUERIES, "to look people and records up", call="POST /coql", beside=RECORDS),
    ScopeUse(
        f"{FIELDS}.READ",
        "to compare the mapping with the fields (check --online, prepare)",
        call="GET /settings/fields",
    ),
    ScopeUse(f"{FIELDS}.CREATE", "to make missing key fields (prepare)", call="POST /settings/fields"),
    ScopeUse(ORG, "to read the edition, which tells the day's credits (check --online)", "credits", "GET /org"),
    ScopeUse(SIGNALS_SEND, "to send SalesSignals (notify rules)", "notify", SEND, of_rules=True),
    ScopeUse(SIGNALS_READ, "to compare notify rules with the signals there are (check --online)", "notify", LIST),
    ScopeUse(
        USERS,
        "to skip users who are not active (assign and observe rules, owner: {turn: ...})",
        "owners",
        LOOK_UP,
        of_rules=True,
    ),
)
SCOPES = ScopeTable(_USES, usual=RECORDS)
LEAST = f"{RECORDS}, {QUERIES} and {FIELDS}.READ"
MISSING = "OAUTH_SCOPE_MISMATCH"
"""The code of a call whose scope the token lacks."""
NO_RIGHT = frozenset({"NO_PERMISSION", "AUTHORIZATION_FAILED"})
"""Codes of a right that our user lacks: said of a row, they speak of its record or module only."""
