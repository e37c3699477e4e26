"""Which reports are bounces, of whom, and how bad."""

from __future__ import annotations

import pytest

from syncd.connectors.mail.bounce_kinds import hardness
from syncd.connectors.mail.bounces import read_report
from syncd.connectors.mail.message import parse
from syncd.connectors.mail.reading import Envelope, MailReading, Rules, read_mail
from syncd.signals import Route
from tests.mails import DELAYED, FAILED, MOMENT, delivery_report, mail


def read(raw: bytes) -> MailReading:
    return read_mail(raw, Envelope(MOMENT, len(raw)), Rules("inbox"), MOMENT, Route.POLL)


def recipients(raw: bytes) -> list[str]:
    return [bounce.recipient for bounce in read_report(parse(raw)).bounces]


def test_a_failed_recipient_is_a_bounce_of_the_address_we_wrote_to() -> None:
    (signal,) = read(delivery_report(FAILED)).signals
    assert (signal.type, signal.person.email) == ("email.bounced", "bob@customer.example")
    assert signal.title == "Not delivered: Our offer"
    assert signal.thread == "mail:root@customer.example"
    assert signal.data["final_recipient"] == "bob.internal@customer.example"
    assert (signal.data["status"], signal.data["kind"]) == ("5.1.1", "hard")
    assert signal.data["original_message_id"] == "sent-1@ourcompany.example"
    assert "no such user" in signal.data["diagnostic"]


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_only_failure_is_a_bounce(action: str) -> None:
    reading = read(delivery_report(FAILED.replace("failed", action)))
    assert (reading.signals, reading.dropped) == ((), "delivery_report")


def test_each_failed_recipient_is_a_signal_of_its_own() -> None:
    raw = delivery_report(FAILED, DELAYED, FAILED.replace("Bob", "Eve").replace("5.1.1", "5.2.2"))
    first, second = read(raw).signals
    assert first.id != second.id
    assert [s.person.email for s in (first, second)] == ["bob@customer.example", "eve@customer.example"]
    assert second.data["kind"] == "soft"
    assert read(raw).signals == (first, second)


def test_without_original_recipient_the_final_one_counts() -> None:
    assert recipients(delivery_report("Final-Recipient: RFC822; <x@y.example>\nAction: Failed (really)")) == [
        "x@y.example"
    ]


def test_the_original_may_come_as_headers_only_or_not_at_all() -> None:
    headers_only = delivery_report(FAILED).replace(b"message/rfc822", b"text/rfc822-headers")
    assert read_report(parse(headers_only)).original_id == "sent-1@ourcompany.example"
    assert read_report(parse(delivery_report(FAILED, original=False))).original_id == ""


def test_a_report_in_base64_or_cut_short_is_still_read() -> None:
    import base64

    groups = base64.b64encode(b"Reporting-MTA: dns; x\n\n" + FAILED.strip().encode()).decode()
    body = f"--b\r\nContent-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n{groups}\r\n--b--"
    content_type = 'multipart/report; report-type=delivery-status; boundary="b"'
    assert recipients(mail(1, body=body, content_type=content_type)) == ["bob@customer.example"]
    assert recipients(delivery_report(FAILED).partition(b"--b\r\nContent-Type: message/rfc822")[0]) == [
        "bob@customer.example"
    ]


@pytest.mark.parametrize("kind", ["disposition-notification", "feedback-report"])
def test_receipts_and_complaints_are_no_bounces(kind: str) -> None:
    raw = mail(1, content_type=f'multipart/report; report-type={kind}; boundary="b"', body="--b\r\n\r\nread\r\n--b--")
    assert read(raw).dropped == "delivery_report"


QMAIL = (
    "Hi. This is the qmail-send program at x.example.\nI'm afraid I wasn't able to deliver your message.\n\n"
    "<gone@customer.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n\n"
    "Message-ID: <sent-9@ourcompany.example>\n\nbody\n"
)


def test_servers_from_before_the_standard_are_understood() -> None:
    raw = mail(1, **{"from": "MAILER-DAEMON@x.example", "subject": "failure notice", "return_path": "<>"}, body=QMAIL)  # type: ignore[arg-type]
    (signal,) = read(raw).signals
    assert signal.person.email == "gone@customer.example"
    assert signal.data["status"] == "5.1.1"
    assert signal.data["original_message_id"] == "sent-9@ourcompany.example"


def test_exim_names_them_in_a_header() -> None:
    headers = {"from": "Mail Delivery System <Mailer-Daemon@x.example>", "x_failed_recipients": "gone@customer.example"}
    assert recipients(mail(1, subject="Mail delivery failed", body="text", **headers)) == ["gone@customer.example"]  # type: ignore[arg-type]


def test_a_customer_writing_about_a_failed_delivery_is_no_bounce() -> None:
    assert read(mail(1, subject="Undelivered parcel", body=QMAIL)).signals[0].type == "email.received"


@pytest.mark.parametrize(
    ("status", "kind"), [("5.1.1", "hard"), ("5.7.1", "soft"), ("4.4.7", "soft"), ("5.2.2", "soft"), ("", "hard")]
)
def test_hard_and_soft(status: str, kind: str) -> None:
    assert hardness(status) == kind
