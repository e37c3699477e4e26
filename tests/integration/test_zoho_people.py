"""People looked up in Zoho CRM by COQL, against the twin: phones in any form, ties, converted leads, open deals."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from syncd.connector import DealPick, Link, Lookup, MatchField, PersonQuery
from syncd.errors import (
    Misconfigured,
    Scope,
)
from syncd.twins.zoho.twin import ZohoTwin
from tests.zoho_crm import Connect, connecting, operations, person


@pytest.fixture
def twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as running:
        yield running


@pytest.fixture
def connect(twin: ZohoTwin) -> Iterator[Connect]:
    yield from connecting(twin)


@pytest.mark.parametrize(
    "written",
    [
        "0912345678",
        "091 234 5678",
        "(091) 234-5678",
        "+84 91 234 5678",
        "0084.912.345678",
        "0912 345 678",
        "+84-912-345-678",
    ],
)
def test_a_phone_is_found_however_it_is_written(twin: ZohoTwin, connect: Connect, written: str) -> None:
    there = twin.add("Contacts", Last_Name="B", Phone=written)
    twin.add("Contacts", Last_Name="other country", Phone="+1 912 345 5678")
    twin.add("Contacts", Last_Name="nonsense", Phone="call 5678")
    found = connect().resolve([person(phone="+84912345678"), person(phone="+84912345679")])
    assert [f and f.id for f in found] == [there, None]


def test_many_people_by_mail_and_phone(twin: ZohoTwin, connect: Connect) -> None:
    by_mail = twin.add("Leads", Last_Name="A", Email="Anna.Long+tag@Example.COM")
    irish = twin.add("Contacts", Last_Name="O", Email="o'neil@example.com")
    second = twin.add("Contacts", Last_Name="M", Phone="+84 90 0000003")
    people = [person("anna.long+tag@example.com"), person("o'neil@example.com")]
    people += [person(f"somebody.{n}@customer-{n}.example.com", f"+8490{n:07}") for n in range(98)]
    found = connect().resolve(people)
    assert found[0] is not None
    assert (found[0].object, found[0].id, found[0].role) == ("Leads", by_mail, "lead")
    assert [f and f.id for f in found[1:6]] == [irish, None, None, None, second]
    assert found[6:] == [None] * 94
    assert set(operations(twin)) == {"coql"}
    assert len(operations(twin)) <= 2 + 5 + 2 + 5


def test_a_phone_is_asked_for_only_where_the_mail_found_nobody(twin: ZohoTwin, connect: Connect) -> None:
    twin.add("Contacts", Last_Name="A", Email="a@example.com")
    assert connect().resolve([person("a@example.com", "+84912345678")])[0] is not None
    assert operations(twin) == ["coql"]


def test_of_several_the_oldest_and_the_contact_before_the_lead(
    twin: ZohoTwin, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    crm = connect()
    account = twin.add("Accounts", Account_Name="Customer")
    twin.add("Leads", Last_Name="L", Email="a@example.com")
    first = twin.add("Contacts", Last_Name="1", Email="A@example.com", Account_Name=account)
    second = twin.add("Contacts", Last_Name="2", Email="a@EXAMPLE.com")
    with caplog.at_level(logging.WARNING):
        found = crm.resolve([person("a@example.com")])[0]
    assert found is not None
    assert (found.id, found.role, found.account, found.open_deal) == (first, "contact", Link("Accounts", account), None)
    assert second in caplog.text
    twin.delete(first)
    found = crm.resolve([person("a@example.com")])[0]
    assert found is not None
    assert (found.id, found.account) == (second, None)


def test_a_converted_lead_is_its_contact(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    made = twin.convert(twin.add("Leads", Last_Name="L", Company="C", Email="x@example.com"))
    assert crm.resolve([person("x@example.com", objects=("Leads",))]) == [None]
    found = crm.resolve([person("x@example.com")])[0]
    assert found is not None
    assert (found.object, found.id, found.account) == ("Contacts", made["Contacts"], Link("Accounts", made["Accounts"]))


def test_open_deals_are_asked_for_only_when_wanted(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    company = twin.add("Accounts", Account_Name="Customer")
    lost = twin.add("Contacts", Last_Name="L", Email="lost@example.com")
    mine = twin.add("Contacts", Last_Name="B", Email="own@example.com")
    twin.add("Contacts", Last_Name="A", Email="company@example.com", Account_Name=company)
    twin.add("Deals", Deal_Name="Company's", Account_Name=company, Stage="Qualification")
    twin.add("Deals", Deal_Name="Own", Contact_Name=mine, Stage="Proposal")
    twin.add("Deals", Deal_Name="Lost", Contact_Name=lost, Stage="Closed Lost")
    people = [person(f"{name}@example.com") for name in ("company", "own", "lost", "nobody")]
    assert [f and f.open_deal for f in crm.resolve(people)] == [None] * 4
    assert len(operations(twin)) == 2
    assert [f and f.open_deal for f in crm.resolve(people, deals=DealPick.NEWEST)] == [True, True, False, None]
    assert len(operations(twin)) == 2 + 4


def test_one_mail_on_many_records_is_read_to_the_end(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    for n in range(2210):
        twin.add("Contacts", Last_Name=f"{n}", Email="office@example.com")
    last = twin.add("Contacts", Last_Name="P", Email="p@example.com")
    found = crm.resolve([person("office@example.com"), person("p@example.com")])
    assert found[1] is not None
    assert found[1].id == last
    assert operations(twin) == ["coql"] * 3
    assert crm.spend().units == twin.spent_total == 1 + 3 + 3


def test_a_wrong_look_up_concerns_every_rule(connect: Connect) -> None:
    for wanted in (
        PersonQuery("x", (Lookup("Contacts", (MatchField("Nonsense", "x"),)),)),
        PersonQuery("x", (Lookup("Persons", (MatchField("Email", "x"),)),)),
        PersonQuery("x", (Lookup("Contacts", (MatchField("Email) or (id", "x"),)),)),
    ):
        with pytest.raises(Misconfigured, match=r"people\.match") as caught:
            connect().resolve([wanted])
        assert caught.value.scope is Scope.DESTINATION
