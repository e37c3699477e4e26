"""What the tests of Microsoft Graph's sources share: an address that answers Graph's handshake, and notifications."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from syncd.connector import Request
from syncd.connectors.accounts.graph_subscriptions import LIFETIME, STATE
from syncd.testing import TwinVendor
from syncd.twins.graph import GraphTwin

SECRET = "a-secret-of-the-registration-42"
MAILBOX = "sales@ourcompany.example"
APP = {"tenant": "ourcompany.example", "client_id": "app", "client_secret": "twin-secret-of-the-app"}


class Validating(BaseHTTPRequestHandler):
    """syncd's handshake, without syncd: what the twin asks of an address."""

    def do_POST(self) -> None:
        token = parse_qs(urlsplit(self.path).query)["validationToken"][0].encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(token)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def validating() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Validating) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/webhooks/graph"
        server.shutdown()


class NotifyingVendor(TwinVendor):
    """A Graph twin whose notifications say that something changed."""

    breaking: ClassVar[dict[str, Any]] = {"on": "delta", "do": "cut"}
    covers_body = False
    lifetime = LIFETIME
    resource: ClassVar[str] = f"Users/{MAILBOX}/Messages/AAkALg1="

    def __init__(self, twin: GraphTwin, memory: dict[str, str]) -> None:
        super().__init__(twin)
        self.memory = memory

    @property
    def secrets(self) -> tuple[str, ...]:
        kept = self.memory.get(STATE)
        return (*([kept] if kept else []), "twin-secret-of-the-app")

    def request(self, number: int) -> Request:
        return self.sign(json.dumps({"value": [self.notification()]}).encode())

    def sign(self, body: bytes) -> Request:
        return Request("POST", "https://syncd.example.com/webhooks/mail", {}, body, self.first_moment, tail=self.secret)

    def several(self, numbers: Any, wrong: Any = ()) -> Request:
        items = [self.notification() for _ in numbers]
        return self.sign(json.dumps({"value": [*items[:1], *wrong, *items[1:]]}).encode())

    def notification(self, **more: Any) -> dict[str, Any]:
        return {
            "subscriptionId": "s-1",
            "clientState": self.secret,
            "changeType": "created",
            "resource": self.resource,
            **more,
        }

    @property
    def secret(self) -> str:
        return self.memory.get(STATE, SECRET)
