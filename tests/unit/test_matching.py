"""Who of several records with a person's number is the person."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import PersonMatch, PersonQuery
from syncd.matching import Candidate, agrees, by_number, same_name


def record(id_: str, *emails: str, name: str = "", company: bool = False) -> Candidate:
    return Candidate(PersonMatch(object="Contact", id=id_, role="contact", name=name), frozenset(emails), company)


def caller(email: str = "", name: str = "") -> PersonQuery:
    return PersonQuery(f"email:{email}" if email else "phone:+84912345678", (), email, name)


def ids(found: PersonMatch | None) -> list[str]:
    """The record found and its rivals."""
    return [] if found is None else [found.id, *(one.id for one in found.rivals)]


@pytest.mark.parametrize(
    ("wanted", "records", "expected"),
    [
        (caller(), [record("1", "bob@x.example")], ["1"]),  # a known customer calls
        (caller("anna@x.example"), [record("1", "bob@x.example")], []),
        (caller("anna@x.example"), [record("1")], ["1"]),
        (caller("anna@x.example"), [record("1", "bob@x.example"), record("2")], ["2"]),
        (caller("anna@x.example"), [record("1", "bob@x.example", "anna@x.example")], ["1"]),
        (caller(), [record("1", "a@x.example"), record("2", "b@x.example")], ["1", "2"]),
        (caller(), [record("1", name="A B"), record("2", name="C D")], ["1", "2"]),
        (caller(name="D, C"), [record("1", name="A B"), record("2", name="C D")], ["2"]),
        (caller(name="E"), [record("1", name="A B"), record("2", name="C D")], ["1", "2"]),
        (caller(), [record("1", "a@x.example"), record("2", "a@x.example")], ["1"]),  # one person, entered twice
        (caller(), [record("1", "a@x.example", name="A B"), record("2", name="B A")], ["1"]),
        (caller(), [record("1", name="+84 912 345 678"), record("2", "b@x.example", name="B")], ["2"]),
        (caller(), [record("1", name="+84912345678"), record("2", name="0912345678")], ["1"]),
        (caller(), [record("1", name="X Ltd", company=True), record("2", name="B")], ["2"]),
        (caller(), [record("1", name="X Ltd", company=True)], ["1"]),
        (caller("anna@x.example"), [], []),
    ],
)
def test_whose_number_it_is(wanted: PersonQuery, records: list[Candidate], expected: list[str]) -> None:
    found = by_number(wanted, records)
    assert ids(found) == expected
    assert found is None or found.by_number


emails = st.frozensets(st.sampled_from(["a@x.example", "b@x.example", "c@x.example"]), max_size=2)
candidates = st.lists(
    st.builds(
        Candidate,
        st.builds(
            PersonMatch,
            object=st.just("Lead"),
            id=st.uuids().map(str),
            role=st.just("lead"),
            name=st.sampled_from(["", "Ann Lee", "Bob", "0912"]),
        ),
        emails,
        st.booleans(),
    ),
    max_size=5,
)


@given(st.sampled_from(["", "a@x.example", "b@x.example"]), st.sampled_from(["", "Ann Lee"]), candidates)
def test_nobody_is_taken_for_a_record_with_another_address(email: str, name: str, records: list[Candidate]) -> None:
    found = by_number(caller(email, name), records)
    held = {one.found.id: one.emails for one in records}
    for one in ids(found):
        assert not email or not held[one] or email in held[one]
    if email and any(email in one.emails and not one.company for one in records):
        assert found is not None


def test_the_identity_names_the_address_where_nothing_else_does() -> None:
    assert by_number(PersonQuery("email:Anna@x.example", ()), [record("1", "bob@x.example")]) is None


def test_what_a_crm_calls_a_duplicate_must_agree() -> None:
    wanted = caller("anna@x.example", "Anna New")
    assert agrees(wanted, {"anna@x.example"}, "", number=False)
    assert not agrees(wanted, {"binh@x.example"}, "Anna New", number=True)
    assert agrees(wanted, set(), "New, Anna", number=True)
    assert not agrees(wanted, set(), "Anna New", number=False)
    assert not agrees(wanted, set(), "Binh New", number=True)
    assert not agrees(msgspec.structs.replace(wanted, name=""), set(), "", number=True)
    assert same_name("Nguyễn Văn An", "an nguyễn văn")
