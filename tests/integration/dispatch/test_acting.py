"""Rules that a user sets off: never by themselves, once for the same values, and nothing else of the signal because of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.dispatch.acting import Demand, act
from syncd.errors import Ambiguous, ConfigError, UsageError
from syncd.mapping.loading import load_mapping
from syncd.mapping.preview import preview
from syncd.mapping.testing import run_tests
from tests.lane_rig import MAPPING, Rig, key_of, signal, sqlite

RULES = """
  - id: follow-up
    name: A task for later
    on: demand
    signals: ["*"]
    upsert: Task
    key: Key
    link: {WhoId: person}
    live_only: true
    fields: {Kind: later}
    ask:
      Subject: {label: What, default: "About {{ signal.title }}"}
      Day: {label: When, default: 2026-03-09}
  - id: note
    name: A note
    on: demand
    signals: ["*"]
    create: Note
    ask: {Text: "{{ signal.text }}"}
"""


def acted(rig: Rig, rule: str = "follow-up", *, once: bool = False, **given: Any) -> bool:
    demand = Demand("crm", str(signal(1).id), rule, "Task", given, once, [("timeline", "Task"), ("later", "Task")])
    done = act(rig.store, demand, live_within=timedelta(hours=24))
    rig.drain()
    return done


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(sqlite(tmp_path), mapping=MAPPING + RULES)
    made.crm.add("Contact", Email="ann@example.com")
    made.arrive([signal(1)])
    made.drain()
    return made


def tasks(rig: Rig) -> list[dict[str, Any]]:
    return [record for record in rig.records("Task") if record.get("Kind") == "later"]


def test_it_is_never_written_by_itself(rig: Rig) -> None:
    assert tasks(rig) == []
    assert [row["rule"] for row in rig.writes] == ["timeline"]


def test_the_same_values_make_one_record_and_others_update_it(rig: Rig) -> None:
    assert acted(rig, Subject="Ring Ann")
    assert not acted(rig, Subject="Ring Ann")
    (task,) = tasks(rig)
    assert (task["Subject"], task["Day"]) == ("Ring Ann", "2026-03-09")
    assert acted(rig, Subject="Write to Ann")
    (task,) = tasks(rig)
    assert task["Subject"] == "Write to Ann"
    assert rig.states() == {"delivered": 1}


def test_the_past_is_no_obstacle_and_defaults_hold(rig: Rig) -> None:
    rig.later(90 * 86_400)
    assert acted(rig)
    assert tasks(rig)[0]["Subject"] == "About signal 1"


def test_nothing_else_is_written_because_of_it(rig: Rig) -> None:
    rig.compiled = load_mapping(MAPPING + RULES + MAPPING.partition("rules:\n")[2].replace("id: timeline", "id: later"))
    rig.connect()
    before = len(rig.crm.history)
    assert acted(rig)
    assert len(rig.crm.history) == before + 1
    assert {row["rule"]: row["state"] for row in rig.writes} == {
        "timeline": "written",
        "follow-up": "written",
        "later": "skipped",
    }


def test_a_lost_answer_makes_no_second_record(rig: Rig) -> None:
    demand = Demand("crm", str(signal(1).id), "follow-up", "Task", {"Subject": "Ring"})
    act(rig.store, demand, live_within=timedelta(hours=24))
    rig.crm.row_faults[key_of(1, "follow-up")] = [Ambiguous("lost")]
    rig.drain()
    assert not acted(rig, Subject="Ring")
    assert len(tasks(rig)) == 1
    assert rig.crm.doubled() == []


def test_what_is_made_once_is_not_made_again(rig: Rig) -> None:
    assert acted(rig, "note", once=True, Text="a")
    assert not acted(rig, "note", once=True, Text="a")
    with pytest.raises(UsageError, match=r"rule note has been carried out \(Note Note-\d+\), and is carried out once"):
        acted(rig, "note", once=True, Text="b")
    assert [note["Text"] for note in rig.records("Note")] == ["a"]


def test_a_signal_that_never_went_there(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=MAPPING + RULES)
    with pytest.raises(UsageError, match="crm does not have this signal"):
        acted(rig)


def test_preview_and_tests_of_a_mapping_know_it(tmp_path: Path) -> None:
    mapping = load_mapping(MAPPING + RULES)
    assert [one.rule for one in preview(mapping, signal(1))] == ["people.create", "timeline"]
    shown = preview(mapping, signal(1), live=False, demanded={"follow-up": {"Subject": "Ring"}})[-1]
    assert [(field.name, field.value) for field in shown.fields if field.name == "Subject"] == [("Subject", "Ring")]
    cases = """
- name: A follow-up
  signal: {type: email.received, person: {email: ann@example.com}}
  act: {follow-up: {Subject: Ring}}
  expect: {follow-up: {fields: {Subject: Ring, Kind: later}}}
"""
    assert [result.passed for result in run_tests(mapping, cases)] == [True]


def test_only_a_rule_on_demand_asks() -> None:
    with pytest.raises(ConfigError, match="only a rule with on: demand can ask a user"):
        load_mapping("rules:\n  - {id: a, signals: ['*'], create: T, ask: {A: b}}\n")
