"""Owners by role and department: what the YAML may say, what becomes of it, and what a CRM has no place for."""

from __future__ import annotations

import pytest

from syncd.connector import PersonMatch
from syncd.dispatch.known_users import KEPT, KnownUsers
from syncd.dispatch.owners import choose
from syncd.errors import ConfigError
from syncd.mapping.loading import Mapping, load_mapping
from syncd.mapping.model import Draft, OwnerChoice
from syncd.mapping.preview import preview
from syncd.mapping.uses import owners_of, refused_teams, teams_of
from tests.lane_rig import signal

HEAD = """
people:
  match: [{object: Lead, by: {Email: "{{ person.email }}"}}]
  strangers: create
  create: {object: Lead, key: K, fields: {LastName: x}, owner: {department: 5, fallback: boss}}
rules:
"""


def loaded(owner: str) -> Mapping:
    text = f"{HEAD}  - {{id: own, name: A, signals: ['*'], assign: person, owner: {owner}}}\n"
    return load_mapping(text, name="m.yaml")


def test_a_team_stands_in_people_create_and_in_a_rule() -> None:
    mapping = loaded("{role: Sales_Team, fallback: '005', field: F}")
    assert [team for team, _ in teams_of(mapping.parts)] == [("department", "5"), ("role", "Sales_Team")]
    assert [user for user, _ in owners_of(mapping.parts)] == ["boss", "005"]
    (made,) = mapping.drafts(signal(1), live=True)
    assert isinstance(made, Draft)
    assert made.owner == OwnerChoice((), "005", "F", ("role", "Sales_Team"))
    (shown,) = preview(mapping, signal(1), PersonMatch(object="Lead", id="1", role="lead"))
    assert [(one.name, one.value, one.note) for one in shown.fields] == [("F", "role Sales_Team", "in turn")]


@pytest.mark.parametrize(
    ("owner", "place", "said"),
    [
        ("{role: x, turn: [a]}", "rules[0].owner", "must name one of turn (a list of users), user, role or department"),
        ("{role: x, department: 5}", "rules[0].owner", "must name one of turn"),
        ("{role: [x]}", "rules[0].owner.role", "must be the name of a role"),
        ("{role: '{{ signal.title }}'}", "rules[0].owner.role", "must be the name of a role"),
        ("{department: true}", "rules[0].owner.department", "must be the name of a department"),
        ("{rle: x, user: '005'}", "rules[0].owner.rle", "did you mean role?"),
        ("{role: x, fallback: [a]}", "rules[0].owner.fallback", "must be the id of a user, or keep"),
    ],
)
def test_what_is_wrong_has_its_place(owner: str, place: str, said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        loaded(owner)
    shown = [str(fault) for fault in wrong.value.faults]
    assert any(one.startswith("m.yaml:") and place in one and said in one for one in shown), shown


class OfRoles:
    teams = ("role",)

    def members(self, team: str, name: str) -> list[str]:
        return []


@pytest.mark.parametrize(
    ("crm", "said"),
    [
        (OfRoles(), ["m.yaml:5:65 people.create.owner.department: has no department whose members syncd can read"]),
        (object(), ["has no department whose members", "has no role whose members"]),
    ],
)
def test_a_team_that_the_crm_does_not_tell_of_is_told_with_its_place(crm: object, said: list[str]) -> None:
    mapping = loaded("{role: Sales}")
    found = [str(mapping.document.fault(place, text)) for place, text, _ in refused_teams(mapping.parts, crm)]
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True)), found


def test_a_team_without_members_falls_back_or_says_that_nobody_is_active() -> None:
    nobody = choose(OwnerChoice((), team=("role", "x")), 0, lambda user: True)
    assert (nobody[0].owner, nobody[0].why) == (None, "no_active_user")
    boss = choose(OwnerChoice((), "boss", team=("role", "x")), 0, lambda user: True)
    assert (boss[0].owner, boss[0].why) == ("boss", "fallback_owner")


def test_a_team_is_asked_for_again_after_a_while_and_known_meanwhile() -> None:
    known = KnownUsers()
    team = ("role", "Sales")
    assert known.team(team, 0, stale=True) is None
    known.learn_team(team, ["a"], 0)
    assert (known.team(team, KEPT - 1), known.team(team, KEPT)) == (("a",), None)
    assert known.team(team, KEPT, stale=True) == ("a",)
    assert known.unknown(["a"], KEPT - 1) == []
