"""Reads form bodies (urlencoded or multipart), each field in the charset in which its sender wrote it. Pure; only Malformed.

The generic webhook and the connectors whose vendors post forms use it. What decides, in this order: the part's own charset, the
field `charsets` (a JSON object, as mail-to-webhook services send it), the field `_charset_` (RFC 7578, 4.6), the request's
charset, UTF-8, then how all undeclared bytes together read, at last Windows-1252. `replaced` keeps the bytes of a field in which
something had to be replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from syncd.connector import Request
from syncd.errors import Malformed
from syncd.http.json_text import LONGEST_ORIGINAL, MOST_ORIGINALS, parse

MOST_FIELDS = 5000
LAST_RESORT = "cp1252"
_BOM = b"\xef\xbb\xbf"
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([^"';\s,]+)""", re.IGNORECASE)


class SubmittedForm(NamedTuple):
    """`pairs` keep repeats and order. `replaced`: field -> its bytes, percent-encoded, where not all of them could be read."""

    pairs: list[tuple[str, str]]
    replaced: dict[str, str]


class _FormField(NamedTuple):
    name: bytes
    value: bytes
    charset: str = ""


def charset_of(content_type: str) -> str:
    """The charset parameter of a content type, "" without one."""
    found = _CHARSET.search(content_type) if "harset" in content_type or "HARSET" in content_type else None
    return found[1] if found else ""


def codec_of(charset: str) -> str:
    """The Python codec of a charset, "" for none and for an unknown one."""
    if not charset:
        return ""
    if charset.lower() in ("utf-8", "utf8"):
        return "utf-8"
    from syncd.connectors.charsets import (
        codec_of as codec,  # only requests that declare another charset pay for its tables
    )

    return codec(charset)


def read_form(request: Request, region: str | None = None, most: int = MOST_FIELDS) -> SubmittedForm:
    """The fields of a form body; files of a multipart form are left out. `region`: ISO 3166, a hint for undeclared bytes."""
    multipart = request.content_type == "multipart/form-data"
    fields = list(_multipart(request) if multipart else _urlencoded(request.body, most))
    if len(fields) > most:
        raise Malformed(f"the form has more than {most} fields")
    declared = _declared(fields, charset_of(request.headers.get("content-type", "")))
    if all(field.value.isascii() and field.name.isascii() for field in fields) and not any(declared):
        return SubmittedForm([(field.name.decode(), field.value.decode()) for field in fields], {})
    undeclared = _undeclared(fields, declared, region)
    pairs: list[tuple[str, str]] = []
    replaced: dict[str, str] = {}
    for field, codec in zip(fields, declared, strict=True):
        name, _ = read_text(field.name, codec, undeclared, region)
        value, whole = read_text(field.value, codec, undeclared, region)
        pairs.append((name, value))
        if not whole and len(replaced) < MOST_ORIGINALS:
            replaced[name] = quote_from_bytes(field.value[:LONGEST_ORIGINAL])
    return SubmittedForm(pairs, replaced)


def as_dict(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Name -> text, or a list of texts for a name that comes again."""
    form: dict[str, Any] = {}
    for name, value in pairs:
        held = form.get(name)
        form[name] = value if held is None else [*held, value] if isinstance(held, list) else [held, value]
    return form


def read_text(raw: bytes, codec: str, otherwise: str = LAST_RESORT, region: str | None = None) -> tuple[str, bool]:
    """Text of bytes in a declared codec ("": none), and whether all of it could be read. What is neither in it nor in UTF-8 is
    read by `otherwise`."""
    if codec.startswith(("utf-16", "utf-32")) and raw.isascii() and b"\0" not in raw:
        codec = ""  # plain ASCII beside values in it, such as the names of fields
    if codec in ("", "utf-8"):
        try:
            return _joined(raw.removeprefix(_BOM).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            codec = codec or otherwise
            if not _looks_like_utf8(raw):
                codec = otherwise
    from syncd.connectors.charsets import read_as

    text, damage = read_as(raw, codec, region)
    return text, not damage


def _joined(text: str) -> tuple[str, bool]:
    """Halves of an emoji joined where both are there, and whether they all were."""
    if text.isascii():
        return text, True
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined, joined.count("\ufffd") == text.count("\ufffd")


def _looks_like_utf8(raw: bytes) -> bool:
    """Damaged UTF-8, rather than text of another charset: more characters of several bytes than bytes that fit nowhere."""
    text = raw.decode("utf-8", "replace")
    return sum(char > "\x7f" and char != "\ufffd" for char in text) > text.count("\ufffd")


def _urlencoded(body: bytes, most: int) -> Iterator[_FormField]:
    body = body.removeprefix(_BOM)
    if body.count(b"&") >= 4 * most:
        raise Malformed(f"the form has more than {most} fields")
    for pair in body.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            yield _FormField(unquote_to_bytes(name), unquote_to_bytes(value))


def _multipart(request: Request) -> list[_FormField]:
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n"
    if re.search(r"[\r\n]", head[:-4]):
        raise Malformed("the content type has a line break in it")
    try:
        message = BytesParser(policy=HTTP).parsebytes(head.encode("utf-8", "replace") + request.body)
        parts = (
            [part for part in message.iter_parts() if isinstance(part, EmailMessage)] if message.is_multipart() else []
        )
        fields = [field for part in parts if (field := _part(part)) is not None]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"the multipart form cannot be read: {type(error).__name__}: {error}") from None
    if not fields:
        raise Malformed("the multipart form has no field")
    return fields


def _part(part: EmailMessage) -> _FormField | None:
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str) or part.get_filename() is not None:
        return None
    raw = part.get_payload(decode=True)
    charset = part.get_param("charset")
    return _FormField(
        name.encode("utf-8", "surrogateescape"),
        raw if isinstance(raw, bytes) else b"",
        charset if isinstance(charset, str) else "",
    )


def _declared(fields: list[_FormField], of_request: str) -> list[str]:
    """The codec declared for each field, "" for none."""
    by_name: Mapping[str, str] = {}
    for field in fields:
        if field.name == b"_charset_" and field.value.isascii():
            of_request = field.value.decode()
        if field.name == b"charsets":
            by_name = _charsets(field.value)
    general = codec_of(of_request)
    return [
        codec_of(field.charset) or codec_of(by_name.get(field.name.decode("latin-1"), "")) or general
        for field in fields
    ]


def _charsets(value: bytes) -> dict[str, str]:
    try:
        said = parse(value).value
    except ValueError:
        return {}
    return {name: text for name, text in said.items() if isinstance(text, str)} if isinstance(said, dict) else {}


def _undeclared(fields: list[_FormField], declared: list[str], region: str | None) -> str:
    """The codec of the bytes that are neither declared nor UTF-8, as all of them together read."""
    odd = [
        field.value for field, codec in zip(fields, declared, strict=True) if not codec and not _is_utf8(field.value)
    ]
    if not odd:
        return LAST_RESORT
    from syncd.connectors.charsets import InDoubt, detect

    try:
        codec, _ = detect(b"\n".join(odd), region=region)
    except InDoubt:
        return LAST_RESORT
    return LAST_RESORT if codec.startswith("utf-16") else codec


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
