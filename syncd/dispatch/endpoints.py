"""Whose fault a failed call is: the vendor's, or one item's; and how long an endpoint rests after failed calls.

A lane keeps one `Endpoints` for its destination. An endpoint is a kind of look-up, or the writes to one object. Promise: while
an endpoint answers nobody, no item is blamed; an item is blamed when it failed alone, before and after others were answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from syncd.connector import Write
from syncd.dispatch import pacing

T = TypeVar("T")
RETRY_CALL = 5 * pacing.SECOND
"""The items of a failed call are sent again after this, as long as the endpoint is not resting."""
LIMITED = 60 * pacing.SECOND
"""How long an endpoint rests that the vendor limits without saying how long."""
PARTS = 4
"""The items of a failed call are sent again in so many smaller calls: one bad item of n costs about 4·log4(n) calls."""
MOST_SUSPECTS = 50_000
"""Beyond this nothing is remembered of failed items: they are only sent in larger calls again."""


@dataclass(slots=True)
class _Endpoint:
    """`failures`: calls that failed in a row; `failing`: the items they carried; `answered`: when it last answered;
    `limited_until`: the vendor takes no call of it before."""

    failures: int = 0
    failing: set[str] = field(default_factory=set)
    rests_until: int = 0
    reason: str = ""
    answered: int = 0
    limited_until: int = 0


@dataclass(slots=True)
class _Suspect:
    """An item of a failed call. `since`: its first failure; `calls_of`: the smallest failed call that carried it."""

    since: int
    calls_of: int


class Endpoints:
    """What is known of the endpoints of one destination since the process started. Not thread-safe.

    Its order of events is its own, not the clock's: a round may happen within one millisecond.
    """

    def __init__(self) -> None:
        self._endpoints: dict[str, _Endpoint] = {}
        self._suspects: dict[tuple[str, str], _Suspect] = {}
        self._events = 0

    def answered(self, endpoint: str, items: Iterable[str]) -> None:
        """The vendor answered for these items, whatever it said of them."""
        known = self._endpoints.setdefault(endpoint, _Endpoint())
        self._events += 1
        known.answered, known.failures, known.rests_until = self._events, 0, 0
        known.failing.clear()
        if self._suspects:
            for item in items:
                self._suspects.pop((endpoint, item), None)

    def failed(self, endpoint: str, items: Sequence[str], now: int, why: str) -> int | None:
        """A call failed as a whole. Returns when its items may be sent again without having used a try; None: the only item
        of the call is to blame, and has used one."""
        known = self._endpoints.setdefault(endpoint, _Endpoint())
        self._events += 1
        blamed = len(items) == 1 and self._to_blame(endpoint, items[0], known)
        if len(self._suspects) > MOST_SUSPECTS:
            self._suspects.clear()
        for item in items:
            one = self._suspects.setdefault((endpoint, item), _Suspect(self._events, len(items)))
            one.calls_of = min(one.calls_of, len(items))
        known.failing.update(items)
        if blamed:
            return None
        known.failures, known.reason = known.failures + 1, why
        if known.failures < pacing.BREAKER_OPENS_AT:
            return now + RETRY_CALL
        known.rests_until = now + pacing.rest_after(known.failures)
        return known.rests_until

    def limited(self, endpoint: str, now: int, retry_after: float | None, why: str) -> int:
        """The vendor limits this endpoint alone. Returns until when."""
        wait = round(max(0.0, retry_after) * pacing.SECOND) if retry_after is not None else LIMITED
        known = self._endpoints.setdefault(endpoint, _Endpoint())
        known.limited_until, known.reason = max(known.limited_until, now + wait), why
        return known.limited_until

    def limits(self, writes: Iterable[Write], now: int) -> bool:
        """Whether the vendor limits what one of these writes goes to."""
        known = (self._endpoints.get(write.object) for write in writes)
        return any(one is not None and one.limited_until > now for one in known)

    def _to_blame(self, endpoint: str, item: str, known: _Endpoint) -> bool:
        """Whether it failed before, others were answered since, and nobody else has failed after them."""
        suspect = self._suspects.get((endpoint, item))
        return suspect is not None and suspect.since < known.answered and known.failing <= {item}

    def rests_until(self, endpoint: str, now: int) -> int:
        """Until when nothing is sent to the endpoint; 0 when it is not resting."""
        known = self._endpoints.get(endpoint)
        until = max(known.rests_until, known.limited_until) if known is not None else 0
        return until if until > now else 0

    def failing(self, endpoint: str) -> bool:
        """Whether its last call failed."""
        known = self._endpoints.get(endpoint)
        return known is not None and known.failures > 0

    def probing(self, endpoint: str) -> bool:
        """Whether one small call decides if the endpoint is back."""
        known = self._endpoints.get(endpoint)
        return known is not None and known.failures >= pacing.BREAKER_OPENS_AT

    def reason(self, endpoint: str) -> str:
        """What the last failed call said."""
        known = self._endpoints.get(endpoint)
        return known.reason if known is not None else ""

    def parts(self, items: Sequence[T], name: Callable[[T], tuple[str, str]]) -> list[list[T]]:
        """The items in groups that go in calls of their own: first those that never failed, then those of failed calls, in
        smaller and smaller groups. `name`: (endpoint, item)."""
        if not self._suspects:
            return [list(items)] if items else []
        groups: dict[int, list[T]] = {}
        for item in items:
            suspect = self._suspects.get(name(item))
            groups.setdefault(max(1, suspect.calls_of // PARTS) if suspect is not None else 0, []).append(item)
        made = [groups.pop(0)] if 0 in groups else []
        for size in sorted(groups, reverse=True):
            group = groups[size]
            made += [group[start : start + size] for start in range(0, len(group), size)]
        return made
