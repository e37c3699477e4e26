"""Zoho Desk's webhooks as a source receives them, and the source that has nothing else: `auth:` is not set.

Without the API a delivery is not a hint but all there is. Facts: https://desk.zoho.com/support/WebhookDocument.do, sections
Validation (GET, then POST, both 200), Security (X-ZDesk-JWT; it does not cover the body), Payload (a JSON array of events).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import parseaddr
from typing import Annotated, Any

from pydantic import Field

from syncd.connector import Batch, ConnectorSettings, Context, Prompt, Reply, Request, Verifier
from syncd.connectors.accounts.zoho import DATA_CENTRES, DataCentreName, ZohoAuth
from syncd.connectors.desk.ticket_list import SAID
from syncd.connectors.desk.tickets import Record, TicketSignals
from syncd.connectors.desk.zoho_api import EVENTS, ID
from syncd.connectors.desk.zoho_tickets import person, read_said, read_ticket, writer_of
from syncd.connectors.keys import BaseUrl
from syncd.errors import Malformed
from syncd.items import each_event
from syncd.signals import Route
from syncd.signatures.jwks import JwksKeys
from syncd.signatures.jwt import jwt

NEEDS_API = "needs the API"


class ZohoDeskSettings(ConnectorSettings):
    """Keys of a Zoho Desk source."""

    org_id: str = Field(pattern=r"^\d+$", description="organisation id (Setup, Developer Space, API)")
    data_center: Annotated[DataCentreName, Prompt()] = Field(
        "us", description="the account's data centre: us, eu, in, au, jp, ca, cn, sa, …"
    )
    base_url: BaseUrl | None = Field(None, description="Zoho Desk's API URL; default: the data centre's")
    accounts_url: BaseUrl | None = Field(None, description="Zoho's accounts server; default: the data centre's")
    auth: Annotated[ZohoAuth | None, Prompt()] = Field(
        None,
        description="OAuth client; scopes Desk.tickets.READ, Desk.search.READ, Desk.contacts.READ; without it, webhooks alone",
    )
    departments: list[str] = Field([], description="only tickets of these department ids; empty: of all")
    webhook_ids: list[str] = Field([], description="only webhooks with these ids; empty: any of this organisation")
    keep_credits: int = Field(
        100, ge=0, description="API credits a day that are left to others; `quota: {keep: N}` wins"
    )

    @property
    def desk(self) -> str:
        """The base URL of Desk's API."""
        return self.base_url or DATA_CENTRES[self.data_center].desk


class DeskReceiver:
    """Handshake and verification of Desk's calls: a WebhookSource but for `parse`, and a KeyFetchingSource."""

    def __init__(self, settings: ZohoDeskSettings, context: Context) -> None:
        self._org_id = settings.org_id
        self._audiences = [f"webhookId:{id_}" for id_ in settings.webhook_ids]
        self._jwks = JwksKeys(f"{settings.desk}/.well-known/jwks.json")
        self._departments, self._region = settings.departments, context.region
        self._signals = TicketSignals("zoho_desk", settings.org_id, context)

    def handshake(self, request: Request) -> Reply | None:
        """Desk tries a new address by GET and then by a POST without events: both must be answered 200."""
        probe = request.method == "POST" and request.body.strip() in (b"", b"[]", b"{}")
        return Reply() if probe or request.method in ("GET", "HEAD") else None

    def verifier(self) -> Verifier:
        return jwt(self._jwks.keys, header="x-zdesk-jwt", issuer=f"orgId:{self._org_id}", audiences=self._audiences)

    def fetch_keys(self, now: Any) -> Sequence[str]:
        return self._jwks.fetch(now)

    def events(self, request: Request, make: Callable[[str, Record, tuple[str, ...]], Batch | str]) -> Batch:
        """What `make(kind, payload, ids)` gives for each event that is read; `ids`: the ticket's, and for a thread or
        comment its own after it. Raises Malformed."""

        def one(event: Any, where: str) -> Batch | str:
            found = self._read(event, where)
            return found if isinstance(found, str) else make(*found)

        return each_event(request, one)

    def _read(self, event: Any, where: str) -> tuple[str, Record, tuple[str, ...]] | str:
        """One event, or why it is not read. Raises Malformed."""
        payload = event.get("payload") if isinstance(event, dict) else None
        if not isinstance(payload, dict):
            raise Malformed(f"{where}, payload: missing or not an object")
        kind, _ = EVENTS.get(str(event.get("eventType")), ("", {}))
        if not kind:
            return f"event {str(event.get('eventType'))[:40]}"
        if str(event.get("orgId") or self._org_id) != self._org_id:
            return "another organisation"
        if kind == "thread" and (payload.get("direction") != "in" or payload.get("isDescriptionThread") is True):
            return "not a customer's reply"
        names = ("ticketId", "id") if kind in SAID else ("id",)
        ids = tuple(str(payload.get(name) or "") for name in names)
        for name, id_ in zip(names, ids, strict=True):
            if not ID.fullmatch(id_):
                raise Malformed(f"{where}, payload.{name}: {id_[:40]!r} is not an id")
        return kind, payload, ids


class ZohoDeskWebhooksOnly(DeskReceiver):
    """A WebhookSource and KeyFetchingSource: signals from what a delivery carries. Ids are those of the other routes."""

    def parse(self, request: Request) -> Batch:
        def make(kind: str, payload: Record, ids: tuple[str, ...]) -> Batch | str:
            departments = self._departments if payload.get("departmentId") is not None else ()
            ticket = read_ticket(payload, departments)
            if ticket.unwanted:
                return ticket.unwanted
            if kind == "state":  # overdue and escalated are differences between two looks at the ticket
                return NEEDS_API
            said = read_said(SAID[kind], payload) if kind in SAID else None
            if kind in SAID and said is None:
                return "not a customer's"
            if said:  # the payload is that of a thread or comment
                writer = parseaddr(str(payload.get("fromEmailAddress") or ""))[1]
                about = {"id": ids[0], "departmentId": payload.get("departmentId"), "email": writer}
                ticket = read_ticket(about, ())
            contact = value if isinstance(value := payload.get("contact"), dict) else None
            who, at = person(writer_of(contact, said), ticket.record, self._region), request.received_at
            event = said.kind if said else "created"
            return Batch([self._signals.made(event, ticket, who, at, Route.WEBHOOK, said=said)])

        return self.events(request, make)
