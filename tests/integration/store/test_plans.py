"""What an admin or the daemon asks daily must not read a whole table: the plans SQLite makes for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from syncd.config.models import Settings
from syncd.dispatch.dead_letters import letters, retry
from syncd.service.status import gather
from syncd.store import Store
from syncd.store.purge import purge
from syncd.store.queries import Filter, explain, newest
from tests.entries import MOMENT, a_signal, an_entry

CALLS = tuple(str(number) for number in range(5))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'plans.db'}") as opened:
        opened.journal.commit(an_entry(*CALLS))
        with opened.write() as connection:
            connection.exec_driver_sql(
                "INSERT INTO settled (destination, signal_id, channel, state, reason, settled_at)"
                " SELECT 'crm', id, channel, 'delivered', '', 1 FROM signals"
            )
            connection.exec_driver_sql("DELETE FROM deliveries")
        yield opened


ASKED: dict[str, Callable[[Store], Any]] = {
    "purge": lambda store: purge(store, MOMENT + timedelta(days=1)),
    "explain": lambda store: explain(store, str(a_signal("1").id)),
    "status": lambda store: gather(store, Settings()),
    "dead list": lambda store: letters(store, Filter()),
    "dead retry": lambda store: retry(store, Filter(), live_within=timedelta(hours=1)),
}


@pytest.mark.parametrize("what", ASKED)
def test_writes_are_found_by_an_index(store: Store, what: str) -> None:
    asked: list[tuple[str, Any]] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if "writes" in statement and not many:
            asked.append((statement, parameters))

    ASKED[what](store)
    assert asked
    with store.engine.connect() as connection:
        for statement, parameters in list(asked):
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            assert not [step for step in plan if step.startswith("SCAN writes")], statement


def test_a_person_is_looked_for_in_an_index_without_reading_the_signals(store: Store) -> None:
    asked: list[tuple[str, Any]] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        asked.append((statement, parameters))

    newest(store, Filter(person="jo@example.com"))
    (search,) = [(statement, parameters) for statement, parameters in asked if "identity" in statement]
    with store.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {search[0]}", search[1])]
        steps = [row[1] for row in connection.exec_driver_sql(f"EXPLAIN {search[0]}", search[1])]
    assert "SCAN signals USING INDEX signals_received" in plan
    assert "DeferredSeek" in steps, "a row is read when its person is the right one"
