"""Twins in threads and plain HTTP sessions against them; one server a module, emptied between tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from syncd.twins.bitrix24.twin import Bitrix24Twin
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.server import Twin
from syncd.twins.zoho.twin import ZohoTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin

DATA = "/services/data/v62.0"


class Client:
    """A bare session that signs in when asked: deliberately not one of syncd's clients."""

    def __init__(self, twin: Twin, base: str = "") -> None:
        self.twin, self.base = twin, base
        self.session = requests.Session()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", 10)
        url = (
            path
            if path.startswith("http")
            else self.twin.url + (path if path.startswith("/") else f"{self.base}/{path}")
        )
        return self.session.request(method, url, **options)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.call("GET", path, params=params)

    def post(self, path: str, body: Any) -> requests.Response:
        return self.call("POST", path, json=body)

    def patch(self, path: str, body: Any) -> requests.Response:
        return self.call("PATCH", path, json=body)

    def login(self) -> requests.Response:
        if isinstance(self.twin, SalesforceTwin):
            path, scheme, grant = "/services/oauth2/token", "Bearer", {"grant_type": "client_credentials"}
        else:
            path, scheme, grant = (
                "/oauth/v2/token",
                "Zoho-oauthtoken",
                {"grant_type": "refresh_token", "refresh_token": "r"},
            )
        answer = self.call("POST", path, data={"client_id": "id", "client_secret": "secret", **grant})
        if answer.ok and "access_token" in answer.text:
            self.session.headers["Authorization"] = f"{scheme} {answer.json()['access_token']}"
        return answer

    # Salesforce.

    def upsert(self, object_: str, key: str, *records: dict[str, Any], all_or_none: bool = False) -> requests.Response:
        rows = [{"attributes": {"type": object_}, **r} for r in records]
        return self.patch(f"composite/sobjects/{object_}/{key}", {"allOrNone": all_or_none, "records": rows})

    def soql(self, statement: str) -> requests.Response:
        return self.get("query", q=statement)

    # Zoho.

    def coql(self, statement: str) -> requests.Response:
        return self.post("coql", {"select_query": statement})

    def insert(self, module: str, *records: dict[str, Any]) -> requests.Response:
        return self.post(module, {"data": list(records)})


@pytest.fixture(scope="module")
def salesforce_twin() -> Iterator[SalesforceTwin]:
    with SalesforceTwin() as twin:
        yield twin


@pytest.fixture
def salesforce(salesforce_twin: SalesforceTwin) -> Iterator[Client]:
    salesforce_twin.reset()
    client = Client(salesforce_twin, DATA)
    client.login()
    yield client
    client.session.close()


@pytest.fixture(scope="module")
def zoho_twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as twin:
        yield twin


@pytest.fixture
def zoho(zoho_twin: ZohoTwin) -> Iterator[Client]:
    zoho_twin.reset()
    client = Client(zoho_twin, "/crm/v8")
    client.login()
    yield client
    client.session.close()


@pytest.fixture(scope="module")
def desk_twin() -> Iterator[ZohoDeskTwin]:
    with ZohoDeskTwin() as twin:
        yield twin


@pytest.fixture
def desk(desk_twin: ZohoDeskTwin) -> Iterator[Client]:
    desk_twin.reset()
    client = Client(desk_twin, "/api/v1")
    client.login()
    yield client
    client.session.close()


@pytest.fixture(scope="module")
def bitrix24_twin() -> Iterator[Bitrix24Twin]:
    with Bitrix24Twin(burst=1_000) as twin:
        yield twin


@pytest.fixture
def bitrix24(bitrix24_twin: Bitrix24Twin) -> Iterator[Client]:
    """The webhook of user 1: there is nothing to sign in for."""
    bitrix24_twin.reset()
    client = Client(bitrix24_twin, "/rest/1/twin")
    yield client
    client.session.close()


@pytest.fixture
def connect() -> Iterator[Callable[[Twin, str], Client]]:
    """Starts a twin of one test's own and gives a signed-in client of it."""
    started: list[Client] = []

    def start(twin: Twin, base: str = DATA) -> Client:
        twin.start()
        client = Client(twin, base)
        if not isinstance(twin, Bitrix24Twin):
            client.login()
        started.append(client)
        return client

    yield start
    for client in started:
        client.session.close()
        client.twin.stop()
        client.twin.store.close()
