"""What a mail becomes: person, text, reply link, ids, and what is dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from syncd.connectors.mail.reading import Envelope, MailReading, Rules, read_mail
from syncd.signals import Route, Signal, derive_id, encode, frame
from tests.mails import BROKEN, FAILED, MOMENT, delivery_report, mail


def _cpython() -> dict[str, bytes]:
    """The mails Python's own tests use, where that package is installed."""
    try:
        spec = find_spec("test.test_email")
    except ImportError:
        return {}
    places = list(spec.submodule_search_locations or ()) if spec else []
    return {path.name: path.read_bytes() for place in places for path in sorted(Path(place, "data").glob("*.txt"))}


CORPUS = BROKEN | _cpython()
RULES = Rules("inbox", own=frozenset({"sales@ourcompany.example"}))


def read(raw: bytes, rules: Rules = RULES, **envelope: Any) -> MailReading:
    return read_mail(raw, Envelope(MOMENT, len(raw), **envelope), rules, MOMENT, Route.POLL)


def received(raw: bytes, rules: Rules = RULES, **envelope: Any) -> Signal:
    (signal,) = read(raw, rules, **envelope).signals
    assert signal.type == "email.received"
    return signal


def test_an_ordinary_mail() -> None:
    signal = received(mail(1), seen=True)
    assert (signal.title, signal.text) == ("Question 1", "Hello,\n\nplease call me.")
    assert (signal.person.name, signal.person.last_name, signal.person.email) == (
        "Ann Buyer",
        "Buyer",
        "ann1@customer.example",
    )
    assert signal.thread == "mail:mail-1@customer.example"
    assert signal.data["seen"] is True
    assert signal.data["to"] == ["sales@ourcompany.example"]
    assert signal.occurred_at == MOMENT


def test_the_id_is_the_message_id_however_it_is_written() -> None:
    usual = received(mail(1)).id
    assert received(mail(1, message_id="\r\n <mail-1@customer.example >", to="other@ourcompany.example")).id == usual
    assert received(mail(1, subject="Question\r\n 1").replace(b"Ann Buyer <ann1", b"Ann B. <ANN1")).id == usual
    assert received(b"Received: by b\r\nX-Folder: 2\r\n" + mail(1).replace(b"\r\n", b"\n")).id == usual
    assert received(mail(1, message_id="mail-1@customer.example")).id == usual
    assert received(mail(2)).id != usual


def test_another_mail_under_the_same_message_id_is_another_signal() -> None:
    form = mail(1, reply_to="Tim <tim@one.example>", message_id="<form@host.example>")
    changes = [
        (b"tim@one.example", b"ute@two.example"),
        (b"ann1@customer.example", b"ann2@customer.example"),
        (b"08:00:00", b"08:00:01"),
        (b"Question 1", b"Question 2"),
        (b"Date: ", b"X-Date: "),
    ]
    mails = [form, *(form.replace(before, after) for before, after in changes)]
    assert len({received(one).id for one in mails}) == len(mails)
    reports = [delivery_report(FAILED, number=1, subject=subject) for subject in ("a", "b")]
    assert len({read(one).signals[0].id for one in reports}) == 2


def test_the_id_of_earlier_versions_is_said() -> None:
    reading = read(mail(1))
    former = reading.formerly[reading.signals[0].id]
    assert former.id == derive_id("mail", "", "email.received", "mail-1@customer.example")
    assert former.occurred_at == MOMENT
    report = read(delivery_report(FAILED))
    (signal,) = report.signals
    native = frame("report-1@mx.example", signal.person.email)
    assert report.formerly[signal.id].id == derive_id("mail", "", "email.bounced", native)
    (undated,) = read(mail(1, date=None)).formerly.values()
    assert undated.occurred_at is None
    assert not read(mail(1, message_id=None)).formerly


def test_without_message_id_what_was_added_on_the_way_does_not_count() -> None:
    one = mail(1, message_id=None, body="one\r\ntwo\r\n")
    other = b"Return-Path: <ann1@customer.example>\nReceived: from x\n" + one.replace(b"\r\n", b"\n") + b"\n"
    assert received(one).id == received(other).id
    assert received(one).id != received(mail(1, message_id=None, body="one\r\n2\r\n")).id


def test_a_thread_is_its_first_mail() -> None:
    answer = mail(3, in_reply_to="<b@x>", references="<a@x>\r\n\t<b@x>")
    assert received(answer).thread == "mail:a@x"
    assert received(mail(3, in_reply_to="<b@x>")).thread == "mail:b@x"


def test_the_reply_goes_to_all_but_ourselves() -> None:
    raw = mail(
        1, to="Sales <sales@ourcompany.example>, x@y.example", cc='"Doe, J" <j+1&2@y.example>', subject="Ä? & b=c"
    )
    link = urlsplit(received(raw).reply)
    fields = parse_qs(link.query)
    assert (link.scheme, unquote(link.path)) == ("mailto", "ann1@customer.example")
    assert fields["cc"] == ["x@y.example,j+1&2@y.example"]
    assert fields["subject"] == ["Re: Ä? & b=c"]
    assert fields["In-Reply-To"] == ["<mail-1@customer.example>"]


def test_the_reply_goes_where_the_sender_wants_it() -> None:
    signal = received(mail(1, reply_to="desk@customer.example"))
    assert signal.person.email == "ann1@customer.example"
    assert signal.reply.startswith("mailto:desk@customer.example?")


@pytest.mark.parametrize(
    "sender", ["noreply@forms.example", "sales@ourcompany.example", "WordPress <wordpress@x.example>"]
)
def test_the_person_behind_a_contact_form_is_in_reply_to(sender: str) -> None:
    headers: dict[str, Any] = {"from": sender, "reply_to": "Bob <bob@customer.example>"}
    signal = received(mail(1, **headers))
    assert (signal.person.email, signal.person.name) == ("bob@customer.example", "Bob")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"auto_submitted": "auto-replied"}, "auto_reply"),
        ({"auto_submitted": "no"}, ""),
        ({"precedence": "bulk"}, "list"),
        ({"precedence": "first-class"}, ""),
        ({"list_id": "<l.example>"}, "list"),
        ({"x_autoreply": "yes"}, "auto_reply"),
        ({"x_auto_response_suppress": "OOF, AutoReply"}, ""),
        ({"x_auto_response_suppress": "All"}, ""),
        ({"return_path": "<>"}, "auto_reply"),
        ({"return_path": "<ann1@customer.example>"}, ""),
        ({"from": "Us <Sales@OurCompany.example>"}, "own"),
        ({"from": "sales@ourcompany.example", "to": "a@b.example", "reply_to": "boss@ourcompany.example"}, "own"),
    ],
)
def test_what_nobody_wrote_to_us_is_dropped_with_its_reason(headers: dict[str, str], reason: str) -> None:
    assert read(mail(1, **headers)).dropped == reason  # type: ignore[arg-type]


def test_lists_and_automatic_mail_can_be_wanted() -> None:
    assert received(mail(1, list_id="<l>"), Rules("s", lists=True))
    assert received(mail(1, auto_submitted="auto-generated"), Rules("s", auto_replies=True))


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Sat, 21 Nov 2026 10:00:00 +0200", MOMENT - timedelta(days=1)),
        ("Mon, 23 Nov 2026 07:59:00 +0000", MOMENT + timedelta(hours=23, minutes=59)),
        ("Mon, 23 Nov 2026 08:01:00 +0000", MOMENT),
        ("Thu, 01 Jan 1970 00:00:00 +0000", MOMENT),
        ("Sat, 21 Nov 2026 08:00:00 -0000", MOMENT - timedelta(days=1)),
        ("yesterday", MOMENT),
        (None, MOMENT),
    ],
)
def test_it_happened_when_the_sender_says_if_that_can_be(date: str | None, expected: object) -> None:
    assert received(mail(1, date=date)).occurred_at == expected


def test_only_the_head_of_a_large_mail_says_so() -> None:
    signal = received(mail(1), truncated=True)
    assert "256 KiB" in signal.data["note"]


@pytest.mark.parametrize("name", CORPUS)
def test_broken_mail_becomes_a_clean_signal_or_a_reason(name: str) -> None:
    reading = read(CORPUS[name])
    assert bool(reading.signals) != bool(reading.dropped)
    for signal in reading.signals:
        encoded = encode(signal)
        assert b"\\u0000" not in encoded
        assert signal.title.strip()
        assert len(encoded) < 600_000


def test_words_of_a_broken_mail_are_kept() -> None:
    assert received(BROKEN["boundary never found"]).text == "words"
    assert received(BROKEN["boundary never closed"]).text == "hi"
    assert received(BROKEN["unknown charset"]).text == "ä"
    assert received(BROKEN["8-bit headers"]).title == received(BROKEN["utf-8 headers"]).title == "Grüße"


@pytest.mark.parametrize("attached", [False, True])
def test_headers_only_keeps_no_word_of_the_text(attached: bool) -> None:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "An <an@example.org>", "sales@example.com", "An order"
    made["Date"], made["Message-ID"] = "Fri, 20 Nov 2026 10:00:00 +0000", "<7@example.org>"
    made.set_content("my secret wish\n\n> quoted wish")
    if attached:
        made.add_attachment(b"x", maintype="application", subtype="pdf", filename="wish.pdf")
    whole, head = (
        read_mail(
            bytes(made),
            Envelope(datetime(2026, 11, 20, tzinfo=UTC), 500),
            Rules("inbox", headers_only=headers_only),
            datetime(2026, 11, 20, tzinfo=UTC),
            Route.POLL,
        ).signals[0]
        for headers_only in (False, True)
    )
    assert "wish" not in encode(head).decode()
    assert "wish" in encode(whole).decode()
    assert (head.id, head.thread, head.title, head.person) == (whole.id, whole.thread, whole.title, whole.person)
    assert (head.text, head.data["capture"], head.data["message_id"]) == ("", "headers", "7@example.org")
