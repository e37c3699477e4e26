"""COQL as text: quoting, brackets two by two, Zoho's limits, phones in the forms that LIKE cannot find."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Link, Lookup, MatchField, PersonMatch, PersonQuery
from syncd.connectors.crm.directory import linked_id
from syncd.connectors.crm.queried import is_name
from syncd.connectors.crm.search import Search, Stage
from syncd.connectors.crm.zoho import coql
from syncd.connectors.crm.zoho.people import PEOPLE, deals

LITERALS = re.compile(r"'((?:[^']|'')*)'")
HEAD = "select id from Contacts"


def read_literals(statement: str) -> list[str]:
    """The values of a statement's string literals, by COQL's own rules."""
    return [found.replace("''", "'") for found in LITERALS.findall(statement)]


@given(st.lists(st.text(max_size=300), max_size=120))
def test_every_askable_value_is_asked_for_once_and_none_escapes(values: list[str]) -> None:
    statements = list(coql.selects(HEAD, {"Email": values}))
    asked = [value for statement in statements for value in read_literals(statement)]
    assert asked == [value for value in dict.fromkeys(values) if coql.askable(value)]
    for statement in statements:
        assert re.fullmatch(rf"{HEAD} where Email in \((?:(?:, )?'')*\)", LITERALS.sub("''", statement))
        assert 1 <= len(read_literals(statement)) <= coql.IN_VALUES


@pytest.mark.parametrize("value", ["", "a\\", "a\n", "a\0b", "x" * 256, "\u2028"])
def test_what_would_spoil_its_neighbours_is_not_asked(value: str) -> None:
    assert not coql.askable(value)
    assert list(coql.selects(HEAD, {"Email": [value]})) == []


@given(
    st.lists(st.integers(10**8, 10**9 - 1), min_size=1, max_size=80), st.sampled_from(["+84", "+33", "+1415", "+49"])
)
def test_phones_stay_within_the_limits(numbers: list[int], country: str) -> None:
    wanted = [f"{country}{number}" for number in numbers]
    statements = list(coql.phones(HEAD, "Phone", wanted))
    tails = {value[1:-1] for statement in statements for value in re.findall(r"like '([^']*)'", statement)}
    assert tails == {number[-4:] for number in wanted}
    for statement in statements:
        assert statement.count(" like ") + statement.count(" in ") <= coql.CRITERIA
        asked = re.findall(r" in \(([^)]*)\)", LITERALS.sub("''", statement))
        assert all(1 <= values.count("''") <= coql.IN_VALUES for values in asked)
        check_brackets(statement.partition(" where ")[2])


def check_brackets(condition: str) -> None:
    """No level of brackets joins more than two tests."""
    levels = [0]
    for sign in re.findall(r"[()]| or ", LITERALS.sub("", condition)):
        if sign == "(":
            levels.append(0)
        elif sign == ")":
            levels.pop()
        else:
            levels[-1] += 1
            assert levels[-1] == 1


def test_what_is_no_number_is_not_asked() -> None:
    assert list(coql.phones(HEAD, "Phone", ["", "+", "+84", "call me", "+84' or id like '%"])) == []


def test_forms_that_tear_the_last_digits_apart_are_asked_for_whole() -> None:
    (french,) = coql.phones(HEAD, "Phone", ["+33612345678"])
    assert {"%5678%", "06 12 34 56 78", "+33.6.12.34.56.78"} <= set(read_literals(french))
    (american,) = coql.phones(HEAD, "Phone", ["+14155552671"])
    assert read_literals(american) == ["%2671%"]


def test_pages() -> None:
    assert coql.paged(HEAD, 0).endswith(" limit 0, 200")
    assert coql.paged(HEAD, 200).endswith(" limit 200, 2000")
    assert coql.paged(HEAD, 99_000).endswith(" limit 99000, 1000")
    assert (coql.credits(0), coql.credits(200)) == (1, 3)


@pytest.mark.parametrize(
    ("text", "fine"), [("Email", True), ("Owner.Email", True), ("a b", False), ("x)", False), ("", False)]
)
def test_names(text: str, fine: bool) -> None:
    assert is_name(text) is fine


# people


def lookups(*terms: tuple[str, str, str, bool]) -> PersonQuery:
    return PersonQuery(
        "x", tuple(Lookup(module, (MatchField(field, value, phone),)) for module, field, value, phone in terms)
    )


def statements(search: Search, stage: Stage) -> list[str]:
    values = search.values(stage)
    return list(coql.Coql().people(stage.object, search.columns(stage), values, phone=stage.phone))


def test_a_later_field_is_asked_only_for_the_unknown() -> None:
    both = lookups(("Contacts", "Email", "a@x", False), ("Leads", "Email", "a@x", False))
    other = lookups(("Contacts", "Email", "b@x", False), ("Leads", "Email", "b@x", False))
    search = Search([both, other], PEOPLE, None)
    contacts, leads = search.stages
    assert statements(search, contacts) == [
        "select id, Account_Name, Full_Name, Email from Contacts where Email in ('a@x', 'b@x')"
    ]
    there = {"id": "1", "Email": "A@X", "Full_Name": "A X", "Account_Name": {"id": "9", "name": "Co"}}
    search.learn(contacts, [there])
    assert statements(search, leads) == ["select id, Full_Name, Email from Leads where Email in ('b@x')"]
    search.learn(leads, [])
    assert search.found() == [
        PersonMatch(object="Contacts", id="1", role="contact", account=Link("Accounts", "9"), name="A X"),
        None,
    ]


def test_numbers_are_asked_for_last_and_the_mappings_order_is_kept() -> None:
    phone = lookups(("Contacts", "Phone", "+84912345678", True), ("Leads", "Phone", "+84912345678", True))
    full = lookups(
        ("Contacts", "Email", "a@x", False),
        ("Contacts", "Phone", "+84912345678", True),
        ("Leads", "Email", "a@x", False),
        ("Leads", "Phone", "+84912345678", True),
    )
    stages = [(stage.object, *stage.fields) for stage in Search([phone, full], PEOPLE, None).stages]
    assert stages == [("Contacts", "Email"), ("Leads", "Email"), ("Contacts", "Phone"), ("Leads", "Phone")]


def test_every_field_with_a_number_is_asked_for_whoever_has_no_address_there() -> None:
    """Several records with one number are seen as such only when all of them were asked for."""
    phone = [("Contacts", "Phone", "+84912345678", True), ("Leads", "Mobile", "+84912345678", True)]
    search = Search([lookups(*phone)], PEOPLE, "VN")
    rows = {"Contacts": {"id": "1", "Phone": "0912 345 678"}, "Leads": {"id": "2", "Mobile": "+84 912 345 678"}}
    for stage in search.stages:
        assert statements(search, stage)
        search.learn(stage, [rows[stage.object]])
    (found,) = search.found()
    assert found is not None
    assert (found.id, [one.id for one in found.rivals]) == ("1", ["2"])


@given(st.permutations(["a", "b", "c", "d"]), st.permutations(["a", "b", "c", "d"]), st.sets(st.sampled_from("abcd")))
def test_the_first_term_that_hits_wins_in_whatever_order_it_is_asked(
    one: list[str], two: list[str], there: set[str]
) -> None:
    people = [lookups(*((f"M{name}", "F", "v", False) for name in order)) for order in (one, two)]
    search = Search(people, PEOPLE, None)
    for stage in search.stages:
        if statements(search, stage) and stage.object[1] in there:
            search.learn(stage, [{"id": f"1{stage.object}", "F": "V"}])
        search.learn(stage, [])
    for order, found in zip((one, two), search.found(), strict=True):
        first = next((name for name in order if name in there), None)
        assert (found and found.object) == (first and f"M{first}")


def test_a_row_that_says_it_was_converted_is_nobody() -> None:
    search = Search([lookups(("Leads", "Email", "a@x", False))], PEOPLE, None)
    search.learn(search.stages[0], [{"id": "1", "Email": "a@x", "$converted": True}])
    assert search.found() == [None]


def test_deals() -> None:
    found = [
        PersonMatch(object="Contacts", id="1", role="contact", account=Link("Accounts", "9")),
        PersonMatch(object="Leads", id="2", role="lead"),
    ]
    tables = deals(("Closed Won", "Lost"))
    asked = [
        statement
        for one in tables
        for statement in coql.Coql().equal(one.object, one.columns, one.owner, one.owners(found), also=one.still)
    ]
    facts = "Created_Time, Modified_Time, Amount from Deals where"
    assert asked == [
        f"select id, Contact_Name, {facts} (Contact_Name in ('1') and Stage not in ('Closed Won', 'Lost'))",
        f"select id, Account_Name, {facts} (Account_Name in ('9') and Stage not in ('Closed Won', 'Lost'))",
    ]
    assert [one.owners([]) for one in tables] == [[], []]
    rows: list[dict[str, object]] = [
        {"id": "5", "Contact_Name": {"id": 1}, "Account_Name": None},
        {"id": "6", "Account_Name.id": "9"},
    ]
    assert [[(owner, deal.link) for owner, deal in one.read(rows)] for one in tables] == [
        [("1", Link("Deals", "5"))],
        [("9", Link("Deals", "6"))],
    ]
    assert linked_id({"Account_Name": "9"}, "Account_Name") == "9"
