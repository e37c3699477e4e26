"""SalesSignals, Zoho CRM's own notifications: how they are packed, sent and answered (zoho.md, SalesSignals).

The call has no key: a repeat notifies twice, so a write is sent at most once. What a success looks like and how many go into one
call are not documented [UNVERIFIED]: ten a call, and a 2xx without an error counts as sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncd.connector import Outcome, Write, Written
from syncd.connectors.answers import listed, together
from syncd.connectors.crm.packing import Bundle, Packer, one_call
from syncd.connectors.crm.record import Target
from syncd.connectors.crm.sending import Answered
from syncd.connectors.crm.zoho import scopes
from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.connectors.crm.zoho.errors import failure, parts
from syncd.connectors.crm.zoho.pack import CALL_BYTES, formatted
from syncd.connectors.online import tried
from syncd.errors import Failure, Misconfigured, Scope, StaleReference
from syncd.http.error_table import dig

ROWS = 10
PERSON = "person"
PATH = "/crm/v2/signals/notifications"
"""Version 2, whatever version the records are written with."""
LIST = "/settings/signals"
NAMESPACE, ACTIONS = "signal_namespace", "actions"
PERSON_FIELDS = frozenset({"id", "email"})


def record_of(write: Write, target: Target) -> dict[str, Any]:
    """The notification as sent. An action whose link is empty is left out. Raises Unsendable."""
    record = {name: formatted(name, value) for name, value in write.fields.items()}
    record[NAMESPACE] = write.object
    record["id"] = write.links[PERSON].id
    if isinstance(actions := record.get(ACTIONS), list):
        record[ACTIONS] = [one for one in actions if not isinstance(one, Mapping) or one.get("url")]
        if not record[ACTIONS]:
            del record[ACTIONS]
    return record


PACKER = Packer(target=Target.of, record=record_of, rows=ROWS, size=CALL_BYTES, cost=one_call)


def perform(client: ZohoClient, bundles: Sequence[Bundle]) -> Iterator[Answered]:
    """Sends each bundle in a call of its own."""
    for bundle in bundles:
        answer = client.ask("POST", PATH, {"signals": bundle.records}, rows="signals", write=True)
        told = listed(dig(answer, "signals"))
        rows = told if len(told) == len(bundle.rows) else [None] * len(bundle.rows)
        yield {place: _outcome(row) for place, row in zip(bundle.rows, rows, strict=True)}, ()


def _outcome(row: Any) -> Outcome:
    """What is said of one notification."""
    if not isinstance(row, Mapping) or row.get("status") != "error":
        return Written("", created=True)
    told = parts(row)
    fields = {one.field for one in told}
    text = "; ".join(one.message for one in told)
    if NAMESPACE in fields:
        message = f"{text}; is there such a signal in Setup, SalesSignals?"
        return Misconfigured(message, code=told[0].code, scope=Scope.RULE, field=NAMESPACE)
    if fields & PERSON_FIELDS:
        return StaleReference(text, code=told[0].code, field=PERSON)
    return together([failure(one) for one in told])


def kinds(client: ZohoClient) -> list[str] | None:
    """The namespaces there are; None where our sign-in may not read them."""
    rows = tried(lambda: client.read(LIST, "signals"), scopes.MISSING)
    return None if isinstance(rows, Failure) else [str(one["namespace"]) for one in rows if one.get("namespace")]
