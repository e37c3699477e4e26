"""Lets requests wait for durable commits: one hand-over to the writer, and one wake of the event loop, for many requests.

The receiver use it. Promise: the loop never touches the database; a request waits for no other longer than HOLD.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from syncd.store.journal.entries import Committed, JournalEntry, OnDone, OnDoneMany, Outcome

HOLD = 0.010  # seconds
DRY_TURNS = 4  # of the loop without a new request: a client that was just answered takes that long for its next


class WebhookJournal(Protocol):
    """What the intake needs of `syncd.store`'s journal: durable, grouped commits of entries that it has prepared itself."""

    @property
    def depth(self) -> int: ...

    @property
    def enough(self) -> int:
        """Entries worth a commit while more come in."""
        ...

    def prepare(self, entry: JournalEntry) -> Any: ...

    def submit_all(self, waiting: Sequence[tuple[Any, OnDone]], tell: OnDoneMany) -> None: ...


class AsyncJournal:
    """The journal as one event loop sees it. Entries are handed over when the writer is free, and the loop has run dry of new
    ones or the journal calls it `enough`: a writer that is given a few at a time costs more than it brings. Nothing is held
    for longer than HOLD."""

    def __init__(self, journal: WebhookJournal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Any, OnDone]] = []
        self._out = 0  # handed over and not ended
        self._gathering = False
        self._seen = self._dry = 0
        self._since = 0.0
        self._latest: asyncio.TimerHandle | None = None
        self._ended: deque[tuple[OnDone, Outcome]] = deque()
        self._woken = False

    @property
    def held(self) -> int:
        """Entries not yet handed over."""
        return len(self._waiting)

    def submit(self, entry: Any, done: OnDone) -> None:
        """`entry` is as the journal prepared it. `done(outcome)` is called on this loop: with Committed, or what the journal
        raises: StoreUnavailable, FenceLost."""
        self._waiting.append((entry, done))
        count = len(self._waiting)
        if count == 1:
            self._first(asyncio.get_running_loop())
        elif count >= self._journal.enough and not self._out:
            self._hand_over(asyncio.get_running_loop())

    def _first(self, loop: asyncio.AbstractEventLoop) -> None:
        self._since = loop.time()
        if self._out:
            self._latest = loop.call_later(HOLD, self._hand_over, loop)
        else:
            self._gather(loop)

    def commit(self, entry: Any) -> asyncio.Future[Committed]:
        """The same to be awaited; it raises."""
        waiter: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.submit(entry, partial(_end, waiter))
        return waiter

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._gathering:
            self._gathering = True
            self._seen = self._dry = 0
            loop.call_soon(self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once a turn of the loop, until there is nothing more to wait for."""
        count = len(self._waiting)
        if self._out or not count:  # they were enough in the meantime
            self._gathering = False
            return
        self._dry = self._dry + 1 if count == self._seen else 0
        if self._dry < DRY_TURNS and loop.time() - self._since < HOLD:
            self._seen = count
            loop.call_soon(self._look, loop)
            return
        self._gathering = False
        self._hand_over(loop)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._latest is not None:
            self._latest.cancel()
            self._latest = None
        waiting, self._waiting = self._waiting, []
        self._out += len(waiting)
        try:
            self._journal.submit_all(waiting, partial(self._ends, loop))
        except Exception as error:  # noqa: BLE001  the journal is closed: those who wait hear of it
            self._out -= len(waiting)
            for _, done in waiting:
                done(error)

    def _ends(self, loop: asyncio.AbstractEventLoop, ended: Sequence[tuple[OnDone, Outcome]]) -> None:
        """In the writer's thread."""
        self._ended.extend(ended)
        if not self._woken:
            self._woken = True
            loop.call_soon_threadsafe(self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        # Lowered before the queue is emptied: whoever appends later either is seen here or sees it down and wakes again.
        self._woken = False
        while self._ended:
            done, outcome = self._ended.popleft()
            self._out -= 1
            done(outcome)
        if self._waiting and not self._out:
            if len(self._waiting) >= self._journal.enough:
                self._hand_over(loop)
            else:
                self._gather(loop)


def _end(waiter: asyncio.Future[Committed], outcome: Outcome) -> None:
    if waiter.done():  # the request was cancelled while it waited
        return
    if isinstance(outcome, Exception):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
