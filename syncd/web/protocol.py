"""What one HTTP connection may cost: uvicorn's protocol with a limit on every part of a request that uvicorn leaves open.

`syncd.web.server` hands it to uvicorn. Promise: whatever a peer sends, a connection holds at most HEAD_BYTES of a head (and
one read), and a connection that makes no progress ends. Refusals: 431 and 414 for a head that is too large, 400 for one that is
not HTTP or has not exactly one valid Host (RFC 9112, 3.2), each with `connection: close`.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

HEAD_SECONDS = 20.0
"""How long a connection may take over a request's head, or stay open without one."""
HEAD_BYTES = 64 * 1024
"""Request line, headers and trailers of one request together."""
HEAD_FIELDS = 200
LINGER_SECONDS = 2.0  # how long a refused peer is read on, so that it sees the answer and no reset
LINGER_BYTES = 1024 * 1024
_HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")


class RequestRefusal(NamedTuple):
    """An answer given before there is a request that could be answered."""

    status: int
    text: bytes


HEAD_TOO_LARGE = RequestRefusal(431, b"the headers are too large: 64 KiB and 200 fields are accepted\n")
URL_TOO_LONG = RequestRefusal(414, b"the request line is too long\n")
NO_HTTP = RequestRefusal(400, b"this is not an HTTP request\n")
WRONG_HOST = RequestRefusal(400, b"an HTTP/1.1 request needs exactly one valid Host header\n")


class _Refused(Exception):
    """Stops the parser inside one of its callbacks; `Protocol._reason` says why."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with limits; it also lets the app answer `at_once` a request that arrives in one piece, which needs no
    task to wait for its body."""

    head_since: float | None
    """Since when a request's head has been awaited; None while a request is answered."""
    _whole: RequestResponseCycle | None = None  # started in the piece that is being read
    _reading = False
    _loose = 0  # bytes read since the parser last completed anything: what it may be holding
    _began_idle = False  # the piece that is being read began between two requests
    _head = 0
    _fields = 0
    _hosts = 0
    _host = b""
    _reason: RequestRefusal | None = None
    _refused = False
    _dropped = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.head_since = self.loop.time()
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._drop(len(data))
            return
        self._began_idle = self._idle()
        if self._began_idle and self.head_since is None:
            self.head_since = self.loop.time()
        self._loose += len(data)
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self._loose > HEAD_BYTES and not self._refused:
            self._refuse(URL_TOO_LONG if len(self.url) > HEAD_BYTES // 2 else HEAD_TOO_LARGE)
        cycle, self._whole = self._whole, None
        if cycle is not None and (cycle.more_body or not self.app.at_once(cycle)):
            super()._start_asgi_task(cycle, self.app)

    def _idle(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._reading and self._whole is None and app is self.app and hasattr(app, "at_once"):
            self._whole = cycle
        else:
            super()._start_asgi_task(cycle, app)

    # ---- callbacks of the parser

    def on_message_begin(self) -> None:
        if not self._began_idle:  # else the piece, which begins with this message, counts whole
            self._loose = 0
        self._began_idle = False
        self._head = self._fields = self._hosts = 0
        self.head_since = self.loop.time()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url), URL_TOO_LONG)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._count(len(name) + len(value) + 4, HEAD_TOO_LARGE)
        if self.head_since is None:
            return  # a trailer: it must not pass for a header (RFC 9110, 6.5.1), whatever its name
        name = name.lower()
        if name == b"host":
            self._hosts += 1
            self._host = value
        super().on_header(name, value)

    def _count(self, size: int, refusal: RequestRefusal) -> None:
        self._head += size
        if self._head > HEAD_BYTES or self._fields > HEAD_FIELDS:
            self._stop(refusal)

    def on_headers_complete(self) -> None:
        self._loose = 0
        # A piece may hold the end of a head that is refused: no request is made of it.
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            self._stop(WRONG_HOST)
        if self._hosts and not _HOST.fullmatch(self._host.strip()):
            self._stop(WRONG_HOST)
        self.head_since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._loose = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._loose = 0
        super().on_message_complete()
        self.cycle.more_body = False

    def on_response_complete(self) -> None:
        if self.cycle.response_complete and self.cycle.more_body:
            self.head_since = self.loop.time()  # answered before its end: what is left of it must end, too
        super().on_response_complete()

    # ---- refusing

    def _stop(self, reason: RequestRefusal) -> None:
        self._reason = reason
        raise _Refused

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls it for whatever stopped the parser."""
        self._refuse(self._reason or NO_HTTP)

    def _refuse(self, refusal: RequestRefusal) -> None:
        """Ends the connection; a request before this one still gets its answer, and then no other."""
        self._refused = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if self._whole is cycle:
                self._whole = None
            if cycle.response_started:
                self.transport.close()
                return
        lines = [
            STATUS_LINE[refusal.status],
            *(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers),
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(refusal.text),
            b"connection: close\r\n\r\n",
            refusal.text,
        ]
        self.transport.write(b"".join(lines))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self.transport.close()
