"""The server under test of `bench.ingest`: the daemon's own receiver and web server, the generic webhook source with HMAC,
and a store; beside them a no-op route that reads the body.

`python -m bench.ingest_server DATABASE_URL [--one-by-one]` prints its port and runs until stdin closes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from syncd.connector import Context
from syncd.connectors.generic.webhook import CONNECTOR
from syncd.http.oauth import MemoryTokens
from syncd.intake.admit import DeliveryTarget, Policy
from syncd.intake.async_journal import WebhookJournal
from syncd.intake.webhooks import Endpoint, WebhookReceiver
from syncd.store import Store
from syncd.store.journal.encoding import Prepared
from syncd.store.journal.entries import JournalEntry, OnDone, OnDoneMany
from syncd.store.journal.group_commit import commit_group
from syncd.web.app import App, Readiness, make_app
from syncd.web.metrics import Gauges, registry_of
from syncd.web.server import Server

POLICY = Policy(switches={"custom": {"*": True}}, outlets=(DeliveryTarget("crm"),))
SETTINGS = {
    "verify": {"scheme": "hmac", "secret": "bench"},
    "account": "shop",
    "format": "json",
    "signal": {
        "type": "custom.order",
        "id": "{{ body.id }}",
        "occurred_at": "{{ body.at }}",
        "title": "{{ body.what }}",
        "person": {"email": "{{ body.mail }}", "name": "{{ body.name }}"},
    },
}
_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"3")],
}
_BODY = {"type": "http.response.body", "body": b"ok\n"}


async def noop(request: Request) -> Response:
    """The no-op route: one more route of the daemon's own app, that reads the body."""
    await request.body()
    return PlainTextResponse("ok\n")


class WithRawNoOp:
    """The app, and POST /raw beside it: a no-op without any framework, the hardest one to be held against."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/raw":
            while (await receive()).get("more_body"):
                pass
            await send(_HEAD)
            await send(_BODY)
        else:
            await self._app(scope, receive, send)

    def at_once(self, cycle: Any) -> bool:
        return self._app.at_once(cycle)


class OneByOne:
    """The same journal with a transaction of its own for every request."""

    enough = 256

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1)

    @property
    def depth(self) -> int:
        return self._store.journal.depth

    def prepare(self, entry: JournalEntry) -> Prepared:
        return self._store.journal.prepare(entry)

    def submit_all(self, waiting: Sequence[tuple[Prepared, OnDone]], tell: OnDoneMany) -> None:
        for prepared, done in waiting:
            self._thread.submit(self._commit, prepared, done, tell)

    def _commit(self, prepared: Prepared, done: OnDone, tell: OnDoneMany) -> None:
        tell([(done, commit_group(self._store, [prepared]).outcomes[0])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--one-by-one", action="store_true")
    asked = parser.parse_args()
    store = Store.open(asked.database)
    journal: WebhookJournal = OneByOne(store) if asked.one_by_one else store.journal
    receiver = WebhookReceiver(journal, POLICY)
    source = CONNECTOR.build(CONNECTOR.settings(**SETTINGS), Context(name="shop", tokens=MemoryTokens()))
    receiver.open(POLICY, {"shop": Endpoint.of("shop", source)})
    gauges = Gauges(receiver.counts, lambda: journal.depth, lambda: receiver.waiting)
    app = make_app(receiver, registry_of(gauges), Readiness, routes=[Route("/noop", noop, methods=["POST"])])
    server = Server(WithRawNoOp(app), "127.0.0.1", 0)
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()
    server.stop()
    store.close()


if __name__ == "__main__":
    main()
