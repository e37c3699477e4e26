"""A running daemon goes on by itself, and soon, once somebody has signed in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from syncd.config.loading import load_settings
from syncd.service.daemon import Daemon
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin
from tests.browser import free_port, signing_in
from tests.chaos.processes import until

EVENT = {"specversion": "1.0", "id": "1", "source": "shop", "type": "order", "time": "2026-11-22T06:00:00Z"}


@pytest.fixture
def twins() -> Iterator[tuple[SalesforceTwin, ZohoDeskTwin]]:
    with SalesforceTwin(rotate_refresh=True) as crm, ZohoDeskTwin() as desk:
        yield crm, desk


@pytest.fixture
def folder(tmp_path: Path, twins: tuple[SalesforceTwin, ZohoDeskTwin]) -> Path:
    crm, desk = twins
    config = {
        "server": {"listen": "127.0.0.1:0"},
        "channels": {"custom": {"*": True}},
        "sources": {
            "forms": {"type": "webhook", "verify": {"scheme": "bearer", "secret": "s3cret"}, "format": "cloudevents"},
            "desk": {
                "type": "zoho_desk",
                "poll": "1h",
                "org_id": desk.org_id,
                "base_url": desk.url,
                "accounts_url": desk.url,
                "auth": {"client_id": "app", "client_secret": "hush"},
            },
        },
        "destinations": {
            "crm": {
                "type": "salesforce",
                "login_url": crm.url,
                "auth": {"flow": "refresh_token", "client_id": "app"},
                "mapping": "mappings/salesforce.yaml",
            }
        },
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config), "utf-8")
    return tmp_path


def sign_in(folder: Path, name: str) -> None:
    with signing_in(folder, name, "--port", str(free_port())) as auth:
        browser = auth.browser()
        browser.follow(browser.decide())
        assert auth.end()[0] == 0


def test_what_was_held_goes_on(folder: Path, twins: tuple[SalesforceTwin, ZohoDeskTwin]) -> None:
    crm, _ = twins
    daemon = Daemon(load_settings(folder / "config.yaml"))
    daemon.start()
    try:
        answer = requests.post(
            f"{daemon.url}/webhooks/forms",
            json={**EVENT, "data": {"person": {"email": "an@example.org", "name": "An"}}},
            headers={"authorization": "Bearer s3cret", "content-type": "application/cloudevents+json"},
            timeout=20,
        )
        assert answer.status_code == 200

        def degraded() -> str:
            return " ".join(daemon.ready().degraded)

        until(lambda: "run: syncd auth crm" in degraded() and "run: syncd auth desk" in degraded(), "held", 30)
        sign_in(folder, "crm")
        until(lambda: len(crm.records("Task")) == 1, "the record", 15)
        sign_in(folder, "desk")
        until(lambda: degraded() == "", "all well", 15)
    finally:
        daemon.stop()
