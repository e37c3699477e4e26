"""Dead letters, unconfirmed and held writes, replay and parked destinations: the books balance throughout."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from syncd.connector import Idempotency, WriteKind
from syncd.dispatch.dead_letters import Changed, discard, letters, retry
from syncd.dispatch.plan import person_key, write_key
from syncd.dispatch.replay import Replayed, parked, replay
from syncd.errors import Rejected, UsageError
from syncd.store.queries import Filter
from syncd.testing import hostile_destination as hostile
from syncd.testing.hostile_destination import HostileCrm
from tests.lane_rig import T0, THREADS, Rig, signal, sqlite

DAY = timedelta(hours=24)
ALL = Filter()


def key_of(number: int) -> str:
    return write_key(f"signal:{signal(number).id}", "timeline")


def with_dead(tmp_path: Path) -> Rig:
    rig = Rig(sqlite(tmp_path))
    rig.crm.add("Contact", Email="ann@example.com")
    rig.crm.row_faults = {key_of(n): [Rejected("no", code="NO", field="Subject")] for n in (1, 2)}
    rig.arrive([signal(n) for n in range(4)])
    rig.step()
    assert rig.states() == {"delivered": 2, "dead": 2}
    return rig


def test_dead_letters_are_listed_and_retried(tmp_path: Path) -> None:
    rig = with_dead(tmp_path)
    found = letters(rig.store, ALL)
    assert [letter.reason for letter in found] == ["Subject: NO: no"] * 2
    assert {letter.type for letter in found} == {"email.received"}
    assert letters(rig.store, Filter(destination="other")) == []
    assert retry(rig.store, Filter(id=found[0].signal_id), live_within=DAY) == Changed(1, 1, 0)
    rig.check_books()
    assert rig.states() == {"delivered": 2, "dead": 1, "pending": 1}
    rig.step()
    assert rig.states() == {"delivered": 3, "dead": 1}
    assert retry(rig.store, ALL, live_within=DAY).writes == 1
    rig.step()
    assert rig.states() == {"delivered": 4}
    assert len(rig.records("Task")) == 4


def test_a_held_stranger_is_looked_up_at_once_when_it_is_retried(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive([signal(1, type="chat.missed"), signal(2, type="chat.missed", email="bob@example.com")])
    rig.step()
    assert rig.states() == {"held": 2}
    rig.crm.add("Contact", Email="ann@example.com")
    rig.later(30)
    rig.step()
    assert rig.states() == {"held": 2}
    rig.crm.calls.clear()
    assert (
        retry(rig.store, Filter(id=str(signal(1, type="chat.missed").id)), states=("held",), live_within=DAY).writes
        == 1
    )
    rig.step()
    assert rig.crm.calls == ["resolve", "write"]
    assert rig.states() == {"delivered": 1, "held": 1}
    rig.crm.calls.clear()
    retry(rig.store, ALL, states=("held",), live_within=DAY)
    rig.step()
    assert rig.crm.calls == ["resolve"]  # asked for, and still a stranger
    assert rig.states() == {"delivered": 1, "held": 1}
    (held,) = [row for row in rig.writes if row["state"] == "held"]
    assert held["reason"] == "stranger"


def test_dead_letters_are_discarded(tmp_path: Path) -> None:
    rig = with_dead(tmp_path)
    assert discard(rig.store, ALL) == Changed(2, 2, 0)
    rig.check_books()
    assert rig.states() == {"delivered": 2, "discarded": 2}
    assert letters(rig.store, ALL) == []
    with pytest.raises(UsageError, match="dead, unconfirmed, held"):
        discard(rig.store, ALL, states=("delivered",))


def test_unconfirmed_ones_are_looked_up_where_they_can_be(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm(kinds={"Task": Idempotency(WriteKind.AT_MOST_ONCE)}))
    rig.crm.add("Contact", Email="ann@example.com")
    rig.crm.faults = [hostile.lost]
    rig.arrive([signal(1)])
    rig.step()
    (letter,) = letters(rig.store, ALL, states=("unconfirmed",))
    assert "cannot be looked up" in letter.reason
    retry(rig.store, ALL, states=("unconfirmed",), live_within=DAY)  # a person takes it upon themselves
    rig.step()
    assert len(rig.records("Task")) == 2
    assert rig.states() == {"delivered": 1}


def test_held_ones_are_discarded(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive([signal(1, type="chat.missed")])
    rig.step()
    assert rig.states() == {"held": 1}
    discard(rig.store, ALL, states=("held",))
    rig.check_books()
    assert rig.states() == {"discarded": 1}
    assert rig.step().claimed == 0


def test_retrying_gives_refused_people_another_chance(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.crm.row_faults[person_key("email:ann@example.com")] = [Rejected("bad", field="Email")]
    rig.arrive([signal(1), signal(2)])
    rig.step()
    assert rig.states() == {"dead": 2}
    retry(rig.store, ALL, live_within=DAY)
    rig.drain()
    assert rig.states() == {"delivered": 2}
    assert len(rig.records("Lead")) == 1


def test_what_a_lane_works_on_is_left_alone(tmp_path: Path) -> None:
    rig = with_dead(tmp_path)
    retry(rig.store, ALL, live_within=DAY)
    rig.lane._claim(rig.lane._calls(), round(rig.now.timestamp() * 1000))
    assert discard(rig.store, ALL, states=("held", "dead")) == Changed()
    assert replay(rig.store, ALL, "crm") == Replayed(4, 2, 0, 2)
    rig.check_books()


@pytest.mark.parametrize("kind", list(WriteKind))
def test_a_replay_makes_no_record_twice(tmp_path: Path, kind: WriteKind) -> None:
    rig = Rig(sqlite(tmp_path), HostileCrm(kinds={"Task": Idempotency(kind)}))
    rig.arrive([signal(n, email=f"p{n}@example.com") for n in range(5)])
    rig.step()
    before = {object_: len(table) for object_, table in rig.crm.records.items()}
    assert replay(rig.store, ALL, "crm", dry_run=True) == Replayed(5, 5, 0, 0)
    assert rig.states() == {"delivered": 5}
    assert replay(rig.store, ALL, "crm") == Replayed(5, 5, 0, 0)
    rig.check_books()
    assert rig.states() == {"pending": 5}
    rig.drain()
    assert rig.states() == {"delivered": 5}
    assert {object_: len(table) for object_, table in rig.crm.records.items()} == before


def test_a_replay_after_a_restore_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    first = Rig(sqlite(tmp_path), HostileCrm(kinds={"Task": Idempotency(WriteKind.FINDABLE, enforced=False)}))
    first.arrive([signal(n) for n in range(5)])
    first.drain()
    again = Rig(sqlite(tmp_path / "new"), first.crm)
    again.arrive([signal(n) for n in range(5)], live=False, old=True)
    again.drain()
    assert len(again.records("Task")) == 5
    assert again.states() == {"delivered": 5}


def test_a_replay_brings_nothing_that_the_destination_does_not_ask_for(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path))
    rig.arrive([signal(1), signal(2, type="custom.order")])
    rig.drain()
    asked = ("custom.*",)
    assert replay(rig.store, ALL, "crm", only=asked, dry_run=True) == Replayed(1, 1, 0, 0, 1)
    assert replay(rig.store, ALL, "later", only=asked) == Replayed(1, 0, 1, 0, 1)
    rig.check_books()


def test_a_replayed_thread_keeps_its_newest_state(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=THREADS)
    rig.arrive([signal(n, thread="T", at=T0 - timedelta(hours=9 - n)) for n in range(5)])
    rig.step()
    replay(rig.store, ALL, "crm")
    rig.drain()
    assert rig.states() == {"delivered": 5}
    assert [record["Subject"] for record in rig.records("Case")] == ["signal 4"]


def test_signals_from_before_a_destination_get_their_first_delivery(tmp_path: Path) -> None:
    rig = with_dead(tmp_path)
    assert replay(rig.store, ALL, "later", dry_run=True) == Replayed(4, 0, 4, 0)
    assert replay(rig.store, Filter(state="dead"), "later") == Replayed()
    assert replay(rig.store, ALL, "later") == Replayed(4, 0, 4, 0)
    assert replay(rig.store, ALL, "later") == Replayed(4, 0, 0, 4)
    rig.check_books()
    assert parked(rig.store, ["crm"]) == {"later": 4}
    assert parked(rig.store, ["crm", "later"]) == {}
