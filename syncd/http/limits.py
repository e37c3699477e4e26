"""How fast a vendor may be called: a bucket of units per vendor account, and limits of single operations.

`HttpClient` asks before each request. A `RateBook` keeps the buckets: the store's, shared by all machines, or the one in memory
here. `refill` is pure; the clock is passed in.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from syncd.errors import RateLimited

UNSAID = 30.0
"""Seconds for which an operation is refused whose limit came without a Retry-After."""


@dataclass(frozen=True)
class Rate:
    """`units` in each `per`, of which at most `burst` at once (default: all of them)."""

    units: float
    per: timedelta
    burst: float = 0.0

    @property
    def size(self) -> float:
        return self.burst or self.units

    @property
    def per_second(self) -> float:
        return self.units / self.per.total_seconds()


def refill(level: float, since: datetime, now: datetime, rate: Rate) -> float:
    """What is in a bucket at `now` that had `level` at `since`. A clock that was set back adds nothing."""
    return min(rate.size, level + max(0.0, (now - since).total_seconds()) * rate.per_second)


def wait_for(units: float, level: float, rate: Rate) -> float:
    """Seconds until a bucket with `level` has `units`; a call larger than the bucket takes a full one."""
    return max(0.0, (min(units, rate.size) - level) / rate.per_second)


class RateBook(Protocol):
    def take(self, account: str, units: float, rate: Rate, now: datetime) -> float:
        """Takes `units` out of the account's bucket; 0.0 if they were there, otherwise takes nothing and returns the seconds
        after which to ask again. A new bucket is full."""
        ...


class MemoryRates:
    """A RateBook of one process."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[float, datetime]] = {}
        self._guard = threading.Lock()

    def take(self, account: str, units: float, rate: Rate, now: datetime) -> float:
        with self._guard:
            held = self._levels.get(account)
            level = refill(*held, now, rate) if held else rate.size
            wait = wait_for(units, level, rate)
            if not wait:
                self._levels[account] = (level - min(units, rate.size), now)
            return wait


@dataclass(frozen=True)
class Bucket:
    """The bucket of one vendor account. `account`: the same text for everything that shares it; `unit` is for messages."""

    book: RateBook
    account: str
    rate: Rate
    unit: str = "calls"


class CallGate:
    """Admits or refuses the calls of one client. Thread-safe."""

    def __init__(self, bucket: Bucket | None, clock: Callable[[], datetime]) -> None:
        self._bucket = bucket
        self._clock = clock
        self._limited: dict[str, tuple[datetime, str]] = {}
        self._guard = threading.Lock()

    def note(self, failure: RateLimited) -> None:
        """Remembers until when an operation is limited. A limit of the whole account is the caller's to wait for."""
        if not failure.scope:
            return
        wait = failure.retry_after if failure.retry_after is not None else UNSAID
        with self._guard:
            self._limited[failure.scope] = (self._clock() + timedelta(seconds=max(wait, 0.0)), failure.code)

    def admit(self, operation: str, units: float) -> None:
        """Raises RateLimited where the call must wait; then nothing was sent or counted."""
        if not operation and self._bucket is None:
            return
        now = self._clock()
        with self._guard:
            until, code = self._limited.get(operation, (now, ""))
            if until > now:
                text = f"{operation} is limited by the vendor for {math.ceil((until - now).total_seconds())} s more"
                raise RateLimited(text, code=code, retry_after=(until - now).total_seconds(), scope=operation)
            self._limited.pop(operation, None)
        if self._bucket is not None:
            rate, unit = self._bucket.rate, self._bucket.unit
            wait = self._bucket.book.take(self._bucket.account, units, rate, now)
            if wait:
                text = f"our share of {rate.units:g} {unit} in {rate.per} is used for the moment"
                raise RateLimited(text, code="rate", retry_after=wait)
