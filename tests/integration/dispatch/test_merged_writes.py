"""Several signals that write one record: what is sent as one, taken apart, sent again, and given another chance."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from syncd.connector import Call, Idempotency, Outcome, WriteKind
from syncd.dispatch.plan import person_key
from syncd.errors import Ambiguous, Failure, RateLimited, Rejected, Transient
from syncd.signals import Signal
from syncd.testing import hostile_destination as hostile
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import T0, THREADS, Rig, key_of, known, signal, sqlite

UNENFORCED = Idempotency(WriteKind.UPSERT, enforced=False)
FINDABLE = Idempotency(WriteKind.FINDABLE, enforced=False)


def threads(tmp_path: Path, keying: Idempotency = UNENFORCED) -> Rig:
    return Rig(sqlite(tmp_path), HostileCrm(kinds={"Case": keying}), mapping=THREADS)


def of_thread(number: int) -> Signal:
    return signal(number, thread="t", title=f"{number}", at=T0 - timedelta(minutes=60 - number))


def sent(rig: Rig) -> list[object]:
    return [fields["Subject"] for _, fields in rig.crm.history]


@pytest.mark.parametrize("keying", [UNENFORCED, FINDABLE], ids=lambda keying: str(keying.kind))
def test_an_update_by_id_that_was_lost_goes_again_without_waiting_for_the_doubt(
    tmp_path: Path, keying: Idempotency
) -> None:
    rig = threads(tmp_path, keying)
    rig.arrive([of_thread(1)])
    rig.step()
    rig.crm.faults = [lambda crm, call: [Ambiguous("no answer")]]
    rig.arrive([of_thread(2)])
    rig.step()
    (open_one,) = [row for row in rig.writes if row["state"] != "written"]
    assert (open_one["state"], open_one["attempts"]) == ("pending", 1)
    rig.later(5)
    rig.step()
    assert rig.states() == {"delivered": 2}
    assert [record["Subject"] for record in rig.records("Case")] == ["2"]


@pytest.mark.parametrize(
    ("first", "states"),
    [(Transient("locked"), {"pending": 3}), (Rejected("no"), {"dead": 1, "delivered": 2}), (None, {"delivered": 3})],
    ids=["busy", "refused", "written"],
)
def test_the_writes_of_a_record_that_was_refused_go_singly_in_their_order(
    tmp_path: Path, first: Failure | None, states: dict[str, int]
) -> None:
    rig = threads(tmp_path, Idempotency(WriteKind.UPSERT))

    def merged(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        return [Rejected("one of them is too long", field="Text")]

    def single(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        return [first] if first is not None else None

    rig.crm.faults = [merged, single]
    rig.arrive([of_thread(n) for n in (1, 2, 3)])
    rig.step()
    assert rig.states() == states
    at_once = {"busy": [], "refused": ["2", "3"], "written": ["1", "2", "3"]}
    assert sent(rig) == at_once["written" if first is None else "busy" if isinstance(first, Transient) else "refused"]
    rig.drain()
    # What waited together is sent as one again.
    assert sent(rig) == (["3"] if isinstance(first, Transient) else at_once["refused" if first else "written"])
    assert len(rig.records("Case")) == 1


def test_a_record_that_may_have_been_sent_before_goes_with_its_latest_write_first(tmp_path: Path) -> None:
    rig = threads(tmp_path, Idempotency(WriteKind.UPSERT))

    def refused(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        return [Rejected("no") for _ in call.writes]

    rig.crm.faults = [hostile.lost, refused]
    rig.arrive([of_thread(n) for n in (1, 2)])
    rig.step()
    rig.drain()
    assert rig.crm.doubled() == []
    numbers = [str(one) for one in sent(rig)]
    assert numbers == sorted(numbers)


def test_a_restart_gives_a_refused_person_another_chance(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    key = person_key("email:ann@example.com")
    rig.crm.row_faults[key] = [Rejected("no such picklist value")]
    rig.arrive([signal(1)])
    rig.step()
    assert rig.people["email:ann@example.com"]["state"] == "rejected"
    rig.arrive([signal(2)])
    rig.step()
    assert rig.states() == {"dead": 2}
    rig.restart()
    rig.arrive([signal(3)])
    rig.step()
    assert rig.states() == {"dead": 2, "delivered": 1}
    assert len(rig.records("Lead")) == 1


def test_writes_of_different_records_are_not_merged(tmp_path: Path) -> None:
    rig = threads(tmp_path)

    def count(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        keys = [write.key for write in call.writes]
        assert len(set(keys)) == len(keys)
        return None

    rig.crm.faults = [count] * 9
    rig.arrive([signal(n, thread=f"t{n % 2}", title=f"{n}", at=T0) for n in range(6)])
    rig.step()
    assert rig.states() == {"delivered": 6}
    assert len(rig.records("Case")) == 2
    assert rig.crm.calls.count("write") == 1


def test_a_dead_write_of_a_record_leaves_the_id_for_the_next(tmp_path: Path) -> None:
    rig = threads(tmp_path, Idempotency(WriteKind.FINDABLE, enforced=False))
    rig.arrive([of_thread(1)])
    rig.step()
    rig.crm.faults = [lambda crm, call: [Rejected("no")]]
    rig.arrive([of_thread(2)])
    rig.step()
    rig.arrive([of_thread(3)])
    rig.step()
    assert rig.states() == {"delivered": 2, "dead": 1}
    assert [record["Subject"] for record in rig.records("Case")] == ["3"]


def test_what_was_sent_as_one_waits_for_the_longest_wait_of_them(tmp_path: Path) -> None:
    rig = threads(tmp_path, Idempotency(WriteKind.UPSERT))
    rig.crm.faults = [lambda crm, call: [Transient("locked")]] * 2
    rig.arrive([of_thread(1)])
    rig.step()
    rig.later(5)
    rig.arrive([of_thread(2)])
    rig.step()
    waits = {row["due_at"] - round(rig.now.timestamp() * 1000) for row in rig.writes}
    assert {row["attempts"] for row in rig.writes} == {1, 2}
    assert waits == {300_000}  # the schedule's wait after the second try


def test_what_a_refused_call_carried_and_was_not_sent_again_was_never_sent(tmp_path: Path) -> None:
    rig = threads(tmp_path, Idempotency(WriteKind.UPSERT))
    rig.crm.faults = [hostile.before(Rejected("no")), hostile.before(RateLimited("slow", retry_after=60))]
    rig.arrive([signal(n, thread=f"t{n}") for n in range(4)])
    rig.step()
    assert sorted(bool(row["sent_at"]) for row in rig.writes) == [False, False, True, True]
    rig.later(60)
    rig.drain()
    assert rig.states() == {"delivered": 4}


@pytest.mark.parametrize("kind", [WriteKind.AT_MOST_ONCE, WriteKind.FINDABLE, WriteKind.UPSERT], ids=str)
def test_an_old_signal_whose_record_is_there_makes_no_second_one(tmp_path: Path, kind: WriteKind) -> None:
    rig = known(tmp_path, Idempotency(kind, enforced=False))
    rig.crm.add("Task", key=key_of(1), Subject="as somebody changed it")
    rig.arrive([signal(1), signal(2)], live=False, old=True)
    rig.drain()
    assert rig.states() == {"delivered": 2}
    assert len(rig.records("Task")) == 2
    written_again = kind is not WriteKind.AT_MOST_ONCE
    assert next(task["Subject"] for task in rig.records("Task")) == (
        "signal 1" if written_again else "as somebody changed it"
    )
    assert rig.crm.calls.count("find") == 1


def test_an_old_signal_whose_record_cannot_be_looked_up_waits(tmp_path: Path) -> None:
    rig = known(tmp_path, Idempotency(WriteKind.AT_MOST_ONCE, enforced=False))
    rig.crm.find_faults = [Transient("busy")]
    rig.arrive([signal(1)], live=False, old=True)
    done = rig.step()
    assert rig.records("Task") == []
    (waiting,) = rig.writes
    assert waiting["due_at"] == round(T0.timestamp() * 1000) + 30_000
    assert waiting["reason"] == "cannot be looked up: busy"
    assert done.settled == 0
    rig.drain()
    assert rig.states() == {"delivered": 1}
