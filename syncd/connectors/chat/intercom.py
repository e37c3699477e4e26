"""`type: intercom`: chats in Intercom whose visitors wait for an answer longer than they should, and the answers.

Intercom has no event for that: `waiting_since` of a conversation is a time while its customer waits, and null once an answer was
given. A webhook or a poll only tells which conversation to look at, and when; a look finds out. Facts: developers.intercom.com,
"Webhook notifications" (HEAD and `ping` try a new address; an answer 410 ends the subscription), and the recorded 2.11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Hint,
    NotYet,
    Reply,
    Request,
    SignalSpec,
    Verifier,
)
from syncd.connectors.chat import answered
from syncd.connectors.chat.intercom_api import ERRORS, IntercomApi
from syncd.connectors.chat.missed import TYPE, title_of
from syncd.connectors.chat.waiting import (
    Record,
    came_by,
    contact_id,
    last_reply,
    lines,
    person_of,
    unanswered,
    waiting_since,
)
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.online import clock_findings
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.times import time_or_none
from syncd.durations import Duration
from syncd.errors import Malformed
from syncd.items import each_item, each_row, json_body
from syncd.signals import Person, Route, Signal, derive_id
from syncd.signatures.verifier import verifier
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, newest_first, oldest_first, progress, read_cursor

TOPICS = frozenset({"conversation.user.created", "conversation.user.replied"})
REPLIED = "conversation.admin.replied"
LAG = timedelta(minutes=10)  # the search's index is some minutes late
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REGIONS = {"us": "", "eu": "eu.", "au": "au."}
_MAIL = "email"


class IntercomSettings(ConnectorSettings):
    """Keys of an Intercom source."""

    workspace: str = Field(
        pattern=r"^[A-Za-z0-9]{4,20}$",
        description="workspace id: in the address of the inbox, app.intercom.com/a/inbox/ID",
    )
    token: SecretStr = Field(description="access token of your app in Intercom's Developer Hub")
    client_secret: Secrets = Field(
        description="the app's client secret, with which Intercom signs; a list while it is being changed, the new one first"
    )
    region: Literal["us", "eu", "au"] = Field("us", description="where the workspace is hosted")
    after: Duration = Field(
        timedelta(minutes=10),
        ge=timedelta(0),
        description="a chat is missed when its visitor has waited so long for an answer",
    )
    emails: bool = Field(False, description="also take conversations that came by email")
    base_url: BaseUrl | None = Field(None, description="Intercom's API; default: the region's")


class Intercom:
    """WebhookSource, HintSource, PollingSource and Backfillable."""

    def __init__(self, settings: IntercomSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._answers = answered.TYPE in context.switches
        self._host = _REGIONS[settings.region]
        base_url = settings.base_url or f"https://api.{self._host}intercom.io"
        self._api = IntercomApi(base_url, settings.token.get_secret_value(), settings.workspace, context)

    # ---- webhooks

    def handshake(self, request: Request) -> Reply | None:
        return Reply() if request.method == "HEAD" else None

    def verifier(self) -> Verifier:
        return verifier(STYLES["intercom"], secret_texts(self._settings.client_secret))

    def parse(self, request: Request) -> Batch:
        body = json_body(request)

        def make(event: Any, where: str) -> Batch | str:
            topic = event.get("topic") if isinstance(event, dict) else None
            if not isinstance(topic, str) or not topic:
                raise Malformed(f"{where}: not a notification of Intercom")
            if topic not in TOPICS and not (topic == REPLIED and self._answers):
                return f"topic {topic[:60]}"
            if event.get("app_id") not in (None, self._settings.workspace):
                return "another workspace"
            data = event.get("data")
            id_, now = _id_of(data.get("item") if isinstance(data, dict) else None, where), request.received_at
            if topic == REPLIED:
                return Batch(hints=[answered.look_for_answers(id_, Route.WEBHOOK, now - answered.LOOK_BACK)])
            return Batch(hints=[_hint(id_, Route.WEBHOOK, now + self._settings.after)])

        return each_item(request, body if isinstance(body, list) and body else [body], make)

    # ---- a look at one conversation

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        id_, route = hint.key.rpartition(":")[2], Route(hint.data.get("route", Route.WEBHOOK))
        found = self._api.conversation(id_)
        if found is None:
            return Batch(dropped={"a conversation that is gone": 1})
        if self._is_mail(found):
            return Batch(dropped={_MAIL: 1})
        if answered.looks_for_answers(hint):
            return self._answered(id_, found, hint, now, route)
        try:
            since = waiting_since(found, f"conversation {id_}")
        except Malformed as error:
            raise ERRORS.shape(str(error)) from None
        if since is None:
            return Batch(dropped={"answered": 1})
        if now < since + self._settings.after:
            return NotYet(since + self._settings.after)
        if route is Route.BACKFILL and time_or_none(hint.data.get("since")) != since:
            return Batch(dropped={"answered": 1})  # what it waits for now is not of the past
        person, native = self._person(found), f"{id_}:{int(since.timestamp())}"
        made = self._signal(id_, found, person, now, route)
        return Batch([made(TYPE, native, since, unanswered(found, since), title_of(person))])

    def _answered(self, id_: str, found: Record, hint: Hint, now: datetime, route: Route) -> Batch:
        """Each of our answers that the hint asks for."""
        told = [one for one in answered.answers(lines(found)) if answered.is_within(one.at, hint)]
        if not told:
            return Batch(dropped={"not an answer": 1})
        person = self._person(found)
        made, title = self._signal(id_, found, person, now, route), answered.title_of(person)
        return Batch([made(answered.TYPE, f"{id_}:{one.id}", one.at, one.text, title) for one in told])

    def _person(self, found: Record) -> Person:
        contact = contact_id(found)
        known = self._api.contact(contact) if _ID.fullmatch(contact) else None
        return person_of(found, known, self._context.region)

    def _signal(
        self, id_: str, found: Record, person: Person, now: datetime, route: Route
    ) -> Callable[[str, str, datetime, str, Any], Signal]:
        """Makes the signals of a conversation: of a type, the vendor's name of the event, its time, text and title."""
        workspace = self._settings.workspace
        url = f"https://app.{self._host}intercom.com/a/inbox/{workspace}/inbox/conversation/{id_}"

        def made(type_: str, native: str, at: datetime, text: str, title: Any) -> Signal:
            return Signal(
                id=derive_id("intercom", workspace, type_, native),
                type=type_,
                source=self._context.name,
                route=route,
                occurred_at=at,
                received_at=now,
                text=text,
                url=url,
                reply=url,
                person=person,
                data={"conversation_id": id_} | ({"came_by": came_by(found)} if came_by(found) else {}),
                thread=f"intercom:{workspace}:{id_}",
                **title,
            )

        return made

    def _is_mail(self, conversation: Record) -> bool:
        return not self._settings.emails and came_by(conversation) == _MAIL

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(now))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_cursor(state)
        pages = self._api.updated(cursor.since, newest_first=True)
        for rows, after, _ in progress(newest_first(pages, cursor, _mark, lag=LAG), cursor):
            yield self._looks(rows, Route.POLL, encode(after), (cursor.since - answered.LOOK_BACK, None))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Our answers, and those that still wait: when an answer was late, Intercom does not say any more how long it took."""
        cursor = read_cursor(state) if state is not None else TimeCursor(since)
        pages = self._api.updated(cursor.since, open_only=not self._answers)
        for rows, after, _ in progress(oldest_first(pages, cursor, _mark, lag=timedelta(0)), cursor):
            yield self._looks(rows, Route.BACKFILL, encode(after), (since, until))

    def _looks(self, rows: list[Record], route: Route, state: bytes, within: tuple[datetime, datetime | None]) -> Batch:
        """When to look at each of the conversations in which somebody waits, or was answered within that time."""
        now, (begin, end) = self._context.clock(), within

        def make(row: Record, where: str) -> Batch | str:
            since, replied = waiting_since(row, where), last_reply(row) if self._answers else None
            if end is not None and since is not None and (row.get("open") is False or not begin <= since < end):
                since = None
            if replied is not None and replied < begin:
                replied = None
            if since is None and replied is None:
                return Batch()
            if self._is_mail(row):
                return _MAIL
            id_ = _id_of(row, where)
            hints = [_hint(id_, route, since + self._settings.after, since)] if since is not None else []
            hints += [answered.look_for_answers(id_, route, begin, end)] if replied is not None else []
            return Batch(hints=hints)

        def kept(row: Record) -> Request:
            event = {"topic": "conversation.user.replied", "data": {"item": row}}
            return Request("POST", "", {"content-type": "application/json"}, json.dumps(event).encode(), now)

        return each_row(rows, make, kept, state=state, name="conversation")

    def check_online(self) -> Iterator[Finding]:
        """The token and its workspace, the clock, and that conversations may be searched: two calls."""
        app, theirs = self._api.me()
        id_, wanted = str(app.get("id_code") or ""), self._settings.workspace
        if id_ and id_ != wanted:
            yield Finding(
                Level.FAULT, "workspace", f"the token is for {id_}, not {wanted}", "correct workspace: or token:"
            )
            return
        yield Finding(Level.OK, "workspace", str(app.get("name") or wanted))
        yield from clock_findings(self._context.clock(), theirs, "Intercom")
        next(self._api.updated(theirs, newest_first=True))
        yield Finding(Level.OK, "conversations", "conversations may be searched")


def _hint(id_: str, route: Route, not_before: datetime, since: datetime | None = None) -> Hint:
    """A look that a backfill wants has a key of its own: it must not make one of now a look of the past."""
    data = {"route": str(route)} | ({"since": since.isoformat()} if since else {})
    return Hint(key=f"past:{id_}" if route is Route.BACKFILL else id_, data=data, not_before=not_before)


def _id_of(conversation: Any, where: str) -> str:
    """Raises Malformed."""
    id_ = conversation.get("id") if isinstance(conversation, dict) else None
    if isinstance(id_, bool) or not isinstance(id_, str | int) or not _ID.fullmatch(str(id_)):
        raise Malformed(f"{where}: a conversation without an id")
    return str(id_)


def _mark(row: Record) -> ItemMark | None:
    return mark_of(row.get("id"), time_or_none(row.get("updated_at")))


CONNECTOR = Connector(
    name="intercom",
    contract=2,
    role="source",
    summary="chats in Intercom that wait too long for an answer",
    settings=IntercomSettings,
    build=Intercom,
    signals=(
        SignalSpec(TYPE, "webhook, poll and backfill: the conversation, and since when it waits", backfill=True),
        SignalSpec(answered.TYPE, "webhook, poll and backfill: the conversation and our first message", backfill=True),
    ),
)
