"""Retention: settled signals older than the limit go, in small bites, and leave their id so that a late repeat is still known.

Bodies that stayed in quarantine so long go too, and who is who when it is not believed any more. The daemon calls `purge` now
and then; a lease sees to it that one does. Promise: the balance sheet balances before, between and after
the bites; what waits for an operator (dead, unconfirmed, held) or has work left is never purged.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from syncd.store.engine import PURGE_LOCK, millis
from syncd.store.leases import Claim, still_held
from syncd.store.schema import (
    anywhere,
    attempts,
    deliveries,
    identity_ties,
    jobs,
    leases,
    people,
    receipts,
    refusals,
    repeats,
    settled,
    signals,
    source_health,
    spending,
    tally,
    tombstones,
    writes,
)

if TYPE_CHECKING:
    from syncd.store.store import Store

BITE = 100
LEASE = timedelta(seconds=60)
SPENDING_KEPT = timedelta(hours=48)
PEOPLE_KEPT = timedelta(days=30)
"""Who is who is asked afresh after a week (`dispatch.people`): what is older only takes room."""
KEPT_STATES = ("dead", "unconfirmed")

Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Purged:
    signals: int = 0
    jobs: int = 0
    quarantined: int = 0
    people: int = 0


def purge(store: Store, before: datetime, *, bite: int = BITE) -> Purged | None:
    """Removes what was settled of the signals received before that; None when another process is at it. Raises
    StoreUnavailable; what was purged until then stays purged."""
    claim = store.leases.acquire("purge", LEASE)
    if claim is None:
        return None
    limit, count = millis(before), 0
    with store.leases.heartbeat(claim) as beat:
        place: Place | None = (0, "")
        while place is not None and not beat.lost.is_set():
            started = time.monotonic()
            place, done = store.apply(partial(_bite, store, claim, limit, place, bite))
            count += done
            beat.lost.wait(time.monotonic() - started)  # half of the time the database is everybody else's
        stale = millis(store.clock() - PEOPLE_KEPT)
        bodies = _in_bites(
            store, beat.lost, bite, receipts, receipts.c.id,
            and_(receipts.c.state == "quarantined", receipts.c.received_at < limit),
        )  # fmt: skip
        known = _in_bites(
            store, beat.lost, 10 * bite, people, tuple_(people.c.destination, people.c.identity),
            and_(people.c.state != "creating", people.c.checked_at < stale),
        )  # fmt: skip
        ended = store.apply(lambda connection: _rest(store, connection, limit))
    return Purged(count, ended, bodies, known)


def _in_bites(store: Store, lost: threading.Event, bite: int, table: Table, key: Any, old: ColumnElement[bool]) -> int:
    """Deletes what is old, a short transaction at a time; half of the time the database is everybody else's."""
    some = delete(table).where(key.in_(select(*(getattr(key, "clauses", None) or (key,))).where(old).limit(bite)), old)
    total, gone = 0, bite
    while gone >= bite and not lost.is_set():
        started = time.monotonic()
        gone = store.apply(lambda connection: connection.execute(some).rowcount)
        total += gone
        lost.wait(time.monotonic() - started)
    return total


def _bite(
    store: Store, claim: Claim, limit: int, after: Place, bite: int, connection: Connection
) -> tuple[Place | None, int]:
    """One transaction: (where to resume, how many went)."""
    if not still_held(store, connection, claim.lease, claim.claim):
        return None, 0
    if store.postgresql:  # the journal holds it shared: no repeat may come between the signal and its tombstone
        connection.execute(text(f"SELECT pg_advisory_xact_lock({PURGE_LOCK})"))
    seen = connection.execute(
        select(signals.c.received_at, signals.c.id)
        .where(signals.c.received_at < limit, tuple_(signals.c.received_at, signals.c.id) > after)
        .order_by(signals.c.received_at, signals.c.id)
        .limit(bite)
    ).all()
    if not seen:
        return None, 0
    among = signals.c.id.in_([row.id for row in seen])
    at_work = exists().where(deliveries.c.signal_id == signals.c.id)
    for_a_person = exists().where(and_(settled.c.signal_id == signals.c.id, settled.c.state.in_(KEPT_STATES)))
    gone = list(connection.execute(select(signals.c.id).where(among, ~at_work, ~for_a_person)).scalars())
    if gone:
        _remove(store, connection, gone)
    return (seen[-1].received_at, seen[-1].id), len(gone)


def _remove(store: Store, connection: Connection, ids: list[str]) -> None:
    counted = connection.execute(
        select(settled.c.destination, settled.c.channel, func.count())
        .where(settled.c.signal_id.in_(ids))
        .group_by(settled.c.destination, settled.c.channel)
        .order_by(settled.c.destination, settled.c.channel)
    )
    for destination, channel, count in counted.all():
        line = and_(tally.c.destination == destination, tally.c.channel == channel)
        connection.execute(update(tally).where(line).values(signals=tally.c.signals - count))
    connection.execute(delete(writes).where(writes.c.destination.in_(anywhere), writes.c.signal_id.in_(ids)))
    for table in (settled, attempts, repeats):
        connection.execute(delete(table).where(table.c.signal_id.in_(ids)))
    connection.execute(delete(signals).where(signals.c.id.in_(ids)))
    now = store.now()
    connection.execute(insert(tombstones), [{"id": id, "at": now} for id in ids])


def _rest(store: Store, connection: Connection, limit: int) -> int:
    old = store.now() - round(SPENDING_KEPT.total_seconds() * 1000)
    connection.execute(delete(spending).where(spending.c.hour < old))
    connection.execute(delete(refusals).where(refusals.c.at < old))
    connection.execute(delete(leases).where(leases.c.expires_at < min(limit, old)))
    connection.execute(delete(identity_ties).where(identity_ties.c.via != "operator", identity_ties.c.seen_at < limit))
    silent = and_(source_health.c.last_ok_at < limit, source_health.c.last_signal_at < limit)
    connection.execute(delete(source_health).where(silent, source_health.c.next_at < limit))
    ended = jobs.c.state.in_(("done", "failed", "stopped"))
    return connection.execute(delete(jobs).where(ended, jobs.c.updated_at < limit)).rowcount
