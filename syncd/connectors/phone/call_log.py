"""A source that reads a vendor's list of calls: hints, judged when a call has ended; poll and backfill over whole windows.

A call is final only when it and its legs have ended, and legs may show in the list after their call. A phone source passes a
`CallLog`, its vendor's API, and inherits `fetch`, `fetch_many`, `start`, `poll` and `backfill`. Promise: a call has the same
signal on each route, and no call is lost because it was still in progress when it was listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

from syncd.connector import Batch, Context, Hint, NotYet
from syncd.connectors.phone.calls import MISSED, CallOutcome, PhoneAccount, PhoneCall, judge
from syncd.connectors.times import read_time
from syncd.errors import Failure
from syncd.signals import Route, Signal
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, read_cursor

LAG = timedelta(minutes=10)  # a call may show in the list this long after it began
SETTLING = timedelta(minutes=1)  # legs of a call that ended so long ago are all in the list
WINDOW = timedelta(days=1)
LONGEST_CALL = timedelta(hours=4)  # Twilio's default limit: a callback at its end may come so long after its start
_SOONEST, _LATEST = timedelta(seconds=15), timedelta(minutes=5)


class CallLog(Protocol):
    """A vendor's API about the calls of one account. Every method raises a Failure."""

    def call(self, id: str) -> PhoneCall | None:
        """None if the vendor does not know it (any more)."""
        ...

    def legs(self, parent: str) -> list[PhoneCall]:
        """The calls that this call dialled."""
        ...

    def window(self, since: datetime, until: datetime) -> Iterator[tuple[list[PhoneCall], datetime]]:
        """Pages of the calls and legs that started in [since, until], newest first, each with the vendor's own time. What
        cannot be read is a call without an id."""
        ...

    def vendor_now(self) -> datetime: ...


def call_hint(id: str, at: datetime, route: Route = Route.WEBHOOK, not_before: datetime | None = None) -> Hint:
    """A hint on the call `id`, which began about `at`."""
    data = {"at": at.isoformat()} | ({} if route is Route.WEBHOOK else {"route": str(route)})
    return Hint(key=id, data=data, not_before=not_before)


def recording_of(id: str) -> str:
    """The key under which a source remembers the address of a call's recording until the call is judged."""
    return f"recording:{id}"


class LoggedCalls:
    """BulkHintSource, PollingSource and Backfillable over a `CallLog`. `judge`: for a vendor that reports the outcome itself."""

    hints_at_once = 20

    def __init__(
        self,
        log: CallLog,
        calls: PhoneAccount,
        context: Context,
        judge: Callable[[PhoneCall, Sequence[PhoneCall]], CallOutcome] = judge,
    ) -> None:
        self._log, self._calls, self._context, self._judge = log, calls, context, judge

    # ---- hints

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        call = self._log.call(hint.key)
        if call is not None and call.parent:
            return Batch(hints=[Hint(key=call.parent, data=hint.data)], remember={recording_of(hint.key): None})
        ended = call is not None and self._calls.concerns(call) and call.status == "completed"
        return self._judged(hint, call, self._log.legs(hint.key) if ended else [], now)

    def fetch_many(self, hints: Sequence[Hint], now: datetime) -> list[Batch | NotYet | Failure]:
        """One list of the calls of that time instead of two calls for each hint; whatever is not in it is fetched alone. The list
        is newest first: with a call, all its legs have been read."""
        moments = [read_time(hint.data.get("at"), self._context.timezone) for hint in hints]
        known = [moment for moment in moments if moment is not None]
        found: dict[str, PhoneCall] = {}
        if len(known) > 1 and max(known) - min(known) < WINDOW:
            try:
                for calls, _ in islice(self._log.window(min(known) - LONGEST_CALL, max(known) + LAG), len(known)):
                    found.update((call.id, call) for call in calls)
            except Failure as failed:
                return [failed] * len(hints)
        legs = _by_parent(found.values())
        return [
            self._judged(hint, found[hint.key], legs.get(hint.key, []), now)
            if hint.key in found and not found[hint.key].parent
            else self._alone(hint, now)
            for hint in hints
        ]

    def _alone(self, hint: Hint, now: datetime) -> Batch | NotYet | Failure:
        try:
            return self.fetch(hint, now)
        except Failure as failed:
            return failed

    def _judged(self, hint: Hint, call: PhoneCall | None, legs: list[PhoneCall], now: datetime) -> Batch | NotYet:
        forget: dict[str, str | None] = {recording_of(hint.key): None}
        if call is None or not self._calls.concerns(call):
            return Batch(remember=forget)
        outcome, settled = self._judge(call, legs), (call.ended_at or now) + SETTLING
        may_have_legs = not legs and call.status == "completed" and settled > now
        if outcome is CallOutcome.OPEN or may_have_legs:
            age = now - (call.started_at or now)
            return NotYet(now + min(max(age / 4, _SOONEST), _LATEST))
        key, route = recording_of(call.id), Route(hint.data.get("route", Route.WEBHOOK))
        recording = self._context.recall([key]).get(key, "")
        return Batch(self._calls.signals(outcome, call, now, route, legs=legs, recording=recording), remember=forget)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(self._log.vendor_now()))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor, last = read_cursor(state), False
        while not last:
            until = cursor.since + WINDOW
            calls, vendor_now, dropped = self._window(cursor.since, until)
            last = until >= vendor_now
            parents = [call for call in calls if self._calls.concerns(call)]
            # Legs that began after the window are not in `calls`: what ended near its end is judged by a hint.
            batch = self._sorted(cursor.fresh(parents, _mark), calls, min(vendor_now, until), now, Route.POLL)
            before, cursor = cursor, cursor.after(map(_mark, parents), LAG) if last else cursor.moved(until)
            if batch.signals or batch.hints or cursor != before:
                yield replace(batch, state=encode(cursor), dropped=dropped)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        begin = read_cursor(state).since if state is not None else since
        while begin < until:
            end = min(begin + WINDOW, until)
            calls, vendor_now, dropped = self._window(begin, end + WINDOW / 24)
            wanted = [call for call in calls if self._calls.concerns(call)]
            parents = [call for call in wanted if call.started_at and begin <= call.started_at < end]
            known = min(vendor_now, end + WINDOW / 24)
            batch = self._sorted(parents, calls, known, self._context.clock(), Route.BACKFILL)
            yield replace(batch, state=encode(TimeCursor(end)), dropped=dropped)
            begin = end

    def _window(self, since: datetime, until: datetime) -> tuple[list[PhoneCall], datetime, dict[str, int]]:
        """The calls of a time, oldest first, the vendor's clock before they were read, and how many could not be read."""
        found: dict[str, PhoneCall] = {}
        clock, unread = None, 0
        for calls, vendor_now in self._log.window(since, until):
            clock = clock or vendor_now
            found.update((call.id, call) for call in calls if call.id)
            unread += sum(not call.id for call in calls)
        ordered = sorted(found.values(), key=lambda call: (call.started_at or until, call.id))
        return ordered, clock or since, {"unreadable call": unread} if unread else {}

    def _sorted(
        self,
        parents: Sequence[PhoneCall],
        calls: Sequence[PhoneCall],
        known_until: datetime,
        now: datetime,
        route: Route,
    ) -> Batch:
        """The signals of `parents`, and hints on those that this list does not decide: a call is still in progress, or its legs
        may have started after `known_until`."""
        by_parent, signals, hints = _by_parent(calls), list[Signal](), list[Hint]()
        for call in parents:
            legs = by_parent.get(call.id, ())
            outcome = self._judge(call, legs)
            known = call.status in MISSED or (call.ended_at is not None and call.ended_at + SETTLING <= known_until)
            if outcome is CallOutcome.OPEN or not known:
                hints.append(call_hint(call.id, call.started_at or now, route, now + _SOONEST))
            else:
                signals += self._calls.signals(outcome, call, now, route, legs=legs)
        return Batch(signals=signals, hints=hints)


def _by_parent(calls: Iterable[PhoneCall]) -> dict[str, list[PhoneCall]]:
    legs: dict[str, list[PhoneCall]] = {}
    for call in calls:
        if call.parent:
            legs.setdefault(call.parent, []).append(call)
    return legs


def _mark(call: PhoneCall) -> ItemMark | None:
    return mark_of(call.id, call.started_at)
