"""When the clock was set: what waits does not wait for the old time to come again, and doubts last as long as they would."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.store import Store
from syncd.store.lanes import PersonRow, move_times, people, put_people
from syncd.store.queue import WriteRow, put_writes, sql

HOUR = 3_600_000
NOW = 100 * HOUR


def write(rule: str, state: str, due: int) -> tuple[str, WriteRow]:
    return "s", WriteRow(rule, f"key-{rule}", "Task", "upsert", state=state, due_at=due, sent_at=due - 5000)


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_times_move_with_the_clock(store: Store, by: int) -> None:
    then = NOW - by  # what the clock said before, when nothing was late
    then += 1 if by < 0 else -1
    rows = [write(state, state, then + 5000) for state in ("pending", "held", "doubt", "sending", "written")]
    with store.write() as connection:
        put_writes(
            connection, "crm", [*rows, write("due", "pending", NOW - 2 * HOUR), write("since", "doubt", NOW - 10)], NOW
        )
        put_writes(connection, "other", rows, NOW)
        put_people(connection, "crm", [PersonRow("a", state="creating", sent_at=then, checked_at=then + 7000)])
        move_times(connection, "crm", by, NOW, doubt=10_000)

        def dues(destination: str) -> dict[str, Any]:
            text = sql(connection, "SELECT rule, due_at FROM writes WHERE destination = ?")
            return {row[0]: row[1] for row in connection.exec_driver_sql(text, (destination,))}

        found, others = dues("crm"), dues("other")
        person = people(connection, "crm", ["a"])["a"]
    soon = then + by + 5000
    early = soon if by < 0 else then + 5000  # set ahead, a retry is simply due
    assert found["doubt"] == found["sending"] == soon
    assert found["pending"] == found["held"] == early
    assert found["since"] == NOW - 10  # by the new clock already
    assert found["due"] == NOW - 2 * HOUR
    assert found["written"] == then + 5000
    assert set(others.values()) == {then + 5000}
    assert (person.sent_at, person.checked_at) == (then + by, then + by + 7000)


def test_an_answer_between_the_change_and_its_notice_has_its_time_by_the_new_clock(store: Store) -> None:
    """Sent by the old clock, answered by the new one, an hour ahead: it must not wait another hour."""
    sent = NOW - HOUR - 30
    rows = [
        ("s", WriteRow("timeline", "key", "Task", "upsert", state="doubt", sent_at=sent, due_at=NOW - 10)),
    ]
    with store.write() as connection:
        put_writes(connection, "crm", rows, NOW)
        put_people(connection, "crm", [PersonRow("a", state="creating", sent_at=sent, checked_at=NOW - 10)])
        move_times(connection, "crm", HOUR, NOW, doubt=600_000)
        text = sql(connection, "SELECT due_at, sent_at FROM writes WHERE destination = ?")
        assert list(connection.exec_driver_sql(text, ("crm",))) == [(NOW - 10, sent + HOUR)]
        person = people(connection, "crm", ["a"])["a"]
    assert (person.checked_at, person.sent_at) == (NOW - 10, sent + HOUR)
