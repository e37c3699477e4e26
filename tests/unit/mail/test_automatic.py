"""Robot or person: headers, subjects, contact forms."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.connectors.mail.reading import Envelope, MailReading, Rules, read_mail
from syncd.signals import Route
from tests.mails import MOMENT, mail

OWN = Rules("inbox", own=frozenset({"sales@ourcompany.example"}))


def read(**headers: str | None) -> MailReading:
    raw = mail(1, **headers)  # type: ignore[arg-type]
    return read_mail(raw, Envelope(MOMENT, len(raw)), OWN, MOMENT, Route.POLL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_submitted", "auto-replied"),
        ("auto_submitted", "auto-generated (vacation)"),
        ("auto_submitted", "auto-notified; owner-email=x@y.example"),
        ("x_autoreply", "yes"),
        ("x_auto_reply_from", "ann@customer.example"),
        ("x_autoresponse", "1"),
        ("x_autorespond", "Out"),
        ("x_apple_action", "VACATION"),
        ("x_ms_exchange_generated_message_source", "Mailbox Rules Agent"),
        ("x_post_messageclass", "9; Autoresponder"),
        ("precedence", "auto_reply"),
        ("delivered_to", "Autoresponder"),
        ("return_path", "<>"),
    ],
)
def test_headers_of_automatic_answers(name: str, value: str) -> None:
    assert read(**{name: value}).dropped == "auto_reply"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_submitted", "no"),
        ("auto_submitted", "no (written by hand)"),
        ("auto_submitted", "No; x=y"),
        ("auto_submitted", "(comment) no"),
        ("auto_submitted", ""),
        ("x_auto_response_suppress", "All"),
        ("x_auto_response_suppress", "OOF, AutoReply"),
        ("x_autoreply", "no"),
        ("x_apple_action", "FORWARD"),
        ("return_path", "<ann1@customer.example>"),
        ("delivered_to", "sales@ourcompany.example"),
        ("precedence", "first-class"),
    ],
)
def test_headers_that_say_nothing_of_the_kind(name: str, value: str) -> None:
    assert read(**{name: value}).dropped == ""


@pytest.mark.parametrize(
    "subject",
    [
        "Automatic reply: Pumps",
        "Auto: Pumps",
        "[Auto-Reply] Pumps",
        "Autoreply",
        "Out of Office AutoReply: Pumps",
        "Out of office until 12 May",
        "Automatische Antwort: Pumpen",
        "Abwesenheitsnotiz: Pumpen",
        "Réponse automatique : Pompes",
        "Message d'absence",
        "Respuesta automática: Bombas",
        "Risposta automatica: Pompe",
        "Resposta automática: Bombas",
        "Automatisch antwoord: Pompen",
        "Afwezigheidsbericht: Pompen",
        "Autosvar: Pumpar",
        "Automatiskt svar: Pumpar",
        "Automatisk svar: Pumper",
        "Automaattinen vastaus: Pumput",
        "Automatyczna odpowiedź: Pompy",
        "Automatická odpověď: Čerpadla",
        "Автоматический ответ: Насосы",
        "Автоматична відповідь: Насоси",
        "Otomatik yanıt: Pompalar",
        "Trả lời tự động: Máy bơm",
        "自动答复: 水泵",
        "自动回复：水泵",
        "自動回覆: 水泵",
        "自動応答: ポンプ",
        "자동 회신: 펌프",
    ],
)
def test_subjects_that_only_programs_write(subject: str) -> None:
    assert read(subject=subject).dropped == "auto_reply"


@pytest.mark.parametrize(
    "subject", ["Absence du bureau : Pompes", "Fuera de la oficina", "OOO", "Нет на работе: Насосы", "不在办公室"]
)
def test_subjects_that_people_write_too_count_in_an_answer_only(subject: str) -> None:
    assert read(subject=subject, in_reply_to="<offer@ourcompany.example>").dropped == "auto_reply"
    assert read(subject=subject).dropped == ""


@pytest.mark.parametrize(
    "subject",
    [
        "Re: Automatic reply: Pumps",
        "Out of office chairs: please send ten",
        "Auto reply of your shop does not work",
        "Automation of our pumps",
        "Abwesenheit des Technikers am Montag",
        "Automatische Antworten einrichten?",
        "Auto zu verkaufen: Golf",
        "自动水泵报价",
        "自動ドアの見積",
    ],
)
def test_subjects_of_people(subject: str) -> None:
    assert read(subject=subject, in_reply_to="<offer@ourcompany.example>").dropped == ""


OFFER = {"in_reply_to": "<offer@ourcompany.example>"}


@pytest.mark.parametrize(
    "subject",
    [
        "On holiday - please ship before Monday",
        "Im Urlaub: bitte die Lieferung verschieben",
        "Im Urlaub: Lieferung eine Woche später",
        "Vacation - please ship before Monday",
        "Out of office: can you call my colleague?",
        "Out of office, please send the pumps to the yard",
        "Out of office until Monday - please ship on Tuesday",
        "[OOO] please ship before Monday",
        "En congés : merci de livrer lundi",
        "De vacaciones: entreguen el lunes",
        "In ferie, consegnate lunedì",
        "В отпуске: перенесите доставку",
        "Nghỉ phép: giao hàng thứ hai",
        "休假: 请周一发货",
        "不在办公室：请周一发货",
        "Absence du bureau : veuillez livrer lundi",
    ],
)
def test_what_a_person_writes_after_an_absence_is_theirs(subject: str) -> None:
    assert read(subject=subject, **OFFER).dropped == ""


@pytest.mark.parametrize(
    "subject",
    [
        "On holiday",
        "Im Urlaub!",
        "Im Urlaub (bis 12.5.)",
        "Im Urlaub: 12.05.-15.05.",
        "On vacation: Re: Pumps",
        "Im Urlaub: AW: Pumpen",
        "Out of Office: Pumps",
        "Abwesend: Pumpen",
    ],
)
def test_a_phrase_of_absence_alone_or_before_our_subject_is_a_program(subject: str) -> None:
    assert read(subject=subject, **OFFER).dropped == "auto_reply"
    assert read(subject=subject).dropped == ""


def test_our_subject_is_known_by_the_thread_or_the_quotation() -> None:
    assert read(subject="On holiday: Our pumps", thread_topic="Our pumps", **OFFER).dropped == "auto_reply"
    quoted = "I am away.\r\n\r\nFrom: Tom\r\nSent: Monday\r\nSubject: Re: Our pumps\r\n"
    assert read(subject="On holiday: Our pumps", body=quoted, **OFFER).dropped == "auto_reply"
    assert read(subject="On holiday: Our pumps", thread_topic="On holiday: Our pumps", **OFFER).dropped == ""


@pytest.mark.parametrize(
    "subject",
    [
        "Re: Offer [Automatische Antwort]",
        "Offer (Automatic reply)",
        "Tự động trả lời: Báo giá",
        "Phản hồi tự động: Báo giá",
        "Balasan otomatis: Pompa",
        "Automatikus válasz: Szivattyú",
        "Răspuns automat: Pompe",
        "Re: 水泵【自动回复】",
    ],
)
def test_more_subjects_of_programs(subject: str) -> None:
    if "【" in subject:
        subject = subject.replace("【", " 【")
    assert read(subject=subject).dropped == "auto_reply"


@pytest.mark.parametrize(
    "subject", ["Out of office until Monday, please ship on Tuesday", "The [automatic reply] of P-40 fails"]
)
def test_subjects_of_people_that_mention_one(subject: str) -> None:
    assert read(subject=subject).dropped == ""


@pytest.mark.parametrize(
    "sender",
    ["wordpress@ourcompany.example", "sales@ourcompany.example", "no-reply@forms.example", "www-data@web.example"],
)
@pytest.mark.parametrize(
    "header",
    [{"auto_submitted": "auto-generated"}, {"precedence": "bulk"}, {"return_path": "<>"}, {"x_autoreply": "yes"}, {}],
)
def test_a_form_passes_on_a_persons_words(sender: str, header: dict[str, str]) -> None:
    reading = read(**{"from": sender, "reply_to": "Ann <ann@customer.example>", **header})
    assert [signal.person.email for signal in reading.signals] == ["ann@customer.example"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"from": "noreply@shop.example", "reply_to": "support@shop.example", "precedence": "bulk"}, "list"),
        (
            {"from": "noreply@mail.shop.example", "reply_to": "news@shop.example", "auto_submitted": "auto-generated"},
            "auto_reply",
        ),
        (
            {
                "from": "noreply@esp.example",
                "reply_to": "info@brand.example",
                "precedence": "bulk",
                "list_unsubscribe": "<u>",
            },
            "list",
        ),
        (
            {
                "from": "notifications@code.example",
                "reply_to": "reply+12ab@reply.host.example",
                "auto_submitted": "auto-generated",
            },
            "auto_reply",
        ),
        (
            {"from": "noreply@forms.example", "reply_to": "noreply@other.example", "auto_submitted": "auto-generated"},
            "auto_reply",
        ),
        (
            {
                "from": "noreply@forms.example",
                "reply_to": "a@b.example, c@d.example",
                "auto_submitted": "auto-generated",
            },
            "auto_reply",
        ),
        (
            {"from": "ann@customer.example", "reply_to": "bob@other.example", "auto_submitted": "auto-replied"},
            "auto_reply",
        ),
        (
            {
                "from": "sales@ourcompany.example",
                "reply_to": "sales@ourcompany.example",
                "auto_submitted": "auto-generated",
            },
            "own",
        ),
    ],
)
def test_newsletters_and_notifications_are_no_forms(headers: dict[str, str], reason: str) -> None:
    assert read(**headers).dropped == reason


def test_automatic_mail_can_be_wanted() -> None:
    raw = mail(1, subject="Automatic reply: Pumps")
    reading: Any = read_mail(raw, Envelope(MOMENT, len(raw)), Rules("s", auto_replies=True), MOMENT, Route.POLL)
    assert len(reading.signals) == 1
