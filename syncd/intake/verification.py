"""A source against the store, over a range: read as a backfill would read it, and compared, without taking anything in.

The daemon's job runner and `syncd verify` call it. Promise: what is switched off or excluded is not missing; ids are held in a
temporary file, so memory stays flat however long the range; nothing is changed. A killed run begins again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import structlog
from sqlalchemy import select

from syncd.connector import Backfillable, SignalSpec
from syncd.errors import Failure, QuotaExhausted, RateLimited
from syncd.intake.admit import Policy, admit
from syncd.intake.backfill import Pause, Range, batches_of, known_ids, rest_of
from syncd.intake.former_ids import with_former_ids
from syncd.signals import Route
from syncd.store import Store
from syncd.store.engine import millis
from syncd.store.jobs import Findings, Job, asked_for
from syncd.store.journal.entries import NewSignal, StoreUnavailable
from syncd.store.leases import Claim
from syncd.store.schema import signals
from syncd.store.verifications import SOURCE_KIND, forget_older, open_or_resume

log = structlog.get_logger(__name__)

PAGE = 500
MOST_SHOWN = 500
"""Findings that are kept one by one; the rest is counted."""
MISSING, EXTRA = "missing", "extra"


@dataclass(frozen=True, slots=True)
class Compared(Findings):
    """How far it has come. `read`: signals the source shows; `off`: filtered by switches and `exclude`; `amiss`: wanted, and
    neither in the store nor remembered there; `mended`: fetched by a backfill since. `extra`: in the store, and the source does
    not show them (any more): no fault by itself. `position`: the time of the latest event read."""

    read: int = 0
    off: int = 0
    amiss: int = 0
    mended: int = 0
    extra: int = 0
    position: str = ""
    findings: Sequence[Mapping[str, Any]] = field(default=())
    error: str = ""


Told = Callable[[Compared], None]


class _Seen:
    """The signals a source shows, in a temporary file that is gone when it is closed. `doubt`: not known when they were
    read."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("")
        self._file.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, type TEXT, at TEXT, doubt INTEGER) WITHOUT ROWID")

    def close(self) -> None:
        self._file.close()

    def add(self, arrivals: Iterable[NewSignal], known: set[str]) -> None:
        rows = [
            (str(one.signal.id), one.signal.type, one.signal.occurred_at.isoformat(), str(one.signal.id) not in known)
            for one in arrivals
        ]
        self._file.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?)", rows)

    def doubtful(self) -> Iterator[list[tuple[str, str, str]]]:
        """(id, type, when it happened), in chunks."""
        after = ""
        while True:
            query = "SELECT id, type, at FROM seen WHERE doubt AND id > ? ORDER BY id LIMIT ?"
            chunk = self._file.execute(query, (after, PAGE)).fetchall()
            if not chunk:
                return
            yield chunk
            after = chunk[-1][0]

    def among(self, ids: Sequence[str]) -> set[str]:
        marks = ",".join("?" * len(ids))
        return {row[0] for row in self._file.execute(f"SELECT id FROM seen WHERE id IN ({marks})", ids)}  # noqa: S608


def compare_source(
    job: Job,
    claim: Claim,
    source: Backfillable,
    specs: Sequence[SignalSpec],
    store: Store,
    policy: Callable[[], Policy],
    *,
    stop: threading.Event | None = None,
    told: Told = lambda progress: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Pause = lambda stop, seconds: stop.wait(seconds),
    leave_open: bool = False,
) -> Compared:
    """Does a claimed job to its end and settles its state, as `run_backfill` does. Raises StoreUnavailable."""
    halt = stop or threading.Event()
    run = _VerificationRun(job.subject, Range.of(job.args), source, specs, store, policy, told, clock, pause, halt)
    with store.leases.heartbeat(claim) as beat, closing(_Seen()) as seen:
        state, progress = run.to_its_end(seen, lambda done: store.jobs.step(job.id, claim, progress=done.document()))
        if state == "stopped" and leave_open:
            state = "waiting"
        if not beat.lost.is_set():
            store.jobs.finish(job.id, claim, state, progress=progress.document())
            if state != "waiting":
                forget_older(store, job)
    told(progress)
    return progress


@dataclass
class _VerificationRun:
    name: str
    range: Range
    source: Backfillable
    specs: Sequence[SignalSpec]
    store: Store
    policy: Callable[[], Policy]
    told: Told
    clock: Callable[[], datetime]
    pause: Pause
    stop: threading.Event
    progress: Compared = field(default_factory=Compared)
    cursor: bytes | None = None

    def to_its_end(self, seen: _Seen, step: Callable[[Compared], bool]) -> tuple[str, Compared]:
        try:
            while not self._read(seen, step):
                if self.stop.is_set():
                    return "stopped", self.progress
            self._judge(seen)
        except StoreUnavailable:
            raise
        except Failure as error:
            return "failed", replace(self.progress, error=f"{type(error).__name__}: {error}")
        except Exception as error:
            log.error("verification failed: a bug in the connector", source=self.name, exc_info=True)
            return "failed", replace(self.progress, error=f"bug in the connector: {error!r}")
        return "done", self.progress

    def _read(self, seen: _Seen, step: Callable[[Compared], bool]) -> bool:
        """Reads on to the end; False when it was stopped, or has sat out a pause."""
        try:
            with closing(batches_of(self.source, self.range, self.cursor)) as batches:
                for batch in batches:
                    batch = with_former_ids(batch, self.store)
                    entry = admit(batch, self.name, Route.BACKFILL, self.policy(), self.clock())
                    seen.add(entry.arrivals, known_ids(self.store, [str(one.signal.id) for one in entry.arrivals]))
                    times = [one.occurred_at for one in batch.signals]
                    self.progress = replace(
                        self.progress,
                        read=self.progress.read + len(batch.signals),
                        off=self.progress.off + sum(entry.off.values()),
                        position=max(times).isoformat() if times else self.progress.position,
                    )
                    self.cursor = batch.state if batch.state is not None else self.cursor
                    step(self.progress)
                    self.told(self.progress)
                    if self.stop.is_set():
                        return False
        except (RateLimited, QuotaExhausted) as error:
            self.pause(self.stop, rest_of(error, self.clock()).total_seconds())
            return False
        return True

    def _judge(self, seen: _Seen) -> None:
        """What came in while we read is not missing."""
        findings: list[dict[str, Any]] = []
        amiss = extra = 0
        for chunk in seen.doubtful():
            known = known_ids(self.store, [id for id, _, _ in chunk])
            missing = [row for row in chunk if row[0] not in known]
            amiss += len(missing)
            findings += [_finding(MISSING, *row) for row in missing[: MOST_SHOWN - len(findings)]]
        for page in self._stored():
            shown = seen.among([id for id, _, _ in page])
            gone = [row for row in page if row[0] not in shown]
            extra += len(gone)
            findings += [_finding(EXTRA, *row) for row in gone[: max(0, MOST_SHOWN - len(findings))]]
        self.progress = replace(self.progress, amiss=amiss, extra=extra, findings=findings)

    def _stored(self) -> Iterator[list[tuple[str, str, str]]]:
        """The signals of this source in the range that it can show again, in chunks."""
        patterns = [spec.type for spec in self.specs if spec.backfill]
        after = ""
        columns = (signals.c.id, signals.c.type, signals.c.occurred_at)
        since, until = millis(self.range.since), millis(self.range.until)
        within = (signals.c.source == self.name, signals.c.occurred_at >= since, signals.c.occurred_at < until)
        while True:
            query = select(*columns).where(*within, signals.c.id > after).order_by(signals.c.id).limit(PAGE)
            with self.store.read() as connection:
                page = connection.execute(query).all()
            if not page:
                return
            yield [
                (row.id, row.type, datetime.fromtimestamp(row.occurred_at / 1000, UTC).isoformat())
                for row in page
                if any(fnmatchcase(row.type, pattern) for pattern in patterns)
            ]
            after = page[-1].id


def _finding(verdict: str, id: str, type: str, at: str) -> dict[str, Any]:
    return {"verdict": verdict, "signal_id": id, "type": type, "occurred_at": at}


def open_comparison(store: Store, source: str, wanted: Range, asked: Mapping[str, str] | None = None) -> Job:
    """The job of this comparison: an unfinished one of the same range (`asked`: in the words of the command line), else a
    new one. It waits for whoever claims it."""
    return open_or_resume(store, SOURCE_KIND, source, asked_for(wanted.args(), asked))
