"""Companies and deals as references, on both stand-in CRMs: which deal is meant, and links that carry the CRM's own object."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from syncd.connector import DealPick, Link, Lookup, MatchField, PersonQuery
from tests.crm_twins import Crm, both, changed, daemon, mail


@pytest.fixture(params=["salesforce", "zoho"])
def crm(request: pytest.FixtureRequest) -> Iterator[Crm]:
    yield from both(request.param)


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


COMPANIES = """
people:
  match: [{object: <Contact>, by: {Email: "{{ person.email }}"}}]
  strangers: create
  create:
    object: <Contact>
    key: <Syncd_Key__c>
    fields: {<LastName>: "{{ person.email or person.phone }}", Email: "{{ person.email }}"}
    link: {<AccountId>: account}
accounts:
  match: [{object: <Account>, by: {Website: "{{ company.domain }}", <Name>: "{{ company.name }}"}}]
  unknown: {"account.changed": create, "*": UNKNOWN}
  create:
    object: <Account>
    key: <Syncd_Key__c>
    fields: {<Name>: "{{ company.name or company.domain }}", Website: "{{ company.domain }}", <BillingCity>: "{{ company.city }}"}
rules:
  - {id: log, name: n, signals: ["email.*"], upsert: <Task>, key: <Syncd_Key__c>, link: {<WhoId>: person, <WhatId>: account},
     fields: {Subject: "{{ signal.title }}"}}
  - {id: fill, name: n, signals: [account.changed], update: <Account>, fill: {<BillingCity>: "{{ company.city }}"}}
"""

BY_NUMBER = 'Email: "{{ person.email }}", Phone: "{{ person.phone }}"'


def test_thirty_people_of_one_firm_make_one_company(crm: Crm, store_url: str) -> None:
    rig = daemon(crm, store_url, COMPANIES.replace("UNKNOWN", "create"))
    rig.arrive(*(mail(n, f"p{n}@{'sales.' if n % 2 else ''}firm.example", company="Firm") for n in range(30)))
    rig.arrive(*(mail(100 + n, f"p{n}@gmail.com") for n in range(2)))
    for _ in range(3):
        rig.lane.step()
    (company,) = crm.records("Account")
    id_ = str(company.get("Id") or company["id"])
    assert company["Website"] == "firm.example"
    link, what = crm.names.get("AccountId", "AccountId"), crm.names.get("WhatId", "WhatId")
    contacts = crm.records("Contact")
    assert sorted(_id(one.get(link)) for one in contacts) == [""] * 2 + [id_] * 30
    assert sorted(_id(one.get(what)) for one in crm.records("Task")) == [""] * 2 + [id_] * 30
    assert {state for _, state, _ in rig.writes()} == {"written"}
    rig.store.close()


def test_a_caller_who_fills_in_a_form_gets_the_company_that_the_form_tells(crm: Crm, store_url: str) -> None:
    mapping = COMPANIES.replace("UNKNOWN", "create").replace('Email: "{{ person.email }}"', BY_NUMBER)
    rig = daemon(crm, store_url, mapping)
    rig.arrive(mail(1, "", phone="+84912345678"))  # the first of the two to be claimed
    rig.arrive(mail(3, "a@firm.example", phone="+84912345678"))
    rig.lane.step()
    (company,), (contact,) = crm.records("Account"), crm.records("Contact")
    assert _id(contact[crm.names.get("AccountId", "AccountId")]) == str(company.get("Id") or company["id"])
    rig.store.close()


@pytest.mark.parametrize("website", ["https://www.firm.example/about", "firm.example", "HTTP://FIRM.EXAMPLE/"])
def test_a_company_is_found_by_its_website_however_it_is_written(crm: Crm, store_url: str, website: str) -> None:
    crm.add("Account", Name="Firm", Website="https://notfirm.example")
    theirs = crm.add("Account", Name="Other name", Website=website)
    crm.add("Contact", LastName="L", Email="a@firm.example")
    rig = daemon(crm, store_url, COMPANIES.replace("UNKNOWN", "create"))
    rig.arrive(mail(1, "a@firm.example", company="Firm"))
    rig.lane.step()
    (task,) = crm.records("Task")
    assert _id(task[crm.names.get("WhatId", "WhatId")]) == theirs
    assert len(crm.records("Account")) == 2
    rig.store.close()


def test_a_name_finds_a_company_unless_its_website_is_anothers(crm: Crm, store_url: str) -> None:
    crm.add("Account", Name="Firm", Website="https://another.example")
    mine = crm.add("Account", Name="FIRM", Website="facebook.com/firm")
    rig = daemon(crm, store_url, COMPANIES.replace("UNKNOWN", "skip"))
    rig.arrive(mail(1, "a@firm.example", company="Firm"), mail(2, "b@unknown.example", company="Unknown"))
    rig.lane.step()
    linked = {task["Subject"]: _id(task.get(crm.names.get("WhatId", "WhatId"))) for task in crm.records("Task")}
    assert linked == {"mail 1": mine, "mail 2": ""}
    rig.store.close()


def test_the_record_of_a_lead_goes_without_the_company(crm: Crm, store_url: str) -> None:
    """Neither CRM takes a lead and a company in one activity."""
    crm.add("Account", Name="Firm", Website="firm.example")
    crm.add("Lead", LastName="L", Company="Firm", Email="a@firm.example")
    text = COMPANIES.replace("UNKNOWN", "skip").replace("match: [{object: <Contact>", "match: [{object: <Lead>", 1)
    rig = daemon(crm, store_url, text)
    rig.arrive(mail(1, "a@firm.example"))
    rig.lane.step()
    (task,) = crm.records("Task")
    assert rig.writes() == [("log", "written", "")]
    assert task[crm.names.get("WhatId", "WhoId") if crm.zoho else "WhoId"]
    rig.store.close()


def test_a_company_of_a_list_is_filled_or_made_and_brings_no_person(crm: Crm, store_url: str) -> None:
    known = crm.add("Account", Name="Known Ltd", Website="www.known.example")
    rig = daemon(crm, store_url, COMPANIES.replace("UNKNOWN", "skip"))
    rig.arrive(changed(1, "Known", website="https://known.example", city="Huế"), changed(2, "New", city="Vinh"))
    rig.lane.step()
    city = crm.names.get("BillingCity", "BillingCity")
    name = crm.names.get("Name", "Name")
    assert sorted((one[name], one[city]) for one in crm.records("Account")) == [("Known Ltd", "Huế"), ("New", "Vinh")]
    assert crm.records("Contact") == []
    assert known in {str(one.get("Id") or one["id"]) for one in crm.records("Account")}
    rig.store.close()


def test_a_company_is_made_once_when_the_answer_is_lost(crm: Crm, store_url: str) -> None:
    """The write reached the CRM, its answer did not: the company is found again by its key, and its people get it."""
    rig = daemon(crm, store_url, COMPANIES.replace("UNKNOWN", "create"))
    crm.twin.plan.add([{"on": "upsert" if crm.zoho else "upsert_collection", "nth": 1, "do": "reset", "when": "after"}])
    rig.arrive(*(mail(n, f"p{n}@firm.example", company="Firm") for n in range(3)))
    rig.lane.step()
    assert crm.twin.stats()["faults"][0]["fired"] == 1
    assert crm.records("Contact") == []  # nobody is made without their company
    rig.now += timedelta(hours=1)
    for _ in range(4):
        rig.lane.step()
        rig.now += timedelta(minutes=1)
    (company,) = crm.records("Account")
    link = crm.names.get("AccountId", "AccountId")
    assert [_id(one.get(link)) for one in crm.records("Contact")] == [str(company.get("Id") or company["id"])] * 3
    assert {state for _, state, _ in rig.writes()} == {"written"}
    rig.store.close()


def test_a_company_that_is_gone_is_looked_up_again(crm: Crm, store_url: str) -> None:
    gone = crm.add("Account", Name="Firm", Website="firm.example")
    crm.add("Contact", LastName="L", Email="a@firm.example")
    rig = daemon(crm, store_url, COMPANIES.replace("UNKNOWN", "create"))
    rig.arrive(mail(1, "a@firm.example", company="Firm"))
    rig.lane.step()
    crm.twin.delete(gone)
    rig.arrive(mail(2, "a@firm.example", company="Firm"))
    for _ in range(4):
        rig.lane.step()
        rig.now += timedelta(minutes=1)
    (company,) = (one for one in crm.records("Account"))
    what = crm.names.get("WhatId", "WhatId")
    tasks = {task["Subject"]: _id(task.get(what)) for task in crm.records("Task")}
    assert tasks["mail 2"] == str(company.get("Id") or company["id"]) != gone
    rig.store.close()


def test_a_caller_made_at_the_second_try_gets_the_company_that_a_form_told_meanwhile(crm: Crm, store_url: str) -> None:
    mapping = COMPANIES.replace("UNKNOWN", "create").replace('Email: "{{ person.email }}"', BY_NUMBER)
    rig = daemon(crm, store_url, mapping)
    on = "upsert" if crm.zoho else "upsert_collection"
    crm.twin.plan.add([{"on": on, "nth": 1, "do": "reset", "when": "before"}])
    rig.arrive(mail(1, "", phone="+84912345678"))
    rig.lane.step()
    rig.arrive(mail(2, "a@firm.example", phone="+84912345678", company="Firm"))
    rig.lane.step()  # it waits for the caller's record
    for _ in range(4):
        rig.now += timedelta(hours=1)
        rig.lane.step()
    (company,), (contact,) = crm.records("Account"), crm.records("Contact")
    assert _id(contact[crm.names.get("AccountId", "AccountId")]) == str(company.get("Id") or company["id"])
    assert contact["Email"] == "a@firm.example"
    rig.store.close()
