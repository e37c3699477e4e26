"""The records that a CRM names as duplicates are read, and count only when they agree with the person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from syncd.connector import Context, Link, Lookup, MatchField, PersonQuery
from syncd.connectors.crm.salesforce import CONNECTOR as SALESFORCE
from syncd.connectors.crm.zoho import CONNECTOR as ZOHO
from syncd.http.oauth import MemoryTokens
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.twin import ZohoTwin

Crm = tuple[Any, Any, str, str, str]
"""(twin, client, contact, lead, last name)"""


def salesforce() -> Crm:
    twin = SalesforceTwin()
    auth = {"flow": "client_credentials", "client_id": "a", "client_secret": "b"}
    settings = SALESFORCE.settings.model_validate({"login_url": twin.start(), "auth": auth})
    return twin, SALESFORCE.build(settings, context()), "Contact", "Lead", "LastName"


def zoho() -> Crm:
    twin = ZohoTwin()
    auth = {"client_id": "a", "client_secret": "b", "refresh_token": "c"}
    settings = ZOHO.settings.model_validate({"accounts_url": twin.start(), "auth": auth})
    return twin, ZOHO.build(settings, context()), "Contacts", "Leads", "Last_Name"


def context() -> Context:
    return Context(name="crm", tokens=MemoryTokens(), region="US")


@pytest.fixture(params=[salesforce, zoho])
def crm(request: pytest.FixtureRequest) -> Iterator[Crm]:
    made: Crm = request.param()
    yield made
    made[1].close()
    made[0].stop()


def test_who_of_the_named_records_is_the_person(crm: Crm) -> None:
    twin, client, contact, lead, last = crm
    binh = twin.add(contact, **{last: "Nguyen", "Email": "binh@x.example", "Phone": "(415) 555-0131"})
    desk = twin.add(contact, **{last: "New", "Phone": "415.555.0131 x7"})
    anna = twin.add(lead, **{last: "New", "Email": "Anna@x.example", "Company": "X"})
    named = [Link(contact, binh), Link(contact, desk), Link(lead, anna)]
    terms = (MatchField("Email", "anna@x.example"), MatchField("Phone", "+14155550131", phone=True))
    looks = (Lookup(contact, terms),)

    def known(links: list[Link], **who: str) -> tuple[str, str, str] | None:
        wanted = PersonQuery(who.get("identity", "email:anna@x.example"), looks, name=who.get("name", ""))
        (found,) = client.recognise([wanted], [links])
        return found and (found.object, found.id, found.role)

    assert known(named) == (lead, anna, "lead")  # an object that is not looked up as a person, too
    assert known(named[:2]) is None
    assert known(named[:2], name="new") == (contact, desk, "contact")
    assert known(named[:1], name="Nguyen") is None
    assert client.recognise([], []) == []


def test_a_number_with_an_extension_in_any_field_is_the_number(crm: Crm) -> None:
    twin, client, contact, _, last = crm
    field = "MobilePhone" if contact == "Contact" else "Mobile"
    there = twin.add(contact, **{last: "B", field: "+1 415 555 0131 ext. 22"})
    terms = (MatchField("Phone", "+14155550131", phone=True), MatchField(field, "+14155550131", phone=True))
    (found,) = client.resolve([PersonQuery("phone:+14155550131", (Lookup(contact, terms),))])
    assert found is not None
    assert (found.id, found.name, found.by_number, found.rivals) == (there, "B", True, ())


def test_several_records_with_one_number(crm: Crm) -> None:
    twin, client, contact, lead, last = crm
    for name in ("ann", "ben"):
        twin.add(contact, **{last: name, "Email": f"{name}@x.example", "Phone": "(415) 555-0131"})
    ours = twin.add(lead, **{last: "cat", "Email": "cat@x.example", "Company": "X"})
    phone = MatchField("Phone", "+14155550131", phone=True)

    def look(email: str) -> Any:
        terms = (*((MatchField("Email", email),) if email else ()), phone)
        return client.resolve(
            [PersonQuery(f"email:{email}" if email else "phone:", tuple(Lookup(o, terms) for o in (contact, lead)))]
        )[0]

    assert look("cat@x.example").id == ours
    assert look("dan@x.example") is None
    assert [one.name for one in (look(""), *look("").rivals)] == ["ann", "ben"]
