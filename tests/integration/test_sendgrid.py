"""Events of SendGrid's Event Webhook, its registration, and what SendGrid publishes of it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from syncd.connector import Batch, Context, Request
from syncd.connectors.email_insights.sendgrid import CONNECTOR, SendGridSettings
from syncd.errors import Malformed, Misconfigured, NotAuthentic, RateLimited
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import SubscriptionConformance, TwinVendor, WebhookConformance
from syncd.twins.fake_events import FakeEvents, unix
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, changed, created, listed, removed
from syncd.twins.wire import TwinCall, TwinResponse

URL = "https://syncd.example.com/webhooks/mails"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
PRIVATE, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def public(key: ec.EllipticCurvePrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def sign_webhook(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    if vendor.store.get("hooks", parts["id"]) is None:
        return vendor.missing()
    key = public(PRIVATE) if call.json()["enabled"] else ""
    vendor.store.put("hooks", parts["id"], {**(vendor.store.get("hooks", parts["id"]) or {}), "public_key": key})
    return TwinResponse(200, {"id": parts["id"], "public_key": key})


class FakeSendGrid(FakeVendor):
    """SendGrid's API of event webhooks, from its manual; its events are those of the webhook."""

    name = "sendgrid"
    token: ClassVar[str] = "SG.an-api-key-0815"
    subscriptions = "hooks"
    events = FakeEvents(
        object="events",
        id="sg_event_id",
        at="timestamp",
        time=unix,
        fields={"event": "open", "sg_message_id": "m{n}.filter0001.16648.5515E0B88.0", "useragent": "Mozilla/4.0"},
        people={"email": "email"},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("GET /v3/user/webhooks/event/settings/all", listed("hooks", items="webhooks")),
        FakeRoute("POST /v3/user/webhooks/event/settings", created("hooks", needs=["url"])),
        FakeRoute("PATCH /v3/user/webhooks/event/settings/signed/{id}", sign_webhook),
        FakeRoute("PATCH /v3/user/webhooks/event/settings/{id}", changed("hooks")),
        FakeRoute("DELETE /v3/user/webhooks/event/settings/{id}", removed("hooks")),
    )

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"errors": [{"message": message, "field": next(iter(fields), None)}]})


def source(url: str = "http://127.0.0.1:9", recall: Any = None, **keys: Any) -> Any:
    given = {"api_key": FakeSendGrid.token, "base_url": url, **keys}
    more = {"recall": recall} if recall is not None else {}
    context = Context(name="mails", tokens=MemoryTokens(), region="VN", webhook_url=URL, **more)
    return CONNECTOR.build(SendGridSettings.model_validate(given), context)


def signed(body: bytes, key: ec.EllipticCurvePrivateKey = PRIVATE, stamp: str = "1700000000") -> Request:
    signature = base64.b64encode(key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    headers = {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": stamp,
        "content-type": "application/json",
    }
    return Request("POST", URL, headers, body, NOW)


def event(name: str, **more: Any) -> dict[str, Any]:
    sent = {"email": "an@example.org", "timestamp": 1513299569, "sg_message_id": "14c5d75ce93.dfd.filter0001.16648.0"}
    return {**sent, "event": name, "sg_event_id": f"id-{name}", **more}


def parsed(*events: Any, **keys: Any) -> Batch:
    batch: Batch = source(**keys).parse(signed(json.dumps(events).encode()))
    return batch


def only(*events: Any, **keys: Any) -> Signal:
    (signal,) = parsed(*events, **keys).signals
    return signal


class SendGridVendor(TwinVendor):
    auth_headers = ("x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp")

    def request(self, number: int) -> Request:
        return self.sign(json.dumps([self.event(number)]).encode())

    def sign(self, body: bytes) -> Request:
        return signed(body)

    def again(self, number: int, time: int) -> Request:
        first = self.event(number)
        later = {**first, "sg_event_id": f"again-{time}", "timestamp": first["timestamp"] + time}
        return self.sign(json.dumps([later]).encode())

    @property
    def secrets(self) -> Sequence[str]:
        return (FakeSendGrid.token,)


@pytest.fixture
def fake() -> Iterator[FakeSendGrid]:
    with FakeSendGrid() as twin:
        yield twin


@pytest.fixture
def vendor(fake: FakeSendGrid) -> SendGridVendor:
    return SendGridVendor(fake)


class TestSendGrid(WebhookConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self, fake: FakeSendGrid) -> Any:
        return lambda recall: source(fake.url, recall, public_key=public(PRIVATE))


class TestSendGridWebhooksAlone(WebhookConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self) -> Any:
        return lambda: source(api_key=None, public_key=public(PRIVATE))


def test_opens_and_clicks_are_counted() -> None:
    first = only(event("open", category=["offer", "q4"]))
    assert (first.type, first.title, first.repeat) == ("email.opened", "Opened: offer", "id-open")
    assert (first.data["tags"], first.data["message_id"]) == (["offer", "q4"], "14c5d75ce93")
    again = only(event("open", sg_event_id="2", sg_message_id="14c5d75ce93.dfd.filter0002.1.0", timestamp=1513299999))
    assert (again.id, again.repeat) == (first.id, "2")
    clicks = parsed(*(event("click", url=url, sg_event_id=url) for url in ("https://a.example", "https://b.example")))
    assert [one.text for one in clicks.signals] == ["https://a.example", "https://b.example"]
    assert len({one.id for one in clicks.signals}) == 2


def test_the_message_id_of_the_email_ties_it_to_its_thread() -> None:
    signal = only(event("open", **{"smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>"}))
    assert signal.thread == "mail:14c5d75ce93.dfd.64b469@ismtpd-555"
    assert signal.data["message_id"] == "14c5d75ce93.dfd.64b469@ismtpd-555"
    assert signal.id == only(event("open")).id


def test_arguments_of_the_sender_are_kept_apart() -> None:
    signal = only(event("open", order="4711", subject="Not SendGrid's", singlesend_name="Black week"))
    assert signal.data["custom"] == {"order": "4711", "subject": "Not SendGrid's"}
    assert (signal.title, signal.data["campaign"]) == ("Opened: Black week", "Black week")


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"type": "bounce", "reason": "552 full"}, "hard"),
        ({"type": "blocked", "reason": "550 5.1.1 unknown"}, "soft"),
        ({"reason": "552 5.2.2 mailbox full"}, "soft"),
        ({"reason": "500 unknown recipient", "status": "5.0.0"}, "hard"),
    ],
)
def test_bounces(more: dict[str, Any], kind: str) -> None:
    signal = only(event("bounce", **more))
    assert (signal.type, signal.data["kind"], signal.text) == ("email.bounced", kind, more["reason"])
    assert signal.title == "Email not delivered"  # SendGrid does not send the subject


@pytest.mark.parametrize(
    ("sent", "keys", "reason"),
    [
        (event("processed"), {}, "event processed"),
        (event("dropped", reason="Bounced Address"), {}, "event dropped"),
        ({"event": "account_status_change", "type": "suspended"}, {}, "event account_status_change"),
        (event("something_new"), {}, "event something_new"),
        (event("open", sg_machine_open=True), {}, "open of a machine"),
        (event("bounce", type="blocked"), {"soft_bounces": False}, "soft bounce"),
    ],
)
def test_what_is_not_a_signal_is_counted(sent: dict[str, Any], keys: dict[str, Any], reason: str) -> None:
    batch = parsed(sent, **keys)
    assert (batch.signals, batch.dropped) == ([], {reason: 1})


def test_opens_of_machines_are_counted_apart() -> None:
    machine = only(event("open", sg_machine_open=True), machine_opens=True)
    assert machine.data["machine"] is True
    assert machine.id != only(event("open", sg_machine_open=False)).id


def test_a_thousand_events_and_none_in_one_body() -> None:
    many = parsed(*(event("open", sg_event_id=str(n), email=f"a{n}@example.org") for n in range(1000)))
    assert len({signal.id for signal in many.signals}) == 1000
    assert parsed() == Batch(signals=[], hints=[], misfits=[])


@pytest.mark.parametrize("body", [b"{}", b"null", b"\xff\xfe", b'[{"event":"open"}]', b"[", b"[5]"])
def test_bodies_that_are_not_events(body: bytes) -> None:
    with pytest.raises(Malformed):
        source().parse(signed(body))


def test_signatures_cover_the_raw_bytes_and_any_known_key_counts() -> None:
    made = source(public_key=[public(OTHER), public(PRIVATE)])
    for key in (PRIVATE, OTHER):
        made.verifier()(signed(b"[]\r\n", key), NOW)
    cut = signed(b"[]\r\n")
    for wrong in (
        Request("POST", URL, cut.headers, b"[]", NOW),
        Request("POST", URL, {}, b"[]", NOW),
        signed(b"[]", ec.generate_private_key(ec.SECP256R1())),
    ):
        with pytest.raises(NotAuthentic):
            made.verifier()(wrong, NOW)
    with pytest.raises(NotAuthentic, match="syncd webhooks register"):
        source().verifier()(signed(b"[]"), NOW)


@pytest.mark.parametrize("keys", [{}, {"public_key": "not a key"}])
def test_keys_that_cannot_work(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SendGridSettings.model_validate(keys)


def test_a_webhook_is_made_once_signed_and_brought_up_to_date(fake: FakeSendGrid) -> None:
    fake.add("hooks", url="https://elsewhere.example.org", enabled=True)
    made = source(fake.url)
    first = made.subscribe()
    assert first.remember == {"public key": public(PRIVATE)}
    (id_,) = [one.id for one in first.there]
    fake.modify("hooks", id_, enabled=False, click=False, public_key="")
    (shown,) = [one for one in made.subscriptions() if one.ours]
    assert (shown.active, shown.events, "register again" in shown.note) == (False, ("open", "bounce"), True)
    (again,) = made.subscribe().there
    assert (again.id, again.active, again.note) == (id_, True, "")


def test_the_key_of_a_registration_verifies(fake: FakeSendGrid) -> None:
    remembered = dict(source(fake.url).subscribe().remember)
    made = source(fake.url, lambda keys: {key: remembered[key] for key in keys if key in remembered})
    made.verifier()(signed(b"[]"), NOW)
    with pytest.raises(NotAuthentic):
        made.verifier()(signed(b"[]", OTHER), NOW)


def test_what_check_online_says(fake: FakeSendGrid) -> None:
    def said(made: Any) -> dict[str, str]:
        return {finding.what: str(finding.level) for finding in made.check_online()}

    made = source(fake.url, public_key=public(PRIVATE))
    assert said(made) == {"sign-in": "ok", "webhook": "warning"}
    made.subscribe()
    assert said(made) == {"sign-in": "ok", "webhook": "ok"}
    assert said(source(fake.url, public_key=public(OTHER)))["webhook"] == "fault"


def test_faults_become_classes(fake: FakeSendGrid) -> None:
    fake.plan.add([{"do": "too_many", "times": 1}])
    with pytest.raises(RateLimited):
        source(fake.url).subscriptions()
    with pytest.raises(Misconfigured, match="the API key is refused"):
        source(fake.url, api_key="SG.wrong").subscriptions()


@with_recordings
def test_published_events() -> None:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "sendgrid.json").read_text("utf-8"))
    said = {name: parsed(*one["inbound"]["body"]) for name, one in found.items()}
    made = {name: [signal.type for signal in batch.signals] for name, batch in said.items()}
    assert made.pop("all-events-one-body") == ["email.opened", "email.clicked", "email.bounced"]
    assert {name: types for name, types in made.items() if types} == {
        "bounce-bounce": ["email.bounced"],
        "bounce-blocked": ["email.bounced"],
        "open": ["email.opened"],
        "click": ["email.clicked"],
    }
    assert not [item for batch in said.values() for item in batch.misfits]
    assert sum(said["all-events-one-body"].dropped.values()) == 8
    kinds = [said[name].signals[0].data["kind"] for name in ("bounce-bounce", "bounce-blocked")]
    assert kinds == ["hard", "soft"]
