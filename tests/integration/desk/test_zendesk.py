"""Zendesk's tickets by webhook, export and backfill, its webhooks and their secret, and what was recorded of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context, Request
from syncd.connectors.desk.zendesk import CONNECTOR, ZendeskSettings
from syncd.connectors.desk.zendesk_tickets import read_comment, read_rating, read_ticket
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, removed
from syncd.twins.wire import TwinCall, TwinResponse

URL = "https://syncd.example.com/webhooks/desk"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY, SECRET, AGENT = "an-api-token-0815", "hush-hush-0815-0815", 700
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def export(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """Three tickets a page, in the order in which they changed."""
    begin, _, offset = call.query.get("cursor", f"{call.query.get('start_time')}.0").partition(".")
    found = [row for row in vendor.records("tickets") if row["generated_timestamp"] >= int(begin)]
    rows = sorted(found, key=lambda row: row["generated_timestamp"])
    start = int(offset)
    end = start + 3
    more = {"after_cursor": f"{begin}.{end}", "end_of_stream": end >= len(rows)}
    return TwinResponse(200, {"tickets": [dict(row) for row in rows[start:end]], **more})


def within(table: str, name: str) -> Any:
    """The record with the path's id, within an object."""

    def act(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
        row = vendor.store.get(table, parts["id"])
        return TwinResponse(200, {name: dict(row)}) if row is not None else vendor.missing()

    return act


def comments(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    rows = [dict(row) for row in vendor.records("comments") if str(row["ticket_id"]) == parts["id"]]
    start, end = int(call.query.get("page", 1)) * 2 - 2, int(call.query.get("page", 1)) * 2
    link = f"{vendor.url}{call.path}?page={end // 2 + 1}" if end < len(rows) else None
    return TwinResponse(200, {"comments": rows[start:end], "next_page": link, "count": len(rows)})


def show_many(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    ids = call.query["ids"].split(",")
    assert len(ids) <= 100
    return TwinResponse(200, {"users": [dict(row) for row in vendor.records("users") if str(row["id"]) in ids]})


def ratings(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    assert call.query["score"] == "received"
    return TwinResponse(
        200, {"satisfaction_ratings": [dict(row) for row in vendor.records("ratings")], "next_page": None}
    )


def hooks(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return TwinResponse(200, {"webhooks": [dict(row) for row in vendor.records("hooks")], "meta": {"has_more": False}})


def made_hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    given = call.json()["webhook"]
    assert {"name", "status", "endpoint", "http_method", "request_format"} <= given.keys()
    id_ = vendor.put_record("hooks", given)
    return TwinResponse(201, {"webhook": {"id": id_, **given}})


def changed_hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    held = vendor.store.get("hooks", parts["id"])
    if held is None:
        return vendor.missing()
    vendor.store.put("hooks", parts["id"], {**held, **call.json()["webhook"]})
    return TwinResponse(204)


def hook_secret(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return TwinResponse(200, {"signing_secret": {"algorithm": "SHA256", "secret": SECRET}})


class FakeZendesk(FakeVendor):
    """Zendesk's API v2, from its published documentation and recorded exports."""

    name = "zendesk"
    token: ClassVar[str] = KEY
    absent = (404, "RecordNotFound")
    throttled = (429, "TooManyRequests")
    subscriptions = "hooks"
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("GET /api/v2/incremental/tickets/cursor", export),
        FakeRoute("GET /api/v2/tickets/{id}", within("tickets", "ticket")),
        FakeRoute("GET /api/v2/tickets/{id}/comments", comments),
        FakeRoute("GET /api/v2/users/me", lambda vendor, call, parts: TwinResponse(200, {"user": {"id": AGENT}})),
        FakeRoute("GET /api/v2/users/show_many", show_many),
        FakeRoute("GET /api/v2/organizations/{id}", within("organizations", "organization")),
        FakeRoute("GET /api/v2/satisfaction_ratings", ratings),
        FakeRoute("GET /api/v2/webhooks", hooks),
        FakeRoute("POST /api/v2/webhooks", made_hook),
        FakeRoute("PATCH /api/v2/webhooks/{id}", changed_hook),
        FakeRoute("DELETE /api/v2/webhooks/{id}", removed("hooks")),
        FakeRoute("GET /api/v2/webhooks/{id}/signing_secret", hook_secret),
    )

    def admits(self, call: TwinCall) -> bool:
        sent = call.headers.get("authorization", "").partition(" ")[2]
        user, _, password = base64.b64decode(sent or "").decode().partition(":")
        return password in self.valid_tokens and user == "admin@acme.example/token"

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        said: dict[str, Any] = {"error": code, "description": message}
        return TwinResponse(status, {"error": {"title": code, "message": message}} if status in (401, 403) else said)


def source(url: str = "http://127.0.0.1:9", recall: Any = None, **keys: Any) -> Any:
    known: dict[str, Any] = {"recall": recall} if recall is not None else {}
    context = Context(name="desk", tokens=MemoryTokens(), region="VN", webhook_url=URL, **known)
    given = {
        "subdomain": "acme",
        "email": "admin@acme.example",
        "token": KEY,
        "secret": SECRET,
        "base_url": url,
        **keys,
    }
    return CONNECTOR.build(ZendeskSettings.model_validate(given), context)


def signed(body: bytes, secret: str = SECRET, at: datetime = NOW, *, legacy: bool = False) -> Request:
    """Timestamp, then body; an older page of Zendesk's has it the other way round (`legacy`)."""
    moment = stamp(at)
    text = body + moment.encode() if legacy else moment.encode() + body
    signature = base64.b64encode(hmac.digest(secret.encode(), text, hashlib.sha256)).decode()
    headers = {"x-zendesk-webhook-signature": signature, "x-zendesk-webhook-signature-timestamp": moment}
    return Request("POST", URL, {**headers, "content-type": "application/json"}, body, NOW)


def event(name: str, id_: int, said: dict[str, Any] | None = None, **detail: Any) -> dict[str, Any]:
    held = {"id": str(id_), "status": "OPEN", "priority": "HIGH", "requester_id": "501", **detail}
    plain = {"account_id": 22129848, "id": f"e-{id_}", "subject": f"zen:ticket:{id_}", "time": stamp(NOW)}
    return {**plain, "type": f"zen:event-type:{name}", "detail": held, "event": said or {}}


def ticket(fake: FakeZendesk, id_: int, at: datetime = NOW, touched: datetime | None = None, **more: Any) -> None:
    plain = {"subject": f"Broken {id_}", "description": "It is broken", "status": "open", "priority": "normal"}
    times = {"created_at": stamp(at), "updated_at": stamp(touched or at)}
    ids = {"id": id_, "requester_id": 501, "organization_id": None, "via": {"channel": "web"}, "tags": ["shop"]}
    fake.add("tickets", **{**ids, **plain, **times, "generated_timestamp": int((touched or at).timestamp()), **more})


@pytest.fixture
def fake() -> Iterator[FakeZendesk]:
    with FakeZendesk() as twin:
        twin.add("users", id=501, name="Trần An", email="an@example.org", phone="0912 345 678", role="end-user")
        twin.add("users", id=502, name="Lê Bình", email="binh@example.org", phone=None, role="end-user")
        twin.add("users", id=AGENT, name="Agent", email="agent@acme.example", role="agent")
        yield twin


class ZendeskVendor(TwinVendor):
    auth_headers = ("x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp")
    signs_time = True

    def happen(self, number: int) -> None:
        ticket(self.twin, 100 + number, self.moment(number))  # type: ignore[arg-type]

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(event("ticket.created", 100 + number)).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body, at=self.first_moment)

    @property
    def secrets(self) -> Sequence[str]:
        return (SECRET, KEY)


class TestZendesk(
    WebhookConformance, HintConformance, PollingConformance, BackfillConformance, SubscriptionConformance
):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, fake: FakeZendesk) -> ZendeskVendor:
        return ZendeskVendor(fake)

    @pytest.fixture
    def connect(self, fake: FakeZendesk) -> Any:
        return lambda recall: source(fake.url, recall)


def started(made: Any) -> bytes:
    """The state of a source that began an hour ago."""
    state = json.loads(made.start(NOW))
    return json.dumps(state | {name: stamp(NOW - HOUR) for name in ("since", "floor", "began")}).encode()


def signals(batches: Sequence[Batch]) -> list[Signal]:
    return [signal for batch in batches for signal in batch.signals]


def comment(fake: FakeZendesk, id_: int, author: int = 501, **more: Any) -> None:
    plain = {"ticket_id": 7, "author_id": author, "public": True, "created_at": stamp(NOW), "via": {"channel": "email"}}
    system = {"metadata": {"system": {"ip_address": "203.0.113.9", "location": "Springfield"}}}
    fake.add("comments", **{"id": id_, **plain, "plain_body": f"said {id_}", **system, **more})


def test_a_new_ticket_with_its_person_and_organisation(fake: FakeZendesk) -> None:
    ticket(fake, 7, organization_id=90)
    fake.add("organizations", id=90, name="Acme")
    made = source(fake.url)
    (signal,) = signals(list(made.poll(started(made), NOW)))
    assert (signal.type, signal.title, signal.text) == ("ticket.created", "Ticket #7: Broken 7", "It is broken")
    assert signal.reply == "https://acme.zendesk.com/agent/tickets/7"
    person = signal.person
    assert (person.email, person.phone, person.company) == ("an@example.org", "+84912345678", "Acme")
    assert (signal.data["status"], signal.data["channel"]) == ("open", "web")


def test_what_customers_said_and_what_we_said(fake: FakeZendesk) -> None:
    ticket(fake, 7, NOW - 10 * HOUR, NOW)
    shapes: list[dict[str, Any]] = [{}, {}, {"author": 502}, {"author": AGENT}, {"public": False}]
    for number, more in enumerate(shapes, start=1):
        comment(fake, number, **more)
    made = source(fake.url)
    (batch,) = made.poll(started(made), NOW)
    assert not batch.signals
    heard = made.fetch(batch.hints[0], NOW)
    told = [(one.type, one.text, one.person.email) for one in heard.signals]
    assert told == [("ticket.replied", "said 2", "an@example.org"), ("ticket.commented", "said 3", "binh@example.org")]
    assert "Springfield" not in repr(heard.signals)
    by_hook = []
    for id_, author in ((2, 501), (3, 502)):
        said = {"comment": {"id": str(id_), "is_public": True, "author": {"id": str(author), "is_staff": False}}}
        (hint,) = made.parse(signed(json.dumps(event("ticket.comment_added", 7, said)).encode())).hints
        by_hook += made.fetch(hint, NOW).signals
    assert [one.id for one in by_hook] == [one.id for one in heard.signals]


@pytest.mark.parametrize(
    ("body", "dropped"),
    [
        (event("ticket.merged", 7), {"event ticket.merged": 1}),
        (event("user.active_changed", 7), {"event user.active_changed": 1}),
        (
            event("ticket.comment_added", 7, {"comment": {"id": "9", "is_public": True, "author": {"is_staff": True}}}),
            {"not a customer's": 1},
        ),
        (
            event("ticket.comment_added", 7, {"comment": {"id": "9", "is_public": False, "author": {"id": "501"}}}),
            {"not a customer's": 1},
        ),
    ],
)
def test_what_is_not_a_customers_event_is_counted(body: dict[str, Any], dropped: dict[str, int]) -> None:
    assert source().parse(signed(json.dumps(body).encode())).dropped == dropped


@pytest.mark.parametrize(
    "body",
    [
        {"type": "zen:event-type:ticket.created"},
        {},
        event("ticket.comment_added", 7),
        event("ticket.created", 7, id="../1"),
    ],
)
def test_an_event_that_cannot_be_read(body: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        source().parse(signed(json.dumps(body).encode()))


def test_a_signature_is_of_the_time_and_then_the_body() -> None:
    verify = source().verifier()
    verify(signed(b'{"say": "hello"}'), NOW)
    for request in (signed(b"{}", legacy=True), signed(b"{}", secret="another"), signed(b"{}", at=NOW - 2 * HOUR)):
        with pytest.raises(NotAuthentic):
            verify(request, NOW)


def test_without_a_secret_every_call_is_refused_until_one_is_learned(fake: FakeZendesk) -> None:
    with pytest.raises(NotAuthentic, match="syncd webhooks register"):
        source(secret=None).verifier()(signed(b"{}"), NOW)
    made = source(fake.url, secret=None).subscribe()
    learned = source(fake.url, recall=lambda names: {name: made.remember[name] for name in names}, secret=None)
    learned.verifier()(signed(b"{}"), NOW)


def test_a_webhook_that_was_switched_off_is_switched_on(fake: FakeZendesk) -> None:
    made = source(fake.url)
    (first,) = made.subscribe().there
    fake.modify("hooks", first.id, status="inactive", subscriptions=[])
    made.subscribe()
    (shown,) = made.subscriptions()
    assert (shown.active, len(shown.events)) == (True, 5)


@pytest.mark.parametrize("change", [{"priority": "urgent"}, {"tags": ["boss"]}])
def test_an_escalation_is_what_the_user_says(fake: FakeZendesk, change: dict[str, Any]) -> None:
    ticket(fake, 7)
    memory: dict[str, str] = {}
    recall = lambda names: {name: memory[name] for name in names if name in memory}  # noqa: E731
    made = source(fake.url, recall, escalated_when={"priorities": ["urgent"], "tags": ["boss"]})
    for batch in made.poll(started(made), NOW):
        memory |= {name: value for name, value in batch.remember.items() if value}
    fake.modify("tickets", "7", **change)
    (hint,) = made.parse(signed(json.dumps(event("ticket.priority_changed", 7)).encode())).hints
    assert [one.type for one in made.fetch(hint, NOW).signals] == ["ticket.escalated"]


def test_a_task_is_overdue_when_its_date_has_passed(fake: FakeZendesk) -> None:
    ticket(fake, 7, NOW - HOUR / 2, due_at=stamp(NOW))
    made = source(fake.url)
    found = signals(list(made.poll(started(made), NOW)))
    assert [(one.type, one.occurred_at) for one in found if one.type == "ticket.overdue"] == [("ticket.overdue", NOW)]


def test_ratings(fake: FakeZendesk) -> None:
    ticket(fake, 7, NOW - 10 * HOUR)
    for number, score in enumerate(("good", "bad", "offered")):
        at = stamp(NOW + timedelta(minutes=number))
        fake.add("ratings", id=20 + number, ticket_id=7, score=score, comment="Fast", created_at=at)
    made = source(fake.url, ratings=True)
    found = signals(list(made.poll(started(made), NOW + HOUR)))
    assert [one.title for one in found] == ["Rated ticket #7 good: Broken 7", "Rated ticket #7 bad: Broken 7"]
    assert {(one.text, one.person.email) for one in found} == {("Fast", "an@example.org")}
    past = signals(list(made.backfill(NOW - HOUR, NOW + HOUR, None)))
    assert [one.id for one in past] == [one.id for one in found]


def test_a_ticket_that_the_system_touches_is_the_same_signal(fake: FakeZendesk) -> None:
    ticket(fake, 7)
    made = source(fake.url)
    batches = list(made.poll(started(made), NOW))
    fake.modify("tickets", "7", generated_timestamp=int((NOW + HOUR).timestamp()))
    again = signals(list(made.poll(batches[-1].state, NOW + HOUR)))
    assert {one.id for one in again} <= {one.id for one in signals(batches)}


def test_a_deleted_ticket_is_counted(fake: FakeZendesk) -> None:
    ticket(fake, 7, status="deleted")
    made = source(fake.url)
    (batch,) = made.poll(started(made), NOW)
    assert (list(batch.signals), batch.dropped) == ([], {"a deleted ticket": 1})


def test_refusals_name_their_remedy(fake: FakeZendesk) -> None:
    with pytest.raises(Misconfigured, match="token access must be switched on"):
        source(fake.url, token="another").start(NOW)
    found = {one.what: one.remedy for one in source(fake.url, ratings=True).check_online()}
    assert found.keys() >= {"tickets", "ratings"}
    assert found["webhook"] == "syncd webhooks register desk"


def test_a_limit_of_the_export_is_obeyed_and_holds_nothing_else_up(fake: FakeZendesk) -> None:
    fake.plan.add([{"on": "GET /api/v2/incremental/*", "do": "error", "status": 429, "retry_after": 7, "times": 1}])
    made = source(fake.url)
    with pytest.raises(RateLimited) as limited:
        list(made.poll(made.start(NOW), NOW))
    assert limited.value.retry_after == 7
    made.start(NOW)


def recorded(name: str) -> Any:
    return json.loads((Path(RECORDINGS) / "zendesk.json").read_text())[name]


@with_recordings
def test_recorded_tickets_and_comments_are_read() -> None:
    rows = recorded("incremental-tickets")["exchanges"][0]["response"]["tickets"]
    read = [read_ticket(row, "https://acme.zendesk.com", NOW, priorities=["urgent"], tags=["urgent"]) for row in rows]
    assert [(one.id, one.open, one.escalated, one.subject) for one in read] == [
        ("2", True, True, "TestTicket"),
        ("3", True, False, "Test ticket from Acme"),
    ]
    said = [row for one in recorded("ticket-comments")["exchanges"] for row in one["response"]["comments"]]
    theirs = [read_comment(row, "46406145565073", {"id": 1, "role": "end-user"}) for row in said]
    assert sum(one is None for one in theirs) == 1, "the internal note"
    assert not any(read_comment(row, "1", {"id": 1, "role": "agent"}) for row in said)


@with_recordings
def test_recorded_events_are_received() -> None:
    drops: dict[str, int] = {}
    for name in ("event-comment-added", "event-messaging", "event-user"):
        drops |= source().parse(signed(json.dumps(recorded(name)["inbound"]["body"]).encode())).dropped
    assert drops == {"not a customer's": 1, "event messaging_ticket.message_added": 1, "event user.active_changed": 1}


@pytest.mark.parametrize("row", [{}, {"score": "offered"}, {"score": "unoffered"}, {"public": True}])
def test_odd_rows_say_nothing(row: dict[str, Any]) -> None:
    assert read_rating(row) is None
    assert read_comment(row, "1", None) is None
