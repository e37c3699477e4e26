"""Lets coroutines wait for durable commits: the event loop is woken once a group commit, not once a request.

The doors use it. Promise: the loop never touches the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from syncd.store.entries import Committed, Entry, StoreUnavailable

if TYPE_CHECKING:
    from syncd.intake.webhooks import Journal


class LoopJournal:
    """The journal as one event loop sees it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ended: deque[tuple[asyncio.Future[Committed], Future[Committed]]] = deque()
        self._woken = False

    async def commit(self, entry: Entry) -> Committed:
        """Raises what the journal's future raises: StoreUnavailable, FenceLost."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Committed] = loop.create_future()

        def ended(future: Future[Committed]) -> None:  # in the writer's thread
            self._ended.append((waiter, future))
            if not self._woken:
                self._woken = True
                loop.call_soon_threadsafe(self._wake)

        self._journal.submit(entry).add_done_callback(ended)
        return await waiter

    def _wake(self) -> None:
        # Lowered before the queue is emptied: whoever appends later either is seen here or sees it down and wakes again.
        self._woken = False
        while self._ended:
            waiter, future = self._ended.popleft()
            if waiter.done():  # the request was cancelled while it waited
                continue
            error = StoreUnavailable("the store is closing") if future.cancelled() else future.exception()
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(future.result())
