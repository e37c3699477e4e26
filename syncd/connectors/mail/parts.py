"""The parts of a mail: structure, headers, decoded bytes and text of each. `message`, `content` and `bounces` read them.

Pure, and total: any bytes have parts. Structure comes from the standard library's parser, kept from its worst cases (deep
nesting is read as plain text); header blocks are repaired before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import policy
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from typing import TypeAlias

from syncd.connectors.mail.header_block import repaired
from syncd.connectors.text import MIME_FAULTS, clean, codec_of, decode, decode_header, html_charset

HEAD_BYTES = 256 * 1024
"""How much of an over-large mail is read; transports fetch this much and set `truncated`."""

HEADER_CAP = 60_000
"""Characters of one header that are looked at."""

_NESTING_CAP = 100
_PARTS_CAP = 1000
_NESTING = re.compile(rb"multipart/|message/rfc822")  # in lower case

RawMessage: TypeAlias = "Message[str, str]"


def structure(raw: bytes) -> RawMessage:
    """Parsed with every level, or, when nesting is absurd or the parser gives up, its headers with the rest as its text."""
    raw = repaired(raw)
    if sum(1 for _ in _NESTING.finditer(raw.lower())) <= _NESTING_CAP:
        try:
            return BytesParser(policy=policy.compat32).parsebytes(raw)
        except MIME_FAULTS:
            pass  # read flat instead, below
    flat = BytesHeaderParser(policy=policy.compat32).parsebytes(raw[: HEAD_BYTES * 4])
    if flat.get_content_maintype() in {"multipart", "message"}:
        del flat["content-type"]
    return flat


def headers_of(part: RawMessage) -> dict[str, list[str]]:
    """Lower-case name -> values, unfolded, each cut at a sane length, 8-bit bytes as surrogates."""
    headers: dict[str, list[str]] = {}
    for name, value in part.raw_items():
        values = headers.setdefault(name.lower(), [])
        if len(values) < 20:
            values.append(" ".join(str(value)[:HEADER_CAP].splitlines()).replace("\t", " ").strip())
    return headers


def leaves(part: RawMessage) -> Iterator[RawMessage]:
    """The parts that are not multipart, in order, a bounded number; attached mails are leaves, not entered."""
    stack, seen = [part], 0
    while stack and seen < _PARTS_CAP:
        current = stack.pop()
        seen += 1
        inside = children(current) if current.get_content_maintype() == "multipart" else []
        if inside:
            stack.extend(reversed(inside))
        else:
            yield current


def children(part: RawMessage) -> list[RawMessage]:
    """The parts inside a part, of an attached mail that mail; none in a leaf (whose undecoded payload may not be asked
    for: the library decodes it by a charset that it has not checked)."""
    inside = part.get_payload() if part.is_multipart() else []
    return [child for child in inside if isinstance(child, Message)]


def payload(part: RawMessage) -> bytes:
    """The decoded bytes of a leaf; of an attached mail, nothing."""
    try:
        raw = part.get_payload(decode=True)
    except MIME_FAULTS:
        del part["content-transfer-encoding"]  # it does not hold: the bytes as they stand
        raw = part.get_payload(decode=True)
    return raw if isinstance(raw, bytes) else b""


def part_text(part: RawMessage, region: str | None = None) -> str:
    """The clean text of a text part, whatever its charset says. HTML may name it itself where the header does not. `region`: see
    `text.decode`."""
    raw = payload(part)
    charset = parameter(part, "content-type", "charset")
    if part.get_content_subtype() == "html" and codec_of(charset) in {"", "cp1252"}:
        charset = html_charset(raw) or charset
    return clean(decode(raw, charset, region))


def parameter(part: RawMessage, header: str, name: str) -> str:
    """One parameter of a header, decoded (RFC 2231 and, as senders do, encoded words); ``""`` when absent or broken."""
    try:
        value = part.get_param(name, "", header)
        if isinstance(value, tuple):
            charset, _, raw = value
            return decode(str(raw).encode("latin-1", "replace"), charset or "")
        return decode_header(str(value)[:HEADER_CAP])
    except MIME_FAULTS:
        return ""
