"""What goes over the wire: a request as the twins see it, an answer, and the ways in which a connection can break.

Used by the server and by every twin; knows no vendor.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(slots=True)
class TwinCall:
    """One request, or one sub-request of a composite one (`sub`), with what the twin learns of it on the way."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    number: int = 0
    sub: bool = False
    operation: str = ""
    rows: int = 0
    inner: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    uri_length: int = 0
    raw_query: str = ""  # as it stood in the request line, for vendors that nest in it
    lane: str = ""  # a vendor's class of calls that share a limit of their own
    row_faults: list[PlannedFault] = field(default_factory=list)
    _parsed: Any = None

    def json(self) -> Any:
        """The body as JSON, parsed once; raises orjson.JSONDecodeError (a ValueError)."""
        if self._parsed is None:
            self._parsed = orjson.loads(self.body)
        return self._parsed

    def form(self) -> dict[str, str]:
        """The body as a urlencoded form, joined with the query: vendors accept either."""
        return {**self.query, **dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))}

    @property
    def bearer(self) -> str:
        """The token of the Authorization header, whatever its scheme is called; empty without that header."""
        return self.headers.get("authorization", "").partition(" ")[2].strip()


@dataclass(slots=True)
class PlannedFault:
    """One entry of a plan, with its counters. `seen`: calls it could have struck; `fired`: calls it did."""

    do: str
    on: str = "*"
    nth: int | None = None
    every: int | None = None
    after: int = 0
    chance: float | None = None
    seed: int = 0
    times: int | None = None
    when: str = "before"
    params: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    fired: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def covers(self, call: TwinCall) -> bool:
        method, blank, glob = self.on.partition(" ")
        if blank:
            return method in ("*", call.method) and fnmatchcase(call.path, glob)
        return self.on in ("*", call.operation) or self.on in call.inner

    def strikes(self) -> bool:
        """Counts one more call, and says whether this is one that goes wrong."""
        if self.times is not None and self.fired >= self.times:
            return False
        self.seen += 1
        count = self.seen - self.after
        if count < 1:
            return False
        hit = bool(
            (self.nth is None or count == self.nth)
            and (self.every is None or count % self.every == 0)
            and (self.chance is None or self._random.random() < self.chance)
        )
        self.fired += hit
        return hit

    def hits_row(self, index: int, record: Mapping[str, Any]) -> bool:
        """Whether a `row` fault spoils this row: by its number, by the values of fields, by a share of all; else every row."""
        if "row" in self.params:
            return bool(self.params["row"] == index)
        if "match" in self.params:
            return matches(record, self.params["match"])
        if "share" in self.params:
            return self._random.random() < float(self.params["share"])
        return True

    def describe(self) -> dict[str, Any]:
        return {"on": self.on, "do": self.do, "when": self.when, **self.params, "seen": self.seen, "fired": self.fired}


def matches(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a record has all the values; text without case."""
    return all(k in record and str(record[k]).casefold() == str(v).casefold() for k, v in wanted.items())


@dataclass(slots=True)
class TwinResponse:
    """A response. `body`: bytes as they are, None for an empty body, anything else becomes JSON."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=UTF-8"

    def payload(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


async def read_call(scope: Message, receive: Receive, number: int) -> TwinCall:
    """The whole request of an ASGI scope; raises ConnectionError when the client leaves before it is complete."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left before its request was complete")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    query = scope.get("query_string", b"").decode("latin-1")
    raw = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    call = make_call(scope["method"], f"{raw}?{query}" if query else raw, b"".join(chunks))
    call.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
    call.number = number
    return call


def make_call(method: str, url: str, body: bytes = b"", sub: bool = False) -> TwinCall:
    """A call from a path with query as it stands in a request line; its `segments` are decoded one by one."""
    raw, _, query = url.partition("?")
    return TwinCall(
        method=method,
        path=unquote(raw),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        raw_query=query,
        headers={},
        body=body,
        sub=sub,
        segments=tuple(unquote(s) for s in raw.split("/") if s),
        uri_length=len(url),
    )


def _start(answer: TwinResponse, length: int) -> Message:
    headers = [(k.lower().encode(), v.encode()) for k, v in answer.headers.items()]
    if answer.status != 204:
        headers.append((b"content-length", str(length).encode()))
        if length:
            headers.append((b"content-type", answer.content_type.encode()))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


async def send_answer(send: Send, answer: TwinResponse) -> None:
    payload = b"" if answer.status == 204 else answer.payload()
    await send(_start(answer, len(payload)))
    await send({"type": "http.response.body", "body": payload})


async def send_cut(send: Send, answer: TwinResponse) -> None:
    """Promises the whole body, sends half of it, and resets the connection."""
    payload = answer.payload()
    await send(_start(answer, len(payload)))
    await send({"type": "http.response.body", "body": payload[: len(payload) // 2], "more_body": True})
    await asyncio.sleep(0.01)  # lets the half reach the client before the reset discards the send buffer
    await reset(send)


async def reset(send: Send) -> None:
    """Drops the connection with a TCP RST, as a dying proxy or server does.

    ASGI has no word for this: the transport is taken from uvicorn's request cycle, of which `send` is a bound method.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("a connection can be reset only under uvicorn")
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await asyncio.sleep(0)
