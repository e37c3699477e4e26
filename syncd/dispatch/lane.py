"""The lane of a destination: the one sequence of calls into it, on one machine or on ten, owned through a lease.

The daemon starts one a destination; tests and commands call `step`. Promise: whatever happens to the process, the next
owner continues where this one stopped; a stop drains: the call in flight is settled, the rest goes back to the queue.
"""

from __future__ import annotations

import random as chance
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from sqlalchemy import Connection

from syncd.config.models import Settings
from syncd.connector import Destination
from syncd.dispatch import pacing
from syncd.dispatch.calls import DestinationClient
from syncd.dispatch.gathering import Gathering, noted
from syncd.dispatch.outcomes import RetryPolicy
from syncd.dispatch.pacing import Pace
from syncd.dispatch.round import LaneContext, Round
from syncd.dispatch.verification import Verification
from syncd.mapping.model import CompiledMapping
from syncd.observability import traces
from syncd.observability.call_stats import CallStats
from syncd.runtime.clock_jumps import ClockStepDetector
from syncd.store import queue
from syncd.store.engine import millis
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.lanes import drop_rejected, due_at_once, move_times, pace_of
from syncd.store.leases import TERM
from syncd.store.store import Store
from syncd.texts.reasons import Reason

log = structlog.get_logger(__name__)

LEASE = TERM
CLAIM_FOR = 15 * 60 * pacing.SECOND
"""A claim outlives the longest request (its deadline is ours), and is extended before each call."""
LATECOMERS = 60 * pacing.SECOND
"""For so long after the clock was set back, something that was received before may still be committed."""
IDLE = 2.0
"""Seconds between looks at the queue when nobody wakes the lane: another process may have put something into it."""
PROBE = 10
"""Deliveries of the round that decides whether a rested vendor is well again."""


@dataclass(frozen=True)
class StepResult:
    """What one round did. `wait_until`: UTC milliseconds when there may be more to do (0: at once, None: when woken)."""

    claimed: int = 0
    settled: int = 0
    refused: int = 0
    calls: int = 0
    wait_until: int | None = None
    reason: str = ""


class Lane:
    """Drives one destination. `name` is the YAML name; `settings` the whole configuration."""

    def __init__(
        self,
        name: str,
        destination: Destination,
        mapping: CompiledMapping,
        store: Store,
        settings: Settings,
        *,
        clock: Callable[[], datetime] | None = None,
        random: pacing.Random = chance.random,
        lease: timedelta = LEASE,
        idle: float = IDLE,
        meter: CallStats | None = None,
    ) -> None:
        self.name = name
        self._destination = destination
        self._store = store
        self._read_clock = clock or store.clock
        self._random = random
        self._lease = lease
        self._idle = idle
        self._meter = meter or CallStats()
        here = settings.destinations[name]
        self._quota = here.quota
        doubt = here.doubt.total_seconds() if here.doubt is not None else destination.doubt
        policy = RetryPolicy(settings.retry, round((doubt + destination.search_lag) * 1000), random)
        self._route = LaneContext(settings, destination, here, mapping, policy)
        self._gathering: Gathering | None = Gathering(
            name, store, None if here.gather == "auto" else here.gather, here.gather_urgent, mapping.calls_to_action
        )
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._wake = threading.Event()
        self._mended = threading.Event()
        self._thread: threading.Thread | None = None
        self._client: DestinationClient | None = None
        self._now: int | None = None
        self._extended = 0
        self._store_trouble = ""
        self.moved = time.monotonic()
        """When its thread last did anything: a watchdog's sign of life."""
        self._jumps = ClockStepDetector()
        self._set_back_to = 0
        self._verification = Verification(name, destination, mapping, store, settings.live_within)
        self._look_for_work = 0.0

    # -------------------------------------------------------------------------------------------------------- a round

    def step(self, now: datetime | None = None) -> StepResult:
        """One claim-to-settle round. `now` stands still for the whole round when given, else the store's clock runs.
        Raises StoreUnavailable; what was under way is then in doubt, or free again when the claim runs out."""
        self._now = millis(now) if now is not None else None
        client = self._calls()
        client.made = 0
        started = self._clock()
        if client.paused(started):
            return StepResult(wait_until=client.pace.paused_until, reason=client.pace.reason)
        most, until = self._gather(client, started)
        if until:
            return StepResult(wait_until=until, reason="waits for more to be sent with it")
        batch = self._claim(client, started)
        if not batch.taken:
            client.keep_pace()
            with self._store.read() as connection:
                return StepResult(wait_until=queue.next_due(connection, self.name))
        work = Round(self._route, self._store, client, batch)
        self._extended = started
        client.before_call = lambda: self._extend(batch)
        with traces.span(
            "round",
            signals=[one.signal_id for one in batch.taken] if traces.active is not None else (),
            destination=self.name,
            deliveries=len(batch.taken),
        ):
            self._run(work, client, batch)
        client.pace = noted(client.pace, most, len(batch.taken), started)
        client.keep_pace()
        ledger = work.ledger
        if ledger.refused:
            log.warning(
                "late results ignored: the claim had passed to another worker",
                destination=self.name,
                refused=ledger.refused,
            )
        paused = client.pace.paused(self._clock())
        return StepResult(
            claimed=len(batch.taken),
            settled=ledger.settled,
            refused=ledger.refused,
            calls=client.made,
            wait_until=client.pace.paused_until if paused else 0,
            reason=client.pace.reason if paused else "",
        )

    def hurry(self) -> None:
        """Nothing waits for more to be sent with it: for a command that works the queue off."""
        self._gathering = None

    def _gather(self, client: DestinationClient, now: int) -> tuple[int, int]:
        """(longest wait in milliseconds, until when what is due waits for more to be sent with it; 0: it goes now)."""
        if self._gathering is None or client.pace.size or client.pace.probing():
            return 0, 0
        most = self._gathering.longest(client.budget(now).left, client.spent_by_hour(), now)
        return most, self._gathering.waits_until(now, most, max(1, self._destination.capacity))

    def verify(self, now: datetime | None = None) -> bool:
        """A page of the verification that waits for this lane, if one does; True when there is more. `now` as in `step`.
        Raises StoreUnavailable."""
        self._now = millis(now) if now is not None else None
        client = self._calls()
        client.before_call = lambda: None
        more = self._verification.turn(client)
        client.keep_pace()
        return more

    def _verify_now_and_then(self) -> bool:
        """`verify`, but whether there is one is looked for every few seconds only."""
        if time.monotonic() < self._look_for_work:
            return False
        more = self.verify()
        ended = self._verification.ended
        if ended is not None:
            tell = log.warning if ended.amiss or ended.error else log.info
            tell("verified", destination=self.name, **ended.summary())
        self._look_for_work = 0.0 if more else time.monotonic() + self._idle
        return more

    def _run(self, work: Round, client: DestinationClient, batch: queue.ClaimedBatch) -> None:
        try:
            work.run()
        except StoreUnavailable:
            raise
        except Exception as bug:
            # A delivery that trips syncd must not stop the others: rounds shrink until it is alone, and then it is dead.
            log.exception("a round failed unexpectedly", destination=self.name, deliveries=len(batch.taken))
            client.pace = pacing.shrunk(client.pace, len(batch.taken))
            if len(batch.taken) == 1:
                work.ledger.poison(batch.taken[0], Reason("stumbled", cause=f"{type(bug).__name__}: {bug}"))
            work.ledger.close()

    def _clock(self) -> int:
        self.moved = time.monotonic()
        return self._now if self._now is not None else millis(self._read_clock())

    def _stopping(self) -> bool:
        return self._stop.is_set() or self._lost.is_set()

    def _calls(self) -> DestinationClient:
        if self._client is None:
            self._client = DestinationClient(
                self.name,
                self._destination,
                self._store,
                quota=self._quota,
                random=self._random,
                clock=self._clock,
                stopping=self._stopping,
                pace=self.pace(),
                meter=self._meter,
            )
        return self._client

    def pace(self) -> Pace:
        """How the lane is doing, as it was last written down."""
        with self._store.read() as connection:
            return read_pace(pace_of(connection, self.name))

    def _claim(self, client: DestinationClient, now: int) -> queue.ClaimedBatch:
        limit = max(1, self._destination.capacity)
        if client.pace.size:
            limit = min(limit, client.pace.size)
        if client.pace.probing():
            limit = min(limit, PROBE)
        return self._store.apply(
            lambda connection: queue.claim(connection, self.name, limit=limit, now=now, until=now + CLAIM_FOR)
        )

    def _extend(self, batch: queue.ClaimedBatch) -> None:
        now = self._clock()
        if now - self._extended < CLAIM_FOR // 3:
            return
        self._extended, until = now, now + CLAIM_FOR
        self._store.apply(lambda connection: queue.extend(connection, batch, until))

    # ---------------------------------------------------------------------------------------------------- as a thread

    def start(self) -> None:
        """Runs the lane in a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self.run, name=f"lane {self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something new may be due."""
        self._wake.set()

    def on_signed_in(self) -> None:
        """The operator has fixed what it may have stopped for (signed in): it is tried at once. From any thread."""
        self._mended.set()
        self._wake.set()

    def ask_to_stop(self) -> None:
        """No further call leaves; see `stop`."""
        self._stop.set()
        self._wake.set()

    @property
    def trouble(self) -> str:
        """Why nothing is being sent now, "" when all is well."""
        if self._store_trouble:
            return self._store_trouble
        pace = self._client.pace if self._client is not None else self.pace()
        return pace.reason if pace.paused(millis(self._read_clock())) else ""

    def stop(self, timeout: float | None = None) -> bool:
        """Lets the call in flight end, settles it, gives everything back; True when that was done within `timeout` s."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        self.close()
        return True

    def close(self) -> None:
        """Ends the threads of calls. The destination itself is its owner's to close."""
        if self._client is not None:
            self._client.close()

    def run(self) -> None:
        """Owns the lane whenever its lease can be had, until `stop`."""
        while not self._stop.is_set():
            try:
                claim = self._store.leases.acquire(f"lane:{self.name}", self._lease)
                if claim is None:
                    self._pause(self._idle)
                    continue
                with self._store.leases.heartbeat(claim) as beat:
                    self._lost = beat.lost
                    self.take_over()
                    self._store_trouble = ""
                    while not self._stopping():
                        self._mind_the_clock()
                        if self._mended.is_set():
                            self._mended.clear()
                            self.resume()
                        wait = self._wait(self.step())
                        self._pause(0.0 if self._verify_now_and_then() else wait)
            except StoreUnavailable as reason:
                self._store_trouble = str(reason)
                log.error("the store is unavailable; the lane waits", destination=self.name, reason=str(reason))
                self._pause(5.0)
            except Exception:
                log.exception("the lane failed unexpectedly; restarting it", destination=self.name)
                self._pause(5.0)
        self.close()

    def _mind_the_clock(self) -> None:
        by = round(self._jumps.step_seconds() * 1000)
        if by:
            now, client = millis(self._read_clock()), self._calls()
            log.warning("the system clock was changed", destination=self.name, seconds=by / 1000)
            self._store.apply(
                lambda connection: move_times(connection, self.name, by, now, doubt=self._route.policy.doubt)
            )
            client.pace = pacing.moved(client.pace, by, now)
            client.keep_pace()
            self._set_back_to = now if by < 0 else 0
        elif self._set_back_to:
            now = millis(self._read_clock())
            self._store.apply(lambda connection: due_at_once(connection, self.name, now))
            if now - self._set_back_to > LATECOMERS:
                self._set_back_to = 0

    def take_over(self) -> None:
        """A new owner's first step: frees the former one's claims, and forgets pauses whose cause a reload may have fixed."""
        self.close()
        self._client = None
        now = self._clock()

        def free(connection: Connection) -> None:
            queue.unclaim(connection, self.name)
            drop_rejected(connection, self.name)

        self._store.apply(free)
        client = self._calls()
        if client.pace.stopped or client.pace.held:
            self.resume(now)

    def resume(self, now: int | None = None) -> None:
        """After a reload: what was misconfigured is tried at once, held deliveries are due."""
        client = self._calls()
        client.pace = pacing.resumed(client.pace)
        client.keep_pace()
        due = now if now is not None else self._clock()
        self._store.apply(lambda connection: queue.release_held(connection, self.name, due))
        self._wake.set()

    def _wait(self, done: StepResult) -> float:
        if done.wait_until == 0:
            return 0.0
        if done.wait_until is None:
            return self._idle
        return min(max((done.wait_until - self._clock()) / 1000, 0.001), self._idle)

    def _pause(self, seconds: float) -> None:
        self.moved = time.monotonic()
        if seconds > 0 and not self._stop.is_set():
            self._wake.wait(seconds)
            self._wake.clear()


def read_pace(document: bytes) -> Pace:
    """A pace as it was written down; a document that an older or newer syncd wrote otherwise is a fresh start."""
    if not document:
        return Pace()
    try:
        return msgspec.json.decode(document, type=Pace)
    except msgspec.DecodeError as error:
        log.warning("cannot read the lane's saved pace; starting with a fresh one", reason=str(error))
        return Pace()


def moment(at: int) -> datetime:
    """UTC milliseconds as an aware datetime."""
    return datetime.fromtimestamp(at / 1000, UTC)


__all__ = ["Lane", "StepResult", "moment", "read_pace"]
