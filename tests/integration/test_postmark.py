"""Postmark's opens, clicks and bounces by webhook, poll and backfill, its webhooks, and what Postmark publishes of them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context, Request
from syncd.connectors.email_insights import postmark_api
from syncd.connectors.email_insights.postmark import CONNECTOR, PostmarkSettings
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited
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
from syncd.twins.fake_vendor import (
    FakeRoute,
    FakeVendor,
    OffsetPages,
    changed,
    created,
    listed,
    recorded,
    removed,
)
from syncd.twins.wire import TwinCall, TwinResponse

URL, PASSWORD = "https://syncd.example.com/webhooks/mails", "a-password-of-ours-0815"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
MESSAGE = "883953f4-6105-42a2-a16a-77a8eac79483"


def rows(object_: str, at: str) -> Any:
    return listed(
        object_, items=object_.capitalize(), sort=at, newest_first=True, pages=OffsetPages("offset", "count", size=500)
    )


class FakePostmark(FakeVendor):
    """One server of Postmark's API, from its manual."""

    name = "postmark"
    token: ClassVar[str] = "a-server-token-0815"
    id_field: ClassVar[str] = "ID"
    subscriptions = "hooks"
    absent = (404, "404")
    invalid = (422, "402")
    throttled = (429, "429")
    events = FakeEvents(
        object="opens",
        at="ReceivedAt",
        id="MessageID",
        fields={"MessageStream": "outbound", "Tag": "welcome", "UserAgent": "Mozilla/5.0 (X11)", "FirstOpen": True},
        people={"email": "Recipient"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("GET /messages/outbound/opens", rows("opens", "ReceivedAt")),
        FakeRoute("GET /messages/outbound/clicks", rows("clicks", "ReceivedAt")),
        FakeRoute("GET /bounces", rows("bounces", "BouncedAt")),
        FakeRoute("GET /server", recorded({"ID": 1, "Name": "Shop", "TrackOpens": False, "TrackLinks": "None"})),
        FakeRoute("GET /webhooks", listed("hooks", items="Webhooks")),
        FakeRoute("POST /webhooks", created("hooks", needs=["Url"], status=200)),
        FakeRoute("PUT /webhooks/{id}", changed("hooks")),
        FakeRoute("DELETE /webhooks/{id}", removed("hooks")),
    )

    def admits(self, call: TwinCall) -> bool:
        return call.headers.get("x-postmark-server-token") == self.token

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"ErrorCode": int(code) if code.isdigit() else 10, "Message": message})


def source(url: str = "http://127.0.0.1:9", **keys: Any) -> Any:
    given = {"password": PASSWORD, "token": FakePostmark.token, "base_url": url, **keys}
    context = Context(name="mails", tokens=MemoryTokens(), region="VN", webhook_url=URL)
    return CONNECTOR.build(PostmarkSettings.model_validate(given), context)


def signed(body: bytes, password: str = PASSWORD, username: str = "syncd") -> Request:
    login = base64.b64encode(f"{username}:{password}".encode()).decode()
    return Request("POST", URL, {"authorization": f"Basic {login}", "content-type": "application/json"}, body, NOW)


def record(record_type: str, **more: Any) -> dict[str, Any]:
    person = {"Email": "an@example.org"} if record_type == "Bounce" else {"Recipient": "an@example.org"}
    at = {"BouncedAt" if record_type == "Bounce" else "ReceivedAt": "2025-04-05T16:33:54.9070259Z"}
    return {"RecordType": record_type, "MessageID": MESSAGE, "Tag": "welcome", **person, **at, **more}


def parsed(*records: Any, **keys: Any) -> Batch:
    body = json.dumps(records[0] if len(records) == 1 else records).encode()
    batch: Batch = source(**keys).parse(signed(body))
    return batch


def only(*records: Any, **keys: Any) -> Signal:
    (signal,) = parsed(*records, **keys).signals
    return signal


class PostmarkVendor(TwinVendor):
    auth_headers = ("authorization",)
    covers_body = False

    def request(self, number: int) -> Request:
        return self.sign(json.dumps({"RecordType": "Open", **self.event(number)}).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body)

    def again(self, number: int, time: int) -> Request:
        at = (self.moment(number) + timedelta(seconds=time)).isoformat()
        return self.sign(json.dumps({"RecordType": "Open", **self.event(number), "ReceivedAt": at}).encode())

    @property
    def secrets(self) -> Sequence[str]:
        return (PASSWORD, FakePostmark.token)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePostmark]:
    monkeypatch.setattr(postmark_api, "PAGE", 3)
    with FakePostmark() as twin:
        yield twin


@pytest.fixture
def vendor(fake: FakePostmark) -> PostmarkVendor:
    return PostmarkVendor(fake)


class TestPostmark(WebhookConformance, PollingConformance, BackfillConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self, fake: FakePostmark) -> Any:
        return lambda: source(fake.url)


class TestPostmarkWebhooksAlone(WebhookConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self) -> Any:
        return lambda: source(token=None)


def test_opens_of_one_email_are_one_signal() -> None:
    first = only(record("Open", FirstOpen=True))
    assert (first.type, first.title, first.reply) == ("email.opened", "Opened: welcome", "mailto:an@example.org")
    assert first.person.email == "an@example.org"
    assert first.occurred_at == datetime(2025, 4, 5, 16, 33, 54, 907025, UTC)
    second = only(record("Open", ReceivedAt="2025-04-05T17:00:00Z", Recipient="An@Example.org"))
    other = only(record("Open", Recipient="binh@example.org"))
    assert (first.id == second.id, first.id == other.id) == (True, False)
    assert first.repeat != second.repeat


def test_a_time_is_the_same_event_in_every_zone() -> None:
    assert only(record("Open")).repeat == only(record("Open", ReceivedAt="2025-04-05T12:33:54.9070259-04:00")).repeat


def test_clicks_are_counted_by_link() -> None:
    links = [only(record("Click", OriginalLink=link)) for link in ("https://a.example/x", "https://a.example/y")]
    again = only(record("Click", OriginalLink="https://a.example/x", ReceivedAt="2025-04-06T00:00:00Z"))
    assert links[0].title == "Clicked in welcome: https://a.example/x"
    assert (links[0].text, links[0].data["link"]) == ("https://a.example/x", "https://a.example/x")
    assert (links[0].id == again.id, links[0].id == links[1].id) == (True, False)


@pytest.mark.parametrize(
    ("kind", "more", "hard"),
    [
        ("HardBounce", {}, "hard"),
        ("BadEmailAddress", {}, "hard"),
        ("SoftBounce", {"Details": "smtp;550 5.1.1 no such user"}, "soft"),
        ("DMARCPolicy", {}, "soft"),
        ("SomethingNew", {"Inactive": True}, "hard"),
        ("SomethingNew", {"Details": "smtp;552 5.2.2 mailbox full"}, "soft"),
        ("Unknown", {"Details": "smtp;550 5.1.1 no such user"}, "hard"),
    ],
)
def test_bounces(kind: str, more: dict[str, Any], hard: str) -> None:
    signal = only(record("Bounce", ID=42, Type=kind, Subject="Welcome", **more))
    assert (signal.type, signal.title, signal.reply) == ("email.bounced", "Not delivered: Welcome", "")
    assert (signal.data["kind"], signal.data["code"], signal.repeat) == (hard, kind, "")


def test_two_bounces_of_one_email_are_two_signals() -> None:
    made = [only(record("Bounce", ID=number, Type="SoftBounce")) for number in (42, 43)]
    assert made[0].id != made[1].id


@pytest.mark.parametrize(
    ("sent", "keys", "reason"),
    [
        (record("Delivery"), {}, "event Delivery"),
        (record("SpamComplaint", Type="SpamComplaint"), {}, "event SpamComplaint"),
        (record("SomethingNew"), {}, "event SomethingNew"),
        (record("Bounce", Type="Transient"), {}, "bounce Transient"),
        (record("Bounce", Type="AutoResponder"), {}, "bounce AutoResponder"),
        (record("Bounce", Type="SoftBounce"), {"soft_bounces": False}, "soft bounce"),
        (record("Open", UserAgent="Mozilla/5.0"), {}, "open of a machine"),
        (record("Click", UserAgent="Mozilla/5.0", OriginalLink="https://a.example"), {}, "click of a machine"),
    ],
)
def test_what_is_not_a_signal_is_counted(sent: dict[str, Any], keys: dict[str, Any], reason: str) -> None:
    batch = parsed(sent, **keys)
    assert (batch.signals, batch.dropped) == ([], {reason: 1})


def test_opens_of_machines_are_counted_apart() -> None:
    machine = only(record("Open", UserAgent="Mozilla/5.0"), machine_opens=True)
    assert machine.data["machine"] is True
    assert machine.id != only(record("Open"), machine_opens=True).id


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"\xff\xfe", b'{"RecordType":"Open"}', b"{", b"5"])
def test_bodies_that_are_not_records(body: bytes) -> None:
    with pytest.raises(Malformed):
        source().parse(signed(body))


def test_logins() -> None:
    made = source(password=["a-new-password-0815", PASSWORD])
    for password in (PASSWORD, "a-new-password-0815"):
        made.verifier()(signed(b"{}", password), NOW)
    nothing = Request("POST", URL, {}, b"{}", NOW)
    for wrong in (nothing, signed(b"{}", "another"), signed(b"{}", username="else")):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)


def test_every_list_is_read_under_the_ids_of_the_webhooks(fake: FakePostmark) -> None:
    sent = [
        record("Open"),
        record("Click", OriginalLink="https://a.example"),
        record("Bounce", ID=42, Type="HardBounce"),
    ]
    for one, table in zip(sent, ("opens", "clicks", "bounces"), strict=True):
        fake.add(table, **{name: value for name, value in one.items() if name != "RecordType"})
    made = source(fake.url)
    batches = list(made.backfill(datetime(2025, 4, 1, tzinfo=UTC), datetime(2025, 5, 1, tzinfo=UTC), None))
    found = {(signal.id, signal.repeat) for batch in batches for signal in batch.signals}
    assert found == {(signal.id, signal.repeat) for signal in parsed(*sent).signals}
    assert not [
        signal
        for batch in made.backfill(datetime(2025, 4, 6, tzinfo=UTC), datetime(2025, 5, 1, tzinfo=UTC), None)
        for signal in batch.signals
    ]


def test_a_misfit_of_a_list_can_be_read_again(fake: FakePostmark) -> None:
    fake.happen(1, NOW, spoilt=True)
    made = source(fake.url)
    (batch,) = made.poll(made.start(NOW - timedelta(hours=1)), NOW)
    (misfit,) = batch.misfits
    row = json.loads(misfit.request.body)
    assert row["RecordType"] == "Open"
    (signal,) = made.parse(signed(json.dumps({**row, "ReceivedAt": "2026-11-22T08:00:00Z"}).encode())).signals
    assert signal.type == "email.opened"


def test_each_stream_has_one_webhook_that_is_brought_up_to_date(fake: FakePostmark) -> None:
    made = source(fake.url, streams=["outbound", "broadcast"])
    for _ in range(2):
        assert [one.state for one in made.subscribe().there] == ["stream outbound", "stream broadcast"]
    first, _ = fake.records("hooks")
    assert first["HttpAuth"] == {"Username": "syncd", "Password": PASSWORD}
    source(fake.url, streams=["outbound", "broadcast"], password=["another-one-0815", PASSWORD]).subscribe()
    assert {row["HttpAuth"]["Password"] for row in fake.records("hooks")} == {"another-one-0815"}
    fake.modify("hooks", str(first["ID"]), Triggers={"Open": {"Enabled": True, "PostFirstOpenOnly": True}})
    assert made.subscriptions()[0].events == ()
    made.subscribe()
    assert made.subscriptions()[0].events == ("open", "click", "bounce")


def test_what_check_online_says(fake: FakePostmark) -> None:
    made = source(fake.url)
    said = {finding.what: str(finding.level) for finding in made.check_online()}
    assert said == {
        "sign-in": "ok",
        "open tracking": "warning",
        "link tracking": "warning",
        "webhook outbound": "warning",
    }
    made.subscribe()
    assert "webhook outbound" not in {finding.what for finding in made.check_online()}


def test_faults_become_classes(fake: FakePostmark) -> None:
    made = source(fake.url)
    fake.plan.add([{"do": "too_many", "times": 1}])
    with pytest.raises(RateLimited):
        list(made.poll(made.start(NOW), NOW))
    with pytest.raises(Misconfigured, match="the token is refused"):
        list(source(fake.url, token="wrong").poll(made.start(NOW), NOW))


@with_recordings
def test_published_records() -> None:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "postmark.json").read_text("utf-8"))
    said = {name: parsed(one["inbound"]["body"]) for name, one in found.items()}
    made = {name: [signal.type for signal in batch.signals] for name, batch in said.items()}
    assert {name: types for name, types in made.items() if types} == {
        "bounce": ["email.bounced"],
        "open": ["email.opened"],
        "click": ["email.clicked"],
    }
    dropped = [reason for batch in said.values() for reason in batch.dropped]
    assert sorted(dropped) == ["event Delivery", "event SpamComplaint", "event SubscriptionChange"]
    (bounce,) = said["bounce"].signals
    assert (bounce.data["kind"], bounce.data["status"], bounce.data["subject"]) == (
        "hard",
        "5.1.1",
        "Welcome to our service",
    )
    assert bounce.data["metadata"] == {"customer_id": "12345"}
