"""Owners by rules, over both stand-in CRMs: in turn, active ones only, and the same one however often a write is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.dispatch.dead_letters import retry
from syncd.dispatch.decided import shown
from syncd.store.queries import Filter
from syncd.twins.zoho.twin import ZohoTwin
from tests.integration.dispatch.test_own_records import ANN, TwinRig, salesforce, zoho
from tests.lane_rig import signal

OWN = "  - {{id: own, name: A, signals: ['call.*'], assign: person, owner: {{{owner}}}}}\n"


@pytest.fixture(params=[salesforce, zoho])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwinRig]:
    made: TwinRig = request.param(tmp_path)
    yield made
    made.client.close()
    made.twin.stop()


def user(rig: TwinRig, name: str, *, active: bool = True) -> str:
    """A user of the CRM."""
    if isinstance(rig.twin, ZohoTwin):
        id_ = rig.twin.rows.new_id()
        rig.twin.store.table("users").put(
            id_, {"id": id_, "full_name": name, "status": "active" if active else "disabled"}
        )
        return str(id_)
    id_ = f"005000000000{len(rig.twin.store.table('User').records):03}AAA"
    rig.twin.store.table("User").put(id_, {"Id": id_, "Name": name, "IsActive": active, "IsDeleted": False})
    return id_


def owner_of(record: dict[str, Any]) -> str:
    found = record.get("OwnerId", record.get("Owner"))
    return str(found["id"] if isinstance(found, dict) else found)


def owned(rig: TwinRig) -> list[str]:
    records = rig.twin.records(rig.names["contact"])
    return [owner_of(one) for one in sorted(records, key=lambda one: str(one["Email"]))]


def called(rig: TwinRig, *numbers: int) -> None:
    rig.arrive([signal(n, type="call.missed", email=f"p{n}@example.com") for n in numbers])
    rig.drain()


def contacts(rig: TwinRig, count: int) -> None:
    for n in range(count):
        rig.twin.add(rig.names["contact"], **{rig.names["last"]: f"P{n}", "Email": f"p{n}@example.com"})


def test_active_users_take_turns(rig: TwinRig) -> None:
    one, away, two = user(rig, "One"), user(rig, "Away", active=False), user(rig, "Two")
    contacts(rig, 6)
    rig.with_rules(OWN.replace("{owner}", f"turn: ['{one}', '{away}', '{two}']"))
    called(rig, 0, 1)
    rig.restart()
    called(rig, 2, 3, 4, 5)
    assert Counter(owned(rig)) == {one: 3, two: 3}
    assert {state for state, _ in rig.of_rule("own")} == {"written"}


def test_a_write_that_is_sent_again_keeps_its_owner(rig: TwinRig) -> None:
    one, two = user(rig, "One"), user(rig, "Two")
    contacts(rig, 4)
    rig.with_rules(OWN.replace("{owner}", f"turn: ['{one}', '{two}']"))
    operation = "update" if isinstance(rig.twin, ZohoTwin) else "collection_update"
    rig.twin.plan.add([{"on": operation, "do": "reset", "when": "after", "times": 1}])
    called(rig, 0)
    called(rig, 1, 2, 3)
    assert owned(rig) == [one, two, one, two]


def test_a_dead_letter_gets_the_owner_that_the_corrected_mapping_names(rig: TwinRig) -> None:
    away, right = user(rig, "Away", active=False), user(rig, "Right")
    contacts(rig, 1)
    rig.with_rules(OWN.replace("{owner}", f"user: '{away}', fallback: 'wrong'"))
    called(rig, 0)
    assert {state for state, _ in rig.of_rule("own")} == {"dead"}
    rig.with_rules(OWN.replace("{owner}", f"user: '{away}', fallback: '{right}'"))
    retry(rig.store, Filter(), live_within=timedelta(hours=24))
    rig.drain()
    assert (owned(rig), {state for state, _ in rig.of_rule("own")}) == ([right], {"written"})


def test_if_nobody_is_left_the_fallback_owns_and_the_row_says_so(rig: TwinRig) -> None:
    away, boss = user(rig, "Away", active=False), user(rig, "Boss")
    contacts(rig, 1)
    rig.with_rules(OWN.replace("{owner}", f"turn: ['{away}'], fallback: '{boss}'"))
    called(rig, 0)
    assert owned(rig) == [boss]
    (row,) = [row for row in rig.writes if row["rule"] == "own"]
    assert shown(row["chosen"]) == f"owner {boss} (no active user is left: the fallback)"


def test_without_a_fallback_nothing_is_assigned(rig: TwinRig) -> None:
    away = user(rig, "Away", active=False)
    contacts(rig, 1)
    before = owned(rig)
    rig.with_rules(OWN.replace("{owner}", f"user: '{away}'"))
    called(rig, 0)
    assert (owned(rig), rig.of_rule("own")) == (before, [("skipped", "no active user is left")])


def test_past_calls_change_no_owner(rig: TwinRig) -> None:
    contacts(rig, 1)
    rig.with_rules(OWN.replace("{owner}", f"user: '{user(rig, 'One')}'"))
    rig.arrive([signal(0, type="call.missed", email="p0@example.com")], live=False, old=True)
    rig.drain()
    assert rig.of_rule("own") == [("skipped", "live_only")]


def test_a_new_person_and_a_new_record_have_owners(rig: TwinRig) -> None:
    one, two = user(rig, "One"), user(rig, "Two")
    of_zoho = isinstance(rig.twin, ZohoTwin)
    task, key, link = ("Tasks", "Syncd_Key", "Who_Id") if of_zoho else ("Task", "Syncd_Key__c", "WhoId")
    rig.mapping = rig.mapping.replace("  create:\n", f"  create:\n    owner: {{turn: ['{one}', '{two}']}}\n", 1)
    rule = f"id: t, name: A, signals: ['*'], upsert: {task}, key: {key}, about: person, owner: '{two}'"
    rig.with_rules(f"  - {{{{{rule}, link: {{{{{link}: person}}}}, fields: {{{{Subject: a}}}}}}}}\n")
    rig.arrive([signal(0, email=ANN), signal(1, email="ben@example.com")])
    rig.drain()
    assert sorted(owner_of(lead) for lead in rig.twin.records(rig.names["lead"])) == sorted([one, two])
    assert [owner_of(each) for each in rig.twin.records(task)] == [two, two]


def with_role(rig: TwinRig, *users: str) -> str:
    """These users have a role; what a mapping calls it."""
    if isinstance(rig.twin, ZohoTwin):
        table = rig.twin.store.table("users")
        for id_ in users:
            table.put(id_, {**table.records[id_], "role": {"name": "Sales", "id": "7328395000000026999"}})
        return "Sales"
    rig.twin.store.table("UserRole").put("00E000000000001AAA", {"Id": "00E000000000001AAA", "DeveloperName": "Sales"})
    table = rig.twin.store.table("User")
    for id_ in users:
        table.put(id_, {**table.records[id_], "UserRoleId": "00E000000000001AAA", "UserType": "Standard"})
    return "Sales"


def test_the_active_users_of_a_role_take_turns(rig: TwinRig) -> None:
    one, away, two = user(rig, "One"), user(rig, "Away", active=False), user(rig, "Two")
    user(rig, "Other")
    role = with_role(rig, one, away, two)
    contacts(rig, 4)
    rig.with_rules(OWN.replace("{owner}", f"role: {role}"))
    called(rig, 0, 1)
    rig.restart()
    called(rig, 2, 3)
    assert Counter(owned(rig)) == {one: 2, two: 2}
    assert {state for state, _ in rig.of_rule("own")} == {"written"}


def test_whoever_joins_a_role_takes_turns_without_a_change_of_the_mapping(rig: TwinRig) -> None:
    one = user(rig, "One")
    role = with_role(rig, one)
    contacts(rig, 3)
    rig.with_rules(OWN.replace("{owner}", f"role: {role}"))
    called(rig, 0)
    two = user(rig, "Two")
    with_role(rig, two)
    rig.later(11 * 60)
    called(rig, 1, 2)
    assert owned(rig)[0] == one
    assert set(owned(rig)[1:]) == {one, two}


def test_a_role_without_active_users_falls_back(rig: TwinRig) -> None:
    boss = user(rig, "Boss")
    contacts(rig, 1)
    rig.with_rules(OWN.replace("{owner}", f"role: Nobody, fallback: '{boss}'"))
    called(rig, 0)
    assert owned(rig) == [boss]


def test_new_people_are_owned_by_a_role_in_turn(rig: TwinRig) -> None:
    one, two = user(rig, "One"), user(rig, "Two")
    role = with_role(rig, one, two)
    rig.mapping = rig.mapping.replace("  create:\n", f"  create:\n    owner: {{role: {role}}}\n", 1)
    rig.with_rules(OWN.replace("{owner}", f"user: '{one}'").replace("call.*", "never.*"))
    task, key, link = (
        ("Tasks", "Syncd_Key", "Who_Id") if isinstance(rig.twin, ZohoTwin) else ("Task", "Syncd_Key__c", "WhoId")
    )
    rule = f"id: t, name: A, signals: ['*'], upsert: {task}, key: {key}, about: person"
    rig.with_rules(f"  - {{{{{rule}, link: {{{{{link}: person}}}}, fields: {{{{Subject: a}}}}}}}}\n")
    rig.arrive([signal(0, email=ANN), signal(1, email="ben@example.com")])
    rig.drain()
    assert sorted(owner_of(lead) for lead in rig.twin.records(rig.names["lead"])) == sorted([one, two])


def test_while_a_role_cannot_be_read_nobody_is_chosen(rig: TwinRig) -> None:
    one = user(rig, "One")
    role = with_role(rig, one)
    contacts(rig, 1)
    before = owned(rig)
    rig.with_rules(OWN.replace("{owner}", f"role: {role}"))
    if isinstance(rig.twin, ZohoTwin):
        rig.twin.plan.add([{"on": "users", "do": "scope", "times": 1}])
    else:
        rig.twin.plan.add([{"on": "query", "do": "error", "status": 400, "code": "INVALID_FIELD", "nth": 2}])
    rig.arrive([signal(0, type="call.missed", email="p0@example.com")])
    rig.step()
    assert (owned(rig), [state for state, _ in rig.of_rule("own")]) == (before, ["held"])
    rig.drain()
    assert owned(rig) == [one]
