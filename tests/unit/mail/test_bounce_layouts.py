"""Bounces in the layouts of many servers: the recipient, hard or soft, and what is no bounce at all."""

from __future__ import annotations

import json

import pytest

from syncd.connectors.mail.reading import Envelope, MailReading, Rules, read_mail
from syncd.signals import Route
from tests.bounce_mails import LAYOUTS, REASONS, RECIPIENT, bounce_mail
from tests.mails import MOMENT, mail

OWN = Rules("inbox", own=frozenset({"sales@ourcompany.example", "me@ourcompany.example"}))


def read(raw: bytes) -> MailReading:
    return read_mail(raw, Envelope(MOMENT, len(raw)), OWN, MOMENT, Route.POLL)


def bounced(raw: bytes) -> dict[str, str]:
    """Recipient -> kind; nothing else may come of a bounce."""
    signals = read(raw).signals
    assert {signal.type for signal in signals} <= {"email.bounced"}
    return {signal.person.email: signal.data["kind"] for signal in signals}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_names_its_recipient_with_every_reason(layout: str) -> None:
    assert {reply: bounced(bounce_mail(layout, reply)) for reply in REASONS} == {
        reply: {RECIPIENT: kind} for reply, kind in REASONS.items()
    }


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_marks_of_bulk_and_automatic_mail_change_nothing(layout: str) -> None:
    reply = next(iter(REASONS))
    raw = bounce_mail(layout, reply, precedence="bulk", auto_submitted="auto-replied", list_id="<l.example>")
    assert bounced(raw) == {RECIPIENT: "hard"}


@pytest.mark.parametrize("layout", ["qmail", "exim", "gmail-before-DSN", "zoho", "dragonfly"])
def test_the_quoted_mail_gives_its_id_and_subject(layout: str) -> None:
    (signal,) = read(bounce_mail(layout, "550 5.1.1 unknown user")).signals
    assert signal.data["original_message_id"] == "offer-7@ourcompany.example"
    assert signal.data["original_subject"] == "Offer 7"
    assert "unknown user" in signal.data["diagnostic"]


def _report(body: str, **headers: str | None) -> bytes:
    fields: dict[str, str | None] = {"from": "MAILER-DAEMON@mx.isp.example", "subject": "failure notice", **headers}
    return mail(9, body=body.replace("\n", "\r\n"), **fields)  # type: ignore[arg-type]


def test_several_recipients_each_have_their_own_reason() -> None:
    body = (
        "Hi. This is the qmail-send program at mx.isp.example.\n\n<full@klient.example>:\n"
        "Remote host said: 552 5.2.2 Mailbox full\n\n"
        "<gone@klient.example>:\nRemote host said: 550 5.1.1 User unknown\n\n--- Below this line is a copy of the message.\n"
    )
    assert bounced(_report(body)) == {"full@klient.example": "soft", "gone@klient.example": "hard"}


def test_sections_of_a_transcript_keep_their_meaning() -> None:
    body = (
        "   ----- The following addresses had permanent fatal errors -----\n<gone@klient.example>\n"
        "    (reason: 550 5.1.1 User unknown)\n\n   ----- The following addresses had transient non-fatal errors -----\n"
        "<slow@klient.example>\n    (reason: 421 try later)\n"
    )
    assert bounced(_report(body)) == {"gone@klient.example": "hard"}


@pytest.mark.parametrize(
    "words",
    [
        "THIS IS A WARNING MESSAGE ONLY.\nYOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\n<x@klient.example>: fatal errors: Deferred",
        "A message that you sent has not yet been delivered to all its recipients\n  x@klient.example\nthe software will give up",
        "Delivery to the following recipient has been delayed:\n\n  x@klient.example\n\nIt will be retried for 2 more day(s)",
        "A message is delayed for more than 4 hours:\nx@klient.example: 421\n\nthis is only a temporary failure report",
        "Ihre Nachricht an x@klient.example konnte noch nicht zugestellt werden. Die Zustellung wird weiter versucht.",
        "Доставка письма для x@klient.example отложена.",
        "您的邮件投递延迟\nx@klient.example\n",
    ],
)
def test_warnings_of_delay_are_dropped_with_a_count(words: str) -> None:
    assert read(_report(words, subject="Warning: message delayed", return_path="<>")).dropped == "delivery_report"


def test_ourselves_and_who_sent_the_mail_never_bounce() -> None:
    raw = bounce_mail("qmail", "550 5.1.1 User unknown", "me@ourcompany.example")
    assert read(raw).dropped == "delivery_report" or bounced(raw) == {RECIPIENT: "hard"}


@pytest.mark.parametrize(
    "sender", ["MAILER-DAEMON@mx.example", "MAILER-DAEMON <>", "MAILER-DAEMON", "Mail Delivery System <>"]
)
@pytest.mark.parametrize("body", ["Something in words that no table knows.", "", "x@klient.example zxcv"])
def test_a_daemon_is_never_a_customer(sender: str, body: str) -> None:
    reading = read(_report(body, **{"from": sender}, subject="?"))
    assert reading.dropped == "delivery_report" or reading.signals[0].type == "email.bounced"


@pytest.mark.parametrize("sender", ["postmaster@klient.example", "System Administrator <pm@klient.example>"])
def test_a_postmaster_writes_reports_and_letters(sender: str) -> None:
    letter = _report("Hello, please unblock 192.0.2.7.\n", **{"from": sender}, subject="Your server blocks us")
    assert read(letter).signals[0].type == "email.received"
    answer = _report("We looked at your logs.\nIt works now.\n", **{"from": sender}, subject="Re: undeliverable mail")
    assert read(answer).signals[0].type == "email.received"
    unreadable = _report("Your mail could not be delivered.\n", **{"from": sender}, subject="Undeliverable mail")
    assert read(unreadable).dropped == "delivery_report"


@pytest.mark.parametrize("subject", ["Fwd: Undelivered Mail Returned to Sender", "Why?", "WG: Unzustellbar: Offer 7"])
def test_a_person_who_forwards_a_bounce_is_a_person(subject: str) -> None:
    inner = bounce_mail("exim", "550 5.1.1 User unknown")
    inline = mail(1, subject=subject, body=b"Look at this:\r\n\r\n" + inner)
    assert read(inline).signals[0].type == "email.received"
    attached = mail(
        1,
        subject=subject,
        content_type='multipart/mixed; boundary="f"',
        body=b"--f\r\nContent-Type: text/plain\r\n\r\nLook at this.\r\n--f\r\nContent-Type: message/rfc822\r\n\r\n"
        + inner
        + b"\r\n--f--\r\n",
    )
    assert read(attached).signals[0].type == "email.received"


@pytest.mark.parametrize(
    ("sender", "subject", "body"),
    [
        (
            "noreply@parcels.example",
            "Your parcel could not be delivered",
            "We could not deliver your parcel to 12 High Street.",
        ),
        (
            "ann@customer.example",
            "Undelivered parcel",
            "The message you sent could not be delivered to me, please resend.",
        ),
        (
            "ann@customer.example",
            "Delivery failed",
            "550 boxes were ordered, 12 arrived. Call me: ann@customer.example",
        ),
        ("notifications@shop.example", "Delivery status", "Your order has not been delivered yet."),
        ("no-reply@shop.example", "Delivery failed", "Your order could not be delivered.\n\nsupport@shop.example\n"),
        ("no-reply@shop.example", "Delivery failed", "Address not found, it was not delivered.\ncare@shop.example\n"),
    ],
)
def test_deliveries_of_goods_are_no_bounces(sender: str, subject: str, body: str) -> None:
    assert read(mail(1, subject=subject, body=body, **{"from": sender})).signals[0].type == "email.received"  # type: ignore[arg-type]


def test_services_that_mail_their_bounces_as_json() -> None:
    notice = {
        "notificationType": "Bounce",
        "bounce": {
            "bounceType": "Permanent",
            "bouncedRecipients": [
                {
                    "emailAddress": "gone@klient.example",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 unknown user",
                },
                {"emailAddress": "full@klient.example", "status": "5.2.2", "diagnosticCode": "smtp; 552 full"},
                {"emailAddress": "bare@klient.example"},
                {"emailAddress": "me@ourcompany.example"},
            ],
        },
        "mail": {"commonHeaders": {"subject": "Offer 7", "messageId": "<offer-7@ourcompany.example>"}},
    }
    kinds = {"gone@klient.example": "hard", "full@klient.example": "soft", "bare@klient.example": "hard"}
    sender = {"from": "Alerts <no-reply@sns.service.example>", "subject": "Notification Message"}
    plain = mail(1, body=json.dumps(notice) + "\r\n\r\n--\r\nTo stop, unsubscribe.", **sender)  # type: ignore[arg-type]
    wrapped = mail(1, body=json.dumps({"Type": "Notification", "Message": json.dumps(notice)}), **sender)  # type: ignore[arg-type]
    assert bounced(plain) == bounced(wrapped) == kinds
    assert read(plain).signals[0].data["original_message_id"] == "offer-7@ourcompany.example"
    for other in ("Complaint", "Delivery"):
        raw = mail(1, body=json.dumps({**notice, "notificationType": other}), **sender)  # type: ignore[arg-type]
        assert read(raw).dropped == "delivery_report"
    assert read(mail(1, body=json.dumps({"order": 7}), **sender)).signals[0].type == "email.received"  # type: ignore[arg-type]


@pytest.mark.parametrize("header", ["mailing_list", "x_mlserver", "x_ml_name", "list_id"])
def test_notices_of_list_managers_are_dropped(header: str) -> None:
    raw = mail(1, subject="You are not a member", **{"from": "pumps-admin@lists.example", header: "x"})  # type: ignore[arg-type]
    assert read(raw).dropped == "list"


def test_the_server_says_for_whom_it_took_the_mail_that_it_returns() -> None:
    returned = (
        "Received: from mx (mx [192.0.2.9]) by klient.example for <gone@klient.example>; Mon, 16 Nov 2026 08:00:00 +0000\r\n"
        "From: sales@ourcompany.example\r\nTo: all@lists.example, some@lists.example\r\nSubject: Offer\r\n\r\nDear\r\n"
    )
    body = (
        "--b\r\nContent-Type: text/plain\r\n\r\nOne of the recipients is not a valid user of the system.\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\n{returned}--b--\r\n"
    )
    raw = _report(body, content_type='multipart/mixed; boundary="b"', subject="Mail delivery failed")
    assert bounced(raw) == {"gone@klient.example": "hard"}


def test_a_type_without_its_semicolon_is_text_all_the_same() -> None:
    body = (
        '--b\r\nContent-Type: text/plain\r\n   charset="us-ascii"\r\n\r\nThese addresses had delivery errors\r\n\r\n'
        "gone@klient.example [User unknown]\r\n--b--\r\n"
    )
    assert bounced(_report(body, content_type='multipart/mixed; boundary="b"')) == {"gone@klient.example": "hard"}


@pytest.mark.parametrize(
    "sender", ["mailer@ourcompany.example", "no-reply@forms.example", "wordpress@ourcompany.example"]
)
@pytest.mark.parametrize("path", [None, "<>"])
def test_a_form_about_an_undelivered_mail_is_a_persons_word(sender: str, path: str | None) -> None:
    body = "Name: Ann\r\nE-mail address: ann@customer.example\r\nMessage: your mail was not delivered, 550 unknown user.\r\n"
    raw = _report(
        body, **{"from": sender}, reply_to="ann@customer.example", return_path=path, subject="Delivery failed"
    )
    assert [(s.type, s.person.email) for s in read(raw).signals] == [("email.received", "ann@customer.example")]


def test_a_person_who_forwards_the_parts_of_a_bounce_is_a_person() -> None:
    body = (
        "--b\r\nContent-Type: text/plain\r\n\r\nWhat is this?\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Final-Recipient: rfc822; x@klient.example\r\nAction: failed\r\nStatus: 5.1.1\r\n--b--\r\n"
    )
    raw = mail(1, subject="Please look", body=body, content_type='multipart/mixed; boundary="b"')
    assert read(raw).signals[0].type == "email.received"
