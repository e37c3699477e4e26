"""What address books tell reaches contacts and accounts of both stand-in CRMs through the shipped mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.connector import Context
from syncd.connectors.contacts import google_contacts, outlook_contacts
from syncd.http.oauth import MemoryTokens
from syncd.mapping.shipped import shipped_mappings
from syncd.signals import Signal
from syncd.twins.google import GoogleTwin
from syncd.twins.graph import GraphTwin
from tests.crm_twins import Crm, both, daemon
from tests.graph_rig import APP, MAILBOX

SINCE = datetime.now(UTC) - timedelta(days=1)
Read = Callable[[], list[Signal]]


@pytest.fixture(params=["salesforce", "zoho"])
def crm(request: pytest.FixtureRequest) -> Iterator[Crm]:
    yield from both(request.param)


@pytest.fixture
def outlook() -> Iterator[Read]:
    with GraphTwin() as twin:
        company = {"companyName": "Customer Ltd", "businessHomePage": "https://www.customer.example"}
        address = {"street": "1 Trang Tien", "city": "Hanoi", "postalCode": "100000"}
        for number, name in ((1, "Tran Thi An"), (2, "Le Van Binh")):
            twin.add(
                "contacts",
                id=f"AAk{number}=",
                displayName=name,
                jobTitle="Buyer",
                emailAddresses=[{"address": f"p{number}@customer.example"}],
                businessPhones=["+84 912 345 67" + str(number)],
                businessAddress=address,
                lastModifiedDateTime=datetime.now(UTC).isoformat(),
                **company,
            )
        keys = {"mailbox": MAILBOX, "auth": APP, "graph_url": twin.url, "login_url": twin.url}
        settings = outlook_contacts.OutlookContactsSettings.model_validate(keys)
        source = outlook_contacts.OutlookContacts(settings, Context(name="book", tokens=MemoryTokens()))
        yield lambda: _backfilled(source)


@pytest.fixture
def google() -> Iterator[Read]:
    with GoogleTwin() as twin:
        for number, name in ((1, "Tran Thi An"), (2, "Le Van Binh")):
            twin.add(
                "people",
                id=str(number),
                updated=datetime.now(UTC).isoformat(),
                names=[{"displayName": name}],
                emailAddresses=[{"value": f"p{number}@customer.example"}],
                phoneNumbers=[{"value": "0912", "canonicalForm": f"+8491234567{number}"}],
                organizations=[{"name": "Customer Ltd", "title": "Buyer"}],
                addresses=[{"streetAddress": "1 Trang Tien", "city": "Hanoi"}],
            )
        auth = {"client_id": "app", "client_secret": "s", "refresh_token": "r"}
        keys = {"account": MAILBOX, "auth": auth, "base_url": twin.url, "token_url": f"{twin.url}/token"}
        settings = google_contacts.GoogleContactsSettings.model_validate(keys)
        source = google_contacts.GoogleContacts(settings, Context(name="book", tokens=MemoryTokens()))
        yield lambda: _backfilled(source)


def _backfilled(source: Any) -> list[Signal]:
    return [one for batch in source.backfill(SINCE, datetime.now(UTC), None) for one in batch.signals]


@pytest.mark.parametrize("book", ["outlook", "google"])
def test_a_known_contact_is_filled_and_the_company_made_once(
    crm: Crm, sqlite_url: str, book: str, request: pytest.FixtureRequest
) -> None:
    signals = request.getfixturevalue(book)()
    crm.add("Contact", LastName="An", Email="p1@customer.example")
    kind = "zoho" if crm.zoho else "salesforce"
    rig = daemon(crm, sqlite_url, shipped_mappings()[kind].read_text("utf-8"))
    rig.now = datetime.now(UTC)
    rig.arrive(*signals)
    for _ in range(5):
        rig.lane.step()
    assert {state for _, state, _ in rig.writes()} <= {"written", "skipped"}
    (known,) = crm.records("Contact")
    assert (known["Title"], known["Phone"]) == ("Buyer", "+84912345671")
    (account,) = crm.records("Account")
    assert account[crm.names.get("Name", "Name")] == "Customer Ltd"
    assert account[crm.names.get("BillingCity", "BillingCity")] == "Hanoi"
    (lead,) = crm.records("Lead")
    assert lead["Email"] == "p2@customer.example"
