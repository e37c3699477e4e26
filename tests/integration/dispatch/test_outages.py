"""A vendor that is down, or a proxy in between that answers for it: no write uses up a try, and all is delivered afterwards; one
bad write that fails its whole call is found and blamed alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.connector import Call, Idempotency, Outcome, PersonQuery, Write, WriteKind
from syncd.dispatch.pacing import BREAKER_RESTS
from syncd.errors import Ambiguous, Failure, Rejected, TooLarge, Transient
from syncd.store.schema import deliveries
from syncd.testing import hostile_destination as hostile
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import MAPPING, T0, Rig, known, signal, sqlite

UPSERT = Idempotency(WriteKind.UPSERT)
UNENFORCED = Idempotency(WriteKind.UPSERT, enforced=False)
UNIQUE = Idempotency(WriteKind.UNIQUE)
FINDABLE = Idempotency(WriteKind.FINDABLE, enforced=False)
ONCE = Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)
REFUSED = Transient("no connection", code="connect")
LOST = Ambiguous("HTTP 503 without a reason", code="503")
UNKNOWN = Transient("HTTP 403 with a body that names no error code", code="403", known=False)
TWO_HOURS = timedelta(hours=2)
LONGEST_REST = timedelta(milliseconds=BREAKER_RESTS[-1])


def outage(rig: Rig, end: timedelta, failure: Failure, *, object: str = "", written: bool = False) -> None:
    """Until `end` every call that writes to `object` (any, if "") fails; `written`: although it was done."""

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        down = rig.now < T0 + end and any(write.object == object or not object for write in call.writes)
        if down and written:
            crm.perform(call)
        if down:
            raise failure
        return None

    rig.crm.faults = [fault] * 100_000


def drained(rig: Rig) -> timedelta:
    """Lets it run until nothing is left; how long that took."""
    rig.drain(rounds=2000)
    return rig.now - T0


@pytest.mark.parametrize("failure", [REFUSED, LOST, UNKNOWN], ids=["refused", "lost", "unknown"])
@pytest.mark.parametrize("keying", [UPSERT, UNENFORCED, UNIQUE, FINDABLE], ids=lambda keying: str(keying.kind))
@pytest.mark.parametrize("count", [1, 200])
def test_an_outage_uses_up_no_tries(tmp_path: Path, keying: Idempotency, failure: Failure, count: int) -> None:
    rig = known(tmp_path, keying)
    outage(rig, TWO_HOURS, failure)
    rig.arrive([signal(n) for n in range(count)])
    took = drained(rig)
    assert rig.states() == {"delivered": count}
    assert len(rig.records("Task")) == count
    assert rig.crm.doubled() == []
    assert {row["attempts"] for row in rig.writes} == {1}
    assert took < TWO_HOURS + LONGEST_REST + timedelta(minutes=15)
    assert rig.crm.calls.count("write") < 80


@pytest.mark.parametrize("keying", [UPSERT, UNENFORCED, UNIQUE, FINDABLE], ids=lambda keying: str(keying.kind))
def test_what_was_written_during_an_outage_is_not_doubled(tmp_path: Path, keying: Idempotency) -> None:
    rig = known(tmp_path, keying)
    outage(rig, TWO_HOURS, LOST, written=True)
    rig.arrive([signal(n) for n in range(40)])
    drained(rig)
    assert rig.states() == {"delivered": 40}
    assert rig.crm.doubled() == [] or keying is UNENFORCED
    assert len(rig.records("Task")) == 40


def test_a_weekend_uses_up_no_tries(tmp_path: Path) -> None:
    rig = known(tmp_path)
    outage(rig, timedelta(hours=65), LOST)
    rig.arrive([signal(1)])
    assert drained(rig) < timedelta(hours=66)
    assert rig.states() == {"delivered": 1}


def test_what_can_be_done_only_once_is_tried_one_at_a_time_during_an_outage(tmp_path: Path) -> None:
    rig = known(tmp_path, ONCE, options={"per_call": 10})
    rig.arrive([signal(1)])
    rig.step()
    outage(rig, TWO_HOURS, LOST)
    rig.arrive([signal(n) for n in range(2, 202)])
    drained(rig)
    states = rig.states()
    assert sum(states.values()) == 201
    assert states["unconfirmed"] < 10 + 25  # the first call, then one write for each try of the vendor
    rig.crm.calls.clear()
    rig.arrive([signal(n) for n in range(300, 340)])
    drained(rig)
    assert rig.crm.calls.count("write") == 4  # as many in a call as before


def test_an_outage_of_one_object_leaves_the_others_alone(tmp_path: Path) -> None:
    mapping = """
rules:
  - {id: one, name: One, signals: ["*"], upsert: Good, key: Key, fields: {A: "{{ signal.title }}"}}
  - {id: two, name: Two, signals: ["*"], upsert: Bad, key: Key, fields: {A: "{{ signal.title }}"}}
"""
    rig = Rig(sqlite(tmp_path), mapping=mapping)

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        if rig.now >= T0 + TWO_HOURS:
            return None
        return [LOST.about_call() if write.object == "Bad" else crm.write(write) for write in call.writes]

    rig.crm.faults = [fault] * 100_000
    rig.arrive([signal(n) for n in range(30)])
    rig.step()
    assert len(rig.records("Good")) == 30
    rig.arrive([signal(n) for n in range(30, 60)])
    rig.step()
    assert len(rig.records("Good")) == 60
    assert rig.lane.trouble == ""
    drained(rig)
    assert rig.states() == {"delivered": 60}
    assert len(rig.records("Bad")) == 60
    assert rig.crm.calls.count("write") < 60


@pytest.mark.parametrize("failure", [Transient("HTTP 502", code="502"), UNKNOWN], ids=["502", "403"])
@pytest.mark.parametrize("count", [1, 50])
def test_an_outage_of_look_ups(tmp_path: Path, failure: Failure, count: int) -> None:
    rig = Rig(sqlite(tmp_path))
    look_ups(rig, lambda people: failure if rig.now < T0 + TWO_HOURS else None)
    for n in range(count):
        rig.crm.add("Contact", Email=f"p{n}@example.com")
    rig.arrive([signal(n, email=f"p{n}@example.com") for n in range(count)])
    assert drained(rig) < TWO_HOURS + LONGEST_REST * 2
    assert rig.states() == {"delivered": count}
    assert rig.crm.calls.count("resolve") < 100


def test_look_ups_that_fail_while_writes_succeed_are_not_repeated_without_a_pause(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    for n in range(20):
        rig.crm.add("Contact", Email=f"p{n}@example.com")
    rig.arrive([signal(n, email=f"p{n}@example.com") for n in range(10)])
    rig.step()
    look_ups(rig, lambda people: LOST if rig.now < T0 + TWO_HOURS else None)
    for minute in range(120):
        rig.now = T0 + timedelta(minutes=minute)
        rig.arrive([signal(1000 + minute, email=f"p{minute % 20}@example.com")])
        for _ in range(8):
            rig.step()
    known_people = sum(row["state"] == "written" for row in rig.writes)
    assert known_people >= 10 + 60  # who is known gets their records all the time
    assert rig.crm.calls.count("resolve") < 40
    drained(rig)
    assert rig.states() == {"delivered": 130}


def look_ups(rig: Rig, fault: Callable[[list[PersonQuery]], Failure | None]) -> None:
    real = hostile.HostileDestination.resolve

    def resolve(self: hostile.HostileDestination, people: list[PersonQuery], *, deals: Any = None) -> object:
        failure = fault(people)
        if failure is not None:
            self._count("resolve")
            raise failure
        return real(self, people, deals=deals)

    rig.destination.resolve = resolve.__get__(rig.destination)  # type: ignore[method-assign]


@pytest.mark.parametrize("switch", [True, ["lead", "contact"]], ids=["all", "of known people"])
def test_an_outage_of_look_ups_before_anybody_is_known_to_be_wanted(tmp_path: Path, switch: object) -> None:
    rig = Rig(sqlite(tmp_path), channels={"email": {"received": switch}})
    rig.crm.add("Contact", Email="ann@example.com")
    look_ups(rig, lambda people: UNKNOWN if rig.now < T0 + TWO_HOURS else None)
    rig.arrive([signal(n) for n in range(5)])
    assert drained(rig) < TWO_HOURS + LONGEST_REST * 2
    assert rig.states() == {"delivered": 5}


@pytest.mark.parametrize("keying", [UPSERT, UNENFORCED, FINDABLE, UNIQUE], ids=lambda keying: str(keying.kind))
def test_an_outage_while_strangers_are_created(tmp_path: Path, keying: Idempotency) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm(kinds={"Lead": keying}))
    outage(rig, TWO_HOURS, LOST, object="Lead", written=True)
    rig.arrive([signal(n, email=f"p{n % 30}@example.com") for n in range(60)])
    assert drained(rig) < TWO_HOURS + LONGEST_REST + timedelta(minutes=15)
    assert rig.states() == {"delivered": 60}
    assert len(rig.records("Lead")) == 30
    assert rig.crm.calls.count("write") < 120


def test_strangers_whose_calls_failed_at_different_times_wait_without_asking(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), options={"per_call": 1})
    outage(rig, TWO_HOURS, LOST, object="Lead")
    rig.arrive([signal(n, email=f"p{n}@example.com") for n in range(3)])
    assert drained(rig) < TWO_HOURS + LONGEST_REST * 2
    assert rig.states() == {"delivered": 3}
    assert len(rig.crm.calls) < 120


def test_an_outage_of_the_look_up_by_key(tmp_path: Path) -> None:
    rig = known(tmp_path, FINDABLE)
    rig.crm.faults = [hostile.lost]
    rig.crm.find_faults = [LOST if n % 2 else UNKNOWN for n in range(12)]
    rig.arrive([signal(n) for n in range(20)])
    drained(rig)
    assert rig.states() == {"delivered": 20}
    assert rig.crm.doubled() == []
    assert {row["attempts"] for row in rig.writes} <= {0, 1}
    assert rig.now - T0 > timedelta(milliseconds=sum(BREAKER_RESTS))  # asked less and less often


def test_an_outage_survives_a_restart(tmp_path: Path) -> None:
    rig = known(tmp_path, UNENFORCED)
    outage(rig, timedelta(hours=12), LOST)
    rig.arrive([signal(n) for n in range(20)])
    for hour in range(1, 12):
        for _ in range(30):
            done = rig.step()
            rig.later(max(0, (done.wait_until or 0) / 1000 - rig.now.timestamp()))
        rig.now = T0 + timedelta(hours=hour)
        rig.restart()
    drained(rig)
    assert rig.states() == {"delivered": 20}


@pytest.mark.parametrize("failure", [LOST, REFUSED, UNKNOWN], ids=["lost", "refused", "unknown"])
@pytest.mark.parametrize("size", [2, 7, 64, 400])
def test_one_write_that_always_fails_its_call_harms_only_itself(tmp_path: Path, size: int, failure: Failure) -> None:
    rig = known(tmp_path)

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        if any(write.fields["Subject"] == "signal 1" for write in call.writes):
            raise failure
        return None

    rig.crm.faults = [fault] * 100_000
    rig.arrive([signal(n) for n in range(size)])
    rig.drain(rounds=600)
    ended = "unconfirmed" if failure is LOST else "dead"
    assert rig.states() == {"delivered": size - 1, ended: 1}
    (bad,) = [row for row in rig.writes if row["state"] != "written"]
    assert bad["attempts"] == (3 if failure is UNKNOWN else 8)
    assert rig.crm.calls.count("write") < 70


def test_a_bad_write_alone_in_a_quiet_queue_is_not_blamed_for_an_outage(tmp_path: Path) -> None:
    rig = known(tmp_path)
    outage(rig, timedelta(days=10), LOST)
    rig.arrive([signal(1)])
    while rig.now < T0 + timedelta(days=9):
        done = rig.step()
        rig.later(max(1, (done.wait_until or 0) / 1000 - rig.now.timestamp()))
    assert rig.states() == {"pending": 1}
    (waiting,) = rig.rows(deliveries)
    assert "HTTP 503" in waiting["reason"]
    assert "calls failed in a row" in rig.lane.trouble or rig.lane.trouble == ""
    assert rig.crm.calls.count("write") < 9 * 24 * 5


def test_the_tries_of_a_write_in_doubt_follow_the_schedule(tmp_path: Path) -> None:
    """Each row's own lost answers are its tries: over 27 hours, however short the doubt is."""
    rig = known(tmp_path, UNENFORCED)

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        return [Ambiguous("INTERNAL_ERROR") for _ in call.writes]

    rig.crm.faults = [fault] * 100
    rig.arrive([signal(1)])
    assert drained(rig) > timedelta(hours=27)
    assert rig.states() == {"unconfirmed": 1}
    assert rig.crm.calls.count("write") == 8


@pytest.mark.parametrize("fits", [1, 30, 400])
def test_a_call_that_is_too_large_goes_again_in_smaller_ones(tmp_path: Path, fits: int) -> None:
    rig = known(tmp_path)

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        if len(call.writes) > fits:
            raise TooLarge("HTTP 413", code="413", known=False)
        return None

    rig.crm.faults = [fault] * 100_000
    rig.arrive([signal(n) for n in range(500)])
    drained(rig)
    assert rig.states() == {"delivered": 500}
    assert {row["attempts"] for row in rig.writes} == {1}


def test_one_record_that_is_too_large_alone_dies_alone(tmp_path: Path) -> None:
    rig = known(tmp_path)

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        if any(write.fields["Subject"] == "signal 3" for write in call.writes):
            raise TooLarge("HTTP 413", code="413", known=False)
        return None

    rig.crm.faults = [fault] * 100_000
    rig.arrive([signal(n) for n in range(100)])
    drained(rig)
    assert rig.states() == {"delivered": 99, "dead": 1}


def test_a_refusal_with_a_reason_is_still_taken_apart_at_once(tmp_path: Path) -> None:
    rig = known(tmp_path)
    rig.crm.poison = lambda write: write.fields["Subject"] == "signal 9"
    rig.arrive([signal(n) for n in range(100)])
    rig.step()
    assert rig.states() == {"delivered": 99, "dead": 1}


def test_an_outage_of_what_is_read_before_it_is_filled(tmp_path: Path) -> None:
    mapping = (
        MAPPING
        + """
  - id: fill
    name: Fill the phone
    signals: ["*"]
    update: Contact
    fill: {Phone: "{{ person.phone }}"}
"""
    )
    rig = Rig(sqlite(tmp_path), mapping=mapping)
    rig.crm.add("Contact", Email="ann@example.com")

    def values(object: str, ids: list[str], fields: list[str]) -> dict[str, dict[str, object]]:
        if rig.now < T0 + TWO_HOURS:
            raise LOST
        return {id_: {} for id_ in ids}

    rig.destination.values = values  # type: ignore[attr-defined]
    rig.arrive([signal(1, phone="+14155550101")])
    drained(rig)
    assert rig.states() == {"delivered": 1}
    assert rig.records("Contact")[0]["Phone"] == "+14155550101"


def test_rows_refused_for_their_own_reasons_are_dead_during_an_outage_of_others(tmp_path: Path) -> None:
    rig = known(tmp_path)

    def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
        def one(write: Write) -> Outcome:
            return Rejected("no", code="NO") if write.fields["Subject"] == "signal 1" else LOST.about_call()

        return [one(write) for write in call.writes]

    rig.crm.faults = [fault, None]
    rig.arrive([signal(n) for n in range(5)])
    drained(rig)
    assert rig.states() == {"delivered": 4, "dead": 1}
