"""Fetches the keys that verifiers need, outside of the request path: at start, and when a verifier lacked one.

The schedule runs it, the doors ask for it. Promise: however many requests lack a key, the vendor is asked at most once in a
while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from syncd.connector import KeyFetchingSource
from syncd.errors import Failure, KeyUnavailable

log = structlog.get_logger(__name__)

NOT_WITHIN = timedelta(seconds=10)  # an attacker invents key ids at will
AGAIN = timedelta(seconds=30)


class KeyFetch:
    """The keys of one source."""

    def __init__(
        self, name: str, source: KeyFetchingSource, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.name = name
        self._source = source
        self._clock = clock
        self._last: datetime | None = None

    def run(self, stop: threading.Event) -> datetime | None:
        """Fetches, unless that was done just now. Returns when to try again after a failure."""
        now = self._clock()
        if self._last is not None and now - self._last < NOT_WITHIN:
            return self._last + NOT_WITHIN
        self._last = now
        try:
            self._source.fetch_keys(now)
        except (Failure, KeyUnavailable) as error:
            log.warning("keys not fetched", source=self.name, why=str(error))
        except Exception:
            log.error("keys not fetched: a bug in the connector", source=self.name, exc_info=True)
        else:
            return None
        return now + AGAIN
