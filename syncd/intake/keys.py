"""Fetches the keys that verifiers need, outside of the request path: at start, and when a verifier lacked one.

The schedule runs it, the receiver ask for it. Promise: however many requests lack a key, the vendor is asked at most once in a
while. A source whose keys cannot be had, or not all of them, is shown by `status` and `/readyz`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from syncd.connector import KeyFetchingSource
from syncd.errors import Failure, KeyUnavailable
from syncd.store.journal.entries import StoreUnavailable

log = structlog.get_logger(__name__)

NOT_WITHIN = timedelta(seconds=10)  # an attacker invents key ids at will
AGAIN = timedelta(seconds=30)
LONGEST_FAULT = 1000


class KeyFetch:
    """The keys of one source."""

    def __init__(
        self,
        name: str,
        source: KeyFetchingSource,
        *,
        note: Callable[[str], None] = lambda fault: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`note` stores what is wrong with the keys, "" when nothing is. It may raise StoreUnavailable."""
        self.name = name
        self._source = source
        self._clock = clock
        self._note = note
        self._noted: str | None = None
        self._last: datetime | None = None

    def run(self, stop: threading.Event) -> datetime | None:
        """Fetches, unless that was done just now. Returns when to try again after a failure."""
        now = self._clock()
        if self._last is not None and now - self._last < NOT_WITHIN:
            return self._last + NOT_WITHIN
        self._last = now
        again = now + AGAIN
        try:
            faults = self._source.fetch_keys(now) or ()
        except (Failure, KeyUnavailable) as error:
            log.warning("keys not fetched", source=self.name, why=str(error))
            self._tell(f"its keys cannot be fetched, so its webhooks may be answered 503: {error}")
            return again
        except Exception as error:
            log.error("keys not fetched: a bug in the connector", source=self.name, exc_info=True)
            self._tell(f"its keys cannot be fetched: a bug in the connector: {error!r:.200}")
            return again
        told = self._tell("; ".join(["some of its keys cannot be used", *faults[:5]]) if faults else "")
        return None if told else again

    def _tell(self, fault: str) -> bool:
        """Notes a fault that is not noted yet; whether the store took it."""
        if fault == self._noted:
            return True
        if fault:
            log.warning("keys are at fault", source=self.name, why=fault)
        try:
            self._note(fault[:LONGEST_FAULT])
        except StoreUnavailable:
            return False
        self._noted = fault
        return True
