"""How long what is due waits for more to be sent with it, so that signals that come one by one cost few calls: pure decisions
over values, and the little a lane remembers between them.

A lane asks before it claims. Promise: what calls a user to action never waits longer than `gather_urgent`; nothing waits while a
whole batch is due, or while the account's allowance is plentiful (`auto`). Times are UTC milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from syncd.dispatch.pacing import DAY, SECOND, Pace, span
from syncd.store import queue
from syncd.store.queue import DueDelivery
from syncd.store.store import Store

AUTO = "auto"
LONGEST = 60 * SECOND
"""The longest wait."""
PLENTY, SCARCE = 10.0, 1.0
"""Days that the allowance lasts at today's rate: from PLENTY on nothing waits, down to SCARCE the wait grows to the longest."""
LOOK_AGAIN = SECOND // 4
"""While something waits, arrivals are looked at so often: each wakes the lane."""


def automatic(left: float, per_day: float) -> int:
    """Milliseconds to wait, in whole seconds, when so many units are left and so many are spent a day."""
    if math.isinf(left) or per_day <= 0:
        return 0
    lasts = max(left, 0.0) / per_day
    share = min(1.0, max(0.0, (PLENTY - lasts) / (PLENTY - SCARCE)))
    return round(LONGEST * share / SECOND) * SECOND


def per_day(hours: Iterable[tuple[int, float]], now: int) -> float:
    """Units that were spent in the last 24 hours. `hours`: (start of an hour, units). A day that has only begun is not
    extrapolated: one burst says nothing of the rest."""
    return max(0.0, sum(units for hour, units in hours if now - DAY < hour <= now))


def goes_at(
    due: Sequence[DueDelivery], full: int, most: int, urgent: int, calls_to_action: Callable[[str], bool]
) -> int:
    """When these deliveries go together: at once (0) if they fill a batch of `full`."""
    if len(due) >= full:
        return 0
    return min(
        (one.due_at + (min(urgent, most) if one.live and calls_to_action(one.type) else most) for one in due), default=0
    )


def noted(pace: Pace, most: int, deliveries: int, now: int) -> Pace:
    """The pace with what `status` shows: how long is waited, and one more batch of so many deliveries, by the day."""
    if not most:
        return pace if not pace.gathers else msgspec.structs.replace(pace, gathers=0)
    day, before, batches = pace.gathered
    if day != now // DAY:
        day, before, batches = now // DAY, 0, 0
    return msgspec.structs.replace(pace, gathers=most, gathered=(day, before + deliveries, batches + 1))


@dataclass
class Gathering:
    """One lane's. `most` None: automatic. `calls_to_action`: whether signals of a type are urgent."""

    destination: str
    store: Store
    most: timedelta | None
    urgent: timedelta
    calls_to_action: Callable[[str], bool]
    _until: int = 0
    _look_at: int = 0

    def longest(self, left: float, hours: Iterable[tuple[int, float]], now: int) -> int:
        """Milliseconds that a delivery may wait now. `left`: units that may still be spent."""
        return automatic(left, per_day(hours, now)) if self.most is None else span(self.most)

    def waits_until(self, now: int, most: int, full: int) -> int:
        """Until when what is due waits, 0: it goes now."""
        if most <= 0:
            self._until = 0
            return 0
        if now < self._look_at and self._until > now:
            return min(self._until, self._look_at)
        with self.store.read() as connection:
            due = queue.due(connection, self.destination, now=now, limit=full)
        self._until = goes_at(due, full, most, span(self.urgent), self.calls_to_action)
        self._look_at = now + LOOK_AGAIN
        if self._until <= now or self._until - now > LONGEST:  # the clock was set back
            self._until = 0
            return 0
        return min(self._until, self._look_at)
