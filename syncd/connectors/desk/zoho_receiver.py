"""Zoho Desk's webhooks as a source receives them, and the source that has nothing else: `auth:` is not set.

Without the API a delivery is not a hint but all there is. Facts: https://desk.zoho.com/support/WebhookDocument.do, sections
Validation (GET, then POST, both 200), Security (X-ZDesk-JWT; it does not cover the body), Payload (a JSON array of events).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import parseaddr
from typing import Any

from syncd.connector import Ability, Batch, Context, Reply, Request, Verifier
from syncd.connectors.desk.zoho_tickets import Desk, Record, is_customers_comment, is_customers_reply
from syncd.errors import Malformed
from syncd.http.json_text import parse
from syncd.items import each_item
from syncd.signals import Route, Signal
from syncd.signatures.jwks import JwksKeys
from syncd.signatures.jwt import jwt

EVENTS = {
    "Ticket_Add": "created",
    "Ticket_Update": "state",
    "Ticket_Thread_Add": "thread",
    "Ticket_Comment_Add": "comment",
}
"""The events that are read, by what they are about."""
NEEDS_API = "needs the API"
_ID = re.compile(r"\d{1,25}")
_WHY = "auth: is not set, so only what Desk's webhooks carry is read; set auth: to use Desk's API"
LACKS: Mapping[Ability, str] = dict.fromkeys(
    (Ability.POLL, Ability.FETCH, Ability.BACKFILL, Ability.SUBSCRIBE, Ability.ONLINE_CHECK, Ability.SIGN_IN), _WHY
)


class DeskReceiver:
    """Handshake and verification of Desk's calls: a WebhookSource but for `parse`, and a KeyFetchingSource."""

    def __init__(self, base_url: str, org_id: str, webhook_ids: Sequence[str]) -> None:
        self._org_id = org_id
        self._audiences = [f"webhookId:{id_}" for id_ in webhook_ids]
        self._jwks = JwksKeys(f"{base_url}/.well-known/jwks.json")

    def handshake(self, request: Request) -> Reply | None:
        """Desk tries a new address by GET and then by a POST without events: both must be answered 200."""
        probe = request.method == "POST" and request.body.strip() in (b"", b"[]", b"{}")
        return Reply() if probe or request.method in ("GET", "HEAD") else None

    def verifier(self) -> Verifier:
        return jwt(self._jwks.keys, header="x-zdesk-jwt", issuer=f"orgId:{self._org_id}", audiences=self._audiences)

    def fetch_keys(self, now: Any) -> Sequence[str]:
        return self._jwks.fetch(now)

    def events(self, request: Request, make: Callable[[str, Record, tuple[str, ...], str], Batch]) -> Batch:
        """What `make(kind, payload, ids, where)` gives for each event that is read; `ids`: the ticket's, and for a thread or
        comment its own after it. Raises Malformed."""
        try:
            events = parse(request.body).value
        except ValueError as error:
            raise Malformed(f"the body is not JSON: {error}") from None
        if not isinstance(events, list):
            raise Malformed(f"the body is not a JSON array of events but {type(events).__name__}")

        def one(event: Any, where: str) -> Batch:
            found = self._read(event, where)
            return Batch(dropped={found: 1}) if isinstance(found, str) else make(*found, where)

        return each_item(request, events, one)

    def _read(self, event: Any, where: str) -> tuple[str, Record, tuple[str, ...]] | str:
        """One event, or why it is not read. Raises Malformed."""
        payload = event.get("payload") if isinstance(event, dict) else None
        if not isinstance(payload, dict):
            raise Malformed(f"{where}, payload: missing or not an object")
        kind = EVENTS.get(str(event.get("eventType")))
        if kind is None:
            return f"event {str(event.get('eventType'))[:40]}"
        if str(event.get("orgId") or self._org_id) != self._org_id:
            return "another organisation"
        if kind == "thread" and not (
            payload.get("direction") == "in" and payload.get("isDescriptionThread") is not True
        ):
            return "not a customer's reply"
        names = ("ticketId", "id") if kind in ("thread", "comment") else ("id",)
        ids = tuple(str(payload.get(name) or "") for name in names)
        for name, id_ in zip(names, ids, strict=True):
            if not _ID.fullmatch(id_):
                raise Malformed(f"{where}, payload.{name}: {id_[:40]!r} is not an id")
        return kind, payload, ids


class ZohoDeskWebhooksOnly(DeskReceiver):
    """A WebhookSource and KeyFetchingSource: signals from what a delivery carries. Ids are those of the other routes."""

    def __init__(
        self, base_url: str, org_id: str, webhook_ids: Sequence[str], departments: Sequence[str], context: Context
    ) -> None:
        super().__init__(base_url, org_id, webhook_ids)
        self._departments = frozenset(departments)
        self._desk = Desk(context, org_id)

    def parse(self, request: Request) -> Batch:
        def make(kind: str, payload: Record, ids: tuple[str, ...], where: str) -> Batch:
            if reason := self._unwanted(kind, payload):
                return Batch(dropped={reason: 1})
            return Batch([self._signal(kind, payload, ids[0], request)])

        return self.events(request, make)

    def _unwanted(self, kind: str, payload: Record) -> str:
        department = payload.get("departmentId")
        if self._departments and department is not None and str(department) not in self._departments:
            return "another department"
        if payload.get("isSpam") is True or payload.get("isTrashed") is True:
            return "spam or trash"
        if kind == "state":  # overdue and escalated are differences between two looks at the ticket
            return NEEDS_API
        said = {"thread": is_customers_reply, "comment": is_customers_comment}.get(kind)
        return "" if said is None or said(payload) else "not a customer's"

    def _signal(self, kind: str, payload: Record, ticket_id: str, request: Request) -> Signal:
        contact = payload.get("contact")
        contact = contact if isinstance(contact, dict) else None
        at, route = request.received_at, Route.WEBHOOK
        if kind == "created":
            return self._desk.made("created", payload, contact, at, route)
        writer = parseaddr(str(payload.get("fromEmailAddress") or ""))[1]
        ticket = {"id": ticket_id, "departmentId": payload.get("departmentId"), "email": writer}
        made = {"thread": "replied", "comment": "commented"}[kind]
        return self._desk.made(made, ticket, contact, at, route, said=payload)
