"""One poll of one source, under its lease: every batch committed with its cursor, before the next is read.

The schedule runs it; commands may. Promise: what a source has yielded is durable or will be read again; the cursor never
runs ahead of its data; of all machines one polls at a time; a failure decides, by its class, when the next try is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import structlog

from syncd.connector import PollingSource
from syncd.errors import AuthExpired, Failure, Misconfigured, QuotaExhausted, RateLimited
from syncd.intake.admit import Policy, admit, empty
from syncd.intake.counts import Counts
from syncd.intake.former_ids import with_former_ids
from syncd.observability import traces
from syncd.runtime.crashpoints import point
from syncd.signals import Route
from syncd.store import Store, poll_requests
from syncd.store.journal.entries import Fence, FenceLost, JournalEntry, StoreUnavailable
from syncd.store.leases import TERM
from syncd.texts.reasons import SIGN_IN, failure_code

log = structlog.get_logger(__name__)

HOUR = timedelta(hours=1)
FIRST_PAUSE = timedelta(seconds=30)  # where the vendor says slow down but not how long
LONGEST_PAUSE = timedelta(minutes=30)
SPACING = timedelta(seconds=3)
"""Between two polls that webhooks or the source's own word of news ask for: a poll may sign in, and hosts count that."""


NEEDS_OPERATOR = ("misconfigured", "authexpired", SIGN_IN)
"""Codes of a source that fails until an operator fixes it."""


STARTED = "syncd.started"
"""Under this key a source remembers when it began: what happened before is not read by polls."""


def backfill_command(name: str) -> str:
    """What brings the history of a source."""
    return f"syncd backfill {name} --since 30d"


class PollResult(StrEnum):
    """How a poll ended."""

    OK = "ok"
    STOPPED = "stopped"  # between two batches, because it was asked to; the rest comes next time
    ELSEWHERE = "elsewhere"  # another thread or machine polls this source
    TOO_EARLY = "too_early"  # the source pauses after a failure
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll did. `not_before`: when the next is worth a try, be it before its next scheduled time: after a failure, and
    where a webhook asked for a poll that was not made yet."""

    ended: PollResult
    batches: int = 0
    new: int = 0
    repeats: int = 0
    error: str = ""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """What a failure means for a source: not before `pause` from now; `counts`: one more failure in a row."""

    pause: timedelta
    counts: bool
    error: str


def setback(error: Exception, failures: int, now: datetime) -> Backoff:
    """Decides by the class of the failure alone. `failures`: in a row, before this one."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, Failure) else f"bug in the connector: {error!r}"
    growing = min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE)
    match error:
        case RateLimited():
            told = error.retry_after
            return Backoff(growing if told is None else timedelta(seconds=max(told, 0)), told is None, text)
        case QuotaExhausted():
            return Backoff(HOUR if error.resets_at is None else max(error.resets_at - now, timedelta(0)), False, text)
        case Misconfigured(until=datetime() as until):  # it was not even tried
            return Backoff(max(until - now, timedelta(0)), not failures, text)
        case Misconfigured() | AuthExpired():
            return Backoff(HOUR, True, text)
        case _:
            return Backoff(growing, True, text)


class Poll:
    """Polls one source. `policy` is asked before every batch, so that a switch takes effect at once."""

    def __init__(
        self,
        name: str,
        source: PollingSource,
        store: Store,
        policy: Callable[[], Policy],
        *,
        counts: Counts | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        lease: timedelta = TERM,
    ) -> None:
        self.name = name
        self._source = source
        self._store = store
        self._policy = policy
        self._counts = counts or Counts()
        self._clock = clock
        self._lease = lease
        self._forgiven = threading.Event()
        self._restarted = True

    def work(self, stop: threading.Event) -> datetime | None:
        """`run` as the schedule wants it."""
        return self.run(stop).not_before

    def clear_backoff(self) -> None:
        """After a reload: the next run does not wait for the end of a pause."""
        self._forgiven.set()

    def run(self, stop: threading.Event | None = None, *, forced: bool = False) -> Polled:
        """One poll to its end, or until `stop`. `forced` ignores a pause after a failure; so does the first run of a process
        for what an operator may have fixed meanwhile. Never raises a Failure."""
        stop = stop or threading.Event()
        if self._forgiven.is_set():
            self._forgiven.clear()
            forced = True
        try:
            health = self._store.sources.health(self.name)
            forced |= self._restarted and health.code in NEEDS_OPERATOR
            self._restarted = False
            if not forced and health.next_at is not None and health.next_at > self._clock():
                return Polled(PollResult.TOO_EARLY, error=health.error, not_before=health.next_at)
            claim = self._store.leases.acquire(f"poll:{self.name}", self._lease)
            if claim is None:  # whoever polls may have begun before a webhook asked for it
                asked = poll_requests.pending(self._store, self.name)
                return Polled(PollResult.ELSEWHERE, not_before=self._clock() + SPACING if asked else None)
            with self._store.leases.heartbeat(claim) as beat, traces.span("poll", source=self.name):
                polled = self._under_lease(Fence(claim.lease, claim.claim), beat.lost, stop)
        except StoreUnavailable as error:
            polled = Polled(PollResult.FAILED, error=str(error))
            log.error("poll failed: the store cannot commit", source=self.name, why=str(error))
        self._counts.polled(self.name, polled.ended)
        return polled

    def _under_lease(self, fence: Fence, lost: threading.Event, stop: threading.Event) -> Polled:
        reading = _PollReading(self, fence)
        asked = poll_requests.pending(self._store, self.name)
        try:
            ended = reading.all_of_it(lost, stop)
        except FenceLost:
            log.warning("poll aborted: lease lost to another worker", source=self.name)
            return reading.polled(PollResult.ELSEWHERE)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  a broken source harms only itself; its class decides what happens
            back = self._set_back(error)
            return reading.polled(PollResult.FAILED, back.error, self._clock() + back.pause)
        self._store.sources.succeeded(self.name, self._clock())
        if asked and ended is PollResult.OK:
            poll_requests.answered(self._store, self.name, asked)
        again = poll_requests.pending(self._store, self.name)
        return reading.polled(ended, not_before=self._clock() + SPACING if again else None)

    def _set_back(self, error: Exception) -> Backoff:
        now = self._clock()
        health = self._store.sources.health(self.name)
        back = setback(error, health.failures, now)
        self._store.sources.failed(self.name, back.error, now + back.pause, code=failure_code(error), count=back.counts)
        log.warning(
            "poll failed",
            source=self.name,
            why=back.error,
            not_before=(now + back.pause).isoformat(),
            exc_info=not isinstance(error, Failure),
        )
        return back


class _PollReading:
    """The batches of one poll, and what came of them so far."""

    def __init__(self, poll: Poll, fence: Fence) -> None:
        self._poll = poll
        self._fence = fence
        self._batches = 0
        self._new = 0
        self._repeats = 0

    def polled(self, ended: PollResult, error: str = "", not_before: datetime | None = None) -> Polled:
        return Polled(ended, self._batches, self._new, self._repeats, error, not_before)

    def all_of_it(self, lost: threading.Event, stop: threading.Event) -> PollResult:
        """Raises FenceLost, StoreUnavailable, and whatever the source raises."""
        poll = self._poll
        state = poll._store.cursors.read(poll.name)
        if state is None:
            state = poll._source.start(poll._clock())
            # Durable before anything is read: a restart resumes from this "now", not from a later one.
            past = hasattr(poll._source, "backfill")
            began = {STARTED: poll._clock().isoformat()} if past else {}
            poll._store.journal.commit(JournalEntry(poll.name, state=state, fence=self._fence, remember=began))
            told = {"to_read_it": backfill_command(poll.name)} if past else {}
            log.info("first start: what is there already is history and is not read", source=poll.name, **told)
        with closing(iter(poll._source.poll(state, poll._clock()))) as batches:  # type: ignore[type-var]
            for batch in batches:
                point("after_fetch")
                if lost.is_set():
                    raise FenceLost(self._fence.lease)
                batch = with_former_ids(batch, poll._store)
                entry = admit(batch, poll.name, Route.POLL, poll._policy(), poll._clock(), fence=self._fence)
                if not empty(entry):
                    with traces.span("commit", source=poll.name):
                        committed = poll._store.journal.commit(entry)
                    poll._counts.committed(poll.name, committed)
                    self._new += len(committed.new)
                    self._repeats += committed.known
                self._batches += 1
                if stop.is_set():
                    return PollResult.STOPPED
        return PollResult.OK
