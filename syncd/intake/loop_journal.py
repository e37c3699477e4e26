"""Lets coroutines wait for durable commits: the event loop is woken once a group commit, not once a request.

The doors use it. Promise: the loop never touches the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from syncd.store.entries import Committed, Entry

if TYPE_CHECKING:
    from syncd.intake.webhooks import Journal

Outcome = Committed | Exception


class LoopJournal:
    """The journal as one event loop sees it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ended: deque[tuple[asyncio.Future[Committed], Outcome]] = deque()
        self._woken = False

    def commit(self, entry: Entry) -> asyncio.Future[Committed]:
        """To be awaited; raises what the journal raises: StoreUnavailable, FenceLost."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Committed] = loop.create_future()

        def ended(outcome: Outcome) -> None:  # in the writer's thread
            self._ended.append((waiter, outcome))
            if not self._woken:
                self._woken = True
                loop.call_soon_threadsafe(self._wake)

        self._journal.submit_then(entry, ended)
        return waiter

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
