"""Text as senders really write it: charsets of forms and their parts, halves of an emoji, byte order marks; nothing is replaced
without a trace."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Context, Request
from syncd.connectors.forms import as_dict, read_form
from syncd.connectors.generic.webhook import CONNECTOR, Webhook, WebhookSettings
from syncd.errors import Malformed
from syncd.http.json_text import originals, parse
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal, encode

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
URLENCODED = "application/x-www-form-urlencoded"
MAP = {"type": "custom.note", "id": "{{ body.id }}", "title": "{{ body.title }}", "person": {"name": "{{ body.who }}"}}


def request(body: bytes, kind: str, **headers: str) -> Request:
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "https://syncd.example.com/webhooks/a", {"content-type": kind, **lowered}, body, NOW)


def source(region: str | None = None, **keys: Any) -> Webhook:
    verify = {"scheme": "none", "insecure": True}
    settings = WebhookSettings.model_validate({"verify": verify, "account": "a", **keys})
    made = CONNECTOR.build(settings, Context(name="a", tokens=MemoryTokens(), region=region))
    assert isinstance(made, Webhook)
    return made


def one(made: Webhook, sent: Request) -> Signal:
    (signal,) = made.parse(sent).signals
    encode(signal)
    return signal


def urlencoded(charset: str, **fields: str) -> bytes:
    return "&".join(f"{name}={quote_from_bytes(text.encode(charset))}" for name, text in fields.items()).encode()


def multipart(*parts: tuple[str, str, bytes]) -> bytes:
    lines = [b'--xx\r\ncontent-disposition: form-data; name="%s"\r\n' % name.encode() for name, _, _ in parts]
    kinds = [f"content-type: {kind}\r\n".encode() if kind else b"" for _, kind, _ in parts]
    bodies = [b"\r\n" + body + b"\r\n" for _, _, body in parts]
    return b"".join(a + b + c for a, b, c in zip(lines, kinds, bodies, strict=True)) + b"--xx--\r\n"


# ---- forms


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("ISO-8859-1", "latin-1", "Müller, Straße"),
        ("iso-8859-15", "iso8859-15", "Cœur 5 €"),
        ("windows-1252", "cp1252", "“5 €” – naïve"),
        ("ISO-8859-1", "cp1252", "“5 €”"),  # as browsers read the name
        ("windows-1251", "cp1251", "Привет"),
        ("KOI8-R", "koi8-r", "Привет"),
        ("windows-1258", "cp1258", "Đà Lạt"),
        ("Shift_JIS", "cp932", "株式会社①"),
        ("iso-2022-jp", "iso2022_jp", "日本語"),
        ("GB2312", "gb18030", "张伟 镕"),
        ("big5", "big5", "王小明"),
        ("EUC-KR", "euc_kr", "김민수"),
        ("utf-16", "utf-16", "Grüße"),
        ("utf-8", "utf-8", "Grüße 😀"),
        ("no-such-charset", "utf-8", "Grüße"),
        ("rot13", "utf-8", "Grüße"),
        ("zip", "cp1252", "Grüße"),
    ],
)
def test_a_form_is_read_in_the_charset_it_declares(charset: str, codec: str, text: str) -> None:
    if codec == "cp1258":
        import unicodedata

        raw = "".join(unicodedata.normalize("NFD", c) if ord(c) > 0x1EA0 else c for c in text).encode(codec)
    else:
        raw = text.encode(codec)
    body = b"id=1&title=" + quote_from_bytes(raw).encode()
    form = read_form(request(body, f'{URLENCODED}; charset="{charset}"'))
    assert form == ([("id", "1"), ("title", text)], {})
    parts = multipart(("id", "", b"1"), ("title", f"text/plain; charset={charset}", raw))
    assert read_form(request(parts, "multipart/form-data; boundary=xx")) == form
    named = body + b"&_charset_=" + charset.encode()
    assert dict(read_form(request(named, URLENCODED)).pairs)["title"] == text


def test_each_field_may_have_its_own_charset() -> None:
    """As services send that turn emails into posts."""
    charsets = json.dumps({"to": "UTF-8", "subject": "iso-8859-1", "text": "windows-1251"})
    body = multipart(
        ("to", "", "Jörg".encode()),
        ("subject", "", "Grüße".encode("latin-1")),
        ("text", "", "Привет".encode("cp1251")),
        ("charsets", "", charsets.encode()),
    )
    form = as_dict(read_form(request(body, "multipart/form-data; boundary=xx")).pairs)
    assert (form["to"], form["subject"], form["text"]) == ("Jörg", "Grüße", "Привет")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Jörg Müßig".encode(), "Jörg Müßig"),
        ("Jörg Müßig".encode("latin-1"), "Jörg Müßig"),
        ("“5 €”".encode("cp1252"), "“5 €”"),
        (b"\xef\xbb\xbfplain", "plain"),
        (b"\xed\xa0\xbd\xed\xb8\x80", "😀"),  # as Java's modified UTF-8 writes it
    ],
)
def test_without_a_declaration_it_is_utf_8_or_windows_1252(raw: bytes, text: str) -> None:
    body = b"id=1&title=" + quote_from_bytes(raw).encode()
    assert read_form(request(body, URLENCODED)) == ([("id", "1"), ("title", text)], {})
    assert dict(read_form(request(b"title=" + raw.replace(b"\xef\xbb\xbf", b""), URLENCODED)).pairs)["title"] == text


@pytest.mark.parametrize("raw", ["Grüße an alle, schön".encode() + b" \x80 Ende", b"caf\x81", b"\xed\xa0\xbd half"])
def test_what_had_to_be_replaced_is_kept(raw: bytes) -> None:
    signal = one(
        source(format="form", signal=MAP), request(b"id=1&title=" + quote_from_bytes(raw).encode(), URLENCODED)
    )
    assert "\ufffd" in signal.title
    assert signal.data["replaced"] == {"title": quote_from_bytes(raw)}


def test_a_declared_utf_8_that_is_not_is_read_all_the_same() -> None:
    signal = one(source(format="form", signal=MAP), request(b"id=1&who=J%F6rg", f"{URLENCODED}; charset=utf-8"))
    assert (signal.person.name, "replaced" in signal.data) == ("Jörg", False)


def test_too_many_fields_and_forms_that_are_none() -> None:
    with pytest.raises(Malformed, match="more than"):
        read_form(request(b"a=b&" * 30_000, URLENCODED))
    with pytest.raises(Malformed, match="more than"):
        read_form(request(b"&".join([b"a=b"] * 5001), URLENCODED))
    for body, kind in ((b"x", "multipart/form-data"), (b"--a\r\n\r\n", "multipart/form-data; boundary=a")):
        with pytest.raises(Malformed, match="no field"):
            read_form(request(body, kind))


# ---- JSON

HALVES = [
    (rb'"half \ud83d emoji"', "half \ufffd emoji", r"half \ud83d emoji"),
    (rb'"\uDE00 low"', "\ufffd low", r"\uDE00 low"),
    (rb'"end \ud83d"', "end \ufffd", r"end \ud83d"),
    (rb'"\ud83d\ud83d\ude00"', "\ufffd😀", r"\ud83d😀"),
    (b'"\xed\xa0\xbd"', "\ufffd", r"\ud83d"),
    (b'"Gr\xc3\xbc\xc3\x9fe \xff"', "Grüße \ufffd", r"Grüße \xff"),
]


@pytest.mark.parametrize(("sent", "text", "original"), HALVES)
def test_a_broken_character_is_replaced_and_its_original_kept(sent: bytes, text: str, original: str) -> None:
    body = b'{"id": "1", "title": %s, "more": [{"deep": %s}]}' % (sent, sent)
    signal = one(source(format="json", signal=MAP), request(body, "application/json"))
    assert signal.title == text.strip()
    assert signal.data["replaced"] == {"title": original, "more[0].deep": original}


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (rb'"\\ud83d"', r"\ud83d"),  # an escaped backslash begins no escape
        (rb'"\\\\ud83d \\"', "\\\\ud83d \\"),
        (rb'"\ud83d\ude00"', "😀"),
        (b'"\xed\xa0\xbd\xed\xb8\x80"', "😀"),
        (b'\xef\xbb\xbf"Gr\xc3\xbc\xc3\x9fe"', "Grüße"),
        ('"Grüße"'.encode("utf-16"), "Grüße"),
        ('"Grüße"'.encode("utf-16-be"), "Grüße"),
        ('"Grüße"'.encode("utf-32"), "Grüße"),
        ('"Grüße"'.encode("latin-1"), "Grüße"),
        (b'"line\nbreak\ttab\r\n\x01"', "line\nbreak\ttab\r\n\x01"),
        (b'{\n\t"a": "x\ny",\n\t"b": "\\"\n\\\\\n"\n}', {"a": "x\ny", "b": '"\n\\\n'}),
        ('"Gr\nüße"'.encode("utf-16"), "Gr\nüße"),
    ],
)
def test_what_can_be_read_is_read_without_a_note(sent: bytes, value: Any) -> None:
    parsed = parse(sent)
    assert (parsed.value, originals(parsed)) == (value, {})


def test_json_in_the_charset_it_declares() -> None:
    body = '{"id": "1", "title": "Привет"}'.encode("cp1251")
    signal = one(source(format="json", signal=MAP), request(body, "application/json; charset=windows-1251"))
    assert signal.title == "Привет"


@pytest.mark.parametrize(
    "sent", [b"", b"{", b"\xff\xfe", b"NaN", b'{"a": NaN}', rb'{"a": "\ud83d", "b": Infinity}', rb'"\ud83', b"1e999"]
)
def test_what_is_no_json_stays_none(sent: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(sent)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b'{"a": NaN}', "NaN is not a number in JSON; its sender must write null"),
        (b'{"a": "Infinity", "b": [1, -Infinity]}', "-Infinity is not a number in JSON"),
        (b'{"a": "line\nbreak", "b": NaN}', "NaN is not a number in JSON"),
        (b'{"a": "NaN", "b": }', "JSON is malformed"),
        (b'{"a": "lost its quote,\n"b": "whole"}', "JSON is malformed"),  # what it swallowed is not clear
        (b'{"a": "half an escape \\\n"}', "JSON is malformed"),
    ],
)
def test_a_document_that_is_refused_says_why(sent: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(sent)
    with pytest.raises(Malformed, match=f"the body is not JSON .{why}"):
        source(format="json", signal=MAP).parse(request(sent, "application/json"))


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_escapes_that_are_missing_change_nothing_else(value: dict[str, str | int]) -> None:
    sent = json.dumps(value, ensure_ascii=False)
    for escape, raw in (("\\n", "\n"), ("\\t", "\t"), ("\\u0001", "\x01")):
        sent = re.sub(rf"(?<!\\)((?:\\\\)*){re.escape(escape)}", rf"\1{raw}", sent)
    assert parse(sent.encode("utf-8", "surrogatepass")).value == json.loads(json.dumps(value))


def test_a_message_with_line_breaks_is_a_signal() -> None:
    body = b'{"id": "1", "title": "A question", "note": "Hello,\r\n\r\n\tcall me"}'
    signal = one(source(format="json", signal=MAP | {"text": "{{ body.note }}"}), request(body, "application/json"))
    assert (signal.text, "replaced" in signal.data) == ("Hello,\r\n\r\n\tcall me", False)


def test_a_half_emoji_in_one_item_and_in_json_inside_json() -> None:
    mapped = {"type": "custom.a", "each": "{{ body.list | json }}", "id": "{{ item.n }}", "title": "{{ item.t }}"}
    inner = r'[{"n": 1, "t": "whole"}, {"n": 2, "t": "half \ud83d"}]'
    batch = source(format="json", signal=mapped).parse(
        request(json.dumps({"list": inner}).encode(), "application/json")
    )
    assert [signal.title for signal in batch.signals] == ["whole", "half \ufffd"]
    assert ["replaced" in signal.data for signal in batch.signals] == [False, True]
    assert batch.signals[1].data["replaced"] == {"t": r"half \ud83d"}


def test_a_list_under_a_map_for_one_object_says_what_to_write() -> None:
    orders = b'[{"id": "1", "title": "a"}, {"id": "2", "title": "b"}]'
    with pytest.raises(Malformed, match=r'the body is a list of 2.*`each: "{{ body }}"`'):
        source(format="json", signal=MAP).parse(request(orders, "application/json"))
    by_number = MAP | {"id": "{{ body[0].id }}", "title": "{{ body[0].title }}"}
    assert one(source(format="json", signal=by_number), request(orders, "application/json")).title == "a"
    each = {"type": "custom.a", "each": "{{ body }}", "id": "{{ item.id }}"}
    assert len(source(format="json", signal=each).parse(request(orders, "application/json")).signals) == 2


# ---- CloudEvents

BINARY = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "a.b"}
OLD = {"specversion": "0.3", "datacontentencoding": "base64"}
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b"}


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ('"Hello, you"', "Hello, you"),
        (r'"a \"quoted\" \\ word"', r'a "quoted" \ word'),
        ("Gr%C3%BC%C3%9Fe%20%F0%9F%98%80", "Grüße 😀"),
        ('"Gr%C3%BC%C3%9Fe"', "Grüße"),
        ("100%2525", "100%25"),  # decoded once
        ("100%", "100%"),
        ("100 %FC", "100 %FC"),  # not UTF-8: left as it is
        ("Grüße".encode().decode("latin-1"), "Grüße"),
        ("Grüße", "Grüße"),
        ('"', '"'),
        ('say "hi"', 'say "hi"'),
    ],
)
def test_attributes_in_headers(header: str, title: str) -> None:
    assert one(source(), request(b"{}", "application/json", **BINARY, ce_subject=header)).title == title


@pytest.mark.parametrize(
    ("event", "text", "data"),
    [
        (OLD | {"datacontenttype": "text/plain", "data": "SGVsbG8="}, "Hello", None),
        (OLD | {"datacontentencoding": "Base64", "datacontenttype": "application/json", "data": "eyJhIjoxfQ=="}, "", 1),
        ({"datacontenttype": "text/plain; charset=iso-8859-1", "data_base64": "R3L832U="}, "Grüße", None),
        ({"data_base64": "AQL/"}, "", None),
        ({"data_base64": "eyJhIjoxfQ=="}, "", 1),
        ({"data_base64": "SGVsbG8="}, "Hello", None),
    ],
)  # fmt: skip
def test_data_in_base64(event: dict[str, Any], text: str, data: Any) -> None:
    signal = one(source(), request(json.dumps({**EVENT, **event}).encode(), "application/cloudevents+json"))
    assert (signal.text, signal.data.get("a")) == (text, data)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"{Something[Not:valid}JSON", "", "{Something[Not:valid}JSON"),
        (b"Gr\xfc\xdfe", "text/plain; charset=iso-8859-1", "Grüße"),
        (b"\xef\xbb\xbfHello", "text/plain", "Hello"),
        (b"\x89PNG\xff", "image/png", ""),
        (b"\x89PNG\xff", "", ""),
    ],
)
def test_binary_mode_with_any_body(body: bytes, kind: str, text: str) -> None:
    sent = request(body, kind, **BINARY)
    signal = one(source(), Request(**{**sent.__dict__, "headers": {k: v for k, v in sent.headers.items() if v}}))
    assert signal.text == text


@pytest.mark.parametrize(
    ("time", "iso"),
    [
        ("2026-11-28t10:00:00z", "2026-11-28T10:00:00+00:00"),
        ("2026-11-28 10:00:00Z", "2026-11-28T10:00:00+00:00"),
        ("2026-11-28T10:00:00.5Z", "2026-11-28T10:00:00.500000+00:00"),
        ("2026-11-28T10:00:00.123456789+05:30", "2026-11-28T04:30:00.123456+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31t15:59:60.25-08:00", "2017-01-01T00:00:00+00:00"),
        ("2026-11-28T10:00:00-00:00", "2026-11-28T10:00:00+00:00"),
        ("2026-11-28 10:00:00 +0200", "2026-11-28T08:00:00+00:00"),
        ("2026-11-28 10:00:00 UTC", "2026-11-28T10:00:00+00:00"),
        ("2026-11-28T10:00:00+01:00[Europe/Berlin]", "2026-11-28T09:00:00+00:00"),
        ("2026-11-28T10:00:00[Europe/Berlin]", "2026-11-28T09:00:00+00:00"),
    ],
)
def test_any_rfc_3339_time(time: str, iso: str) -> None:
    body = json.dumps({**EVENT, "time": time}).encode()
    assert one(source(), request(body, "application/cloudevents+json")).occurred_at.isoformat() == iso


@pytest.mark.parametrize(
    "time", ["2026-11-28T10:00:61Z", "2026-02-30T10:00:00z", "2026-11-28T25:00:00Z", "2026-11-28T10:00:00[No/Where]", "9" * 400]
)  # fmt: skip
def test_times_that_are_none(time: str) -> None:
    with pytest.raises(Malformed, match="occurred_at"):
        source().parse(request(json.dumps({**EVENT, "time": time}).encode(), "application/cloudevents+json"))


def test_a_half_emoji_in_one_event_of_a_batch() -> None:
    batch = json.dumps([EVENT, {**EVENT, "id": "2", "subject": "half \ud83d"}]).encode()
    made = source().parse(request(batch, "application/cloudevents-batch+json")).signals
    assert [signal.data.get("replaced") for signal in made] == [None, {"subject": r"half \ud83d"}]
