"""JSON as senders really write it: with a byte order mark, cut in the middle of an emoji, with line breaks and tabs as they are
inside strings, or with bytes that are not UTF-8. Pure.

Connectors read bodies with it, `syncd.http.client` reads vendors' answers with it. Promise: a valid document gives what any
parser gives. Text that cannot be read becomes U+FFFD, and never silently: `original` spells it out. NaN and Infinity are not
JSON: null may not be what they mean.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

MOST_ORIGINALS = 50
LONGEST_ORIGINAL = 1000
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ZEROS = (  # RFC 4627, 3: JSON begins with two ASCII characters
    (re.compile(rb"\0\0\0[^\0]"), "utf-32-be"),
    (re.compile(rb"[^\0]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0[^\0]"), "utf-16-be"),
    (re.compile(rb"[^\0]\0"), "utf-16-le"),
)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_ESCAPE = re.compile(
    r"\\(?:(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Every escape of a JSON text, so that a backslash which is escaped itself begins none."""
_HALVES = re.compile("[\ud800-\udfff]")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_ESCAPED_CONTROL = re.compile(r"(?<!\\)(?:\\\\)*\\[\x00-\x1f]")
"""A backslash before a control character escapes nothing: what was meant is not known."""
_AS_ESCAPES = {code: f"\\u{code:04x}" for code in range(32)}
_NOT_A_NUMBER = re.compile(rf"{_STRING.pattern}|(?P<said>[+-]?\b(?:NaN|Infinity)\b)", re.DOTALL)


class Parsed(NamedTuple):
    """`original` is `value` itself when nothing had to be replaced; else the same, with each character that could not be read
    spelled out as text (`\\ud83d`, `\\xfc`) where `value` has U+FFFD."""

    value: Any
    original: Any


def parse(data: bytes, codec: str = "") -> Parsed:
    """The value of a JSON document. `codec`: the Python codec its sender declared, "" for none; a byte order mark outweighs it.
    Raises ValueError with the reason."""
    if not codec or codec == "utf-8":
        try:
            value = msgspec.json.decode(data)
            return Parsed(value, value)
        except RecursionError:
            raise ValueError("nested too deep") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            reason = str(error)
    text = _text(data, codec)
    repaired, spelled = _repaired(text)
    if _CONTROL.search(text):
        same = spelled == repaired
        repaired = _STRING.sub(_with_escapes, repaired)
        spelled = repaired if same else _STRING.sub(_with_escapes, spelled)
    try:
        value = msgspec.json.decode(repaired)
        return Parsed(value, value if spelled == repaired else msgspec.json.decode(spelled))
    except RecursionError:
        raise ValueError("nested too deep") from None
    except msgspec.MsgspecError as error:
        raise ValueError(_not_a_number(repaired) or (str(error) if codec or text[:1] in "{[" else reason)) from None


def originals(parsed: Parsed) -> dict[str, str]:
    """Path -> text as its sender wrote it, of each text in which something had to be replaced; bounded."""
    if parsed.original is parsed.value:
        return {}
    found: dict[str, str] = {}
    for path, text in _differences(parsed.value, parsed.original, ""):
        found[path or "body"] = text[:LONGEST_ORIGINAL]
        if len(found) == MOST_ORIGINALS:
            break
    return found


def _differences(value: Any, original: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and isinstance(original, str):
        if value != original:
            yield path, original
    elif isinstance(value, dict) and isinstance(original, dict):
        for (name, one), (said, other) in zip(value.items(), original.items(), strict=False):
            inner = f"{path}.{said}" if path else said
            if name != said:
                yield inner, said
            yield from _differences(one, other, inner)
    elif isinstance(value, list) and isinstance(original, list):
        for index, (one, other) in enumerate(zip(value, original, strict=False)):
            yield from _differences(one, other, f"{path}[{index}]")


def _text(data: bytes, codec: str) -> str:
    """The document as text; what its encoding does not define is a lone surrogate in it."""
    for mark, marked in _BOMS:
        if data.startswith(mark):
            data, codec = data[len(mark) :], marked
            break
    else:
        zeros = next((name for pattern, name in _ZEROS if pattern.match(data)), "")
        codec = zeros or codec
    if codec and codec != "utf-8":
        return _decoded(data, codec)
    try:
        return data.decode("utf-8", "surrogatepass")  # Java and MySQL write an emoji as two halves of three bytes each
    except UnicodeDecodeError:
        damaged = _MULTIBYTE.search(data) is not None
        return data.decode("utf-8" if damaged or codec else "cp1252", "surrogateescape")


def _decoded(data: bytes, codec: str) -> str:
    wide = codec.startswith(("utf-16", "utf-32"))
    try:
        return data.decode(codec, "surrogatepass" if wide else "surrogateescape")
    except UnicodeError:
        return data.decode(codec, "replace")


def _repaired(text: str) -> tuple[str, str]:
    """The text with U+FFFD for what cannot be read, and with that spelled out instead."""
    if _HALVES.search(text):
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        text, spelled = _HALVES.sub("\ufffd", paired), _HALVES.sub(_spell, paired)
    else:
        spelled = text
    if "\\u" not in text:
        return text, spelled
    return _ESCAPE.sub(_without_half, text), _ESCAPE.sub(_spelled_half, spelled)


def _with_escapes(match: re.Match[str]) -> str:
    """A string with its control characters escaped, as JSON wants them. One that lost its quote swallows the quote of the next,
    and the document does not parse with escapes either."""
    said = match[0]
    return said if _ESCAPED_CONTROL.search(said) else said.translate(_AS_ESCAPES)


def _not_a_number(text: str) -> str:
    """The reason for a document that would be JSON with null in place of each NaN and Infinity, "" for any other."""
    said: list[str] = []

    def put(match: re.Match[str]) -> str:
        if match["said"]:
            said.append(match["said"])
        return "null" if match["said"] else match[0]

    try:
        msgspec.json.decode(_NOT_A_NUMBER.sub(put, text))
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return f"{said[0]} is not a number in JSON; its sender must write null" if said else ""


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\\\u{code:04x}"


def _without_half(match: re.Match[str]) -> str:
    return "\\ufffd" if match["half"] else match[0]


def _spelled_half(match: re.Match[str]) -> str:
    return f"\\\\{match['half']}" if match["half"] else match[0]
