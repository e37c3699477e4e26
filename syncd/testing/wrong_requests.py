"""Requests, events and bodies that a source must refuse or survive; the conformance suites send them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

from syncd.connector import Request
from syncd.testing.vendor import Vendor, json_or_none

HUGE = 5_000_000
WRONG_ITEMS: tuple[Any, ...] = (None, True, 5, -1.5, 10**300, "text", "\ud83d", [], [[]], {}, {"": None}, {"id": "\0"})
"""Values that are not an event of any vendor."""


def spoilt_events(plain: Request) -> Iterator[Any]:
    """The first event with each of its members, at two levels, left out or of a wrong type."""
    items = json_or_none(plain.body)
    event = items[0] if isinstance(items, list) and items else None
    if not isinstance(event, dict):
        return
    places: list[tuple[str, ...]] = [(name,) for name in event]
    places += [(name, inner) for name, value in event.items() if isinstance(value, dict) for inner in value]
    for place in places:
        outer, last = place[:-1], place[-1]
        for value in (_ABSENT, None, [], {}, 10**300, "\ud83d\0", ["x"], {"x": {"x": []}}):
            spoilt = deepcopy(event)
            inner = spoilt[outer[0]] if outer else spoilt
            if value is _ABSENT:
                del inner[last]
            else:
                inner[last] = value
            yield spoilt


_ABSENT = object()


def spoilt_members(plain: Request) -> Iterator[bytes]:
    """The JSON object of a request's body with each of its members, at two levels, left out or of a wrong type; nothing for
    another body."""
    event = json_or_none(plain.body)
    if isinstance(event, dict):
        yield from (
            json.dumps(spoilt).encode() for spoilt in spoilt_events(replace(plain, body=json.dumps([event]).encode()))
        )


def bodies() -> Iterator[bytes]:
    """Bodies that break careless parsers."""
    yield b""
    yield b"{"
    yield b"null"
    yield b"[]"
    yield b"{}"
    yield b'"text"'
    yield b"\x00\x01\x02"
    yield b"\xff\xfe\xfa"
    yield b"[" * 100_000
    yield b'{"a":' * 50_000
    yield b'{"id": "\\u0000", "type": 5, "data": [null]}'
    yield b'{"pad": "' + b"x" * HUGE + b'"}'


def forgeries(request: Request, vendor: Vendor) -> Iterator[tuple[str, Request]]:
    """The request, spoilt in every way that must be noticed."""
    headers = dict(request.headers)
    for name in vendor.auth_headers:
        value = headers[name]
        without = {key: kept for key, kept in headers.items() if key != name}
        yield f"{name} missing", replace(request, headers=without)
        for what, wrong in (
            ("empty", ""),
            ("cut", value[:-3]),
            ("garbage", "garbage"),
            ("not ASCII", "ä\udcff"),
            ("huge", value * 2000),
            ("reversed", value[::-1]),
        ):
            yield f"{name} {what}", replace(request, headers={**headers, name: wrong})
    if vendor.signed_inside:
        *outer, name = vendor.signed_inside.split(".")
        for what in ("missing", "empty", "cut", "not a text"):
            body = json.loads(request.body)
            proof = body
            for step in outer:
                proof = proof[step]
            value = proof.pop(name)
            proof |= {"empty": {name: ""}, "cut": {name: value[:-3]}, "not a text": {name: [value]}}.get(what, {})
            yield f"{vendor.signed_inside} {what}", replace(request, body=json.dumps(body).encode())
    if request.tail:
        for what, tail in (("missing", ""), ("cut", request.tail[:-3]), ("another", "another-secret-of-a-stranger")):
            yield f"last part of the address {what}", replace(request, tail=tail)
    if vendor.covers_body:
        yield "body longer", replace(request, body=request.body + b" ")
        yield "body empty", replace(request, body=b"")
