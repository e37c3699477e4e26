"""`/_twin/...`: looking into a twin and steering it over HTTP, so that one in another process can be driven by a test.

GET records/{object}, calls, stats · POST records/{object}, faults, delete/{id}, convert/{id}, release, expire, reset
· DELETE faults
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from typing import Any, Protocol

from syncd.twins.faults import FaultPlan
from syncd.twins.wire import TwinCall, TwinResponse


class Steered(Protocol):
    """What can be looked into and steered: every twin."""

    plan: FaultPlan
    calls: deque[dict[str, Any]]

    @property
    def lock(self) -> AbstractContextManager[Any]: ...

    def records(self, object_: str) -> list[dict[str, Any]]: ...

    def stats(self) -> dict[str, Any]: ...

    def add(self, object_: str, /, **fields: Any) -> str: ...

    def delete(self, id_: str) -> bool: ...

    def convert(self, id_: str) -> dict[str, Any]: ...

    def release(self) -> int: ...

    def expire_tokens(self) -> None: ...

    def reset(self) -> None: ...


def answer(twin: Steered, call: TwinCall) -> TwinResponse:
    """Carries out one such request. A mistake of the caller is a 400 with the reason; an unknown path a 404."""
    what = call.segments[1] if len(call.segments) > 1 else ""
    argument = call.segments[2] if len(call.segments) > 2 else ""
    try:
        if call.method == "GET":
            return _look(twin, what, argument)
        if call.method == "POST":
            return _steer(twin, call, what, argument)
        if call.method == "DELETE" and what == "faults":
            twin.plan.clear()
            return TwinResponse(200, {"faults": 0})
    except (ValueError, TypeError, KeyError) as error:
        return TwinResponse(400, {"error": str(error)})
    return _unknown(call)


def _look(twin: Steered, what: str, argument: str) -> TwinResponse:
    if what == "records" and argument:
        return TwinResponse(200, {"records": twin.records(argument)})
    if what == "calls":
        return TwinResponse(200, {"calls": list(twin.calls)})
    if what in ("stats", ""):
        return TwinResponse(200, twin.stats())
    return TwinResponse(404, {"error": f"nothing at GET /_twin/{what}"})


def _steer(twin: Steered, call: TwinCall, what: str, argument: str) -> TwinResponse:
    if what == "records" and argument:
        entries = call.json()
        rows = entries if isinstance(entries, list) else [entries]
        return TwinResponse(201, {"ids": [twin.add(argument, **row) for row in rows]})
    if what == "faults":
        body = call.json()
        twin.plan.add(
            body["faults"]
            if isinstance(body, dict) and "faults" in body
            else body
            if isinstance(body, list)
            else [body]
        )
        return TwinResponse(200, {"faults": len(twin.plan.faults)})
    if what == "delete" and argument:
        return TwinResponse(200, {"deleted": twin.delete(argument)})
    if what == "convert" and argument:
        return TwinResponse(200, twin.convert(argument))
    if what == "release":
        return TwinResponse(200, {"committed": twin.release()})
    if what == "expire":
        with twin.lock:
            twin.expire_tokens()
        return TwinResponse(200, {"expired": True})
    if what == "reset":
        twin.reset()
        return TwinResponse(200, {"reset": True})
    return _unknown(call)


def _unknown(call: TwinCall) -> TwinResponse:
    return TwinResponse(404, {"error": f"nothing at {call.method} {call.path}"})
