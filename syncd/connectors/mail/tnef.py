"""The text and the attachments inside Outlook's winmail.dat ([MS-OXTNEF]). `content` calls it.

Pure, bounded and total: what is damaged ends the reading, and what was read before counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from syncd.connectors.mail.rtf import rtf_text, unpacked
from syncd.connectors.text import clean, codec_of, decode, html_charset

_SIGNATURE = b"\x78\x9f\x3e\x22"
_ATTRIBUTES_CAP = 5000
_PROPERTIES_CAP = 2000
_ATTACHMENTS_CAP = 100

# [MS-OXTNEF] 2.1.3.3 and 2.1.3.4
_CODEPAGE = 0x00069007
_BODY = 0x0002800C
_PROPERTIES = 0x00069003
_ATTACHMENT_BEGINS = 0x00069002
_ATTACHMENT_TITLE = 0x00018010
_ATTACHMENT_DATA = 0x0006800F

# [MS-OXPROPS]
_PR_BODY, _PR_HTML, _PR_RTF, _PR_CODEPAGE = 0x1000, 0x1013, 0x1009, 0x3FDE
_FIXED = {0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16}
"""Property type -> the bytes of a value, padded; every other one says its length."""
_STRING8, _UNICODE = 0x1E, 0x1F


@dataclass
class Tnef:
    """`text` plain, `html` as sent; ``""`` when absent. `attachments`: (name, size)."""

    text: str = ""
    html: str = ""
    attachments: list[tuple[str, int]] = field(default_factory=list)


def is_tnef(data: bytes) -> bool:
    """Whether the bytes begin as TNEF does."""
    return data.startswith(_SIGNATURE)


def read_tnef(data: bytes) -> Tnef:
    """The contents of a winmail.dat; empty for any other file."""
    found = Tnef()
    codec = "cp1252"
    names: list[tuple[str, int]] = []
    for identity, value in _attributes(data):
        if identity == _CODEPAGE:
            codec = codec_of(f"cp{int.from_bytes(value[:4], 'little')}") or codec
        elif identity == _BODY:
            found.text = found.text or _string(value, codec)
        elif identity == _PROPERTIES:
            _read_properties(value, codec, found)
        elif identity == _ATTACHMENT_BEGINS and len(names) < _ATTACHMENTS_CAP:
            names.append(("", 0))
        elif identity == _ATTACHMENT_TITLE and names:
            names[-1] = (_string(value, codec), names[-1][1])
        elif identity == _ATTACHMENT_DATA and names:
            names[-1] = (names[-1][0], len(value))
    found.attachments = names
    return found


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(id, value) of each attribute; the checksums are not looked at."""
    at = 6 if is_tnef(data) else len(data)
    for _ in range(_ATTRIBUTES_CAP):
        if at + 9 > len(data):
            return
        identity = int.from_bytes(data[at + 1 : at + 5], "little")
        length = int.from_bytes(data[at + 5 : at + 9], "little")
        yield identity, data[at + 9 : at + 9 + length]
        at += 9 + length + 2


def _read_properties(value: bytes, codec: str, found: Tnef) -> None:
    for name, kind, content in _properties(value):
        if name == _PR_CODEPAGE and kind == 0x03:
            codec = codec_of(f"cp{int.from_bytes(content[:4], 'little')}") or codec
        elif name == _PR_BODY and kind in {_STRING8, _UNICODE}:
            found.text = _string(content, "utf-16-le" if kind == _UNICODE else codec) or found.text
        elif name == _PR_HTML:
            text = decode(content, "utf-16-le") if kind == _UNICODE else decode(content, html_charset(content) or codec)
            found.html = found.html or clean(text)
        elif name == _PR_RTF and not found.text:
            found.text = rtf_text(unpacked(content))


def _properties(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(property, type, first value) of a list of MAPI properties ([MS-OXTNEF] 2.1.3.4)."""
    at = 4
    for _ in range(min(int.from_bytes(data[:4], "little"), _PROPERTIES_CAP)):
        if at + 4 > len(data):
            return
        kind, name = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
        at += 4
        if name >= 0x8000:  # a named property: a GUID, then a number or a text
            by_text = data[at + 16 : at + 20] == b"\1\0\0\0"
            length = int.from_bytes(data[at + 20 : at + 24], "little") if by_text else 0
            at += 24 + (length + 3) // 4 * 4
        plain = kind & 0x0FFF
        many = kind & 0x1000 or plain not in _FIXED
        count = int.from_bytes(data[at : at + 4], "little") if many else 1
        at += 4 if many else 0
        first = b""
        for turn in range(min(count, _PROPERTIES_CAP)):
            length = _FIXED.get(plain, 0)
            if not length:
                length = int.from_bytes(data[at : at + 4], "little")
                at += 4
            first = data[at : at + length] if not turn else first
            at += (length + 3) // 4 * 4
            if at > len(data):
                break
        yield name, plain, first


def _string(value: bytes, codec: str) -> str:
    text = value.decode(codec, "replace") if codec.startswith("utf-16") else decode(value, codec)
    return clean(text.partition("\0")[0])
