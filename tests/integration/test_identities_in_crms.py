"""Both CRMs find people by handles, and name every record that an identity of one person is."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.connector import Link, Lookup, MatchField, PersonMatch, PersonQuery
from tests.integration.test_recognising import Crm, crm

__all__ = ["crm"]

FIELDS = {"Contact": "Title", "Contacts": "Twitter"}
"""A field for the handle in each CRM."""
MAIL, NUMBER, FACE = "ann@x.example", "+14155550131", "fb22334"


def wanted(crm: Crm, *, mail: str = "", number: str = "", face: str = "", name: str = "", every: bool = True) -> Any:
    """A query for somebody known by these, in contacts and leads."""
    _, _, contact, lead, _ = crm
    terms = [MatchField("Email", mail)] * bool(mail) + [MatchField("Phone", number, phone=True)] * bool(number)
    terms += [MatchField(FIELDS[contact], face, handle=True)] * bool(face)
    looks = tuple(Lookup(object, tuple(terms)) for object in (contact, lead))
    identity = f"email:{mail}" if mail else f"phone:{number}" if number else f"handle:fb:{face}"
    return PersonQuery(identity, looks, mail, name, every)


def found(crm: Crm, query: PersonQuery) -> list[str]:
    """The ids of the record found and of its rivals."""
    (one,) = crm[1].resolve([query])
    return [] if one is None else [one.id, *(rival.id for rival in one.rivals)]


def test_somebody_is_found_by_a_handle_alone(crm: Crm) -> None:
    twin, _, contact, lead, last = crm
    twin.add(contact, **{last: "A", FIELDS[contact]: "fb223344"})
    there = twin.add(lead, **{last: "B", FIELDS[contact]: "FB22334", "Company": "X"})
    assert found(crm, wanted(crm, face=FACE)) == [there]
    assert found(crm, wanted(crm, face="fb9")) == []


def test_two_records_of_one_person_are_both_named(crm: Crm) -> None:
    twin, _, contact, lead, last = crm
    by_mail = twin.add(contact, **{last: "Lee", "Email": MAIL})
    by_face = twin.add(lead, **{last: "fb22334", FIELDS[contact]: FACE, "Company": "X"})
    by_number = twin.add(lead, **{last: NUMBER, "Phone": "(415) 555-0131", "Company": "X"})
    assert found(crm, wanted(crm, mail=MAIL)) == [by_mail]
    assert found(crm, wanted(crm, mail=MAIL, face=FACE)) == [by_mail, by_face]
    assert found(crm, wanted(crm, mail=MAIL, number=NUMBER)) == [by_mail, by_number]
    assert sorted(found(crm, wanted(crm, mail=MAIL, number=NUMBER, face=FACE))[1:]) == sorted([by_face, by_number])


@pytest.mark.parametrize(
    "other",
    [
        {"Phone": "415 555 0131", "Email": "bob@x.example"},
        {"Phone": "415 555 0131", "name": "Bob"},
        {"Phone": "415 555 0131", "Email": MAIL},
    ],
    ids=["another address", "another name", "the same address"],
)
def test_a_number_in_somebody_elses_record_is_no_conflict(crm: Crm, other: dict[str, str]) -> None:
    twin, _, contact, lead, last = crm
    there = twin.add(contact, **{last: "Lee", "Email": MAIL})
    other = dict(other)
    twin.add(lead, **{last: other.pop("name", "X"), "Company": "X", **other})
    assert found(crm, wanted(crm, mail=MAIL, number=NUMBER, name="Lee")) == [there]


def test_a_record_with_both_identities_has_no_rival(crm: Crm) -> None:
    twin, _, contact, lead, last = crm
    there = twin.add(contact, **{last: "Lee", "Email": MAIL, "Phone": "415-555-0131"})
    twin.add(lead, **{last: "Lee", "Phone": "415-555-0131", "Company": "X"})
    assert found(crm, wanted(crm, mail=MAIL, number=NUMBER)) == [there]


def test_the_address_of_a_role_makes_no_conflict(crm: Crm) -> None:
    twin, _, contact, lead, last = crm
    there = twin.add(contact, **{last: "Office", "Email": "info@x.example"})
    twin.add(lead, **{last: NUMBER, "Phone": "415-555-0131", "Company": "X"})
    assert found(crm, wanted(crm, mail="info@x.example", number=NUMBER)) == [there]


def test_a_duplicate_that_the_crm_names_is_known_by_the_handle(crm: Crm) -> None:
    twin, client, contact, _, last = crm
    there = twin.add(contact, **{last: "A", FIELDS[contact]: FACE})
    other = twin.add(contact, **{last: "B", FIELDS[contact]: "fb9"})
    among = [[Link(contact, there), Link(contact, other)]]
    (one,) = client.recognise([wanted(crm, face=FACE)], among)
    assert isinstance(one, PersonMatch)
    assert one.id == there
