"""Lets systemd end a process that has come to a stand: it hears of us only while the parts have really moved.

The daemon starts it when systemd asks for it (WatchdogSec=). Promise: a database that refuses, a CRM that is down or a queue
that waits is not stuck; a writer, an event loop or a lane that does not come back is one.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

import structlog

from syncd.service import sd_notify
from syncd.store.journal.entries import Committed, JournalEntry, StoreUnavailable

if TYPE_CHECKING:
    from syncd.store.journal.journal import Journal

log = structlog.get_logger(__name__)

ROUNDS = 4
"""So many rounds fit into the time that systemd gives: a single late one proves nothing."""
ASKED = 3
"""Parts that take time to ask, and one to spare."""
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}

Moves = Callable[[float], bool]
"""Asks a part to move; False when it has not within so many seconds."""


class Watchdog:
    """A thread that asks every part in turn. `within`: seconds that systemd gives; `status` is shown by systemctl."""

    def __init__(self, parts: Callable[[], Mapping[str, Moves]], status: Callable[[], str], within: float) -> None:
        self._parts = parts
        self._status = status
        self._every = within / ROUNDS
        self._stop = threading.Event()
        self._stuck: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, name="syncd-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def round(self) -> tuple[str, ...]:
        """Asks all parts once, and tells systemd if every one has moved. Returns those that have not."""
        parts = self._parts()
        stuck = tuple(name for name, moves in parts.items() if not moves(self._every / ASKED))
        if not stuck:
            sd_notify.notify(sd_notify.ALIVE, sd_notify.status(self._status()))
        elif stuck != self._stuck:
            log.error("no progress: systemd's watchdog is not notified", stuck=stuck)
        self._stuck = stuck
        return stuck

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.round()
            except Exception:
                log.exception("the watchdog failed: a bug in syncd")
            self._stop.wait(self._every)


def writer(journal: Journal) -> Moves:
    """Whether the writer still takes entries: an empty one, which touches no row. One that was late is waited for again: a
    database that another process locks for a while, and that then refuses, is not the writer's fault."""
    late: list[Future[Committed]] = []

    def moves(seconds: float) -> bool:
        try:
            asked = late.pop() if late else journal.submit(JournalEntry("watchdog"))
            if not wait([asked], seconds).done:
                late.append(asked)
                return False
        except StoreUnavailable:  # it is stopping
            return True
        return True

    return moves


def web(host: str, port: int) -> Moves:
    """Whether the event loop answers its own door, whatever it answers."""

    def moves(seconds: float) -> bool:
        connection = http.client.HTTPConnection(ANY.get(host, host), port, timeout=seconds)
        try:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    return moves


def thread(moved: Callable[[], float], patience: float) -> Moves:
    """Whether a thread has moved lately. `moved`: when, by the monotonic clock; `patience`: its longest single step, in
    seconds."""
    return lambda seconds: time.monotonic() - moved() < patience
