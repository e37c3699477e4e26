"""A source's history, or a file, as a job: read batch by batch, each committed with how far the job has come.

The daemon's job runner, `syncd backfill` and `syncd import` call it. Promise: killed at any instant, at most one batch is read
again and nothing is doubled; a dry run touches nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import orjson
import structlog
from msgspec import structs
from sqlalchemy import select

from syncd.connector import Backfillable, Batch
from syncd.errors import Ambiguous, Failure, QuotaExhausted, RateLimited, Transient
from syncd.intake.admit import Policy, admit
from syncd.intake.counts import Counts
from syncd.intake.former_ids import with_former_ids
from syncd.intake.polls import setback
from syncd.runtime.crashpoints import point
from syncd.signals import Route
from syncd.store import Store
from syncd.store.jobs import OPEN, REPORTED, Job, Recalled, asked_for
from syncd.store.journal.entries import Fence, FenceLost, JobStep, JournalEntry, StoreUnavailable
from syncd.store.leases import TERM, Claim
from syncd.store.schema import signals, tombstones

log = structlog.get_logger(__name__)

KIND = "backfill"
LEASE = TERM
LONGEST_WAIT = timedelta(minutes=5)  # longer, and the job stops with what the vendor said; it resumes later
PAUSE = timedelta(seconds=30)
TRIES = 8
"""Failures in a row, nothing read between them, after which a job ends: about half an hour of growing pauses."""
PASSING = (Transient, Ambiguous, RateLimited, QuotaExhausted)
"""What gets better by waiting; reading again does no harm, so a lost answer costs nothing but time."""
_IN_CHUNK = 500


@dataclass(frozen=True, slots=True)
class BackfillProgress(Recalled):
    """How far a backfill has come. `position`: the time of the latest event read, ISO 8601. `waits`: until when it waits,
    and for what; empty while it reads. `repeats`: of signals that we had; `counted`: those of them that a signal now counts."""

    batches: int = 0
    read: int = 0
    new: int = 0
    repeats: int = 0
    counted: int = 0
    off: int = 0
    quarantined: int = 0
    position: str = ""
    error: str = ""
    waits: str = ""

    def after(self, batch: Batch, entry: JournalEntry) -> Self:
        """With one more batch read; new and repeats are known only after the commit."""
        times = [signal.occurred_at for signal in batch.signals]
        return replace(
            self,
            batches=self.batches + 1,
            read=self.read + len(batch.signals),
            off=self.off + sum(entry.off.values()),
            quarantined=self.quarantined + len(entry.quarantined),
            position=max(times).isoformat() if times else self.position,
            error="",
            waits="",
        )

    def counting(self, new: int, repeats: int, counted: int = 0) -> Self:
        return replace(self, new=self.new + new, repeats=self.repeats + repeats, counted=self.counted + counted)

    def of_known(self) -> str:
        """ "3 known, 2 counted": what was read and is not new, for a user. An event that was counted changes its signal."""
        return f"{self.repeats - self.counted:,} known" + (f", {self.counted:,} counted" if self.counted else "")

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Range:
    """since <= occurred_at < until."""

    since: datetime
    until: datetime

    @classmethod
    def of(cls, args: dict[str, Any]) -> Range:
        return cls(datetime.fromisoformat(args["since"]), datetime.fromisoformat(args["until"]))

    def covers(self, other: Range) -> bool:
        return self.since <= other.since and other.until <= self.until

    def args(self) -> dict[str, str]:
        return {"since": self.since.astimezone(UTC).isoformat(), "until": self.until.astimezone(UTC).isoformat()}


Told = Callable[[BackfillProgress], None]
Pause = Callable[[threading.Event, float], object]


Reader = Callable[[bytes | None], Any]
"""The batches from a cursor on (None: from the beginning), closable."""


def open_job(
    store: Store, source: str, wanted: Range, *, asked: Mapping[str, str] | None = None, restart: bool = False
) -> Job:
    """The job of this backfill; see `open_same`. `asked`: the range in the words of the command line. They identify the
    job, not the moments, which move with the clock; a job that is resumed keeps the moments it began with."""
    args = asked_for(wanted.args(), asked)
    return open_same(store, KIND, source, args if asked is None else {**args, REPORTED: False}, restart=restart)


def open_same(store: Store, kind: str, subject: str, args: Mapping[str, Any], *, restart: bool = False) -> Job:
    """The job that does this: an unfinished one resumes (from the beginning with `restart`), else a new one. It waits for
    whoever claims it, unless it is `done`: then only its report and the delivery are left."""
    job = store.jobs.same(kind, subject, args)
    if job is None or (restart and job.state == "done"):
        return store.jobs.create(kind, subject, args)
    if job.state == "done":
        return job
    if restart or job.state not in OPEN:
        store.jobs.resume(job.id, restart=restart, args=args)
    return store.jobs.get(job.id) or job


def run_backfill(
    job: Job,
    claim: Claim,
    source: Backfillable,
    store: Store,
    policy: Callable[[], Policy],
    *,
    stop: threading.Event | None = None,
    told: Told = lambda progress: None,
    counts: Counts | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Pause = lambda stop, seconds: stop.wait(seconds),
    leave_open: bool = False,
) -> BackfillProgress:
    """Does a claimed job to its end and settles its state: done, failed (with the reason in `progress.error`) or, when
    `stop` is set or a command stopped the job, stopped (waiting again with `leave_open`: a daemon that ends leaves the job
    to the next). After a kill the counts of the last batch may be missing, never its signals. Raises StoreUnavailable:
    the job stays `running`, and whoever claims it next takes it over.
    """
    wanted = Range.of(job.args)
    reading = JobInput(job.subject, Route.BACKFILL, lambda cursor: batches_of(source, wanted, cursor))
    run = _BackfillRun(
        job,
        claim,
        reading,
        store,
        policy,
        stop or threading.Event(),
        told,
        counts or Counts(),
        clock,
        pause,
        leave_open,
    )
    with store.leases.heartbeat(claim) as beat:
        return run.to_its_end(beat.lost)


@dataclass(frozen=True, slots=True)
class JobInput:
    """What a job of the intake reads: under which name and route its signals come, and how it resumes from a cursor.
    `misfits` False: what is wrong is only counted in the progress, and not kept in quarantine."""

    name: str
    route: Route
    read: Reader
    progress: type[BackfillProgress] = BackfillProgress
    misfits: bool = True

    def admit(self, batch: Batch, policy: Policy, now: datetime) -> JournalEntry:
        kept = batch if self.misfits else replace(batch, misfits=())
        return admit(replace(kept, state=None), self.name, self.route, policy, now)


def run_reading(
    job: Job,
    claim: Claim,
    reading: JobInput,
    store: Store,
    policy: Policy,
    *,
    stop: threading.Event,
    told: Told = lambda progress: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BackfillProgress:
    """`run_backfill` of anything that can be read, without waiting for another worker."""
    unpaused: Pause = lambda stop, seconds: None  # noqa: E731
    run = _BackfillRun(job, claim, reading, store, lambda: policy, stop, told, Counts(), clock, unpaused, False, 1)
    with store.leases.heartbeat(claim) as beat:
        return run.to_its_end(beat.lost)


@dataclass
class _BackfillRun:
    job: Job
    claim: Claim
    reading: JobInput
    store: Store
    policy: Callable[[], Policy]
    stop: threading.Event
    told: Told
    counts: Counts
    clock: Callable[[], datetime]
    pause: Pause
    leave_open: bool
    retried: int = TRIES

    def __post_init__(self) -> None:
        self.progress = self.reading.progress.of(self.job.progress)
        self.cursor = self.job.cursor
        self.failures = 0

    def to_its_end(self, lost: threading.Event) -> BackfillProgress:
        try:
            while True:
                try:
                    state = self._read_on(lost)
                    break
                except PASSING as error:
                    self._wait_for(error)
                    if self.stop.is_set():
                        state = self._stopped()
                        break
                    if self._stopped_by_somebody():
                        state = "stopped"
                        break
        except FenceLost:
            log.warning(f"{self.job.kind} aborted: lease lost to another worker", source=self.job.subject)
            return self.progress
        except StoreUnavailable:
            raise
        except Failure as error:
            return self._end("failed", _told(error))
        except Exception as error:
            log.error(f"{self.job.kind} failed: a bug in the connector", source=self.job.subject, exc_info=True)
            return self._end("failed", f"bug in the connector: {error!r}")
        return self._end(state)

    def _read_on(self, lost: threading.Event) -> str:
        """Reads from the cursor to the end; the state the job ends in."""
        name, fence = self.reading.name, Fence(self.claim.lease, self.claim.claim)
        with closing(self.reading.read(self.cursor)) as batches:
            for batch in batches:
                point("after_fetch")
                if lost.is_set():
                    raise FenceLost(fence.lease)
                entry = self.reading.admit(with_former_ids(batch, self.store), self.policy(), self.clock())
                progress = self.progress.after(batch, entry)
                committed = self.store.journal.commit(
                    structs.replace(entry, fence=fence, job=JobStep(self.job.id, batch.state, _text(progress)))
                )
                self.counts.committed(name, committed)
                if batch.state is not None and batch.state != self.cursor:
                    self.cursor, self.failures = batch.state, 0
                self.progress = progress.counting(len(committed.new), committed.known, committed.merged)
                self.told(self.progress)
                if self.stop.is_set():
                    return self._stopped()
                if self._stopped_by_somebody():
                    return "stopped"
        return "done"

    def _stopped(self) -> str:
        return "waiting" if self.leave_open else "stopped"

    def _stopped_by_somebody(self) -> bool:
        now = self.store.jobs.get(self.job.id)
        return now is None or now.state == "stopped"

    def _wait_for(self, error: Failure) -> None:
        """Sits out a pause, and says so. Only the job itself waits. Raises Failure when it is not worth a wait any more."""
        now = self.clock()
        wait = wait_for(error, self.failures, now, self.retried)
        self.failures += 1
        until = (now + wait).isoformat(timespec="seconds")
        self.progress = replace(self.progress, waits=f"until {until}: {_told(error)}")
        if not self.store.jobs.step(self.job.id, self.claim, progress=self.progress.document()):
            raise FenceLost(self.claim.lease)
        self.told(self.progress)
        log.info(f"{self.job.kind} pauses", source=self.job.subject, seconds=wait.total_seconds(), why=_told(error))
        self.pause(self.stop, wait.total_seconds())

    def _end(self, state: str, error: str = "") -> BackfillProgress:
        self.progress = replace(self.progress, error=error, waits="")
        self.store.jobs.finish(self.job.id, self.claim, state, progress=self.progress.document())
        self.told(self.progress)
        if error:
            log.warning(f"{self.job.kind} failed", source=self.job.subject, why=error)
        return self.progress


def wait_for(error: Failure, failures: int, now: datetime, tries: int = TRIES) -> timedelta:
    """How long a job waits before it resumes from its cursor: what the vendor asks for, and never less than a pause that
    grows with the `failures` in a row before this one, up to LONGEST_WAIT. Raises Failure for what is too long or was tried
    `tries` times; so the job ends, and is resumed. Pure."""
    told = rest_of(error, now) if isinstance(error, RateLimited | QuotaExhausted) else timedelta(0)
    if failures + 1 >= tries:
        raise error if tries == 1 else Failure(f"{_told(error)}; {tries} tries in a row, and it did not get better")
    growing = min(setback(Transient(), failures, now).pause, LONGEST_WAIT)
    return told if told > timedelta(0) and not failures else max(told, growing)


def _told(error: Failure) -> str:
    """With its class in front, but for what the job itself says."""
    return str(error) if type(error) is Failure else f"{type(error).__name__}: {error}"


def rest_of(error: RateLimited | QuotaExhausted, now: datetime) -> timedelta:
    """How long a job sits out what the vendor asks for. Raises Failure for what is too long: the job ends, and is resumed."""
    if isinstance(error, RateLimited):
        wait = PAUSE if error.retry_after is None else timedelta(seconds=max(error.retry_after, 0))
    else:
        wait = timedelta(hours=1) if error.resets_at is None else error.resets_at - now
    if wait > LONGEST_WAIT:
        raise Failure(f"{error}; continue after {(now + wait).isoformat(timespec='seconds')}") from error
    return wait


def dry_run(
    name: str,
    source: Backfillable,
    store: Store,
    policy: Policy,
    wanted: Range,
    *,
    stop: threading.Event | None = None,
    told: Told = lambda progress: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BackfillProgress:
    """What a backfill would do, counted; reads the vendor and the store, writes nothing. Raises the source's Failures."""
    reading = JobInput(name, Route.BACKFILL, lambda cursor: batches_of(source, wanted, cursor))
    return dry_reading(reading, store, policy, stop=stop, told=told, clock=clock)


def dry_reading(
    reading: JobInput,
    store: Store,
    policy: Policy,
    *,
    stop: threading.Event | None = None,
    told: Told = lambda progress: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BackfillProgress:
    """`dry_run` of anything that can be read."""
    progress = reading.progress()
    seen: set[str] = set()
    with closing(reading.read(None)) as batches:
        for batch in batches:
            entry = reading.admit(with_former_ids(batch, store), policy, clock())
            ids = [str(arrival.signal.id) for arrival in entry.arrivals]
            fresh = set(ids) - seen - known_ids(store, ids)
            seen |= fresh
            progress = progress.after(batch, entry).counting(len(fresh), len(ids) - len(fresh))
            told(progress)
            if stop is not None and stop.is_set():
                break
    return progress


def batches_of(source: Backfillable, wanted: Range, cursor: bytes | None) -> Any:
    """The batches of a range, to be closed by whoever reads them."""
    found: Iterator[Batch] = iter(source.backfill(wanted.since, wanted.until, cursor))
    return found if hasattr(found, "close") else _closable(found)


def _closable(found: Iterator[Batch]) -> Iterator[Batch]:
    yield from found


def known_ids(store: Store, ids: Sequence[str]) -> set[str]:
    """Those of these signals that the store has, or remembers."""
    found: set[str] = set()
    with store.read() as connection:
        for start in range(0, len(ids), _IN_CHUNK):
            chunk = ids[start : start + _IN_CHUNK]
            for table in (signals, tombstones):
                found.update(connection.execute(select(table.c.id).where(table.c.id.in_(chunk))).scalars())
    return found


def _text(progress: BackfillProgress) -> str:
    return orjson.dumps(progress.document()).decode()
