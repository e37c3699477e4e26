"""`type: mailgun`: opens, clicks and bounces of emails that a Mailgun domain sent, by webhook, poll and backfill.

The signature covers a time and a token, not the event: a token that comes again with another body is refused. Events may show in
the list half an hour late, and pages are filled up later, so each poll reads the latest three quarters of an hour again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import Batch, Connector, Context, Prompt, Reply, Request, Verifier, webhooks_alone
from syncd.connectors.email_insights.events import BOUNCED, CLICKED, OPENED, InsightSettings, specs, taken
from syncd.connectors.email_insights.mailgun_api import WANTED, MailgunApi
from syncd.connectors.email_insights.mailgun_events import event_id, occurred_at, read_event
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.errors import Malformed
from syncd.items import each_item, each_row, json_body
from syncd.signals import Route
from syncd.signatures.verifier import verifier
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, oldest_first, progress, read_cursor

LAG = timedelta(minutes=45)
_WHY = "api_key: is not set, so only webhooks are read; with it Mailgun's API is read too"


class MailgunSettings(InsightSettings):
    """Keys of a Mailgun source."""

    domain: str = Field(pattern=r"^[A-Za-z0-9.-]{3,253}$", description="the domain that sends, as Mailgun lists it")
    signing_key: Secrets = Field(
        description="HTTP webhook signing key; a list while it is being changed, the new one first"
    )
    api_key: Annotated[SecretStr | None, Prompt()] = Field(
        None, description="API key, for poll, backfill and `syncd webhooks`; without it: webhooks alone"
    )
    base_url: BaseUrl = Field(
        "https://api.mailgun.net", description="Mailgun's API; domains in the EU: https://api.eu.mailgun.net"
    )


class MailgunWebhooksOnly:
    """A WebhookSource."""

    def __init__(self, settings: MailgunSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._domain = settings.domain.lower()

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return verifier(STYLES["mailgun"], secret_texts(self._settings.signing_key))

    def parse(self, request: Request) -> Batch:
        body = json_body(request)

        def make(sent: Any, where: str) -> Batch | str:
            event = sent.get("event-data") if isinstance(sent, Mapping) else None
            if event is None:
                raise Malformed(f"{where}: event-data is missing")
            return self._made(event, where, request.received_at, Route.WEBHOOK)

        return each_item(request, [body], make)

    def _made(self, event: Any, where: str, now: datetime, route: Route) -> Batch | str:
        read = read_event(event, self._domain, where)
        return read if isinstance(read, str) else taken(read, self._settings, self._context, now, route)


class Mailgun(MailgunWebhooksOnly, Registered):
    """A WebhookSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: MailgunSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert settings.api_key is not None
        self._api = MailgunApi(settings.base_url, settings.api_key.get_secret_value(), self._domain, context)
        self._webhooks = self._api

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(now))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._read(read_cursor(state), Route.POLL, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursor = read_cursor(state) if state is not None else TimeCursor(since)
        return self._read(cursor, Route.BACKFILL, timedelta(0), until)

    def _read(self, cursor: TimeCursor, route: Route, lag: timedelta, until: datetime | None) -> Iterator[Batch]:
        def make(event: dict[str, Any], where: str) -> Batch | str:
            at = occurred_at(event)
            if until is not None and at is not None and at >= until:
                return Batch()
            return self._made(event, where, self._context.clock(), route)

        pages = self._api.events(cursor.since, until)
        for rows, after, _ in progress(oldest_first(pages, cursor, _mark, lag=lag), cursor):
            yield each_row(rows, make, self._kept, state=encode(after))

    def _kept(self, event: dict[str, Any]) -> Request:
        """As the webhook has it, so that `parse` reads it."""
        body = json.dumps({"event-data": event}).encode()
        return Request("POST", "", {"content-type": "application/json"}, body, self._context.clock())

    def check_online(self) -> Iterator[Finding]:
        """The API key, the domain and the webhooks: one call."""
        ours = {one.id for one in self._api.subscriptions() if one.ours}
        yield Finding(Level.OK, "sign-in", f"domain {self._domain}")
        if self._context.webhook_url and (missing := [type_ for type_ in WANTED if type_ not in ours]):
            text = f"Mailgun does not call this syncd for {', '.join(missing)}"
            yield Finding(Level.WARNING, "webhooks", text, f"syncd webhooks register {self._context.name}")


def _mark(event: Mapping[str, Any]) -> ItemMark | None:
    at = occurred_at(event)
    return mark_of(event_id(event, at), at) if at is not None else None


def _build(settings: MailgunSettings, context: Context) -> Mailgun | MailgunWebhooksOnly:
    return Mailgun(settings, context) if settings.api_key is not None else MailgunWebhooksOnly(settings, context)


CONNECTOR = Connector(
    name="mailgun",
    contract=2,
    role="source",
    summary="opens, clicks and bounces of emails sent by Mailgun",
    settings=MailgunSettings,
    build=_build,
    signals=specs("webhook, poll and backfill", backfill=(OPENED, CLICKED, BOUNCED)),
    unable=lambda settings: webhooks_alone(_WHY) if settings.api_key is None else {},
)
