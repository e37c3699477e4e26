"""The generic webhook, Twilio and Zoho Desk keep what the intake relies on: they inherit the conformance suites."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
import standardwebhooks
from twilio.request_validator import RequestValidator

from syncd.connector import Batch, Context, Request
from syncd.connectors.desk import zoho, zoho_receiver
from syncd.connectors.desk.zoho_api import PAGE
from syncd.connectors.generic import webhook
from syncd.connectors.phone import twilio
from syncd.http.oauth import MemoryTokens
from syncd.signals import derive_id
from syncd.signatures.verifier import FORM
from syncd.testing import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    SubscriptionConformance,
    TwinVendor,
    Vendor,
    WebhookConformance,
)
from syncd.twins.twilio import TwilioTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin

URL = "https://syncd.example.com/webhooks/door"
Connect = Callable[..., Any]


def arrived(body: bytes, headers: dict[str, str], at: datetime, url: str = URL) -> Request:
    lowered = {name.lower(): value for name, value in headers.items()}
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    return Request(method="POST", url=url, headers=lowered, body=body, received_at=at, query=query)


class CloudEventsSender(Vendor):
    """Signs by the official Standard Webhooks package."""

    signs_time = True
    auth_headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    def request(self, number: int) -> Request:
        event = {
            "specversion": "1.0",
            "type": "shop.order",
            "source": "/shop",
            "id": f"n{number}",
            "data": {"text": "hi"},
        }
        return self.sign(msgspec.json.encode({**event, "time": self.moment(number).isoformat()}))

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request | None:
        plain = super().several(numbers, wrong)
        assert plain is not None
        return replace(plain, headers={**plain.headers, "content-type": "application/cloudevents-batch+json"})

    def sign(self, body: bytes) -> Request:
        text = body.decode("latin-1")  # the package signs text as UTF-8: only ASCII bodies come out the same
        stamp = f"{self.first_moment.timestamp():.0f}"
        signature = standardwebhooks.Webhook(self.secret).sign("msg_1", self.first_moment, text)
        if not body.isascii():
            signature = self._sign_bytes(body, stamp)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}
        return arrived(body, {**headers, "content-type": "application/cloudevents+json"}, self.first_moment)

    def _sign_bytes(self, body: bytes, stamp: str) -> str:
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        return "v1," + base64.b64encode(hmac.digest(key, f"msg_1.{stamp}.".encode() + body, "sha256")).decode()


class TestGenericWebhook(WebhookConformance):
    connector = webhook.CONNECTOR

    @pytest.fixture
    def vendor(self) -> CloudEventsSender:
        return CloudEventsSender()

    @pytest.fixture
    def connect(self) -> Connect:
        keys = {"verify": {"scheme": "standard_webhooks", "secret": CloudEventsSender.secret}, "account": "shop"}
        settings = webhook.WebhookSettings.model_validate(keys)
        return lambda: webhook.CONNECTOR.build(settings, Context(name="door", tokens=MemoryTokens()))


class MailEvents(CloudEventsSender):
    """Opens of emails, through a field map."""

    def request(self, number: int) -> Request:
        return self.again(number, 0)

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request | None:
        return Vendor.several(self, numbers, wrong)

    def again(self, number: int, time: int) -> Request:
        at = (self.moment(number) + time * timedelta(hours=1)).isoformat()
        event = {"mail": f"m{number}", "event": f"e{number}.{time}", "at": at, "to": "ann@example.com"}
        return self.sign(msgspec.json.encode([event]))

    def sign(self, body: bytes) -> Request:
        signed = super().sign(body)
        return replace(signed, headers={**signed.headers, "content-type": "application/json"})


class TestGenericWebhookThatCounts(WebhookConformance):
    connector = webhook.CONNECTOR

    @pytest.fixture
    def vendor(self) -> MailEvents:
        return MailEvents()

    @pytest.fixture
    def connect(self) -> Connect:
        keys = {
            "verify": {"scheme": "standard_webhooks", "secret": MailEvents.secret},
            "format": "json",
            "signal": {
                "type": "email.opened",
                "each": "{{ body }}",
                "repeats": {"same": "{{ item.mail }} {{ item.to }}", "event": "{{ item.event }}"},
                "occurred_at": "{{ item.at }}",
                "person": {"email": "{{ item.to }}"},
            },
        }
        settings = webhook.WebhookSettings.model_validate(keys)
        return lambda: webhook.CONNECTOR.build(settings, Context(name="door", tokens=MemoryTokens()))


class TwilioAccount(TwinVendor):
    """Even events are calls nobody took, odd ones ring groups."""

    twin: TwilioTwin
    many = 20
    throttling = {"on": "list", "do": "too_many"}
    breaking = {"on": "list", "do": "cut"}
    auth_headers = ("x-twilio-signature",)

    def happen(self, number: int) -> None:
        start = self.moment(number).timestamp()
        status = "completed" if number % 2 else "no-answer"
        caller = {"from": "+84912345678", "to": "+842412345678"}
        self.twin.add("calls", sid=_sid(number), status=status, start=start, end=start + 20, **caller)
        for leg in range(2 if number % 2 else 0):
            fields = {"parent_call_sid": _sid(number), "direction": "outbound-dial", "status": "no-answer"}
            self.twin.add("calls", sid=f"{_sid(number)}L{leg}", start=start + 1, end=start + 15, **caller, **fields)

    def forget_subscriptions(self) -> bool:
        for number in self.twin.records("numbers"):
            with self.twin.lock, self.twin.settled():
                self.twin.store.put("numbers", number["sid"], {**number, "status_callback": ""})
        return True

    def request(self, number: int) -> Request:
        form = {
            "AccountSid": self.twin.account_sid,
            "From": "+84912345678",
            "To": "+842412345678",
            "CallStatus": "no-answer",
        }
        if number % 2:
            form |= {"CallSid": f"{_sid(number)}L0", "ParentCallSid": _sid(number), "Direction": "outbound-dial"}
        else:
            form |= {"CallSid": _sid(number), "Direction": "inbound"}
        signature = RequestValidator(self.twin.auth_token).compute_signature(URL, form)
        return arrived(
            urlencode(form).encode(), {"content-type": FORM, "x-twilio-signature": signature}, self.moment(number)
        )

    def sign(self, body: bytes) -> Request:
        url = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
        signature = RequestValidator(self.twin.auth_token).compute_signature(url, {})
        headers = {"content-type": "application/json", "x-twilio-signature": signature}
        return arrived(body, headers, self.first_moment, url)


def _sid(number: int) -> str:
    return f"CA{number:032x}"


@pytest.fixture(scope="module")
def twilio_twin() -> Iterator[TwilioTwin]:
    with TwilioTwin() as twin:
        yield twin


@pytest.fixture(scope="module")
def desk_twin() -> Iterator[ZohoDeskTwin]:
    with ZohoDeskTwin(credits=1_000_000) as twin:
        yield twin


class TestTwilio(WebhookConformance, PollingConformance, HintConformance, BackfillConformance, SubscriptionConformance):
    connector = twilio.CONNECTOR

    @pytest.fixture
    def vendor(self, twilio_twin: TwilioTwin) -> TwilioAccount:
        twilio_twin.reset()
        for number in ("+842412345678", "+842412345679"):
            twilio_twin.add_number(number)
        return TwilioAccount(twilio_twin)

    @pytest.fixture
    def connect(self, twilio_twin: TwilioTwin) -> Connect:
        twin = twilio_twin
        keys = {"account_sid": twin.account_sid, "auth_token": twin.auth_token, "base_url": twin.url}
        settings = twilio.TwilioSettings.model_validate(keys)

        def build(recall: Any) -> Any:
            context = Context(name="phones", tokens=MemoryTokens(), region="VN", recall=recall, webhook_url=URL)
            return twilio.CONNECTOR.build(settings, context)

        return build


class DeskOrganisation(TwinVendor):
    """Event n is ticket n being made."""

    twin: ZohoDeskTwin
    many = 2 * PAGE + 20
    throttling = {"on": "search_tickets", "do": "concurrency"}
    breaking = {"on": "search_tickets", "do": "cut"}
    covers_body = False
    signs_time = True
    auth_headers = ("x-zdesk-jwt",)

    def happen(self, number: int) -> None:
        at = self.moment(number).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {"contact_email": "jane@x.example", "contact_name": "Jane Doe", "subject": f"No. {number}"}
        self.twin.add("tickets", id=_ticket(number), createdTime=at, modifiedTime=at, **fields)

    def request(self, number: int) -> Request:
        headers, body = self.twin.webhook({"eventType": "Ticket_Add", "payload": {"id": _ticket(number)}})
        return arrived(body, headers, self.moment(number))

    def sign(self, body: bytes) -> Request:
        return arrived(body, {"X-ZDesk-JWT": self.twin.signer.token("1")}, self.first_moment)

    def expire_token(self) -> bool:
        self.twin.expire_tokens()
        return True

    def forget_subscriptions(self) -> bool:
        with self.twin.lock, self.twin.settled():
            for hook in self.twin.records("webhooks"):
                self.twin.store.put("webhooks", hook["id"], None)
        return True


class AnyRequest(BaseHTTPRequestHandler):
    """What Desk tries before it keeps an address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def tried_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), AnyRequest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/webhooks/desk"
        server.shutdown()


def _ticket(number: int) -> str:
    return str(1329983000000500000 + number)


class TestZohoDesk(
    WebhookConformance, PollingConformance, HintConformance, BackfillConformance, SubscriptionConformance
):
    connector = zoho.CONNECTOR

    @pytest.fixture
    def vendor(self, desk_twin: ZohoDeskTwin) -> DeskOrganisation:
        desk_twin.reset()
        return DeskOrganisation(desk_twin)

    @pytest.fixture
    def connect(self, desk_twin: ZohoDeskTwin, tried_url: str) -> Connect:
        twin = desk_twin
        auth = {"client_id": "id", "client_secret": "s3cret", "refresh_token": uuid.uuid4().hex}
        keys = {"org_id": twin.org_id, "base_url": twin.url, "accounts_url": twin.url, "auth": auth}
        settings, tokens = zoho_receiver.ZohoDeskSettings.model_validate(keys), MemoryTokens()

        def build(recall: Any) -> Any:
            context = Context(name="desk", tokens=tokens, region="VN", recall=recall, webhook_url=tried_url)
            source = zoho.CONNECTOR.build(settings, context)
            source.fetch_keys(datetime.now(UTC))  # as the daemon does at start
            return source

        return build


class CallbacksAlone(TwilioAccount):
    """Events are calls that nobody took: what a callback says by itself."""

    def request(self, number: int) -> Request:
        return super().request(2 * number)


class TestTwilioWithoutApi(WebhookConformance):
    connector = twilio.CONNECTOR

    @pytest.fixture
    def vendor(self, twilio_twin: TwilioTwin) -> CallbacksAlone:
        twilio_twin.reset()
        return CallbacksAlone(twilio_twin)

    @pytest.fixture
    def connect(self, twilio_twin: TwilioTwin) -> Connect:
        keys = {"account_sid": twilio_twin.account_sid, "auth_token": twilio_twin.auth_token, "api": False}
        settings = twilio.TwilioSettings.model_validate(keys)
        return lambda: twilio.CONNECTOR.build(settings, Context(name="phones", tokens=MemoryTokens(), region="VN"))

    def test_the_dial_tells_and_a_leg_does_not(self, connect: Connect, vendor: CallbacksAlone) -> None:
        source, whole = connect(), vendor.request(0)
        call = dict(parse_qsl(whole.body.decode()))

        def parsed(**more: str) -> Batch:
            batch: Batch = source.parse(replace(whole, body=urlencode({**call, **more}).encode()))
            return batch

        missed = parsed(CallStatus="completed", DialCallStatus="busy")
        taken, leg = parsed(DialCallStatus="completed"), parsed(ParentCallSid=_sid(9))
        assert [signal.id for signal in missed.signals] == [parsed().signals[0].id]
        assert (taken.signals, leg.signals, leg.hints, leg.dropped) == ((), (), (), {"needs the API": 1})


class DeskDeliveries(DeskOrganisation):
    def request(self, number: int) -> Request:
        payload = {"id": _ticket(number), "subject": f"No. {number}", "email": "jane@x.example"}
        headers, body = self.twin.webhook({"eventType": "Ticket_Add", "payload": payload})
        return arrived(body, headers, self.first_moment)


class TestZohoDeskWithoutApi(WebhookConformance):
    connector = zoho.CONNECTOR

    @pytest.fixture
    def vendor(self, desk_twin: ZohoDeskTwin) -> DeskDeliveries:
        desk_twin.reset()
        return DeskDeliveries(desk_twin)

    @pytest.fixture
    def connect(self, desk_twin: ZohoDeskTwin) -> Connect:
        settings = zoho_receiver.ZohoDeskSettings.model_validate(
            {"org_id": desk_twin.org_id, "base_url": desk_twin.url}
        )

        def build() -> Any:
            source = zoho.CONNECTOR.build(settings, Context(name="desk", tokens=MemoryTokens(), region="VN"))
            source.fetch_keys(datetime.now(UTC))
            return source

        return build

    def test_what_customers_say_has_the_ids_of_the_other_routes(self, connect: Connect, vendor: DeskDeliveries) -> None:
        said = {"ticketId": _ticket(1), "id": "77", "createdTime": "2026-11-22T08:00:00.000Z", "content": "<p>hi</p>"}
        thread = {**said, "direction": "in", "fromEmailAddress": '"Jane" <jane@x.example>', "contentType": "text/html"}
        note = {**said, "id": "78", "commenter": {"type": "END_USER", "email": "jo@x.example", "name": "Jo"}}
        ours = {**said, "id": "79", "commenter": {"type": "AGENT", "email": "we@x.example"}}
        batches = [
            connect().parse(
                arrived(msgspec.json.encode([{"eventType": kind, "payload": payload}]), {}, vendor.first_moment)
            )
            for kind, payload in (
                ("Ticket_Thread_Add", thread),
                ("Ticket_Comment_Add", note),
                ("Ticket_Comment_Add", ours),
                ("Ticket_Update", {"id": _ticket(1)}),
            )
        ]
        reply, comment = batches[0].signals[0], batches[1].signals[0]
        assert (reply.type, reply.person.email, reply.text) == ("ticket.replied", "jane@x.example", "hi")
        assert (comment.type, comment.person.email) == ("ticket.commented", "jo@x.example")
        assert reply.id == derive_id("zoho_desk", vendor.twin.org_id, "ticket.replied", "77")
        assert [dict(batch.dropped) for batch in batches[2:]] == [{"not a customer's": 1}, {"needs the API": 1}]
