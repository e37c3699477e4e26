"""Messages of customers and agents in Chatwoot: by webhook, poll and backfill, from which network, and what is neither's."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import msgspec
import pytest
from pydantic import ValidationError

from syncd.capabilities import Level
from syncd.connector import Ability, Batch, Context, Request
from syncd.connectors.chat.chatwoot import CONNECTOR, ChatwootSettings
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal, answered_by
from syncd.testing import (
    BackfillConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.twins.fake_events import FakeEvents, comparable, unix
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, listed, removed
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

URL = "https://syncd.example.com/webhooks/messages"
SECRET, PATH_SECRET = "a-secret-of-chatwoot-0815", "a-path-of-16-or-more"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
BASE = "/api/v1/accounts/17"
SIZE = 3


def talks(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """GET /conversations: each with the time of its latest message, the latest first, in numbered pages."""
    latest: dict[str, int] = {}
    for row in vendor.records("messages"):
        talk = str(row["conversation_id"])
        latest[talk] = max(latest.get(talk, 0), int(comparable(row["created_at"])[1]))
    rows = []
    for talk, at in sorted(latest.items(), key=lambda one: (-one[1], one[0])):
        held = vendor.store.get("conversations", talk) or {}
        written = [row for row in vendor.records("messages") if str(row["conversation_id"]) == talk]
        sender = next((row.get("sender") for row in reversed(written) if row.get("message_type") == 0), None)
        meta = {"channel": "Channel::Whatsapp", "sender": sender, **held.get("meta", {})}
        rows.append({"id": int(talk), "inbox_id": 5, **held, "meta": meta, "last_activity_at": at})
    start = (int(call.query["page"]) - 1) * SIZE
    return TwinResponse(200, {"data": {"meta": {"all_count": len(rows)}, "payload": rows[start : start + SIZE]}})


def written(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """The latest messages of a conversation, or the latest before one, the oldest first."""
    below = int(call.query.get("before", 10**9))
    rows = [row for row in vendor.records("messages") if str(row["conversation_id"]) == parts["id"]]
    if not rows:
        return vendor.missing()
    shown = [vendor.shown("messages", row) for row in sorted(rows, key=lambda row: row["id"]) if row["id"] < below]
    return TwinResponse(200, {"meta": {}, "payload": shown[-SIZE:]})


def hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    given = call.json()["webhook"]
    id_ = parts.get("id") or vendor.put_record("hooks", {"secret": SECRET})
    held = {**(vendor.store.get("hooks", id_) or {}), **given, "account_id": 17}
    vendor.store.put("hooks", id_, held)
    return TwinResponse(200, {"payload": {"webhook": held}})


def hooks(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return TwinResponse(200, {"payload": {"webhooks": vendor.records("hooks")}})


def contact(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    held = vendor.store.get("contacts", parts["id"])
    return TwinResponse(200, {"payload": held}) if held is not None else vendor.missing()


class FakeChatwoot(FakeVendor):
    """One account of a Chatwoot, by its source: every message in a conversation of its own."""

    name = "chatwoot"
    token: ClassVar[str] = "chatwoot-token-0815"
    subscriptions = "hooks"
    events = FakeEvents(
        object="messages",
        at="created_at",
        time=unix,
        key=lambda number: number + 1,
        fields={"message_type": 0, "content": "Message {n}", "conversation_id": "{n}", "sender.name": "Lan"},
        people={"email": "sender.email", "phone": "sender.phone_number", "handle": "sender.id"},
        spoilt={"message_type": None},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute(f"GET {BASE}/conversations", talks),
        FakeRoute(f"GET {BASE}/conversations/{{id}}/messages", written),
        FakeRoute(f"GET {BASE}/contacts/{{id}}", contact),
        FakeRoute(f"GET {BASE}/inboxes", listed("inboxes", items="payload")),
        FakeRoute(f"GET {BASE}/webhooks", hooks),
        FakeRoute(f"POST {BASE}/webhooks", hook),
        FakeRoute(f"PATCH {BASE}/webhooks/{{id}}", hook),
        FakeRoute(f"DELETE {BASE}/webhooks/{{id}}", removed("hooks")),
    )

    def admits(self, call: TwinCall) -> bool:
        return call.headers.get("api_access_token") == self.token

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        if object_ != "messages":
            return dict(record)
        return {"content_type": "text", "private": False, "inbox_id": 5, **record}

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"error": "Invalid Access Token" if status == 401 else message})

    def says(self, id_: int, minutes: float, talk: str = "42", **more: Any) -> None:
        at = int((NOW + timedelta(minutes=minutes)).timestamp())
        row = {"message_type": 0, "content": f"Message {id_}", "conversation_id": talk, "sender": {"id": 69}}
        with self.lock, self.settled():
            self.store.put("messages", str(id_), {**row, "id": id_, "created_at": at, **more})


class FakeOneConversation(FakeChatwoot):
    """The same, with all messages in one conversation."""

    events = replace(FakeChatwoot.events, fields={**FakeChatwoot.events.fields, "conversation_id": "7"})


def source(url: str = "https://chat.example.com", recall: Any = None, clock: Any = None, **keys: Any) -> Any:
    given = {"account": "17", "token": FakeChatwoot.token, "base_url": url, **keys}
    more = ({"recall": recall} if recall is not None else {}) | ({"clock": clock} if clock is not None else {})
    context = Context(name="messages", tokens=MemoryTokens(), region="VN", webhook_url=URL, **more)
    return CONNECTOR.build(ChatwootSettings.model_validate(given), context)


def signed(body: bytes, secret: str = SECRET, at: datetime | None = None) -> Request:
    at = at or NOW
    stamp = str(int(at.timestamp()))
    signature = "sha256=" + hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-chatwoot-signature": signature, "x-chatwoot-timestamp": stamp, "content-type": "application/json"}
    return Request("POST", URL, headers, body, at)


def event(message: Mapping[str, Any], channel: str = "Channel::Whatsapp", **conversation: Any) -> dict[str, Any]:
    """A webhook `message_created`, as Chatwoot's presenters make it of a message of the API."""
    kinds = ("incoming", "outgoing", "activity", "template")
    kind, talk = message.get("message_type"), message.get("conversation_id", "42")
    at = message.get("created_at")
    written = at if not isinstance(at, int) else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", ".123Z")
    told = {
        "id": int(talk),
        "inbox_id": 5,
        "channel": channel,
        "meta": {"sender": message.get("sender")},
        **conversation,
    }
    return {
        "event": "message_created",
        **{name: value for name, value in message.items() if name not in ("conversation_id", "inbox_id")},
        "message_type": kinds[kind] if isinstance(kind, int) and kind < 4 else kind,
        "created_at": written,
        "conversation": told,
        "inbox": {"id": 5, "name": "Our shop"},
        "account": {"id": 17, "name": "Acme"},
    }


def message(**more: Any) -> dict[str, Any]:
    sender = {"id": 69, "name": "Lan Trần", "email": None, "phone_number": "+84912345678", "identifier": None}
    at = int(NOW.timestamp())
    return {"id": 900, "message_type": 0, "content": "Do you ship to Huế?", "created_at": at, "sender": sender, **more}


def parsed(*events: Any, **keys: Any) -> Batch:
    batch: Batch = source(**keys).parse(signed(json.dumps(list(events)).encode()))
    return batch


def only(*events: Any, **keys: Any) -> Signal:
    (signal,) = parsed(*events, **keys).signals
    return signal


class ChatwootVendor(TwinVendor):
    auth_headers = ("x-chatwoot-signature", "x-chatwoot-timestamp")
    signs_time = True

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(event(self.event(number))).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body, at=self.first_moment)

    @property
    def secrets(self) -> Sequence[str]:
        return (FakeChatwoot.token, SECRET)


@pytest.fixture
def fake() -> Iterator[FakeChatwoot]:
    with FakeChatwoot() as twin:
        twin.add("inboxes", id=5, name="Our shop")
        yield twin


class TestChatwoot(WebhookConformance, PollingConformance, BackfillConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeChatwoot) -> ChatwootVendor:
        return ChatwootVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeChatwoot) -> Any:
        return lambda recall: source(fake.url, secret=SECRET, recall=recall)


class TestOneConversation(TestChatwoot):
    @pytest.fixture
    def fake(self) -> Iterator[FakeChatwoot]:
        with FakeOneConversation() as twin:
            yield twin


# ---- what a message says


def test_a_customer_writes() -> None:
    signal = only(event(message(), contact_inbox={"source_id": "84912345678"}))
    assert (signal.type, signal.title) == ("message.received", "WhatsApp message from Lan Trần")
    assert (signal.text, signal.occurred_at) == ("Do you ship to Huế?", NOW)
    assert signal.url == signal.reply == "https://chat.example.com/app/accounts/17/conversations/42"
    assert signal.person.identities == ("phone:+84912345678", "handle:chatwoot:69", "handle:whatsapp:84912345678")
    assert signal.data == {
        "network": "whatsapp",
        "inbox": "Our shop",
        "inbox_id": "5",
        "conversation_id": "42",
        "message_id": "900",
    }
    assert signal.thread == "chatwoot:chat.example.com/17:42"


@pytest.mark.parametrize(
    ("channel", "source_id", "title", "identities"),
    [
        ("Channel::FacebookPage", "22334", "Facebook message from Lan", {"handle:facebook:22334"}),
        ("Channel::Instagram", "17841", "Instagram message from Lan", {"handle:instagram:17841"}),
        ("Channel::Telegram", "998877", "Telegram message from Lan", {"handle:telegram:998877"}),
        ("Channel::Line", "U4af49806", "LINE message from Lan", {"handle:line:U4af49806"}),
        ("Channel::Whatsapp", "84912345678", None, {"phone:+84912345678", "handle:whatsapp:84912345678"}),
        ("Channel::TwilioSms", "whatsapp:+84912345678", "WhatsApp message from Lan", None),
        ("Channel::TwilioSms", "+84912345678", "SMS message from Lan", {"phone:+84912345678"}),
        ("Channel::WebWidget", "0c6e7f0e-5e0f", "Website message from Lan", set()),
        ("Channel::Api", "0c6e7f0e-5e0f", "Our shop message from Lan", set()),
        ("Channel::Carrier", "7", None, {"handle:carrier:7"}),
    ],
)
def test_networks(channel: str, source_id: str, title: str | None, identities: set[str] | None) -> None:
    written = message(sender={"id": 69, "name": "Lan"})
    signal = only(event(written, channel, contact_inbox={"source_id": source_id}))
    assert title is None or signal.title == title
    if identities is None:
        identities = {"phone:+84912345678", "handle:whatsapp:84912345678"}
    assert set(signal.person.identities) == identities | {"handle:chatwoot:69"}


def test_the_network_behind_an_inbox_of_the_api() -> None:
    signal = only(event(message(), "Channel::Api", contact_inbox={"source_id": "z-4711"}), networks={"5": "zalo"})
    assert "handle:zalo:z-4711" in signal.person.identities
    assert (signal.title, signal.data["network"]) == ("Our shop message from Lan Trần", "zalo")


def test_a_visitor_without_a_name() -> None:
    written = message(sender={"id": 69, "name": "ancient-river-912", "email": None})
    signal = only(event(written, "Channel::WebWidget"))
    assert (signal.title, signal.person.name) == ("Website message", "")
    assert signal.person.identities == ("handle:chatwoot:69",)


def test_older_versions_say_less_of_the_sender() -> None:
    contact_ = {"id": 69, "name": "Lan", "email": "Lan@example.com", "additional_attributes": {"company_name": "Acme"}}
    written = message(sender={"id": 69, "name": "Lan", "avatar": "", "type": "contact"})
    signal = only(event(written, meta={"sender": contact_}))
    assert (signal.person.email, signal.person.company) == ("lan@example.com", "Acme")
    assert only(event(message(sender=None))).person.identities == ()


def test_files_are_named_by_their_kind() -> None:
    files = [{"id": 1, "file_type": "image"}, {"file_type": "location", "fallback_title": "Quảng Trị"}, "odd", {}]
    assert only(event(message(attachments=files))).text == "Do you ship to Huế?\n[image]\n[location] Quảng Trị\n[file]"
    assert only(event(message(content=None, attachments=[{"file_type": "audio"}]))).text == "[audio]"


BY_AGENT: dict[str, Any] = {"message_type": 1, "sender": {"id": 1, "name": "Minh", "type": "user"}}
CONTACT = {"id": 69, "name": "Lan Trần", "phone_number": "+84912345678"}


def test_what_an_agent_sends_answers_the_customer() -> None:
    asked = only(event(message()))
    sent = only(event(message(id=901, created_at=int(NOW.timestamp()) + 60, **BY_AGENT), meta={"sender": CONTACT}))
    assert (sent.type, sent.direction, sent.title) == ("message.sent", "out", "WhatsApp message to Lan Trần")
    assert (sent.person.phone, sent.thread, sent.data["network"]) == ("+84912345678", asked.thread, "whatsapp")
    assert answered_by(asked, [sent]) == sent
    on_facebook = msgspec.structs.replace(asked, type="facebook.messaged", thread="")
    assert answered_by(on_facebook, [sent]) == sent


def test_an_answer_in_the_networks_own_app() -> None:
    echo = {"message_type": 1, "sender": None, "content_attributes": {"external_echo": True}}
    assert only(event(message(**echo), meta={"sender": None})).title == "WhatsApp message sent"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"message_type": 1, "sender": {"type": "agent_bot"}}, "automatic message"),
        ({"message_type": 1, "sender": None}, "automatic message"),
        ({**BY_AGENT, "content_attributes": {"automation_rule_id": 7}}, "automatic message"),
        ({**BY_AGENT, "additional_attributes": {"campaign_id": 7}}, "automatic message"),
        ({**BY_AGENT, "content_attributes": {"deleted": True}}, "deleted message"),
        ({**BY_AGENT, "status": "failed"}, "message that failed"),
        ({"message_type": 1, "private": True}, "note"),
        ({"message_type": 2}, "activity message"),
        ({"message_type": 3}, "template message"),
        ({"content_attributes": {"deleted": True}}, "deleted message"),
    ],
)
def test_what_is_not_a_customers_is_dropped(more: dict[str, Any], why: str) -> None:
    batch = parsed(event(message(**more)))
    assert (list(batch.signals), batch.dropped) == ([], {why: 1})


def test_emails_and_other_inboxes() -> None:
    mail = event(message(), "Channel::Email")
    assert parsed(mail).dropped == {"email": 1}
    assert only(mail, emails=True).title == "Email message from Lan Trần"
    assert parsed(event(message()), inboxes=["6"]).dropped == {"another inbox": 1}
    assert only(event(message()), inboxes=["5"]).id


def test_other_events_are_counted_by_name() -> None:
    others = [{"event": "conversation_created", "id": 42}, {"event": "of the future"}]
    assert parsed(*others).dropped == {"event conversation_created": 1, "event of the future": 1}
    assert parsed({**event(message()), "account": {"id": 18}}).dropped == {"another account": 1}


@pytest.mark.parametrize(
    "wrong", [{"id": None}, {"message_type": None}, {"created_at": "some day"}, {"created_at": None}]
)
def test_a_message_that_cannot_be_read_is_kept(wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        source().parse(signed(json.dumps(event(message(**wrong))).encode()))


def test_installations_are_apart() -> None:
    ids = {only(event(message()), base_url=url).id for url in ("https://a.example", "https://b.example")}
    cloud = only(event(message()), base_url="https://app.chatwoot.com")
    assert len({*ids, cloud.id}) == 3
    assert cloud.thread == "chatwoot:17:42"


# ---- poll and backfill


def polled(fake: FakeChatwoot, since: datetime = NOW, **keys: Any) -> list[Batch]:
    made = source(fake.url, **keys)
    return list(made.poll(made.start(since), NOW + timedelta(hours=1)))


def signals(batches: Iterable[Batch]) -> list[Signal]:
    return [signal for batch in batches for signal in batch.signals]


def test_poll_and_webhook_tell_the_same(fake: FakeChatwoot) -> None:
    sender = {"id": 69, "name": "Lan", "phone_number": "+84912345678"}
    fake.says(900, 1, sender=sender)
    fake.add("contacts", id="69", contact_inboxes=[{"source_id": "84912345678", "inbox": {"id": 5}}])
    (by_poll,) = signals(polled(fake))
    row = fake.records("messages")[0]
    hooked = source(fake.url).parse(signed(json.dumps(event(row, contact_inbox={"source_id": "84912345678"})).encode()))
    (by_webhook,) = hooked.signals
    for name in ("id", "occurred_at", "title", "text", "url", "person", "data", "thread"):
        assert getattr(by_poll, name) == getattr(by_webhook, name), name


def test_a_long_conversation_is_read_as_far_back_as_needed(fake: FakeChatwoot) -> None:
    for number in range(1, 12):
        fake.says(number, number - 4)
    assert [one.text for one in signals(polled(fake))] == [f"Message {number}" for number in range(4, 12)]


def test_poll_and_webhook_tell_the_same_of_an_answer(fake: FakeChatwoot) -> None:
    fake.says(1, 1, sender=CONTACT)
    fake.says(2, 2, **BY_AGENT)
    fake.says(3, 3, message_type=2)
    (batch,) = polled(fake)
    asked, by_poll = sorted(batch.signals, key=lambda one: one.occurred_at)
    assert (asked.type, by_poll.type) == ("message.received", "message.sent")
    assert batch.dropped == {"activity message": 1}
    row = next(one for one in fake.records("messages") if one["id"] == 2)
    by_webhook = only(event(row, meta={"sender": CONTACT}), base_url=fake.url)
    for name in ("id", "occurred_at", "title", "text", "url", "person", "data", "thread"):
        assert getattr(by_poll, name) == getattr(by_webhook, name), name


def test_a_conversation_that_moves_up_meanwhile_is_read(fake: FakeChatwoot) -> None:
    for number in range(1, 9):
        fake.says(number, number, talk=str(100 + number))
    first = iter([True])

    def moves() -> None:
        if next(first, False):
            fake.says(50, 30, talk="101")

    fake.between_calls = moves
    assert "Message 1" in {one.text for one in signals(polled(fake))}


def test_a_backfill_reads_what_was_active_again_meanwhile(fake: FakeChatwoot) -> None:
    for number in range(1, 9):
        fake.says(number, number, talk=str(100 + number))
    made, until = source(fake.url), NOW + timedelta(minutes=20)
    steps = made.backfill(NOW, until, None)
    seen = [next(steps), next(steps)]
    fake.says(50, 30, talk="101")  # moves to the top, above what was read
    fake.says(51, 31, talk="102")
    seen += made.backfill(NOW, until, seen[-1].state)
    assert {one.text for one in signals(seen)} == {f"Message {number}" for number in range(1, 9)}
    assert list(made.backfill(NOW, until, seen[-1].state)) == []


def test_a_message_that_was_kept_can_be_retried(fake: FakeChatwoot) -> None:
    fake.says(900, 1, message_type=None)
    (batch,) = polled(fake)
    (misfit,) = batch.misfits
    body = {**json.loads(misfit.request.body), "message_type": 0}
    (signal,) = source(fake.url).parse(replace(misfit.request, body=json.dumps(body).encode())).signals
    assert (signal.text, signal.data["inbox"]) == ("Message 900", "Our shop")


# ---- who is refused, and what check says


def test_without_a_secret_everything_is_refused() -> None:
    with pytest.raises(NotAuthentic, match="no signing secret is known"):
        source().verifier()(signed(b"{}"), NOW)


def test_a_chatwoot_that_does_not_sign_has_a_secret_path(fake: FakeChatwoot) -> None:
    made = source(fake.url, path_secret=PATH_SECRET)
    plain = Request("POST", f"{URL}/{PATH_SECRET}", {}, b"{}", NOW, tail=PATH_SECRET)
    made.verifier()(plain, NOW)
    for wrong in (replace(plain, tail=""), signed(b"{}")):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)
    (there,) = made.subscribe().there
    assert there.url == f"{URL}/{PATH_SECRET}"
    with pytest.raises(ValidationError, match="16 characters"):
        source(path_secret="short")


def test_both_secrets_hold_while_they_are_changed() -> None:
    verify = source(secret=["new-0815", SECRET]).verifier()
    verify(signed(b"{}"), NOW)
    verify(signed(b"{}", "new-0815"), NOW)
    with pytest.raises(NotAuthentic):
        verify(signed(b"{}", "another"), NOW)


def test_without_a_token_there_are_webhooks_alone() -> None:
    settings = ChatwootSettings.model_validate({"account": "17", "secret": "s"})
    assert CONNECTOR.unable is not None
    assert Ability.POLL in CONNECTOR.unable(settings)


def test_faults_become_classes(fake: FakeChatwoot) -> None:
    fake.says(1, 1)
    fake.plan.add([{"do": "too_many", "times": 1}])
    with pytest.raises(RateLimited):
        polled(fake)
    with pytest.raises(Misconfigured, match="the access token is refused"):
        polled(fake, token="wrong")
    with pytest.raises(Misconfigured, match="check account and base_url"):
        polled(fake, account="18")


def test_what_check_online_says(fake: FakeChatwoot) -> None:
    found = list(source(fake.url, inboxes=["5", "6"], clock=lambda: datetime.now(UTC)).check_online())
    assert [(one.level, one.what) for one in found] == [
        (Level.OK, "sign-in"),
        (Level.OK, "inbox 5"),
        (Level.FAULT, "inbox 6"),
        (Level.WARNING, "webhook"),
    ]
    made = source(fake.url, clock=lambda: datetime.now(UTC))
    made.subscribe()
    assert [one.level for one in made.check_online()] == [Level.OK]
