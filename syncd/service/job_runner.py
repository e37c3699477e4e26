"""Backfills and verifications of sources as durable jobs: a running daemon does them, a command alone does them itself.

`JobRunner` is the daemon's side; verifications of destinations are their lanes'. Promise: a job is done once, by whoever holds
its lease, and a backfill resumes where it was stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from syncd import registry
from syncd.connector import Backfillable
from syncd.intake.admit import Policy
from syncd.intake.backfill import KIND, LEASE, BackfillProgress, run_backfill
from syncd.intake.intake import Intake
from syncd.intake.overlapping_backfills import is_covered
from syncd.intake.verification import Compared, compare_source
from syncd.store import Store
from syncd.store.jobs import Job
from syncd.store.leases import Claim, Heartbeat
from syncd.store.verifications import SOURCE_KIND

log = structlog.get_logger(__name__)

PRESENCE = "daemon:"
"""A running daemon holds a lease of this prefix: commands leave their jobs to it."""
PRESENT_FOR = timedelta(seconds=30)


def daemon_runs(store: Store) -> bool:
    """Whether some daemon on this store is alive."""
    return bool(store.leases.holders(PRESENCE))


def show_presence(store: Store) -> Heartbeat | None:
    """Takes this process's lease of presence; enter the heartbeat while the daemon runs."""
    claim = store.leases.acquire(PRESENCE + store.holder, PRESENT_FOR)
    return store.leases.heartbeat(claim) if claim is not None else None


class JobRunner:
    """Does the waiting jobs of the store, one at a time. Runs on the intake's schedule."""

    def __init__(
        self, store: Store, intake: Intake, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._intake = intake
        self._clock = clock

    def work(self, stop: threading.Event) -> datetime | None:
        """Does what waits, until nothing does or `stop` is set."""
        while not stop.is_set():
            claimed = self._store.jobs.claim(LEASE, kinds=(KIND, SOURCE_KIND))
            if claimed is None:
                return None
            job, claim = claimed
            if job.kind == KIND and job.progress and is_covered(self._store, job):  # its worker was killed long ago
                self._store.jobs.finish(job.id, claim, "stopped")
                self._store.leases.release(claim)
                log.info("job given up: another one covers its range", job=job.id, kind=job.kind, source=job.subject)
                continue
            log.info("job begins", job=job.id, kind=job.kind, source=job.subject)
            progress = perform(
                job,
                claim,
                self._intake.sources,
                self._intake.types,
                self._store,
                lambda: self._intake.policy,
                stop=stop,
                clock=self._clock,
                leave_open=True,
            )
            log.info("job ends", job=job.id, kind=job.kind, source=job.subject, **_summary(progress))
        return None


def _summary(progress: BackfillProgress | Compared) -> dict[str, Any]:
    return progress.summary() if isinstance(progress, Compared) else progress.document()


def perform(
    job: Job,
    claim: Claim,
    sources: Mapping[str, Any],
    types: Mapping[str, str],
    store: Store,
    policy: Callable[[], Policy],
    *,
    stop: threading.Event,
    told: Callable[[Any], None] = lambda progress: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    leave_open: bool = False,
) -> BackfillProgress | Compared:
    """Does one claimed job of a source to its end. `types`: the connector behind each source. A source that is gone or cannot
    look back fails it with a clear line."""
    source = sources.get(job.subject)
    if not isinstance(source, Backfillable):
        why = "is not configured any more" if source is None else "cannot fetch the past"
        error = f"source {job.subject} {why}"
        failed = Compared(error=error) if job.kind == SOURCE_KIND else BackfillProgress(error=error)
        store.jobs.finish(job.id, claim, "failed", progress=failed.document())
        store.leases.release(claim)
        return failed
    if job.kind == SOURCE_KIND:
        specs = registry.load("source", types[job.subject]).signals
        return compare_source(
            job, claim, source, specs, store, policy, stop=stop, told=told, clock=clock, leave_open=leave_open
        )
    return run_backfill(job, claim, source, store, policy, stop=stop, told=told, clock=clock, leave_open=leave_open)
