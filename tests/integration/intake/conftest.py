"""Doors behind a real server on a free port, with the hostile webhook source and a journal that can be told to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from syncd.intake.admit import DeliveryTarget, Policy
from syncd.intake.webhooks import Endpoint, WebhookReceiver
from syncd.testing.hostile import SECRET, HostileJournal, HostileWebhook
from syncd.web.app import Readiness, make_app
from syncd.web.metrics import Gauges, registry_of
from syncd.web.server import Server

POLICY = Policy(switches={"custom": {"*": True}}, outlets=(DeliveryTarget("crm"),))


@dataclass
class House:
    """A running server and what stands behind it."""

    server: Server
    receiver: WebhookReceiver
    journal: HostileJournal
    source: HostileWebhook

    def post(self, body: bytes, *, name: str = "shop", secret: str = SECRET, **kwargs: Any) -> requests.Response:
        headers = {"x-secret": secret, **kwargs.pop("headers", {})}
        return requests.post(f"{self.server.url}/webhooks/{name}", data=body, headers=headers, timeout=30, **kwargs)


MakeHouse = Callable[..., House]


@pytest.fixture
def make_house() -> Iterator[MakeHouse]:
    servers: list[Server] = []

    def make(*, source: HostileWebhook | None = None, ready: Readiness = Readiness(), **receiver: Any) -> House:  # noqa: B008
        journal, webhook = HostileJournal(), source or HostileWebhook()
        opened = WebhookReceiver(journal, POLICY, **receiver)
        opened.open(POLICY, {"shop": Endpoint.of("shop", webhook)})
        gauges = Gauges(opened.counts, lambda: journal.depth, lambda: opened.waiting)
        server = Server(make_app(opened, registry_of(gauges), lambda: ready), "127.0.0.1", 0)
        server.start()
        servers.append(server)
        return House(server, opened, journal, webhook)

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    return make_house()
