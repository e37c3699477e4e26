"""Works a destination's queue off without a daemon: for commands that are to end.

`syncd replay`, `dead retry` and `backfill` call it when no daemon runs. It takes the lane's lease like a daemon would.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from syncd.dispatch.lane import LEASE, Lane
from syncd.store.schema import deliveries
from syncd.store.store import Store


@dataclass(frozen=True, slots=True)
class Drained:
    """`settled` deliveries have ended; `waiting` ones are left for later, `why` says what one of them, or all, wait for."""

    settled: int
    waiting: int
    why: str


def drain(lane: Lane, store: Store) -> Drained | None:
    """Steps the lane until nothing is due now. None when somebody else owns the lane. What waits for later (a retry, a
    pause) is left to the next daemon. Raises StoreUnavailable."""
    claim = store.leases.acquire(f"lane:{lane.name}", LEASE)
    if claim is None:
        return None
    settled = 0
    try:
        with store.leases.heartbeat(claim) as beat:
            lane.take_over()
            while not beat.lost.is_set():
                done = lane.step()
                settled += done.settled
                if not done.claimed:
                    break
    finally:
        lane.close()
    query = select(func.count(), func.max(deliveries.c.reason)).where(deliveries.c.destination == lane.name)
    with store.read() as connection:
        waiting, why = connection.execute(query).one()
    return Drained(settled, waiting, lane.trouble or why or "")
