"""How much a vendor may be called: a bucket of units per vendor account, units left to others, limits of single operations.

`HttpClient` and `VendorApi` ask before each request. The books are the store's, shared by all machines, or those in memory here;
the daemon lends them as `Context.limits` with the source's `quota:`. Decisions are pure; the clock is passed in.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from syncd.errors import QuotaExhausted, RateLimited

UNSAID = 30.0
"""Seconds for which an operation is refused whose limit came without a Retry-After."""

DAY = timedelta(days=1)
LEAST_BURST = 10.0
"""Units that a daily quota gives at once at least."""
ASK_AGAIN = timedelta(hours=1)
"""After this an account that had too little left is asked again: one call brings a new report."""
TOLD_EVERY = timedelta(minutes=1)
"""How often what an account has left is written down and read again, unless it becomes short."""


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


class BothRates:
    """A RateBook whose calls also take from a second bucket. That one is asked last: where it refuses, only the first, which
    fills soon, has given something in vain."""

    def __init__(self, first: RateBook, second: Bucket) -> None:
        self._first, self._second = first, second

    def take(self, account: str, units: float, rate: Rate, now: datetime) -> float:
        second = self._second
        return self._first.take(account, units, rate, now) or second.book.take(second.account, units, second.rate, now)


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
            wait = self._bucket.book.take(self._bucket.account, units, self._bucket.rate, now)
            if wait:
                text = f"our share of the account's {self._bucket.unit} is used for the moment"
                raise RateLimited(text, code="rate", retry_after=wait)


def daily(units: float) -> Rate:
    """At most so many in any 24 hours, spread: an hour's share at once, the rest as the day passes."""
    burst = min(units, max(units / 24, LEAST_BURST))
    return Rate(max(units - burst, units / 24), DAY, burst)


@dataclass(frozen=True)
class LastAllowance:
    """What an account had left, in `unit`, when it last said so (`at`); `keep` units are left to others."""

    left: float
    keep: float
    unit: str
    at: datetime

    def short_until(self, now: datetime) -> datetime | None:
        """Until when nothing may be spent; None: there is enough, or it is time to ask again."""
        again = self.at + ASK_AGAIN
        return again if self.left < self.keep and now < again else None


class AllowanceBook(Protocol):
    """What the accounts of sources have left, by the source's name."""

    def note(self, source: str, last: LastAllowance) -> None: ...

    def read(self, source: str) -> LastAllowance | None: ...


class MemoryAllowances:
    """An AllowanceBook of one process."""

    def __init__(self) -> None:
        self._last: dict[str, LastAllowance] = {}

    def note(self, source: str, last: LastAllowance) -> None:
        self._last[source] = last

    def read(self, source: str) -> LastAllowance | None:
        return self._last.get(source)


class Reserve:
    """Leaves `keep` units of an account to others, whichever machine spends. `header`: the response header that says what is
    left."""

    def __init__(self, book: AllowanceBook, source: str, header: str, unit: str, keep: float) -> None:
        self.header = header.lower()
        self._book, self._source, self._unit, self._keep = book, source, unit, keep
        self._known: LastAllowance | None = None
        self._looked: datetime | None = None
        self._written: LastAllowance | None = None

    def check(self, now: datetime) -> None:
        """Raises QuotaExhausted while the account has too little left."""
        if self._looked is None or not timedelta(0) <= now - self._looked < TOLD_EVERY:
            self._looked, told = now, self._book.read(self._source)
            if told is not None and (self._known is None or told.at > self._known.at):
                self._known = told
        until = self._known.short_until(now) if self._known is not None else None
        if until is not None:
            text = f"fewer than {self._keep:g} {self._unit} are left today, which are for others"
            raise QuotaExhausted(text, code="keep", resets_at=until)

    def note(self, told: str, now: datetime) -> None:
        """The header of an answer; anything but a number is ignored."""
        if not (told.isascii() and told.isdigit()):
            return
        last, before = LastAllowance(float(told), self._keep, self._unit, now), self._written
        self._known = last
        turned = before is None or (before.left < self._keep) != (last.left < self._keep)
        if turned or before is None or now - before.at >= TOLD_EVERY:
            self._book.note(self._source, last)
            self._written = last


@dataclass(frozen=True)
class SourceLimits:
    """What the daemon lends a source to limit itself. `units`, `keep`: its `quota:`, None where it says nothing."""

    rates: RateBook = field(default_factory=MemoryRates)
    allowances: AllowanceBook = field(default_factory=MemoryAllowances)
    units: float | None = None
    keep: float | None = None

    def bucket(self, account: str, unit: str) -> Bucket | None:
        """For `HttpClient(rate=…)`: the share of an account's day that `quota:` gives this source and all that name the same
        account; None without a quota."""
        return Bucket(self.rates, account, daily(self.units), unit) if self.units is not None else None

    def paced(self, account: str, unit: str, rate: Rate) -> Bucket:
        """As `bucket`, and never more than `rate`, whatever `quota:` gives: for a vendor that locks out who calls too often. In
        any `rate.per` at most its units and its burst are taken together."""
        day = self.bucket(account, unit)
        return Bucket(self.rates if day is None else BothRates(self.rates, day), f"{account}:pace", rate, unit)

    def reserve(self, source: str, header: str, unit: str, keep: float = 0.0) -> Reserve:
        """For `VendorApi(reserve=…)`. `keep`: units left to others where `quota:` does not say."""
        return Reserve(self.allowances, source, header, unit, keep if self.keep is None else self.keep)
