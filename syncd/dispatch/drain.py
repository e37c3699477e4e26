"""Works a destination's queue off, or a verification of it, without a daemon: for commands that are to end.

`syncd replay`, `dead retry`, `backfill` and `verify` call it when no daemon runs. It takes the lane's lease like a daemon would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import func, select

from syncd.dispatch.lane import LEASE, Lane
from syncd.dispatch.verification import VerificationProgress
from syncd.store.engine import millis
from syncd.store.jobs import OPEN, Job
from syncd.store.schema import deliveries, writes
from syncd.store.store import Store

LONGEST_WAIT = timedelta(minutes=5)
"""A lane that is paused for longer is not waited for by a command."""
LOOK_AGAIN = 1.0
SOON = 100
"""Milliseconds between two looks for what is due at any moment."""


@dataclass(frozen=True, slots=True)
class Drained:
    """`settled` deliveries have ended; `waiting` ones are left for later, `why` says what one of them, or all, wait for."""

    settled: int
    waiting: int
    why: str


def drain(lane: Lane, store: Store, stop: threading.Event | None = None) -> Drained | None:
    """Steps the lane until nothing is due now, or `stop` is set: the call under way is settled first. None when another
    worker owns the lane. What waits for later (a retry, a pause) is left to the next daemon, but for what a killed process
    was sending: it is sent again as soon as it may be, within LONGEST_WAIT. Raises StoreUnavailable."""
    claim = store.leases.acquire(f"lane:{lane.name}", LEASE)
    if claim is None:
        return None
    settled, stop = 0, stop or threading.Event()
    lane.hurry()
    try:
        with store.leases.heartbeat(claim) as beat:
            until = store.now() + round(LONGEST_WAIT.total_seconds() * 1000) if _interrupted(lane, store) else 0
            lane.take_over()
            while not beat.lost.is_set() and not stop.is_set():
                done = lane.step()
                settled += done.settled
                if not done.claimed:
                    due = _next_due(lane, store)
                    if due is None or due > until or lane.trouble:
                        break
                    stop.wait(max(due - store.now(), SOON) / 1000)
    finally:
        lane.close()
    query = select(func.count(), func.max(deliveries.c.reason)).where(deliveries.c.destination == lane.name)
    with store.read() as connection:
        waiting, why = connection.execute(query).one()
    return Drained(settled, waiting, lane.trouble or why or "")


def _interrupted(lane: Lane, store: Store) -> bool:
    """Whether a process was killed in the middle of a call: nobody else can be sending, the lane is ours."""
    query = select(writes.c.signal_id).where(
        writes.c.destination == lane.name, writes.c.state.in_(("sending", "doubt"))
    )
    with store.read() as connection:
        return connection.execute(query.limit(1)).first() is not None


def _next_due(lane: Lane, store: Store) -> int | None:
    query = select(func.min(deliveries.c.due_at)).where(
        deliveries.c.destination == lane.name, deliveries.c.state == "pending"
    )
    with store.read() as connection:
        due: int | None = connection.execute(query).scalar()
    return due


def verify_alone(
    lane: Lane, store: Store, job: Job, *, stop: threading.Event, told: Callable[[VerificationProgress], object]
) -> VerificationProgress | None:
    """Does the verification of a destination to its end; None when another worker owns the lane. Stopped, or when the lane is
    to rest for long, it leaves the job open and says why in `error`. Raises StoreUnavailable."""
    claim = store.leases.acquire(f"lane:{lane.name}", LEASE)
    if claim is None:
        return None
    try:
        with store.leases.heartbeat(claim) as beat:
            lane.take_over()
            while True:
                more = lane.verify()
                now = store.jobs.get(job.id)
                progress = (
                    VerificationProgress.of(now.progress)
                    if now is not None
                    else VerificationProgress(error="the job was removed")
                )
                told(progress)
                if now is None or now.state not in OPEN:
                    return progress
                why = "" if more else _rests(lane, store)
                if stop.is_set() or beat.lost.is_set():
                    why = "stopped"
                if why:
                    return replace(progress, error=why)
                if not more:
                    stop.wait(LOOK_AGAIN)
    finally:
        lane.close()


def _rests(lane: Lane, store: Store) -> str:
    """Why the lane rests for longer than a command waits, "" if it does not: what the CRM asks for is sat out for a while,
    calls that fail one after the other are not."""
    pace = lane.pace()
    long = pace.paused_until > millis(store.clock() + (timedelta(0) if pace.failures else LONGEST_WAIT))
    return f"{pace.reason}; try again later" if long else ""
