"""`type: crisp`: chats in Crisp whose visitors got no answer in time, and the answers.

Crisp has no event for that. A webhook (a visitor wrote) or a poll only tells which conversation to look at, and when; a look
reads its messages and finds out. One stretch of messages without an answer is one signal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Hint,
    NotYet,
    Prompt,
    Reply,
    Request,
    SignalSpec,
    Verifier,
)
from syncd.connectors.chat import answered
from syncd.connectors.chat.crisp_api import CrispApi
from syncd.connectors.chat.crisp_conversations import NOT_SAID, RESOLVED, Stretch, is_ours, lines, person_of, unanswered
from syncd.connectors.chat.missed import TYPE, title_of
from syncd.connectors.generic.making import reply_to
from syncd.connectors.keys import BaseUrl, PathSecret, Secrets, secret_texts
from syncd.connectors.online import clock_findings
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.social.fields import Fields, fields_of, id_of, text_of, time_of
from syncd.connectors.times import time_or_none
from syncd.durations import Duration
from syncd.errors import Malformed, NotAuthentic
from syncd.items import each_item, each_row, json_body
from syncd.signals import Person, Route, Signal, derive_id
from syncd.signatures.shared_secret import path
from syncd.signatures.verifier import verifier
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, newest_first, progress, read_cursor

STYLE = replace(STYLES["crisp"], tolerance=timedelta(minutes=55))
"""Whether a retry keeps the signed time is not documented."""
LAG = timedelta(minutes=10)  # so late may a conversation show in the list (not documented)
WROTE, REPLIED = "message:send", "message:received"
"""The events of a message of a visitor, and of an operator or a bot."""
_SESSION = re.compile(r"session_[A-Za-z0-9-]{8,64}")
_NO_SECRET = "neither secret nor path_secret is set, so no webhook can be authentic"  # noqa: S105


class CrispSettings(ConnectorSettings):
    """Keys of a Crisp source."""

    website: str = Field(
        pattern=r"^[0-9a-fA-F-]{36}$", description="website id: in the address of the inbox, app.crisp.chat/website/ID"
    )
    identifier: str = Field(min_length=8, description="identifier of the token")
    key: SecretStr = Field(description="key of the token")
    tier: Literal["plugin", "website"] = Field("plugin", description="kind of the token")
    secret: Annotated[Secrets | None, Prompt()] = Field(
        None, description="signing secret of the plugin's webhook; a list while it is being changed, the new one first"
    )
    path_secret: PathSecret | None = Field(
        None,
        description="for a webhook of the website itself, which Crisp does not sign: a text of 16 characters or more, the last "
        "part of the webhook's address",
    )
    after: Duration = Field(
        timedelta(minutes=10),
        ge=timedelta(0),
        description="a chat is missed when its visitor has waited so long for an answer",
    )
    bot_answers: bool = Field(False, description="what a bot or a campaign says is an answer too")
    base_url: BaseUrl = Field("https://api.crisp.chat", description="Crisp's API")


class Crisp:
    """WebhookSource, HintSource, PollingSource and Backfillable."""

    def __init__(self, settings: CrispSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._answers = answered.TYPE in context.switches
        self._website = settings.website.lower()
        login = (settings.identifier, settings.key.get_secret_value())
        self._api = CrispApi(settings.base_url, self._website, login, settings.tier, context)

    # ---- webhooks

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        if self._settings.path_secret is not None:
            return path([self._settings.path_secret.get_secret_value()])
        known = secret_texts(self._settings.secret)
        return verifier(STYLE, known) if known else _refuse

    def parse(self, request: Request) -> Batch:
        body = json_body(request)

        def make(event: Any, where: str) -> Batch | str:
            event = fields_of(event, where)
            name = text_of(event.get("event"))
            if not name:
                raise Malformed(f"{where}: not an event of Crisp")
            if name != WROTE and not (name == REPLIED and self._answers):
                return f"event {name[:60]}"
            if id_of(event.get("website_id")).lower() not in ("", self._website):
                return "another website"
            message = fields_of(event.get("data"), f"{where}, data")
            if name == REPLIED:
                return self._reply(message, where, request.received_at)
            if message.get("from") == "operator" or message.get("type") in NOT_SAID:
                return "not a visitor's"
            at = time_of(message.get("timestamp"), f"{where}, data.timestamp") or request.received_at
            return Batch(hints=[_hint(_session_of(message, where), Route.WEBHOOK, at + self._settings.after)])

        return each_item(request, body if isinstance(body, list) and body else [body], make)

    def _reply(self, message: Fields, where: str, now: datetime) -> Batch | str:
        if not is_ours({"from": "operator", **message}, self._settings.bot_answers):
            return "not an answer"
        session = _session_of(message, where)
        return Batch(hints=[answered.look_for_answers(session, Route.WEBHOOK, now - answered.LOOK_BACK)])

    # ---- a look at one conversation

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        session, route = hint.key.rpartition(":")[2], Route(hint.data.get("route", Route.WEBHOOK))
        found = self._api.conversation(session)
        if found is None:
            return Batch(dropped={"a conversation that is gone": 1})
        if answered.looks_for_answers(hint):
            return self._answered(session, found, hint, now, route)
        waits = self._waits(session)
        if waits is None or (waits.answered and found.get("state") == RESOLVED):
            return Batch(dropped={"answered": 1})
        if now < waits.at + self._settings.after and found.get("state") != RESOLVED:
            return NotYet(waits.at + self._settings.after)
        since, until = (time_or_none(hint.data.get(name)) for name in ("since", "until"))
        if since is not None and until is not None and not since <= waits.at < until:
            return Batch(dropped={"answered": 1})  # what waits now is not of the past
        return Batch([self._missed(session, found, waits, now, route)])

    def _waits(self, session: str) -> Stretch | None:
        """What waits for an answer, read as far back as our last one."""
        messages: list[dict[str, Any]] = []
        for rows in self._api.messages(session):
            messages += rows
            if any(is_ours(row, self._settings.bot_answers) for row in rows):
                break
        return unanswered(messages, self._settings.bot_answers)

    def _answered(self, session: str, found: Fields, hint: Hint, now: datetime, route: Route) -> Batch:
        """Each of our answers that the hint asks for; the messages are read back to the last one before that time."""
        said: list[answered.ChatLine] = []
        for rows in self._api.messages(session):
            said += lines(rows, self._settings.bot_answers)
            if any(answered.is_before(one.at, hint) for one in said):
                break
        told = [one for one in answered.answers(said) if answered.is_within(one.at, hint)]
        if not told:
            return Batch(dropped={"not an answer": 1})
        person = person_of(found, session, self._context.region)
        made, title = self._signal(session, found, person, now, route), answered.title_of(person)
        return Batch([made(answered.TYPE, one.id, one.at, one.text, title) for one in told])

    def _missed(self, session: str, found: Fields, waits: Stretch, now: datetime, route: Route) -> Signal:
        person = person_of(found, session, self._context.region)
        made = self._signal(session, found, person, now, route)
        return made(TYPE, waits.first, waits.at, waits.text, title_of(person))

    def _signal(
        self, session: str, found: Fields, person: Person, now: datetime, route: Route
    ) -> Callable[[str, str, datetime, str, Any], Signal]:
        """Makes the signals of a conversation: of a type, the number of its message, its time, text and title."""
        url = f"https://app.crisp.chat/website/{self._website}/inbox/{session}/"
        online = found.get("availability") == "online"

        def made(type_: str, number: str, at: datetime, text: str, title: Any) -> Signal:
            return Signal(
                id=derive_id("crisp", self._website, type_, f"{session}:{number}"),
                type=type_,
                source=self._context.name,
                route=route,
                occurred_at=at,
                received_at=now,
                text=text,
                url=url,
                reply=url if online else reply_to(person) or url,
                person=person,
                data={"session_id": session} | ({"online": True} if online else {}),
                thread=f"crisp:{self._website}:{session}",
                **title,
            )

        return made

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(now))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_cursor(state)
        pages = self._api.updated(cursor.since)
        for rows, after, _ in progress(newest_first(pages, cursor, _mark, lag=LAG), cursor):
            yield self._looks(rows, Route.POLL, encode(after), (cursor.since - answered.LOOK_BACK, None))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Our answers, and those that still wait: of the others Crisp does not say any more how long it took."""
        cursor = read_cursor(state) if state is not None else TimeCursor(since)
        pages = (
            [row for row in page if (own := _mark(row)) is None or own.ms >= cursor.since.timestamp() * 1000]
            for page in self._api.updated(cursor.since, waiting=not self._answers)
        )
        for rows, after, _ in progress(newest_first(pages, cursor, _mark, lag=timedelta(0)), cursor):
            yield self._looks(rows, Route.BACKFILL, encode(after), (since, until))

    def _looks(self, rows: list[Fields], route: Route, state: bytes, within: tuple[datetime, datetime | None]) -> Batch:
        """When to look at each of the conversations in which a visitor waits, or may have been answered: Crisp's list does not
        say when an operator wrote."""
        begin, end = within
        past = (begin, end) if end is not None else None

        def make(row: Any, where: str) -> Batch | str:
            since = time_of(row.get("waiting_since"), f"{where}, waiting_since")
            if since is not None and past is not None and not past[0] <= since < past[1]:
                since = None
            if since is None and not self._answers:
                return Batch()
            session = _session_of(row, where)
            hints = [_hint(session, route, since + self._settings.after, past)] if since is not None else []
            hints += [answered.look_for_answers(session, route, begin, end)] if self._answers else []
            return Batch(hints=hints)

        return each_row(rows, make, self._kept, state=state, name="conversation")

    def _kept(self, row: Fields) -> Request:
        """As a webhook has a message of it, so that `parse` reads it."""
        message = {"session_id": row.get("session_id"), "timestamp": row.get("waiting_since")}
        event = {"event": WROTE, "website_id": self._website, "data": message, "conversation": row}
        headers = {"content-type": "application/json"}
        return Request("POST", "", headers, json.dumps(event).encode(), self._context.clock())

    def check_online(self) -> Iterator[Finding]:
        """The token and its website, the clock, that conversations may be listed, and the webhook's secret: two calls."""
        site, theirs = self._api.website()
        yield Finding(Level.OK, "website", text_of(site.get("name")) or text_of(site.get("domain")) or self._website)
        yield from clock_findings(self._context.clock(), theirs, "Crisp")
        next(self._api.updated(theirs), None)
        yield Finding(Level.OK, "conversations", "conversations may be listed")
        if not self._settings.secret and self._settings.path_secret is None:
            text = "no webhook is accepted; the poll alone finds the chats"
            yield Finding(Level.WARNING, "webhook", text, "set secret, or path_secret for a webhook of the website")


def _refuse(request: Request, now: datetime) -> None:
    raise NotAuthentic(_NO_SECRET)


def _hint(session: str, route: Route, not_before: datetime, within: tuple[datetime, datetime] | None = None) -> Hint:
    """A look that a backfill wants has a key of its own: it must not make one of now a look of the past."""
    data = {"route": str(route)}
    if within is not None:
        data |= {"since": within[0].isoformat(), "until": within[1].isoformat()}
    return Hint(key=f"past:{session}" if within is not None else session, data=data, not_before=not_before)


def _session_of(message: Mapping[str, Any], where: str) -> str:
    """Raises Malformed."""
    session = id_of(message.get("session_id"))
    if not _SESSION.fullmatch(session):
        raise Malformed(f"{where}: session_id {session[:40]!r} is not an id of a conversation")
    return session


def _mark(row: Mapping[str, Any]) -> ItemMark | None:
    return mark_of(row.get("session_id"), time_or_none(row.get("updated_at")))


CONNECTOR = Connector(
    name="crisp",
    unit="calls",
    contract=2,
    role="source",
    summary="chats in Crisp that got no answer in time",
    settings=CrispSettings,
    build=Crisp,
    signals=(
        SignalSpec(
            TYPE, "webhook, poll and backfill: the conversation and its first unanswered message", backfill=True
        ),
        SignalSpec(answered.TYPE, "webhook, poll and backfill: the conversation and our first message", backfill=True),
    ),
)
