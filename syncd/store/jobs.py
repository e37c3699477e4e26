"""Jobs in the store: backfill, import, replay, verify. Durable, resumable, done by whoever holds their lease.

`syncd.service.job_runner` runs them, commands make and watch them. Progress of an intake job travels in the journal
(`JobStep`), with the signals it refers to; other jobs report through `step`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, insert, select, update

from syncd.store.engine import moment
from syncd.store.leases import Claim, Leases, still_held
from syncd.store.schema import jobs

if TYPE_CHECKING:
    from syncd.store.database import Database

OPEN = ("waiting", "running")
ASKED = "asked"
"""Key of a job's args: the request in the words of the command line, which do not change with the clock (`30d`, no end)."""
REPORTED = "reported"
"""Key of a job's args: False until the command that asked for the job has shown its end and delivered what it stored."""


class Recalled:
    """A dataclass that is a job's progress: made again of the document it was kept as; keys of another release are left out."""

    __slots__ = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in document.items() if name in known})


class Findings(Recalled):
    """A progress with `findings`, which are for the command that shows them and too many for a log."""

    __slots__ = ()

    def document(self) -> dict[str, Any]:
        kept: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return kept | {"findings": list(kept["findings"])}

    def summary(self) -> dict[str, Any]:
        """Without the findings: for the log."""
        return {name: value for name, value in self.document().items() if name != "findings"}


@dataclass(frozen=True, slots=True)
class Job:
    """`subject`: the source or destination. `state`: waiting, running, done, failed, stopped. `cursor`: where to resume."""

    id: str
    kind: str
    subject: str
    args: dict[str, Any]
    state: str
    progress: dict[str, Any]
    cursor: bytes | None
    created_at: datetime
    updated_at: datetime

    @property
    def lease(self) -> str:
        return f"job:{self.id}"


class Jobs:
    """The table of jobs. Everything raises StoreUnavailable."""

    def __init__(self, database: Database, leases: Leases) -> None:
        self._store = database
        self._leases = leases

    def create(self, kind: str, subject: str, args: Mapping[str, Any]) -> Job:
        """A new job, waiting. `args` must be JSON-able."""
        id, now = str(uuid.uuid4()), self._store.now()
        values = {"id": id, "kind": kind, "subject": subject, "args": _text(args), "state": "waiting", "progress": "{}"}
        statement = insert(jobs).values(**values, created_at=now, updated_at=now)
        self._store.apply(lambda connection: connection.execute(statement))
        made = self.get(id)
        assert made is not None
        return made

    def same(self, kind: str, subject: str, args: Mapping[str, Any]) -> Job | None:
        """The newest job with the same `request` that a command must resume: unfinished, failed or stopped, or done
        while its command was killed before it could report that (`REPORTED`)."""
        query = select(jobs).where(jobs.c.kind == kind, jobs.c.subject == subject).order_by(jobs.c.created_at.desc())
        wanted = _text(request(args))
        with self._store.read() as connection:
            for row in connection.execute(query):
                job = _job(row)
                if _text(request(job.args)) == wanted and (job.state != "done" or job.args.get(REPORTED) is False):
                    return job
        return None

    def get(self, id: str) -> Job | None:
        with self._store.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == id)).one_or_none()
        return None if row is None else _job(row)

    def list(self, *, states: Sequence[str] = (), kinds: Sequence[str] = (), limit: int = 100) -> list[Job]:
        """The newest first."""
        query = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
        if states:
            query = query.where(jobs.c.state.in_(list(states)))
        if kinds:
            query = query.where(jobs.c.kind.in_(list(kinds)))
        with self._store.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def claim(
        self, ttl: timedelta, *, kinds: Sequence[str] = (), id: str = "", subject: str = ""
    ) -> tuple[Job, Claim] | None:
        """Takes the oldest open job that no worker holds (or the job `id`, or one about `subject`): with its lease, as `running`.
        None: nothing to do. A running job whose worker died is taken over where it stood."""
        for job in reversed(self.list(states=OPEN, kinds=kinds, limit=1000)):
            if (id and job.id != id) or (subject and job.subject != subject):
                continue
            claim = self._leases.acquire(job.lease, ttl)
            if claim is None:
                continue
            if self._set(job.id, {"state": "running"}, claim=claim, among=OPEN):
                fresh = self.get(job.id)
                assert fresh is not None
                return fresh, claim
            self._leases.release(claim)  # finished or stopped between the two looks
        return None

    def step(self, job: str, claim: Claim, *, cursor: bytes | None = None, progress: Mapping[str, Any]) -> bool:
        """How far a job has come that commits nothing else. False when the lease is lost: stop."""
        values: dict[str, Any] = {"progress": _text(progress)}
        if cursor is not None:
            values["cursor"] = cursor
        return self._set(job, values, claim=claim)

    def finish(self, job: str, claim: Claim, state: str, *, progress: Mapping[str, Any] | None = None) -> bool:
        """`state`: done, failed, stopped. False when the lease was lost, or a command stopped the job meanwhile."""
        values: dict[str, Any] = {"state": state}
        if progress is not None:
            values["progress"] = _text(progress)
        return self._set(job, values, claim=claim, among=OPEN)

    def stop(self, job: str) -> bool:
        """Asks whoever does it to stop: the worker sees the state at its next step. False if it had ended already."""
        return self._set(job, {"state": "stopped"}, among=OPEN)

    def resume(self, job: str, *, restart: bool = False, args: Mapping[str, Any] | None = None) -> bool:
        """Makes a failed or stopped job wait again, where it stood or (`restart`) from the beginning: with `args`, if
        given, in place of those it began with."""
        values: dict[str, Any] = {"state": "waiting"}
        if restart:
            values |= {"cursor": None, "progress": "{}", **({} if args is None else {"args": _text(args)})}
        return self._set(job, values, among=("failed", "stopped", *OPEN))

    def extend(self, job: str, args: Mapping[str, Any]) -> bool:
        """Makes a done job wait again with new args, without a cursor; its counts continue. False if it is not done."""
        return self._set(job, {"state": "waiting", "cursor": None, "args": _text(args)}, among=("done",))

    def reported(self, job: str) -> None:
        """The command that asked for this done job has shown its result, and delivered: it is complete."""
        now = self.get(job)
        if now is not None and now.args.get(REPORTED) is False:
            self._set(job, {"args": _text({**now.args, REPORTED: True})}, among=("done",))

    def _set(
        self, job: str, values: Mapping[str, Any], *, claim: Claim | None = None, among: Sequence[str] = ()
    ) -> bool:
        statement = update(jobs).where(jobs.c.id == job).values(**values, updated_at=self._store.now())
        if among:
            statement = statement.where(jobs.c.state.in_(list(among)))

        def change(connection: Connection) -> bool:
            if claim is not None and not still_held(self._store, connection, claim.lease, claim.claim):
                return False
            return connection.execute(statement).rowcount == 1

        return self._store.apply(change)


def asked_for(args: Mapping[str, Any], asked: Mapping[str, str] | None) -> dict[str, Any]:
    """The args of a job that was asked for in these words; without words the args themselves identify it."""
    return {**args, **({} if asked is None else {ASKED: dict(asked)})}


def request(args: Mapping[str, Any]) -> Mapping[str, Any]:
    """What makes two jobs the same: the words they were asked for in; for a job without them, all of its args."""
    asked = args.get(ASKED)
    return asked if isinstance(asked, Mapping) else {name: value for name, value in args.items() if name != REPORTED}


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, default=str)  # ASCII: a NUL is an escape in it


def _job(row: Any) -> Job:
    return Job(
        row.id,
        row.kind,
        row.subject,
        json.loads(row.args),
        row.state,
        json.loads(row.progress or "{}"),
        None if row.cursor is None else bytes(row.cursor),
        moment(row.created_at),
        moment(row.updated_at),
    )
