"""Strangers by policy and in doubt, from whom a signal is wanted, and the order of the records that several signals share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec

from syncd.connector import Idempotency, Write, WriteKind
from syncd.dispatch.plan import person_key, write_key
from syncd.errors import (
    Rejected,
    Transient,
)
from syncd.signals import make_person
from syncd.testing import hostile_destination as hostile
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import MAPPING, T0, THREADS, Rig, key_of, known, signal, sqlite

UNENFORCED = Idempotency(WriteKind.UPSERT, enforced=False)
FINDABLE = Idempotency(WriteKind.FINDABLE, enforced=False)
UNIQUE = Idempotency(WriteKind.UNIQUE)


# ------------------------------------------------------------------------------------------------------- strangers


def test_a_stranger_in_doubt_is_created_once(tmp_path: Path) -> None:
    for lead, fault in [
        (UNENFORCED, hostile.late),
        (FINDABLE, hostile.late),
        (Idempotency(WriteKind.UPSERT), hostile.lost),
    ]:
        folder = tmp_path / f"{lead.kind}{lead.enforced}"
        folder.mkdir()
        rig = Rig(sqlite(folder), HostileCrm(kinds={"Lead": lead}))
        rig.crm.faults = [fault]
        rig.arrive([signal(1), signal(2)])
        rig.step()
        assert rig.people["email:ann@example.com"]["state"] == "creating"
        rig.later(500)
        rig.crm.arrive()
        rig.arrive([signal(3)])
        rig.drain()
        assert rig.states() == {"delivered": 3}
        assert len(rig.records("Lead")) == 1
        assert len(rig.records("Task")) == 3


def test_a_stranger_whom_the_crm_refuses(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.crm.row_faults[person_key("email:ann@example.com")] = [Rejected("bad", code="INVALID_EMAIL", field="Email")]
    rig.arrive([signal(1), signal(2), signal(3, email="bob@example.com")])
    rig.step()
    assert rig.states() == {"dead": 2, "delivered": 1}
    reasons = {row["reason"] for row in rig.writes if row["state"] == "dead" and row["rule"] == "timeline"}
    assert reasons == {"the record of this person was refused: Email: INVALID_EMAIL: bad"}


def refused_as_duplicate(rig: Rig, *existing: tuple[str, str], **person: str) -> None:
    """The CRM refuses the new record of signal 1's person and names these; one step."""
    one = signal(1, **person)  # type: ignore[arg-type]
    rig.crm.row_faults[person_key(one.person.identity)] = [Rejected("duplicate", existing=existing)]
    rig.arrive([one])
    rig.step()


def test_a_duplicate_that_the_crm_names_is_adopted_as_what_it_is_when_it_agrees(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=MAPPING.replace('Email: "{{ person.email }}", Phone', "Phone", 2))
    other = rig.crm.add("Lead", Email="binh@example.com", LastName="Binh")
    there = rig.crm.add("Contact", Email="ann@example.com", LastName="Ann")
    refused_as_duplicate(rig, ("Lead", other), ("Contact", there))
    assert rig.states() == {"delivered": 1}
    assert rig.records("Task")[0]["WhoId"] == there
    row = rig.people["email:ann@example.com"]
    assert (row["object"], row["role"], row["crm_id"]) == ("Contact", "contact", there)


def test_a_duplicate_that_does_not_agree_is_a_dead_letter_that_names_the_records(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    others = [("Contact", rig.crm.add("Contact", Email=f"{name}@example.com", LastName=name)) for name in ("b", "c")]
    refused_as_duplicate(rig, *others)
    assert rig.states() == {"dead": 1}
    assert rig.records("Task") == []
    assert rig.people["email:ann@example.com"]["state"] == "rejected"
    assert all("none of them has this person's email address" in row["reason"] for row in rig.writes)


def test_a_duplicate_of_a_caller_must_have_number_and_name(tmp_path: Path) -> None:
    for name, states in [("Ann Lee", {"delivered": 1}), ("Bob Lee", {"dead": 1})]:
        folder = tmp_path / name
        folder.mkdir()
        rig = Rig(sqlite(folder), mapping=MAPPING.replace(', Phone: "{{ person.phone }}"}', "}", 1))
        there = rig.crm.add("Contact", FirstName=name.split()[0], LastName="Lee", Phone="+84912345678")
        one = signal(1, email="", phone="+84912345678")
        one = msgspec.structs.replace(one, person=make_person(name="Lee, Ann", phone="+84912345678"))
        rig.crm.row_faults[person_key(one.person.identity)] = [Rejected("duplicate", existing=[("Contact", there)])]
        rig.arrive([one])
        rig.step()
        assert rig.states() == states


def test_a_duplicate_that_cannot_be_read_yet_is_asked_for_again(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), options={"search_lag": 15.0})
    refused_as_duplicate(rig, ("Lead", "Lead-77"))
    assert rig.states() == {"pending": 1}
    rig.crm.records["Lead"] = {"Lead-77": {"Email": "ann@example.com"}}
    rig.drain()
    assert rig.states() == {"delivered": 1}
    assert rig.records("Task")[0]["WhoId"] == "Lead-77"


def test_two_identities_of_one_stranger_are_one_record(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive(
        [
            signal(1, phone="+84912345678"),
            signal(2, email="", phone="+84912345678"),
            signal(3, email="bob@example.com"),
        ]
    )
    rig.step()
    assert len(rig.records("Lead")) == 2
    assert rig.states() == {"delivered": 3}
    assert rig.people["phone:+84912345678"]["crm_id"] == rig.people["email:ann@example.com"]["crm_id"]


def test_who_was_nobody_is_looked_up_again_once_somebody_was_created(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive([signal(1, type="email.bounced", email="", phone="+84912345678")])
    rig.step()
    assert rig.people["phone:+84912345678"]["object"] == ""
    rig.arrive([signal(2, phone="+84912345678")])
    rig.step()
    rig.arrive([signal(3, email="", phone="+84912345678")])
    rig.step()
    assert len(rig.records("Lead")) == 1
    assert rig.states() == {"skipped": 1, "delivered": 2}


def test_policies_for_strangers_and_for_nobody(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive(
        [
            signal(1, type="email.bounced"),
            signal(2, type="chat.missed", email="bob@example.com"),
            signal(3, email=""),
        ]
    )
    rig.step()
    assert rig.states() == {"skipped": 2, "held": 1}
    assert {row["reason"] for row in rig.writes} == {"stranger", "nobody"}
    assert rig.records("Lead") == []
    rig.crm.add("Contact", Email="bob@example.com")
    rig.later(3600)
    rig.step()
    assert rig.states() == {"skipped": 2, "delivered": 1}
    rig.arrive([signal(4, type="chat.missed", email="eve@example.com")])
    rig.drain(400)
    assert (rig.now - T0).total_seconds() >= 7 * 86400
    assert rig.states() == {"skipped": 3, "delivered": 1}


def test_from_whom_is_decided_before_strangers_are_made(tmp_path: Path) -> None:
    rig = Rig(
        sqlite(tmp_path),
        channels={"desk": {"created": ("lead", "contact"), "replied": ("deal",), "rated": ("account",)}},
    )
    rig.crm.add("Contact", Email="c@example.com", AccountId="A-1")
    rig.crm.add("Contact", Email="d@example.com", deal=True)
    for n, email in enumerate(["x@example.com", "c@example.com", "d@example.com", ""]):
        rig.arrive([signal(n, type=f"ticket.{what}", email=email) for what in ("created", "replied", "rated")])
    rig.step()
    assert rig.records("Lead") == []
    assert rig.states() == {"delivered": 4, "skipped": 8}


# ------------------------------------------------------------------------------------------------ records of a thread


def test_signals_of_one_thread_are_merged_into_one_write(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=THREADS)
    rig.arrive(
        [signal(n, thread="T", at=T0 + timedelta(seconds=n), text="first" if n == 0 else "") for n in (3, 1, 0, 2)]
    )
    rig.later(10)
    rig.step()
    assert rig.crm.calls == ["write"]
    (case,) = rig.records("Case")
    assert case["Subject"] == "signal 3"
    assert case["Text"] == "first"
    assert rig.states() == {"delivered": 4}


def test_of_a_merged_write_only_the_bad_signal_dies(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=THREADS)
    key = write_key("thread:T", "case")
    rig.crm.row_faults[key] = [Rejected("all")]
    rig.later(10)
    rig.arrive([signal(n, thread="T", at=T0 + timedelta(seconds=n)) for n in range(3)])

    def second(write: Write) -> bool:
        return bool(write.fields["Subject"] == "signal 1")

    rig.crm.poison = second
    rig.step()
    assert rig.states() == {"delivered": 2, "dead": 1}
    assert rig.records("Case")[0]["Subject"] == "signal 2"


def test_an_older_signal_never_overwrites_a_newer_one(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=THREADS)
    rig.arrive([signal(2, thread="T", at=T0)])
    rig.step()
    rig.arrive([signal(1, thread="T", at=T0 - timedelta(days=1))])
    rig.step()
    assert rig.states() == {"delivered": 1, "skipped": 1}
    assert rig.records("Case")[0]["Subject"] == "signal 2"


def test_a_later_write_waits_for_an_earlier_one_and_a_dead_one_blocks_nobody(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=THREADS)
    key = write_key("thread:T", "case")
    rig.crm.row_faults[key] = [Transient("locked"), Transient("locked"), Rejected("no")]
    rig.arrive([signal(1, thread="T", at=T0)])
    rig.step()
    rig.arrive([signal(2, thread="T", at=T0 + timedelta(seconds=1))])
    rig.step()
    assert rig.crm.calls == ["write"]
    rig.drain()
    # Both were due at last, went as one, and were refused as one: the latest alone was good.
    assert rig.states() == {"delivered": 1, "skipped": 1}
    assert rig.records("Case")[0]["Subject"] == "signal 2"


def test_backfill_looks_before_it_writes(tmp_path: Path) -> None:
    rig = known(tmp_path, FINDABLE)
    rig.crm.add("Task", key=key_of(1), Subject="written before the database was lost", Status="Reopened by Eve")
    rig.arrive([signal(1), signal(2)], live=False, old=True)
    rig.step()
    assert rig.crm.calls == ["resolve", "find", "write"]
    assert len(rig.records("Task")) == 2
    assert rig.records("Task")[0]["Status"] == "Reopened by Eve"
    assert rig.states() == {"delivered": 2}


def test_when_it_cannot_be_looked_up_nothing_is_written(tmp_path: Path) -> None:
    rig = known(tmp_path, FINDABLE)
    rig.crm.faults, rig.crm.find_faults = [hostile.lost], [Transient("index down")]
    rig.arrive([signal(1)])
    rig.drain()
    assert rig.states() == {"delivered": 1}
    assert len(rig.records("Task")) == 1
    assert rig.crm.calls.count("find") == 2
