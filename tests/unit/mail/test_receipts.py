"""Receipts, recalls and statistics in ordinary mails are no customer's words, and a person at postmaster@ is one."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.connectors.mail.reading import Envelope, MailReading, Rules, read_mail
from syncd.signals import Route
from tests.mails import MOMENT, mail

OWN = Rules("inbox", own=frozenset({"sales@ourcompany.example"}))


def read(body: str, rules: Rules = OWN, /, **headers: Any) -> MailReading:
    raw = mail(1, body=body, **headers)
    return read_mail(raw, Envelope(MOMENT, len(raw)), rules, MOMENT, Route.POLL)


RECEIPTS = {
    "Read: Offer": "Your message\n  To: Ann\n  Subject: Offer\n  Sent: Monday 15:04\nwas read on Monday 15:10.",
    "Not read: Offer": "Your message\n To: Ann\n Subject: Offer\nwas deleted without being read on Monday.",
    "Gelesen: Angebot": "Ihre Nachricht\n  An: Ann\n  Betreff: Angebot\nwurde am 26.11.2026 15:10 gelesen.",
    "Lu : Offre": "Votre message\n  À : Ann\n  Objet : Offre\na été lu le 26/11/2026.",
    "Leído: Oferta": "El mensaje\n Para: Ann\n Asunto: Oferta\nfue leído el 26/11/2026.",
    "Letto: Offerta": "Il messaggio\n A: Ann\n Oggetto: Offerta\nè stato letto il 26/11/2026.",
    "Gelezen: Offerte": "Uw bericht\n Aan: Ann\n Onderwerp: Offerte\nis gelezen op 26-11-2026.",
    "Прочтено: Насосы": "Ваше сообщение\n Кому: Анна\n Тема: Насосы\nбыло прочтено 26.11.2026.",
    "已读: 报价": "您的邮件 报价 已被阅读。",
    "Return Receipt (displayed) - Offer": "This is a Return Receipt for the mail that you sent to ann@customer.example.",
    "Recall: Offer": 'Xaver would like to recall the message, "Offer".',
    "Rückruf: Angebot": 'Xaver möchte die Nachricht "Angebot" zurückrufen.',
    "Rappel : Offre": "Xaver souhaite rappeler le message « Offre ».",
}


@pytest.mark.parametrize("subject", RECEIPTS)
def test_receipts_and_recalls_in_plain_text(subject: str) -> None:
    assert read(RECEIPTS[subject], subject=subject).dropped == "delivery_report"


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("Read: important news about pumps", "Please read the data sheet and call me."),
        ("Recall: pump P-40", "You recall the pump P-40. Is mine one of them?"),
        ("Gelesen: Ihr Artikel über Pumpen", "Ich habe ihn gelesen. Rufen Sie mich an?"),
        ("Offer", "Your message was read in our meeting. We take ten."),
        ("Read: Offer", "Your message was read.\n" + "We have many questions about it. " * 60),
    ],
)
def test_people_write_such_words_too(subject: str, body: str) -> None:
    assert [signal.type for signal in read(body, subject=subject).signals] == ["email.received"]


FILE = "Content-Type: application/zip; name={}\r\nContent-Disposition: attachment; filename={}\r\n\r\nPK\r\n"


@pytest.mark.parametrize(
    ("sender", "subject", "name"),
    [
        (
            "noreply-dmarc-support@google.com",
            "Report domain: ourcompany.example Submitter: google.com Report-ID: 1",
            "a.zip",
        ),
        ("dmarcreport@microsoft.com", "[Preview] Report Domain: ourcompany.example Submitter: x Report-ID: y", "a.zip"),
        ("x@isp.example", "Aggregate report", "isp.example!ourcompany.example!1764115200!1764201599.xml.gz"),
        ("dmarc-reports@isp.example", "Your numbers", "report.xml.gz"),
    ],
)
def test_statistics_of_receivers(sender: str, subject: str, name: str) -> None:
    body = f"--b\r\n{FILE.format(name, name)}--b--\r\n"
    headers = {"from": sender, "subject": subject, "content_type": "multipart/mixed; boundary=b"}
    assert read(body, **headers).dropped == "delivery_report"


def test_a_customer_who_asks_about_such_a_report_is_one() -> None:
    assert read("What does it mean?", subject="DMARC report domain").signals


PERSON = (
    "Hello,\n\nyour mail server 192.0.2.7 was blocked; user tom@ourcompany.example wrote to bob@customer.example. "
    "We whitelisted you now, please send again.\n\n"
)


@pytest.mark.parametrize("ending", ["Petra", "Petra Muster\nKunden GmbH", "Best regards\nThe mail desk", ""])
@pytest.mark.parametrize(
    "sender", ["Petra <postmaster@customer.example>", "Petra Muster <postmaster@customer.example>"]
)
def test_a_person_at_postmaster_is_a_person(sender: str, ending: str) -> None:
    reading = read(
        PERSON + ending,
        subject="Your mail could not be delivered to us",
        return_path="<postmaster@customer.example>",
        **{"from": sender},
    )
    assert [(signal.type, signal.person.email) for signal in reading.signals] == [
        ("email.received", "postmaster@customer.example")
    ]


@pytest.mark.parametrize(
    "body",
    [
        "Dear user,\n\nyour message to x@klient.example could not be delivered: mailbox full.\n\nBest regards\n",
        "Hello sales@ourcompany.example,\n\n550 5.1.1 <x@klient.example>: user unknown\n",
        "The message you sent was not delivered.\nThe email to x@klient.example could not be delivered: 550 Invalid\n"
        "The Postmaster Team",
    ],
)
def test_a_program_that_greets_stays_one(body: str) -> None:
    reading = read(
        body,
        subject="Your mail could not be delivered",
        return_path="<postmaster@klient.example>",
        **{"from": "Mail Service <postmaster@klient.example>"},
    )
    assert [(signal.type, signal.person.email) for signal in reading.signals] == [("email.bounced", "x@klient.example")]


def test_an_address_of_our_own_domain_is_no_customer() -> None:
    body = "The following message could not be delivered.\nuser tom@ourcompany.example: 550 blocked\n"
    headers = {"from": "postmaster@klient.example", "subject": "Undeliverable: Offer"}
    assert all(signal.type != "email.bounced" for signal in read(body, **headers).signals)
    shared = Rules("inbox", own=frozenset({"our.shop@gmail.com"}))
    (bounced,) = read(body.replace("ourcompany.example", "gmail.com"), shared, **headers).signals
    assert (bounced.type, bounced.person.email) == ("email.bounced", "tom@gmail.com")


@pytest.mark.parametrize(
    "body",
    [
        "很抱歉您发送的邮件被退回\n收件人邮箱：x@klient.example\n退信原因：该邮箱帐号不存在 Mailbox unavailable",
        "很抱歉，您的邮件被退回\n收件人：x@klient.example，退信原因：用户不存在",
        "您的邮件无法送达「x@klient.example」：用户不存在",
        "收件人邮件地址（x@klient.example）不存在，邮件无法送达。",
    ],
)
def test_chinese_servers_name_the_recipient_behind_wide_marks(body: str) -> None:
    reading = read(body, subject="来自qq.com的退信", **{"from": "PostMaster@qq.com"})
    assert [(signal.type, signal.person.email) for signal in reading.signals] == [("email.bounced", "x@klient.example")]
