"""Address lists of mail headers (RFC 5322, read leniently) and the mailto link that answers a mail (RFC 6068).

Pure and linear: an own scanner, since the standard library's is recursive on comments and differs between Pythons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from syncd.connectors.text import clean_header, decode_header, one_line
from syncd.signals import normal_email

LIST_CAP = 200
"""Addresses kept of one header."""

MAILTO_CAP = 50
"""Addresses put in a reply link: mail programs give up on links of many kilobytes."""

# Quoted names are bounded, or a header of nothing but open quotes would take quadratic time.
# An encoded word is one token: RFC 2047 section 5 forbids commas and brackets in it, and programs write them nevertheless.
_TOKEN = re.compile(
    r'(=\?[^?\s]{1,60}\?[bBqQ]\?[^?]*\?=)|"((?:[^"\\]|\\.){0,250})"|'
    r'\(([^()]*)\)|<{1,3}([^<>]*)>{1,3}|([,;:])|([^",;:<>()]+|.)',
    re.DOTALL,
)
_OPENING = re.compile(r"[<\[]")
_BARE = re.compile(r"[^\s<>,;:\"()\[\]]+@[^\s<>,;:\"()\[\]]+")

SHARED_DOMAINS = frozenset(
    (
        "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "ymail.com", "aol.com",
        "icloud.com", "me.com", "mac.com", "gmx.de", "gmx.net", "gmx.at", "gmx.ch", "gmx.com", "web.de", "t-online.de",
        "freenet.de", "mail.com", "mail.ru", "bk.ru", "list.ru", "inbox.ru", "yandex.ru", "yandex.com", "ya.ru", "rambler.ru",
        "qq.com", "foxmail.com", "163.com", "126.com", "yeah.net", "sina.com", "sohu.com", "139.com", "naver.com", "daum.net",
        "hanmail.net", "orange.fr", "wanadoo.fr", "free.fr", "laposte.net", "sfr.fr", "libero.it", "virgilio.it", "alice.it",
        "hotmail.fr", "hotmail.de", "hotmail.it", "hotmail.co.uk", "yahoo.fr", "yahoo.de", "yahoo.it", "yahoo.es", "yahoo.co.uk",
        "yahoo.co.jp", "yahoo.com.vn", "yahoo.com.br", "uol.com.br", "bol.com.br", "terra.com.br", "proton.me", "protonmail.com",
        "pm.me", "tutanota.com", "tuta.io", "fastmail.com", "zoho.com", "zohomail.com", "wp.pl", "o2.pl", "onet.pl", "interia.pl",
        "seznam.cz", "ukr.net", "comcast.net", "verizon.net", "att.net", "bellsouth.net", "btinternet.com", "docomo.ne.jp",
    )
)  # fmt: skip
"""Domains that give addresses to everybody: an own address there makes no other one ours."""


class MailAddress(NamedTuple):
    """`email` is normalised (lower case) or ``""``; `name` is clean text."""

    name: str
    email: str


def parse_addresses(value: str) -> tuple[MailAddress, ...]:
    """The addresses of a header value as the parser keeps it. Entries without any address are left out. A value that shows
    none may be encoded as a whole, against RFC 2047: then its text is read."""
    value = clean_header(value)
    found = _scanned(value)
    if not found and "=?" in value and "@" in (text := decode_header(value)):
        found = _scanned(text)
    return found


def _scanned(value: str) -> tuple[MailAddress, ...]:
    found: list[MailAddress] = []
    phrase: list[str] = []
    comment = angle = ""

    def close() -> None:
        nonlocal comment, angle
        text = "".join(phrase).strip()
        route = re.sub(r"^\s*mailto:", "", re.sub(r"\s{0,3}@\s{0,3}", "@", angle), flags=re.IGNORECASE)
        email = normal_email(route)
        if not email and "=?" in text:
            text = decode_header(text)
        if not email and (bare := _BARE.search(angle or text)):
            email = normal_email(bare[0])
            text = text if angle else _OPENING.split(text)[0] if _OPENING.search(text) else ""
        if email:
            name = decode_header(text) or decode_header(comment)
            if len(name) > 2 and name[0] == name[-1] == "'":
                name = name[1:-1].strip()
            found.append(MailAddress("" if name.lower() == email else name, email))
        phrase.clear()
        comment = angle = ""

    for word, quoted, note, route, mark, other in _TOKEN.findall(value):
        if len(found) >= LIST_CAP:
            break
        if mark == ":":
            phrase.clear()
        elif mark == "," and not angle and "".join(phrase).strip() and "@" not in "".join(phrase[-1:]):
            phrase.append(mark)  # `Müller, Jörg <j@x>` without quotes: the comma of a name
        elif mark:
            close()
        elif route:
            angle = angle or route
        elif note:
            comment = comment or note
        else:
            phrase.append(re.sub(r"\\(.)", r"\1", quoted) if quoted else word or other)
    close()
    return tuple(found[:LIST_CAP])


def unique(addresses: Iterable[MailAddress], without: Iterable[str] = ()) -> list[str]:
    """Plain addresses in order, each once, leaving out `without`."""
    seen = set(without)
    return [a.email for a in addresses if not (a.email in seen or seen.add(a.email))]  # type: ignore[func-returns-value]


def mailto(to: Sequence[str], cc: Sequence[str], subject: str, message_id: str) -> str:
    """A reply-all link: `mailto:a@x?cc=b@y&subject=Re%3A%20…&In-Reply-To=%3Cid%3E`; ``""`` without a recipient."""
    if not to:
        return ""
    subject = one_line(subject)
    fields = {
        "cc": ",".join(quote(address, safe="@") for address in cc[:MAILTO_CAP]),
        "subject": quote(subject if subject[:3].lower() == "re:" else f"Re: {subject}".strip(), safe=""),
        "In-Reply-To": quote(f"<{message_id}>", safe="@") if message_id else "",
    }
    query = "&".join(f"{name}={value}" for name, value in fields.items() if value)
    return f"mailto:{','.join(quote(address, safe='@') for address in to[:MAILTO_CAP])}?{query}"
