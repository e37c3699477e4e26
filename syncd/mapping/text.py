"""Text as CRMs count and show it: shortening without splitting what reads as one character, and HTML as plain text.

The filters use it. Pure; heavy libraries are imported on first use, so mappings that need none of them stay light.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

ELLIPSIS = "…"
_ZWJ = "\u200d"
_LONGEST_CLUSTER = 32
_LONGEST_HTML = 2_000_000


def _utf16(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text) if not text.isascii() else len(text)


def _utf8(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) if not text.isascii() else len(text)


UNITS: dict[str, Callable[[str], int]] = {"characters": len, "utf16": _utf16, "bytes": _utf8}
"""How a limit is counted: Unicode characters, UTF-16 code units (Java, JavaScript, .NET), or bytes of UTF-8."""


def shorten(text: str, limit: int, unit: str = "characters", end: str = ELLIPSIS) -> str:
    """`text` in at most `limit` units, ended by `end` if anything was cut; never cuts inside a visible character."""
    size = UNITS[unit]
    if len(text) <= limit and size(text) <= limit:
        return text
    room = limit - size(end)
    if room < 1:
        end, room = "", limit
    return text[: _boundary(text, _fitting(text, room, size))].rstrip() + end


def _fitting(text: str, room: int, size: Callable[[str], int]) -> int:
    """The largest number of leading characters that take at most `room` units."""
    low, high = 0, min(len(text), room)
    if size is len:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(text[:middle]) <= room else (low, middle - 1)
    return low


def _boundary(text: str, cut: int) -> int:
    """The last place at or before `cut` between two visible characters; `cut` itself in a run that has none near."""
    place = cut
    while place > 0 and cut - place <= _LONGEST_CLUSTER:
        if not _joined(text, place):
            return place
        place -= 1
    return 0 if place == 0 else cut


def _joined(text: str, place: int) -> bool:
    """Do the characters on both sides of `place` belong to one visible character?"""
    if place >= len(text):
        return False
    left, right = text[place - 1], text[place]
    if left < "\u0300" and right < "\u0300":
        return left == "\r" and right == "\n"
    if right == _ZWJ or left == _ZWJ or unicodedata.category(right).startswith("M"):
        return True
    if "\U0001f3fb" <= right <= "\U0001f3ff" or "\U000e0020" <= right <= "\U000e007f":
        return True
    if "\U0001f1e6" <= right <= "\U0001f1ff":
        return _flags_before(text, place) % 2 == 1
    return "\u1100" <= left <= "\u115f" and "\u1160" <= right <= "\u11a7"


def _flags_before(text: str, place: int) -> int:
    start = place
    while start > 0 and place - start < 2 * _LONGEST_CLUSTER and "\U0001f1e6" <= text[start - 1] <= "\U0001f1ff":
        start -= 1
    return place - start


_MARKUP = re.compile(r"<(?:[a-zA-Z][^<>]*|/[a-zA-Z][^<>]*|!--|!doctype[^<>]*)>|&(?:#\d+|#x[0-9a-f]+|[a-z]+\d*);", re.I)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TAG = re.compile(r"<(/?)(?!(?:br|hr|img|meta|link|input|area|col|wbr)\b)[a-z][^<>]*(?<!/)>", re.I)
_DEEPEST_HTML = 200
_UNSEEN = re.compile(r"<(script|style|head|title)\b.*?(?:</\1\s*>|\Z)", re.I | re.S)


def looks_like_html(text: str) -> bool:
    """Has it a tag or an entity?"""
    return _MARKUP.search(text[:_LONGEST_HTML]) is not None


def plain(text: str) -> str:
    """The words of an HTML text, laid out in lines; a text without markup as it is. Never raises."""
    if not looks_like_html(text):
        return text
    source = _CONTROL.sub("", text[:_LONGEST_HTML])
    source = re.sub(r"<\?xml[^>]*\?>", "", source)
    return _tidy(_laid_out(source))


def _laid_out(source: str) -> str:
    from inscriptis import get_text

    if _depth(source) < _DEEPEST_HTML:
        try:
            return str(get_text(source))
        except Exception:  # noqa: BLE001 - lxml and inscriptis fail in many ways on broken markup; the words matter
            return _stripped(source)
    return _stripped(source)


def _depth(source: str) -> int:
    """How deeply tags nest, at most: lxml silently drops what lies deeper than 256."""
    depth = deepest = 0
    for tag in _TAG.finditer(source):
        depth += -1 if tag[1] else 1
        deepest = max(deepest, depth)
    return deepest


def _stripped(source: str) -> str:
    return html.unescape(re.sub(r"<[^<>]{0,10000}>", " ", _UNSEEN.sub(" ", source)))


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\xa0", " ").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
