"""Open backfills whose range another backfill of the same source reads too: no range shall be read twice.

`syncd backfill` closes them when it opens its job, the job runner before it takes over one whose worker was killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncd.intake.backfill import KIND, LEASE, Range
from syncd.store.jobs import OPEN, Job

if TYPE_CHECKING:
    from syncd.store import Store


def close_covered(store: Store, job: Job, *, waiting: bool) -> list[Job]:
    """Stops the backfills of the same source whose range this one covers and which no worker holds: their worker was killed,
    and whoever finds them open would read the same range again. `waiting`: also those that no worker has started, when no
    daemon is there to do so. Returns those it stopped."""
    wanted, closed = Range.of(job.args), []
    for other in store.jobs.list(states=OPEN, kinds=(KIND,), limit=1000):
        if other.id == job.id or other.subject != job.subject or not (waiting or other.state == "running"):
            continue
        if not wanted.covers(Range.of(other.args)) or (claim := store.leases.acquire(other.lease, LEASE)) is None:
            continue
        progress = {**other.progress, "error": f"given up: the backfill {job.id} covers its range"}
        if store.jobs.finish(other.id, claim, "stopped", progress=progress):
            closed.append(other)
        store.leases.release(claim)
    return closed


def is_covered(store: Store, job: Job) -> bool:
    """Whether another open backfill of the same source reads the whole range of this one too; of two equal ones, the
    newer."""
    wanted, age = Range.of(job.args), (job.created_at, job.id)
    for other in store.jobs.list(states=OPEN, kinds=(KIND,), limit=1000):
        if other.id == job.id or other.subject != job.subject:
            continue
        theirs = Range.of(other.args)
        if theirs.covers(wanted) and (theirs != wanted or (other.created_at, other.id) > age):
            return True
    return False
