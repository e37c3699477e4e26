"""Owners in Zoho CRM: `Owner` of every module, `{"id": …}`; which users are active (zoho_more.md, Owners)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.connectors.crm.zoho.errors import NO_SCOPE
from syncd.errors import Misconfigured, Scope
from syncd.http.client import unclear

FIELD = "Owner"
ACTIVE = "active"
IDS = 100
"""Ids in one question (zoho_more.md)."""


def users(client: ZohoClient, ids: Sequence[str]) -> dict[str, bool]:
    """id -> whether active; a user who is not there is not. A call for a hundred."""
    found = dict.fromkeys(ids, False)
    for start in range(0, len(ids), IDS):
        path = f"/users?ids={','.join(ids[start : start + IDS])}&per_page=200"
        try:
            answer = client.read(path)
        except Misconfigured as wrong:
            if wrong.code != NO_SCOPE:
                raise
            raise Misconfigured(wrong.message, code=wrong.code, scope=Scope.RULE) from None
        rows: Any = [] if answer is None else answer.get("users") if isinstance(answer, Mapping) else None
        if not isinstance(rows, list):
            raise unclear("users were answered without a list", write=False, code="users")
        for row in rows:
            if isinstance(row, Mapping) and str(row.get("id")) in found:
                found[str(row["id"])] = row.get("status") == ACTIVE
    return found
