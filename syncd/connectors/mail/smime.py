"""What is inside an S/MIME part: the signed mail, which everybody may read, or the fact that it is encrypted.

Pure, bounded and total. Nothing is verified: the text is shown as an unsigned mail's is. `cryptography` reads no content of
SignedData without verifying it, so the few ASN.1 elements on the way there (RFC 5652 5.1, RFC 8551 3.5.2) are walked here.
"""

from __future__ import annotations

import zlib

_SIGNED = bytes.fromhex("2a864886f70d010702")
_ENVELOPED = bytes.fromhex("2a864886f70d010703")
_AUTH_ENVELOPED = bytes.fromhex("2a864886f70d0109100117")
_COMPRESSED = bytes.fromhex("2a864886f70d0109100109")

_DEPTH = 20
_UNPACKED_CAP = 20_000_000


def opened(data: bytes) -> bytes | None:
    """The MIME entity inside a PKCS #7 / CMS message that is signed or compressed; None for any other."""
    try:
        kind, content = _content_info(data)
        if kind == _SIGNED:
            inner = _fields(content)[2][1]  # version, digestAlgorithms, encapContentInfo
            return _octets(_fields(_fields(inner)[1][1])[0])
        if kind == _COMPRESSED:
            inner = _fields(content)[2][1]  # version, compressionAlgorithm, encapContentInfo
            packed = _octets(_fields(_fields(inner)[1][1])[0])
            return zlib.decompressobj().decompress(packed, _UNPACKED_CAP)
    except (IndexError, ValueError, zlib.error):
        pass
    return None


def is_encrypted(data: bytes) -> bool:
    """Whether only who has the key can read it."""
    try:
        return _content_info(data)[0] in {_ENVELOPED, _AUTH_ENVELOPED}
    except (IndexError, ValueError):
        return False


_Element = tuple[int, bytes]
"""Tag, and what is in it."""


def _content_info(data: bytes) -> tuple[bytes, bytes]:
    """(content type, the content's own bytes)."""
    outer = _fields(data)[0]
    kind, wrapped = _fields(outer[1])[:2]
    return kind[1], _fields(wrapped[1])[0][1]


def _fields(data: bytes) -> list[_Element]:
    """The elements that follow each other, in BER with lengths of both forms."""
    found: list[_Element] = []
    at = 0
    while at < len(data) and len(found) < 1000:
        tag, start, end, following = _element(data, at, 0)
        if tag == 0 and start == end:
            break
        found.append((tag, data[start:end]))
        at = following
    return found


def _element(data: bytes, at: int, depth: int) -> tuple[int, int, int, int]:
    """(tag, where the content begins, where it ends, where the next element begins). Raises ValueError, IndexError."""
    if depth > _DEPTH:
        raise ValueError("nested too deep")
    tag = data[at]
    at += 1
    if tag & 0x1F == 0x1F:  # a tag of several bytes
        while data[at] & 0x80:
            at += 1
        at += 1
    length = data[at]
    at += 1
    if length == 0x80:  # until two zero bytes
        inside = at
        while data[inside : inside + 2] != b"\0\0":
            inside = _element(data, inside, depth + 1)[3]
            if inside >= len(data):
                return tag, at, len(data), len(data)
        return tag, at, inside, inside + 2
    if length & 0x80:
        size = length & 0x7F
        if size > 8:
            raise ValueError("a length beyond reason")
        length = int.from_bytes(data[at : at + size], "big")
        at += size
    return tag, at, min(at + length, len(data)), at + length


def _octets(element: _Element, depth: int = 0) -> bytes:
    """The bytes of an OCTET STRING, in one piece or in many."""
    tag, content = element
    if depth > _DEPTH or not tag & 0x20:
        return content
    return b"".join(_octets(piece, depth + 1) for piece in _fields_all(content))


def _fields_all(data: bytes) -> list[_Element]:
    """As `_fields`, of any number: a streamed mail comes in pieces of a kilobyte."""
    found: list[_Element] = []
    at = 0
    while at < len(data):
        tag, start, end, at = _element(data, at, 0)
        if tag == 0 and start == end:
            break
        found.append((tag, data[start:end]))
    return found
