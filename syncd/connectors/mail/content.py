"""The text of a mail and the names of what is attached. `message` calls `read_content`.

Pure, and total. The plain texts that are not attachments count, else the HTML ones, else what other programs pack a text in: a
signed mail (S/MIME), Outlook's winmail.dat, an invitation, a forwarded mail. Why there is no text is said in `note`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from syncd.connectors.mail import smime
from syncd.connectors.mail.calendar_text import calendar_text
from syncd.connectors.mail.html_quotes import has_quotations, marked_html
from syncd.connectors.mail.parts import (
    RawMessage,
    children,
    headers_of,
    leaves,
    parameter,
    part_text,
    payload,
    structure,
)
from syncd.connectors.mail.reply import INDENTED, QUOTED
from syncd.connectors.mail.signature_lines import MARK
from syncd.connectors.mail.tnef import is_tnef, read_tnef
from syncd.connectors.text import clean, decode_header, html_to_text, one_line, tidy

TEXT_CAP = 100_000
"""Characters of text kept."""

ENCRYPTED = "This mail is encrypted ({kind}): its text cannot be read here."

_ATTACHMENTS_CAP = 100
_DEPTH = 3
"""Mails inside mails that are looked into."""

_MARKS = re.compile(f"[{QUOTED}{INDENTED}{MARK}]")
_SMIME = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_PGP_SIGNED = re.compile(
    r"\A\s*-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Za-z-]+:.*\n)*\n(.*?)\n?-----BEGIN PGP SIGNATURE-----.*", re.DOTALL
)


@dataclass(frozen=True)
class Content:
    """`text` is tidied. `written` is the same text as `reply` reads it: signature marks as sent, quotations of HTML marked.
    `html` is the HTML beside a plain text, where it marks quotations. `note`: why there is no text."""

    text: str = ""
    written: str = ""
    html: str = ""
    attachments: tuple[dict[str, Any], ...] = ()
    note: str = ""


@dataclass
class _Found:
    """What the parts of a mail gave so far."""

    plain: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    calendar: list[str] = field(default_factory=list)
    forwarded: list[RawMessage] = field(default_factory=list)
    inner: list[Content] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    room: int = TEXT_CAP
    note: str = ""
    region: str | None = None

    def attach(self, name: str, kind: str, size: int) -> None:
        if len(self.attachments) < _ATTACHMENTS_CAP:
            self.attachments.append({"name": one_line(name)[:255], "type": clean(kind)[:100], "size": size})

    def take_text(self, text: str, *, plain: bool) -> None:
        if self.room > 0:
            self.room -= min(len(text), self.room) if plain else 0
            (self.plain if plain else self.html).append(text)


def read_content(part: RawMessage, depth: int = 0, region: str | None = None) -> Content:
    """The content of a mail. `region` (ISO 3166) hints at the charset of texts that name none."""
    found = _Found(region=region)
    if part.get_content_type() == "multipart/encrypted":
        found.note = ENCRYPTED.format(kind="PGP/MIME")
    for leaf in leaves(part):
        _take(leaf, found, depth, alone=leaf is part)
    content = _best(found, depth)
    return replace(content, attachments=tuple(found.attachments))


def _take(leaf: RawMessage, found: _Found, depth: int, *, alone: bool) -> None:
    """One part: text, something that holds text, or an attachment. `alone`: it is the whole mail."""
    kind = leaf.get_content_type()
    if kind.startswith("multipart/"):  # its boundary is missing or never comes: what is there is text
        kind = "text/plain"
    name = parameter(leaf, "content-disposition", "filename") or parameter(leaf, "content-type", "name")
    attached = str(leaf.get("content-disposition", "")).strip().lower().startswith("attachment") and not alone
    if kind in {"text/plain", "text/html"} and not attached and not (name and (found.plain or found.html)):
        found.take_text(part_text(leaf, found.region), plain=kind == "text/plain")
        return
    if kind == "text/calendar":
        found.calendar.append(part_text(leaf, found.region))
        if not attached and not name:
            return
    elif kind in _SMIME or name.lower().endswith(".p7m"):
        if _take_smime(leaf, found, depth):
            return
    elif (kind in _TNEF or name.lower() == "winmail.dat") and _take_tnef(leaf, found):
        return
    elif kind == "message/rfc822":
        found.forwarded += children(leaf)[:1]
    found.attach(name or _subject_of(leaf), kind, len(payload(leaf)))


def _take_smime(leaf: RawMessage, found: _Found, depth: int) -> bool:
    """Whether the part was opened: it is then no attachment any more."""
    data = payload(leaf)
    entity = smime.opened(data) if depth < _DEPTH else None
    if entity is not None:
        inner = read_content(structure(entity), depth + 1, found.region)
        found.inner.append(inner)
        found.note = found.note or inner.note
        for attachment in inner.attachments:
            found.attach(attachment["name"], attachment["type"], attachment["size"])
        return True
    if smime.is_encrypted(data) or parameter(leaf, "content-type", "smime-type").lower().endswith("enveloped-data"):
        found.note = ENCRYPTED.format(kind="S/MIME")
    return False


def _take_tnef(leaf: RawMessage, found: _Found) -> bool:
    """Whether the part was read: the files inside are then the attachments."""
    data = payload(leaf)
    if not is_tnef(data):
        return False
    inside = read_tnef(data)
    if inside.text.strip():
        found.inner.append(_of(inside.text, []))
    elif inside.html:
        found.inner.append(_of("", [inside.html]))
    for name, size in inside.attachments:
        found.attach(name, "application/octet-stream", size)
    return True


def _best(found: _Found, depth: int) -> Content:
    """The text that a person would read first."""
    content = _of("\n\n".join(found.plain)[:TEXT_CAP], found.html)
    for other in found.inner:
        content = content if content.text else replace(other, note="")
    if not content.text and found.calendar:
        content = _of("\n\n".join(map(calendar_text, found.calendar[:1]))[:TEXT_CAP], [])
    if not content.text and found.forwarded and depth < _DEPTH:
        content = _of(_forwarded(found.forwarded[0], depth, found.region)[:TEXT_CAP], [])
    if content.text.startswith("-----BEGIN PGP MESSAGE-----"):
        return Content(note=ENCRYPTED.format(kind="PGP"))
    return content if content.text else replace(content, note=found.note)


def _of(plain: str, html: list[str]) -> Content:
    """The content of texts: the plain one if it says anything, else the HTML."""
    source = "\n".join(html[:5])
    written = _MARKS.sub("", clean(plain) if "\r" in plain else plain)
    if signed := _PGP_SIGNED.match(written):
        written = re.sub(r"(?m)^- (?=-)", "", signed[1])
    text = tidy(written)
    if not text.strip() and html:
        text = html_to_text(source)[:TEXT_CAP]
        written = marked_html(source)[:TEXT_CAP] if has_quotations(source) else text
        return Content(text.strip(), written.strip("\n"))
    return Content(text.strip(), written.strip("\n"), source if has_quotations(source) else "")


def _forwarded(mail: RawMessage, depth: int, region: str | None) -> str:
    """A forwarded mail, with who wrote it above, as a forward inside a text has it."""
    headers = headers_of(mail)
    rows = [
        f"{name.title()}: {decode_header(headers[name][0])}" for name in ("from", "date", "subject") if name in headers
    ]
    return "\n\n".join(("\n".join(rows), read_content(mail, depth + 1, region).text)).strip()


def _subject_of(leaf: RawMessage) -> str:
    """What to call a mail that is attached to another."""
    return next((decode_header((headers_of(mail).get("subject") or [""])[0]) for mail in children(leaf)), "")
