"""A limit of one operation or module stops the writes to that object alone; the lane and every other object continue."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.connector import Idempotency, WriteKind
from syncd.errors import RateLimited
from syncd.testing import hostile_destination as hostile
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import MAPPING, T0, THREADS, Rig, key_of, signal, sqlite

BOTH = MAPPING + THREADS.partition("rules:\n")[2]
SLOW = RateLimited("too many tasks", code="LIMIT", retry_after=60, scope="task.add")


def both(tmp_path: Path, **options: int) -> Rig:
    """Each signal becomes a Task and, once a thread, a Case."""
    crm = HostileCrm(kinds={"Task": Idempotency(WriteKind.UPSERT)})
    rig = Rig(sqlite(tmp_path), crm, mapping=BOTH, options=options)
    rig.crm.add("Contact", Email="ann@example.com")
    return rig


def test_a_call_with_several_objects_is_taken_apart_first(tmp_path: Path) -> None:
    """Which of them is limited is not known before."""
    rig = both(tmp_path)
    rig.crm.faults = [hostile.before(SLOW)]
    rig.arrive([signal(n, thread=f"t{n}") for n in range(3)])
    assert rig.step().settled == 3
    assert rig.states() == {"delivered": 3}


@pytest.mark.parametrize("whole", [True, False])
def test_the_other_object_is_written_and_the_limited_one_later(tmp_path: Path, whole: bool) -> None:
    rig = both(tmp_path, per_call=1 if whole else 1000)
    if whole:
        rig.crm.faults = [hostile.before(SLOW)]
    else:
        rig.crm.row_faults[key_of(0)] = [SLOW]
    rig.arrive([signal(n, thread=f"t{n}") for n in range(3)])
    for _ in range(3):
        rig.step()
    pending = [row for row in rig.writes if row["state"] == "pending"]
    assert len(rig.records("Case")) == 3
    assert pending
    assert {row["attempts"] for row in pending} == {0}
    assert {row["rule"] for row in pending} == {"timeline"}
    at = round(T0.timestamp() * 1000)
    assert {row["due_at"] - at for row in pending} == {60_000}
    assert {row["reason"] for row in pending} == {"limited: LIMIT: too many tasks"}
    rig.later(61)
    rig.drain()
    assert rig.states() == {"delivered": 3}
    assert len(rig.records("Task")) == 3
    rig.check_books()
