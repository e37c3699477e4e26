"""A follow-up is closed once one of us has answered, over both stand-in CRMs: only as syncd wrote it, once, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.dispatch.replay import replay
from syncd.errors import ConfigError
from syncd.identity.ties import Tie
from syncd.mapping.lint import lint_mapping
from syncd.mapping.loading import load_mapping
from syncd.mapping.preview import preview
from syncd.mapping.testing import run_tests
from syncd.runtime import crashpoints
from syncd.signals import Signal
from syncd.store.answers import newest_unanswered
from syncd.store.identity_ties import set_tie
from syncd.store.queries import Filter
from tests.integration.dispatch.test_lane import Killed
from tests.integration.dispatch.test_own_records import ANN, TwinRig, salesforce, zoho
from tests.lane_rig import T0, Rig, signal

PHONE = "+84912345678"
RULES = """
  - id: callback
    name: Call back
    signals: ["call.missed"]
    live_only: true
    upsert: {task}
    key: {key}
    fields: {{Subject: "Call back {{{{ person.phone }}}}", {due}: "{{{{ signal.occurred_at | date }}}}"}}
    on_create: {{Status: {open}}}
  - id: callback-answered
    name: Close it once somebody has answered
    signals: ["call.missed"]
    on: answered
    update: {{record: callback}}
    fields: {{Status: Completed}}
"""
NAMES = {
    "salesforce": {
        "task": "Task",
        "key": "Syncd_Key__c",
        "due": "ActivityDate",
        "open": "Not Started",
        "editor": "LastModifiedById",
    },
    "zoho": {"task": "Tasks", "key": "Syncd_Key", "due": "Due_Date", "open": "Not Started", "editor": "Modified_By"},
}


def missed(number: int = 1, minutes: int = 0, **more: Any) -> Signal:
    return signal(number, type="call.missed", email="", phone=PHONE, at=T0 + timedelta(minutes=minutes), **more)


def placed(number: int = 1, minutes: int = 30, **more: Any) -> Signal:
    more = {"email": "", "phone": PHONE, **more}
    return signal(number, type="call.placed", at=T0 + timedelta(minutes=minutes), **more)


def tasks(rig: TwinRig) -> list[dict[str, Any]]:
    return [dict(one) for one in rig.twin.records(rig.names["task"])]


def statuses(rig: TwinRig) -> list[Any]:
    return [one["Status"] for one in tasks(rig)]


def changed(rig: TwinRig, task: dict[str, Any], **fields: Any) -> None:
    """As a user changes it."""
    with rig.twin.lock, rig.twin.settled():
        id_ = task.get("Id") or task["id"]
        rig.twin.store.put(rig.names["task"], id_, {**task, **fields})


def came(rig: Rig, *signals: Signal) -> None:
    rig.arrive(signals)
    rig.drain()


@pytest.fixture(params=[salesforce, zoho])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwinRig]:
    made: TwinRig = request.param(tmp_path)
    made.names |= NAMES[request.param.__name__]
    made.with_rules(RULES)
    yield made
    made.client.close()
    made.twin.stop()


def test_the_follow_up_is_closed_and_nothing_else_is_written(rig: TwinRig) -> None:
    came(rig, missed())
    assert statuses(rig) == ["Not Started"]
    assert rig.of_rule("callback-answered") == [("skipped", "nobody has answered yet")]
    came(rig, placed())
    assert statuses(rig) == ["Completed"]
    assert rig.of_rule("callback-answered") == [("written", "")]
    (row,) = [row for row in rig.writes if row["rule"] == "callback-answered"]
    assert str(placed().id) in row["chosen"]
    before = rig.twin.stats()
    came(rig, placed(2, 40), signal(3, at=T0 + timedelta(hours=1)))
    assert [one for one in rig.of_rule("callback-answered") if one[0] != "written"] == []
    assert rig.twin.stats()["doubled"] == before["doubled"] == {}


@pytest.mark.parametrize("answer", ["chat.answered", "message.sent"])
def test_a_chat_is_answered_by_what_we_write_to_the_person(rig: TwinRig, answer: str) -> None:
    rig.with_rules(RULES.replace("call.missed", "chat.missed"))
    came(rig, signal(1, type="chat.missed", email="", phone=PHONE, at=T0))
    assert statuses(rig) == ["Not Started"]
    assert [one.signal.type for one in newest_unanswered(rig.store, Filter())] == ["chat.missed"]
    came(rig, signal(2, type=answer, email="", phone=PHONE, at=T0 + timedelta(minutes=30)))
    assert statuses(rig) == ["Completed"]
    assert newest_unanswered(rig.store, Filter()) == []


def test_only_what_waited_before_the_answer(rig: TwinRig) -> None:
    came(rig, missed(1), missed(2, 10), missed(3, 50))
    came(rig, placed(minutes=30))
    assert sorted(statuses(rig)) == ["Completed", "Completed", "Not Started"]
    other = signal(4, type="call.missed", email="", phone="+84987654321", at=T0)
    came(rig, other, placed(5, 60))
    assert sorted(statuses(rig)) == ["Completed"] * 3 + ["Not Started"]


def test_an_answer_that_is_there_first_leaves_nothing_to_do(rig: TwinRig) -> None:
    came(rig, placed())
    came(rig, missed())
    assert tasks(rig) == []
    assert rig.of_rule("callback") == [("skipped", "it was answered before this was written")]
    assert rig.of_rule("callback-answered") == [("skipped", "there is no record of rule callback to link to")]
    came(rig, missed(2, 5), placed(2, 35))  # in one batch
    assert tasks(rig) == []


def test_what_a_user_changed_is_left_alone(rig: TwinRig) -> None:
    came(rig, missed(1), missed(2, 1))
    first, _ = tasks(rig)
    changed(rig, first, **{rig.names["due"]: "2026-03-09"})
    came(rig, placed())
    assert sorted(statuses(rig)) == ["Completed", "Not Started"]
    (reason,) = [reason for state, reason in rig.of_rule("callback-answered") if state == "skipped"]
    assert reason == f"the record has another {rig.names['due']} than syncd wrote"


def test_what_another_user_saved_is_left_alone_whatever_it_holds(rig: TwinRig) -> None:
    came(rig, missed())
    (task,) = tasks(rig)
    changed(rig, task, **{rig.names["editor"]: "005000000000099AAA"})
    came(rig, placed())
    assert statuses(rig) == ["Not Started"]
    assert rig.of_rule("callback-answered") == [("skipped", "a user has changed the record")]


def test_a_deleted_follow_up_is_not_made_again(rig: TwinRig) -> None:
    came(rig, missed())
    (task,) = tasks(rig)
    rig.twin.delete(task.get("Id") or task["id"])
    rig.later(3600)
    came(rig, placed())
    assert rig.of_rule("callback-answered") == [("skipped", "the record is not there any more")]
    assert rig.states() == {"delivered": 1, "skipped": 1}


def test_a_tied_identity_answers(rig: TwinRig) -> None:
    came(rig, missed())
    rig.store.apply(lambda c: set_tie(c, Tie(f"email:{ANN}", f"phone:{PHONE}", "operator", "", 1, 1)))
    came(rig, placed(phone="", email=ANN))
    assert statuses(rig) == ["Completed"]


def test_replay_leaves_it_closed_and_waits_again_where_nobody_answered(rig: TwinRig) -> None:
    came(rig, missed(1), missed(2, 50))
    came(rig, placed())
    for _ in range(2):
        replay(rig.store, Filter(), "crm")
        rig.drain()
        assert sorted(statuses(rig)) == ["Completed", "Not Started"]
    came(rig, placed(2, 60))
    assert statuses(rig) == ["Completed", "Completed"]


def test_a_lost_answer_of_the_crm_closes_it_once(rig: TwinRig) -> None:
    came(rig, missed())
    operation = {"Task": "update_collection", "Tasks": "update"}[rig.names["task"]]
    rig.twin.plan.add([{"on": operation, "do": "reset", "when": "after", "times": 1}])
    came(rig, placed())
    assert [row["outcome"] for row in rig.attempts if row["rule"] == "callback-answered"] == ["ambiguous"]
    assert statuses(rig) == ["Completed"]
    assert rig.of_rule("callback-answered") == [("written", "")]


@pytest.mark.parametrize("name", ["after_send", "in_settling"])
@pytest.mark.parametrize("nth", range(3))
@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
def test_killed_at_any_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str, nth: int, database: str
) -> None:
    rig = salesforce(tmp_path)
    rig.store_url = request.getfixturevalue(database)
    rig.__post_init__()
    rig.names |= NAMES["salesforce"]
    rig.with_rules(RULES)
    came(rig, missed(1), missed(2, 1), missed(3, 99))
    calls = 0

    def point(at: str) -> None:
        nonlocal calls
        calls += at == name
        if at == name and calls == nth + 1:
            raise Killed

    monkeypatch.setattr(crashpoints, "point", point)
    rig.arrive([placed(), placed(2, 40)])
    for _ in range(3):
        try:
            rig.drain()
        except Killed:
            rig.restart()
    assert sorted(statuses(rig)) == ["Completed", "Completed", "Not Started"]
    assert [state for state, _ in rig.of_rule("callback-answered")].count("written") == 2
    assert rig.twin.stats()["doubled"] == {}
    rig.store.close()
    rig.client.close()
    rig.twin.stop()


PLAIN = """
rules:
  - {id: callback, name: Call, signals: [call.missed], upsert: Task, key: Key, on_create: {Status: Open}, live_only: true}
  - {id: each, name: Each, signals: ["*"], upsert: Task, key: Key, about: thread, fields: {A: b}}
  - {id: later, name: Later, on: demand, signals: ["*"], upsert: Task, key: Key, fields: {A: b}}
  - {id: done, name: Done, on: answered, signals: [call.missed], update: {record: callback}, fields: {Status: Completed}}
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{record: callback}", "{record: nobody}"), "there is no rule nobody"),
        (("{record: callback}", "{record: each}"), "is about a thread: the next signal would find it closed"),
        (("{record: callback}", "{record: later}"), "rule later waits for a user"),
        (("{record: callback}", "{record: done}"), "rule done makes no record of its own"),
        (("{record: callback}", "Task"), "a rule with on: answered changes the record of another rule"),
        (("on: answered, ", ""), "the record of another rule is changed only by an answer"),
        (("update: {record: callback}", "create: {record: callback}"), "only an update changes the record of another"),
        (("fields: {Status: Completed}", "owner: U1"), "a rule with on: answered does not change the owner"),
        (("{record: callback}", "{rekord: callback}"), "did you mean record?"),
    ],
)
def test_what_cannot_be_meant_is_a_fault(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        load_mapping(PLAIN.replace(*change))


def test_types_that_wait_for_no_answer_are_warned_of() -> None:
    lint = lint_mapping(PLAIN.replace("signals: [call.missed], update", "signals: [email.opened], update"))
    assert [fault.message for fault in lint.warnings] == ["signals of type email.opened wait for no answer"]
    assert lint_mapping(PLAIN).warnings == ()


def test_preview_and_tests_of_a_mapping_know_it() -> None:
    mapping = load_mapping(PLAIN)
    shown = {one.rule: one for one in preview(mapping, missed())}
    assert shown["done"].skipped == "nobody has answered yet"
    shown = {one.rule: one for one in preview(mapping, missed(), answered=True)}
    assert [(field.name, field.value) for field in shown["done"].fields] == [("Status", "Completed")]
    cases = """
- name: A call that was answered
  signal: {type: call.missed}
  answered: true
  expect: {done: {object: Task, fields: {Status: Completed}}}
- name: A call that waits
  signal: {type: call.missed}
  expect: {done: nothing}
"""
    assert [result.differences for result in run_tests(mapping, cases)] == [(), ()]
