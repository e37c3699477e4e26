"""`act`: what a user may set off is listed, tried without writing, and carried out once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources

import pytest

from tests.user_folder import UserFolder

RULE = """
  - id: follow-up
    name: A row to come back to
    on: demand
    signals: ["*"]
    upsert: follow_ups
    key: key
    fields: {title: "{{ signal.title }}"}
    ask:
      note: {label: What to do, default: "Answer {{ person.name }}"}
      days: 3
"""


@pytest.fixture
def with_rule(folder: UserFolder) -> UserFolder:
    (folder.path / "mappings").mkdir()
    shipped = resources.files("syncd").joinpath("mappings/database.yaml").read_text("utf-8")
    folder.write("mappings/database.yaml", shipped + RULE)
    return folder.filled()


def rows(folder: UserFolder) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder.path / "signals.db")) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        return database.execute("SELECT note, days FROM follow_ups").fetchall() if "follow_ups" in tables else []


def test_it_is_listed_tried_and_carried_out_once(with_rule: UserFolder) -> None:
    id = with_rule.ids()[0]
    assert rows(with_rule) == []
    (listed,) = with_rule.done("--json", "act", id).lines
    assert (listed["rule"], listed["asks"]) == ("follow-up", "note (What to do), days")
    dry = with_rule.done("act", id, "follow-up", "--set", "note=Ring", "--dry-run")
    assert "Ring" in dry.out
    assert rows(with_rule) == []
    for _ in range(2):
        done = with_rule.done("--json", "act", id, "follow-up", "--set", "note=Ring", "--set", "days=5").record
        assert (done["state"], done["object"]) == ("written", "follow_ups")
    assert [(note, int(str(days))) for note, days in rows(with_rule)] == [("Ring", 5)]
    assert "set off by a user, note=Ring, days=5" in with_rule.done("explain", id).out


def test_mistakes_are_named(with_rule: UserFolder) -> None:
    id = with_rule.ids()[0]
    assert "no rule 'folow-up' for this signal; did you mean follow-up?" in with_rule.syncd("act", id, "folow-up").err
    assert "--set nte=x: did you mean note?" in with_rule.syncd("act", id, "follow-up", "--set", "nte=x").err


def test_a_value_of_another_type_is_refused_before_anything_is_queued(with_rule: UserFolder) -> None:
    id = with_rule.ids()[0]
    ran = with_rule.syncd("act", id, "follow-up", "--set", "days=soon")
    assert ran.code == 2
    assert ran.err == "syncd: --set days=soon: must be a number, such as 5 or 2.5\n"
    assert rows(with_rule) == []
    assert "set off by a user" not in with_rule.done("explain", id).out
