"""Mailgun's events by webhook, poll and backfill, its webhooks, and what Mailgun publishes of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context, Request
from syncd.connectors.email_insights.mailgun import CONNECTOR, MailgunSettings
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited, SyncdError
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import (
    BackfillConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    WebhookConformance,
)
from syncd.twins.fake_events import FakeEvents
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, listed
from syncd.twins.wire import TwinCall, TwinResponse

URL, DOMAIN, KEY = "https://syncd.example.com/webhooks/mails", "mg.example.org", "a-signing-key-0815"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
PAGE = 3


def event_list(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """`paging.next` is always there; the page is named by how many events are before it."""
    least, below = {"begin": "timestamp"}, {"end": "timestamp"}
    answer = listed("events", items="items", sort="timestamp", least=least, below=below)(vendor, call, parts)
    rows, start = answer.body["items"], int(call.query.get("p", 0))
    query = "&".join(f"{name}={value}" for name, value in call.query.items() if name in ("begin", "end"))
    page = rows[start : start + PAGE]
    following = f"{vendor.url}{call.path}?{query}&p={start + len(page)}"
    return TwinResponse(200, {"items": page, "paging": {"next": following, "first": f"{vendor.url}{call.path}"}})


def hooks(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return TwinResponse(200, {"webhooks": {row["id"]: {"urls": row["urls"]} for row in vendor.records("hooks")}})


def put_hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    form = call.form()
    id_ = parts.get("id") or form["id"]
    if ("id" in parts) != (vendor.store.get("hooks", id_) is not None):
        return vendor.error(400, "", "Webhook already exists" if "id" not in parts else "Webhook does not exist")
    vendor.store.put("hooks", id_, {"id": id_, "urls": [form["url"]]})
    return TwinResponse(200, {"message": "Webhook has been set", "webhook": {"urls": [form["url"]]}})


def drop_hook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    vendor.store.put("hooks", parts["id"], None)
    return TwinResponse(200, {"message": "Webhook has been deleted"})


class FakeMailgun(FakeVendor):
    """Mailgun's Events and Webhooks API of one domain, from its manual."""

    name = "mailgun"
    token: ClassVar[str] = "key-0815-of-the-twin"
    subscriptions = "hooks"
    events = FakeEvents(
        object="events",
        at="timestamp",
        time=lambda at: at.timestamp(),
        fields={"event": "opened", "message": {"headers": {"message-id": "m{n}@mg.example.org"}}, "tags": ["offer"]},
        people={"email": "recipient"},
        spoilt={"recipient": None},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("GET /v3/{domain}/events", event_list),
        FakeRoute("GET /v3/domains/{domain}/webhooks", hooks),
        FakeRoute("POST /v3/domains/{domain}/webhooks", put_hook),
        FakeRoute("PUT /v3/domains/{domain}/webhooks/{id}", put_hook),
        FakeRoute("DELETE /v3/domains/{domain}/webhooks/{id}", drop_hook),
    )

    def admits(self, call: TwinCall) -> bool:
        return call.bearer == base64.b64encode(f"api:{self.token}".encode()).decode()

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"message": message})


def source(url: str = "http://127.0.0.1:9", **keys: Any) -> Any:
    given = {"domain": DOMAIN, "signing_key": KEY, "api_key": FakeMailgun.token, "base_url": url, **keys}
    context = Context(name="mails", tokens=MemoryTokens(), region="VN", webhook_url=URL)
    return CONNECTOR.build(MailgunSettings.model_validate(given), context)


def signed(body: bytes, at: datetime = NOW, key: str = KEY, token: str = "") -> Request:
    """The signature stands in the body, so a body that is not an object cannot have one."""
    stamp = str(int(at.timestamp()))
    token = token or hashlib.sha256(body).hexdigest()[:50]
    signature = hmac.new(key.encode(), (stamp + token).encode(), hashlib.sha256).hexdigest()
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    if isinstance(sent, dict):
        proof = {"timestamp": stamp, "token": token, "signature": signature}
        body = json.dumps({"signature": proof, **sent}).encode()
    return Request("POST", URL, {"content-type": "application/json"}, body, at)


def event(name: str, **more: Any) -> dict[str, Any]:
    sent = {"id": f"id-{name}", "timestamp": 1529692199.626182, "recipient": "an@example.org"}
    headers = {"message-id": "20180622@mg.example.org", "subject": "Our offer"}
    return {**sent, "event": name, "message": {"headers": headers}, **more}


def parsed(sent: Any, **keys: Any) -> Batch:
    batch: Batch = source(**keys).parse(signed(json.dumps({"event-data": sent}).encode()))
    return batch


def only(sent: Any, **keys: Any) -> Signal:
    (signal,) = parsed(sent, **keys).signals
    return signal


class MailgunVendor(TwinVendor):
    covers_body = False
    signed_inside = "signature.signature"

    def request(self, number: int) -> Request:
        return self.sign(json.dumps({"event-data": self.event(number)}).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body, self.first_moment)

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> None:
        return None  # one event a body

    def again(self, number: int, time: int) -> Request:
        first = self.event(number)
        later = {**first, "id": f"again-{time}", "timestamp": first["timestamp"] + time}
        return self.sign(json.dumps({"event-data": later}).encode())

    @property
    def secrets(self) -> Sequence[str]:
        return (KEY, FakeMailgun.token)


@pytest.fixture
def fake() -> Iterator[FakeMailgun]:
    with FakeMailgun() as twin:
        yield twin


@pytest.fixture
def vendor(fake: FakeMailgun) -> MailgunVendor:
    return MailgunVendor(fake)


class TestMailgun(WebhookConformance, PollingConformance, BackfillConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self, fake: FakeMailgun) -> Any:
        return lambda: source(fake.url)


class TestMailgunWebhooksAlone(WebhookConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self) -> Any:
        return lambda: source(api_key=None)


def test_opens_and_clicks_are_counted() -> None:
    first = only(event("opened"))
    assert (first.type, first.title) == ("email.opened", "Opened: Our offer")
    assert first.repeat == "2018-06-22 id-opened"
    assert (first.data["message_id"], first.thread) == ("20180622@mg.example.org", "mail:20180622@mg.example.org")
    again = only(event("opened", id="2", timestamp=1529692300.5))
    assert (again.id, again.repeat) == (first.id, "2018-06-22 2")
    clicks = [only(event("clicked", url=url)) for url in ("https://a.example", "https://b.example")]
    assert [one.title for one in clicks] == [
        "Clicked in Our offer: https://a.example",
        "Clicked in Our offer: https://b.example",
    ]
    assert clicks[0].id != clicks[1].id


def test_an_id_counts_within_its_day() -> None:
    late, early = (only(event("opened", timestamp=at)).repeat for at in (1529711999.9, 1529712000.1))
    assert (late, early) == ("2018-06-22 id-opened", "2018-06-23 id-opened")


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"delivery-status": {"enhanced-code": "5.1.1", "message": "550 5.1.1 no such user"}}, "hard"),
        ({"delivery-status": {"enhanced-code": "5.2.2", "message": "552 5.2.2 mailbox full"}}, "soft"),
        ({"delivery-status": {"bounce-type": "soft", "message": "550 5.1.1 no such user"}}, "soft"),
        ({"reason": "old", "delivery-status": {"code": 602, "message": "Too old"}}, "soft"),
    ],
)
def test_permanent_failures(more: dict[str, Any], kind: str) -> None:
    signal = only(event("failed", severity="permanent", **more))
    assert (signal.type, signal.data["kind"]) == ("email.bounced", kind)
    assert signal.text == more["delivery-status"]["message"]


@pytest.mark.parametrize(
    ("sent", "keys", "reason"),
    [
        (event("delivered"), {}, "event delivered"),
        (event("complained"), {}, "event complained"),
        (event("something_new"), {}, "event something_new"),
        (event("failed", severity="temporary"), {}, "failed temporary"),
        (event("failed", severity="permanent", reason="suppress-bounce"), {}, "not sent: suppress-bounce"),
        (event("opened", **{"client-info": {"bot": "apple"}}), {}, "open of a machine"),
        (event("clicked", url="https://a.example", **{"client-info": {"bot": "generic"}}), {}, "click of a machine"),
        (event("opened", domain={"name": "other.example.org"}), {}, "another domain"),
    ],
)
def test_what_is_not_a_signal_is_counted(sent: dict[str, Any], keys: dict[str, Any], reason: str) -> None:
    batch = parsed(sent, **keys)
    assert (batch.signals, batch.dropped) == ([], {reason: 1})


def test_opens_of_machines_are_counted_apart() -> None:
    machine = only(event("opened", **{"client-info": {"bot": "apple"}}), machine_opens=True)
    assert machine.data["machine"] is True
    assert machine.id != only(event("opened")).id


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"null", b"\xff\xfe", b'{"event-data":{"event":"opened"}}', b"{", b'{"event-data":5}']
)
def test_bodies_that_are_not_events(body: bytes) -> None:
    with pytest.raises(Malformed):
        source().parse(signed(body))


def test_signatures() -> None:
    made = source(signing_key=["a-new-signing-key", KEY])
    body = json.dumps({"event-data": event("opened")}).encode()
    for key in (KEY, "a-new-signing-key"):
        made.verifier()(signed(body, key=key), NOW)
    for wrong in (
        signed(body, key="another"),
        signed(body, NOW - timedelta(days=1)),
        Request("POST", URL, {}, body, NOW),
    ):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)


def test_a_token_is_not_taken_with_another_event() -> None:
    """The signature does not cover the event."""
    check = source().verifier()
    one = signed(json.dumps({"event-data": event("opened")}).encode(), token="t" * 50)
    check(one, NOW)
    check(one, NOW)  # a retry
    with pytest.raises(NotAuthentic):
        check(replace(one, body=one.body.replace(b"an@example.org", b"no@example.org")), NOW)


def test_an_event_that_shows_late_is_read(fake: FakeMailgun) -> None:
    made = source(fake.url)
    for number, minutes in ((1, 0), (2, 30)):
        fake.happen(number, NOW + timedelta(minutes=minutes))
    batches = list(made.poll(made.start(NOW), NOW))
    state = batches[-1].state
    fake.happen(3, NOW + timedelta(minutes=2))
    (late,) = [signal for batch in made.poll(state, NOW) for signal in batch.signals]
    assert late.occurred_at == NOW + timedelta(minutes=2)


def test_a_type_that_others_use_is_taken_over_only_with_force(fake: FakeMailgun) -> None:
    made = source(fake.url)
    fake.add("hooks", id="opened", urls=["https://elsewhere.example.org/x"])
    with pytest.raises(SyncdError, match="opened reports to https://elsewhere"):
        made.subscribe()
    assert [row["id"] for row in fake.records("hooks")] == ["opened"]
    fake.modify("hooks", "opened", urls=["https://elsewhere.example.org/x", URL])
    assert [one.id for one in made.subscribe().there] == ["opened", "clicked", "permanent_fail"]
    with pytest.raises(SyncdError, match="other addresses too"):
        made.unsubscribe("opened")
    fake.modify("hooks", "opened", urls=["https://elsewhere.example.org/x"])
    made.subscribe(force=True)
    assert {tuple(row["urls"]) for row in fake.records("hooks")} == {(URL,)}


def test_what_check_online_says(fake: FakeMailgun) -> None:
    made = source(fake.url)
    assert {finding.what: str(finding.level) for finding in made.check_online()} == {
        "sign-in": "ok",
        "webhooks": "warning",
    }
    made.subscribe()
    assert {finding.what: str(finding.level) for finding in made.check_online()} == {"sign-in": "ok"}


def test_faults_become_classes(fake: FakeMailgun) -> None:
    made = source(fake.url)
    fake.plan.add([{"do": "too_many", "times": 1}])
    with pytest.raises(RateLimited):
        list(made.poll(made.start(NOW), NOW))
    with pytest.raises(Misconfigured, match="the API key is refused"):
        list(source(fake.url, api_key="wrong").poll(made.start(NOW), NOW))


@with_recordings
def test_published_events() -> None:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "mailgun.json").read_text("utf-8"))
    bodies = {name: one["inbound"]["body"] for name, one in found.items()}
    assert "id" not in (bot := bodies.pop("opened-by-bot"))  # an excerpt
    assert parsed({**bot, "id": "1"}).dropped == {"open of a machine": 1}
    said = {
        name: source(domain="example.org").parse(signed(json.dumps(body).encode())) for name, body in bodies.items()
    }
    assert {name: [one.type for one in batch.signals] for name, batch in said.items() if batch.signals} == {
        "failed-permanent-delayed-bounce": ["email.bounced"],
        "opened": ["email.opened"],
        "clicked": ["email.clicked"],
    }
    dropped = {name: next(iter(batch.dropped)) for name, batch in said.items() if batch.dropped}
    assert dropped == {
        "delivered": "event delivered",
        "failed-permanent": "not sent: suppress-bounce",
        "failed-temporary": "failed temporary",
        "unsubscribed": "event unsubscribed",
        "complained": "event complained",
    }
    (bounce,) = said["failed-permanent-delayed-bounce"].signals
    assert (bounce.data["kind"], bounce.data["status"], bounce.data["subject"]) == (
        "hard",
        "5.1.1",
        "Testing delayed bounce",
    )
