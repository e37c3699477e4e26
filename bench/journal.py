"""Group commit against one transaction an entry, on SQLite and PostgreSQL: `python -m bench.journal`.

Entries of one signal of about 1 KiB and one delivery come from 64 waiting threads' worth of submissions (64 are in flight at any
moment); every answered one is on disk.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.figures import Figure, Table, workplace
from bench.sidebyside import Way, compare
from syncd.store import Store
from syncd.store.journal.encoding import prepare
from syncd.store.journal.entries import Committed, JournalEntry
from syncd.store.journal.group_commit import commit_group
from tests.entries import a_signal, an_entry
from tests.servers import NoPostgres, postgres_server

IN_FLIGHT = 64
TEXT = "x" * 800
_serial = itertools.count()


def entry() -> JournalEntry:
    made = an_entry(native := next(_serial))
    (arrival,) = made.arrivals
    return JournalEntry("phones", [type(arrival)(a_signal(native, text=TEXT), arrival.seeds)])


def grouped(store: Store, count: int) -> Way:
    """64 in flight: the journal's own thread commits what has gathered."""

    def way() -> float:
        entries = [entry() for _ in range(count)]
        waiting: deque[Future[Committed]] = deque()
        started = time.perf_counter()
        for made in entries:
            if len(waiting) == IN_FLIGHT:
                waiting.popleft().result()
            waiting.append(store.journal.submit(made))
        for future in waiting:
            future.result()
        return count / (time.perf_counter() - started)

    return way


def one_by_one(store: Store, count: int) -> Way:
    """A transaction and an fsync for each, through the same statements."""

    def way() -> float:
        entries = [entry() for _ in range(count)]
        started = time.perf_counter()
        for made in entries:
            commit_group(store, [prepare(made, store.clock())])
        return count / (time.perf_counter() - started)

    return way


def batches(store: Store, count: int, size: int = 200) -> Way:
    """Entries of 200 signals, as a poll or a backfill commits them: signals a second."""

    def way() -> float:
        entries = []
        for _ in range(count // size):
            arrivals = [entry().arrivals[0] for _ in range(size)]
            entries.append(JournalEntry("phones", arrivals, state=b"page"))
        started = time.perf_counter()
        for made in entries:
            store.journal.commit(made)
        return count / (time.perf_counter() - started)

    return way


@contextmanager
def stores() -> Iterator[tuple[dict[str, Store], list[str]]]:
    """(the stores to be had, why others are not)."""
    with ExitStack() as stack:
        lacking: list[str] = []
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=workplace()))
        opened = {"SQLite": stack.enter_context(Store.open(f"sqlite:///{Path(folder) / 'bench.db'}"))}
        try:
            server = stack.enter_context(postgres_server())
            opened["PostgreSQL"] = stack.enter_context(Store.open(server.url))
        except NoPostgres as error:
            lacking.append(f"PostgreSQL left out: {error}")
        yield opened, lacking


def run(*, quick: bool = False) -> list[Table]:
    """A table a database; without PostgreSQL one, which says so."""
    tables, (rounds, entries) = [], (2, 1000) if quick else (5, 2000)
    with stores() as (opened, lacking):
        for name, store in opened.items():
            ways = {
                "one transaction an entry": one_by_one(store, entries // 4),
                "group commit, 64 in flight": grouped(store, entries),
                "entries of 200 signals": batches(store, entries),
            }
            done = compare(ways, rounds=rounds)
            figures = [Figure(way, done.medians[way], "/s", None, done.spreads[way]) for way in ways]
            figures += [Figure(f"{way} : one a transaction", done.ratios[way]) for way in list(ways)[1:]]
            tables.append(
                Table(f"journal: durable signals on {name}, {rounds} rounds of {entries:,}", figures, lacking)
            )
    return tables


if __name__ == "__main__":
    for table in run():
        print(table)
