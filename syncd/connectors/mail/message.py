"""Raw bytes of a mail to `Mail`: headers, best text, attachments by name, a stable key. `reading` and `bounces` use it.

Pure, and total: any bytes give a Mail. Structure comes from the standard library's parser, kept from its worst cases (deep
nesting is read as plain text); headers are decoded here, since its header parser is slow and raises on broken ones.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any

from syncd.connectors.mail.addresses import MailAddress, parse_addresses
from syncd.connectors.mail.content import TEXT_CAP, read_content
from syncd.connectors.mail.parts import (
    HEAD_BYTES,
    RawMessage,
    children,
    headers_of,
    leaves,
    parameter,
    part_text,
    payload,
    structure,
)
from syncd.connectors.mail.quotation_words import is_answer
from syncd.connectors.text import (
    MIME_FAULTS,
    SAYS_NOTHING,
    clean,
    clean_header,
    decode_header,
    evident_codec,
    html_charset,
    one_line,
    word_charsets,
)
from syncd.signals import frame

__all__ = [
    "HEAD_BYTES",
    "TEXT_CAP",
    "Mail",
    "RawMessage",
    "children",
    "headers_of",
    "leaves",
    "message_ids",
    "parameter",
    "parse",
    "parse_date",
    "part_text",
    "payload",
]

_HASHED_BYTES = 64 * 1024
_ID_CAP = 500
_EPOCH = datetime(1990, 1, 1, tzinfo=UTC)
_FUTURE = timedelta(days=1)
_MESSAGE_ID = re.compile(r"<\s*([^<>]+?)\s*>")
_ADDED_ON_THE_WAY = re.compile(
    rb"(?:received|return-path|delivered-to|envelope-to|authentication-results|received-spf|arc-[\w-]+|status|x-[\w-]+)\s*:"
    rb"|>*From ",
    re.IGNORECASE,
)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class Mail:
    """A mail as read. Strings are clean; ids are without angle brackets and blanks, ``""`` when absent. `date` is aware UTC,
    None when absent or unreadable. `key` names the mail on every route: its Message-ID, else a hash of its stable parts.
    `written` is the text as sent, for `latest_reply`; `html` the HTML
    beside it that marks quotations. `part` is the parsed structure."""

    part: RawMessage
    key: str
    subject: str = ""
    sender: MailAddress = MailAddress("", "")
    senders: tuple[MailAddress, ...] = ()
    reply_to: tuple[MailAddress, ...] = ()
    to: tuple[MailAddress, ...] = ()
    cc: tuple[MailAddress, ...] = ()
    date: datetime | None = None
    message_id: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    text: str = ""
    written: str = ""
    html: str = ""
    attachments: tuple[dict[str, Any], ...] = ()
    note: str = ""
    size: int = 0
    truncated: bool = False
    headers: dict[str, list[str]] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The first header of this (lower-case) name, decoded to one line; ``""`` when absent."""
        values = self.headers.get(name)
        return decode_header(values[0]) if values else ""

    @property
    def answers(self) -> bool:
        """Whether it says that it answers or forwards another mail: by its headers or its subject."""
        return bool(self.in_reply_to or self.references) or is_answer(self.subject)

    @property
    def thread_root(self) -> str:
        """Key of the first mail of the thread, as far as this mail knows."""
        return (*self.references, self.in_reply_to, self.key)[0] or self.key

    @property
    def identity(self) -> str:
        """What names this mail on every route, as text for `derive_id`: its Message-ID with the headers in which no copy of it
        differs, since some programs give one Message-ID to many mails. Without one, `key`, which is made of those already."""
        if not self.message_id:
            return self.key
        sent = self.date.isoformat(timespec="seconds") if self.date else self.header("date")
        senders = ",".join(address.email for address in self.senders) or self.header("from")
        answers_to = ",".join(address.email for address in self.reply_to)
        return frame(self.message_id, senders, answers_to, sent, "".join(self.subject.split()))

    def occurred_at(self, fallback: datetime) -> datetime:
        """The Date header when it is believable: not before 1990, at most a day after `fallback` (arrival); else `fallback`."""
        if self.date is None or not _EPOCH <= self.date <= fallback + _FUTURE:
            return fallback
        return self.date


def parse(raw: bytes, *, size: int | None = None, truncated: bool = False, region: str | None = None) -> Mail:
    """Reads a mail. `size` is its whole size in bytes when `raw` is only its head (then `truncated`). `region` (ISO 3166)
    hints at the charset of what names none."""
    part = structure(raw)
    as_sent = headers_of(part)
    headers = _in_charset(as_sent, part, region)

    def first(name: str) -> str:
        return next(filter(None, headers.get(name, ())), "")

    senders = parse_addresses(first("from"))
    message_id = (message_ids(first("message-id"), loose=True) or ("",))[0]
    content = read_content(part, region=region)
    return Mail(
        part=part,
        key=message_id or _fingerprint(raw, as_sent),
        subject=decode_header(first("subject")),
        sender=(senders or (MailAddress(decode_header(first("from")), ""),))[0],
        senders=senders,
        reply_to=parse_addresses(first("reply-to")),
        to=parse_addresses(first("to")),
        cc=parse_addresses(first("cc")),
        date=parse_date(first("date")),
        message_id=message_id,
        in_reply_to=(message_ids(first("in-reply-to")) or ("",))[0],
        references=message_ids(first("references")),
        text=content.text,
        written=content.written,
        html=content.html,
        attachments=content.attachments,
        note=content.note,
        size=len(raw) if size is None else size,
        truncated=truncated,
        headers=headers,
    )


def _in_charset(headers: dict[str, list[str]], part: RawMessage, region: str | None) -> dict[str, list[str]]:
    """The headers with their raw 8-bit bytes read: as UTF-8 where that fits, else in a charset that the mail names for its
    text, its HTML or its encoded words, else by the evidence of all of them and of the text."""
    if all(value.isascii() and "\x1b" not in value for values in headers.values() for value in values):
        return headers
    hints: list[str] = []
    bytes_of = [value.encode("utf-8", "surrogateescape") for value in chain(*headers.values()) if not value.isascii()]
    for leaf in leaves(part):
        if leaf.get_content_maintype() == "text" and len(hints) < 20:
            hints.append(parameter(leaf, "content-type", "charset"))
            hints.append(html_charset(payload(leaf)[:8192]) if leaf.get_content_subtype() == "html" else "")
            bytes_of.append(payload(leaf)[:8192])
    hints += [name for values in headers.values() for value in values for name in word_charsets(value)]
    names = [name for name in dict.fromkeys(hints) if name and name.lower() not in SAYS_NOTHING]
    names.append(evident_codec(b"\n".join(raw for raw in bytes_of if not raw.isascii()), region))
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
