"""The mail that another one forwards: attached, or pasted below a header block in any of the languages of mail programs. Pure.

`dropbox` asks whose mail a salesperson forwarded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from syncd.connectors.mail.addresses import MailAddress, parse_addresses
from syncd.connectors.mail.message import Mail, children, leaves, parse
from syncd.connectors.mail.quotation_words import role_of
from syncd.connectors.mail.reply import plain
from syncd.connectors.text import MIME_FAULTS

ATTACHED = "message/rfc822"
BLOCK_LINES = 25
"""A header block is at most so long, with the recipients on lines of their own."""
SEARCHED_LINES = 400
_MAILTO = re.compile(r"\[mailto:([^\[\]]{1,320})\]", re.IGNORECASE)
"""As Outlook writes an address."""
_MARKS = "*_ \t\xa0>＞|"


@dataclass(frozen=True)
class PastedMail:
    """A mail as its forwarder pasted it: what the header block says, and the text below it."""

    sender: MailAddress
    to: tuple[MailAddress, ...] = ()
    cc: tuple[MailAddress, ...] = ()
    subject: str = ""
    text: str = ""


def attached_mail(mail: Mail, region: str | None = None) -> Mail | None:
    """The first mail attached to this one, None without one."""
    for part in leaves(mail.part):
        if part.get_content_type() == ATTACHED:
            for inner in children(part):
                try:
                    return parse(inner.as_bytes(), region=region)
                except MIME_FAULTS:
                    continue
    return None


def pasted_mail(text: str) -> PastedMail | None:
    """The mail in a forwarded text; None if no header block names its sender's address."""
    lines = text.split("\n")
    for at, line in enumerate(lines[:SEARCHED_LINES]):
        if role_of(_bare(line)) == "from" and (found := _block(lines, at)) is not None:
            return found
    return None


def _block(lines: list[str], at: int) -> PastedMail | None:
    """The mail whose header block begins at this line, None if that is no header block."""
    values: dict[str, str] = {}
    role, end = "", at
    for place in range(at, min(at + BLOCK_LINES, len(lines))):
        bare = _bare(lines[place])
        named = role_of(bare)
        if named and named not in values:
            role, values[named] = named, bare.replace("：", ":", 1).partition(":")[2].strip()
        elif bare and role in {"to", "cc"} and "@" in bare and not named:
            values[role] = f"{values[role]} {bare}"
        elif bare or place > at + 1:
            break
        end = place + 1
    values = {role: _MAILTO.sub(r"<\1>", value) for role, value in values.items()}
    senders = parse_addresses(values.get("from", ""))
    if not senders or len(values) < 3:
        return None
    return PastedMail(
        senders[0],
        parse_addresses(values.get("to", "")),
        parse_addresses(values.get("cc", "")),
        values.get("subject", ""),
        plain("\n".join(line.lstrip(">＞ ") for line in lines[end:])).strip(),
    )


def _bare(line: str) -> str:
    return line.replace("&nbsp;", " ").replace("*", "").strip(_MARKS)[:2000]
