"""`type: postmark`: opens, clicks and bounces of emails that a Postmark server sent, by webhook, poll and backfill.

Postmark signs nothing: its webhooks carry a user name and password. An answer 403 would end its retries for good, so whoever is
refused gets 401.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Batch,
    Connector,
    Context,
    Prompt,
    Reply,
    Request,
    Verifier,
    webhooks_alone,
)
from syncd.connectors.email_insights.events import BOUNCED, CLICKED, OPENED, InsightSettings, specs, taken
from syncd.connectors.email_insights.postmark_api import LISTS, PostmarkApi
from syncd.connectors.email_insights.postmark_events import occurred_at, read_record
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.registration import Registered
from syncd.items import each_item, each_row, json_body, kept_row
from syncd.signals import Route, frame
from syncd.signatures.shared_secret import basic
from syncd.time_cursor import ItemMark, TimeCursors, encode, mark_of, newest_first, progress, read_cursors

LAG = timedelta(hours=1)
"""So late may a record show in a list (how late is not documented)."""
_WHY = "token: is not set, so only webhooks are read; with it Postmark's API is read too"


class PostmarkSettings(InsightSettings):
    """Keys of a Postmark source."""

    password: Secrets = Field(
        description="a text of your choice that Postmark's webhooks send; a list while it is being changed, the new one first"
    )
    username: str = Field("syncd", pattern=r"^[^:]{1,100}$", description="the user name beside it")
    token: Annotated[SecretStr | None, Prompt()] = Field(
        None, description="API token of the server, for poll, backfill and `syncd webhooks`; without it: webhooks alone"
    )
    streams: list[str] = Field(["outbound"], min_length=1, description="message streams whose webhooks are registered")
    base_url: BaseUrl = Field("https://api.postmarkapp.com", description="Postmark's API")

    @property
    def logins(self) -> list[tuple[str, str]]:
        return [(self.username, password) for password in secret_texts(self.password)]


class PostmarkWebhooksOnly:
    """A WebhookSource."""

    def __init__(self, settings: PostmarkSettings, context: Context) -> None:
        self._settings, self._context = settings, context

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return basic(self._settings.logins)

    def parse(self, request: Request) -> Batch:
        body = json_body(request)

        def make(record: Any, where: str) -> Batch | str:
            record_type = str(record.get("RecordType") or "") if isinstance(record, Mapping) else ""
            return self._made(record, record_type, where, request.received_at, Route.WEBHOOK)

        return each_item(request, body if isinstance(body, list) and body else [body], make)

    def _made(self, record: Any, record_type: str, where: str, now: datetime, route: Route) -> Batch | str:
        read = read_record(record, record_type, where)
        return read if isinstance(read, str) else taken(read, self._settings, self._context, now, route)


class Postmark(PostmarkWebhooksOnly, Registered):
    """A WebhookSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: PostmarkSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert settings.token is not None
        token = settings.token.get_secret_value()
        self._api = PostmarkApi(settings.base_url, token, settings.streams, settings.logins[0], context)
        self._webhooks = self._api

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursors(now))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._read(read_cursors(state), Route.POLL, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursors = read_cursors(state) if state is not None else TimeCursors(since)
        return self._read(cursors, Route.BACKFILL, timedelta(0), until)

    def _read(self, cursors: TimeCursors, route: Route, lag: timedelta, until: datetime | None) -> Iterator[Batch]:
        for name, (path, _, record_type) in LISTS.items():
            cursor = cursors.of(name)

            def mark(row: Mapping[str, Any], record_type: str = record_type) -> ItemMark | None:
                return _mark(row, record_type)

            def make(row: dict[str, Any], where: str, record_type: str = record_type) -> Batch | str:
                at = occurred_at(row, record_type)
                if until is not None and at is not None and at >= until:
                    return Batch()
                return self._made(row, record_type, where, self._context.clock(), route)

            def keep(row: dict[str, Any], path: str = path, record_type: str = record_type) -> Request:
                return kept_row(path, {"RecordType": record_type, **row}, self._context.clock())

            for rows, after, _ in progress(newest_first(self._api.pages(name), cursor, mark, lag=lag), cursor):
                cursors = cursors.moved(name, after)
                yield each_row(rows, make, keep, state=encode(cursors))

    def check_online(self) -> Iterator[Finding]:
        """The token, whether opens and clicks are tracked, and the webhooks: two calls."""
        server = self._api.server()
        yield Finding(Level.OK, "sign-in", f"server {server.get('Name') or ''}".strip())
        if server.get("TrackOpens") is False:
            text = "the server does not track opens unless an email asks for it"
            yield Finding(Level.WARNING, "open tracking", text, "switch it on under Settings > Tracking")
        if server.get("TrackLinks") == "None":
            text = "the server does not track links unless an email asks for it"
            yield Finding(Level.WARNING, "link tracking", text, "switch it on under Settings > Tracking")
        if self._context.webhook_url:
            missing = set(self._settings.streams) - {
                one.state.removeprefix("stream ") for one in self._api.subscriptions() if one.ours
            }
            for stream in sorted(missing):
                text = "Postmark does not call this syncd for it"
                yield Finding(Level.WARNING, f"webhook {stream}", text, f"syncd webhooks register {self._context.name}")


def _mark(row: Mapping[str, Any], record_type: str) -> ItemMark | None:
    names = ("ID", "MessageID", "Recipient", "OriginalLink")
    return mark_of(frame(*(str(row.get(name) or "") for name in names)), occurred_at(row, record_type))


def _build(settings: PostmarkSettings, context: Context) -> Postmark | PostmarkWebhooksOnly:
    return Postmark(settings, context) if settings.token is not None else PostmarkWebhooksOnly(settings, context)


CONNECTOR = Connector(
    name="postmark",
    contract=2,
    role="source",
    summary="opens, clicks and bounces of emails sent by Postmark",
    settings=PostmarkSettings,
    build=_build,
    signals=specs("webhook, poll and backfill", backfill=(OPENED, CLICKED, BOUNCED)),
    unable=lambda settings: webhooks_alone(_WHY) if settings.token is None else {},
)
