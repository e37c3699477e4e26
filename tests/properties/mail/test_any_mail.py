"""Whatever bytes a mailbox holds: no error, no endless work, clean text, one id."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from syncd.connectors.mail.addresses import parse_addresses
from syncd.connectors.mail.imap_cursor import HOLES_CAP, Folder
from syncd.connectors.mail.message import parse
from syncd.connectors.mail.reading import Envelope, Rules, read_mail
from syncd.connectors.mail.reply import latest_reply
from syncd.connectors.text import clean, decode, decode_header, html_to_text
from syncd.signals import Route, decode_signal, encode
from tests.mails import BROKEN, DELAYED, FAILED, MOMENT, delivery_report, mail

WHOLE = [mail(1), delivery_report(FAILED, DELAYED), *(raw for raw in BROKEN.values() if len(raw) < 3000)]
PIECES = [
    b"\r\n", b"\r\n\r\n", b"\0", b"=", b"--b", b"--b--", b"Content-Type: ", b"multipart/mixed; boundary=b", b"message/rfc822",
    b"text/html", b"; charset=", b"utf-7", b"Content-Transfer-Encoding: base64", b"=?utf-8?b?", b"?=", b"<", b">", b'"', b"(",
    b"\xff\xfe", b"From: ", b"Message-ID: <", b"Action: failed", b"\r\n ", b"<table>", b"&#", b"wrote:\r\n> ", b"Date: ",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real mail with pieces cut out, put in and swapped."""
    raw = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(raw)))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=12)))
        raw[at : at + draw(st.integers(0, 40))] = piece
    return bytes(raw)


anything = st.one_of(st.binary(max_size=2000), mutated(), st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))


@given(anything)
@example(b"From:\x01@\x80")
@example(b":\rTo:\x01@\x80")
def test_any_bytes_are_read(raw: bytes) -> None:
    reading = read_mail(raw, Envelope(MOMENT, len(raw)), Rules("s"), MOMENT, Route.POLL)
    assert bool(reading.signals) != bool(reading.dropped)
    for signal in reading.signals:
        encoded = encode(signal)
        assert decode_signal(encoded) == signal
        assert b"\\u0000" not in encoded
        assert signal.title.strip()
        assert "\n" not in signal.title
        assert signal.occurred_at.utcoffset() is not None


@given(anything)
def test_the_same_mail_has_the_same_key_with_other_line_ends_and_trace_headers(raw: bytes) -> None:
    unix = raw.replace(b"\r\n", b"\n")
    dos = unix.replace(b"\n", b"\r\n")
    if b"\r" not in unix and not unix[:1].isspace() and unix:
        assert parse(unix).key == parse(dos).key


@given(st.text())
@example("=?utf-8?q?" * 50)
def test_text_is_clean(text: str) -> None:
    for made in (
        clean(text),
        decode_header(text),
        latest_reply(text),
        decode(text.encode("utf-8", "surrogatepass"), "utf-7"),
    ):
        clean(made).encode()
        assert "\0" not in clean(made)


@given(st.text(alphabet='ab@.,;:<>()"\\ =?', max_size=200))
def test_address_lists_give_only_addresses(value: str) -> None:
    for _, email in parse_addresses(value):
        assert email.count("@") == 1
        assert not set(email) & set(' ,;<>"')


@given(st.text(alphabet="<>/abdiv trtable=\"'&#;0123", max_size=400))
def test_any_html_is_read(html: str) -> None:
    html_to_text(html).encode()


@given(st.text(alphabet="ab1@>:\n -_*", max_size=300))
def test_a_reply_is_part_of_the_text(text: str) -> None:
    words = set(clean(text).replace(">", " ").split())
    assert set(latest_reply(text).replace(">", " ").split()) <= words | {"--"}


@given(st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=30), max_size=12), st.randoms(use_true_random=False))
def test_uids_that_show_late_are_read_once(arrivals: list[list[int]], chance: random.Random) -> None:
    """A server gives UIDs in order and shows them in any: within the window of holes none is lost, none read twice."""
    folder = Folder(1, 1, 0.0)
    given_out, hidden, seen = 0, set[int](), list[int]()
    for turn, arrival in enumerate([*arrivals, []]):
        fresh = set(range(given_out + 1, given_out + 1 + min(len(arrival), 8)))
        given_out += len(fresh)
        hidden |= fresh
        shown = set(hidden) if turn == len(arrivals) else {uid for uid in hidden if chance.random() < 0.6}
        asked = sorted({uid for uid in shown if uid >= folder.next} | set(folder.holes))
        if asked:
            read = [uid for uid in asked if uid in shown]
            folder.dealt_with(asked, [uid for uid in asked if uid not in shown], float(turn))
            seen += read
            hidden -= set(read)
        assert len(folder.holes) <= HOLES_CAP
    assert len(seen) == len(set(seen))
    assert sorted(seen) == list(range(1, given_out + 1))
