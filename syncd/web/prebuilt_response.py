"""One answer in one write: what the hot route uses instead of two ASGI messages, each of which is a system call in uvicorn.

Promise: what goes over the wire is what uvicorn would have sent, and the connection is in the state it would have left. Whenever
something about the exchange is not plain (the connection closes, the client is slow or gone) nothing is sent: the two messages
do it.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class Whole:
    """A fixed answer, rendered once a second: uvicorn's default headers carry the date."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._status = status
        self._headers = headers
        self._body = body
        self._rendered = b""
        self._rendered_with: list[tuple[bytes, bytes]] | None = None

    def sent(self, cycle: Any) -> bool:
        """Sends it if `cycle` is uvicorn's own and nothing stands in the way; whether it did."""
        if type(cycle) is not RequestResponseCycle:
            return False
        if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or not cycle.keep_alive:
            return False
        if cycle.default_headers is not self._rendered_with:
            self._render(cycle.default_headers)
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.transport.write(self._rendered)
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _render(self, default_headers: list[tuple[bytes, bytes]]) -> None:
        lines = [name + b": " + value + b"\r\n" for name, value in (*default_headers, *self._headers)]
        self._rendered = STATUS_LINE[self._status] + b"".join(lines) + b"\r\n" + self._body
        self._rendered_with = default_headers
