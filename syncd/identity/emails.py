"""An e-mail address as people, address books and vendors write it. The one place where addresses are unwrapped. Pure.

`Name <a@b>`, `mailto:`, several in one cell, brackets and quotes of every kind, invisible marks, HTML entities. What holds no
address, or words that are neither wrapping nor a name, is refused: a guess would write to a stranger.
"""

from __future__ import annotations

import html
import re
import unicodedata
from email.header import decode_header, make_header
from urllib.parse import unquote

import msgspec


class ReadAddress(msgspec.Struct, frozen=True):
    """`email`: lower-cased, or ``""``; `name`: what stands beside it; `others`: further addresses of the same text."""

    email: str = ""
    name: str = ""
    others: tuple[str, ...] = ()


def read_email(text: str) -> ReadAddress:
    """The first address in a text, what name stands beside it, and the others."""
    if _PLAIN.fullmatch(text):
        return ReadAddress(text.lower())
    found = [one for piece in _pieces(tidy(text)) if (one := _one(piece)) is not None]
    good = [one for one in found if one.email]
    if not good or len(good) < len(found):
        return ReadAddress()
    others = dict.fromkeys(one.email for one in good[1:] if one.email != good[0].email)
    return ReadAddress(good[0].email, good[0].name, tuple(others))


def normal_email(address: str) -> str:
    """Lower-cased address without its wrapping; ``""`` when it is not exactly one with a local part and a domain."""
    found = read_email(address)
    return "" if found.others else found.email


def tidy(text: str) -> str:
    """One line of text without invisible marks, HTML entities and tags, and the guard of a spreadsheet (`="x"`, `'=x`)."""
    if text.isascii() and _SIMPLE.fullmatch(text):
        return " ".join(text.split())
    text = without_entities(text)
    if any(unicodedata.category(c) == "Cf" for c in text):
        text = "".join(c for c in text if unicodedata.category(c) != "Cf" or c in _JOINERS)
    return unguarded(" ".join(text.split()))


def without_entities(text: str) -> str:
    """`M&uuml;nchen` as `München`; a sign that is no entity stays."""
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def unguarded(text: str) -> str:
    """A cell without the guard of a spreadsheet against its own guesses (`="0123"`, `'0123`) and marks nobody sees around it."""
    text = text.strip(_UNSEEN)
    if not text or text[0].isalnum():
        return text
    if guarded := _GUARD.fullmatch(text):
        text = guarded[1].replace('""', '"')
    elif link := _LINK.fullmatch(text):
        target, shown = link[1], link[2] or ""
        text = (f"{shown} <{target}>" if "@" not in shown else shown) if "@" in target else shown or text
    if len(text) > 1 and text[0] in "'‘" and text[1] in "=+-@0123456789":
        text = text[1:]
    return text.strip(_UNSEEN)


_SIMPLE = re.compile(r"[\w .,/@()\r\n\t-]*", re.ASCII)
_UNSEEN = (
    " \t\r\n\u00a0\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_JOINERS = "\u200c\u200d"
"""They shape letters (Persian, Hindi) and join emoji: kept inside a text."""
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_GUARD = re.compile(r'=\s*"(.*)"', re.DOTALL)
_LINK = re.compile(r'=HYPERLINK\(\s*"([^"]*)"(?:\s*[,;]\s*"([^"]*)")?\s*\)', re.IGNORECASE)
_PLAIN = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s,;<>\"()\[\]@:\0]+@[^\s,;<>\"()\[\]@:\0/]+")
_ANGLE = re.compile(
    r"^(.*?)[<\[〈＜]\s*(?:mailto:|smtp:)?\s*([^<>\[\]]*@[^<>\[\]]*?)\s*[>\]〉＞]\)?[\s.,;]*(.*)$", re.IGNORECASE
)
_SCHEME = re.compile(
    r"^(?:mailto|smtp|sip|e-?mail|mail|email address|correo|courriel|thư)\s*[:：]\s*(?://)?", re.IGNORECASE
)
_NAMES = re.compile(r"[^@,;<>]*<[^<>]*@[^<>]*>")
"""What stands behind an address that is the name of another one: `"boss@b" <eva@b>`, `'eva@b' via Sales <sales@b>`."""
_JUNK = re.compile(r"(?:%20|\\[nrt]|[{}!*|])+$")
_DOMAIN = re.compile(r"(?:[\w-]|[^\0-\x7f])+(?:\.(?:[\w-]|[^\0-\x7f])+)*")
_REMARK = re.compile(r"^(\S+@\S+?)\s*[(（]([^()（）@]*)[)）]$")
_AND = re.compile(r"^(?:or|and|und|oder|ou|et|y|o|hoặc|và|&|-)(?:\s+|$)", re.IGNORECASE)
_TAG = re.compile(r"</?(?:a|span|b|i|p|div|br|font)(?:\s[^>]*)?/?>", re.IGNORECASE)
_MARKDOWN = re.compile(r"^\[([^\]]*)\]\((?:mailto:)?([^)\s]+@[^)\s]+)\)$", re.IGNORECASE)
_NAMED = re.compile(r"^([^()（）@]+)[(（]\s*(?:mailto:)?([^()（）\s]+@[^()（）\s]+?)\s*[)）][\s.,;]*$", re.IGNORECASE)
_BETWEEN = ",;|/，、；｜／"
"""What stands between two addresses of one text."""
_QUOTES = "\"'‘’“”«»‹›„‚`´ \t"


def _pieces(text: str) -> list[str]:
    """Cut between addresses, not inside a quoted name or between a family name and a given one (`Kern, Eva <eva@b>`)."""
    text = _TAG.sub(" ", text).strip() if "<" in text else text
    if "=?" in text:
        text = _decoded(text)
    if "@" not in text and re.search("%40", text):
        text = unquote(text)
    if text.count("@") + text.count("＠") < 2 or _MARKDOWN.match(text):
        return [text]
    cut, start, quoted, angle = [], 0, False, False
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif char in "<>":
            angle = char == "<"
        elif quoted or angle or "@" not in text[start:at] or "@" not in text[at:]:
            continue
        elif char in _BETWEEN or (
            char == " " and _ADDRESS.fullmatch(text[start:at].strip(_QUOTES + "<>,;")) and not _NAMES.match(text[at:])
        ):
            cut.append(text[start:at])
            start = at + 1
    rest = [piece.strip(" :" + _BETWEEN) for piece in [*cut, text[start:]]]
    return [piece for piece in (_AND.sub("", piece) for piece in rest) if piece]


def _decoded(text: str) -> str:
    """Encoded words (RFC 2047) read, as senders put them even into JSON."""
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, UnicodeError, ValueError):
        return text


def _one(text: str) -> ReadAddress | None:
    """The address of one piece; None for a piece of nothing, an empty ReadAddress for what is refused."""
    text = text.strip(" ,;，、；")
    if not text:
        return None
    if found := _MARKDOWN.match(text):
        return _made(found[2], found[1])
    if found := _ANGLE.match(text):
        beside = found[1] or found[3]
        return _made(re.sub(r"\s{0,3}@\s{0,3}", "@", found[2]), beside)
    if found := _REMARK.match(text):
        return _made(found[1], found[2] if " " in found[2].strip() else "")
    if found := _NAMED.match(text):
        return _made(found[2], found[1])
    text = text.strip(_QUOTES + "<>[]()")
    if scheme := _SCHEME.match(text):
        text = text[scheme.end() :]
        if scheme[0].lower().startswith(("mailto", "sip")):
            text = unquote(re.split(r"[?;]", text, maxsplit=1)[0])
    return _made(text, "")


def _made(address: str, name: str) -> ReadAddress:
    address = unicodedata.normalize("NFKC", address).replace("。", ".") if not address.isascii() else address
    if address.lower().startswith("mailto:"):
        address = address[7:]
    address = address.partition("?")[0] if "?" in address.rpartition("@")[2] else address
    address = _JUNK.sub("", address.strip(_QUOTES + ",;:<>[](){}")).strip(_QUOTES).rstrip(".").strip().lower()
    local, at, domain = address.rpartition("@")
    if not (at and local and domain) or not _ADDRESS.fullmatch(address) or not _DOMAIN.fullmatch(domain):
        return ReadAddress()
    name = _SCHEME.sub("", name.strip()).strip(_QUOTES + ",;:-<>[]").replace('\\"', '"')
    if "@" in name or not any(c.isalnum() for c in name):
        name = ""
    return ReadAddress(address, " ".join(name.split()))
