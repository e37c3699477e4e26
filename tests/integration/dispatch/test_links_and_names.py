"""Links that only some people can be put into, companies under the CRM's own name, and names that the CRM knows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from syncd.connectors.crm.salesforce import Salesforce
from syncd.connectors.crm.zoho import Zoho
from syncd.signals import make_person
from syncd.testing.hostile_destination import HostileDestination
from tests.lane_rig import MAPPING, Rig, signal, sqlite

CASES = MAPPING.replace("upsert: Task", "upsert: Case").replace("{WhoId: person}", "{ContactId: LINK}")
CALLS = MAPPING.replace("{{ signal.title }}", "Call back {{ person.name or person.phone or person.email }}")


def case_rig(folder: Path, link: str) -> Rig:
    folder.mkdir()
    rig = Rig(sqlite(folder), mapping=CASES.replace("LINK", link))
    rig.crm.add("Lead", Email="ann@example.com")
    rig.arrive([signal(1)])
    rig.step()
    return rig


def test_a_link_is_left_out_or_the_rule_skipped_for_whom_it_does_not_take(tmp_path: Path) -> None:
    left_out = case_rig(tmp_path / "1", "{person: Contact}")
    assert "ContactId" not in left_out.records("Case")[0]
    skipped = case_rig(tmp_path / "2", "{person: Contact, otherwise: skip}")
    assert skipped.records("Case") == []
    (row,) = skipped.writes
    assert (row["state"], row["reason"]) == ("skipped", "their record is a Lead, and ContactId takes a Contact")
    taken = case_rig(tmp_path / "3", "{person: [Contact, Lead], otherwise: skip}")
    assert taken.records("Case")[0]["ContactId"] == "Lead-1"


def test_the_crm_may_know_what_a_link_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = {"ContactId": ("Contact",)}
    monkeypatch.setattr(HostileDestination, "link_takes", lambda _, object, field: takes.get(field, ()), raising=False)
    assert "ContactId" not in case_rig(tmp_path / "1", "person").records("Case")[0]


def test_what_the_two_crms_say_of_their_links() -> None:
    assert object.__new__(Salesforce).link_takes("Case", "ContactId") == ("Contact",)
    assert object.__new__(Salesforce).link_takes("Task", "WhatId") == ()
    assert object.__new__(Zoho).link_takes("Tasks", "Who_Id") == ("Contacts", "Leads")


def test_a_follow_up_has_the_name_that_the_crm_knows(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=CALLS)
    rig.crm.add("Contact", FirstName="Ann", LastName="Lee", Phone="+84912345678")
    call = signal(1, email="", phone="+84912345678")
    named = msgspec.structs.replace(signal(2), person=make_person(name="Dr. Lee", phone="+84912345678"))
    rig.arrive([call, named])
    rig.step()
    assert {task["Subject"] for task in rig.records("Task")} == {"Call back Ann Lee", "Call back Dr. Lee"}


def test_a_person_whom_syncd_made_keeps_the_name_that_a_signal_told(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=CALLS)
    rig.arrive([msgspec.structs.replace(signal(1), person=make_person(name="Ann Lee", email="ann@example.com"))])
    rig.step()
    rig.restart()
    rig.arrive([signal(2)])
    rig.step()
    assert [task["Subject"] for task in rig.records("Task")] == ["Call back Ann Lee"] * 2
