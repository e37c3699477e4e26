"""How much a portal takes: requests by a leaky bucket, and the run-time of each method in ten minutes.

Used by twin.py; facts from Bitrix24's page "REST API Limits". Pure but for the clock that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

BASKET = 60.0  # seconds
BASKETS = 10


class LeakyBucket:
    """Each request adds one, `rate` a second run out; above `most` the next one is refused, and not counted [UNV]."""

    def __init__(self, clock: Callable[[], float], rate: float, most: float) -> None:
        self._clock, self.rate, self.most = clock, rate, most
        self.clear()

    def clear(self) -> None:
        self.level, self.peak, self._at = 0.0, 0.0, self._clock()

    def admits(self) -> bool:
        """Whether one more request is taken, which counts it."""
        now = self._clock()
        self.level = max(0.0, self.level - (now - self._at) * self.rate)
        self._at = now
        if self.level >= self.most:
            return False
        self.level += 1
        self.peak = max(self.peak, self.level)
        return True


class OperatingTime:
    """Seconds that each (caller, method) has run, in baskets of a minute which count for ten minutes from their first call."""

    def __init__(self, clock: Callable[[], float], limit: float) -> None:
        self._clock, self.limit = clock, limit
        self._baskets: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def clear(self) -> None:
        self._baskets.clear()

    def used(self, caller: str, method: str) -> float:
        now = self._clock()
        kept = [b for b in self._baskets.get((caller, method), ()) if b[0] + BASKET * BASKETS > now]
        self._baskets[caller, method] = kept
        return sum(seconds for _, seconds in kept)

    def blocked(self, caller: str, method: str) -> bool:
        """Whether the next call is refused; asked before the call, so the one that passes the limit is still carried out."""
        return self.used(caller, method) > self.limit

    def book(self, caller: str, method: str, seconds: float) -> tuple[float, int]:
        """Counts a call; (seconds in all, when the oldest basket ends)."""
        total, now = self.used(caller, method) + seconds, self._clock()
        baskets = self._baskets[caller, method]
        if baskets and now - baskets[-1][0] < BASKET:
            baskets[-1] = (baskets[-1][0], baskets[-1][1] + seconds)
        else:
            baskets.append((now, seconds))
        return total, int(baskets[0][0] + BASKET * BASKETS)

    def busiest(self) -> dict[str, float]:
        """Method -> seconds of the last ten minutes, over all callers."""
        found: dict[str, float] = {}
        for caller, method in list(self._baskets):
            found[method] = found.get(method, 0.0) + self.used(caller, method)
        return {method: round(seconds, 3) for method, seconds in sorted(found.items())}
