"""Rounds of a lane against a CRM in memory that behaves: what is written, skipped, held, and in how many calls."""

from __future__ import annotations

from pathlib import Path

from syncd.dispatch.plan import PEOPLE_CREATE
from tests.lane_rig import Rig, signal, sqlite


def test_a_signal_of_somebody_known_becomes_a_record(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    ann = rig.crm.add("Contact", Email="ann@example.com")
    rig.arrive([signal(1)])
    assert rig.step().settled == 1
    assert rig.states() == {"delivered": 1}
    (task,) = rig.records("Task")
    assert task["Subject"] == "signal 1"
    assert task["WhoId"] == ann
    assert task["Status"] == "Completed"
    assert [row["state"] for row in rig.writes] == ["written"]
    assert [row["outcome"] for row in rig.attempts] == ["written"]


def test_work_economy(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    for number in range(350):
        rig.crm.add("Contact", Email=f"p{number}@example.com")
    rig.arrive([signal(n, email=f"p{n % 400}@example.com") for n in range(1000)])
    assert rig.step().calls == 3
    assert rig.crm.calls == ["resolve", "write", "write"]
    assert rig.states() == {"delivered": 1000}
    assert len(rig.records("Lead")) == 50
    assert {row["attempts"] for row in rig.writes if row["rule"] == PEOPLE_CREATE} == {1}
    rig.arrive([signal(n, email=f"p{n % 400}@example.com") for n in range(1000, 2000)])
    assert rig.step().calls == 1
    assert len(rig.records("Task")) == 2000
