"""A signal that is counted up updates the records it made: never a second one, never late, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import msgspec
import pytest

from syncd.connector import Call, Idempotency, Outcome, WriteKind
from syncd.dispatch.dead_letters import discard, retry
from syncd.dispatch.plan import write_key
from syncd.errors import RateLimited, Rejected
from syncd.mapping.loading import load_mapping
from syncd.runtime import crashpoints
from syncd.signals import Signal
from syncd.store import Store
from syncd.store.journal.entries import InitialDelivery, JournalEntry, NewSignal
from syncd.store.queries import Filter
from syncd.store.schema import deliveries, settled
from syncd.testing.hostile_destination import HostileCrm, before, lost
from tests.integration.dispatch.test_lane import Killed
from tests.integration.dispatch.test_own_records import TwinRig, salesforce, zoho
from tests.lane_rig import MAPPING, T0, THREADS, Rig, known, signal, sqlite

COUNTED = MAPPING.replace('"{{ signal.title }}"', '"Offer: {{ signal.data.count }}"')
MORE = """
  - {id: once, name: Once, signals: ["*"], create: Note, key: Key, fields: {Count: "{{ signal.data.count }}"}}
  - {id: loose, name: No key, signals: ["*"], create: Log, fields: {Count: "{{ signal.data.count }}"}}
  - id: hot
    name: Opened often
    signals: ["*"]
    when: "{{ signal.data.count >= 3 }}"
    upsert: Hot
    key: Key
    fields: {At: "{{ signal.data.last_at }}"}
"""
CASE = THREADS.replace("{{ signal.text }}", "{{ signal.data.count }}")


def opened(event: int, number: int = 1, **more: Any) -> Signal:
    """Opening number `event` of email `number`, an hour after the one before."""
    one = signal(number, type="email.opened", at=T0 + timedelta(hours=event), title="Offer", **more)
    return msgspec.structs.replace(one, repeat=f"event {event}")


def subjects(rig: Rig) -> list[str]:
    return [one["Subject"] for one in rig.records("Task")]


@pytest.mark.parametrize("kind", list(WriteKind))
def test_the_record_that_exists_is_updated(tmp_path: Path, kind: WriteKind) -> None:
    rig = known(tmp_path, Idempotency(kind), mapping=COUNTED)
    for event in (0, 1, 1, 2):
        rig.arrive([opened(event)])
        rig.drain()
    made = ["Offer: 1" if kind is WriteKind.AT_MOST_ONCE else "Offer: 3"]
    assert (subjects(rig), rig.states()) == (made, {"delivered": 1})


def test_what_is_made_once_is_left_alone_and_a_condition_is_asked_again(tmp_path: Path) -> None:
    rig = known(tmp_path, mapping=COUNTED + MORE)
    rig.crm.kinds["Log"] = Idempotency(WriteKind.AT_MOST_ONCE)
    for event in range(4):
        rig.arrive([opened(event)])
        rig.drain()
        hot = [one["At"] for one in rig.records("Hot")]
        assert hot == ([] if event < 2 else [f"2026-03-02T{9 + event:02}:00:00Z"])
    assert [one["Count"] for name in ("Note", "Log") for one in rig.records(name)] == [1, 1]
    assert subjects(rig) == ["Offer: 4"]


@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
def test_an_event_that_comes_while_the_record_is_written_is_written_after_it(
    tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    """Another process counts it: this one's lane has the delivery in its hands, and settles it later."""
    url = request.getfixturevalue(database)
    rig = Rig(url, mapping=COUNTED)
    rig.crm.add("Contact", Email="ann@example.com")
    with Store.open(url, clock=lambda: rig.now) as other:

        def meanwhile(crm: HostileCrm, call: Call) -> list[Outcome] | None:
            seed = (InitialDelivery("crm", live=True),)
            other.journal.commit(JournalEntry("rig", [NewSignal(opened(9), seed)], received_at=rig.now))
            return None

        rig.arrive([opened(0)])
        rig.crm.faults = [meanwhile]
        rig.step()
        (waiting,) = rig.rows(deliveries)
        assert (subjects(rig), waiting["state"], waiting["code"]) == (["Offer: 1"], "pending", "repeated")
        rig.drain()
        assert (subjects(rig), rig.states()) == (["Offer: 2"], {"delivered": 1})
    rig.store.close()


@pytest.mark.parametrize("name", ["after_send", "in_settling"])
@pytest.mark.parametrize("nth", range(4))
def test_killed_at_any_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, nth: int) -> None:
    rig = known(tmp_path, mapping=COUNTED)
    rig.arrive([opened(0, number) for number in range(3)])
    rig.drain()
    rig.arrive([opened(1, number) for number in range(3)])
    calls = 0

    def point(at: str) -> None:
        nonlocal calls
        calls += at == name
        if at == name and calls == nth + 1:
            raise Killed

    monkeypatch.setattr(crashpoints, "point", point)
    for _ in range(3):
        try:
            rig.drain()
            rig.arrive([opened(2, number) for number in range(3)])  # a second time: the same events
        except Killed:
            rig.arrive([opened(2, number) for number in range(3)])
            rig.restart()
    assert (subjects(rig), rig.states(), rig.crm.doubled()) == (["Offer: 3"] * 3, {"delivered": 3}, [])
    rig.store.close()


def test_what_a_pause_leaves_unsent_is_sent_later(tmp_path: Path) -> None:
    rig = known(tmp_path, mapping=COUNTED, options={"per_call": 1})
    for event in range(2):
        rig.arrive([opened(event, number) for number in range(3)])
        rig.crm.faults = [before(RateLimited("slow down", retry_after=60))] if event else []
        rig.step()
    assert subjects(rig) == ["Offer: 1"] * 3
    rig.drain()
    assert (subjects(rig), rig.states()) == (["Offer: 2"] * 3, {"delivered": 3})


def test_a_lost_answer_in_between_changes_nothing(tmp_path: Path) -> None:
    rig = known(tmp_path, Idempotency(WriteKind.FINDABLE), mapping=COUNTED)
    rig.arrive([opened(0)])
    rig.drain()
    rig.arrive([opened(1)])
    rig.crm.faults = [lost]
    rig.drain()
    assert (subjects(rig), rig.states()) == (["Offer: 2"], {"delivered": 1})


@pytest.mark.parametrize("kind", [kind for kind in WriteKind if kind is not WriteKind.AT_MOST_ONCE])
def test_what_is_counted_while_the_first_answer_is_lost_is_written_too(tmp_path: Path, kind: WriteKind) -> None:
    rig = known(tmp_path, Idempotency(kind), mapping=COUNTED)
    rig.arrive([opened(0)])
    rig.crm.faults = [lost]
    rig.step()
    rig.arrive([opened(1)])
    rig.drain()
    assert (subjects(rig), rig.states(), rig.crm.doubled()) == (["Offer: 2"], {"delivered": 1}, [])


def test_a_dead_letter_stays_dead_and_is_retried_with_the_count(tmp_path: Path) -> None:
    rig = known(tmp_path, mapping=COUNTED)
    rig.crm.faults = [lambda crm, call: [Rejected("too long", code="LONG")]]
    rig.arrive([opened(0)])
    rig.drain()
    rig.arrive([opened(1)])
    rig.drain()
    assert rig.states() == {"dead": 1}
    retry(rig.store, Filter(), live_within=timedelta(hours=24), now=rig.store.now())
    rig.drain()
    assert (subjects(rig), rig.states()) == (["Offer: 2"], {"delivered": 1})


def dead_beside_written(rig: Rig) -> None:
    """Event 1 leaves a dead write and a written one; the events after it are only counted."""
    rig.crm.add("Contact", Email="ann@example.com")

    rig.crm.row_faults[write_key(f"signal:{opened(0).id}", "timeline")] = [Rejected("too long", code="LONG")]
    for event in range(4):
        rig.arrive([opened(event)])
        rig.drain()
    (ended,) = rig.rows(settled)
    assert (ended["state"], subjects(rig), others(rig), rig.records("Hot")) == ("dead", [], ["1"], [])


def others(rig: Rig) -> list[str]:
    return [str(one["Count"]) for one in rig.records("Rate")]


OTHER = """
  - {id: other, name: Rate, signals: ["*"], upsert: Rate, key: Key, fields: {Count: "{{ signal.data.count }}"}}
"""


@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
def test_a_retried_delivery_shows_the_count_everywhere(request: pytest.FixtureRequest, database: str) -> None:
    rig = Rig(request.getfixturevalue(database), mapping=COUNTED + MORE + OTHER)
    dead_beside_written(rig)
    retry(rig.store, Filter(), live_within=timedelta(hours=24), now=rig.store.now())
    rig.drain()
    assert (subjects(rig), others(rig), len(rig.records("Hot"))) == (["Offer: 4"], ["4"], 1)
    assert [one["Count"] for name in ("Note", "Log") for one in rig.records(name)] == [1, 1]
    assert (rig.states(), rig.crm.doubled()) == ({"delivered": 1}, [])
    rig.store.close()


@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
def test_a_discarded_write_does_not_stop_the_other_rules(request: pytest.FixtureRequest, database: str) -> None:
    rig = Rig(request.getfixturevalue(database), mapping=COUNTED + MORE + OTHER)
    dead_beside_written(rig)
    discard(rig.store, Filter(), now=rig.store.now())
    rig.drain()
    assert (others(rig), rig.states()) == (["1"], {"discarded": 1})
    rig.arrive([opened(4)])
    rig.drain()
    assert (subjects(rig), others(rig), len(rig.records("Hot")), rig.states()) == ([], ["5"], 1, {"discarded": 1})
    rig.store.close()


def test_an_operator_who_discards_all_is_not_asked_again(tmp_path: Path) -> None:
    rig = known(tmp_path, mapping=COUNTED)
    rig.crm.faults = [lambda crm, call: [Rejected("too long", code="LONG")]]
    rig.arrive([opened(0)])
    rig.drain()
    discard(rig.store, Filter(), now=rig.store.now())
    rig.arrive([opened(1)])
    assert (rig.rows(deliveries), rig.states()) == ([], {"discarded": 1})


def test_the_place_in_the_order_of_a_thread_stays_that_of_the_first_event(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=CASE)
    reply = signal(2, type="email.received", at=T0 + timedelta(minutes=1), thread="t", title="Reply")
    rig.arrive([opened(0, thread="t"), reply])
    rig.drain()
    rig.arrive([opened(5, thread="t")])
    rig.drain()
    assert [one["Subject"] for one in rig.records("Case")] == ["Reply"]
    assert {row["state"] for row in rig.rows(settled)} == {"delivered"}


def test_one_process_settles_while_another_counts(tmp_path: Path, postgres_url: str) -> None:
    """They lock the same deliveries again and again: no deadlock, no event is left out of a record."""
    rig = Rig(postgres_url, mapping=COUNTED, options={"per_call": 3, "concurrency": 1})
    rig.crm.add("Contact", Email="ann@example.com")
    rig.arrive([opened(0, number) for number in range(12)])
    failed: list[BaseException] = []

    def count() -> None:
        random = Random(7)
        try:
            with Store.open(postgres_url, clock=lambda: rig.now) as other:
                for event in range(1, 16):
                    numbers = random.sample(range(12), 12)
                    seed = (InitialDelivery("crm", live=True),)
                    other.journal.commit(
                        JournalEntry("rig", [NewSignal(opened(event, number), seed) for number in numbers])
                    )
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failed.append(error)

    counting = Thread(target=count)
    counting.start()
    while counting.is_alive():
        rig.lane.step(rig.now)
    counting.join()
    rig.drain()
    assert (failed, rig.states(), rig.crm.doubled()) == ([], {"delivered": 12}, [])
    assert subjects(rig) == ["Offer: 16"] * 12
    rig.store.close()


@pytest.fixture(params=[salesforce, zoho])
def crm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwinRig]:
    made: TwinRig = request.param(tmp_path)
    yield made
    made.client.close()
    made.twin.stop()


def test_both_crms_keep_one_record_that_shows_the_count(crm: TwinRig) -> None:
    crm.person("contact")
    for event in range(3):
        crm.arrive([opened(event)])
        crm.drain()
    assert [one["Subject"] for name in ("Task", "Tasks") for one in crm.twin.records(name)] == ["Offer (3 times)"]


RATED = """
  - id: rated
    name: How often a lead opens
    signals: ["email.opened"]
    update: {lead}
    fields: {{"{lead title}": "opened {{{{ signal.data.count }}}}"}}
"""


def test_both_crms_show_the_count_of_a_retried_delivery_everywhere(crm: TwinRig) -> None:
    crm.person("lead")
    crm.compiled = load_mapping(crm.mapping.rstrip() + RATED.format(**crm.names), name="rig.yaml")
    crm.connect()
    crm.twin.plan.add([{"on": "*", "do": "row", "match": {"Subject": "Offer"}, "code": "INVALID_DATA"}])
    for event in range(3):
        crm.arrive([opened(event)])
        crm.drain()
    assert (crm.states(), crm.title("lead")) == ({"dead": 1}, "opened 1")
    crm.twin.plan.clear()
    retry(crm.store, Filter(), live_within=timedelta(hours=24), now=crm.store.now())
    crm.drain()
    assert [one["Subject"] for name in ("Task", "Tasks") for one in crm.twin.records(name)] == ["Offer (3 times)"]
    assert (crm.states(), crm.title("lead")) == ({"delivered": 1}, "opened 3")
