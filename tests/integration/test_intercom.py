"""Chats in Intercom that wait for an answer, and the answers: the kit, what was recorded of its API, and what a look decides."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.capabilities import Level
from syncd.connector import Batch, Context, Hint, NotYet, Request
from syncd.connectors.chat.answered import look_for_answers
from syncd.connectors.chat.intercom import CONNECTOR, IntercomSettings
from syncd.connectors.chat.waiting import person_of
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited, Transient
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal, answered_by
from syncd.testing import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.twins.fake_events import FakeEvents, unix
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, recorded, replay, single
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

URL = "https://syncd.example.com/webhooks/chats"
SECRET = "client-secret-0815"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
WAITS = int(NOW.timestamp()) - 1200
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
HOLDS: dict[str, Any] = {
    ">": lambda held, given: held is not None and held > given,
    "=": lambda held, given: held == given,
}


def search(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """POST /conversations/search: filters joined by AND, a sort, and pages that continue after a token."""
    asked = call.json()
    rows = [vendor.shown("conversations", row) for row in vendor.records("conversations")]
    for one in asked["query"]["value"]:
        rows = [row for row in rows if HOLDS[one["operator"]](row.get(one["field"]), one["value"])]
    rows.sort(key=lambda row: (row["updated_at"], row["id"]), reverse=asked["sort"]["order"] == "descending")
    start, size = int(asked["pagination"].get("starting_after") or 0), min(3, asked["pagination"]["per_page"])
    following = {"next": {"page": 2, "starting_after": str(start + size)}} if start + size < len(rows) else {}
    pages = {"type": "pages", "page": 1, "per_page": size, "total_pages": 9, **following}
    listed = rows[start : start + size]
    return TwinResponse(
        200, {"type": "conversation.list", "pages": pages, "total_count": len(rows), "conversations": listed}
    )


class FakeIntercom(FakeVendor):
    """Conversations and contacts of one workspace, by the OpenAPI description and what was recorded."""

    name = "intercom"
    token: ClassVar[str] = "dG9rOnRva2Vu"
    absent = (404, "not_found")
    throttled = (429, "rate_limit_exceeded")
    events = FakeEvents(
        object="conversations",
        at="waiting_since",
        time=unix,
        key="2154742070{}".format,
        fields={
            "type": "conversation",
            "open": True,
            "state": "open",
            "source.type": "conversation",
            "source.author.type": "lead",
        },
        people={"email": "source.author.email", "handle": {"contacts": {"contacts": [{"id": "69fc{n}"}]}}},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("POST /conversations/search", search, operation="search"),
        FakeRoute("GET /conversations/{id}", single("conversations")),
        FakeRoute("GET /contacts/{id}", single("contacts")),
        FakeRoute(
            "GET /me", recorded({"type": "admin", "app": {"type": "app", "id_code": "h64a47v4", "name": "Acme"}})
        ),
    )

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        since = record.get("waiting_since")
        return {"updated_at": since, "created_at": since, **record} if object_ == "conversations" else dict(record)

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        said = {"code": "unauthorized" if status == 401 else code, "message": message}
        return TwinResponse(status, {"type": "error.list", "request_id": "b1", "errors": [said]})


def source(
    url: str = "http://127.0.0.1:9", clock: Any = None, switches: frozenset[str] = frozenset(), **keys: Any
) -> Any:
    given = {"workspace": "h64a47v4", "token": FakeIntercom.token, "client_secret": SECRET, "base_url": url, **keys}
    more = {"clock": clock} if clock is not None else {}
    return CONNECTOR.build(
        IntercomSettings.model_validate(given),
        Context(name="chats", tokens=MemoryTokens(), region="VN", switches=switches, **more),
    )


def signed(body: bytes, secret: str = SECRET) -> Request:
    signature = "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    return Request("POST", URL, {"x-hub-signature": signature, "content-type": "application/json"}, body, NOW)


def notification(item: Any, topic: str = "conversation.user.created", **more: Any) -> dict[str, Any]:
    data = {"type": "notification_event_data", "item": item}
    return {"type": "notification_event", "app_id": "h64a47v4", "id": "notif_1", "topic": topic, "data": data, **more}


class IntercomVendor(TwinVendor):
    auth_headers = ("x-hub-signature",)

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(notification(self.event(number))).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body)

    @property
    def secrets(self) -> Sequence[str]:
        return (FakeIntercom.token, SECRET)


@pytest.fixture
def fake() -> Iterator[FakeIntercom]:
    with FakeIntercom() as twin:
        yield twin


@pytest.fixture
def vendor(fake: FakeIntercom) -> IntercomVendor:
    return IntercomVendor(fake)


class TestIntercom(WebhookConformance, HintConformance, PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self, fake: FakeIntercom) -> Any:
        return lambda recall: source(fake.url)


# ---- what a look decides


def conversation(**more: Any) -> dict[str, Any]:
    wrote = {"type": "conversation", "body": "Do you ship to Huế?", "author": {"type": "lead", "id": "1", "email": ""}}
    contacts = {"type": "contact.list", "contacts": [{"type": "contact", "id": "69fc1"}]}
    times = {"created_at": WAITS, "updated_at": WAITS, "waiting_since": WAITS}
    return {"type": "conversation", "id": "21547", "source": wrote, "contacts": contacts, "open": True, **times, **more}


def part(at: int, author: str, body: str | None, kind: str = "comment") -> dict[str, Any]:
    told = {"type": "conversation_part", "id": f"4494{at}", "part_type": kind, "created_at": at, "body": body}
    return {**told, "author": {"type": author, "id": "7"}}


def parts(*listed: Any) -> dict[str, Any]:
    return {"type": "conversation_part.list", "conversation_parts": list(listed), "total_count": len(listed)}


def look(fake: FakeIntercom, key: str = "21547", data: dict[str, Any] | None = None, **keys: Any) -> Any:
    return source(fake.url, **keys).fetch(Hint(key=key, data=data or {}), NOW)


def only(batch: Batch) -> Signal:
    (signal,) = batch.signals
    return signal


def test_a_chat_that_waits_is_missed(fake: FakeIntercom) -> None:
    fake.add("contacts", id="69fc1", name="Lan Trần", email="Lan@example.com", phone="0912 345 678", external_id="u-17")
    fake.add("conversations", **conversation())
    signal = only(look(fake))
    assert (signal.type, signal.title) == ("chat.missed", "Missed chat from Lan Trần")
    assert signal.occurred_at == NOW - timedelta(minutes=20)
    assert signal.text == "Do you ship to Huế?"
    assert signal.url == "https://app.intercom.com/a/inbox/h64a47v4/inbox/conversation/21547"
    assert set(signal.person.identities) == {
        "email:lan@example.com",
        "phone:+84912345678",
        "handle:intercom:69fc1",
        "handle:intercom_user:u-17",
    }
    assert signal.data == {"conversation_id": "21547", "came_by": "conversation"}


def test_an_unknown_visitor_is_known_by_the_id_of_the_contact(fake: FakeIntercom) -> None:
    fake.add("conversations", **conversation())  # and its contact is gone
    signal = only(look(fake))
    assert signal.title == "Missed chat"
    assert signal.person.identities == ("handle:intercom:69fc1",)


def test_the_text_is_what_was_written_since_our_last_answer(fake: FakeIntercom) -> None:
    said = parts(
        part(WAITS - 50, "admin", "Yes, we do."),
        part(WAITS, "user", "And to Vinh?"),
        part(WAITS + 30, "bot", "We reply soon"),
        part(WAITS + 40, "admin", "look at this", "note"),
        part(WAITS + 60, "user", "Hello?"),
        part(WAITS + 61, "user", None, "assignment"),
        "not a part",
    )
    fake.add("conversations", **conversation(created_at=WAITS - 100, conversation_parts=said))
    assert only(look(fake)).text == "And to Vinh?\n\nHello?"


@pytest.mark.parametrize("state", ["open", "closed", "snoozed"])
def test_whoever_was_answered_is_not_missed(fake: FakeIntercom, state: str) -> None:
    fake.add("conversations", **conversation(waiting_since=None, state=state))
    assert look(fake) == Batch(dropped={"answered": 1})


def test_nobody_is_missed_too_early(fake: FakeIntercom) -> None:
    fake.add("conversations", **conversation())
    assert look(fake, after="30m") == NotYet(NOW + timedelta(minutes=10))
    assert only(look(fake, after="20m")).occurred_at == NOW - timedelta(minutes=20)


def test_each_wait_of_a_conversation_is_a_signal_of_its_own(fake: FakeIntercom) -> None:
    fake.add("conversations", **conversation())
    first, again = look(fake), look(fake)
    fake.modify("conversations", "21547", waiting_since=WAITS + 300)
    assert only(first).id == only(again).id != only(look(fake)).id


def test_mail_is_not_chat_unless_it_is_wanted(fake: FakeIntercom) -> None:
    mail = conversation(
        source={"type": "email", "body": "Hello", "author": {"type": "user", "email": "an@example.com"}}
    )
    fake.add("conversations", **mail)
    assert look(fake) == Batch(dropped={"email": 1})
    assert only(look(fake, emails=True)).person.email == "an@example.com"
    assert polled(fake).dropped == {"email": 1}


def test_a_look_at_the_past_leaves_out_what_waits_only_now(fake: FakeIntercom) -> None:
    fake.add("conversations", **conversation())
    held = {"route": "backfill", "since": (NOW - timedelta(minutes=20)).isoformat()}
    assert only(look(fake, "past:21547", held)).route == "backfill"
    assert look(fake, "past:21547", {**held, "since": NOW.isoformat()}) == Batch(dropped={"answered": 1})


def test_a_time_that_cannot_be_read_is_tried_again(fake: FakeIntercom) -> None:
    fake.add("conversations", **conversation(waiting_since="some day"))
    with pytest.raises(Transient, match="waiting_since: 'some day' is not a time"):
        look(fake)


def polled(fake: FakeIntercom, since: datetime = NOW - timedelta(hours=1)) -> Batch:
    built = source(fake.url, clock=lambda: NOW)
    batch: Batch
    (batch,) = built.poll(built.start(since), NOW)
    return batch


def test_a_poll_looks_when_the_wait_is_too_long(fake: FakeIntercom) -> None:
    fake.add("conversations", **conversation(id="1", updated_at=WAITS + 500))
    fake.add("conversations", **conversation(id="2", waiting_since=None))
    fake.add("conversations", **conversation(id="3", updated_at=WAITS - 7200))
    batch = polled(fake)
    assert [(hint.key, hint.not_before) for hint in batch.hints] == [("1", NOW - timedelta(minutes=10))]
    assert not batch.signals


def test_a_backfill_asks_for_open_conversations_alone(fake: FakeIntercom) -> None:
    fake.add("conversations", **conversation(id="1"))
    fake.add("conversations", **conversation(id="2", open=False))
    fake.add("conversations", **conversation(id="3", waiting_since=WAITS - 90_000))
    (batch,) = source(fake.url).backfill(NOW - timedelta(hours=1), NOW, None)
    assert [hint.key for hint in batch.hints] == ["past:1"]


# ---- answers

ON = frozenset({"chat.answered"})
TURNS = parts(
    part(WAITS + 10, "bot", "We reply soon"),
    part(WAITS + 20, "admin", "whose is this?", "note"),
    part(WAITS + 30, "admin", None, "assignment"),
    part(WAITS + 60, "admin", "Yes, we do."),
    part(WAITS + 70, "admin", "By post."),
    part(WAITS + 90, "user", "And to Vinh?"),
    part(WAITS + 95, "admin", None, "close"),
    part(WAITS + 120, "admin", "To Vinh too.", "close"),
)


def answer_looks(fake: FakeIntercom, since: int = WAITS - 100, **keys: Any) -> Batch:
    hint = look_for_answers("21547", Route.WEBHOOK, datetime.fromtimestamp(since, UTC))
    batch: Batch = source(fake.url, switches=ON, **keys).fetch(hint, NOW)
    return batch


def test_the_first_message_of_ours_in_each_turn_is_the_answer(fake: FakeIntercom) -> None:
    fake.add("contacts", id="69fc1", name="Lan Trần", email="lan@example.com")
    fake.add("conversations", **conversation())
    missed = only(look(fake))
    fake.modify("conversations", "21547", waiting_since=None, conversation_parts=TURNS)
    first, second = answer_looks(fake).signals
    assert (first.type, first.title, first.direction) == ("chat.answered", "Answered chat of Lan Trần", "out")
    assert [one.text for one in (first, second)] == ["Yes, we do.", "To Vinh too."]
    assert (first.thread, first.person, first.url) == (missed.thread, missed.person, missed.url)
    assert answered_by(missed, [second, first]) == first
    assert [one.id for one in answer_looks(fake, WAITS + 100).signals] == [second.id]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"conversation_parts": parts(part(WAITS + 10, "bot", "We reply soon"))}, "not an answer"),
        ({"source": {"type": "conversation", "author": {"type": "admin"}}}, "not an answer"),
        ({"source": {"type": "email", "author": {"type": "user"}}}, "email"),
        ({"conversation_parts": {**TURNS, "conversation_parts": [part(WAITS, "admin", "Yes")]}}, "not an answer"),
        ({"conversation_parts": None}, "not an answer"),
    ],
)
def test_what_answers_nobody(fake: FakeIntercom, more: dict[str, Any], why: str) -> None:
    own = {"conversation_parts": parts(part(WAITS + 60, "admin", "Hello, here we are."))}
    fake.add("conversations", **conversation(**{**own, **more}))
    assert answer_looks(fake) == Batch(dropped={why: 1})


def test_a_reply_of_ours_is_looked_at_at_once_where_answers_are_on() -> None:
    body = signed(json.dumps(notification({"id": "21547"}, "conversation.admin.replied")).encode())
    (hint,) = source(switches=ON).parse(body).hints
    assert (hint.key, hint.not_before) == ("answered:21547", None)
    assert source().parse(body).dropped == {"topic conversation.admin.replied": 1}


def test_every_route_makes_the_same_answer(fake: FakeIntercom) -> None:
    replied = {"last_admin_reply_at": WAITS + 120}
    fake.add(
        "conversations", **conversation(waiting_since=None, open=False, conversation_parts=TURNS, statistics=replied)
    )
    fake.add("conversations", **conversation(id="2", waiting_since=None, statistics={"last_admin_reply_at": None}))
    fake.add("conversations", **conversation(id="3", waiting_since=WAITS, open=False))  # closed: nobody waits
    built = source(fake.url, clock=lambda: NOW, switches=ON)
    found = [
        [one for batch in batches for hint in batch.hints for one in built.fetch(hint, NOW).signals]
        for batches in (
            built.poll(built.start(NOW - timedelta(minutes=30)), NOW),
            built.backfill(NOW - timedelta(hours=1), NOW, None),
        )
    ]
    by_webhook = answer_looks(fake).signals
    by_poll, by_backfill = ([one for one in made if one.type == "chat.answered"] for made in found)
    assert {one.id for one in by_webhook} == {one.id for one in by_poll} == {one.id for one in by_backfill}
    assert {one.route for one in by_backfill} == {Route.BACKFILL}
    (until,) = built.backfill(NOW - timedelta(hours=1), datetime.fromtimestamp(WAITS + 100, UTC), None)
    (hint,) = until.hints
    assert [one.text for one in built.fetch(hint, NOW).signals] == ["Yes, we do."]


# ---- webhooks


@pytest.mark.parametrize(
    "topic", ["ping", "conversation.admin.replied", "conversation.rating.added", "contact.created", "new"]
)
def test_other_topics_are_counted_by_name(topic: str) -> None:
    body = json.dumps(notification({"type": "ping"}, topic)).encode()
    batch = source().parse(signed(body))
    assert (batch.dropped, list(batch.hints)) == ({f"topic {topic}": 1}, [])


def test_a_message_of_a_visitor_is_looked_at_later() -> None:
    body = json.dumps(notification({"type": "conversation", "id": 21547}, "conversation.user.replied")).encode()
    (hint,) = source().parse(signed(body)).hints
    assert (hint.key, hint.not_before) == ("21547", NOW + timedelta(minutes=10))


def test_another_workspace_is_left_out() -> None:
    body = json.dumps(notification(conversation(), app_id="other")).encode()
    assert source().parse(signed(body)).dropped == {"another workspace": 1}


@pytest.mark.parametrize("item", [None, {}, {"id": ""}, {"id": "../me"}, {"id": True}, "21547"])
def test_a_notification_without_an_id_is_kept(item: Any) -> None:
    with pytest.raises(Malformed, match="a conversation without an id"):
        source().parse(signed(json.dumps(notification(item)).encode()))


def test_what_is_not_a_notification_is_kept() -> None:
    with pytest.raises(Malformed, match="not a notification of Intercom"):
        source().parse(signed(b'{"hello": 1}'))


def test_intercom_tries_an_address_by_head() -> None:
    reply = source().handshake(Request("HEAD", URL, {}, b"", NOW))
    assert reply is not None
    assert reply.status == 200
    assert source().handshake(signed(b"{}")) is None


def test_both_secrets_hold_while_they_are_changed() -> None:
    verify = source(client_secret=["new-0815", SECRET]).verifier()
    verify(signed(b"{}"), NOW)
    verify(signed(b"{}", "new-0815"), NOW)
    with pytest.raises(NotAuthentic):
        verify(signed(b"{}", "another"), NOW)


# ---- refusals


@pytest.mark.parametrize(
    ("status", "code", "failure", "text"),
    [
        (401, "token_not_found", Misconfigured, "access token is refused"),
        (403, "api_plan_restricted", Misconfigured, "may not read"),
        (400, "intercom_version_invalid", Misconfigured, "version 2.11"),
        (503, "service_unavailable", Transient, "not available"),
    ],
)
def test_errors_say_what_to_do(
    fake: FakeIntercom, monkeypatch: pytest.MonkeyPatch, status: int, code: str, failure: Any, text: str
) -> None:
    said = {"type": "error.list", "errors": [{"code": code, "message": "No"}]}
    monkeypatch.setattr(FakeIntercom, "routes", (FakeRoute("GET /conversations/{id}", recorded(said, status)),))
    with pytest.raises(failure, match=text):
        look(fake)


def test_a_limit_ends_when_intercom_says(fake: FakeIntercom, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"type": "error.list", "errors": [{"code": "rate_limit_exceeded", "message": "Exceeded rate limit"}]}
    reset = {"X-RateLimit-Reset": str(int(NOW.timestamp()) + 7)}
    monkeypatch.setattr(FakeIntercom, "routes", (FakeRoute("GET /conversations/{id}", recorded(said, 429, reset)),))
    with pytest.raises(RateLimited) as limited:
        look(fake, clock=lambda: NOW)
    assert limited.value.retry_after == 7


def test_check_names_the_workspace_of_the_token(fake: FakeIntercom) -> None:
    assert [one.level for one in source(fake.url).check_online()] == [Level.OK, Level.OK]
    (fault,) = source(fake.url, workspace="another1").check_online()
    assert (fault.level, fault.message) == (Level.FAULT, "the token is for h64a47v4, not another1")


# ---- as recorded


def exchange(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "intercom.json").read_text("utf-8"))[name]
    (one,) = found["exchanges"]
    return dict(one)


@with_recordings
def test_the_recorded_conversations(fake: FakeIntercom, monkeypatch: pytest.MonkeyPatch) -> None:
    found, one = exchange("search-conversations"), exchange("get-conversation")
    monkeypatch.setattr(FakeIntercom, "routes", (*replay([found, one]), *FakeIntercom.routes))
    monkeypatch.setattr(FakeIntercom, "token", "")
    row = found["response"]["conversations"][0]
    at = datetime.fromtimestamp(row["waiting_since"], UTC)
    built = source(fake.url, clock=lambda: at)
    (batch,) = built.poll(built.start(at - timedelta(hours=1)), at)
    (hint,) = batch.hints
    assert (hint.key, hint.not_before) == (row["id"], at + timedelta(minutes=10))
    assert built.fetch(hint, at + timedelta(minutes=10)) == Batch(dropped={"answered": 1})  # it was snoozed meanwhile

    monkeypatch.setattr(FakeIntercom, "routes", (*replay([{**one, "response": row}]), *FakeIntercom.routes))
    signal = only(built.fetch(hint, at + timedelta(minutes=10)))
    assert (signal.title, signal.occurred_at, signal.text) == ("Missed chat", at, "")
    assert signal.person.identities == ("handle:intercom:69fc21865a28f6d15c73b074",)


@with_recordings
def test_the_recorded_contact() -> None:
    contact = exchange("get-contact")["response"]
    person = person_of({"contacts": {"contacts": [{"id": contact["id"]}]}}, contact, "VN")
    assert person.name == "Test User Dryrun"
    assert person.identities == ("email:test-dryrun-123@example.com", "handle:intercom:69fc285f487a5a1a1cd2d158")
