"""A stand-in of Zoho Desk, emptied for each test, with one contact."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncd.twins.zoho_desk.twin import ZohoDeskTwin


@pytest.fixture(scope="module")
def server() -> Iterator[ZohoDeskTwin]:
    with ZohoDeskTwin() as twin:
        yield twin


@pytest.fixture
def twin(server: ZohoDeskTwin) -> ZohoDeskTwin:
    server.reset()
    return server


@pytest.fixture
def contact(twin: ZohoDeskTwin) -> str:
    account = twin.add("accounts", accountName="Acme")
    return twin.add(
        "contacts", firstName="Jane", lastName="Doe", email="Jane@X.example", phone="0912 345 678", accountId=account
    )
