"""Parsing: charsets, encoded words, the best text, attachments, address lists."""

from __future__ import annotations

import base64

import pytest

from syncd.connectors.mail.addresses import parse_addresses
from syncd.connectors.mail.message import parse
from syncd.connectors.text import decode, decode_header, html_to_text
from tests.mails import mail


@pytest.mark.parametrize(
    ("raw", "charset", "text"),
    [
        ("Grüße".encode(), "utf-8", "Grüße"),
        ("Grüße".encode(), "iso-8859-1", "Grüße"),
        ("Grüße".encode("latin-1"), "utf-8", "Gr��e"),
        ("Grüße".encode("latin-1"), "", "Grüße"),
        ("Grüße".encode("latin-1"), "us-ascii", "Grüße"),
        ("“x”".encode("cp1252"), "ISO-8859-1", "“x”"),
        ("日本".encode("shift_jis"), "x-sjis", "日本"),
        ("한국".encode("cp949"), "ks_c_5601-1987", "한국"),
        ("中国".encode("gb18030"), "GB2312", "中国"),
        ("Привет".encode("koi8-r"), "KOI8-R", "Привет"),
        ("Việt".encode("cp1258", "replace"), "windows-1258", "Vi?t"),
        ("x".encode("utf-16"), "utf-16", "x"),
        (b"abc", "idna", "abc"),
        (b"abc", "rot13", "abc"),
        (b"abc", "../../etc", "abc"),
    ],
)
def test_bytes_are_read_as_they_were_meant(raw: bytes, charset: str, text: str) -> None:
    assert decode(raw, charset) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?UTF-8?Q?Gr=C3=BC=C3=9Fe_aus?= =?utf-8?q?_K=C3=B6ln?=", "Grüße aus Köln"),
        ("=?utf-8?b?w6Q=?= and =?utf-8?b?w7Y=?=", "ä and ö"),
        ("=?utf-8?q?=C3?=\r\n =?utf-8?q?=A4?=", "ä"),
        ("=?utf-8?b?w6Q?=", "ä"),
        ("Re:=?iso-8859-1?Q?=E4?=x", "Re:äx"),
        ("=?utf-8*de?q?=C3=A4?=", "ä"),
        ("=?klingon?q?=E4?=", "ä"),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("a\tb\x00c\x07", "a bc"),
    ],
)
def test_encoded_words(value: str, text: str) -> None:
    assert decode_header(value) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("A B <a@b.example>", [("A B", "a@b.example")]),
        ('"Doe, Jane" <J@B.example>, x@y.example', [("Doe, Jane", "j@b.example"), ("", "x@y.example")]),
        ("x@y.example (Xena)", [("Xena", "x@y.example")]),
        ("undisclosed-recipients:;", []),
        ("Team: a@b.example, c@d.example;", [("", "a@b.example"), ("", "c@d.example")]),
        ("=?utf-8?q?J=C3=B6rg=2C_X?= <j@b.example>", [("Jörg, X", "j@b.example")]),
        ("a@b.example; c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        ("Bob [mailto:x] <<b@c.example>>", [("Bob [mailto", "b@c.example")]),
        ("=?utf-8?B?SsO2cmcgTcO8bGxlciA8am9lcmdAYi5leGFtcGxlPg==?=", [("Jörg Müller", "joerg@b.example")]),
        ("=?utf-8?Q?M=C3=BCller,_J=C3=B6rg?= <j@b.example>", [("Müller, Jörg", "j@b.example")]),
        (
            "=?utf-8?q?A=3B_B_<x>?= <j@b.example>, =?utf-8?q?C,D?= <c@d.example>",
            [("A; B <x>", "j@b.example"), ("C,D", "c@d.example")],
        ),
        ("Müller, Jörg <j@b.example>, Ann <a@b.example>", [("Müller, Jörg", "j@b.example"), ("Ann", "a@b.example")]),
        ("Ann Example <ann@b.example", [("Ann Example", "ann@b.example")]),
        ("Ann [ann@b.example]", [("Ann", "ann@b.example")]),
        ("Ann <mailto:ann@b.example>", [("Ann", "ann@b.example")]),
        ("'Ann' <ann@b.example>", [("Ann", "ann@b.example")]),
        ("ann@b.example <Ann@b.example>", [("", "ann@b.example")]),
        ("a@b.example, bob, c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        ("just a name", []),
        ("", []),
        ("Eva <<eva@k.example>>", [("Eva", "eva@k.example")]),
        ("=?utf-8?q?Eva_<eva@k.example>?=", [("Eva", "eva@k.example")]),
        ("Eva <eva @k.example>", [("Eva", "eva@k.example")]),
        ('"boss@k.example" <eva@k.example>', [("boss@k.example", "eva@k.example")]),
    ],
)
def test_address_lists(value: str, expected: list[tuple[str, str]]) -> None:
    found = [tuple(address) for address in parse_addresses(value)]
    assert [email for _, email in found] == [email for _, email in expected]
    if "mailto" not in value:
        assert found == expected


def multipart(*parts: str, kind: str = "mixed") -> bytes:
    body = "".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--\r\n"
    return mail(1, body=body, content_type=f'multipart/{kind}; boundary="b"')


def test_plain_text_is_preferred_to_html() -> None:
    raw = multipart(
        "Content-Type: text/html\r\n\r\n<p>html</p>", "Content-Type: text/plain\r\n\r\nplain", kind="alternative"
    )
    assert parse(raw).text == "plain"


def test_html_is_read_when_the_plain_text_is_empty() -> None:
    html = "Content-Type: text/html; charset=utf-8\r\n\r\n<style>x{}</style><p>Grüße</p><ul><li>one<li>two</ul>"
    text = parse(multipart("Content-Type: text/plain\r\n\r\n \r\n", html, kind="alternative")).text
    assert "Grüße" in text
    assert "one" in text
    assert "{" not in text
    assert "<" not in text


def test_attachments_are_named_not_kept() -> None:
    content = base64.encodebytes(b"x" * 1000).decode().replace("\n", "\r\n")
    raw = multipart(
        "Content-Type: text/plain\r\n\r\nsee below",
        "Content-Type: text/plain\r\nContent-Disposition: attachment; filename*=utf-8''gr%C3%BC%C3%9Fe.txt\r\n\r\nsecret",
        f'Content-Type: application/pdf; name="=?utf-8?q?=C3=A4.pdf?="\r\nContent-Transfer-Encoding: base64\r\n\r\n{content}',
        "Content-Type: message/rfc822\r\n\r\nSubject: forwarded\r\n\r\ninside",
    )
    read = parse(raw)
    assert read.text == "see below"
    assert [entry["name"] for entry in read.attachments] == ["grüße.txt", "ä.pdf", "forwarded"]
    assert read.attachments[1]["type"] == "application/pdf"
    assert abs(read.attachments[1]["size"] - 1000) <= 3


def test_quoted_printable_and_base64_bodies() -> None:
    raw = mail(1, content_transfer_encoding="quoted-printable", body="Gr=C3=BC=C3=9Fe=\r\n!\r\n")
    assert parse(raw).text == "Grüße!"
    raw = mail(1, content_transfer_encoding="base64", body=base64.b64encode("Grüße".encode()))
    assert parse(raw).text == "Grüße"


def test_html_the_renderer_refuses_loses_its_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    import inscriptis

    def refuse(*_: object) -> str:
        raise RecursionError

    monkeypatch.setattr(inscriptis, "get_text", refuse)
    assert html_to_text("<p>one</p><script>x<y</script>two &amp; <b>three</b>").split() == ["one", "two", "&", "three"]
