"""What a verification reads of the store, and where its last result is kept: pages of records, results, of jobs.

`syncd.dispatch.verification` and `syncd.intake.verification` read here, `status` and `/metrics` show the results. A result
is the progress of the newest finished job of its kind and subject; older ones go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, update

from syncd.store.jobs import OPEN
from syncd.store.queue import among, sql
from syncd.store.schema import jobs

if TYPE_CHECKING:
    from syncd.store.jobs import Job
    from syncd.store.store import Store

SOURCE_KIND = "verify.source"
DESTINATION_KIND = "verify.destination"
KINDS = (SOURCE_KIND, DESTINATION_KIND)
ENDED = ("done", "failed", "stopped")
RESUMED_WITHIN = timedelta(hours=12)
"""A nightly verification that was killed is not resumed by the next night's."""

_KEYS = """
SELECT DISTINCT w.key FROM writes w JOIN signals s ON s.id = w.signal_id
WHERE w.destination = ? AND w.key > ? AND w.state IN ('written', 'unconfirmed', 'dead')
    AND s.occurred_at >= ? AND s.occurred_at < ?{source}
ORDER BY w.key LIMIT ?"""

_ROWS = """
SELECT w.key, w.signal_id, w.rule, w.object, w.state, w.crm_id, s.occurred_at, s.received_at, w.updated_at
FROM writes w JOIN signals s ON s.id = w.signal_id
WHERE w.destination = ? AND {where} AND w.state IN ('written', 'unconfirmed', 'dead', 'doubt', 'sending')"""


def keys(
    connection: Connection, destination: str, since: int, until: int, source: str, after: str, limit: int
) -> list[str]:
    """The next keys, in their order, of records that signals of this range (of this source, "" for all) have written there,
    or may have."""
    clause, more = (" AND s.source = ?", (source,)) if source else ("", ())
    text = sql(connection, _KEYS.format(source=clause))
    values = (destination, after, since, until, *more, limit)
    return [row[0] for row in connection.exec_driver_sql(text, values)]


def rows(connection: Connection, destination: str, wanted: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """All writes of these keys there, whenever their signals happened: (key, signal, rule, object, state, CRM id, when it
    happened, when it came, when the write was changed)."""
    where, values = among(connection, "w.key", wanted)
    for row in connection.exec_driver_sql(sql(connection, _ROWS.format(where=where)), (destination, values)):
        yield tuple(row)


# --------------------------------------------------------------------------------------------------------- last results


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """How the last verification of a source or destination ended. `amiss`: differences that are left; `error`: why it was
    not finished."""

    kind: str
    subject: str
    at: datetime
    amiss: int
    error: str
    args: dict[str, Any]
    progress: dict[str, Any]

    @property
    def role(self) -> str:
        return self.kind.partition(".")[2]


def last_results(store: Store) -> list[VerificationResult]:
    """The last one of each source and destination."""
    newest: dict[tuple[str, str], Job] = {}
    for job in store.jobs.list(kinds=KINDS, states=ENDED, limit=1000):
        known = newest.get((job.kind, job.subject))
        if known is None or job.updated_at > known.updated_at:
            newest[job.kind, job.subject] = job
    return [_result(newest[mark]) for mark in sorted(newest)]


def _result(job: Job) -> VerificationResult:
    left, error = int(job.progress.get("amiss", 0)), str(job.progress.get("error", ""))
    return VerificationResult(job.kind, job.subject, job.updated_at, left, error, job.args, job.progress)


def open_or_resume(store: Store, kind: str, subject: str, args: Mapping[str, Any]) -> Job:
    """The job of a verification that was asked for with these args (`asked_for`): one that was killed or stopped resumes
    where it stood, over the range that it began with. One from more than RESUMED_WITHIN ago is closed instead: what it
    found does not answer the question of today."""
    job = store.jobs.same(kind, subject, args)
    if job is not None and job.state != "failed":
        ends = (datetime.fromisoformat(str(each["until"])) for each in (args, job.args))
        if next(ends) - next(ends) <= RESUMED_WITHIN:
            if job.state == "stopped":
                store.jobs.resume(job.id)
            return store.jobs.get(job.id) or job
        store.jobs.stop(job.id)
    return store.jobs.create(kind, subject, args)


def close_abandoned(store: Store, job: Job) -> None:
    """Stops the open verifications of the same thing but this one; for a command that has found no daemon: no worker does
    them, and a later daemon would begin them again for no reader."""
    for other in store.jobs.list(states=OPEN, kinds=(job.kind,), limit=1000):
        if other.subject == job.subject and other.id != job.id and not store.leases.holder(other.lease):
            store.jobs.stop(other.id)


def forget_older(store: Store, job: Job) -> None:
    """Drops the finished verifications of the same thing but this one: a nightly timer fills no table."""
    mine = (jobs.c.kind == job.kind, jobs.c.subject == job.subject, jobs.c.state.in_(ENDED), jobs.c.id != job.id)
    store.apply(lambda connection: connection.execute(delete(jobs).where(*mine)))


def put_result(store: Store, job: str, progress: Mapping[str, Any]) -> None:
    """Updates a finished verification: what it found was fixed."""
    statement = update(jobs).where(jobs.c.id == job, jobs.c.state.in_(ENDED))
    text = json.dumps(dict(progress), default=str)
    store.apply(lambda connection: connection.execute(statement.values(progress=text)))
