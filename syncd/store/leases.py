"""Leases: one holder of a poll, a lane, a purge, a token refresh, at a time, over threads, processes and machines.

A claim is fenced: whatever is committed under it checks `Claim.claim` again (`Fence` in the journal, `still_held` elsewhere),
so a stalled holder's late work is refused. On PostgreSQL the server's clock decides, on SQLite the store's.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import ColumnElement, Connection, delete, literal_column, select, update

from syncd.runtime.process_id import is_dead
from syncd.store import engine as engines
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.schema import leases
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.database import Database

TERM = timedelta(seconds=float(os.environ.get("SYNCD_LEASE_SECONDS") or 60))
"""How long a silent holder keeps a poll, a job or a lane. The variable is for tests that stall processes on purpose."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease held. `claim` is what settling statements check."""

    lease: str
    holder: str
    claim: str
    ttl: timedelta


class Leases:
    """The lease table of one store."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self._left: set[str] = set()  # claims of ours that are over and could not be given back

    def acquire(self, name: str, ttl: timedelta, *, holder: str = "") -> Claim | None:
        """Takes the lease, or None while any process (this one included) holds it. Raises StoreUnavailable."""
        claim = Claim(name, holder or self._store.holder, str(uuid.uuid4()), ttl)
        return claim if self._store.apply(lambda connection: self._take(connection, claim)) else None

    def leave(self, claim: Claim) -> None:
        """For a holder that is done but could not `release` (the disk is full): this process may take the lease again at
        once, others when it has run out."""
        self._left.add(claim.claim)

    def _take(self, connection: Connection, claim: Claim) -> bool:
        now = now_of(self._store)
        values = {"holder": claim.holder, "claim": claim.claim, "expires_at": now + _millis(claim.ttl)}
        where = leases.c.name == claim.lease
        if connection.execute(update(leases).where(where, leases.c.expires_at <= now).values(values)).rowcount:
            return True
        row = connection.execute(select(leases.c.holder, leases.c.claim).where(where)).one_or_none()
        if row is None:
            made = upsert(self._store, leases, {"name": claim.lease, **values}, {}).returning(leases.c.claim)
            return connection.execute(made).first() is not None
        if row.claim in self._left or is_dead(row.holder):
            taken = connection.execute(update(leases).where(where, leases.c.claim == row.claim).values(values))
            return taken.rowcount == 1
        return False

    def renew(self, claim: Claim, ttl: timedelta | None = None) -> bool:
        """Another `ttl` from now; False when another worker has the lease or it has expired (then it is lost permanently)."""
        now = now_of(self._store)
        statement = (
            update(leases)
            .where(leases.c.name == claim.lease, leases.c.claim == claim.claim, leases.c.expires_at > now)
            .values(expires_at=now + _millis(ttl or claim.ttl))
        )
        return self._store.apply(lambda connection: connection.execute(statement).rowcount == 1)

    def release(self, claim: Claim) -> None:
        """Gives the lease back; nothing happens if it is not ours any more."""
        statement = delete(leases).where(leases.c.name == claim.lease, leases.c.claim == claim.claim)
        self._store.apply(lambda connection: connection.execute(statement))

    def holder(self, name: str) -> str:
        """Who holds it now, "" if it is free."""
        with self._store.read() as connection:
            return str(
                connection.execute(
                    select(leases.c.holder).where(leases.c.name == name, leases.c.expires_at > now_of(self._store))
                ).scalar()
                or ""
            )

    def holders(self, prefix: str) -> list[str]:
        """Who holds leases whose names begin with `prefix` now, processes that are surely gone left out."""
        query = select(leases.c.holder).where(
            leases.c.name.startswith(prefix, autoescape=True), leases.c.expires_at > now_of(self._store)
        )
        with self._store.read() as connection:
            return [holder for holder in connection.execute(query).scalars() if not is_dead(holder)]

    def heartbeat(self, claim: Claim) -> Heartbeat:
        """Keeps the claim while the `with` block runs; see `Heartbeat`."""
        return Heartbeat(self, claim)


def still_held(store: Database, connection: Connection, lease: str, claim: str) -> bool:
    """Whether this claim holds the lease, for the rest of this transaction: no other claim can take it before the commit."""
    query = select(leases.c.claim).where(
        leases.c.name == lease, leases.c.claim == claim, leases.c.expires_at > now_of(store)
    )
    if store.postgresql:
        query = query.with_for_update(read=True)
    return connection.execute(query).first() is not None


def now_of(store: Database) -> Any:
    """The time that leases and due rows are judged by: PostgreSQL's own (an SQL expression), else the store's clock."""
    column: ColumnElement[int] = literal_column(engines.DB_NOW)
    return column if store.postgresql else store.now()


def _millis(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


class Heartbeat:
    """Renews a claim in its own thread, and releases it at the end. `lost` is set when the lease is lost to another worker,
    or could not be renewed for its whole term: stop what you do, your commits are refused."""

    def __init__(self, leases: Leases, claim: Claim) -> None:
        self.claim = claim
        self.lost = threading.Event()
        self._leases = leases
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {claim.lease}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if not self.lost.is_set():
            try:
                self._leases.release(self.claim)
            except StoreUnavailable:
                self._leases.leave(self.claim)
                self.lost.set()

    def _beat(self) -> None:
        term = self.claim.ttl.total_seconds()
        good_until = time.monotonic() + term
        while not self._stop.wait(term / 3):
            asked = time.monotonic()
            try:
                held = self._leases.renew(self.claim)
            except StoreUnavailable:
                held = asked < good_until  # no other process can write either; judged again at the next beat
            else:
                good_until = asked + term
            if not held:
                self.lost.set()
                return
