"""Reads raw bodies into values: JSON that the store can keep, and forms (urlencoded or multipart). Pure; only Malformed."""

from __future__ import annotations

import hashlib
import re
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from syncd.connector import Request
from syncd.errors import Malformed

DEEPEST = 64
_MOST_FIELDS = 5000
_MANY_BRACKETS = 200


def read_json(body: bytes, what: str = "the body") -> Any:
    """The value of a JSON text. Raises Malformed for what is no JSON or nested deeper than DEEPEST."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise Malformed(f"{what} is nested too deep") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # msgspec passes bytes that are no UTF-8 on as they are
        seen = body[:60].decode("utf-8", "replace")
        raise Malformed(f"{what} is no JSON ({error}): {seen!r}") from None
    if body.count(b"[") + body.count(b"{") > DEEPEST and _depth(value) > DEEPEST:
        raise Malformed(f"{what} is nested deeper than {DEEPEST} levels")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        depth += 1
    return depth


def read_form(request: Request) -> dict[str, Any]:
    """Name -> text, or a list of texts for a name that comes again. Files of a multipart form are left out."""
    if request.content_type == "multipart/form-data":
        pairs = _multipart(request)
    else:
        try:
            pairs = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise Malformed(f"the form is not UTF-8 or has more than {_MOST_FIELDS} fields") from None
    form: dict[str, Any] = {}
    for name, value in pairs:
        held = form.get(name)
        form[name] = value if held is None else [*held, value] if isinstance(held, list) else [held, value]
    return form


def _multipart(request: Request) -> list[tuple[str, str]]:
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n"
    if re.search(r"[\r\n]", head[:-4]):
        raise Malformed("the content type has a line break in it")
    message = BytesParser(policy=HTTP).parsebytes(head.encode("utf-8", "replace") + request.body)
    pairs = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and part.get_filename() is None:
            raw = part.get_payload(decode=True)
            pairs.append((name, raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""))
    if not pairs:
        raise Malformed("the multipart form has no field")
    return pairs


def digest(value: Any) -> str:
    """A name for an event that has none: the hash of what it says, whatever the order of its keys."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
