"""The short way of a group on SQLite against the general way: the same groups leave the same rows and get the same answers."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from syncd.signals import Person, Route
from syncd.store import Store
from syncd.store.journal import group_commit
from syncd.store.journal.encoding import Prepared, prepare
from syncd.store.journal.entries import Committed, InitialDelivery, JournalEntry, NewSignal, Outcome
from syncd.store.journal.group_commit import WakeUp, commit_group
from syncd.store.journal.sqlite_fast_path import MOST_ROWS, insert_new
from syncd.store.schema import deliveries, receipts, settled, signals, source_health, tally, tombstones
from tests.entries import CRM, MOMENT, a_signal

TABLES = (signals, deliveries, settled, tally, source_health, receipts, tombstones)
SEEDS = st.lists(
    st.builds(
        InitialDelivery,
        st.sampled_from(["crm", "archive", 'it\'s a "desk"']),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["", "off"]),
    ),
    max_size=3,
    unique_by=lambda seed: seed.destination,
).map(tuple)
ARRIVALS = st.builds(
    lambda native, seeds, route, late, name: NewSignal(
        a_signal(native, route=route, person=Person(name=name), received_at=MOMENT + timedelta(seconds=late)), seeds
    ),
    st.integers(0, 40),
    SEEDS,
    st.sampled_from(list(Route)),
    st.integers(-5, 5),
    st.sampled_from(["", "Ann O'Hara", "\0", "\U0001f600", "\ud800"]),
)
ENTRIES = st.builds(
    lambda source, arrivals, state: JournalEntry(source, arrivals, received_at=MOMENT, state=state),
    st.sampled_from(["phones", "shop"]),
    st.lists(ARRIVALS, max_size=4),
    st.sampled_from([None, None, None, b"page 2"]),
)


@contextmanager
def a_store() -> Iterator[Store]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(f"sqlite:///{Path(folder) / 'syncd.db'}", clock=lambda: MOMENT) as store,
    ):
        yield store


def commit(store: Store, entries: Sequence[JournalEntry]) -> tuple[list[Outcome], WakeUp]:
    result = commit_group(store, [prepare(entry, MOMENT) for entry in entries])
    return result.outcomes, result.wake_up


def everything(store: Store) -> dict[str, list[Any]]:
    with store.read() as connection:
        return {table.name: sorted(map(tuple, connection.execute(select(table)))) for table in TABLES}


@given(st.lists(st.lists(ENTRIES, min_size=1, max_size=6), max_size=4), st.sets(st.integers(0, 40), max_size=3))
def test_both_ways_leave_the_same(written: list[list[JournalEntry]], purged: set[int]) -> None:
    with a_store() as short, a_store() as general:
        for store in (short, general):
            with store.write() as connection:
                connection.execute(delete(tombstones))
                for native in purged:
                    connection.execute(insert(tombstones).values(id=str(a_signal(native).id), at=0))
        for group in written:
            mine = commit(short, group)
            with patch.object(group_commit, "insert_new", lambda store, group: False):
                theirs = commit(general, group)
            assert mine == theirs
        assert everything(short) == everything(general)


class Pooled:
    """A connection as the pool lends it."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver_connection = driver
        self.info: dict[str, Any] = {}

    def close(self) -> None:
        pass


def some(count: int, *, start: int = 0, **changes: Any) -> list[Any]:
    return [
        prepare(JournalEntry("phones", [NewSignal(a_signal(start + n), CRM)], **changes), MOMENT) for n in range(count)
    ]


def test_what_is_new_and_bare_goes_the_short_way_and_nothing_else_does() -> None:
    with a_store() as store:
        assert insert_new(store, some(MOST_ROWS))
        before = everything(store)
        assert not insert_new(store, some(3, start=MOST_ROWS - 2))  # the last of them new
        assert not insert_new(store, some(3, start=1000, state=b"page 2"))
        assert not insert_new(store, some(MOST_ROWS + 1, start=2000))
        with store.write() as connection:
            connection.execute(insert(tombstones).values(id=str(a_signal(4001).id), at=0))
        assert not insert_new(store, some(3, start=4000))  # the second was purged
        assert {**everything(store), "tombstones": []} == before


def test_while_repeats_are_about_nothing_is_tried_in_vain() -> None:
    asked: list[bool] = []

    def watched(store: Store, group: Sequence[Prepared]) -> bool:
        asked.append(insert_new(store, group))
        return asked[-1]

    with a_store() as store, patch.object(group_commit, "insert_new", watched):
        for start, tried, repeats in ((0, [True], 0), (0, [False], 3), (1, [], 2), (100, [], 0), (200, [True], 0)):
            asked.clear()
            outcomes = commit_group(store, some(3, start=start)).outcomes
            found = sum(outcome.repeats for outcome in outcomes if isinstance(outcome, Committed))
            assert (asked, found) == (tried, repeats)
        assert len(everything(store)["signals"]) == 3 + 1 + 3 + 3


def test_a_sqlite_without_json_goes_the_general_way() -> None:
    class Plain(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if "json_each" in sql:
                raise sqlite3.OperationalError("no such table: json_each")
            return super().execute(sql, *values)

    with a_store() as store, closing(sqlite3.connect(str(store.url.database), factory=Plain)) as plain:
        with patch.object(store.engine, "raw_connection", lambda: Pooled(plain)):
            assert not insert_new(store, some(3))
        assert commit(store, [JournalEntry("phones", [NewSignal(a_signal(1), CRM)])])[1] == WakeUp(frozenset({"crm"}))
