"""What tests of companies on both stand-in CRMs share: a twin with its destination, and a lane before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Context, Destination
from syncd.connectors.crm.salesforce import Salesforce, SalesforceSettings
from syncd.connectors.crm.zoho import Zoho, ZohoSettings
from syncd.dispatch.lane import Lane
from syncd.http.oauth import MemoryTokens
from syncd.mapping.loading import load_mapping
from syncd.signals import Signal, derive_id, make_person
from syncd.store import Store
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.twin import ZohoTwin

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass
class Crm:
    """A twin with its destination, and what its objects and fields are called."""

    twin: Any
    destination: Destination
    names: dict[str, str]

    @property
    def zoho(self) -> bool:
        return "Account" in self.names

    def add(self, object_: str, **fields: Any) -> str:
        """Names of objects and fields are Salesforce's."""
        made = {self.names.get(name, name): value for name, value in fields.items()}
        id_: str = self.twin.add(self.names.get(object_, object_), **made)
        return id_

    def records(self, object_: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.twin.records(self.names.get(object_, object_))
        return found

    def mapping(self, text: str) -> str:
        """A mapping written for Salesforce, as the other CRM has it."""
        for name, own in self.names.items():
            text = text.replace(f"<{name}>", own)
        return text.replace("<", "").replace(">", "")


def salesforce(twin: SalesforceTwin) -> Crm:
    auth = {"flow": "client_credentials", "client_id": "a", "client_secret": "b"}
    settings = SalesforceSettings.model_validate({"login_url": twin.url, "auth": auth})
    return Crm(twin, Salesforce(settings, Context(name="crm", tokens=MemoryTokens())), {"OpportunityName": "Name"})


ZOHO = {
    "Account": "Accounts",
    "Contact": "Contacts",
    "Lead": "Leads",
    "Opportunity": "Deals",
    "Task": "Tasks",
    "Syncd_Key__c": "Syncd_Key",
    "Name": "Account_Name",
    "OpportunityName": "Deal_Name",
    "StageName": "Stage",
    "CloseDate": "Closing_Date",
    "CreatedDate": "Created_Time",
    "LastModifiedDate": "Modified_Time",
    "AccountId": "Account_Name",
    "ContactId": "Contact_Name",
    "LastName": "Last_Name",
    "WhoId": "Who_Id",
    "WhatId": "What_Id",
    "NextStep": "Next_Step",
    "ParentId": "Parent_Account",
    "BillingCity": "Billing_City",
    "NumberOfEmployees": "Employees",
}


def zoho(twin: ZohoTwin) -> Crm:
    auth = {"client_id": "a", "client_secret": "b", "refresh_token": "c"}
    settings = ZohoSettings.model_validate({"accounts_url": twin.url, "base_url": twin.url, "auth": auth})
    return Crm(twin, Zoho(settings, Context(name="crm", tokens=MemoryTokens())), ZOHO)


def both(kind: str) -> Iterator[Crm]:
    """The stand-in of this kind ("salesforce" or "zoho"), for a fixture."""
    with SalesforceTwin() as first, ZohoTwin() as second:
        made = salesforce(first) if kind == "salesforce" else zoho(second)
        yield made
        made.destination.close()


def id_of(value: Any) -> str:
    """The id in a link field, or of a record."""
    if isinstance(value, dict):
        return str(value.get("id") or value["Id"])
    return str(value or "")


@dataclass
class Daemon:
    """A lane of a mapping before a CRM, on one of the stores."""

    lane: Lane
    store: Store
    clock: list[datetime]

    @property
    def now(self) -> datetime:
        return self.clock[0]

    @now.setter
    def now(self, moment: datetime) -> None:
        self.clock[0] = moment

    def arrive(self, *signals: Signal) -> None:
        crm = (InitialDelivery("crm", live=True),)
        self.store.journal.commit(JournalEntry("rig", [NewSignal(one, crm) for one in signals]))

    def writes(self) -> list[tuple[str, str, str]]:
        with self.store.read() as connection:
            rows = connection.exec_driver_sql("SELECT rule, state, reason FROM writes ORDER BY rule, signal_id")
            return [(str(row[0]), str(row[1]), str(row[2])) for row in rows]


def daemon(crm: Crm, store_url: str, mapping: str) -> Daemon:
    clock = [NOW]
    store = Store.open(store_url, clock=lambda: clock[0])
    here = DestinationSettings(name="crm", type="x")
    settings = Settings(channels={"email": {"received": True}}, destinations={"crm": here})
    loaded = load_mapping(crm.mapping(mapping), name="rig.yaml")
    lane = Lane("crm", crm.destination, loaded, store, settings, random=lambda: 0.0, clock=lambda: clock[0])
    return Daemon(lane, store, clock)


def mail(number: int, email: str, **more: Any) -> Signal:
    return Signal(
        id=derive_id("rig", "", "email.received", str(number)),
        type="email.received",
        source="rig",
        occurred_at=NOW,
        received_at=NOW,
        title=f"mail {number}",
        person=make_person(email=email, **more),
    )


def changed(number: int, company: str, **data: str) -> Signal:
    return Signal(
        id=derive_id("rig", "", "account.changed", str(number)),
        type="account.changed",
        source="rig",
        occurred_at=NOW,
        received_at=NOW,
        title=f"company {number}",
        person=make_person(company=company, email="info@gmail.com"),
        data=data,
        thread=f"file:account:{company}",
    )
