"""Texts that stand elsewhere than in a text part: signed mails, winmail.dat, invitations, forwarded mails; and encrypted ones."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.mail import smime
from syncd.connectors.mail.calendar_text import calendar_text
from syncd.connectors.mail.message import Mail, parse
from syncd.connectors.mail.reading import Envelope, Rules, read_mail
from syncd.connectors.mail.rtf import rtf_text, unpacked
from syncd.connectors.mail.tnef import read_tnef
from syncd.signals import Route
from tests.mails import MOMENT, mail

INNER = "Content-Type: text/plain; charset=utf-8\r\n\r\nBitte um ein Angebot für Stühle.\r\n".encode()
TEXT = "Bitte um ein Angebot für Stühle."


def packed(data: bytes, kind: str, name: str = "smime.p7m") -> Mail:
    body = base64.encodebytes(data).replace(b"\n", b"\r\n")
    return parse(mail(body=body, content_type=f'{kind}; name="{name}"', content_transfer_encoding="base64"))


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Eva")])
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=999))
    return builder.sign(key, hashes.SHA256())


def signed(key: rsa.RSAPrivateKey, certificate: x509.Certificate, data: bytes) -> bytes:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(data).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def test_a_signed_mail_is_read(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    one = signed(key, certificate, INNER)
    for kind in (
        "application/pkcs7-mime; smime-type=signed-data",
        "application/x-pkcs7-mime",
        "application/octet-stream",
    ):
        read = packed(one, kind)
        assert (read.text, read.note, read.attachments) == (TEXT, "", ())
    twice = signed(
        key,
        certificate,
        b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(one),
    )
    assert packed(twice, "application/pkcs7-mime").text == TEXT


def test_a_signed_mail_keeps_its_attachments(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    inner = EmailMessage()
    inner.set_content("see the list")
    inner.add_attachment(b"1,2", maintype="text", subtype="csv", filename="list.csv")
    read = packed(signed(key, certificate, inner.as_bytes()), "application/pkcs7-mime")
    assert read.text == "see the list"
    assert [one["name"] for one in read.attachments] == ["list.csv"]


def test_an_encrypted_mail_says_so(certificate: x509.Certificate) -> None:
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(INNER).add_recipient(certificate)
    read = packed(builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary]), "application/pkcs7-mime")
    assert (read.text, [one["name"] for one in read.attachments]) == ("", ["smime.p7m"])
    assert "S/MIME" in read.note
    pgp = b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\n"
    pgp += b"Content-Type: application/octet-stream\r\n\r\nx\r\n--b--"
    assert "PGP" in parse(mail(body=pgp, content_type="multipart/encrypted; boundary=b")).note
    raw = mail(body="-----BEGIN PGP MESSAGE-----\r\n\r\nhQ==\r\n-----END PGP MESSAGE-----\r\n")
    (signal,) = read_mail(raw, Envelope(MOMENT, len(raw)), Rules("s"), MOMENT, Route.POLL).signals
    assert (signal.text, "encrypted" in signal.data["note"]) == ("", True)
    (bare,) = read_mail(raw, Envelope(MOMENT, len(raw)), Rules("s", headers_only=True), MOMENT, Route.POLL).signals
    assert "note" not in bare.data


def test_the_armour_of_a_signature_is_no_text() -> None:
    signature = "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
    body = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nPlease call.\n- -- \nAnn\n{signature}"
    assert parse(mail(body=body)).text == "Please call.\n--\nAnn"


def _ber(tag: int, *content: bytes) -> bytes:
    return bytes([tag, 0x80]) + b"".join(content) + b"\0\0"


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


def test_streamed_and_compressed_messages_are_opened() -> None:
    pieces = b"".join(_der(4, INNER[at : at + 30]) for at in range(0, len(INNER), 30))
    data_type, signed_type = _der(6, bytes.fromhex("2a864886f70d010701")), _der(6, bytes.fromhex("2a864886f70d010702"))
    inner = _ber(0x30, data_type, _ber(0xA0, _ber(0x24, pieces)))
    streamed = _ber(0x30, signed_type, _ber(0xA0, _ber(0x30, _der(2, b"\1"), _der(0x31, b""), inner)))
    assert smime.opened(streamed) == INNER
    compressed_type = _der(6, bytes.fromhex("2a864886f70d0109100109"))
    wrapped = _der(0x30, data_type + _der(0xA0, _der(4, zlib.compress(INNER))))
    content = _der(0x30, _der(2, b"\0") + _der(0x30, b"") + wrapped)
    assert smime.opened(_der(0x30, compressed_type + _der(0xA0, content))) == INNER


def _attribute(identity: int, value: bytes) -> bytes:
    return b"\1" + identity.to_bytes(4, "little") + len(value).to_bytes(4, "little") + value + b"\0\0"


def _property(kind: int, name: int, value: bytes) -> bytes:
    head = kind.to_bytes(2, "little") + name.to_bytes(2, "little")
    return head + b"\1\0\0\0" + len(value).to_bytes(4, "little") + value + b"\0" * (-len(value) % 4)


def _tnef(*attributes: bytes) -> bytes:
    return b"\x78\x9f\x3e\x22\0\0" + b"".join(attributes)


# [MS-OXRTFCP] 4.1.1
RTF = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c0900206277 05b06c647d0a800fa0".replace(
        " ", ""
    )
)


def test_winmail_is_read() -> None:
    cyrillic = _attribute(0x00069007, (1251).to_bytes(4, "little") + b"\0" * 4)
    body = _attribute(0x0002800C, "Нужны насосы\0".encode("cp1251"))
    files = (
        _attribute(0x00069002, b"\0" * 14) + _attribute(0x00018010, b"list.pdf\0") + _attribute(0x0006800F, b"12345")
    )
    read = packed(_tnef(cyrillic, body, files), "application/ms-tnef", "winmail.dat")
    assert read.text == "Нужны насосы"
    assert [(one["name"], one["size"]) for one in read.attachments] == [("list.pdf", 5)]
    assert packed(_tnef(body), "application/octet-stream", "winmail.dat").text
    assert packed(b"no tnef", "application/ms-tnef", "winmail.dat").attachments[0]["name"] == "winmail.dat"


@pytest.mark.parametrize(
    ("made", "text", "html"),
    [
        (_property(0x1F, 0x1000, "Cần 12 bàn\0".encode("utf-16-le")), "Cần 12 bàn", ""),
        (_property(0x1E, 0x1000, b"Tables\0"), "Tables", ""),
        (
            _property(0x102, 0x1013, "<meta charset=utf-8><p>Stühle</p>".encode()),
            "",
            "<meta charset=utf-8><p>Stühle</p>",
        ),
        (_property(0x102, 0x1009, RTF), "hello world", ""),
        (
            b"\x0b\0\x05\x80"
            + b"\0" * 16
            + b"\1\0\0\0\6\0\0\0ab\0\0\0\0\0\0"
            + b"\1\0\0\0"
            + _property(0x1E, 0x1000, b"x\0"),
            "x",
            "",
        ),
    ],
)
def test_the_properties_of_winmail(made: bytes, text: str, html: str) -> None:
    count = 2 if made.startswith(b"\x0b") else 1
    found = read_tnef(_tnef(_attribute(0x00069003, count.to_bytes(4, "little") + made)))
    assert (found.text.strip(), found.html) == (text, html)


def test_rtf() -> None:
    assert unpacked(RTF).startswith(b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}")
    assert (
        rtf_text(b"{\\rtf1\\ansi\\ansicpg1251{\\fonttbl{\\f0 Arial;}}\\uc1 a\\'e4\\par \\u1085?b \\{c\\}}")
        == "aд\nнb {c}"
    )
    html = b"{\\rtf1\\ansi\\fromhtml1 {\\*\\htmltag64 <p>}\\htmlrtf {\\htmlrtf0 Tables\\htmlrtf }\\htmlrtf0 }"
    assert rtf_text(html).strip() == "Tables"


def _calendar(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", *lines, "END:VCALENDAR"])


EVENT = [
    "BEGIN:VEVENT",
    "SUMMARY:Demo\\, shelves",
    "DTSTART:20261203T130000Z",
    "DTEND:20261203T140000Z",
    "LOCATION:Bonn",
    "END:VEVENT",
]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["METHOD:REQUEST", *EVENT], "Demo, shelves\nWhen: 2026-12-03 13:00–14:00 UTC\nWhere: Bonn"),
        (["METHOD:CANCEL", *EVENT], "Cancelled\nDemo, shelves\nWhen: 2026-12-03 13:00–14:00 UTC\nWhere: Bonn"),
        (
            ["METHOD:REPLY", *EVENT[:-1], "ATTENDEE;PARTSTAT=DECLINED;CN=\"A: B\":mailto:a@x", "COMMENT:Not then", "END:VEVENT"],
            "Declined\nDemo, shelves\nWhen: 2026-12-03 13:00–14:00 UTC\nWhere: Bonn\nComment: Not then",
        ),
        (
            ["BEGIN:VTIMEZONE", "BEGIN:STANDARD", "DTSTART:16010101T000000", "END:STANDARD", "END:VTIMEZONE", "BEGIN:VEVENT",
             "DTSTART;TZID=\"Europe/Berlin\":20261203T130000", "DURATION:PT1H30M", "DESCRIPTION;LANGUAGE=de:Bitte\\nmit Pr",
             " eisliste", "BEGIN:VALARM", "DESCRIPTION:Reminder", "END:VALARM", "END:VEVENT"],
            "Bitte\nmit Preisliste\n\nWhen: 2026-12-03 13:00–14:30 Europe/Berlin",
        ),
        (["BEGIN:VEVENT", "DTSTART;VALUE=DATE:20261203", "DTEND;VALUE=DATE:20261205", "END:VEVENT"],
         "When: 2026-12-03–2026-12-04"),
        (["BEGIN:VEVENT", "DTSTART:20261203T230000", "DTEND:20261204T010000", "END:VEVENT"],
         "When: 2026-12-03 23:00 – 2026-12-04 01:00"),
        (["BEGIN:VEVENT", "DTSTART:99999999T999999", "END:VEVENT"], ""),
        (["nonsense"], ""),
    ],
)  # fmt: skip
def test_an_invitation_is_read(lines: list[str], text: str) -> None:
    assert calendar_text(_calendar(*lines)) == text
    if text:
        alone = mail(body=_calendar(*lines), content_type="text/calendar; method=REQUEST; charset=utf-8")
        assert parse(alone).text == text


def test_an_invitation_beside_a_text_changes_nothing() -> None:
    body = (
        "--b\r\nContent-Type: text/plain\r\n\r\nSee you.\r\n--b\r\nContent-Type: text/calendar\r\n\r\n"
        + _calendar(*EVENT)
        + "\r\n--b--"
    )
    assert parse(mail(body=body, content_type="multipart/alternative; boundary=b")).text == "See you."


def test_a_mail_that_only_carries_another_has_its_text() -> None:
    inner = b"From: Bob <bob@customer.example>\r\nSubject: Pumps\r\n\r\nTwelve please.\r\n"
    body = b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--"
    read = parse(mail(body=body, content_type="multipart/mixed; boundary=b"))
    assert read.text == "From: Bob <bob@customer.example>\nSubject: Pumps\n\nTwelve please."
    assert read.attachments[0]["name"] == "Pumps"
    said = b"--b\r\nContent-Type: text/plain\r\n\r\nFor you.\r\n" + body
    assert parse(mail(body=said, content_type="multipart/mixed; boundary=b")).text == "For you."


@given(st.binary(max_size=400))
def test_any_bytes_inside_are_read(data: bytes) -> None:
    for begun in (data, b"\x78\x9f\x3e\x22\0\0" + data, b"\x30\x80" + data, _attribute(0x00069003, data)):
        smime.opened(begun)
        smime.is_encrypted(begun)
        read_tnef(begun)
    read_tnef(_tnef(_attribute(0x00069003, data), data))
    rtf_text(b"{\\rtf1" + data)
    unpacked(b"\0" * 4 + b"\xff\xff\0\0LZFu" + data)
    calendar_text(data.decode("latin-1"))
    packed(data, "application/pkcs7-mime")
