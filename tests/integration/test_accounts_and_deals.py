"""Companies and deals as references, on both stand-in CRMs: which deal is meant, and links that carry the CRM's own object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Context, DealPick, Destination, Link, Lookup, MatchField, PersonQuery
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


@pytest.fixture(params=["salesforce", "zoho"])
def crm(request: pytest.FixtureRequest) -> Iterator[Crm]:
    with SalesforceTwin() as first, ZohoTwin() as second:
        made = salesforce(first) if request.param == "salesforce" else zoho(second)
        yield made
        made.destination.close()


@dataclass
class Daemon:
    """A lane of a mapping before a CRM, on one of the stores."""

    lane: Lane
    store: Store

    def arrive(self, *signals: Signal) -> None:
        crm = (InitialDelivery("crm", live=True),)
        self.store.journal.commit(JournalEntry("rig", [NewSignal(one, crm) for one in signals]))

    def writes(self) -> list[tuple[str, str, str]]:
        with self.store.read() as connection:
            rows = connection.exec_driver_sql("SELECT rule, state, reason FROM writes ORDER BY rule, signal_id")
            return [(str(row[0]), str(row[1]), str(row[2])) for row in rows]


def daemon(crm: Crm, store_url: str, mapping: str) -> Daemon:
    store = Store.open(store_url, clock=lambda: NOW)
    here = DestinationSettings(name="crm", type="x")
    settings = Settings(channels={"email": {"received": True}}, destinations={"crm": here})
    loaded = load_mapping(crm.mapping(mapping), name="rig.yaml")
    lane = Lane("crm", crm.destination, loaded, store, settings, random=lambda: 0.0, clock=lambda: NOW)
    return Daemon(lane, store)


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


def opportunity(crm: Crm, name: str, created: int, amount: int, *, changed: int = 1, **more: Any) -> str:
    times = {"CreatedDate": f"2026-01-{created:02}T08:00:00", "LastModifiedDate": f"2026-02-{changed:02}T08:00:00"}
    zone = "+00:00" if crm.zoho else ".000+0000"
    fields = {"StageName": "Negotiation", "CloseDate": "2027-01-01", "Amount": amount, **more}
    return crm.add("Opportunity", OpportunityName=name, **{key: at + zone for key, at in times.items()}, **fields)


@pytest.mark.parametrize(("pick", "which"), list(zip(DealPick, (2, 0, 1, 1), strict=True)))
def test_the_deal_that_is_picked(crm: Crm, pick: DealPick, which: int) -> None:
    company = crm.add("Account", Name="Customer")
    crm.add("Contact", LastName="A", Email="a@example.com", AccountId=company)
    deals = [
        opportunity(crm, "first", 1, 10, AccountId=company),
        opportunity(crm, "second", 2, 30, changed=9, AccountId=company),
        opportunity(crm, "third", 3, 20, AccountId=company),
        opportunity(crm, "closed", 4, 90, changed=10, AccountId=company, StageName="Closed Won", **_closed(crm)),
    ]
    found = crm.destination.resolve([_query("a@example.com", crm)], deals=pick)[0]
    assert found is not None
    assert found.deal == Link(crm.names.get("Opportunity", "Opportunity"), deals[which])
    assert found.account == Link(crm.names.get("Account", "Account"), company)


def _closed(crm: Crm) -> dict[str, Any]:
    return {} if crm.zoho else {"IsClosed": True}


def _query(email: str, crm: Crm) -> PersonQuery:
    contact = crm.names.get("Contact", "Contact")
    return PersonQuery(f"email:{email}", (Lookup(contact, (MatchField("Email", email),)),), email)


LINKS = """
people:
  match: [{object: <Contact>, by: {Email: "{{ person.email }}"}}]
deals: {pick: oldest}
rules:
  - {id: company, name: n, signals: ["*"], upsert: <Task>, key: <Syncd_Key__c>, link: {<WhoId>: person, <WhatId>: account},
     fields: {Subject: "about the company"}}
  - {id: deal, name: n, signals: ["*"], upsert: <Task>, key: <Syncd_Key__c>, link: {<WhatId>: deal},
     fields: {Subject: "about the deal"}}
"""


def test_tasks_are_linked_to_the_company_and_the_deal_under_their_own_objects(crm: Crm, store_url: str) -> None:
    """Also when the person comes out of the cache: Zoho wants `$se_module`, the module of the company or deal."""
    company = crm.add("Account", Name="Customer")
    crm.add("Contact", LastName="A", Email="a@example.com", AccountId=company)
    crm.add("Contact", LastName="B", Email="b@example.com")
    deal = opportunity(crm, "first", 1, 10, AccountId=company)
    opportunity(crm, "second", 2, 30, AccountId=company)
    rig = daemon(crm, store_url, LINKS)
    for number in (1, 2):
        rig.arrive(mail(number, "a@example.com"))
        rig.lane.step()
    rig.arrive(mail(3, "b@example.com"))
    rig.lane.step()
    tasks = crm.records("Task")
    what = crm.names.get("WhatId", "WhatId")
    linked = sorted((task["Subject"], _id(task.get(what))) for task in tasks)
    assert linked == [("about the company", "")] + [("about the company", company)] * 2 + [("about the deal", deal)] * 2
    if crm.zoho:
        assert {task["$se_module"] for task in tasks if task.get(what)} == {"Accounts", "Deals"}
    assert ("deal", "skipped", "no deal") in rig.writes()
    rig.store.close()


def _id(value: Any) -> str:
    return str(value["id"]) if isinstance(value, dict) else str(value or "")


CHAIN = """
people:
  match: [{object: <Contact>, by: {Email: "{{ person.email }}"}}]
rules:
  - {id: note, name: n, signals: ["*"], upsert: <Task>, key: <Syncd_Key__c>, link: {<WhatId>: deal-of-it},
     fields: {Subject: "about the new deal"}}
  - {id: deal-of-it, name: n, signals: ["*"], upsert: <Opportunity>, key: <Syncd_Key__c>,
     fields: {<OpportunityName>: "{{ signal.title }}", <StageName>: Negotiation, <CloseDate>: "{{ signal.occurred_at | date }}"}}
"""


def test_a_record_links_to_the_record_of_another_rule(crm: Crm, store_url: str) -> None:
    rig = daemon(crm, store_url, CHAIN)
    rig.arrive(mail(1, "a@example.com"))
    rig.lane.step()
    (deal,) = crm.records("Opportunity")
    (task,) = crm.records("Task")
    assert _id(task[crm.names.get("WhatId", "WhatId")]) == str(deal.get("Id") or deal["id"])
    rig.store.close()
