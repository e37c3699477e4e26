"""Notices when the machine's clock is set: what was planned by the old one must not wait for it to come round again.

The schedule of sources and the lanes ask now and then. Leases need no help: they are renewed or taken again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

COUNTS_FROM = 2.0
"""Seconds; less is drift, or the correction of it."""


def _steady() -> float:
    """Seconds of a clock that nobody sets and that runs on while the machine sleeps, where there is one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class ClockStepDetector:
    """One watcher. It remembers only since when it was last asked."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()

    def step_seconds(self) -> float:
        """By how much the clock was set since the last call: negative for back, 0 for not at all."""
        ahead = self._wall() - self._steady()
        jump = ahead - self._ahead
        self._ahead = ahead
        return jump if abs(jump) >= COUNTS_FROM else 0.0
