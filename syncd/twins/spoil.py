"""What a fault does to an answer: another one in its place, half of it, or none and a broken connection.

Used by server.py once the plan has decided; knows no vendor but through the twin it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from syncd.twins.wire import PlannedFault, Receive, Send, TwinCall, TwinResponse, reset, send_answer, send_cut


class Spoilable(Protocol):
    """A twin as a fault sees it: the vendor's own error answers, and a pause that ends with the server."""

    @property
    def named(self) -> Mapping[str, Callable[[Any, TwinCall], TwinResponse]]: ...

    def refused(self) -> TwinResponse: ...

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse: ...

    async def pause(self, seconds: float, receive: Receive | None = None) -> None: ...


FOREVER = 3600.0  # seconds; a hang without `seconds:` outlives every client
_PAGE = b"<!DOCTYPE html><html><body><h1>Service Unavailable</h1><p>We are down for maintenance.</p></body></html>"


def kind(fault: PlannedFault) -> str:
    """What happens on the wire; a late write is described by its own `answer:`."""
    return str(fault.params.get("answer", "reset")) if fault.do == "late" else fault.do


def answer(twin: Spoilable, call: TwinCall, fault: PlannedFault) -> TwinResponse:
    """The answer in the place of the true one. Status 0 (only for the log): nothing will be sent."""
    what = kind(fault)
    if what in twin.named:
        made = twin.named[what](twin, call)
    elif what == "refuse_tokens":
        made = twin.refused()
    elif what == "html":
        made = TwinResponse(fault.params.get("status", 503), _PAGE, content_type="text/html; charset=utf-8")
    elif what == "error":
        made = twin.error(
            fault.params.get("status", 500),
            fault.params.get("code", "UNKNOWN_EXCEPTION"),
            fault.params.get("message", "An unexpected error occurred."),
            fault.params.get("fields", ()),
            call.operation,
        )
    else:
        made = TwinResponse(0)
    if "retry_after" in fault.params:
        made.headers["Retry-After"] = str(fault.params["retry_after"])
    return made


async def reply(twin: Spoilable, receive: Receive, send: Send, made: TwinResponse, fault: PlannedFault | None) -> None:
    """Sends the answer, or does to the connection what the fault wants."""
    what = "" if fault is None else kind(fault)
    if what == "hang":
        seconds = fault.params.get("seconds", FOREVER) if fault is not None and fault.do == "hang" else FOREVER
        await twin.pause(seconds, receive)
        await reset(send)
    elif what == "reset":
        await reset(send)
    elif what == "cut":
        await send_cut(send, made)
    elif what == "truncate":
        payload = made.payload()
        made.body = payload[: len(payload) // 2]
        await send_answer(send, made)
    else:
        await send_answer(send, made)
