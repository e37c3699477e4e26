"""A record that syncd made of a number or handle gets the name and address that a later signal of the same person tells, in both
CRMs; nothing that stands there is written over, and nobody gets the address of another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.connector import Write
from tests.integration.dispatch.test_own_records import TwinRig, salesforce, zoho
from tests.lane_rig import signal

ANN, PHONE = "ann@example.com", "+84912345678"


@pytest.fixture(params=[salesforce, zoho])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwinRig]:
    made: TwinRig = request.param(tmp_path)
    yield made
    made.client.close()
    made.twin.stop()


def call(number: int, **more: Any) -> Any:
    return signal(number, email="", phone=PHONE, type="call.missed", **more)


def form(number: int, **more: Any) -> Any:
    return signal(number, phone=PHONE, type="survey.responded", **more)


def come(rig: TwinRig, *signals: Any) -> None:
    for one in signals:
        rig.arrive([one])
        rig.later(60)
        rig.drain()


def lead(rig: TwinRig) -> tuple[str, str, str, str]:
    """Of the only lead: first and last name, address, number."""
    (found,) = rig.twin.records(rig.names["lead"])
    first = "FirstName" if rig.names["lead"] == "Lead" else "First_Name"
    return found.get(first) or "", found[rig.names["last"]], found.get("Email") or "", found.get("Phone") or ""


def change(rig: TwinRig, **fields: Any) -> None:
    (there,) = rig.twin.records(rig.names["lead"])
    write = Write(key="k", object=rig.names["lead"], id=there.get("Id") or there["id"], fields=fields)
    for made in rig.client.plan([write]):
        rig.client.send(made)


def test_a_caller_who_fills_in_a_form_gets_name_and_address(rig: TwinRig) -> None:
    come(rig, call(1))
    assert lead(rig) == ("", PHONE, "", PHONE)
    come(rig, form(2, name="Ann Lee"), signal(3, name="Ann Lee"), call(4))
    assert lead(rig) == ("Ann", "Lee", ANN, PHONE)
    assert rig.of_rule("people.name") == [("written", "")]
    assert rig.states() == {"delivered": 4}


def test_a_caller_who_says_a_name_gets_the_address_of_the_form(rig: TwinRig) -> None:
    come(rig, call(1, name="Ann Lee"))
    come(rig, form(2, name="Lee Ann"))
    assert lead(rig) == ("Ann", "Lee", ANN, PHONE)
    assert rig.of_rule("people.name") == [("written", "")]


def test_an_address_without_a_name_is_filled_in_too(rig: TwinRig) -> None:
    come(rig, call(1), form(2))
    assert lead(rig) == ("", PHONE, ANN, PHONE)
    come(rig, signal(3, name="Ann Lee"))
    assert lead(rig) == ("Ann", "Lee", ANN, PHONE)


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_is_written_once_when_the_answer_is_lost(rig: TwinRig, when: str) -> None:
    come(rig, call(1))
    rig.twin.plan.add(
        [
            {
                "on": "update_collection" if rig.names["lead"] == "Lead" else "update",
                "do": "reset",
                "when": when,
                "times": 1,
            }
        ]
    )
    rig.arrive([form(2, name="Ann Lee")])
    rig.step()
    assert rig.of_rule("people.name")[0][0] == "pending"
    for _ in range(3):
        rig.later(3600)
        rig.step()
    assert lead(rig) == ("Ann", "Lee", ANN, PHONE)
    assert rig.of_rule("people.name") == [("written", "")]


def test_what_people_entered_stays(rig: TwinRig) -> None:
    come(rig, call(1))
    change(rig, **{rig.names["last"]: "Lee-Smith"})
    come(rig, form(2, name="Ann Lee"))
    assert lead(rig)[:3] == ("", "Lee-Smith", "")  # another name: perhaps another person


def test_a_record_of_the_users_own_is_not_completed(rig: TwinRig) -> None:
    rig.twin.add(rig.names["lead"], **{rig.names["last"]: "Lee", "Phone": PHONE, "Company": "X"})
    come(rig, form(1, name="Lee"))
    assert lead(rig)[2] == ""


def test_the_address_of_a_role_and_a_shared_number_complete_nothing(rig: TwinRig) -> None:
    come(rig, call(1))
    come(rig, form(2, email="info@example.com"))
    assert lead(rig) == ("", PHONE, "", PHONE)


def test_a_number_that_two_people_use_completes_nothing(rig: TwinRig) -> None:
    come(rig, call(1))
    rig.arrive([form(2), form(3, email="bob@example.com")])
    rig.later(60)
    rig.drain()
    found = rig.twin.records(rig.names["lead"])
    bare = [one for one in found if one[rig.names["last"]] == PHONE]
    assert [one.get("Email") for one in bare] == [None]
    assert len(found) == 3
