"""Chats in Crisp that wait for an answer: the kit, what a look decides, and who may call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from syncd.capabilities import Level
from syncd.connector import Batch, Context, Hint, NotYet, Request
from syncd.connectors.chat.answered import look_for_answers
from syncd.connectors.chat.crisp import CONNECTOR, CrispSettings
from syncd.errors import Malformed, Misconfigured, NotAuthentic, QuotaExhausted, RateLimited
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal, answered_by
from syncd.testing import BackfillConformance, HintConformance, PollingConformance, TwinVendor, WebhookConformance
from syncd.twins.fake_events import FakeEvents, comparable, unix_ms
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, recorded
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

URL = "https://syncd.example.com/webhooks/chats"
SECRET, PATH_SECRET = "plugin-secret-0815", "a-path-of-16-or-more"
SITE = "8c842203-7ed8-4e29-a608-7cf78a7d2fcc"
SESSION = "session_19e5240f-0a8d-461e-a661-a3123fc6eec9"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
WROTE = int((NOW - timedelta(minutes=20)).timestamp() * 1000)
BASE = f"/v1/website/{SITE}"
SIZE = 3


def found(rows: Any) -> TwinResponse:
    return TwinResponse(200, {"error": False, "reason": "resolved", "data": rows})


def conversations(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """Numbered pages, the latest update first; `order_date_waiting` leaves out those who do not wait."""
    rows = [vendor.shown("conversations", row) for row in vendor.records("conversations")]
    if "order_date_waiting" in call.query:
        rows = [row for row in rows if row.get("waiting_since")]
    least = comparable(call.query["filter_date_start"])[1] * 1000
    rows = [row for row in rows if comparable(row["updated_at"])[1] >= least]
    rows.sort(key=lambda row: comparable(row["updated_at"]), reverse=True)
    start = (int(parts["page"]) - 1) * SIZE
    return found(rows[start : start + SIZE])


def conversation_(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    held = vendor.store.get("conversations", parts["id"])
    return found(vendor.shown("conversations", held)) if held is not None else vendor.missing()


def messages(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """What was said, the latest or the latest before a time; of an event of the kit the one message that it is about."""
    held = vendor.store.get("conversations", parts["id"])
    if held is None:
        return vendor.missing()
    asked = {
        "from": "user",
        "type": "text",
        "content": "Do you ship?",
        "timestamp": held["waiting_since"],
        "fingerprint": 7,
    }
    said = held.get("said", [asked] if held["waiting_since"] else [])
    below = float(call.query.get("timestamp_before", "inf"))
    return found([one for one in said if one["timestamp"] < below][-SIZE:])


class FakeCrisp(FakeVendor):
    """The conversations of one website, by Crisp's reference."""

    name = "crisp"
    token: ClassVar[str] = "crisp-key-0815"
    id_field = "session_id"
    absent = (404, "conversation_not_found")
    throttled = (429, "rate_limited")
    events = FakeEvents(
        object="conversations",
        id="session_id",
        at="waiting_since",
        time=unix_ms,
        key="session_0a8d-461e-{}".format,
        fields={"state": "pending", "availability": "offline"},
        people={"handle": {"meta": {"nickname": "visitor{n}"}}},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute(f"GET {BASE}", recorded({"error": False, "reason": "resolved", "data": {"name": "Acme"}})),
        FakeRoute(f"GET {BASE}/conversations/{{page}}", conversations),
        FakeRoute(f"GET {BASE}/conversation/{{id}}", conversation_),
        FakeRoute(f"GET {BASE}/conversation/{{id}}/messages", messages),
    )

    def admits(self, call: TwinCall) -> bool:
        login = base64.b64encode(f"an-identifier:{self.token}".encode()).decode()
        return call.bearer == login and call.headers.get("x-crisp-tier") == "plugin"

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        shown = {"updated_at": record["waiting_since"], **record}
        return {name: value for name, value in shown.items() if name != "said" and value is not None}

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"error": True, "reason": "invalid_session" if status == 401 else code, "data": {}})


def source(
    url: str = "http://127.0.0.1:9", clock: Any = None, switches: frozenset[str] = frozenset(), **keys: Any
) -> Any:
    given = {
        "website": SITE,
        "identifier": "an-identifier",
        "key": FakeCrisp.token,
        "secret": SECRET,
        "base_url": url,
        **keys,
    }
    more = {"clock": clock} if clock is not None else {}
    context = Context(name="chats", tokens=MemoryTokens(), region="VN", switches=switches, **more)
    return CONNECTOR.build(CrispSettings.model_validate(given), context)


def signed(body: bytes, secret: str = SECRET) -> Request:
    stamp = str(int(NOW.timestamp() * 1000))
    signature = hmac.new(secret.encode(), f"[{stamp};".encode() + body + b"]", hashlib.sha256).hexdigest()
    headers = {"x-crisp-request-timestamp": stamp, "x-crisp-signature": signature, "content-type": "application/json"}
    return Request("POST", URL, headers, body, NOW)


def event(data: Any, name: str = "message:send", **more: Any) -> dict[str, Any]:
    return {"website_id": SITE, "event": name, "data": data, "timestamp": WROTE, **more}


def sent(**more: Any) -> dict[str, Any]:
    """`data` of `message:send`, as the reference shows it."""
    told = {"website_id": SITE, "session_id": SESSION, "type": "text", "from": "user", "origin": "chat"}
    return {**told, "content": "Hello", "timestamp": WROTE, "fingerprint": 163408807661213, **more}


class CrispVendor(TwinVendor):
    auth_headers = ("x-crisp-signature", "x-crisp-request-timestamp")
    signs_time = True

    def request(self, number: int) -> Request:
        held = self.event(number)
        message = sent(session_id=held["session_id"], timestamp=held["waiting_since"])
        return self.sign(json.dumps(event(message)).encode())

    def sign(self, body: bytes) -> Request:
        request = signed(body)
        stamp = str(int(self.first_moment.timestamp() * 1000))
        signature = hmac.new(SECRET.encode(), f"[{stamp};".encode() + body + b"]", hashlib.sha256).hexdigest()
        headers = {**request.headers, "x-crisp-request-timestamp": stamp, "x-crisp-signature": signature}
        return replace(request, headers=headers, received_at=self.first_moment)

    @property
    def secrets(self) -> Sequence[str]:
        return (FakeCrisp.token, SECRET)


@pytest.fixture
def fake() -> Iterator[FakeCrisp]:
    with FakeCrisp() as twin:
        yield twin


class TestCrisp(WebhookConformance, HintConformance, PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeCrisp) -> CrispVendor:
        return CrispVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeCrisp) -> Any:
        return lambda recall: source(fake.url)


# ---- what a look decides


def said(minutes: float, who: str = "user", content: Any = "Hello", **more: Any) -> dict[str, Any]:
    """A message so many minutes after the first one, which was written 20 minutes ago."""
    at = WROTE + int(minutes * 60_000)
    return {"type": "text", "from": who, "content": content, "timestamp": at, "fingerprint": at % 10**9, **more}


def chat(fake: FakeCrisp, *messages_: dict[str, Any], **more: Any) -> None:
    meta = {"nickname": "Lan Trần", "email": "Lan@example.com", "phone": ""}
    held = {"session_id": SESSION, "state": "pending", "availability": "offline", "waiting_since": WROTE, "meta": meta}
    fake.add("conversations", **{**held, "said": list(messages_ or [said(0)]), **more})


def look(fake: FakeCrisp, key: str = SESSION, data: dict[str, Any] | None = None, **keys: Any) -> Any:
    return source(fake.url, **keys).fetch(Hint(key=key, data=data or {}), NOW)


def only(batch: Batch) -> Signal:
    (signal,) = batch.signals
    return signal


ANSWERED = Batch(dropped={"answered": 1})


def test_a_chat_that_waits_is_missed(fake: FakeCrisp) -> None:
    chat(fake, said(0, content="Do you ship to Huế?"), said(1, content="Hello?"))
    signal = only(look(fake))
    assert (signal.type, signal.title) == ("chat.missed", "Missed chat from Lan Trần")
    assert (signal.text, signal.occurred_at) == ("Do you ship to Huế?\n\nHello?", NOW - timedelta(minutes=20))
    assert signal.url == f"https://app.crisp.chat/website/{SITE}/inbox/{SESSION}/"
    assert signal.reply == "mailto:lan@example.com"
    assert signal.person.identities == ("email:lan@example.com", f"handle:crisp:{SESSION}")
    assert signal.data == {"session_id": SESSION}


def test_a_visitor_who_is_online_is_answered_in_the_chat(fake: FakeCrisp) -> None:
    chat(fake, availability="online", meta={"nickname": "visitor42"})
    signal = only(look(fake))
    assert (signal.title, signal.reply, signal.data["online"]) == ("Missed chat", signal.url, True)
    assert signal.person.identities == (f"handle:crisp:{SESSION}",)


@pytest.mark.parametrize(
    ("answer", "bots", "missed"),
    [
        (said(5, "operator"), False, False),
        (said(5, "operator", automated=True), False, True),
        (said(5, "operator", automated=True), True, False),
        (said(5, "operator", type="note"), True, True),
        (said(5, "operator", {"namespace": "state:resolved"}, type="event"), True, True),
    ],
)
def test_what_is_an_answer(fake: FakeCrisp, answer: dict[str, Any], bots: bool, missed: bool) -> None:
    chat(fake, said(0), answer)
    found_ = look(fake, bot_answers=bots)
    assert (only(found_).type == "chat.missed") if missed else (found_ == ANSWERED)


def test_a_visitor_who_writes_again_waits_again(fake: FakeCrisp) -> None:
    chat(fake, said(0, content="One?"), said(1, "operator"), said(4, content="Two?"), said(5, content="Three?"))
    signal = only(look(fake))
    assert (signal.text, signal.occurred_at) == ("Two?\n\nThree?", NOW - timedelta(minutes=16))
    chat(fake, said(0, content="One?"))
    assert only(look(fake)).id != signal.id


def test_nobody_is_missed_too_early(fake: FakeCrisp) -> None:
    chat(fake)
    assert look(fake, after="30m") == NotYet(NOW + timedelta(minutes=10))
    assert only(look(fake, after="20m")).occurred_at == NOW - timedelta(minutes=20)


def test_a_chat_that_was_closed(fake: FakeCrisp) -> None:
    chat(fake, said(0), state="resolved", waiting_since=None, updated_at=WROTE)
    assert only(look(fake)).type == "chat.missed"  # nobody ever answered
    chat(fake, said(0), said(1, "operator"), said(4, content="Thanks!"), state="resolved")
    assert look(fake) == ANSWERED


def test_a_long_chat_is_read_back_to_our_last_answer(fake: FakeCrisp) -> None:
    chat(fake, said(0), said(1, "operator"), *(said(number, content=f"{number}") for number in range(2, 9)))
    assert only(look(fake)).text.split("\n\n") == [str(number) for number in range(2, 9)]


def test_messages_that_are_not_text(fake: FakeCrisp) -> None:
    files = [
        said(0, content={"name": "plan.pdf", "url": "https://x", "type": "application/pdf"}, type="file"),
        said(1, content={"id": "size", "text": "Which size?"}, type="picker"),
        said(2, content=None, type="audio"),
        {"from": "user", "type": "text", "content": "without a time"},
    ]
    chat(fake, *files[:3])
    assert only(look(fake)).text == "[file] plan.pdf\n\n[picker] Which size?\n\n[audio]"


def test_a_look_at_the_past_leaves_out_what_waits_only_now(fake: FakeCrisp) -> None:
    chat(fake)
    held = {"route": "backfill", "since": (NOW - timedelta(hours=1)).isoformat(), "until": NOW.isoformat()}
    assert only(look(fake, f"past:{SESSION}", held)).route == "backfill"
    assert look(fake, f"past:{SESSION}", {**held, "since": (NOW - timedelta(minutes=1)).isoformat()}) == ANSWERED


def test_a_poll_looks_at_those_who_wait(fake: FakeCrisp) -> None:
    ids = [f"session_0815-0815-{number}" for number in range(3)]
    chat(fake, session_id=ids[0], updated_at=WROTE + 500)
    chat(fake, session_id=ids[1], waiting_since=None, updated_at=WROTE + 500)
    chat(fake, session_id=ids[2], updated_at=WROTE - 7_200_000)
    made = source(fake.url, clock=lambda: NOW)
    (batch,) = made.poll(made.start(NOW - timedelta(hours=1)), NOW)
    assert [(hint.key, hint.not_before) for hint in batch.hints] == [(ids[0], NOW - timedelta(minutes=10))]


def test_a_conversation_that_was_kept_can_be_retried(fake: FakeCrisp) -> None:
    chat(fake, waiting_since="some day", updated_at=WROTE)
    made = source(fake.url, clock=lambda: NOW)
    (batch,) = made.poll(made.start(NOW - timedelta(hours=1)), NOW)
    (misfit,) = batch.misfits
    assert "waiting_since" in misfit.reason
    body = json.loads(misfit.request.body)
    body["data"]["timestamp"] = WROTE
    (hint,) = made.parse(replace(misfit.request, body=json.dumps(body).encode())).hints
    assert hint.key == SESSION


# ---- answers

ON = frozenset({"chat.answered"})
TURNS = (
    said(0, content="Do you ship?"),
    said(1, "operator", "We reply soon", automated=True),
    said(2, "operator", "whose is this?", type="note"),
    said(3, "operator", "Yes, we do."),
    said(4, "operator", "By post."),
    said(6, content="To Vinh?"),
    said(8, "operator", "To Vinh too."),
)


def answer_looks(fake: FakeCrisp, minutes: float = -60, **keys: Any) -> Batch:
    since = datetime.fromtimestamp(WROTE / 1000, UTC) + timedelta(minutes=minutes)
    hint = look_for_answers(SESSION, Route.WEBHOOK, since)
    batch: Batch = source(fake.url, switches=ON, **keys).fetch(hint, NOW)
    return batch


def test_the_first_message_of_ours_in_each_turn_is_the_answer(fake: FakeCrisp) -> None:
    chat(fake, TURNS[0])
    missed = only(look(fake))
    chat(fake, *TURNS, waiting_since=None, updated_at=WROTE)
    first, second = answer_looks(fake).signals
    assert (first.type, first.title, first.direction) == ("chat.answered", "Answered chat of Lan Trần", "out")
    assert [one.text for one in (first, second)] == ["Yes, we do.", "To Vinh too."]
    assert (first.thread, first.person) == (missed.thread, missed.person)
    assert answered_by(missed, [second, first]) == first
    assert [one.id for one in answer_looks(fake, 7).signals] == [second.id]
    assert [one.text for one in answer_looks(fake, bot_answers=True).signals] == ["We reply soon", "To Vinh too."]


def test_what_answers_nobody(fake: FakeCrisp) -> None:
    chat(fake, said(0, "operator", "Hello, here we are."), said(1))
    assert answer_looks(fake) == Batch(dropped={"not an answer": 1})


def test_a_reply_of_ours_is_looked_at_at_once_where_answers_are_on() -> None:
    def hooked(switches: frozenset[str] = ON, **more: Any) -> Batch:
        body = json.dumps(event(sent(**{"from": "operator", **more}), "message:received")).encode()
        batch: Batch = source(switches=switches).parse(signed(body))
        return batch

    (hint,) = hooked().hints
    assert (hint.key, hint.not_before) == (f"answered:{SESSION}", None)
    assert hooked(automated=True).dropped == hooked(type="note").dropped == {"not an answer": 1}
    assert hooked(frozenset()).dropped == {"event message:received": 1}


def test_every_route_makes_the_same_answers(fake: FakeCrisp) -> None:
    chat(fake, *TURNS, waiting_since=None, updated_at=WROTE + 480_000)
    built = source(fake.url, clock=lambda: NOW, switches=ON)

    def read(batches: Iterable[Batch]) -> list[Signal]:
        return [one for batch in batches for hint in batch.hints for one in built.fetch(hint, NOW).signals]

    by_poll = read(built.poll(built.start(NOW - timedelta(minutes=30)), NOW))
    by_backfill = read(built.backfill(NOW - timedelta(hours=1), NOW - timedelta(minutes=14), None))
    by_webhook = answer_looks(fake).signals
    assert [one.id for one in by_webhook] == [one.id for one in by_poll]
    assert [(one.text, one.route) for one in by_backfill] == [("Yes, we do.", Route.BACKFILL)]
    assert by_backfill[0].id == by_poll[0].id


# ---- webhooks


def parsed(*events: Any) -> Batch:
    batch: Batch = source().parse(signed(json.dumps(list(events)).encode()))
    return batch


def test_a_message_of_a_visitor_is_looked_at_later() -> None:
    (hint,) = parsed(event(sent())).hints
    assert (hint.key, hint.not_before) == (SESSION, NOW - timedelta(minutes=10))


@pytest.mark.parametrize(
    ("sent_", "why"),
    [
        (event(sent(), "message:received"), "event message:received"),
        (event({"state": "resolved"}, "session:set_state"), "event session:set_state"),
        (event(sent(), "of the future"), "event of the future"),
        (event(sent(**{"from": "operator"})), "not a visitor's"),
        (event(sent(type="event")), "not a visitor's"),
        (event(sent(), website_id="other"), "another website"),
    ],
)
def test_other_events_are_counted_by_name(sent_: dict[str, Any], why: str) -> None:
    batch = parsed(sent_)
    assert (batch.dropped, list(batch.hints)) == ({why: 1}, [])


@pytest.mark.parametrize("wrong", [{"session_id": None}, {"session_id": "../x"}, {"timestamp": "some day"}])
def test_a_message_that_cannot_be_read_is_kept(wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parsed(event(sent(**wrong)))


def test_hooks_of_the_website_have_a_secret_path() -> None:
    verify = source(secret=None, path_secret=PATH_SECRET).verifier()
    plain = Request("POST", f"{URL}/{PATH_SECRET}", {}, b"{}", NOW, tail=PATH_SECRET)
    verify(plain, NOW)
    for wrong in (replace(plain, tail=""), signed(b"{}")):
        with pytest.raises(NotAuthentic):
            verify(wrong, NOW)
    with pytest.raises(ValidationError, match="16 characters"):
        source(path_secret="short")


def test_without_a_secret_everything_is_refused() -> None:
    with pytest.raises(NotAuthentic, match="neither secret nor path_secret"):
        source(secret=None).verifier()(signed(b"{}"), NOW)


def test_both_secrets_hold_while_they_are_changed_and_old_requests_do_not() -> None:
    verify = source(secret=["new-0815", SECRET]).verifier()
    verify(signed(b"{}"), NOW + timedelta(minutes=50))
    verify(signed(b"{}", "new-0815"), NOW)
    for request, at in ((signed(b"{}", "another"), NOW), (signed(b"{}"), NOW + timedelta(hours=2))):
        with pytest.raises(NotAuthentic):
            verify(request, at)


# ---- refusals


def test_faults_become_classes(fake: FakeCrisp, monkeypatch: pytest.MonkeyPatch) -> None:
    chat(fake)
    fake.plan.add([{"do": "too_many", "times": 1}])
    with pytest.raises(RateLimited):
        look(fake)
    with pytest.raises(Misconfigured, match="the token is refused"):
        source(fake.url, key="wrong").fetch(Hint(key=SESSION), NOW)
    said_ = {"error": True, "reason": "quota_limit_exceeded", "data": {}}
    monkeypatch.setattr(FakeCrisp, "routes", (FakeRoute(f"GET {BASE}/conversation/{{id}}", recorded(said_, 429)),))
    with pytest.raises(QuotaExhausted):
        look(fake)


def test_what_check_online_says(fake: FakeCrisp) -> None:
    made = source(fake.url, clock=lambda: datetime.now(UTC))
    assert [(one.level, one.what) for one in made.check_online()] == [
        (Level.OK, "website"),
        (Level.OK, "conversations"),
    ]
    last = list(source(fake.url, secret=None, clock=lambda: datetime.now(UTC)).check_online())[-1]
    assert (last.level, last.what) == (Level.WARNING, "webhook")
