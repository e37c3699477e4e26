"""What came in, counted for /metrics: webhooks by answer, signals new and repeated, by source.

The receiver (event loop) and the polls (threads) add to it, the metrics page reads it. Counts start at 0 with the process; the
durable books are the store's.
"""

from __future__ import annotations

import threading
from collections import Counter

from syncd.observability import signal_log
from syncd.store.journal.entries import Committed


class Counts:
    """Plain counters behind one lock; reading takes copies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._fresh: Counter[str] = Counter()
        self._repeats: Counter[str] = Counter()
        self._polls: Counter[tuple[str, str]] = Counter()

    def answered(self, source: str, status: int) -> None:
        with self._lock:
            self._answers[source, status] += 1

    def committed(self, source: str, committed: Committed) -> None:
        with self._lock:
            if committed.new:
                self._fresh[source] += len(committed.new)
            if committed.known:
                self._repeats[source] += committed.known
        signal_log.stored(source, committed.new)

    def polled(self, source: str, outcome: str) -> None:
        """`outcome`: ok, or the class of the failure, lower-case."""
        with self._lock:
            self._polls[source, outcome] += 1

    @property
    def answers(self) -> dict[tuple[str, int], int]:
        with self._lock:
            return dict(self._answers)

    @property
    def fresh(self) -> dict[str, int]:
        with self._lock:
            return dict(self._fresh)

    @property
    def repeats(self) -> dict[str, int]:
        with self._lock:
            return dict(self._repeats)

    @property
    def polls(self) -> dict[tuple[str, str], int]:
        with self._lock:
            return dict(self._polls)
