"""`type: zendesk`: tickets created, answered, commented, overdue, escalated and rated in Zendesk.

A webhook's event names no person, so it is a hint and the ticket is read by the API; the incremental export makes it complete.
Zendesk retries only some answers, and stops calling an address that fails often: the export fills the gaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level, Subscribed
from syncd.connector import Batch, Connector, ConnectorSettings, Context, Reply, Request, SignalSpec, Verifier
from syncd.connectors.desk.ticket_list import ListedTickets, ticket_hint
from syncd.connectors.desk.tickets import TicketSignals
from syncd.connectors.desk.zendesk_api import EVENTS, PREFIX, UNIT, ZendeskApi, zendesk_webhooks
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.online import clock_findings
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.errors import Malformed, NotAuthentic
from syncd.items import each_item, json_body
from syncd.signals import Route
from syncd.signatures.verifier import verifier

STYLE = replace(STYLES["zendesk"], tolerance=timedelta(minutes=30))
"""Whether a retry is signed again is not documented; retries come within minutes."""
SECRET = "signing_secret"  # noqa: S105  the name under which it is kept
_ID = re.compile(r"\d{1,20}")
_NO_SECRET = "no signing secret is known yet: run `syncd webhooks register`, or set secret"  # noqa: S105


class EscalatedWhen(ConnectorSettings):
    """When a ticket is escalated: Zendesk has no such state."""

    priorities: list[str] = Field(["urgent"], description="its priority is one of these")
    tags: list[str] = Field([], description="or it has one of these tags")


class ZendeskSettings(ConnectorSettings):
    """Keys of a Zendesk source."""

    subdomain: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="the name before .zendesk.com in the address")
    email: str = Field(min_length=3, description="email address of an administrator")
    token: SecretStr = Field(description="API token (Admin Center, Apps and integrations, APIs)")
    secret: Secrets | None = Field(
        None,
        description="signing secret of a webhook that was made by hand; `syncd webhooks register` learns that of its own",
    )
    escalated_when: EscalatedWhen = Field(EscalatedWhen(), description="when a ticket is escalated")
    ratings: bool = Field(False, description="read satisfaction ratings too; the plan needs them (CSAT, not surveys)")
    base_url: BaseUrl | None = Field(None, description="Zendesk's address; default: https://SUBDOMAIN.zendesk.com")


class Zendesk(ListedTickets, Registered):
    """WebhookSource, HintSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: ZendeskSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        name, when = settings.subdomain, settings.escalated_when
        url, login = (
            settings.base_url or f"https://{name}.zendesk.com",
            (settings.email, settings.token.get_secret_value()),
        )
        priorities = [one.casefold() for one in when.priorities]
        self._api = ZendeskApi(url, login, name, context, priorities, when.tags)
        self._webhooks = zendesk_webhooks(self._api, context.name, context.webhook_url)
        ratings = self._api.ratings if settings.ratings else None
        ListedTickets.__init__(self, self._api, TicketSignals("zendesk", name, context), context, ratings=ratings)

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        learned = self._context.recall([SECRET]).get(SECRET) or ""
        known = [*secret_texts(self._settings.secret), *learned.split()]
        return verifier(STYLE, known) if known else _refuse

    def parse(self, request: Request) -> Batch:
        body = json_body(request)
        return each_item(request, body if isinstance(body, list) and body else [body], _read_event)

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """With the signing secret of each webhook that points here."""
        there = self._webhooks.subscribe(force=force).there
        secrets = [self._api.signing_secret(one.id) for one in there]
        return Subscribed(there=there, remember={SECRET: " ".join(secrets)})

    def check_online(self) -> Iterator[Finding]:
        """The token, whether the user may export, the clock and the webhook: four calls at most."""
        now = self._context.clock()
        start = {"start_time": str(int((now - timedelta(minutes=5)).timestamp())), "per_page": "1"}
        answer = self._api.call("GET", "/incremental/tickets/cursor", start)
        yield Finding(Level.OK, "tickets", f"tickets of {self._settings.subdomain}.zendesk.com may be exported")
        yield from clock_findings(now, self._api.vendor_now(answer), "Zendesk")
        if self._settings.ratings:
            next(self._api.ratings(now - timedelta(days=1)), [])
            yield Finding(Level.OK, "ratings", "satisfaction ratings may be read")
        if self._context.webhook_url and not any(one.ours and one.active for one in self.subscriptions()):
            text = "Zendesk does not call this syncd"
            yield Finding(Level.WARNING, "webhook", text, f"syncd webhooks register {self._context.name}")


def _read_event(event: Any, where: str) -> Batch | str:
    """A hint of one event; or why it is dropped."""
    kind = event.get("type") if isinstance(event, Mapping) else None
    if not isinstance(kind, str) or not kind:
        raise Malformed(f"{where}: not an event of Zendesk")
    name = kind.removeprefix(PREFIX)
    if name.removeprefix("ticket.") not in EVENTS or not name.startswith("ticket."):
        return f"event {name[:60]}"
    detail = value if isinstance(value := event.get("detail"), Mapping) else {}
    ticket = str(detail.get("id") or "")
    if not _ID.fullmatch(ticket):
        raise Malformed(f"{where}, detail.id: {ticket[:40]!r} is not an id")
    if name == "ticket.created":
        return Batch(hints=[ticket_hint(f"created:{ticket}", Route.WEBHOOK)])
    if name != "ticket.comment_added":
        return Batch(hints=[ticket_hint(f"state:{ticket}", Route.WEBHOOK)])
    said = value if isinstance(value := event.get("event"), Mapping) else {}
    comment = value if isinstance(value := said.get("comment"), Mapping) else {}
    author = value if isinstance(value := comment.get("author"), Mapping) else {}
    id_ = str(comment.get("id") or "")
    if not _ID.fullmatch(id_):
        raise Malformed(f"{where}, event.comment.id: {id_[:40]!r} is not an id")
    if comment.get("is_public") is False or author.get("is_staff") is True:
        return "not a customer's"
    talk = "thread" if str(author.get("id")) == str(detail.get("requester_id")) else "comment"
    return Batch(hints=[ticket_hint(f"{talk}:{ticket}:{id_}", Route.WEBHOOK)])


def _refuse(request: Request, now: datetime) -> None:
    raise NotAuthentic(_NO_SECRET)


CONNECTOR = Connector(
    name="zendesk",
    unit=UNIT,
    contract=2,
    role="source",
    summary="tickets of Zendesk: created, answered, commented, overdue, escalated, rated",
    settings=ZendeskSettings,
    build=Zendesk,
    signals=(
        SignalSpec("ticket.created", "webhook, poll and backfill: ticket id", backfill=True),
        SignalSpec("ticket.replied", "webhook, poll and backfill: comment id", backfill=True),
        SignalSpec("ticket.commented", "webhook, poll and backfill: comment id", backfill=True),
        SignalSpec("ticket.overdue", "webhook and poll: ticket id and due date", backfill=False),
        SignalSpec("ticket.escalated", "webhook and poll: ticket id and how often we saw it escalated", backfill=False),
        SignalSpec("ticket.rated", "poll and backfill: rating id", backfill=True),
    ),
)
