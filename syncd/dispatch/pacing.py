"""When to try again, when to stop, and how much may be spent: pure decisions over values, the clock handed in.

Dispatch asks before and after every call; nothing here waits, reads a clock or touches the store. Times are UTC
milliseconds, as in the tables. Promise: jitter and pauses only ever add to what a vendor demanded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from syncd.config.models import Quota, Retry
from syncd.connector import Allowance
from syncd.texts.reasons import Reason, code_of

SECOND = 1000
HOUR = 3_600_000
DAY = 24 * HOUR

UNKNOWN_TRIES = 3
"""Tries of a write whose failure carries a code that no table lists."""
BREAKER_OPENS_AT = 5
"""Consecutive failed calls after which the lane rests."""
BREAKER_RESTS = (30 * SECOND, 60 * SECOND, 120 * SECOND, 300 * SECOND, 900 * SECOND)
"""The rests, one longer than the other, until a call succeeds again."""
THROTTLE_PAUSES = (5 * SECOND, 15 * SECOND, 60 * SECOND, 300 * SECOND)
"""Pauses when a vendor says "slow down" without saying how long."""
LEFT_TO_OTHERS = 0.05
"""Share of the account's own allowance that is never touched."""
ASK_AGAIN = HOUR
"""A wrong configuration, or an exhausted allowance without an end, is tried again after this."""

Random = Callable[[], float]
"""Gives 0 <= x < 1."""


# ---------------------------------------------------------------------------------------------------------- retrying


def span(duration: timedelta) -> int:
    """Milliseconds of a duration."""
    return round(duration.total_seconds() * 1000)


def hold_span(duration: timedelta | None) -> int:
    """Milliseconds that a stranger is waited for; None: not at all."""
    return span(duration) if duration is not None else 0


def next_try(
    retry: Retry, attempts: int, now: int, random: Random, *, floor: int = 0, known: bool = True
) -> int | None:
    """When a write that has been tried `attempts` times is due again; None: never, it has had its tries.

    The wait is the schedule's, jitter comes on top; it is never before `floor` (what a Retry-After demanded).
    `known` False: the vendor's code is in no table, so the low cap of UNKNOWN_TRIES holds.
    """
    tries = len(retry.schedule) if known else min(UNKNOWN_TRIES, len(retry.schedule))
    if attempts >= tries:
        return None
    wait = span(retry.schedule[attempts])
    jitter = float(retry.jitter) * random()
    due = max(now + wait, floor)
    return due + round((due - now) * jitter)


# ----------------------------------------------------------------------------------------------- breaker and pauses


class Pace(msgspec.Struct, frozen=True):
    """How a lane is doing: the breaker's and the pauses' state, kept in the table `lanes` over restarts.

    `failures`: consecutive failed calls. `opened`: how often the breaker opened since the last success. `throttled`:
    "slow down"s in a row. `paused_until`, `reason` and its `code`: nothing is sent before. `stopped`: the pause is a
    Misconfigured's, which a reload ends. `size`: at most so many deliveries a round (0: the destination's capacity). `held`:
    rule -> (until, reason) of rules that name something the CRM does not know. `short_of`: the pause is the budget's, which
    had less left than so many units; 0 for any other pause. `gathers`: milliseconds that deliveries wait for others, as of the
    last batch; `gathered`: (number of a day, deliveries that waited on it, batches that they went in).
    """

    failures: int = 0
    opened: int = 0
    throttled: int = 0
    paused_until: int = 0
    reason: str = ""
    code: str = ""
    stopped: bool = False
    size: int = 0
    held: dict[str, tuple[int, str]] = {}
    short_of: float = 0.0
    gathers: int = 0
    gathered: tuple[int, int, int] = (0, 0, 0)

    def paused(self, now: int) -> bool:
        return now < self.paused_until

    def breaker(self, now: int) -> str:
        """closed, open or half-open, as `status` shows it."""
        if self.failures < BREAKER_OPENS_AT:
            return "closed"
        return "open" if self.paused(now) else "half-open"

    def probing(self) -> bool:
        """Half-open: one small round decides."""
        return self.failures >= BREAKER_OPENS_AT

    def held_until(self, rule: str, now: int) -> tuple[int, str] | None:
        """(until, reason) while the rule is held."""
        entry = self.held.get(rule)
        return entry if entry is not None and now < entry[0] else None


def succeeded(pace: Pace) -> Pace:
    """After a call that was answered: the breaker closes, rounds grow back."""
    if not (pace.failures or pace.opened or pace.throttled or pace.size or pace.stopped):
        return pace
    grown = pace.size * 2 if 0 < pace.size < 4096 else 0
    return msgspec.structs.replace(pace, failures=0, opened=0, throttled=0, size=grown, stopped=False)


def rest_after(failures: int) -> int:
    """How long to rest after so many failed calls in a row (BREAKER_OPENS_AT or more): each rest is longer than the last."""
    return BREAKER_RESTS[min(failures - BREAKER_OPENS_AT, len(BREAKER_RESTS) - 1)]


def failed(pace: Pace, now: int, why: str) -> Pace:
    """After a call that failed as a whole; from the fifth in a row on, a rest, each longer than the last."""
    failures = pace.failures + 1
    if failures < BREAKER_OPENS_AT:
        return msgspec.structs.replace(pace, failures=failures)
    rest = BREAKER_RESTS[min(pace.opened, len(BREAKER_RESTS) - 1)]
    opened = msgspec.structs.replace(pace, failures=failures, opened=pace.opened + 1)
    return pause(opened, now + rest, Reason("calls_failed", failures=failures, cause=why))


def throttled(pace: Pace, now: int, retry_after: float | None, random: Random, why: str) -> Pace:
    """After "slow down": at least `retry_after` seconds, or a growing pause of our own."""
    if retry_after is not None and math.isfinite(retry_after):
        wait = max(0, math.ceil(retry_after * 1000))
    else:
        wait = THROTTLE_PAUSES[min(pace.throttled, len(THROTTLE_PAUSES) - 1)]
    until = now + wait + round(wait * 0.1 * random())
    return pause(msgspec.structs.replace(pace, throttled=pace.throttled + 1), until, Reason("throttled", cause=why))


def pause(pace: Pace, until: int, reason: str, *, stopped: bool = False, short_of: float = 0.0) -> Pace:
    """The later of this pause and the one in force; the reason is the later one's."""
    if until <= pace.paused_until:
        return pace
    paused = {"paused_until": until, "reason": str(reason), "code": code_of(reason)}
    return msgspec.structs.replace(pace, **paused, stopped=stopped, short_of=short_of)


def afforded(pace: Pace, left: float) -> Pace:
    """Ends a pause of the budget as soon as the budget has enough left: the quota was raised or removed."""
    if not pace.short_of or left < pace.short_of:
        return pace
    return msgspec.structs.replace(pace, paused_until=0, reason="", code="", short_of=0.0)


def resumed(pace: Pace) -> Pace:
    """After a reload of the configuration: what was misconfigured is tried at once; other pauses stay in force."""
    open_again = msgspec.structs.replace(pace, held={})
    return (
        msgspec.structs.replace(open_again, paused_until=0, reason="", code="", stopped=False)
        if pace.stopped
        else open_again
    )


def moved(pace: Pace, by: int, now: int) -> Pace:
    """After the clock was set by so many milliseconds, to `now`: a rest is a span and ends no later for it."""
    if by >= 0 or (pace.paused_until <= now and not pace.held):
        return pace
    held = {rule: (max(until + by, now), reason) for rule, (until, reason) in pace.held.items()}
    return msgspec.structs.replace(
        pace, paused_until=max(pace.paused_until + by, min(pace.paused_until, now)), held=held
    )


def shrunk(pace: Pace, size: int) -> Pace:
    """Half as many deliveries in the next round: what poisons a whole look-up is cornered."""
    return msgspec.structs.replace(pace, size=max(1, size // 2))


# -------------------------------------------------------------------------------------------------------- the budget


@dataclass(frozen=True, slots=True)
class Budget:
    """`left`: units that may be spent now (inf: no limit known). `until`: when there is more, if `left` is short."""

    left: float
    until: int
    reason: str


def spent(rows: Iterable[tuple[int, float]], now: int) -> float:
    """Units of the last 24 hours; `rows` are (start of an hour, units). An hour that has only partly left the window
    counts whole: we never spend more than allowed, in any 24 hours."""
    return sum(units for hour, units in rows if hour > now - DAY - HOUR)


def budget(quota: Quota | None, allowance: Allowance | None, rows: Iterable[tuple[int, float]], now: int) -> Budget:
    """What may be spent, by our share and by what the account itself has left.

    The share is of the maximum as the vendor reported it; an absolute quota counts as it stands, the smaller wins.
    A report older than an hour no longer stops us: one call brings a new one.
    """
    rows = sorted(rows)
    used = spent(rows, now)
    best = Budget(math.inf, 0, "")
    most = cap(quota, allowance)
    if most is not None:
        best = Budget(
            max(0.0, most - used), _frees(rows, now), Reason("our_share_used", used=f"{used:g}", most=f"{most:g}")
        )
    if allowance is not None and allowance.maximum > 0:
        as_of = round(allowance.as_of.timestamp() * 1000)
        keep = quota.keep if quota is not None and quota.keep is not None else allowance.maximum * LEFT_TO_OTHERS
        left = allowance.maximum - keep - allowance.used
        if left < best.left and (left > 0 or now < as_of + ASK_AGAIN):
            best = Budget(
                max(0.0, left),
                as_of + ASK_AGAIN,
                Reason(
                    "account_used",
                    used=f"{allowance.used:g}",
                    maximum=f"{allowance.maximum:g}",
                    unit=allowance.unit,
                ),
            )
    return best


def cap(quota: Quota | None, allowance: Allowance | None) -> float | None:
    """What we may spend in 24 hours; None: no limit known."""
    if quota is None:
        return None
    caps = [float(quota.absolute)] if quota.absolute is not None else []
    if quota.share is not None and allowance is not None and allowance.maximum > 0:
        caps.append(quota.share * allowance.maximum)
    return min(caps) if caps else None


def _frees(rows: list[tuple[int, float]], now: int) -> int:
    """When the oldest hour that still counts leaves the window."""
    counting = [hour for hour, units in rows if units > 0 and hour > now - DAY - HOUR]
    return (counting[0] if counting else now) + DAY + HOUR


def hour_of(now: int) -> int:
    """The start of the hour that a time lies in: the key of a row of `spending`."""
    return now - now % HOUR


def shown(at: int) -> str:
    """A moment (UTC milliseconds) as logs show it."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
