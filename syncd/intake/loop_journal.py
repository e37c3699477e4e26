"""Lets coroutines wait for durable commits: one hand-over to the writer, and one wake of the event loop, for many requests.

The doors use it. Promise: the loop never touches the database; a request waits for no other longer than HOLD.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from syncd.store.entries import Committed, Entry

if TYPE_CHECKING:
    from syncd.intake.webhooks import Journal

Outcome = Committed | Exception

HOLD = 0.003  # seconds; while requests keep coming in, the writer would only fight the loop for the interpreter
ENOUGH = 256


class LoopJournal:
    """The journal as one event loop sees it. Entries are handed over when the loop has run dry of new ones."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Entry, asyncio.Future[Committed]]] = []
        self._seen = 0
        self._since = 0.0
        self._ended: deque[tuple[asyncio.Future[Committed], Outcome]] = deque()
        self._woken = False

    @property
    def held(self) -> int:
        """Entries not yet handed over."""
        return len(self._waiting)

    def commit(self, entry: Entry) -> asyncio.Future[Committed]:
        """To be awaited; raises what the journal raises: StoreUnavailable, FenceLost."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Committed] = loop.create_future()
        self._waiting.append((entry, waiter))
        if len(self._waiting) == 1:
            self._seen = 0
            self._since = loop.time()
            loop.call_soon(self._hand_over, loop)
        return waiter

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        count = len(self._waiting)
        if self._seen < count < ENOUGH and loop.time() - self._since < HOLD:
            self._seen = count
            loop.call_soon(self._hand_over, loop)
            return
        waiting, self._waiting = self._waiting, []
        try:
            self._journal.submit_all([(entry, partial(self._ends, loop, waiter)) for entry, waiter in waiting])
        except Exception as error:  # noqa: BLE001  the journal is closed: those who wait hear of it
            for _, waiter in waiting:
                if not waiter.done():
                    waiter.set_exception(error)

    def _ends(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[Committed], outcome: Outcome) -> None:
        """In the writer's thread."""
        self._ended.append((waiter, outcome))
        if not self._woken:
            self._woken = True
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        # Lowered before the queue is emptied: whoever appends later either is seen here or sees it down and wakes again.
        self._woken = False
        while self._ended:
            waiter, outcome = self._ended.popleft()
            if waiter.done():  # the request was cancelled while it waited
                continue
            if isinstance(outcome, Exception):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)
