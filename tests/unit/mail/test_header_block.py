"""Damaged header blocks: nothing of the mail is lost with one bad line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.mail.header_block import repaired
from syncd.connectors.mail.message import parse
from tests.mails import BROKEN, mail

HEADERS = [
    b"Received: from a by b; Tue, 03 Nov 2026 10:12:00 +0000",
    b"X-Report:",
    b" one",
    b"From: =?utf-8?q?Th=C3=A0nh?= Buyer <thanh@customer.example>",
    b"To: sales@ourcompany.example,",
    b" info@ourcompany.example",
    b"Subject: Order of twelve pumps and of the hoses that belong to them, please",
    b" and of the valves",
    b"Message-ID: <q1@customer.example>",
    b"Content-Type: multipart/alternative;",
    b' boundary="b1"',
    b"Date: Tue, 03 Nov 2026 10:12:00 +0000",
]
BODY = b"--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nPlease call.\r\n--b1--\r\n"
BAD = [
    b"* -1.9 BAYES_00 BODY: spam probability", b"no colon here", b">From ann@x.example Tue Nov  3 10:12:00 2026",
    b"From ann@x.example Tue Nov  3 10:12:00 2026", b": no name", b"\xff\xfe\x00", b"Two words: value", b"=?utf-8?q?x", b"<",
    b'"', b"X-Odd : value", b"----", b"\xe6\xb0\xb4\xe6\xb3\xb5", b"(comment)", b"=", b"\x0c", b"[1] 250 OK", b"a,b",
]  # fmt: skip


@given(st.integers(0, len(HEADERS)), st.one_of(st.sampled_from(BAD), st.binary(min_size=1, max_size=60)))
def test_one_bad_line_anywhere_loses_nothing(at: int, line: bytes) -> None:
    bad = line.replace(b"\n", b"").replace(b"\r", b"").lstrip(b" \t") or b"x"
    name = bad.partition(b":")[0].strip().lower()
    if name in {b"from", b"subject", b"message-id", b"content-type", b"date", b"to"}:
        return  # a second header of that name
    if b":" in bad and HEADERS[at : at + 1] and HEADERS[at].startswith(b" "):
        return  # a header of its own, which takes the continuation
    raw = b"\r\n".join([*HEADERS[:at], bad, *HEADERS[at:]]) + b"\r\n\r\n" + BODY
    read = parse(raw)
    assert (read.sender.name, read.sender.email) == ("Thành Buyer", "thanh@customer.example")
    assert read.subject == "Order of twelve pumps and of the hoses that belong to them, please and of the valves"
    assert "Please call." in read.text
    assert read.key == "q1@customer.example"
    assert [address.email for address in read.to] == ["sales@ourcompany.example", "info@ourcompany.example"]


@pytest.mark.parametrize("at", [0, 3, 4, 6, 8])
def test_an_empty_line_among_the_headers_ends_nothing(at: int) -> None:
    lines = [line for line in HEADERS if not line.startswith((b"X-", b" one"))]
    read = parse(b"\n".join([*lines[:at], b"", *lines[at:]]) + b"\n\n" + BODY)
    if at == 0 or lines[at][:1] != b" ":
        assert (read.sender.email, read.text, read.key) == (
            "thanh@customer.example",
            "Please call.",
            "q1@customer.example",
        )


def _of(*lines: bytes, body: bytes = b"Please call.") -> bytes:
    return b"\n".join(lines) + b"\n\n" + body


@pytest.mark.parametrize(
    ("raw", "subject", "text"),
    [
        (_of(b"From : a@b.example", b"Subject\t: Pumps"), "Pumps", "Please call."),
        (_of(b"From: a@b.example", b"Subject: =?utf-8?q?Pum?=", b"=?utf-8?q?ps?=", b"To: c@d.example"), "Pumps", "Please call."),
        (_of(b"From: a@b.example\r", b"Subject: Pum\rps\r", b"To: c@d.example\r", b"\r"), "Pum ps", "Please call."),
        (b"From: a@b.example\r\r\nSubject: Pumps\r\r\n\r\r\nPlease call.", "Pumps", "Please call."),
        (b"\xef\xbb\xbfFrom: a@b.example\nSubject: Pumps\n\nPlease call.", "Pumps", "Please call."),
        (b"\r\n\r\nFrom: a@b.example\r\nSubject: Pumps\r\n\r\nPlease call.", "Pumps", "Please call."),
        (b"From: a@b.example\nSubject: Pumps\nDear Tom,\nplease call.\n\nAnn", "Pumps", "Dear Tom,\nplease call.\n\nAnn"),
        (b"From: a@b.example\nSubject: Pumps\nDear Tom", "Pumps", "Dear Tom"),
        (_of(b"From: a@b.example", b"Subject:", b"Subject: Pumps"), "Pumps", "Please call."),
    ],
)  # fmt: skip
def test_damaged_blocks(raw: bytes, subject: str, text: str) -> None:
    read = parse(raw)
    assert (read.sender.email, read.subject, read.text) == ("a@b.example", subject, text)


def test_the_headers_of_parts_are_repaired_too() -> None:
    raw = (
        b"From: a@b.example\nContent-Type: multipart/mixed;\nboundary=p\n\n--p\nContent-Type : text/html; charset=utf-8\n"
        b"* scanned\nContent-Transfer-Encoding : base64\n\nPGI+Q2FsbDwvYj4=\n--p\nno header at all: call\n--p--\n"
    )
    assert parse(raw).text == "no header at all: call"
    assert parse(raw.replace(b"--p\nno header at all: call\n", b"")).text == "Call"


def test_two_people_whose_headers_cannot_be_read_are_two() -> None:
    keys = {parse(b"Fr\xf6m; %s\nS: x\n\nPlease call." % who).key for who in (b"ann@x.example", b"cid@x.example")}
    assert len(keys) == 2
    one = b"Fr\xf6m; ann@x.example\n\nPlease call."
    assert parse(one).key == parse(b"From ann Tue\nReceived: by x\n" + one).key


def test_well_formed_mails_come_back_untouched() -> None:
    for raw in (
        mail(1),
        mail(2).replace(b"\r\n", b"\n"),
        BROKEN["deep nesting"],
        BROKEN["no headers"],
        BROKEN["only a body"],
    ):
        assert repaired(raw) is raw


GBK, KOI8, SJIS = "水泵报价".encode("gbk"), "Насосы".encode("koi8-r"), "ポンプの件".encode("cp932")
JIS = b"Content-Type: text/plain; charset=iso-2022-jp"


@pytest.mark.parametrize(
    ("raw", "subject", "text"),
    [
        (_of(b"Subject: " + GBK, b"Content-Type: text/plain; charset=GB2312", body="请".encode("gbk")), "水泵报价", "请"),
        (_of(b"Subject: " + KOI8, b"Content-Type: text/plain; charset=koi8-r", body="Да".encode("koi8-r")), "Насосы", "Да"),
        (_of(b"Subject: " + SJIS, b"Content-Type: text/plain; charset=shift_jis", body=b"x"), "ポンプの件", "x"),
        (_of(b"Subject: " + "Größe".encode(), b"Content-Type: text/plain; charset=gbk", body=b"x"), "Größe", "x"),
        (_of(b"Subject: " + "ポンプの件".encode("iso2022_jp"), body="十二台".encode("iso2022_jp")), "ポンプの件", "十二台"),
        (_of(b"Subject: \x1b$B-!\x1b(B 1", JIS, body=b"\x1b$B-j\x1b(B"), "① 1", "㈱"),
        (_of(b"Subject: " + "펌프".encode("iso2022_kr"), body=b"x"), "펌프", "x"),
        (_of(b"Subject: " + GBK, b"Content-Type: text/html", body=b"<meta charset=gbk><p>" + GBK), "水泵报价", "水泵报价"),
        (_of(b"From: =?gb2312?b?xOPF?= <a@b.example>", b"Subject: " + GBK, body=b"x"), "水泵报价", "x"),
        (
            _of(b"Content-Type: text/html; charset=us-ascii", body=b'<?xml version="1.0" encoding="koi8-r"?><p>' + KOI8),
            "", "Насосы",
        ),
        (_of(b"Content-Type: text/html; charset=utf-8", body="<meta charset=gbk><p>水泵".encode()), "", "水泵"),
        (_of(b"Content-Type: text/html", body="<meta charset=utf-16><p>水泵".encode()), "", "水泵"),
    ],
)  # fmt: skip
def test_charsets_of_raw_headers_and_of_html(raw: bytes, subject: str, text: str) -> None:
    read = parse(raw)
    assert (read.subject, read.text) == (subject, text)


def test_what_names_no_charset_is_read_by_evidence() -> None:
    russian = "Здравствуйте, пришлите пожалуйста цену на двенадцать насосов и сроки поставки."
    chinese = "您好，请报十二台水泵的价格和交货期，谢谢。"
    for text, codec, charset in (
        (russian, "koi8-r", ""),
        (russian, "cp1251", "; charset=us-ascii"),
        (chinese, "gbk", ""),
    ):
        subject, name = text[:20].encode(codec), text[:8].encode(codec)
        raw = _of(b"From: " + name + b" <a@b.example>", b"Subject: " + subject, body=text.encode(codec))
        read = parse(raw.replace(b"Subject", b"Content-Type: text/plain" + charset.encode() + b"\nSubject"))
        assert (read.text, read.subject, read.sender.name) == (text, text[:20].strip(), text[:8].strip(" ,"))
    named = _of(b"Content-Type: text/plain; charset=iso-8859-1", body="Größe".encode("latin-1"))
    assert parse(named).text == "Größe"
    assert parse(_of(b"Subject: " + "Grüße aus Köln".encode("latin-1"))).subject == "Grüße aus Köln"
