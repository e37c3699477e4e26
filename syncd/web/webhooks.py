"""The hot route: raw ASGI for /webhooks/{source}, in front of the Starlette app.

`syncd.web.app` puts it there. It reads a bounded body within a bounded time, builds the `Request` a connector sees, and sends
what `WebhookReceiver` answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl

from syncd.connector import Request
from syncd.intake.webhooks import (
    BUSY,
    NO_SUCH_SOURCE,
    POST,
    PROBES,
    SMALL_BODY,
    STORED,
    TOO_LARGE,
    TOO_SLOW,
    WRONG_METHOD,
    WebhookReceiver,
    WebhookResponse,
)
from syncd.web.prebuilt_response import Whole

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PREFIX = "/webhooks/"
BODY_SECONDS = 30.0  # for a whole body
LINGER_SECONDS = 2.0  # how long a refused body is read on, so that its sender sees the answer and no reset
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_CLOSE = (b"connection", b"close")


class _BodyRefused(Exception):
    """The body will not be read to its end."""

    def __init__(self, answer: WebhookResponse) -> None:
        self.answer = answer


class _Gone(Exception):
    """The client hung up before its request was whole."""


class WebhookRoute:
    """ASGI app of one path prefix. `public_url` (without a path) is how vendors reach us: signatures may cover it."""

    def __init__(self, receiver: WebhookReceiver, *, public_url: str = "", body_seconds: float = BODY_SECONDS) -> None:
        self._doors = receiver
        self._public_url = public_url
        self._body_seconds = body_seconds
        self._telling: set[asyncio.Task[None]] = set()
        self._heads: dict[WebhookResponse, Message] = {}
        self._stored = Whole(STORED.status, self._head(STORED)["headers"], STORED.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, tail = scope["path"][len(PREFIX) :].partition("/")
        receiver = self._doors
        endpoint = receiver.endpoint(name)
        if endpoint is None:
            await self._refuse(receive, send, "", NO_SUCH_SOURCE)
            return
        method = scope["method"]
        if method != POST and method not in PROBES:
            await self._refuse(receive, send, name, WRONG_METHOD)
            return
        headers = _headers(scope["headers"])
        try:
            body = await self._body(headers, receive)
        except _BodyRefused as refused:
            await self._refuse(receive, send, name, refused.answer)
            return
        except _Gone:
            return
        answer = await receiver.receive(endpoint, self._request(scope, headers, body, tail))
        receiver.counts.answered(name, answer.status)
        if answer is not STORED or not self._stored.sent(getattr(send, "__self__", None)):
            await self._tell(send, answer)

    def at_once(self, cycle: Any) -> bool:
        """The same for a request that uvicorn has read whole, without a task: judged now, answered when it is durable.
        False, and nothing done, for what is not plain: the usual way answers it."""
        scope = cycle.scope
        name, _, tail = scope["path"][len(PREFIX) :].partition("/")
        receiver = self._doors
        endpoint = receiver.endpoint(name)
        size = len(cycle.body)
        if (
            endpoint is None
            or scope["method"] != POST
            or cycle.waiting_for_100_continue
            or size > SMALL_BODY
            or receiver.refusal(size) is not None
        ):
            return False
        headers = _headers(scope["headers"])
        if "content-encoding" in headers:
            return False
        request = self._request(scope, headers, bytes(cycle.body), tail)
        cycle.body = bytearray()
        cycle.flow.resume_reading()
        receiver.receive_nowait(endpoint, request, partial(self._answered, cycle, name))
        return True

    def _answered(self, cycle: Any, name: str, answer: WebhookResponse) -> None:
        self._doors.counts.answered(name, answer.status)
        if answer is STORED and self._stored.sent(cycle):
            return
        telling = asyncio.get_running_loop().create_task(self._tell(cycle.send, answer))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _tell(self, send: Send, answer: WebhookResponse) -> None:
        await send(self._head(answer))
        await send({"type": "http.response.body", "body": answer.body})

    def _request(self, scope: Scope, headers: dict[str, str], body: bytes, tail: str) -> Request:
        query = scope["query_string"]
        return Request(
            scope["method"],
            self._url(scope, headers, query),
            headers,
            body,
            self._doors.clock(),
            read_query(query) if query else (),
            tail,
        )

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """The whole body. Raises _Refused as soon as it is too large, too much, too slow or its length a lie."""
        length = headers.get("content-length", "0")
        refusal = self._doors.refusal(int(length) if length.isascii() and length.isdigit() else 0)
        if refusal is not None:
            raise _BodyRefused(refusal)
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        if not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > self._doors.max_body:
                raise _BodyRefused(TOO_LARGE)
            return body
        return await self._long_body(message, receive)

    async def _long_body(self, message: Message, receive: Receive) -> bytes:
        """A body that comes in pieces; what is held of it counts against the bytes in flight while it grows."""
        receiver = self._doors
        chunks: list[bytes] = []
        held = 0
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    chunk = message.get("body", b"")
                    size = len(chunk)
                    if held + size > receiver.max_body:
                        raise _BodyRefused(TOO_LARGE)
                    if receiver.bytes_held + size > receiver.max_bytes:
                        raise _BodyRefused(BUSY)
                    chunks.append(chunk)
                    held += size
                    receiver.bytes_held += size
                    if not message.get("more_body"):
                        return b"".join(chunks)
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _Gone
        except TimeoutError:
            raise _BodyRefused(TOO_SLOW) from None
        finally:
            receiver.bytes_held -= held

    async def _refuse(self, receive: Receive, send: Send, name: str, answer: WebhookResponse) -> None:
        """Answers before the body is read: the answer goes out, a bounded rest is dropped, the connection closes."""
        self._doors.counts.answered(name, answer.status)
        await send({**self._head(answer), "headers": [*self._head(answer)["headers"], _CLOSE]})
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        dropped = 0
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while dropped <= 2 * self._doors.max_body:
                    message = await receive()
                    if message["type"] != "http.request" or not message.get("more_body"):
                        break
                    dropped += len(message.get("body", b""))
        except TimeoutError:
            pass  # it had its answer
        await send({"type": "http.response.body", "body": b""})

    def _head(self, answer: WebhookResponse) -> Message:
        head = self._heads.get(answer)
        if head is None:
            length = (b"content-length", str(len(answer.body)).encode())
            typed = any(name == b"content-type" for name, _ in answer.headers)
            own = [(name, value) for name, value in answer.headers if name != b"content-length"]
            head = {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [*([] if typed else [_PLAIN]), length, *own],
            }
            if len(self._heads) < 50:
                self._heads[answer] = head
        return head

    def _url(self, scope: Scope, headers: dict[str, str], query: bytes) -> str:
        base = self._public_url or f"{scope['scheme']}://{headers.get('host', '')}"
        path = scope["raw_path"].decode("latin-1")
        return f"{base}{path}?{query.decode('latin-1')}" if query else base + path


def read_query(raw: bytes) -> list[tuple[str, str]]:
    """The pairs of a query string: UTF-8, else Windows-1252 as older senders write it, so that nothing is lost."""
    text = raw.decode("latin-1")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        return parse_qsl(text, keep_blank_values=True, encoding="cp1252", errors="replace")


@lru_cache(maxsize=200)
def _text(name: bytes) -> str:
    return name.decode("latin-1")


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names (the server lowers them); repeats joined by a comma, as HTTP says they may be."""
    headers = {_text(name): value.decode("latin-1") for name, value in raw}
    if len(headers) == len(raw):
        return headers
    headers = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
