"""Bodies that were packed for the way (Content-Encoding: gzip, deflate), unpacked up to a limit. Pure.

The receiver use it after a request came in, quarantine's retry for bodies that were kept packed. Promise: never more than `limit`
bytes (and one read of zlib) are held, however well the body is packed.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

from syncd.connector import Request
from syncd.errors import Malformed

CODINGS = ("gzip", "deflate")
MOST_LAYERS = 2
_NAMES = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}  # RFC 9110, 8.4.1
_GZIP_MAGIC = b"\x1f\x8b"


class TooLargeUnpacked(Exception):
    """Unpacked, the body exceeds the limit."""


def codings(request: Request) -> tuple[str, ...] | None:
    """The codings of the body in the order in which they were applied, () for a plain body; None: one that is not supported."""
    said = request.headers.get("content-encoding", "")
    words = [word for part in said.split(",") if (word := part.strip().lower()) not in ("", "identity")]
    if len(words) > MOST_LAYERS or any(word not in _NAMES for word in words):
        return None
    return tuple(_NAMES[word] for word in words)


def unpacked(request: Request, limit: int) -> Request:
    """The request as if it had been sent plain. Raises TooLargeUnpacked, or Malformed for a damaged body or a coding that is not
    supported. A body that is not packed although it says so (a proxy has unpacked it) is taken as it is."""
    layers = codings(request)
    if layers == ():
        return request
    if layers is None:
        raise Malformed(
            f"Content-Encoding {request.headers['content-encoding'][:40]!r} is not supported, only gzip, deflate"
        )
    body = request.body
    for coding in reversed(layers):
        body = _gzip(body, limit) if coding == "gzip" else _deflate(body, limit)
    headers = {name: value for name, value in request.headers.items() if name != "content-encoding"}
    return replace(request, headers=headers, body=body)


def _gzip(body: bytes, limit: int) -> bytes:
    if not body.startswith(_GZIP_MAGIC):
        return body
    out = b""
    rest = body
    while rest.startswith(_GZIP_MAGIC):  # members may follow one another (RFC 1952, 2.2)
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        out += _inflated(member, rest, limit - len(out), "gzip")
        rest = member.unused_data
    if rest.strip(b"\0\r\n\t "):
        raise Malformed("the body is damaged: something follows its gzip data")
    return out


def _deflate(body: bytes, limit: int) -> bytes:
    """zlib's format, as the name means; the bare stream that some senders send instead; or a body that is not packed."""
    for wbits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            return _inflated(zlib.decompressobj(wbits), body, limit, "deflate")
        except Malformed:
            continue
    if body.lstrip()[:1] in (b"{", b"["):
        return body
    raise Malformed("the body is damaged: it is not deflate data")


def _inflated(stream: zlib._Decompress, body: bytes, limit: int, coding: str) -> bytes:
    try:
        out = stream.decompress(body, max(limit, 0) + 1)
    except zlib.error:
        raise Malformed(f"the body is damaged: it is not {coding} data") from None
    if len(out) > limit:
        raise TooLargeUnpacked
    if not stream.eof:
        raise Malformed(f"the body is damaged: its {coding} data is cut off")
    return out
