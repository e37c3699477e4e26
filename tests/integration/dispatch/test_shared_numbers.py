"""A phone number that several people share never makes one person of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import MAPPING, T0, Rig, signal, sqlite

OFFICE = "+842812345678"


def colleagues(first: int = 1) -> list:  # type: ignore[type-arg]
    return [
        signal(first + n, email=f"{name}@example.com", phone=OFFICE) for n, name in enumerate(("ann", "ben", "cat"))
    ]


def linked(rig: Rig) -> dict[str, str]:
    """Subject of each task -> the record that it is linked to."""
    return {task["Subject"]: task["WhoId"] for task in rig.records("Task")}


def test_an_address_on_a_lead_beats_a_number_on_a_contact(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.crm.add("Contact", Email="bob@example.com", Phone=OFFICE, LastName="Boss")
    ann = rig.crm.add("Lead", Email="ann@example.com", LastName="New")
    rig.arrive([signal(1, phone=OFFICE)])
    rig.step()
    rig.arrive([signal(2)])
    rig.step()
    assert linked(rig) == {"signal 1": ann, "signal 2": ann}


def test_whoever_has_another_address_is_a_stranger(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    bob = rig.crm.add("Contact", Email="bob@example.com", Phone=OFFICE)
    rig.arrive([signal(1, phone=OFFICE)])
    rig.step()
    assert [lead["Email"] for lead in rig.records("Lead")] == ["ann@example.com"]
    assert bob not in linked(rig).values()


def test_colleagues_of_one_batch_or_of_several_become_one_record_each(tmp_path: Path) -> None:
    for name, batches in [("one", [colleagues()]), ("three", [[one] for one in colleagues()])]:
        (folder := tmp_path / name).mkdir()
        rig = Rig(sqlite(folder))
        for batch in batches:
            rig.arrive(batch)
            rig.step()
        assert sorted(lead["Email"] for lead in rig.records("Lead")) == [
            f"{n}@example.com" for n in ("ann", "ben", "cat")
        ]
        assert len(set(linked(rig).values())) == 3


def test_colleagues_do_not_share_a_record_that_has_no_address(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    desk = rig.crm.add("Lead", LastName="Reception", Phone=OFFICE)
    rig.arrive(colleagues())
    rig.step()
    assert len(rig.records("Lead")) == 4
    assert desk not in linked(rig).values()


def test_whoever_is_known_as_the_record_keeps_it(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    desk = rig.crm.add("Lead", LastName="An", Phone=OFFICE)
    rig.arrive([signal(1, phone=OFFICE)])
    rig.step()
    rig.arrive([signal(2, email="ben@example.com", phone=OFFICE), signal(3, phone=OFFICE)])
    rig.step()
    assert [linked(rig)[f"signal {n}"] == desk for n in (1, 2, 3)] == [True, False, True]


def test_a_match_by_number_is_never_believed(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    bob = rig.crm.add("Contact", LastName="Bob", Phone=OFFICE)
    rig.arrive([signal(1, phone=OFFICE)])
    rig.step()
    assert linked(rig) == {"signal 1": bob}
    rig.crm.records["Contact"][bob]["Email"] = "bob@example.com"
    rig.arrive([signal(2, phone=OFFICE), signal(3)])
    rig.step()
    assert [lead["Email"] for lead in rig.records("Lead")] == ["ann@example.com"]
    assert bob not in (linked(rig)["signal 2"], linked(rig)["signal 3"])


def test_a_caller_whom_several_records_may_be_is_held_and_the_records_are_named(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), channels={"calls": {"missed": ("lead", "contact")}})
    ids = [rig.crm.add("Contact", LastName=name, Email=f"{name}@example.com", Phone=OFFICE) for name in ("Ann", "Ben")]
    call = signal(1, email="", phone=OFFICE, type="call.missed")
    rig.arrive([call])
    rig.step()
    assert rig.states() == {"held": 1}
    (row,) = rig.writes
    links = [f"https://crm.example/Contact/{id_}" for id_ in ids]
    assert f"Contact {ids[0]} (Ann) {links[0]}, Contact {ids[1]} (Ben) {links[1]}" in row["reason"]
    assert rig.people[f"phone:{OFFICE}"]["state"] == "conflict"
    assert rig.records("Lead") == []
    rig.crm.records["Contact"][ids[1]]["Phone"] = ""
    rig.later(3600)
    rig.step()
    assert rig.states() == {"delivered": 1}
    assert linked(rig) == {"signal 1": ids[0]}


def test_the_mapping_may_let_the_first_record_count(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=MAPPING.replace("  strangers:", "  conflict: first\n  strangers:"))
    rig.crm.add("Lead", LastName="Ben", Email="ben@example.com", Phone=OFFICE)
    first = rig.crm.add("Contact", LastName="Ann", Email="ann@example.com", Phone=OFFICE)
    rig.arrive([signal(1, email="", phone=OFFICE)])
    rig.step()
    assert linked(rig) == {"signal 1": first}


def test_a_caller_who_may_be_any_of_the_newcomers_waits_and_is_held(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm())
    rig.arrive([*colleagues(), signal(9, email="", phone=OFFICE)])
    rig.step()
    assert rig.states() == {"delivered": 3, "pending": 1}
    rig.later(2)
    rig.step()
    assert rig.states() == {"delivered": 3, "held": 1}
    assert len(rig.records("Lead")) == 3


def at(minute: int) -> datetime:
    return T0 - timedelta(minutes=10 - minute)


def test_a_caller_is_whoever_brought_the_number_next_in_one_batch_as_in_several(tmp_path: Path) -> None:
    for name, in_one_batch in (("one", True), ("each", False)):
        (folder := tmp_path / name).mkdir()
        rig = Rig(sqlite(folder), HostileCrm())
        arrivals = [
            signal(1, email="", phone=OFFICE, type="call.missed", at=at(0)),
            signal(2, email="fay@example.com", phone=OFFICE, at=at(1)),
            signal(3, email="gus@example.com", phone=OFFICE, at=at(2)),
            signal(4, email="", phone=OFFICE, type="call.missed", at=at(3)),
        ]
        for batch in [arrivals] if in_one_batch else [[one] for one in arrivals]:
            rig.arrive(batch)
            rig.step()
        assert rig.states() == {"delivered": 4}
        assert len(rig.records("Lead")) == 2
        who = linked(rig)
        assert who["signal 1"] == who["signal 2"] == who["signal 4"] != who["signal 3"]


def test_a_call_while_one_alone_had_the_number_is_theirs(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm())
    rig.arrive(
        [
            signal(1, email="fay@example.com", phone=OFFICE, at=at(0)),
            signal(2, email="", phone=OFFICE, type="call.missed", at=at(1)),
            signal(3, email="gus@example.com", phone=OFFICE, at=at(2)),
        ]
    )
    rig.step()
    assert rig.states() == {"delivered": 3}
    assert linked(rig)["signal 1"] == linked(rig)["signal 2"] != linked(rig)["signal 3"]


def test_the_number_or_name_of_a_later_signal_of_the_batch_counts_too(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive([signal(1), signal(2, phone=OFFICE), signal(3, email="", phone=OFFICE)])
    rig.step()
    (lead,) = rig.records("Lead")
    assert (lead["Email"], lead["Phone"]) == ("ann@example.com", OFFICE)
