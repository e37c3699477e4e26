"""Receipts: hints waiting to be fetched, and bodies in quarantine. The fetchers claim here, `syncd quarantine` looks here.

What a fetch found goes through the journal (`Entry.fetched` removes the receipt in the same commit). Promise: a claim belongs
to one worker until it ends; every change a worker makes checks its claim.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, delete, func, select, update

from syncd.store.engine import millis, moment
from syncd.store.journal.encoding import plain
from syncd.store.journal.entries import Fetched
from syncd.store.leases import now_of
from syncd.store.schema import receipts

if TYPE_CHECKING:
    from syncd.store.database import Database


@dataclass(frozen=True, slots=True)
class Due:
    """A receipt claimed for work. `kind`: "hint" (`payload` is the JSON of its data, `key` its key) or "body" (a quarantined
    payload to be tried again). `attempts` so far, all failed."""

    id: str
    source: str
    kind: str
    key: str
    payload: bytes
    received_at: datetime
    attempts: int
    version: int
    claim: str

    @property
    def fetched(self) -> Fetched:
        """What the entry that answers this receipt carries."""
        return Fetched(self.id, self.version, self.claim)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as `syncd quarantine` shows it. `not_before` None: due at once."""

    id: str
    source: str
    kind: str
    key: str
    state: str
    received_at: datetime
    not_before: datetime | None
    attempts: int
    error: str
    payload: bytes


class Receipts:
    """The table of receipts. Everything raises StoreUnavailable."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def claim(self, limit: int, ttl: timedelta, *, sources: Sequence[str] | None = None) -> list[Due]:
        """Up to `limit` receipts that are due (of these sources, None: of all), the longest due first, ours for `ttl`."""
        return self._store.apply(lambda connection: self._claim(connection, limit, ttl, sources))

    def _claim(self, connection: Connection, limit: int, ttl: timedelta, sources: Sequence[str] | None) -> list[Due]:
        now, claim = now_of(self._store), str(uuid.uuid4())
        query = (
            select(receipts)
            .where(receipts.c.state == "pending", receipts.c.not_before <= now, receipts.c.claimed_until <= now)
            .order_by(receipts.c.not_before, receipts.c.received_at)
            .limit(limit)
        )
        if sources is not None:
            query = query.where(receipts.c.source.in_(list(sources)))
        if self._store.postgresql:
            query = query.with_for_update(skip_locked=True)
        rows = connection.execute(query).all()
        if rows:
            mine = receipts.c.id.in_([row.id for row in rows])
            until = now + round(ttl.total_seconds() * 1000)
            connection.execute(update(receipts).where(mine).values(claim=claim, claimed_until=until))
        return [
            Due(r.id, r.source, r.kind, r.key, bytes(r.payload), moment(r.received_at), r.attempts, r.version, claim)
            for r in rows
        ]

    def renew(self, due: Due, ttl: timedelta) -> bool:
        """Another `ttl` from now for a slow fetch; False when the claim is gone."""
        return self._change(due, {"claimed_until": now_of(self._store) + round(ttl.total_seconds() * 1000)})

    def postpone(self, due: Due, at: datetime, *, error: str = "", code: str = "") -> bool:
        """Not yet, or not now (throttled): due again at `at`, and no attempt is counted. A hint merged meanwhile stays due
        at its own time. `code`: the failure class, lower-case. False when the claim is gone."""
        return self._give_back(due, at, {"error": plain(error), "code": code})

    def hurry(self, source: str, codes: Sequence[str]) -> int:
        """Makes what waits after failures of these classes due at once; how many."""
        waiting = receipts.c.code.in_(codes)
        where = (receipts.c.source == source, receipts.c.state == "pending", receipts.c.not_before > 0, waiting)
        statement = update(receipts).where(*where).values(not_before=0)
        return self._store.apply(lambda connection: connection.execute(statement).rowcount)

    def fail(self, due: Due, error: str, next_at: datetime, *, code: str = "") -> bool:
        """A failed attempt: due again at `next_at`."""
        values = {"error": plain(error), "code": code, "attempts": receipts.c.attempts + 1}
        return self._give_back(due, next_at, values)

    def quarantine(self, due: Due, error: str) -> bool:
        """It cannot be understood, or has failed too often: kept for an operator. A hint merged meanwhile is tried first."""
        values: dict[str, Any] = {"state": "quarantined", "error": plain(error), "attempts": receipts.c.attempts + 1}
        return self._change(due, {**values, **_FREE}, only_version=True) or self._change(due, _FREE)

    def _give_back(self, due: Due, at: datetime, values: dict[str, Any]) -> bool:
        """The time holds only for what was claimed: what was merged since is due when it says."""
        changed = self._change(due, {**values, **_FREE, "not_before": millis(at)}, only_version=True)
        return changed or self._change(due, {**values, **_FREE})

    def _change(self, due: Due, values: dict[str, Any], *, only_version: bool = False) -> bool:
        where = and_(receipts.c.id == due.id, receipts.c.claim == due.claim)
        if only_version:
            where = and_(where, receipts.c.version == due.version)
        statement = update(receipts).where(where).values(values)
        return self._store.apply(lambda connection: connection.execute(statement).rowcount == 1)

    # ------------------------------------------------------------------------------------------ for the operator

    def list(
        self, *, state: str = "quarantined", source: str = "", limit: int = 100, ids: Sequence[str] = ()
    ) -> list[Receipt]:
        """The newest first. `state` "" : any."""
        query = select(receipts).order_by(receipts.c.received_at.desc(), receipts.c.id).limit(limit)
        with self._store.read() as connection:
            return [_receipt(row) for row in connection.execute(query.where(*_filters(state, source, ids)))]

    def get(self, id: str) -> Receipt | None:
        """One receipt by its id."""
        with self._store.read() as connection:
            row = connection.execute(select(receipts).where(receipts.c.id == id)).one_or_none()
        return None if row is None else _receipt(row)

    def retry(self, *, ids: Sequence[str] = (), source: str = "") -> int:
        """Makes quarantined receipts due again (no ids: all, of the source if given); how many."""
        values = {"state": "pending", "attempts": 0, "not_before": 0, **_FREE}
        statement = update(receipts).where(*_filters("quarantined", source, ids)).values(values)
        return self._store.apply(lambda connection: connection.execute(statement).rowcount)

    def discard(self, *, ids: Sequence[str] = (), source: str = "") -> int:
        """Discards quarantined receipts permanently; how many."""
        statement = delete(receipts).where(*_filters("quarantined", source, ids))
        return self._store.apply(lambda connection: connection.execute(statement).rowcount)

    def counts(self) -> dict[tuple[str, str], int]:
        """(source, state) -> how many, for `status`."""
        query = select(receipts.c.source, receipts.c.state, func.count()).group_by(receipts.c.source, receipts.c.state)
        with self._store.read() as connection:
            return {(source, state): count for source, state, count in connection.execute(query)}

    def next_due(self) -> datetime | None:
        """When the earliest unclaimed hint is due; None when none waits."""
        free = receipts.c.claimed_until <= now_of(self._store)
        query = select(func.min(receipts.c.not_before)).where(receipts.c.state == "pending", free)
        with self._store.read() as connection:
            stamp = connection.execute(query).scalar()
        return None if stamp is None else moment(stamp)


_FREE: dict[str, Any] = {"claim": None, "claimed_until": 0}


def _filters(state: str, source: str, ids: Sequence[str]) -> list[Any]:
    where: list[Any] = []
    if state:
        where.append(receipts.c.state == state)
    if source:
        where.append(receipts.c.source == source)
    if ids:
        where.append(receipts.c.id.in_(list(ids)))
    return where


def _receipt(row: Any) -> Receipt:
    due = moment(row.not_before) if row.not_before else None
    at = moment(row.received_at)
    return Receipt(
        row.id, row.source, row.kind, row.key, row.state, at, due, row.attempts, row.error, bytes(row.payload)
    )
