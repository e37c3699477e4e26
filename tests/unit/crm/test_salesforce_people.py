"""SOQL as text (quoting, lengths, phone patterns) and the join of people with the rows that came back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Context, DealPick, Link, Lookup, MatchField, PersonMatch, PersonQuery
from syncd.connectors.crm.deals import OpenDeal, deal_of
from syncd.connectors.crm.directory import Directory, Row, e164
from syncd.connectors.crm.salesforce import Salesforce, SalesforceSettings, soql
from syncd.connectors.crm.salesforce.people import DEALS, PEOPLE
from syncd.connectors.crm.search import Search
from syncd.errors import Misconfigured
from syncd.http.oauth import MemoryTokens


def directory(objects: Sequence[str], answers: Sequence[Sequence[Row]], region: str | None) -> Directory:
    """The rows that came back (parallel to `objects`), findable by term."""
    held = PEOPLE.directory(region)
    for object_, rows in zip(objects, answers, strict=True):
        held.add(object_, rows)
    return held


LITERALS = re.compile(r"'((?:[^'\\]|\\.)*)'")
UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def read_literals(statement: str) -> list[str]:
    """The values of a statement's string literals, by SOQL's own rules."""
    return [
        re.sub(r"\\(.)", lambda m: UNESCAPED.get(m[1], m[1]), found, flags=re.DOTALL)
        for found in LITERALS.findall(statement)
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=40), st.booleans())
def test_every_value_is_asked_for_once_and_none_escapes(values: list[str], get: bool) -> None:
    head = soql.select(("Id",), "Contact")
    statements = list(soql.selects(head, "Email", values, get=get))
    asked = [value for statement in statements for value in read_literals(statement)]
    assert asked == list(dict.fromkeys(values))
    for statement in statements:
        assert re.fullmatch(r"SELECT Id FROM Contact WHERE Email IN \((?:,?'')*\)", LITERALS.sub("''", statement))
        assert len(statement) <= soql.STATEMENT
        assert not get or len(soql.encoded(statement)) <= 16_384 - 3_000


def test_many_values_make_few_statements() -> None:
    emails = [f"somebody.with.a.long.name{n}@customer-{n}.example.com" for n in range(4000)]
    assert len(list(soql.selects("SELECT Id FROM Contact", "Email", emails[:400]))) == 1
    assert len(list(soql.selects("SELECT Id FROM Contact", "Email", emails))) == 3
    assert 2 <= len(list(soql.selects("SELECT Id FROM Contact", "Email", emails[:400], get=True))) <= 4
    assert list(soql.selects("SELECT Id FROM Contact", "Email", ["x" * 5000])) == []


@pytest.mark.parametrize(
    "written",
    ["0912345678", "091 234 5678", "(091) 234-56-78", "+84 91 234 5678", "0084.912.345.678", "+84912345678 ext. 12"],
)
def test_a_number_is_found_however_it_is_written(written: str) -> None:
    pattern = soql.phone_pattern("+84912345678")
    like = re.compile(".*".join(map(re.escape, pattern.split("%"))), re.DOTALL)
    assert like.fullmatch(written)
    assert e164(written, "VN") == "+84912345678"
    assert soql.phone_pattern("") == ""


@pytest.mark.parametrize("name", ["Email; DROP", "a b", "", "1x", "Email'", "Owner..Email"])
def test_what_is_no_name_never_reaches_a_statement(name: str) -> None:
    settings = SalesforceSettings.model_validate(
        {"auth": {"flow": "refresh_token", "client_id": "c", "refresh_token": "r"}}
    )
    crm = Salesforce(settings, Context(name="crm", tokens=MemoryTokens()))
    for lookup in (Lookup("Contact", (MatchField(name, "v"),)), Lookup(name, (MatchField("Email", "v"),))):
        with pytest.raises(Misconfigured, match="not the name"):
            crm.resolve([PersonQuery("x", (lookup,))])


def wanted(*lookups: Lookup) -> PersonQuery:
    terms = [term for lookup in lookups for term in lookup.terms]
    return PersonQuery("x", lookups, next((term.value for term in terms if term is MAIL), ""))


MAIL = MatchField("Email", "a@example.com")
PHONE = MatchField("Phone", "+84912345678", phone=True)
MOBILE = MatchField("MobilePhone", "+84912345678", phone=True)


def ask(people: Sequence[PersonQuery]) -> list[str]:
    search = Search(people, PEOPLE, None)
    return [
        statement
        for stage in search.stages
        for statement in soql.Soql().people(
            stage.object, search.columns(stage), search.values(stage), phone=stage.phone
        )
    ]


def test_statements() -> None:
    people = [
        wanted(Lookup("Contact", (MAIL, PHONE, MOBILE)), Lookup("Lead", (MAIL,))),
        wanted(Lookup("Lead", (MAIL,))),
    ]
    assert ask(people) == [
        "SELECT Id, AccountId, Name, Email, Phone, MobilePhone FROM Contact WHERE Email IN ('a@example.com')",
        "SELECT Id, IsConverted, ConvertedContactId, ConvertedAccountId, Name, Email FROM Lead "
        "WHERE Email IN ('a@example.com')",
        "SELECT Id, AccountId, Name, Email, Phone, MobilePhone FROM Contact "
        "WHERE Phone LIKE '%1%2%3%4%5%6%7%8%' OR MobilePhone LIKE '%1%2%3%4%5%6%7%8%'",
    ]
    assert ask([]) == []
    assert ask([PersonQuery("nobody", ())]) == []


def found(
    rows: list[dict[str, Any]], *lookups: Lookup, object_: str = "Contact", region: str | None = "VN"
) -> PersonMatch | None:
    return directory([object_], [rows], region).find(wanted(*lookups))


def test_an_address_counts_before_a_number_in_whatever_object() -> None:
    rows: list[dict[str, Any]] = [
        {"Id": "0031", "Phone": "0912 345 678", "Email": "other@example.com"},
        {"Id": "0032", "Phone": None, "Email": "A@Example.com "},
    ]
    by_mail_first, by_phone_first = Lookup("Contact", (MAIL, PHONE)), Lookup("Contact", (PHONE, MAIL))
    assert found(rows, by_mail_first) == PersonMatch(object="Contact", id="0032", role="contact")
    assert found(rows, by_phone_first) == PersonMatch(object="Contact", id="0032", role="contact")
    assert found(rows, Lookup("Lead", (MAIL,)), by_phone_first) == PersonMatch(
        object="Contact", id="0032", role="contact"
    )
    assert found(rows, Lookup("Lead", (MAIL,))) is None
    assert found(rows, Lookup("Contact", (PHONE,))) is not None
    lead = {"Id": "00Q1", "Email": "a@example.com"}
    both = directory(["Contact", "Lead"], [rows[:1], [lead]], "VN")
    assert both.find(wanted(by_mail_first, Lookup("Lead", (MAIL, PHONE)))) == PersonMatch(
        object="Lead", id="00Q1", role="lead"
    )


def test_whoever_has_another_address_is_not_found_by_number() -> None:
    office: list[dict[str, Any]] = [
        {"Id": "0031", "Phone": "(091) 234 5678", "Email": "other@example.com", "Name": "O"},
        {"Id": "0032", "MobilePhone": "+84 912 345 678 ext. 4", "Email": None, "Name": "A"},
    ]
    look = Lookup("Contact", (MAIL, PHONE, MOBILE))
    assert found(office[:1], look) is None
    by_number = directory(["Contact"], [office], "VN").find(wanted(look))
    assert by_number == PersonMatch(object="Contact", id="0032", role="contact", name="A", by_number=True)
    caller = directory(["Contact"], [office], "VN").find(wanted(Lookup("Contact", (PHONE, MOBILE))))
    assert caller is not None
    assert (caller.id, [one.id for one in caller.rivals]) == ("0031", ["0032"])


@pytest.mark.parametrize(
    "written", ["0084 912 345 678", "0912345678 / 0987654321", "+84 (0) 912 345 678", "84912345678"]
)
def test_a_number_is_the_same_in_every_field_and_form(written: str) -> None:
    assert found([{"Id": "1", "MobilePhone": written}], Lookup("Contact", (PHONE, MOBILE))) is not None


def test_a_number_without_country_needs_a_region() -> None:
    rows = [{"Id": "0031", "Phone": "0912345678"}]
    assert found(rows, Lookup("Contact", (PHONE,)), region=None) is None
    assert found(rows, Lookup("Contact", (PHONE,)), region="DE") is None
    assert found([{"Id": "1", "Phone": "+84 912345678"}], Lookup("Contact", (PHONE,)), region=None) is not None


def test_a_lead_converted_into_nobody_is_passed_over() -> None:
    rows = [
        {"Id": "00Q1", "Email": "a@example.com", "IsConverted": True, "ConvertedContactId": None},
        {"Id": "00Q2", "Email": "a@example.com", "IsConverted": False},
    ]
    assert found(rows, Lookup("Lead", (MAIL,)), object_="Lead") == PersonMatch(object="Lead", id="00Q2", role="lead")


def test_deals() -> None:
    people = [
        PersonMatch(object="Contact", id="003A", role="contact", account=Link("Account", "001A")),
        PersonMatch(object="Lead", id="00QB", role="lead"),
    ]
    asked = [
        statement
        for one in DEALS
        for statement in soql.Soql().equal(one.object, one.columns, one.owner, one.owners(people), also=one.still)
    ]
    assert asked == [
        "SELECT OpportunityId, ContactId, Opportunity.CreatedDate, Opportunity.LastModifiedDate, Opportunity.Amount"
        " FROM OpportunityContactRole WHERE ContactId IN ('003A') AND Opportunity.IsClosed = false",
        "SELECT Id, AccountId, CreatedDate, LastModifiedDate, Amount FROM Opportunity"
        " WHERE AccountId IN ('001A') AND IsClosed = false",
    ]
    assert [one.owners([]) for one in DEALS] == [[], []]
    rows: list[list[dict[str, Any]]] = [
        [{"OpportunityId": "006A", "ContactId": "003000000000001AAA", "Opportunity": {"Amount": 7}}],
        [
            {"Id": "006B", "AccountId": "001000000000001AAA", "CreatedDate": "2026-01-02T03:04:05.000+0000"},
            {"AccountId": None},
        ],
    ]
    deals: dict[str, list[OpenDeal]] = {}
    for one, held in zip(DEALS, rows, strict=True):
        for owner, deal in one.read(held):
            deals.setdefault(owner[:15], []).append(deal)
    assert deals.keys() == {"003000000000001", "001000000000001"}
    theirs = PersonMatch(object="Contact", id="003000000000001AAA", role="contact")
    account = Link("Account", "001000000000001AAA")
    other = PersonMatch(object="Contact", id="003000000000002AAA", role="contact", account=account)
    picked = [deal_of(each, deals, DealPick.NEWEST, lambda _, id_: id_[:15]) for each in (theirs, other)]
    assert picked == [Link("Opportunity", "006A"), Link("Opportunity", "006B")]
