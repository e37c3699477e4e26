"""Observers of Bitrix24's records and the chats that they join, against the stand-in: nobody is lost, nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from syncd.connector import Observation, Outcome, Write, Written
from syncd.connectors.crm.bitrix24 import Bitrix24
from syncd.errors import Ambiguous, Failure, Rejected, StaleReference, Transient
from syncd.twins.bitrix24.twin import Bitrix24Twin
from tests.bitrix24_crm import connecting, key
from tests.crm_twins import Crm, daemon, mail

GET, UPDATE = "crm.item.get", "crm.item.update"


@pytest.fixture
def twin() -> Iterator[Bitrix24Twin]:
    with Bitrix24Twin() as made:
        yield made


@pytest.fixture
def crm(twin: Bitrix24Twin) -> Iterator[Bitrix24]:
    for connect in connecting(twin):
        yield connect()


def users(twin: Bitrix24Twin, count: int) -> list[str]:
    return [twin.add("user", NAME=f"U{n}") for n in range(count)]


def change(record: str, object_: str = "Lead", **more: Any) -> Write:
    return Write(key=key(f"watch {object_} {record}"), object=object_, id=record, observation=Observation(**more))


def sent(crm: Bitrix24, *writes: Write) -> list[Outcome]:
    """What the writes come to; a failure of a whole call is the outcome of its writes."""
    found: list[Outcome] = []
    for call in crm.plan(writes):
        try:
            found += crm.send(call)
        except Failure as failed:
            found += [failed] * len(call.writes)
    return found


def observers(twin: Bitrix24Twin, record: str, object_: str = "lead") -> list[str]:
    (row,) = [one for one in twin.records(object_) if str(one["id"]) == record]
    return [str(one) for one in row["observers"]]


def at(twin: Bitrix24Twin, moment: int, method: str, act: Callable[[], object]) -> None:
    """A user acts before the nth call of a method."""
    seen = 0

    def between(called: str) -> None:
        nonlocal seen
        seen += called == method
        if called == method and seen == moment:
            act()

    twin.between_commands = between


def test_who_is_named_is_added_and_removed_and_the_others_stay(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    one, two, theirs = users(twin, 3)
    records = [twin.add(name, title="A", observers=[int(theirs), int(two)]) for name in ("lead", "deal", "company")]
    writes = [
        change(record, object_, add=(one, theirs), remove=(two,))
        for record, object_ in zip(records, ("Lead", "Deal", "Company"), strict=True)
    ]
    assert sent(crm, *writes) == [Written(record, created=False) for record in records]
    assert [observers(twin, r, n) for r, n in zip(records, ("lead", "deal", "company"), strict=True)] == [
        [theirs, one]
    ] * 3
    updates = twin.counts[f"cmd:{UPDATE}"]
    assert sent(crm, *writes) == [Written(record, created=False) for record in records]
    assert twin.counts[f"cmd:{UPDATE}"] == updates, "nothing changes, so nothing is written"


def test_the_last_one_can_be_removed(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    (one,) = users(twin, 1)
    record = twin.add("lead", title="A", observers=[int(one)])
    assert sent(crm, change(record, remove=(one,))) == [Written(record, created=False)]
    assert observers(twin, record) == []


@pytest.mark.parametrize(("moment", "method"), [(2, GET), (3, GET)])
def test_whom_a_user_adds_meanwhile_stays(twin: Bitrix24Twin, crm: Bitrix24, moment: int, method: str) -> None:
    """Between the first read and the batch, or between its update and the read after that."""
    one, theirs, late = users(twin, 3)
    record = twin.add("lead", title="A", observers=[int(theirs)])

    def act() -> None:
        there = [int(each) for each in observers(twin, record)]
        twin.change(f"L_{record}", observers=[*there, int(late)])

    at(twin, moment, method, act)
    assert sent(crm, change(record, add=(one,))) == [Written(record, created=False)]
    assert set(observers(twin, record)) == {one, theirs, late}


def test_whom_a_user_removes_meanwhile_stays_away(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    one, theirs = users(twin, 2)
    record = twin.add("lead", title="A", observers=[int(theirs)])
    at(twin, 2, GET, lambda: twin.change(f"L_{record}", observers=[]))
    assert sent(crm, change(record, add=(one,))) == [Written(record, created=False)]
    assert observers(twin, record) == [one]


def test_a_record_that_users_change_all_the_time_waits(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    one, theirs, other = users(twin, 3)
    record, turn = twin.add("lead", title="A"), 0

    def between(method: str) -> None:
        nonlocal turn
        if method == GET:
            turn += 1
            twin.change(f"L_{record}", observers=[int(theirs if turn % 2 else other)])

    twin.between_commands = between
    (outcome,) = sent(crm, change(record, add=(one,)))
    assert isinstance(outcome, Transient)
    assert "change its observers at the same time" in str(outcome)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_changes_it_once(twin: Bitrix24Twin, crm: Bitrix24, when: str) -> None:
    one, theirs = users(twin, 2)
    record = twin.add("lead", title="A", observers=[int(theirs)])
    write = change(record, add=(one,), chat=True)
    for method in (UPDATE, "im.chat.add"):
        twin.plan.clear()
        twin.plan.add([{"on": method, "do": "reset", "when": when, "times": 1}])
        (lost,) = sent(crm, write)
        assert isinstance(lost, (Ambiguous, Transient))
    twin.plan.clear()
    assert sent(crm, write) == [Written(record, created=False)]
    assert observers(twin, record) == [theirs, one]
    (chat,) = twin.records("chat")
    assert sorted(chat["MEMBERS"]) == [1, int(one)]


def test_observers_join_the_chat_of_the_record_and_see_what_was_said(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    one, two = users(twin, 2)
    record = twin.add("deal", title="Big", observers=[])
    assert sent(crm, change(record, "Deal", add=(one,), chat=True)) == [Written(record, created=False)]
    assert sent(crm, change(record, "Deal", add=(one, two), chat=True)) == [Written(record, created=False)]
    (chat,) = twin.records("chat")
    assert (chat["ENTITY"], chat["TITLE"]) == (f"CRM:DEAL|{record}", "Big")
    assert (set(chat["MEMBERS"]), chat["FROM"]) == ({1, int(one), int(two)}, {})


def test_a_chat_that_does_not_let_us_in_is_one_clear_line(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    one, boss = users(twin, 2)
    record = twin.add("lead", title="A")
    twin.add("chat", ENTITY_ID=f"LEAD|{record}", OWNER=int(boss))
    (outcome,) = sent(crm, change(record, add=(one,), chat=True))
    assert isinstance(outcome, Rejected)
    assert "the record's chat does not let our user in" in str(outcome)
    assert observers(twin, record) == [one]


def test_a_record_that_is_gone_harms_no_other(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    (one,) = users(twin, 1)
    record = twin.add("lead", title="A")
    gone, done = sent(crm, change("99999", add=(one,)), change(record, add=(one,)))
    assert (isinstance(gone, StaleReference), done) == (True, Written(record, created=False))


def test_what_is_no_user_is_refused_before_it_is_sent(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    record = twin.add("lead", title="A")
    (outcome,) = sent(crm, change(record, add=("Linh",)))
    assert isinstance(outcome, Rejected)
    assert "Linh is not the id of a user of Bitrix24" in str(outcome)


@pytest.mark.parametrize(("scopes", "level"), [(["crm", "user", "im"], "ok"), (["crm", "user"], "fault")])
def test_check_online_names_the_scope_of_chats(scopes: list[str], level: str) -> None:
    with Bitrix24Twin(scopes=scopes) as twin:
        for connect in connecting(twin):
            found = {one.what: one for one in connect().may_observe(["Lead", "Deal"], "", chat=True)}
            assert found["observers"].message == "can be observed: Lead, Deal"
            assert found["observers chat"].level == level


RULES = """
people: {match: [{object: Lead, by: {email: "{{ person.email }}"}}]}
rules:
  - {id: watch, name: W, signals: ["*"], observe: {add: ["ONE", "AWAY"], chat: true}}
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_chat_whose_answer_is_lost_is_made_once(twin: Bitrix24Twin, crm: Bitrix24, store_url: str, when: str) -> None:
    one, theirs = users(twin, 2)
    away = twin.add("user", NAME="Away", ACTIVE=False)
    record = twin.add("lead", title="A", email="ann@example.com", observers=[int(theirs)])
    rules = RULES.replace("ONE", one).replace("AWAY", away)
    lane = daemon(Crm(twin, crm, {}), store_url, rules)
    lane.arrive(mail(1, "ann@example.com"))
    twin.plan.add([{"on": "im.chat.add", "do": "reset", "when": when, "times": 1}])
    states = []
    for _ in range(12):
        lane.lane.step(lane.now)
        states.append(lane.writes()[0][1] if lane.writes() else "")
        lane.now += timedelta(seconds=30)
    assert lane.writes() == [("watch", "written", "")]
    assert set(observers(twin, record)) == {one, theirs}
    (chat,) = twin.records("chat")
    assert set(chat["MEMBERS"]) == {1, int(one)}
    assert "doubt" in states, "what may still run is waited for"
