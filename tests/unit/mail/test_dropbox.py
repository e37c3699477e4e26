"""Mail to the drop box: what is filed on whom, who may use it, and that a copy elsewhere is the same signal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.mail.dropbox import authentication, is_addressed, is_allowed, read_incoming
from syncd.connectors.mail.forwarded import pasted_mail
from syncd.connectors.mail.message import parse
from syncd.connectors.mail.reading import Envelope, MailReading, Rules, read_mail
from syncd.connectors.mail.sent import read_sent
from syncd.connectors.mail.settings import DropBoxSettings
from syncd.signals import Direction, Route
from tests.mails import MOMENT, mail

BOX = "crm-k7f3x9@ourcompany.example"
SETTINGS = DropBoxSettings.model_validate({"address": BOX, "from": ["@ourcompany.example", "partner@gmail.com"]})
RULES = Rules("inbox", own=frozenset({"sales@ourcompany.example"}), dropbox=SETTINGS)
LAN = "Lan Tran <lan@ourcompany.example>"


def reading(raw: bytes, rules: Rules = RULES) -> MailReading:
    return read_incoming(raw, Envelope(MOMENT, len(raw)), rules, MOMENT, Route.POLL)


def written(number: int, body: str | bytes = "Hello.\r\n", **headers: Any) -> bytes:
    """`mail` with any headers, `from` too."""
    return mail(number, at=MOMENT, body=body, **headers)


def sent(**headers: Any) -> bytes:
    """Lan's own mail to a customer, with the drop box in Bcc, as the server delivers it."""
    more = {"from": LAN, "to": "Ann Buyer <ann@customer.example>", "delivered_to": BOX, **headers}
    return written(1, "Here is the offer.\r\n", **more)


def filed(raw: bytes) -> list[tuple[str, str]]:
    return [(one.type, one.person.email) for one in reading(raw).signals]


def test_a_blind_copy_is_filed_on_the_recipients_with_its_author() -> None:
    raw = sent(cc="bo@customer.example, colleague@ourcompany.example, sales@ourcompany.example")
    assert filed(raw) == [("email.sent", "ann@customer.example"), ("email.sent", "bo@customer.example")]
    one = reading(raw).signals[0]
    assert (one.direction, one.title, one.text) == (Direction.OUT, "Question 1", "Here is the offer.")
    assert (one.data["filed_by"], one.data["from"]) == ("lan@ourcompany.example", "lan@ourcompany.example")


def test_the_copy_of_the_sent_folder_is_the_same_signal() -> None:
    copy = written(1, "Here is the offer.\r\n", **{"from": LAN, "to": "Ann Buyer <ann@customer.example>"})
    there = read_sent(copy, Envelope(MOMENT, len(copy)), Rules("sent"), MOMENT, Route.POLL)
    assert [one.id for one in reading(sent()).signals] == [one.id for one in there.signals]


@pytest.mark.parametrize("header", ["to", "cc", "bcc", "x_original_to", "envelope_to", "received"])
def test_wherever_the_address_stands(header: str) -> None:
    value = f"from mx by host for <{BOX.upper()}>; Sun, 22 Nov 2026" if header == "received" else f"x <{BOX}>"
    there = {"delivered_to": None, header: value if header != "to" else f"ann@customer.example, {BOX}"}
    assert filed(sent(**there)) == [("email.sent", "ann@customer.example")]
    assert not is_addressed(parse(sent(delivered_to=f"not-{BOX}")), BOX)
    assert not is_addressed(parse(sent(delivered_to=f"{BOX}.example")), BOX)


@pytest.mark.parametrize(
    "sender", ["eve@customer.example", "lan@ourcompany.example.evil.example", "other@gmail.com", ""]
)
def test_others_file_nothing(sender: str) -> None:
    assert reading(sent(**{"from": sender or None})).dropped == "drop box: sender"
    assert is_allowed("partner@gmail.com", SETTINGS.senders)


def test_the_servers_own_verdict_counts_and_what_came_with_the_mail_does_not() -> None:
    good = "mx.ourcompany.example; spf=pass smtp.mailfrom=x; dkim=fail; dkim=pass header.d=y; dmarc=pass"
    raw = sent(authentication_results=good)
    assert reading(raw).signals[0].data["authentication"] == {"spf": "pass", "dkim": "pass", "dmarc": "pass"}
    forged = good.replace("dmarc=pass", "dmarc=fail (p=none)").encode()
    twice = b"Authentication-Results: " + forged + b"\r\n" + raw
    assert reading(twice).dropped == "drop box: not authentic"
    assert authentication(parse(sent())) == {}


ANN, ASKED = "Ann Buyer <ann@customer.example>", "\n\nWhat does it cost?\n"
BLOCKS = {
    "gmail": "---------- Forwarded message ---------\nFrom: *Ann Buyer* <ann@customer.example>\nDate: Sat, 21 Nov 2026\n"
    f"Subject: Price?\nTo: <lan@ourcompany.example>\n{ASKED}",
    "outlook": "FYI\n\n____________________________\nFrom: Ann Buyer [mailto:ann@customer.example]\nSent: Saturday, 21 November\n"
    f"To: Lan Tran\nSubject: Price?{ASKED}",
    "vietnamese": f"---------- Thư được chuyển tiếp ---------\nTừ: {ANN}\nNgày: 21/11/2026\nChủ đề: Price?\n"
    f"Đến: <lan@ourcompany.example>\n{ASKED}",
    "chinese": f"-------- 转发邮件 --------\n发件人：{ANN}\n"
    f"日期：2026年11月21日\n收件人：lan@ourcompany.example\n主题：Price?{ASKED}",
    "apple": f"Begin forwarded message:\n\n> From: {ANN}\n> Subject: Price?\n> Date: 21 November 2026\n"
    "> To: lan@ourcompany.example\n>\n> What does it cost?\n",
}


@pytest.mark.parametrize("program", BLOCKS)
def test_a_forwarded_mail_is_filed_on_its_sender(program: str) -> None:
    raw = written(1, BLOCKS[program].replace("\n", "\r\n"), **{"from": LAN, "to": BOX, "subject": "Fwd: Price?"})
    (one,) = reading(raw).signals
    assert (one.type, one.person.email, one.person.name) == ("email.received", "ann@customer.example", "Ann Buyer")
    assert (one.title, one.text) == ("Price?", "What does it cost?")
    assert (one.data["filed_by"], one.data["forwarded"]) == ("lan@ourcompany.example", True)


def attached(inner: bytes) -> bytes:
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nFYI\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        + inner
        + b"\r\n--b--\r\n"
    )
    return written(9, body, **{"from": LAN, "to": BOX, "content_type": 'multipart/mixed; boundary="b"'})


def test_an_attached_mail_is_the_mail_itself() -> None:
    inner = mail(4)
    direct = read_mail(inner, Envelope(MOMENT, len(inner)), Rules("inbox"), MOMENT, Route.POLL)
    (one,) = reading(attached(inner)).signals
    assert (one.id, one.person.email) == (direct.signals[0].id, "ann4@customer.example")
    ours = written(4, **{"from": LAN, "to": "ann@customer.example"})
    assert filed(attached(ours)) == [("email.sent", "ann@customer.example")]


def test_nobody_to_file_it_on() -> None:
    assert reading(written(1, **{"from": LAN, "to": BOX})).dropped == "drop box: nobody to file it on"
    circular = ", ".join(f"a{number}@customer.example" for number in range(60))
    assert reading(sent(to=circular)).dropped == "drop box: nobody to file it on"


def test_other_mail_of_the_mailbox_is_read_as_ever() -> None:
    raw = mail(2)
    assert reading(raw) == read_mail(raw, Envelope(MOMENT, len(raw)), RULES, MOMENT, Route.POLL)


@given(st.text(max_size=300))
def test_any_text_is_searched_for_a_forwarded_mail(text: str) -> None:
    found = pasted_mail(text)
    assert found is None or found.sender.email


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("address", "crm", "is not an e-mail address"),
        ("from", ["@"], "neither an address nor a domain"),
        ("from", [], "at least 1"),
    ],
)
def test_settings_that_cannot_be_meant(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DropBoxSettings.model_validate({"address": BOX, "from": ["@ourcompany.example"], key: value})
