"""The lane against scripted answers: whatever the CRM does and wherever the process dies, no record is doubled, none of its
writes overtakes another, nothing is lost, and the books balance after every step."""

from __future__ import annotations

import random
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.config.models import Retry
from syncd.connector import Call, Idempotency, Outcome, Write, WriteKind
from syncd.errors import (
    Ambiguous,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Scope,
    StaleReference,
    Transient,
)
from syncd.runtime import crashpoints
from syncd.signals import Signal
from syncd.testing import hostile_destination as hostile
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import T0, Rig, signal, sqlite

MAPPING = """
people:
  match:
    - object: Lead
      by: {Email: "{{ person.email }}"}
  strangers: create
  create: {object: Lead, key: Key, fields: {Email: "{{ person.email }}", LastName: "{{ person.email }}"}}
rules:
  - {id: timeline, name: T, signals: ["*"], upsert: Task, key: Key, link: {WhoId: person}, fields: {N: "{{ signal.title }}"}}
  - {id: last, name: L, signals: ["*"], upsert: Status, key: Key, about: person, fields: {N: "{{ signal.title }}"}}
  - {id: case, name: C, signals: ["*"], upsert: Case, key: Key, about: thread, link: {WhoId: person},
     fields: {N: "{{ signal.title }}"}}
"""
KEPT = [
    Idempotency(WriteKind.UPSERT),
    Idempotency(WriteKind.UNIQUE),
    Idempotency(WriteKind.FINDABLE, False),
    Idempotency(WriteKind.UPSERT, False),
]
DOUBT = timedelta(seconds=30)
LONG = Retry(schedule=(timedelta(0), *(timedelta(seconds=5),) * 60))


class Killed(BaseException):
    """The process is gone: nothing of ours runs any more."""


@dataclass
class Script:
    """What the CRM does and when the process dies, all from one seed. `late`: lost calls may be done after a while."""

    seed: int
    deaths: float = 0.0
    late: bool = False
    lost_since: datetime | None = None

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def point(self, name: str) -> None:
        if name in ("after_send", "in_settling") and self.draw.random() < self.deaths:
            raise Killed(name)

    def fault(self, crm: HostileCrm, call: Call) -> list[Outcome] | None:
        chance = self.draw.random()
        if chance < 0.5:
            return None
        if chance < 0.75:
            return [self.row(crm, write) for write in call.writes]
        if chance < 0.8 and self.deaths:
            raise Killed("in a call")
        faults: list[hostile.CallFault] = [
            hostile.lost,
            hostile.half,
            hostile.buggy,
            hostile.short,
            *([hostile.late] * 3 if self.late else []),
        ]
        faults += [hostile.before(failure) for failure in (Transient("busy"), RateLimited("slow", retry_after=3))]
        faults += [hostile.before(failure) for failure in (QuotaExhausted("gone"), Misconfigured("off"))]
        return self.draw.choice(faults)(crm, call)

    def row(self, crm: HostileCrm, write: Write) -> Outcome:
        chance = self.draw.random()
        if chance < 0.85:
            done = crm.write(write)
            return done if chance < 0.8 else Ambiguous("no answer for this row")
        refusals: list[Failure] = [Transient("locked"), RateLimited("slow", retry_after=1)]
        refusals += [StaleReference("gone", field="WhoId"), Misconfigured("no field", scope=Scope.RULE, field="N")]
        return self.draw.choice(refusals)

    def turn(self, rig: Rig) -> bool:
        """One step, survived or not, and the time that passes after it; True when nothing is left to do."""
        try:
            done = rig.step()
        except Killed:
            rig.check_books()
            rig.restart()
            return False
        ahead = timedelta(seconds=max(0.0, (done.wait_until or 0) / 1000 - rig.now.timestamp()))
        self.lost_since = (self.lost_since or rig.now) if rig.crm.late else None
        # What was lost arrives at any time while the vendor may still be at work on it, and not later.
        if self.lost_since and (self.draw.random() < 0.3 or rig.now + ahead - self.lost_since >= DOUBT):
            rig.crm.arrive()
            self.lost_since = None
        rig.now += ahead
        return done.wait_until is None

    def play(self, rig: Rig, people: int, each: int) -> None:
        """Lets signals come in and steps until all is done; after long trouble the vendor gets well."""
        rig.crm.faults = [self.fault] * 100_000
        quarter = people * each // 4
        for first in range(0, people * each, quarter):
            rig.arrive([numbered(n, people) for n in range(first, min(first + quarter, people * each))])
            for _ in range(6):
                self.turn(rig)
        for turns in range(3000):
            if turns == 1500:
                rig.crm.faults, self.deaths = [], 0.0
                rig.restart()
            if self.turn(rig):
                rig.crm.arrive()
                return
        raise AssertionError(
            f"never done: {rig.states()} {[row for row in rig.writes if row['state'] != 'written'][:3]}"
        )


def numbered(n: int, people: int) -> Signal:
    at = T0 - timedelta(seconds=10_000 - n)
    return signal(n, email=f"p{n % people}@example.com", thread=f"t{n % (people * 2)}", at=at, title=f"{n:06}")


def assert_order(rig: Rig) -> None:
    """No write of a record comes after one of a later signal."""
    last: dict[str, str] = {}
    for key, fields in rig.crm.history:
        number = fields.get("N", "")
        assert number >= last.get(key, "") or not number, f"{key}: {number} after {last[key]}"
        last[key] = max(number, last.get(key, ""))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    task=st.sampled_from(KEPT),
    lead=st.sampled_from(KEPT),
    how=st.sampled_from(["calm", "deaths", "late", "many at once"]),
)
def test_nothing_lost_doubled_or_overtaken(seed: int, task: Idempotency, lead: Idempotency, how: str) -> None:
    script = Script(seed, deaths=0.1 if how == "deaths" else 0.0, late=how == "late")
    crm = HostileCrm(kinds={"Task": task, "Lead": lead, "Case": task, "Status": task})
    options = {"per_call": 7, "capacity": 25, "concurrency": 3 if how == "many at once" else 1, "doubt": DOUBT.seconds}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(crashpoints, "point", script.point)
        rig = Rig(sqlite(Path(folder)), crm, MAPPING, retry=LONG, options=options)
        with closing(rig.store):
            people, each = 5, 6
            script.play(rig, people, each)
            states = rig.states()
            assert sum(states.values()) == people * each
            assert set(states) <= {"delivered", "dead", "unconfirmed", "skipped"}, states
            assert crm.doubled() == []
            assert len(rig.records("Lead")) == people
            missing = sum(row["rule"] == "timeline" and row["state"] != "written" for row in rig.writes)
            assert len(rig.records("Task")) >= people * each - missing
            if how != "late":  # an update that its vendor does after we gave it up cannot be called back
                assert_order(rig)


def test_fifty_people_forty_signals(tmp_path: Path) -> None:
    script = Script(7)
    rig = Rig(sqlite(tmp_path), HostileCrm(), MAPPING, retry=LONG, options={"per_call": 40, "capacity": 300})
    script.play(rig, 50, 40)
    assert rig.crm.doubled() == []
    assert_order(rig)
    assert sum(rig.states().values()) == 2000
    assert len(rig.records("Lead")) == 50


def test_a_rejected_row_of_a_record_blocks_nobody(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm(), MAPPING)
    rig.crm.poison = lambda write: write.fields.get("N") == "000003"
    rig.arrive([numbered(n, 1) for n in range(6)])
    rig.drain()
    assert_order(rig)
    assert rig.states() == {"delivered": 5, "dead": 1}
    assert {record["N"] for record in rig.records("Case")} == {"000004", "000005"}
