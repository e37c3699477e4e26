"""The ASGI application: the hot webhook route in front of a Starlette app with health and metrics.

The daemon builds it with `make_app` and gives it to `syncd.web.server.Server`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from syncd.intake.webhooks import WebhookReceiver
from syncd.observability import traces
from syncd.observability.logs import REQUEST
from syncd.web.metrics import MEDIA_TYPE, page
from syncd.web.shared import Shared
from syncd.web.webhooks import PREFIX, Receive, Scope, Send, WebhookRoute


@dataclass(frozen=True)
class Readiness:
    """Whether the store commits now (`fault`: why not, "" when it does) and what else is not well, one line each."""

    fault: str = ""
    degraded: Sequence[str] = ()


def make_app(
    receiver: WebhookReceiver,
    registry: CollectorRegistry,
    ready: Callable[[], Readiness],
    *,
    public_url: str = "",
    routes: Sequence[Route] = (),
) -> App:
    """`ready` may block (it asks the database): it runs in a thread. `routes` are further pages."""
    return App(receiver, WebhookRoute(receiver, public_url=public_url), _pages(registry, ready, routes))


class App:
    """Sends /webhooks/… to the hot route, all else to the pages."""

    def __init__(self, receiver: WebhookReceiver, webhooks: WebhookRoute, pages: Starlette) -> None:
        self._doors = receiver
        self._webhooks = webhooks
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            REQUEST.set(scope)  # of this request's own task: a line in the log may name it
            if traces.active is None:
                await self._webhooks(scope, receive, send)
                return
            name = scope["path"][len(PREFIX) :].partition("/")[0]
            known = name if self._doors.endpoint(name) is not None else ""  # a stranger's path may hold anything
            with traces.request(known, scope["headers"]):
                await self._webhooks(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    def at_once(self, cycle: Any) -> bool:
        """`syncd.web.server` asks it of each request that came whole; False: it goes the usual way."""
        path: str = cycle.scope["path"]
        if traces.active is not None or not path.startswith(PREFIX):
            return False
        mark = REQUEST.set(cycle.scope)
        try:
            return self._webhooks.at_once(cycle)
        finally:
            REQUEST.reset(mark)


def _pages(registry: CollectorRegistry, ready: Callable[[], Readiness], routes: Sequence[Route]) -> Starlette:
    readiness, figures = Shared(ready), Shared(lambda: page(registry))

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        state = await readiness()
        body = {"ready": not state.fault, "fault": state.fault, "degraded": list(state.degraded)}
        return JSONResponse(body, 503 if state.fault else 200, {"retry-after": "10"} if state.fault else None)

    async def metrics(request: Request) -> Response:
        return Response(await figures(), media_type=MEDIA_TYPE)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics), *routes])
