"""People by all their identities: known by a handle, tied together, held in a conflict."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import event

from syncd.errors import StaleReference
from syncd.identity.ties import tie
from syncd.signals import make_person
from syncd.store.identity_ties import set_tie
from syncd.store.schema import deliveries, identity_ties, settled
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import MAPPING, Rig, key_of, signal, sqlite

ANN, PHONE, FACE = "ann@example.com", "+84912345678", {"facebook": "22334"}
BY_HANDLE = MAPPING.replace(
    'Phone: "{{ person.phone }}"}', 'Phone: "{{ person.phone }}", Fb: "{{ person.handles.facebook }}"}'
).replace(
    '      LastName: "{{ person.last_name or person.email or person.phone }}"',
    '      LastName: "{{ person.last_name or person.email or person.phone or person.handles.facebook }}"\n'
    '      Fb: "{{ person.handles.facebook }}"',
)
BY_EMAIL_ONLY = MAPPING.replace(', Phone: "{{ person.phone }}"}', "}")


def nobody(number: int, **parts: Any) -> Any:
    """A signal of a person of whom only these parts are known."""
    return signal(number, **{"email": "", **parts})


def rig_of(tmp_path: Path, mapping: str = BY_HANDLE) -> Rig:
    return Rig(sqlite(tmp_path), HostileCrm(), mapping)


def ties(rig: Rig) -> dict[tuple[str, str], str]:
    return {(row["identity"], row["other"]): row["via"] for row in rig.rows(identity_ties)}


def targets(rig: Rig) -> list[str]:
    return [record["WhoId"] for record in rig.records("Task")]


def test_somebody_known_by_a_handle_alone_is_created_once_and_then_found(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    rig.arrive([nobody(1, handles=FACE), nobody(2, handles={"Facebook": "22334"})])
    rig.arrive([nobody(3, handles={"facebook": "9"})])
    rig.drain()
    rig.arrive([nobody(4, handles=FACE, type="facebook.commented")])
    rig.drain()
    assert sorted((lead["Fb"], lead["LastName"]) for lead in rig.records("Lead")) == [("22334", "22334"), ("9", "9")]
    assert sorted(Counter(targets(rig)).values()) == [1, 3]
    assert set(rig.people) == {"handle:facebook:22334", "handle:facebook:9"}
    assert ties(rig) == {}  # one identity each: nothing to tie, nothing written


def test_a_contact_with_the_handle_is_them(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    contact = rig.crm.add("Contact", Fb="22334", Email="other@example.com")
    rig.arrive([nobody(1, handles=FACE)])
    rig.drain()
    assert targets(rig) == [contact]
    assert rig.records("Lead") == []


def test_a_mapping_without_a_field_for_the_handle_says_so_and_asks_nobody(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, MAPPING)
    rig.arrive([nobody(1, handles=FACE)])
    rig.drain()
    assert (rig.records("Lead"), rig.crm.calls, rig.people) == ([], [], {})
    (row,) = rig.rows(settled)
    assert row["state"] == "skipped"
    assert row["reason"] == "people.match has no field for a facebook handle, and nothing else is known of this person"


@pytest.mark.parametrize("mapping", [MAPPING, BY_EMAIL_ONLY], ids=["by number", "by email alone"])
def test_a_caller_who_fills_in_a_form_and_later_writes_is_one_lead(tmp_path: Path, mapping: str) -> None:
    rig = rig_of(tmp_path, mapping)
    rig.arrive([nobody(1, phone=PHONE)])
    rig.drain()
    rig.arrive([signal(2, phone=PHONE)])
    rig.drain()
    rig.later(40 * 60)
    rig.arrive([signal(3), nobody(4, phone=PHONE)])
    rig.drain()
    assert len(rig.records("Lead")) == 1
    assert targets(rig) == ["Lead-1"] * 4
    assert ties(rig) == {(f"email:{ANN}", f"phone:{PHONE}"): "signal"}
    (tied,) = rig.rows(identity_ties)
    assert tied["evidence"] == str(signal(2).id)


def test_they_are_one_lead_when_all_of_it_arrives_at_once(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    rig.arrive([nobody(1, phone=PHONE), signal(2), signal(3, phone=PHONE), nobody(4, handles=FACE, phone=PHONE)])
    rig.drain()
    assert len(rig.records("Lead")) == 1
    assert set(targets(rig)) == {"Lead-1"}


def test_a_chat_visitor_who_leaves_an_address_is_known_by_it(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    contact = rig.crm.add("Contact", Email=ANN)
    rig.arrive([signal(1, handles=FACE)])
    rig.drain()
    rig.arrive([nobody(2, handles=FACE)])
    rig.drain()
    assert targets(rig) == [contact, contact]
    assert rig.records("Lead") == []


def test_a_number_that_two_people_use_ties_nobody(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    rig.arrive([signal(1, phone=PHONE), signal(2, email="bob@example.com", phone=PHONE)])
    rig.drain()
    rig.arrive([signal(3), signal(4, email="bob@example.com")])
    rig.drain()
    assert sorted(lead["Email"] for lead in rig.records("Lead")) == [ANN, "bob@example.com"]
    assert sorted(targets(rig)) == ["Lead-1", "Lead-1", "Lead-2", "Lead-2"]
    assert {row["identity"] for row in rig.people.values()} == {f"email:{ANN}", "email:bob@example.com"}


def test_the_address_of_a_role_ties_nobody(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, BY_EMAIL_ONLY)
    rig.arrive([signal(1, email="info@example.com", phone=PHONE), signal(2, email="info@example.com", handles=FACE)])
    rig.drain()
    rig.arrive([nobody(3, phone=PHONE)])
    rig.drain()
    assert len(rig.records("Lead")) == 2  # info@ and the caller
    assert ties(rig) == {}


def conflict(tmp_path: Path, mapping: str = BY_HANDLE) -> Rig:
    """Somebody wrote and, before anything tied the two together, called: two leads. Now they fill in a form."""
    rig = rig_of(tmp_path, mapping)
    for one in (signal(1), nobody(2, phone=PHONE)):
        rig.arrive([one])
        rig.drain()
    assert len(rig.records("Lead")) == 2
    rig.arrive([signal(3, phone=PHONE)])
    rig.step()
    return rig


def test_two_records_of_one_person_are_a_conflict_that_is_held_and_shown(tmp_path: Path) -> None:
    rig = conflict(tmp_path)
    (held,) = rig.rows(deliveries)
    assert held["state"] == "held"
    assert held["reason"] == (
        "timeline: several records have identities of this person: Lead Lead-1 (ann@example.com) https://crm.example/Lead/Lead-1,"
        " Lead Lead-3 (+84912345678) https://crm.example/Lead/Lead-3"
    )
    assert len(targets(rig)) == 2
    rig.later(3600)
    rig.crm.records["Lead"].pop("Lead-3")  # an operator merges them
    rig.crm.records["Lead"]["Lead-1"]["Phone"] = PHONE
    rig.drain()
    assert targets(rig) == ["Lead-1", "Lead-3", "Lead-1"]


def test_a_mail_without_the_number_is_not_held_by_the_conflict(tmp_path: Path) -> None:
    rig = conflict(tmp_path)
    rig.arrive([signal(4)])
    rig.step()
    assert targets(rig) == ["Lead-1", "Lead-3", "Lead-1"]


def test_the_mapping_may_say_that_the_first_record_counts(tmp_path: Path) -> None:
    rig = conflict(tmp_path, BY_HANDLE.replace("  strangers:", "  conflict: first\n  strangers:"))
    assert rig.rows(deliveries) == []
    assert targets(rig) == ["Lead-1", "Lead-3", "Lead-1"]


@pytest.mark.parametrize("apart", [True, False], ids=["unlinked", "linked"])
def test_an_operator_decides_a_conflict(tmp_path: Path, apart: bool) -> None:
    rig = conflict(tmp_path)
    said = tie(f"email:{ANN}", f"phone:{PHONE}", "operator", "", 0, apart=apart)
    rig.store.apply(lambda connection: set_tie(connection, said))
    rig.later(3600)
    rig.drain()
    assert targets(rig) == ["Lead-1", "Lead-3", "Lead-1"]


def test_what_is_tied_to_a_record_that_is_gone_is_looked_up_afresh(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, BY_EMAIL_ONLY)
    rig.arrive([nobody(1, phone=PHONE)])
    rig.drain()
    rig.arrive([signal(2, phone=PHONE)])
    rig.drain()
    assert {row["crm_id"] for row in rig.people.values()} == {"Lead-1"}
    contact = rig.crm.add("Contact", Email=ANN)
    rig.crm.records["Lead"].pop("Lead-1")  # it was converted
    rig.crm.row_faults = {key_of(3): [StaleReference("the lead was converted", field="WhoId")]}
    rig.arrive([signal(3)])
    rig.drain()
    assert targets(rig)[-1] == contact


def test_a_record_with_handle_and_address_ties_them(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    contact = rig.crm.add("Contact", Fb="22334", Email=ANN)
    rig.arrive([nobody(1, handles=FACE)])
    rig.drain()
    assert ties(rig) == {(f"email:{ANN}", "handle:facebook:22334"): "record"}
    (tied,) = rig.rows(identity_ties)
    assert tied["evidence"] == f"crm Contact {contact}"


def test_that_a_record_has_a_number_does_not_make_its_next_owner_that_person(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    contact = rig.crm.add("Contact", Phone=PHONE, Email=ANN)
    rig.arrive([nobody(1, phone=PHONE)])
    rig.drain()
    assert ties(rig) == {(f"email:{ANN}", f"phone:{PHONE}"): "record"}
    rig.crm.records["Contact"][contact]["Phone"] = ""  # the number has another owner now
    rig.later(40 * 60)
    rig.arrive([nobody(2, phone=PHONE)])
    rig.drain()
    assert targets(rig)[0] == contact
    assert targets(rig)[1] != contact


def test_people_known_by_one_identity_cost_no_query_of_ties_and_strangers_one_a_round(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    asked: list[str] = []
    with rig.store.read() as connection:
        engine = connection.engine

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if "identity_ties" in statement:
            asked.append(statement)

    everybody = [f"p{number}@example.com" for number in range(50)]
    rig.arrive([signal(number, email=email) for number, email in enumerate(everybody)])
    rig.drain()
    assert len(rig.records("Lead")) == 50
    assert [statement.split()[0] for statement in asked] == ["SELECT"]
    asked.clear()
    rig.arrive([signal(100 + number, email=email) for number, email in enumerate(everybody)])
    rig.drain()
    assert len(rig.records("Task")) == 100
    assert asked == []


TOLD = MAPPING.replace(
    '      Email: "{{ person.email }}"\n', '      Email: "{{ person.email }}"\n      Company: "{{ person.company }}"\n'
)


def chatted(number: int) -> Any:
    """A chat, whose visitors are held as strangers, with all that is known of Ann."""
    person = make_person(name="Ann Lee", email=ANN, phone=PHONE, company="Firm")
    return msgspec.structs.replace(signal(number, type="chat.missed"), person=person)


def test_who_is_created_gets_what_was_said_where_their_identities_were_tied(tmp_path: Path) -> None:
    """Also when that signal is not at hand: it waits, or was worked off long ago."""
    rig = Rig(sqlite(tmp_path), HostileCrm(), TOLD)
    rig.arrive([chatted(1)])
    rig.step()
    rig.later(60)
    rig.arrive([nobody(2, phone=PHONE)])
    rig.step()
    _, made = rig.crm.history[0]  # as it was made, before anything was filled in
    assert made == {"LastName": "Lee", "Email": ANN, "Phone": PHONE, "Company": "Firm"}
    rig.drain()
    assert len(rig.records("Lead")) == 1
    assert targets(rig) == ["Lead-1"] * 2


def test_of_people_whom_an_operator_keeps_apart_nothing_is_taken_over(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm(), TOLD)
    rig.arrive([chatted(1)])
    rig.step()
    rig.store.apply(
        lambda connection: set_tie(connection, tie(f"email:{ANN}", f"phone:{PHONE}", "operator", "", 1, apart=True))
    )
    rig.later(60)
    rig.arrive([nobody(2, phone=PHONE)])
    rig.step()
    (lead,) = rig.records("Lead")
    assert (lead["LastName"], lead.get("Company")) == (PHONE, None)
