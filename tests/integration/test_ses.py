"""Events of Amazon SES through SNS: the signature, the certificate, the confirmation, and what Amazon publishes of the events."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from syncd.connector import Batch, Context, Request
from syncd.connectors.email_insights.ses import CONNECTOR, SesSettings
from syncd.connectors.email_insights.sns import is_of_topic, signed_text
from syncd.errors import KeyUnavailable, Malformed, Misconfigured, NotAuthentic
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import HintConformance, TwinVendor, WebhookConformance
from syncd.twins.fake_events import FakeEvents
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts
from syncd.twins.wire import TwinCall, TwinResponse

URL, ARN = "https://syncd.example.com/webhooks/mails", "arn:aws:sns:eu-west-1:123456789012:mail-events"
SNS = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE_URL = f"{SNS}/SimpleNotificationService-0123.pem"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
PRIVATE, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def certificate(begins: datetime, ends: datetime) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(PRIVATE.public_key())
    made = made.serial_number(1).not_valid_before(begins).not_valid_after(ends)
    return made.sign(PRIVATE, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


VALID = certificate(datetime(2026, 1, 1, tzinfo=UTC), datetime(2046, 1, 1, tzinfo=UTC))
EXPIRED = certificate(datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))


def shown(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return TwinResponse(200, EXPIRED.encode() if parts["file"].startswith("Expired") else VALID.encode())


def confirm(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    if call.query.get("Token") != "t0815":
        return vendor.error(400, "InvalidParameter", "Invalid token")
    vendor.add("confirmed", topic=call.query["TopicArn"])
    return TwinResponse(200, b"<ConfirmSubscriptionResponse/>")


class FakeSns(FakeVendor):
    """SNS as a receiver sees it: certificates and confirmations."""

    name = "sns"
    token: ClassVar[str] = ""
    events = FakeEvents(
        object="events",
        id="mail.messageId",
        at="open.timestamp",
        fields={"eventType": "Open", "open": {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0 (X11)"}},
        people={"email": {"mail.destination": ["an@example.org"]}},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (FakeRoute("GET /{file}", shown), FakeRoute("GET /", confirm))


def source(url: str = "http://127.0.0.1:9", **keys: Any) -> Any:
    given = {"topic_arn": ARN, "base_url": url, **keys}
    context = Context(name="mails", tokens=MemoryTokens(), region="VN", webhook_url=URL)
    return CONNECTOR.build(SesSettings.model_validate(given), context)


def envelope(type_: str = "Notification", version: str = "2", **more: Any) -> dict[str, Any]:
    made = {"Type": type_, "MessageId": "m-1", "TopicArn": ARN, "Timestamp": "2026-11-22T08:00:00.000Z"}
    return {**made, "Message": "{}", "SignatureVersion": version, "SigningCertURL": CERTIFICATE_URL, **more}


def posted(sent: Mapping[str, Any], key: rsa.RSAPrivateKey = PRIVATE) -> Request:
    """Signed as Amazon's page says: in the order of the names, a line for each name and each value."""
    signed = "".join(
        f"{name}\n{sent[name]}\n"
        for name in sorted(sent)
        if name in ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    )
    digest = hashes.SHA1() if sent["SignatureVersion"] == "1" else hashes.SHA256()  # noqa: S303
    signature = base64.b64encode(key.sign(signed.encode(), padding.PKCS1v15(), digest)).decode()
    body = json.dumps({**sent, "Signature": signature}).encode()
    return Request("POST", URL, {"content-type": "text/plain; charset=UTF-8"}, body, NOW)


def message(kind: str, name: str = "eventType", destination: Sequence[str] = ("an@example.org",), **what: Any) -> Any:
    mail = {"messageId": "0100-mail", "destination": list(destination), "commonHeaders": {"subject": "Our offer"}}
    return {name: kind, "mail": mail, kind.lower(): {"timestamp": "2026-11-22T08:00:00.123Z", **what}}


def parsed(sent: Any, **keys: Any) -> Batch:
    batch: Batch = source(**keys).parse(posted(envelope(Message=json.dumps(sent))))
    return batch


def only(sent: Any, **keys: Any) -> Signal:
    (signal,) = parsed(sent, **keys).signals
    return signal


def with_certificate(made: Any) -> Any:
    with pytest.raises(KeyUnavailable):
        made.verifier()(posted(envelope()), NOW)
    assert made.fetch_keys(NOW) == []
    return made


class SesVendor(TwinVendor):
    covers_body = False
    signed_inside = "Signature"

    def request(self, number: int) -> Request:
        return self.sign(json.dumps(self.event(number)).encode())

    def sign(self, body: bytes) -> Request:
        return posted(envelope(Message=body.decode("utf-8", "replace")))

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> None:
        return None  # one event a message

    def again(self, number: int, time: int) -> Request:
        first = self.event(number)
        at = (self.moment(number) + timedelta(seconds=time)).isoformat()
        return self.sign(json.dumps({**first, "open": {**first["open"], "timestamp": at}}).encode())


@pytest.fixture
def fake() -> Iterator[FakeSns]:
    with FakeSns() as twin:
        yield twin


@pytest.fixture
def vendor(fake: FakeSns) -> SesVendor:
    return SesVendor(fake)


class TestSes(WebhookConformance, HintConformance):
    connector = CONNECTOR

    @pytest.fixture
    def connect(self, fake: FakeSns) -> Any:
        return lambda: with_certificate(source(fake.url))


def test_opens_and_clicks_are_counted() -> None:
    first = only(message("Open", ipAddress="192.0.2.1"))
    assert (first.type, first.title, first.person.email) == ("email.opened", "Opened: Our offer", "an@example.org")
    again = only(message("Open", timestamp="2026-11-22T09:00:00Z"))
    assert (first.id == again.id, first.repeat == again.repeat) == (True, False)
    clicks = [only(message("Click", link=link)) for link in ("https://a.example", "https://b.example")]
    assert (clicks[0].text, clicks[0].id == clicks[1].id) == ("https://a.example", False)


def test_an_open_of_an_email_to_several_is_nobodys() -> None:
    signal = only(message("Open", destination=["an@example.org", "binh@example.org"]))
    assert signal.person.identities == ()
    assert signal.data["recipients"] == ["an@example.org", "binh@example.org"]


def test_a_bounce_has_a_signal_for_each_recipient_and_comes_once() -> None:
    people = [
        {"emailAddress": "an@example.org", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"},
        {"emailAddress": "binh@example.org"},
    ]
    sent: dict[str, Any] = {"bounceType": "Permanent", "feedbackId": "f1", "bouncedRecipients": people}
    made = parsed(message("Bounce", **sent)).signals
    assert [(one.person.email, one.data["kind"]) for one in made] == [
        ("an@example.org", "hard"),
        ("binh@example.org", "hard"),
    ]
    assert made[0].text == "smtp; 550 5.1.1 user unknown"
    feedback = parsed(message("Bounce", name="notificationType", **sent)).signals
    assert [one.id for one in feedback] == [one.id for one in made]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (message("Delivery"), "event Delivery"),
        (message("DeliveryDelay"), "event DeliveryDelay"),
        (message("Something New"), "event Something New"),
        (message("Bounce", bounceType="Permanent", bounceSubType="OnAccountSuppressionList"), None),
        (message("Open", userAgent="Mozilla/5.0"), "open of a machine"),
    ],
)
def test_what_is_not_a_signal_is_counted(sent: Any, reason: str | None) -> None:
    batch = parsed(sent)
    assert (batch.signals, batch.dropped) == ([], {reason or "not sent: OnAccountSuppressionList": 1})


def test_soft_bounces_can_be_left_out() -> None:
    people = [{"emailAddress": "an@example.org"}]
    sent = message("Bounce", bounceType="Transient", bouncedRecipients=people)
    assert only(sent).data["kind"] == "soft"
    assert parsed(sent, soft_bounces=False).dropped == {"soft bounce": 1}


def test_other_messages() -> None:
    made = source()
    text = "Successfully validated SNS topic for Amazon SES event publishing."
    assert made.parse(posted(envelope(Message=text))).dropped == {"test message": 1}
    gone = made.parse(posted(envelope("UnsubscribeConfirmation", Token="t", SubscribeURL=f"{SNS}/?x=1")))
    assert gone.dropped == {"event UnsubscribeConfirmation": 1}
    for text in ("", "{", "[]", "{}", json.dumps({"eventType": "Open"})):
        with pytest.raises(Malformed):
            made.parse(posted(envelope(Message=text)))


@pytest.mark.parametrize("version", ["1", "2"])
def test_signatures(fake: FakeSns, version: str) -> None:
    check = with_certificate(source(fake.url)).verifier()
    check(posted(envelope(version=version)), NOW)
    check(posted(envelope(version=version, Subject="With\na subject")), NOW)
    check(posted(envelope("SubscriptionConfirmation", version, Token="t", SubscribeURL=f"{SNS}/?x=1")), NOW)
    good = json.loads(posted(envelope(version=version)).body)
    wrong = [
        {**good, "Message": "[]"},
        {**good, "Timestamp": "2026-11-22T08:00:01.000Z"},
        {**good, "SignatureVersion": "3"},
        {**good, "SignatureVersion": "1" if version == "2" else "2"},
    ]
    requests = [Request("POST", URL, {}, json.dumps(one).encode(), NOW) for one in wrong]
    for request in (*requests, posted(envelope(version=version), OTHER)):
        with pytest.raises(NotAuthentic):
            check(request, NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:another"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com/x.pem"},
        {"SigningCertURL": "https://evil@sns.eu-west-1.amazonaws.com/x.pem"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com:444/x.pem"},
        {"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/x.pem"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem.html"},
        {"SigningCertURL": None},
    ],
)
def test_only_the_topics_and_addresses_of_the_configuration_count(fake: FakeSns, changed: dict[str, Any]) -> None:
    made = source(fake.url)
    with pytest.raises(NotAuthentic):
        made.verifier()(posted(envelope(**changed)), NOW)
    made.fetch_keys(NOW)
    assert fake.spent == 0  # nothing was asked for


def test_a_certificate_that_is_not_valid_does_not_count(fake: FakeSns) -> None:
    made, expired = source(fake.url), envelope(SigningCertURL=f"{SNS}/Expired.pem")
    for _ in range(2):
        with pytest.raises(KeyUnavailable):
            made.verifier()(posted(expired), NOW)
        assert "not valid now" in made.fetch_keys(NOW)[0]
    renewed = with_certificate(source(fake.url))
    with pytest.raises(KeyUnavailable):
        renewed.verifier()(posted(envelope()), NOW + timedelta(days=365 * 30))


def test_a_subscription_is_confirmed(fake: FakeSns) -> None:
    made = with_certificate(source(fake.url))
    asked = f"{SNS}/?Action=ConfirmSubscription&TopicArn={ARN}&Token=t0815"
    request = posted(envelope("SubscriptionConfirmation", Token="t0815", SubscribeURL=asked))
    made.verifier()(request, NOW)
    (hint,) = made.parse(request).hints
    assert made.fetch(hint, NOW) == Batch()
    assert [row["topic"] for row in fake.records("confirmed")] == [ARN]
    elsewhere = posted(envelope("SubscriptionConfirmation", Token="t", SubscribeURL="https://evil.example/?x=1"))
    (hint,) = made.parse(elsewhere).hints
    assert made.fetch(hint, NOW).dropped == {"confirmation with another address": 1}
    old = posted(envelope("SubscriptionConfirmation", Token="t", SubscribeURL=asked.replace("t0815", "old")))
    (hint,) = made.parse(old).hints
    with pytest.raises(Misconfigured):
        made.fetch(hint, NOW)


def test_topics() -> None:
    assert is_of_topic("https://sns.cn-north-1.amazonaws.com.cn/x.pem", "arn:aws-cn:sns:cn-north-1:123456789012:t")
    assert not is_of_topic("https://[::1", ARN)
    with pytest.raises(ValidationError):
        SesSettings.model_validate({"topic_arn": "mail-events"})


@with_recordings
def test_published_events() -> None:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "ses.json").read_text("utf-8"))
    bodies = {name: one["inbound"]["body"] for name, one in found.items() if "inbound" in one}
    said = {name: parsed(body) for name, body in bodies.items() if "eventType" in body or "notificationType" in body}
    made = {name: [signal.type for signal in batch.signals] for name, batch in said.items() if batch.signals}
    assert {name: types for name, types in made.items() if name in ("bounce", "open", "click")} == {
        "bounce": ["email.bounced"],
        "open": ["email.opened"],
        "click": ["email.clicked"],
    }
    assert len(said) >= 5
    assert all(len(batch.signals) + sum(batch.dropped.values()) == 1 for batch in said.values())
    (bounce,) = said["bounce"].signals
    assert (bounce.data["kind"], bounce.data["subject"]) == ("hard", "Message sent from Amazon SES")


@with_recordings
def test_the_published_text_to_sign() -> None:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "ses.json").read_text("utf-8"))["string-to-sign"]
    for kind in ("notification", "subscription_confirmation"):
        lines = found[kind].split("\n")
        sent = dict(zip(lines[::2], lines[1::2], strict=False))
        assert signed_text({**sent, "SignatureVersion": "1", "SigningCertURL": CERTIFICATE_URL}).decode() == found[kind]
