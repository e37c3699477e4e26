"""Works a destination's queue off without a daemon: for commands that are to end.

`syncd replay`, `dead retry` and `backfill` call it when no daemon runs. It takes the lane's lease like a daemon would.
"""

from __future__ import annotations

from syncd.dispatch.lane import LEASE, Lane
from syncd.store.store import Store


def drain(lane: Lane, store: Store) -> int | None:
    """Steps the lane until nothing is due now; how many deliveries were settled. None when somebody else owns the lane.
    What waits for later (a retry, a pause) is left to the next daemon. Raises StoreUnavailable."""
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
    return settled
