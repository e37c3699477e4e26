"""The fields of a delivery status, damaged in the ways that servers and filters damage them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.mail.bounce_fields import read_groups, typed_address
from syncd.connectors.mail.bounces import read_report
from syncd.connectors.mail.message import parse
from tests.mails import delivery_report, mail

GONE = "Final-Recipient: rfc822; gone@klient.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 unknown user"
FULL = "Final-Recipient: rfc822; full@klient.example\nAction: failed\nStatus: 5.2.2\nDiagnostic-Code: smtp; 552 full"


def kinds(raw: bytes, own: frozenset[str] = frozenset()) -> dict[str, str]:
    return {bounce.recipient: bounce.kind for bounce in read_report(parse(raw), own).bounces}


BOTH = {"gone@klient.example": "hard", "full@klient.example": "soft"}


def test_recipients_without_an_empty_line_between_them() -> None:
    assert kinds(delivery_report(GONE + "\n" + FULL)) == BOTH


def test_original_recipient_before_or_behind_each_final_one() -> None:
    before = "Original-Recipient: rfc822;a@k.example\nFinal-Recipient: rfc822;a@i.example\nAction: failed"
    other = before.replace("a@", "b@")
    assert kinds(delivery_report(before + "\n" + other)) == {"a@k.example": "hard", "b@k.example": "hard"}
    last = "Final-Recipient: rfc822;a@i.example\nAction: failed\n" + other
    assert kinds(delivery_report(last)) == {"a@i.example": "hard", "b@k.example": "hard"}


def test_action_first() -> None:
    swapped = "Action: failed\nFinal-Recipient: rfc822; {}\nStatus: 5.1.1"
    assert kinds(delivery_report(swapped.format("a@k.example") + "\n" + swapped.format("b@k.example"))) == {
        "a@k.example": "hard",
        "b@k.example": "hard",
    }


def test_a_misspelled_field_and_a_reply_that_is_not_indented() -> None:
    assert kinds(delivery_report(GONE.replace("Action", "ction"))) == {"gone@klient.example": "hard"}
    assert kinds(delivery_report(GONE.replace("Action: failed\n", ""))) == {"gone@klient.example": "hard"}
    wrapped = (
        "Final-Recipient: rfc822; full@klient.example\nDiagnostic-Code: smtp; 550-we are\n"
        "550 over quota\nStatus: 5.0.0\nAction: failed"
    )
    assert kinds(delivery_report(wrapped)) == {"full@klient.example": "soft"}


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("Action", "ction"),
        ("Action", "Acton"),
        ("Final-Recipient", "inal-Recipient"),
        ("Final-Recipient", "Final Recipient"),
    ],
)
def test_names_of_fields_that_lost_a_letter(field: str, written: str) -> None:
    assert kinds(delivery_report(GONE.replace(field, written))) == {"gone@klient.example": "hard"}


@pytest.mark.parametrize("kind", ["application/octet-stream; name=details.txt", "text/plain; name=details.txt"])
def test_fields_in_an_attachment_of_another_type(kind: str) -> None:
    raw = delivery_report(GONE, content_type='multipart/mixed; boundary="b"')
    attached = f"Content-Type: {kind}\r\nContent-Disposition: attachment; filename=details.txt".encode()
    assert kinds(raw.replace(b"Content-Type: message/delivery-status", attached)) == {"gone@klient.example": "hard"}


def test_a_part_with_prose_before_the_part_with_fields() -> None:
    raw = delivery_report(GONE).replace(
        b"--b\r\nContent-Type: message/delivery-status",
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nIt has restricted SMS\r\n\r\n"
        b"--b\r\nContent-Type: message/delivery-status",
        1,
    )
    assert kinds(raw) == {"gone@klient.example": "hard"}


def test_a_group_in_base64() -> None:
    packed = base64.encodebytes(GONE.encode()).decode()
    assert kinds(delivery_report("Content-Transfer-Encoding: base64\n\n" + packed)) == {"gone@klient.example": "hard"}


def test_fields_behind_a_boundary_that_never_comes() -> None:
    assert kinds(delivery_report(GONE).replace(b'boundary="b"', b'boundary="c"')) == {"gone@klient.example": "hard"}


def test_a_status_part_without_fields_leaves_the_text() -> None:
    raw = delivery_report("").replace(b"Sorry.", b"<gone@klient.example>\r\n    (reason: 550 5.1.1 User unknown)")
    assert kinds(raw) == {"gone@klient.example": "hard"}


def test_internationalised_reports() -> None:
    group = "Final-Recipient: utf-8; g\\x{F6}ne@klient.example\nAction: failed\nStatus: 5.1.1"
    raw = delivery_report(group).replace(b"message/delivery-status", b"message/global-delivery-status")
    raw = raw.replace(b"message/rfc822", b"message/global-headers")
    report = read_report(parse(raw))
    assert [bounce.recipient for bounce in report.bounces] == ["göne@klient.example"]
    assert report.original_id == "sent-1@ourcompany.example"


def test_the_code_in_the_diagnostic_says_more_than_an_undefined_one() -> None:
    group = FULL.replace("5.2.2", "5.0.0").replace("552 full", "552 5.2.2 <full@klient.example>: no")
    (bounce,) = read_report(parse(delivery_report(group))).bounces
    assert (bounce.status, bounce.kind) == ("5.2.2", "soft")


def test_the_text_explains_what_the_fields_do_not() -> None:
    bare = "Final-Recipient: rfc822; full@klient.example\nAction: failed\nStatus: 5.0.0"
    raw = delivery_report(bare).replace(b"Sorry.", b"full@klient.example: mailbox is full")
    (bounce,) = read_report(parse(raw)).bounces
    assert bounce.kind == "soft"
    assert "mailbox is full" in bounce.diagnostic


def test_own_addresses_never_bounce() -> None:
    own = frozenset({"full@klient.example"})
    assert kinds(delivery_report(GONE, FULL), own) == {"gone@klient.example": "hard"}
    assert read_report(parse(delivery_report(FULL)), own).is_report
    assert kinds(delivery_report(FULL), own) == {}


def test_a_rejection_in_the_form_of_a_receipt_is_a_bounce() -> None:
    body = (
        "--r\r\nContent-Type: text/plain\r\n\r\nYour message to <full@klient.example> was automatically rejected:\r\n"
        "Quota exceeded\r\n"
        "--r\r\nContent-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; full@klient.example\r\n"
        "Disposition: automatic-action/MDN-sent-automatically; {}\r\n--r--\r\n"
    )
    content_type = 'multipart/report; report-type=disposition-notification; boundary="r"'
    rejected = mail(1, content_type=content_type, body=body.format("deleted"), auto_submitted="auto-replied (rejected)")
    assert kinds(rejected) == {"full@klient.example": "soft"}
    read = mail(
        1, content_type=content_type, body=body.replace("automatically rejected", "displayed").format("displayed")
    )
    report = read_report(parse(read))
    assert (report.is_report, report.bounces) == (True, ())


def test_complaints_are_no_bounces() -> None:
    returned = "X-HmXmrOriginalRecipient: <x@k.example>\r\nSubject: Offer\r\n\r\nHi\r\n"
    body = f"--c\r\nContent-Type: message/rfc822\r\n\r\n{returned}--c--\r\n"
    headers = {"from": "staff@mail.example", "content_type": 'multipart/mixed; boundary="c"'}
    report = read_report(parse(mail(1, subject="complaint about message from 192.0.2.1", body=body, **headers)))  # type: ignore[arg-type]
    assert (report.is_report, report.bounces) == (True, ())


def test_typed_addresses() -> None:
    assert typed_address("RFC822;<Ann@Customer.example>") == "ann@customer.example"
    assert typed_address("ann@customer.example") == "ann@customer.example"
    assert typed_address("rfc822; ann+2Bnews@customer.example") == "ann+news@customer.example"
    assert typed_address("unknown;") == ""


@given(st.lists(st.text()))
def test_any_text_is_read(texts: list[str]) -> None:
    for group in read_groups(texts):
        assert isinstance(group.failed, bool)
        assert isinstance(group.recipient, str)
