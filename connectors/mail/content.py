"""The text of a mail and the names of what is attached. `message` calls `read_content`.

Pure, and total. The plain texts that are no attachments count, else the HTML ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from connectors.mail.html_quotes import has_quotations, marked_html
from connectors.mail.parts import RawMessage, children, headers_of, leaves, parameter, part_text, payload
from connectors.mail.reply import INDENTED, QUOTED
from connectors.mail.signature_lines import MARK
from connectors.mail.text import clean, decode_header, html_to_text, one_line, tidy

TEXT_CAP = 100_000
"""Characters of text kept."""

_ATTACHMENTS_CAP = 100
_MARKS = re.compile(f"[{QUOTED}{INDENTED}{MARK}]")


@dataclass(frozen=True)
class Content:
    """`text` is tidied. `written` is the same text as `reply` reads it: signature marks as sent, quotations of HTML marked.
    `html` is the HTML beside a plain text, where it marks quotations."""

    text: str = ""
    written: str = ""
    html: str = ""
    attachments: tuple[dict[str, Any], ...] = ()


def read_content(part: RawMessage) -> Content:
    """The content of a mail."""
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
            name = name or _subject_of(leaf)
            attachments.append({"name": one_line(name)[:255], "type": clean(kind)[:100], "size": len(payload(leaf))})
    source = "\n".join(html[:5])
    written = _MARKS.sub("", "\n\n".join(plain)[:TEXT_CAP])
    text = tidy(written)
    if not text.strip() and html:
        text = html_to_text(source)[:TEXT_CAP]
        written, source = marked_html(source)[:TEXT_CAP], ""
    beside = source if has_quotations(source) else ""
    return Content(text.strip(), written.strip("\n"), beside, tuple(attachments))


def _forwarded_subject(leaf: RawMessage) -> str:
    """What to call a mail that is attached to another."""
    return next((decode_header((headers_of(mail).get("subject") or [""])[0]) for mail in children(leaf)), "")


def _subject_of(leaf: RawMessage) -> str:
    """What to call a mail that is attached to another."""
    return next((decode_header((headers_of(mail).get("subject") or [""])[0]) for mail in children(leaf)), "")
