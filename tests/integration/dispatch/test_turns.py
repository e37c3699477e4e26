"""Owners of new records take real turns: none is passed over, and a record keeps its owner however often it is sent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from syncd.dispatch.plan import person_key
from syncd.errors import Rejected, Transient
from syncd.testing import hostile_destination as hostile
from tests.lane_rig import MAPPING, Rig, signal, sqlite

OWNERS = MAPPING.replace(
    "    fields:\n      LastName", "    owner: {round_robin: [u1, u2, u3]}\n    fields:\n      LastName", 1
)


def stranger(number: int):  # type: ignore[no-untyped-def]
    return signal(number, email=f"p{number}@example.com")


def owners(rig: Rig) -> list[str]:
    return [lead["OwnerId"] for lead in rig.records("Lead")]


def test_turns_go_on_over_batches_and_restarts(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=OWNERS)
    rig.arrive([stranger(n) for n in range(4)])
    rig.step()
    for n in range(4, 9):
        rig.restart()
        rig.arrive([stranger(n)])
        rig.step()
    assert owners(rig) == ["u1", "u2", "u3"] * 3


def test_a_record_that_is_sent_again_keeps_its_owner(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=OWNERS)
    rig.crm.row_faults[person_key("email:p1@example.com")] = [Transient("locked"), Transient("locked")]
    rig.arrive([stranger(n) for n in range(3)])
    rig.step()
    first = rig.people["email:p1@example.com"]["owner"]
    assert Counter([*owners(rig), first.strip('"')]) == {"u1": 1, "u2": 1, "u3": 1}
    rig.arrive([stranger(3)])
    rig.step()
    rig.restart()
    rig.drain()
    by_email = {lead["Email"]: lead["OwnerId"] for lead in rig.records("Lead")}
    assert (f'"{by_email["p1@example.com"]}"', by_email["p3@example.com"]) == (first, "u1")
    assert rig.people["email:p1@example.com"]["owner"] == ""


def test_after_a_lost_answer_nobody_is_passed_over(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=OWNERS)
    rig.crm.faults = [hostile.lost]
    rig.arrive([stranger(n) for n in range(3)])
    rig.drain()
    rig.arrive([stranger(n) for n in range(3, 6)])
    rig.drain()
    assert Counter(owners(rig)) == {"u1": 2, "u2": 2, "u3": 2}


def test_a_call_taken_apart_takes_each_turn_once(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=OWNERS)
    rig.crm.poison = lambda write: write.fields.get("Email") == "p2@example.com"
    rig.arrive([stranger(n) for n in range(6)])
    rig.drain()
    rig.crm.poison = lambda write: False
    refused = rig.people["email:p2@example.com"]["owner"].strip('"')
    assert Counter([*owners(rig), refused]) == {"u1": 2, "u2": 2, "u3": 2}
    rig.arrive([stranger(6)])
    rig.step()
    assert owners(rig)[-1] == "u1"


def test_one_owner_always_owns(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=OWNERS.replace("[u1, u2, u3]", "[u1]"))
    rig.crm.row_faults[person_key("email:p0@example.com")] = [Rejected("no")]
    rig.arrive([stranger(n) for n in range(3)])
    rig.step()
    assert owners(rig) == ["u1", "u1"]
