"""What lanes did, counted for /metrics: calls by how they ended and how long they took, records by outcome, people asked for.

The daemon has one for all lanes, so that a count outlives a reload; it starts at 0 with the process.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from syncd.observability.histogram import LONG_SECONDS, Histogram


class CallStats:
    """Plain counters behind one lock; reading takes copies. `operation`: send, resolve or find; outcomes are `written`
    (of a call: `answered`) or a failure class, lower-case."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._people: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, Histogram] = {}

    def called(self, destination: str, operation: str, outcome: str, seconds: float) -> None:
        with self._lock:
            self._calls[destination, operation, outcome] += 1
            spread = self._seconds.setdefault(destination, Histogram(LONG_SECONDS))
        spread.observe(seconds)

    def wrote(self, destination: str, outcomes: Iterable[str]) -> None:
        with self._lock:
            self._outcomes.update((destination, outcome) for outcome in outcomes)

    def looked_up(self, destination: str, cached: int, asked: int) -> None:
        with self._lock:
            self._people[destination, "cached"] += cached
            self._people[destination, "asked"] += asked

    @property
    def calls(self) -> dict[tuple[str, str, str], int]:
        with self._lock:
            return dict(self._calls)

    @property
    def outcomes(self) -> dict[tuple[str, str], int]:
        with self._lock:
            return dict(self._outcomes)

    @property
    def people(self) -> dict[tuple[str, str], int]:
        with self._lock:
            return dict(self._people)

    @property
    def seconds(self) -> dict[str, Histogram]:
        with self._lock:
            return dict(self._seconds)
