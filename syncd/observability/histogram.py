"""A histogram cheap enough for the hot path: one bisection and two additions a value, no library.

The journal and the lanes observe, /metrics reads. Promise: counts and sum are of one moment.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for what the database does."""
LONG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Bounds for what a vendor does."""
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

Buckets = list[tuple[str, float]]


class Histogram:
    """How values are spread over `bounds` (upper, inclusive, growing). Threads may share it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    def read(self) -> tuple[Buckets, float]:
        """(upper bound as text, how many up to it) for each bound and "+Inf", and the sum of all values."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(counts), strict=True)], total
