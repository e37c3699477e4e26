"""The journal: everything the intake decides becomes durable here, many entries to one transaction and one fsync.

The doors submit, polls and jobs commit. Promise: a future that ends well was fsynced; one that fails with FenceLost or
StoreUnavailable left nothing behind, unless the connection broke inside the commit, and then a repeat is harmless.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import TYPE_CHECKING

from syncd.observability.histogram import SECONDS, SIZES, Histogram
from syncd.runtime.crashpoints import point
from syncd.runtime.switch_interval import eager_timers, precise_timers, relaxed_timers
from syncd.store.journal.encoding import Prepared, prepare
from syncd.store.journal.entries import Committed, JournalEntry, OnDone, OnDoneMany, Outcome, StoreUnavailable
from syncd.store.journal.group_commit import WakeUp, commit_group

if TYPE_CHECKING:
    from syncd.store.database import Database

_log = logging.getLogger(__name__)

LARGEST_GROUP = 500
LARGEST_GROUP_BYTES = 4_000_000

ENOUGH_BESIDE = 32
ENOUGH_IN_TURN = 256
"""Entries that are worth a commit while more come in. SQLite commits beside the event loop
(`syncd.store.journal.sqlite_fast_path`), so half of
64 busy connections may be committed while the other half is read. PostgreSQL's driver needs the interpreter again and again: the
two would only fight for it."""

Listener = Callable[[WakeUp], None]


class Journal:
    """The one writer of a process for what comes in. Threads may share it; never commit from an event loop (`submit` is
    fine there), nor from a done callback of its futures."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self._beside = not store.postgresql
        self.enough = ENOUGH_BESIDE if self._beside else ENOUGH_IN_TURN
        self._waiting: deque[tuple[Prepared, OnDone, OnDoneMany]] = deque()
        self._arrived = threading.Condition()
        self._turn = threading.Lock()  # held by whoever commits: the writer, or a lonely `commit`
        self._committing = 0
        self._closed = False
        self._writer: threading.Thread | None = None
        self._listeners: list[Listener] = []
        self.sizes, self.seconds = Histogram(SIZES), Histogram(SECONDS)  # entries of a group, and how long it took

    @property
    def depth(self) -> int:
        """Entries waiting or being committed, for back-pressure and `/metrics`."""
        return len(self._waiting) + self._committing

    def listen(self, listener: Listener) -> None:
        """`listener(wake_up)` is called after each commit that created work, in the committing thread: be quick. It is
        a hint; another process's commits are found by looking."""
        self._listeners.append(listener)

    def submit(self, entry: JournalEntry) -> Future[Committed]:
        """Queues an entry; its future ends when it is durable, or with FenceLost or StoreUnavailable. It cannot be
        cancelled. Raises StoreUnavailable once the journal is closed."""
        return self._promise(self.prepare(entry))

    def prepare(self, entry: JournalEntry) -> Prepared:
        """The entry as `submit_all` takes it. Pure; anybody may do it, in any thread."""
        return prepare(entry, entry.received_at or self._store.clock())

    def submit_all(self, waiting: Sequence[tuple[Prepared, OnDone]], tell: OnDoneMany) -> None:
        """`submit` for the hot path: many at once. `tell` is called in the writer's thread with those that have ended, each
        `done` with its outcome; be quick there, raise nothing. Raises StoreUnavailable once the journal is closed."""
        with self._arrived:
            if self._closed:
                raise StoreUnavailable(f"database {self._store.place}: syncd is stopping")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
                self._writer.start()
            self._waiting.extend([(prepared, done, tell) for prepared, done in waiting])
            if self._beside:
                eager_timers()
            self._arrived.notify()

    def commit(self, entry: JournalEntry) -> Committed:
        """Commits an entry and waits for it: in this thread if no other thread is waiting, else with the others. Raises
        FenceLost, StoreUnavailable."""
        prepared = self.prepare(entry)
        if not self._turn.acquire(blocking=False):
            return self._promise(prepared).result()
        try:
            alone = not self._waiting and not self._closed
            if alone:
                (outcome,) = self._commit([prepared])
        finally:
            self._turn.release()
        if not alone:
            return self._promise(prepared).result()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        """Commits what waits, then ends the writer. Later submissions are refused."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
            writer = self._writer
        if writer is not None:
            writer.join()

    def _promise(self, prepared: Prepared) -> Future[Committed]:
        future: Future[Committed] = Future()
        future.set_running_or_notify_cancel()

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.submit_all([(prepared, done)], _call_each)
        return future

    def _write(self) -> None:
        if self._beside:
            precise_timers()
        while True:
            with self._arrived:
                while not self._waiting and not self._closed:
                    if self._beside:
                        relaxed_timers()
                    self._arrived.wait()
                if not self._waiting:
                    return
            with self._turn:
                group = self._take()
                outcomes = self._commit([prepared for prepared, _, _ in group])
            for tell, ended in groupby(zip(group, outcomes, strict=True), key=lambda one: one[0][2]):
                tell([(done, outcome) for (_, done, _), outcome in ended])

    def _take(self) -> list[tuple[Prepared, OnDone, OnDoneMany]]:
        group: list[tuple[Prepared, OnDone, OnDoneMany]] = []
        size = 0
        while self._waiting and len(group) < LARGEST_GROUP:
            size += self._waiting[0][0].size
            if group and size > LARGEST_GROUP_BYTES:
                break
            group.append(self._waiting.popleft())
            self._committing += 1
        return group

    def _commit(self, group: list[Prepared]) -> list[Outcome]:
        self._committing = len(group)
        begun = time.perf_counter()
        try:
            result = commit_group(self._store, group)
        except Exception as error:  # noqa: BLE001 - our own bug must reach those who wait, and not end the writer
            return [error] * len(group)
        finally:
            self._committing = 0
        self.sizes.observe(len(group))
        self.seconds.observe(time.perf_counter() - begun)
        point("after_commit")
        if result.wake_up:
            self._tell(result.wake_up)
        return result.outcomes

    def _tell(self, wake_up: WakeUp) -> None:
        for listener in self._listeners:
            try:
                listener(wake_up)
            except Exception:  # noqa: BLE001 - the commit stands; listeners only learn early what they would find anyway
                _log.exception("a listener of the journal failed")


def _call_each(ended: Sequence[tuple[OnDone, Outcome]]) -> None:
    for done, outcome in ended:
        done(outcome)
