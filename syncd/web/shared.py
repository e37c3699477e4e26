"""One reader for everybody who asks at the same time: a page that reads the database is read once, however many want it.

`syncd.web.app` puts it in front of /metrics and /readyz. Promise: at most one thread (and one database connection) works for a
page, and no reader gets what was read before an earlier answer ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")


class Shared(Generic[T]):
    """`await shared()` gives what `read` returns; `read` may block, it runs in a thread. Belongs to one event loop."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._reading: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Raises what `read` raised, to everyone who waited for it."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(run_in_threadpool(self._read))
            self._reading.add_done_callback(self._ended)
        return await asyncio.shield(self._reading)  # a reader who leaves does not cancel the answer of the others

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # seen, even when everybody has left
