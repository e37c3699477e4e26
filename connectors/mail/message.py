"""Raw bytes of a mail to `Mail`: headers, best text, attachments by name, a stable key. `reading` and `bounces` use it.

Pure, and total: any bytes give a Mail. Structure comes from the standard library's parser, kept from its worst cases (deep
nesting is read as plain text); headers are decoded here, since its header parser is slow and raises on broken ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

from connectors.mail.addresses import Address, parse_addresses
from connectors.mail.header_block import repaired
from connectors.mail.text import (
    MIME_FAULTS,
    clean,
    clean_header,
    codec_of,
    decode,
    decode_header,
    html_charset,
    html_to_text,
    one_line,
    tidy,
    word_charsets,
)
from syncd.signals import frame

HEAD_BYTES = 256 * 1024
"""How much of an over-large mail is read; transports fetch this much and set `truncated`."""

HEADER_CAP = 60_000
"""Characters of one header that are looked at."""

TEXT_CAP = 100_000
"""Characters of text kept."""

_HASHED_BYTES = 64 * 1024
_NESTING_CAP = 100
_PARTS_CAP = 1000
_ATTACHMENTS_CAP = 100
_ID_CAP = 500
_EPOCH = datetime(1990, 1, 1, tzinfo=UTC)
_FUTURE = timedelta(days=1)
_NESTING = re.compile(rb"multipart/|message/rfc822", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<\s*([^<>]+?)\s*>")
_ADDED_ON_THE_WAY = re.compile(
    rb"(?:received|return-path|delivered-to|envelope-to|authentication-results|received-spf|arc-[\w-]+|status|x-[\w-]+)\s*:"
    rb"|>*From ",
    re.IGNORECASE,
)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")

RawMessage: TypeAlias = "Message[str, str]"


@dataclass(frozen=True)
class Mail:
    """A mail as read. Strings are clean; ids are without angle brackets and blanks, ``""`` when absent. `date` is aware UTC,
    None when absent or unreadable. `key` names the mail on every route: its Message-ID, else a hash of its stable parts.
    `part` is the parsed structure."""

    part: RawMessage
    key: str
    subject: str = ""
    sender: Address = Address("", "")
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    date: datetime | None = None
    message_id: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    text: str = ""
    attachments: tuple[dict[str, Any], ...] = ()
    size: int = 0
    truncated: bool = False
    headers: dict[str, list[str]] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The first header of this (lower-case) name, decoded to one line; ``""`` when absent."""
        values = self.headers.get(name)
        return decode_header(values[0]) if values else ""

    @property
    def thread_root(self) -> str:
        """Key of the first mail of the thread, as far as this mail knows."""
        return (*self.references, self.in_reply_to, self.key)[0] or self.key

    def occurred_at(self, fallback: datetime) -> datetime:
        """The Date header when it is believable: not before 1990, at most a day after `fallback` (arrival); else `fallback`."""
        if self.date is None or not _EPOCH <= self.date <= fallback + _FUTURE:
            return fallback
        return self.date


def parse(raw: bytes, *, size: int | None = None, truncated: bool = False) -> Mail:
    """Reads a mail. `size` is its whole size in bytes when `raw` is only its head (then `truncated`)."""
    part = _structure(repaired(raw))
    as_sent = headers_of(part)
    headers = _in_charset(as_sent, part)

    def first(name: str) -> str:
        return next(filter(None, headers.get(name, ())), "")

    message_id = (message_ids(first("message-id"), loose=True) or ("",))[0]
    text, attachments = _content(part)
    return Mail(
        part=part,
        key=message_id or _fingerprint(raw, as_sent),
        subject=decode_header(first("subject")),
        sender=(parse_addresses(first("from")) or (Address(decode_header(first("from")), ""),))[0],
        reply_to=parse_addresses(first("reply-to")),
        to=parse_addresses(first("to")),
        cc=parse_addresses(first("cc")),
        date=parse_date(first("date")),
        message_id=message_id,
        in_reply_to=(message_ids(first("in-reply-to")) or ("",))[0],
        references=message_ids(first("references")),
        text=text,
        attachments=attachments,
        size=len(raw) if size is None else size,
        truncated=truncated,
        headers=headers,
    )


def headers_of(part: RawMessage) -> dict[str, list[str]]:
    """Lower-case name -> values, unfolded, each cut at a sane length, 8-bit bytes as surrogates."""
    headers: dict[str, list[str]] = {}
    for name, value in part.raw_items():
        values = headers.setdefault(name.lower(), [])
        if len(values) < 20:
            values.append(" ".join(str(value)[:HEADER_CAP].splitlines()).replace("\t", " ").strip())
    return headers


def _in_charset(headers: dict[str, list[str]], part: RawMessage) -> dict[str, list[str]]:
    """The headers with their raw 8-bit bytes read: as UTF-8 where that fits, else in a charset that the mail names for its
    text, its HTML or its encoded words."""
    if all(value.isascii() and "\x1b" not in value for values in headers.values() for value in values):
        return headers
    hints: list[str] = []
    for leaf in leaves(part):
        if leaf.get_content_maintype() == "text" and len(hints) < 20:
            hints.append(parameter(leaf, "content-type", "charset"))
            hints.append(html_charset(payload(leaf)[:8192]) if leaf.get_content_subtype() == "html" else "")
    hints += [name for values in headers.values() for value in values for name in word_charsets(value)]
    names = [name for name in dict.fromkeys(hints) if name]
    return {name: [clean_header(value, names) for value in values] for name, values in headers.items()}


def message_ids(value: str, *, loose: bool = False) -> tuple[str, ...]:
    """The ids in angle brackets; with `loose`, a value without any is one id itself."""
    value = one_line(value)
    ids = ["".join(found.split()) for found in _MESSAGE_ID.findall(value)]
    if not ids and loose:
        ids = ["".join(value.strip("<> ").split())]
    return tuple(found[:_ID_CAP] for found in ids if found)


def parse_date(value: str) -> datetime | None:
    """A Date header in UTC; without a zone it is read as UTC."""
    try:
        moment = parsedate_to_datetime(clean(value)[:200])
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except MIME_FAULTS:
        return None


def leaves(part: RawMessage) -> Iterator[RawMessage]:
    """The parts that are no multipart, in order, a bounded number; attached mails are leaves, not entered."""
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


def part_text(part: RawMessage) -> str:
    """The clean text of a text part, whatever its charset says. HTML may name it itself where the header does not."""
    raw = payload(part)
    charset = parameter(part, "content-type", "charset")
    if part.get_content_subtype() == "html" and codec_of(charset) in {"", "cp1252"}:
        charset = html_charset(raw) or charset
    return clean(decode(raw, charset))


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


def _structure(raw: bytes) -> RawMessage:
    """Parsed with every level, or, when nesting is absurd or the parser gives up, its headers with the rest as its text."""
    if sum(1 for _ in _NESTING.finditer(raw)) <= _NESTING_CAP:
        try:
            return BytesParser(policy=policy.compat32).parsebytes(raw)
        except MIME_FAULTS:
            pass  # read flat instead, below
    flat = BytesHeaderParser(policy=policy.compat32).parsebytes(raw[: HEAD_BYTES * 4])
    if flat.get_content_maintype() in {"multipart", "message"}:
        del flat["content-type"]
    return flat


def _content(part: RawMessage) -> tuple[str, tuple[dict[str, Any], ...]]:
    """(best text, attachments): the plain texts that are no attachments, else the HTML ones."""
    plain: list[str] = []
    html: list[str] = []
    attachments: list[dict[str, Any]] = []
    room = TEXT_CAP
    for leaf in leaves(part):
        kind = leaf.get_content_type()
        if kind.startswith("multipart/"):  # its boundary is missing or never comes: what is there is text
            kind = "text/plain"
        name = parameter(leaf, "content-disposition", "filename") or parameter(leaf, "content-type", "name")
        attached = str(leaf.get("content-disposition", "")).strip().lower().startswith("attachment")
        if kind in {"text/plain", "text/html"} and not attached and not (name and (plain or html)):
            if room > 0:
                text = part_text(leaf)
                room -= min(len(text), room) if kind == "text/plain" else 0
                (plain if kind == "text/plain" else html).append(text)
        elif len(attachments) < _ATTACHMENTS_CAP:
            name = name or _forwarded_subject(leaf)
            attachments.append({"name": one_line(name)[:255], "type": clean(kind)[:100], "size": len(payload(leaf))})
    text = tidy("\n\n".join(plain)[:TEXT_CAP])
    if not text.strip() and html:
        text = html_to_text("\n".join(html[:5]))[:TEXT_CAP]
    return text.strip(), tuple(attachments)


def _forwarded_subject(leaf: RawMessage) -> str:
    """What to call a mail that is attached to another."""
    return next((decode_header((headers_of(mail).get("subject") or [""])[0]) for mail in children(leaf)), "")


def _fingerprint(raw: bytes, headers: dict[str, list[str]]) -> str:
    """A name for a mail without Message-ID that every transport agrees on: what the sender wrote, with line ends and
    trailing blanks made equal; never what was added on the way (Received, Return-Path, Delivered-To). Where no sender can be
    read, every other line of the headers counts: two people's mails are two."""
    split = _END_OF_HEADERS.search(raw)
    body = raw[split.end() : split.end() + 2 * _HASHED_BYTES] if split else b""
    body = body.replace(b"\r\n", b"\n")[:_HASHED_BYTES].rstrip()
    values = [" ".join((headers.get(name) or [""])[0].split()) for name in ("date", "from", "to", "subject")]
    stable = frame(*values).encode("utf-8", "surrogateescape")
    if not values[1]:
        head = raw[: split.start()] if split else raw
        lines = [line.strip() for line in head[:_HASHED_BYTES].splitlines()]
        body += b"\0" + b"\n".join(line for line in lines if line and not _ADDED_ON_THE_WAY.match(line))
    digest = hashlib.sha256(stable + b"\0" + body)
    return f"sha256:{digest.hexdigest()}"
