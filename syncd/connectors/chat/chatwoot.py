"""`type: chatwoot`: what customers and agents write in a Chatwoot account, in all networks that it brings together.

Webhooks carry the whole message, and Chatwoot does not repeat one that was not answered: the poll reads the messages of the
conversations that were active lately. Ids: the account (with its host, where it is not Chatwoot's own) and the message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, SecretStr, model_validator

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Prompt,
    Reply,
    Request,
    SignalSpec,
    Verifier,
    webhooks_alone,
)
from syncd.connectors.chat.chatwoot_api import SECRET, ChatwootApi, ChatwootWebhooks
from syncd.connectors.chat.chatwoot_messages import NO_IDS, SENT, TYPE, Account, Inboxes, network_of, read_message
from syncd.connectors.keys import BaseUrl, PathSecret, Secrets, secret_texts
from syncd.connectors.online import clock_findings, existence_findings, tried
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.social.fields import id_of, inner
from syncd.connectors.times import time_or_none
from syncd.errors import Failure, Malformed, NotAuthentic
from syncd.items import each_item, each_row, json_body
from syncd.signals import Route
from syncd.signatures.shared_secret import path
from syncd.signatures.verifier import verifier
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, newest_first, progress, read_cursor

CLOUD = "https://app.chatwoot.com"
STYLE = replace(STYLES["chatwoot"], tolerance=timedelta(minutes=5))
LAG = timedelta(minutes=2)  # a message is listed when it is stored; clocks of several servers differ
_WHY = "token: is not set, so only webhooks are read; with it Chatwoot's API is read too"
_NO_SECRET = "no signing secret is known yet: run `syncd webhooks register`, or set secret or path_secret"  # noqa: S105
_NUMBER = r"^\d{1,18}$"

Row = dict[str, Any]


class ChatwootSettings(ConnectorSettings):
    """Keys of a Chatwoot source."""

    account: str = Field(pattern=_NUMBER, description="number of the account: in its address, after accounts/")
    token: Annotated[SecretStr | None, Prompt()] = Field(
        None,
        description="access token of an administrator (Profile settings), for poll, backfill and `syncd webhooks`; "
        "without it: webhooks alone",
    )
    base_url: Annotated[BaseUrl, Prompt()] = Field(CLOUD, description="address of your Chatwoot")
    secret: Secrets | None = Field(
        None,
        description="signing secret of a webhook that was made by hand; `syncd webhooks register` learns that of its own",
    )
    path_secret: PathSecret | None = Field(
        None,
        description="for a Chatwoot before 4.13, which signs nothing: a text of 16 characters or more, the last part of the "
        "webhook's address",
    )
    inboxes: list[Annotated[str, Field(pattern=_NUMBER)]] = Field(
        [], description="only messages to these inbox ids; empty: to all"
    )
    networks: dict[Annotated[str, Field(pattern=_NUMBER)], Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]] = (
        Field({}, description="inbox id -> network behind it, such as zalo, for inboxes of Chatwoot's API")
    )
    emails: bool = Field(False, description="also take emails to Chatwoot's email inboxes")

    @model_validator(mode="after")
    def _verifies_something(self) -> ChatwootSettings:
        if self.token is None and self.secret is None and self.path_secret is None:
            raise ValueError(
                "set token, secret or path_secret: without one, nothing can be read and no webhook is authentic"
            )
        return self


class ChatwootWebhooksOnly:
    """A WebhookSource."""

    def __init__(self, settings: ChatwootSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        host = "" if settings.base_url == CLOUD else f"{urlsplit(settings.base_url).netloc}/"
        self._account = Account(settings.account, f"{host}{settings.account}", settings.base_url)
        self._inboxes = Inboxes(frozenset(settings.inboxes), settings.networks, settings.emails)

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        if self._settings.path_secret is not None:
            return path([self._settings.path_secret.get_secret_value()])
        learned = self._context.recall([SECRET]).get(SECRET) or ""
        known = [*secret_texts(self._settings.secret), *learned.split()]
        return verifier(STYLE, known) if known else _refuse

    def parse(self, request: Request) -> Batch:
        body = json_body(request)
        return each_item(
            request, body if isinstance(body, list) and body else [body], self._reader(request, Route.WEBHOOK)
        )

    def _reader(self, request: Request, route: Route) -> Any:
        def make(event: Any, where: str) -> Batch | str:
            name = event.get("event") if isinstance(event, Mapping) else None
            if not isinstance(name, str) or not name:
                raise Malformed(f"{where}: not an event of Chatwoot")
            if name != "message_created":
                return f"event {name[:60]}"
            if id_of(inner(event, "account").get("id")) not in ("", self._account.id):
                return "another account"
            return self._made(event, where, request.received_at, route)

        return make

    def _made(self, message: Any, where: str, now: datetime, route: Route) -> Batch | str:
        read = read_message(message, self._account, self._inboxes, self._context, now, route, where)
        return read if isinstance(read, str) else Batch([read])


class BackfillPlace(msgspec.Struct, frozen=True):
    """How far a backfill has come in the list of conversations, by their last activity in Unix seconds: those up to `top` and
    above `down_to` were read, and of those at `down_to` the ones in `edge`. What is above `top` was active again meanwhile."""

    top: int
    down_to: int
    edge: tuple[str, ...] = ()

    def was_read(self, id: str, at: int) -> bool:
        return self.down_to < at <= self.top or (at == self.down_to and id in self.edge)

    def after(self, id: str, at: int) -> BackfillPlace:
        edge = (*self.edge, id) if at == self.down_to else (id,)
        return BackfillPlace(self.top, at, edge) if at <= self.down_to else self


class Chatwoot(ChatwootWebhooksOnly, Registered):
    """A WebhookSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: ChatwootSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert settings.token is not None
        token = settings.token.get_secret_value()
        self._api = ChatwootApi(settings.base_url, settings.account, self._account.name, token, context)
        secret = settings.path_secret.get_secret_value() if settings.path_secret is not None else ""
        self._webhooks = ChatwootWebhooks(
            self._api, f"{context.webhook_url}/{secret}" if secret else context.webhook_url
        )
        self._names: dict[str, str] = {}

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(now.replace(microsecond=0)))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_cursor(state)

        def make(row: Row, where: str) -> Batch | str:
            return self._made(row, where, self._context.clock(), Route.POLL)

        pages = (rows for talk in self._talks(cursor.since) for rows in self._written(talk, cursor.since))
        for rows, after, _ in progress(newest_first(pages, cursor, _mark, lag=LAG), cursor):
            yield each_row(rows, make, self._kept, state=encode(after), name="message")

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        place = msgspec.json.decode(state, type=BackfillPlace) if state is not None else None

        def make(row: Row, where: str) -> Batch | str:
            at = time_or_none(row.get("created_at"))
            return (
                Batch()
                if at is not None and at >= until
                else self._made(row, where, self._context.clock(), Route.BACKFILL)
            )

        def batch(talks: Iterable[Row], after: BackfillPlace) -> Batch:
            rows = [row for talk in talks for page in self._written(talk, since) for row in page]
            return each_row(rows, make, self._kept, state=msgspec.json.encode(after), name="message")

        again: dict[int, list[Row]] = {}
        for talk in self._talks(since):
            id_, at = id_of(talk.get("id")), _activity(talk) or 0
            place = place or BackfillPlace(at, at)
            if at > place.top:
                again.setdefault(at, []).append(talk)
                continue
            if again:
                place = msgspec.structs.replace(place, top=max(again))
                yield batch(chain(*again.values()), place)
                again.clear()
            if not place.was_read(id_, at):
                place = place.after(id_, at)
                yield batch([talk], place)
        if again and place is not None:
            yield batch(chain(*again.values()), msgspec.structs.replace(place, top=max(again)))

    def _talks(self, since: datetime) -> Iterator[Row]:
        """The conversations that were active since. One that moves up while the pages are read may be missed, so that the
        top of the list is read again until nothing has moved."""
        least, known = int(since.timestamp()), dict[str, int | None]()
        while True:
            before = dict(known)
            for talk in self._down_to(least):
                id_, at = id_of(talk.get("id")), _activity(talk)
                if id_ in before and before[id_] == at:
                    break
                if id_ not in known or known[id_] != at:
                    known[id_] = at
                    yield talk
            if known == before:
                return

    def _down_to(self, least: int) -> Iterator[Row]:
        for page in self._api.conversations():
            for talk in page:
                at = _activity(talk)
                if at is not None and at < least:
                    return
                yield talk

    def _written(self, talk: Row, since: datetime) -> Iterator[list[Row]]:
        """What was written in a conversation since, as webhooks have it."""
        about = None
        for page in self._api.messages(id_of(talk.get("id"))):
            times = [time_or_none(row.get("created_at")) for row in page]
            rows = [row for row, at in zip(page, times, strict=True) if at is None or at >= since]
            about = about or (self._about(talk) if rows else None)
            yield [{"event": "message_created", **row, **(about or {})} for row in rows]
            if any(at is not None and at < since for at in times):
                return

    def _about(self, talk: Row) -> Row:
        """The conversation and inbox of a message. The contact's id in the network is another call, once for each contact."""
        meta, inbox = inner(talk, "meta"), id_of(talk.get("inbox_id"))
        channel, contact = meta.get("channel"), id_of(inner(meta, "sender").get("id"))
        about = {"id": talk.get("id"), "inbox_id": inbox, "channel": channel, "meta": {"sender": meta.get("sender")}}
        asked = network_of(about, self._inboxes)[0] not in NO_IDS or channel == "Channel::TwilioSms"
        source = self._api.source_id(contact, inbox) if asked and contact else ""
        if inbox not in self._names:
            self._names = self._api.inboxes()
        named = {"id": inbox, "name": self._names.setdefault(inbox, "")}
        return {
            "conversation": {**about, "contact_inbox": {"source_id": source}},
            "inbox": named,
            "account": {"id": self._account.id},
        }

    def _kept(self, row: Row) -> Request:
        """As the webhook has it, so that `parse` reads it."""
        headers = {"content-type": "application/json"}
        return Request("POST", "", headers, json.dumps(row).encode(), self._context.clock())

    def check_online(self) -> Iterator[Finding]:
        """The token, the inboxes, the clock and the webhook: three calls."""
        named = self._api.inboxes()
        yield Finding(Level.OK, "sign-in", f"account {self._account.id}: {len(named)} inboxes")
        wanted = dict.fromkeys([*self._settings.inboxes, *self._settings.networks])
        remedy = "there are: " + ", ".join(f"{one} {name}" for one, name in list(named.items())[:10])
        yield from existence_findings("inbox", wanted, named.get, "this user sees no such inbox", remedy)
        theirs = self._api.vendor_now(self._api.call("GET", "/conversations", {"status": "open", "page": "1"}))
        yield from clock_findings(self._context.clock(), theirs, "Chatwoot")
        if self._context.webhook_url:
            there = tried(self.subscriptions)
            if isinstance(there, Failure):
                text = f"whether Chatwoot calls this syncd is not known: {there}"
                yield Finding(Level.WARNING, "webhook", text, "use the token of an administrator")
            elif not any(one.ours for one in there):
                text = "Chatwoot does not call this syncd"
                yield Finding(Level.WARNING, "webhook", text, f"syncd webhooks register {self._context.name}")


def _refuse(request: Request, now: datetime) -> None:
    raise NotAuthentic(_NO_SECRET)


def _activity(talk: Mapping[str, Any]) -> int | None:
    """When the conversation was active last, in Unix seconds."""
    at = time_or_none(talk.get("last_activity_at"))
    return int(at.timestamp()) if at is not None else None


def _mark(row: Mapping[str, Any]) -> ItemMark | None:
    return mark_of(row.get("id"), time_or_none(row.get("created_at")))


def _build(settings: ChatwootSettings, context: Context) -> Chatwoot | ChatwootWebhooksOnly:
    return Chatwoot(settings, context) if settings.token is not None else ChatwootWebhooksOnly(settings, context)


CONNECTOR = Connector(
    name="chatwoot",
    unit="calls",
    contract=2,
    role="source",
    summary="messages of customers in Chatwoot, from all its networks",
    settings=ChatwootSettings,
    build=_build,
    signals=(
        SignalSpec(TYPE, "webhook, poll and backfill: the message's id", backfill=True),
        SignalSpec(SENT, "webhook, poll and backfill: the message's id", backfill=True),
    ),
    unable=lambda settings: webhooks_alone(_WHY) if settings.token is None else {},
)
