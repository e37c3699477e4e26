"""Reads raw bodies into values that the store can keep: JSON here, forms by `syncd.connectors.forms`. Pure; only Malformed."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from syncd.connectors.forms import charset_of, codec_of
from syncd.errors import Malformed
from syncd.http.json_text import Parsed, parse

DEEPEST = 64


def read_json(body: bytes, what: str = "the body", content_type: str = "") -> Parsed:
    """The value of a JSON text, in the charset of its content type. Raises Malformed for what is not JSON or nested deeper than
    DEEPEST."""
    try:
        parsed = parse(body, codec_of(charset_of(content_type)))
    except ValueError as error:
        if str(error) == "nested too deep":
            raise Malformed(f"{what} is nested too deep") from None
        seen = body[:60].decode("utf-8", "replace")
        raise Malformed(f"{what} is not JSON ({error}): {seen!r}") from None
    if body.count(b"[") + body.count(b"{") > DEEPEST and _depth(parsed.value) > DEEPEST:
        raise Malformed(f"{what} is nested deeper than {DEEPEST} levels")
    return parsed


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


def digest(value: Any) -> str:
    """A name for an event that has none: the hash of what it says, whatever the order of its keys."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
