"""Every class of failure, of rows and of whole calls, by the kind of the write: what is tried again, when, and how often."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.config.models import Retry, Settings
from syncd.connector import Call, Idempotency, Outcome, Write, WriteKind
from syncd.dispatch.plan import person_key
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.service.status import gather
from syncd.store.schema import deliveries
from syncd.testing import hostile_destination as hostile
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import T0, Rig, key_of, known, signal, sqlite, write_state

UNENFORCED = Idempotency(WriteKind.UPSERT, enforced=False)
FINDABLE = Idempotency(WriteKind.FINDABLE, enforced=False)
ONCE = Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)
UNIQUE = Idempotency(WriteKind.UNIQUE)


def test_a_row_error_harms_only_its_row(tmp_path: Path) -> None:
    rig = known(tmp_path)
    rig.crm.row_faults[key_of(3)] = [Rejected("too long", code="STRING_TOO_LONG", field="Subject")]
    rig.arrive([signal(n) for n in range(10)])
    rig.step()
    assert rig.states() == {"delivered": 9, "dead": 1}
    (dead,) = [row for row in rig.writes if row["state"] == "dead"]
    assert dead["reason"] == "Subject: STRING_TOO_LONG: too long"
    assert rig.crm.calls == ["resolve", "write"]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 200])
def test_a_call_refused_for_one_row_is_taken_apart(tmp_path: Path, size: int) -> None:
    rig = known(tmp_path)
    bad = key_of(size // 3)

    def poisonous(write: Write) -> bool:
        return write.key == bad

    rig.crm.poison = poisonous
    rig.arrive([signal(n) for n in range(size)])
    rig.step()
    assert rig.states() == ({"delivered": size - 1, "dead": 1} if size > 1 else {"dead": 1})
    assert len(rig.records("Task")) == size - 1
    assert rig.crm.calls.count("write") - 1 <= 1 + 2 * (size - 1).bit_length()


def test_the_schedule_of_a_transient_failure(tmp_path: Path) -> None:
    rig = known(tmp_path)
    rig.crm.row_faults[key_of(1)] = [Transient("locked", code="UNABLE_TO_LOCK_ROW") for _ in range(8)]
    rig.arrive([signal(1)])
    times = []
    for _ in range(40):
        done = rig.step()
        if done.claimed:
            times.append((rig.now - T0).total_seconds())
        if done.wait_until is None:
            break
        rig.later(max(0.0, done.wait_until / 1000 - rig.now.timestamp()))
    waits = [span.total_seconds() for span in Retry().schedule]
    assert times == [sum(waits[: n + 1]) for n in range(8)]
    assert rig.states() == {"dead": 1}
    assert write_state(rig) == "dead"
    assert len(rig.attempts) == 8


def test_unknown_codes_have_a_low_cap(tmp_path: Path) -> None:
    rig = known(tmp_path)
    rig.crm.row_faults[key_of(1)] = [Transient("what", code="NEW_CODE", known=False) for _ in range(9)]
    rig.arrive([signal(1)])
    rig.drain()
    assert rig.states() == {"dead": 1}
    assert len(rig.attempts) == 3


@pytest.mark.parametrize(
    ("keying", "fault"),
    [(Idempotency(WriteKind.UPSERT), f) for f in (hostile.lost, hostile.half, hostile.buggy, hostile.short)]
    + [(UNIQUE, f) for f in (hostile.lost, hostile.half, hostile.buggy, hostile.short)]
    + [(UNENFORCED, f) for f in (hostile.lost, hostile.half, hostile.buggy, hostile.short)]
    + [(FINDABLE, f) for f in (hostile.lost, hostile.half, hostile.buggy, hostile.short)],
)
def test_a_lost_answer_doubles_nothing(tmp_path: Path, keying: Idempotency, fault: hostile.CallFault) -> None:
    rig = known(tmp_path, keying)
    rig.crm.faults = [fault, None, fault]
    rig.arrive([signal(n) for n in range(6)])
    rig.drain()
    assert rig.states() == {"delivered": 6}
    assert len(rig.records("Task")) == 6
    assert rig.crm.doubled() == []


@pytest.mark.parametrize("keying", [UNENFORCED, FINDABLE])
def test_a_late_commit_is_waited_for(tmp_path: Path, keying: Idempotency) -> None:
    rig = known(tmp_path, keying, options={"doubt": 600.0, "search_lag": 60.0})
    rig.crm.faults = [hostile.late]
    rig.arrive([signal(1)])
    rig.step()
    assert write_state(rig) == "doubt"
    rig.later(599)
    assert rig.step().claimed == 0
    rig.crm.arrive()  # at the last moment of the doubt
    rig.later(60)
    assert rig.step().claimed == 0
    rig.later(1)
    rig.drain()
    assert rig.states() == {"delivered": 1}
    assert len(rig.records("Task")) == 1


def test_at_most_once_ends_unconfirmed(tmp_path: Path) -> None:
    rig = known(tmp_path, ONCE)
    rig.crm.faults = [hostile.lost]
    rig.arrive([signal(1)])
    rig.drain()
    assert rig.states() == {"unconfirmed": 1}
    assert len(rig.records("Task")) == 1
    assert rig.crm.calls.count("write") == 1


def test_what_is_refused_before_the_write_is_tried_again_for_every_kind(tmp_path: Path) -> None:
    rig = known(tmp_path, ONCE)
    rig.crm.faults = [hostile.before(Transient("no connection"))]
    rig.arrive([signal(1)])
    rig.drain()
    assert rig.states() == {"delivered": 1}


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (RateLimited("slow", retry_after=7), 7),
        (RateLimited("slow"), 5),
        (QuotaExhausted("gone", resets_at=T0 + timedelta(hours=3)), 3 * 3600),
        (QuotaExhausted("gone"), 3600),
        (AuthExpired("twice"), 3600),
        (Misconfigured("API is off", code="API_DISABLED_FOR_ORG"), 3600),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_stops_the_lane_counts_no_attempt(tmp_path: Path, failure: Failure, seconds: int, whole: bool) -> None:
    rig = known(tmp_path, options={"per_call": 2})
    if whole:
        rig.crm.faults = [hostile.before(failure)]
    else:
        rig.crm.row_faults[key_of(0)] = [failure]
    rig.arrive([signal(n) for n in range(6)])
    done = rig.step()
    assert done.wait_until == round((T0 + timedelta(seconds=seconds)).timestamp() * 1000)
    assert rig.crm.calls.count("write") == 1
    assert rig.step().claimed == 0
    assert {row["attempts"] for row in rig.writes if row["state"] == "pending"} == {0}
    rig.later(seconds)
    rig.drain()
    assert rig.states() == {"delivered": 6}


def test_a_reload_ends_a_misconfiguration_at_once(tmp_path: Path) -> None:
    rig = known(tmp_path)
    rig.crm.faults = [hostile.before(AuthExpired("twice"))]
    rig.arrive([signal(1)])
    rig.step()
    rig.restart()
    assert rig.lane.trouble == ""
    rig.step()
    assert rig.states() == {"delivered": 1}


TWO_RULES = """
rules:
  - {id: one, name: One, signals: ["*"], upsert: Good, key: Key, fields: {A: "{{ signal.title }}"}}
  - {id: two, name: Two, signals: ["*"], upsert: Wrong, key: Key, fields: {Nope: "{{ signal.title }}"}}
"""


@pytest.mark.parametrize("whole", [True, False])
def test_a_rule_that_is_wrong_holds_only_itself(tmp_path: Path, whole: bool) -> None:
    rig = Rig(sqlite(tmp_path), mapping=TWO_RULES)
    failure = Misconfigured("no such field", code="INVALID_FIELD", scope=Scope.RULE, field="Nope")
    rig.arrive([signal(n) for n in range(3)])
    if whole:

        def fault(crm: HostileCrm, call: Call) -> list[Outcome] | None:
            if any(write.object == "Wrong" for write in call.writes):
                raise failure
            return None

        rig.crm.faults = [fault] * 9
    else:
        for n in range(3):
            rig.crm.row_faults[key_of(n, "two")] = [failure]
    with capture_logs() as logged:
        rig.step()
    assert [(line["rule"], line["reason"]) for line in logged if line["event"] == "rule held"] == [
        ("two", "Nope: INVALID_FIELD: no such field")
    ]
    assert len(rig.records("Good")) == 3
    assert rig.states() == {"held": 3}
    assert {row["reason"] for row in rig.writes if row["rule"] == "two"} == {"Nope: INVALID_FIELD: no such field"}
    calls = len(rig.crm.calls)
    rig.arrive([signal(9)])
    rig.step()
    assert len(rig.records("Good")) == 4
    assert rig.states() == {"held": 4}
    rig.crm.faults, rig.crm.row_faults = [], {}
    assert len(rig.crm.calls) == calls + 1
    rig.restart()  # the field was made, the configuration loaded again
    rig.step()
    assert rig.states() == {"delivered": 4}
    assert len(rig.records("Wrong")) == 4


def test_a_stale_person_is_resolved_afresh_once(tmp_path: Path) -> None:
    rig = known(tmp_path)
    rig.arrive([signal(1)])
    rig.step()
    rig.crm.row_faults[key_of(2)] = [StaleReference("deleted", field="WhoId")]
    rig.arrive([signal(2)])
    rig.drain()
    assert rig.states() == {"delivered": 2}
    assert rig.crm.calls == ["resolve", "write", "write", "resolve", "write"]
    rig.crm.row_faults[key_of(3)] = [StaleReference("deleted", field="WhoId")] * 3
    rig.arrive([signal(3)])
    rig.drain()
    assert rig.states() == {"delivered": 2, "dead": 1}


def test_the_breaker_rests_a_failing_vendor_and_a_probe_closes_it(tmp_path: Path) -> None:
    rig = known(tmp_path, retry=Retry(schedule=(timedelta(0),) * 50), options={"per_call": 1})
    rig.crm.faults = [hostile.before(Transient("down"))] * 7
    rig.arrive([signal(n) for n in range(20)])
    done = rig.step()
    assert rig.crm.calls.count("write") == 5
    assert done.wait_until == round((T0 + timedelta(seconds=30)).timestamp() * 1000)
    assert "5 calls failed in a row" in done.reason
    rig.later(30)
    assert rig.step().claimed == 10  # half-open
    rig.drain()
    assert rig.states() == {"delivered": 20}


def test_a_poisonous_person_is_cornered(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), retry=Retry(schedule=(timedelta(0),) * 3))
    for n in range(20):
        rig.crm.add("Contact", Email=f"p{n}@example.com")

    real = hostile.HostileDestination.resolve

    def resolve(self: hostile.HostileDestination, people: object, *, deals: object = None) -> object:
        if any(person.identity == "email:p7@example.com" for person in people):  # type: ignore[attr-defined]
            self._count("resolve")
            raise Ambiguous("500", code="INTERNAL")
        return real(self, people, deals=deals)  # type: ignore[arg-type]

    rig.destination.resolve = resolve.__get__(rig.destination)  # type: ignore[method-assign]
    rig.arrive([signal(n, email=f"p{n}@example.com") for n in range(20)])
    rig.drain()
    assert rig.states() == {"delivered": 19, "dead": 1}


def test_a_look_up_refused_whole_is_taken_apart(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.crm.look_up_faults = [Rejected("bad query"), None, Rejected("bad query"), Rejected("bad query")]
    for n in range(4):
        rig.crm.add("Contact", Email=f"p{n}@example.com")
    rig.arrive([signal(n, email=f"p{n}@example.com") for n in range(4)])
    rig.step()
    assert rig.states() == {"delivered": 3, "dead": 1}


def test_status_names_the_cause_of_a_wait_and_not_the_wait(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.crm.row_faults[person_key("email:ann@example.com")] = [Transient("locked", code="LOCKED")] * 3
    rig.arrive([signal(n) for n in range(3)])
    rig.step()
    assert {row["reason"] for row in rig.rows(deliveries)} >= {"timeline: waits for the person's record"}
    (crm,) = gather(rig.store, Settings()).destinations
    assert crm["reason"] == "people.create: LOCKED: locked"
