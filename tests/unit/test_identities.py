"""What identifies a person, and which identities are one person's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.identity.identities import is_role, normal_identity
from syncd.identity.ties import REFRESHED_AFTER, Tie, TieGraph, tie
from syncd.signals import Exclusions, make_person
from syncd.store.person_search import matcher

ANN, BOB, PHONE, FACE, ZALO = (
    "email:ann@x.example",
    "email:bob@x.example",
    "phone:+84912345678",
    "handle:fb:1",
    "handle:zalo:7",
)


def graph(*ties: Tie) -> TieGraph:
    return TieGraph(ties, {end for one in ties for end in (one.identity, one.other)})


def seen(one: str, other: str) -> Tie:
    return tie(one, other, "signal", "s1", 1)


def said(one: str, other: str, *, apart: bool = False) -> Tie:
    return tie(one, other, "operator", "", 1, apart=apart)


def test_the_identities_of_a_person_are_in_one_order() -> None:
    person = make_person(email="Ann@X.example", phone="+84 912 345 678", handles={"Zalo": " 7 ", "FB": "1"})
    assert person.identities == (ANN, PHONE, FACE, ZALO)
    assert person.identity == ANN
    assert make_person(handles={"zalo": "7", "fb": "1"}).identity == FACE
    assert make_person().identities == ()


@pytest.mark.parametrize("handles", [{"fb": ""}, {"": "1"}, {"a:b": "1"}, {"fb": "x" * 400}, {"fb": "a\0b"}])
def test_what_cannot_be_a_handle_is_no_identity(handles: dict[str, str]) -> None:
    assert make_person(handles=handles).identity == ""


@pytest.mark.parametrize(
    ("typed", "identity"),
    [
        ("Ann <ann@x.example>", ANN),
        ("email:ANN@x.example", ANN),
        ("0912 345 678", PHONE),
        ("phone:+84912345678", PHONE),
        ("Handle:FB:1", FACE),
        ("handle:fb", ""),
        ("ann", ""),
    ],
)
def test_an_identity_is_read_in_any_form(typed: str, identity: str) -> None:
    assert normal_identity(typed, "VN") == identity


def test_roles() -> None:
    assert all(map(is_role, ("email:info@x.example", "email:sales+de@x.example")))
    assert not any(map(is_role, (ANN, PHONE, "handle:fb:info", "email:informal@x.example")))


def test_somebody_is_excluded_and_searched_by_any_identity() -> None:
    person = make_person(email="ann@x.example", handles={"fb": "1"})
    assert Exclusions.of(identities=[FACE]).covers(person)
    assert not Exclusions.of(identities=["handle:fb:2"]).covers(person)
    assert matcher("handle:FB:1")(person)
    assert not matcher("handle:fb:11")(person)


def test_a_group_follows_ties() -> None:
    both = graph(seen(ANN, PHONE), seen(PHONE, FACE))
    assert both.group([FACE]) == (FACE, PHONE, ANN)
    assert both.group([BOB]) == (BOB,)


def test_a_number_with_two_addresses_ties_nobody_but_by_an_operators_word() -> None:
    shared = graph(seen(ANN, PHONE), seen(BOB, PHONE), seen(ANN, FACE))
    assert shared.shared(PHONE)
    assert shared.group([PHONE]) == (PHONE,)
    assert shared.group([ANN]) == (ANN, FACE)
    assert shared.plus([said(BOB, PHONE)]).group([BOB]) == (BOB, PHONE)
    assert set(shared.plus([said(BOB, ANN)]).group([BOB])) == {BOB, ANN, PHONE, FACE}


def test_a_number_with_two_accounts_of_one_network_ties_nobody() -> None:
    assert graph(seen(PHONE, FACE), seen(PHONE, "handle:fb:2")).group([FACE]) == (FACE,)
    assert graph(seen(PHONE, FACE), seen(PHONE, ZALO)).group([FACE]) == (FACE, PHONE, ZALO)


def test_an_operator_keeps_two_apart_whatever_is_between_them() -> None:
    apart = graph(seen(ANN, PHONE), seen(PHONE, FACE), said(ANN, FACE, apart=True))
    assert FACE not in apart.group([ANN])
    assert ANN not in apart.group([FACE])
    assert apart.news([ANN, FACE], "signal", "s2", 10**12) == []


def test_a_role_is_tied_by_an_operator_alone() -> None:
    role = "email:info@x.example"
    assert graph().news([role, PHONE], "signal", "s", 1) == []
    assert graph().news([role, PHONE, FACE], "signal", "s", 1) == [tie(PHONE, FACE, "signal", "s", 1)]
    assert graph(said(role, PHONE)).group([PHONE]) == (PHONE, role)


def test_what_is_known_is_noted_again_after_a_week() -> None:
    known = graph(seen(ANN, PHONE))
    assert known.news([ANN, PHONE], "signal", "s2", REFRESHED_AFTER) == []
    (again,) = known.news([ANN, PHONE], "signal", "s2", 2 + REFRESHED_AFTER)
    assert (again.identity, again.other) == (ANN, PHONE)


def test_a_switchboard_collects_no_ties_without_end() -> None:
    many = graph(*(seen(PHONE, f"email:p{n}@x.example") for n in range(8)))
    assert many.news(["email:new@x.example", PHONE], "signal", "s", 1) == []


identities = st.sampled_from([ANN, BOB, PHONE, "phone:+84900000000", FACE, "handle:fb:2", ZALO, "email:info@x.example"])
some_ties = st.lists(
    st.builds(
        lambda ends, operator, apart: tie(
            ends[0], ends[1], "operator" if operator or apart else "signal", "", 1, apart=apart
        ),
        st.lists(identities, min_size=2, max_size=2, unique=True),
        st.booleans(),
        st.booleans(),
    ),
    max_size=10,
)


@given(some_ties, identities)
def test_no_group_holds_two_whom_an_operator_keeps_apart(ties: list[Tie], start: str) -> None:
    known = graph(*ties)
    members = known.group([start])
    assert not any(known.apart(one, other) for one in members for other in members if one != other)
    assert not any(
        known.shared(member) and not any(known.linked(member, other) for other in members) for member in members[1:]
    )
