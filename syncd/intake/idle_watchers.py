"""Waits for a source's own word of news (IMAP IDLE) and has it polled then: a thread for each source that can be waited on.

The intake starts and stops them. Promise: of all machines one waits; a source that pauses after a failure is left alone, and
a wait that fails backs off by the law of the polls; whatever happens here, the schedule polls all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from syncd.capabilities import Waiting
from syncd.errors import Failure
from syncd.intake.polls import SPACING, setback
from syncd.intake.spaced_calls import SpacedCalls
from syncd.store import Store
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.leases import TERM

log = structlog.get_logger(__name__)

LOOK = timedelta(seconds=1)
LONGEST_LOOK = timedelta(seconds=30)
"""How often a source that has not been polled well, or is waited on elsewhere, is looked at again: ever less often."""
STEADY = timedelta(minutes=2)
"""A wait that lasted so long was a good one, however it ended."""
IN_VAIN = timedelta(hours=1)
"""After so long a source that had nothing to wait on is asked again."""


class IdleWatcher:
    """Waits for one source; `wake` has it polled."""

    def __init__(
        self,
        name: str,
        source: Waiting,
        store: Store,
        wake: Callable[[], Any],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        lease: timedelta = TERM,
        spacing: timedelta = SPACING,
    ) -> None:
        self.name = name
        self._source = source
        self._store = store
        self._clock = clock
        self._lease = lease
        self._news = SpacedCalls(wake, spacing)
        self._stop = threading.Event()
        self._hurry = threading.Event()  # ends a pause: by stop and by clear_backoff
        self._failures = 0
        self._looks = 0
        self._thread = threading.Thread(target=self._run, name=f"syncd wait:{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; see `ended`."""
        self._stop.set()
        self._hurry.set()

    def ended(self, seconds: float) -> bool:
        """Waits at most so long for the end. What still connects to a host that does not answer is left to itself."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def clear_backoff(self) -> None:
        """After a reload: what is wrong may be fixed, so a pause is over."""
        self._hurry.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                pause = self.once()
            except Exception:
                log.exception("waiting failed: a bug in syncd", source=self.name)
                pause = IN_VAIN
            self._hurry.wait(pause.total_seconds())
            if not self._stop.is_set():
                self._hurry.clear()
        self._news.end()

    def once(self) -> timedelta:
        """One wait to its end. Returns how long to pause before the next."""
        try:
            health = self._store.sources.health(self.name)
            if health.last_ok_at is None or health.error:  # the poll finds out, alone, whether the door is open
                return self._later()
            claim = self._store.leases.acquire(f"idle:{self.name}", self._lease)
            if claim is None:
                return self._later()
            self._looks = 0
            with self._store.leases.heartbeat(claim) as beat:
                return self._wait(_Either(self._stop, beat.lost))
        except StoreUnavailable as error:
            log.warning("not waiting for new items: the store is unavailable", source=self.name, why=str(error))
            return LONGEST_LOOK

    def _later(self) -> timedelta:
        self._looks += 1
        doubled: timedelta = LOOK * 2 ** min(self._looks - 1, 10)
        return min(doubled, LONGEST_LOOK)

    def _wait(self, stop: threading.Event) -> timedelta:
        began, heard = time.monotonic(), False
        try:
            with closing(iter(self._source.wait(stop))) as news:  # type: ignore[type-var]
                for _ in news:
                    if not heard:
                        log.info("waiting for new items", source=self.name)
                    heard = True
                    if stop.is_set():
                        break
                    self._news.wake()
        except Exception as error:  # noqa: BLE001  a broken source harms only itself; its class decides what happens
            return self._set_back(error, time.monotonic() - began)
        if stop.is_set():
            return LOOK
        self._failures = 0
        if not heard:
            log.info("nothing to wait on; polling on schedule", source=self.name)
        return LOOK if heard else IN_VAIN

    def _set_back(self, error: Exception, lasted: float) -> timedelta:
        if lasted >= STEADY.total_seconds():
            self._failures = 0
        back = setback(error, self._failures, self._clock())
        self._failures += back.counts
        log.warning(
            "waiting for new items failed; polling on schedule",
            source=self.name,
            why=back.error,
            again_in=back.pause.total_seconds(),
            exc_info=not isinstance(error, Failure),
        )
        return back.pause


class _Either(threading.Event):
    """Set when one of two is."""

    def __init__(self, *events: threading.Event) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)
