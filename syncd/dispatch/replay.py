"""Stored signals mapped again: after a mapping was corrected, or for a destination that came later.

`syncd replay` calls it, beside a running daemon or without one; the lane does the writing. Promise: the balance
sheet stays balanced, the past does not call for action, and what is there already is updated, not doubled.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, tuple_, update

from syncd.dispatch.dead_letters import BITE, reopen
from syncd.dispatch.plan import PEOPLE_CREATE
from syncd.store import queries
from syncd.store.jobs import Job, Recalled
from syncd.store.lanes import drop_rejected
from syncd.store.leases import Claim
from syncd.store.schema import deliveries, settled, signals, tally, writes
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.queries import Filter
    from syncd.store.store import Store

T = TypeVar("T")


KIND = "replay"


@dataclass(frozen=True, slots=True)
class Replayed(Recalled):
    """What a replay does or, as a dry run, would do. `busy`: they are on their way already, or being worked on. `unwanted`:
    the destination does not ask for their type."""

    signals: int = 0
    again: int = 0
    new: int = 0
    busy: int = 0
    unwanted: int = 0

    def plus(self, step: Replayed) -> Replayed:
        return Replayed(*(getattr(self, each.name) + getattr(step, each.name) for each in fields(self)))


def run_replay(
    job: Job, claim: Claim, store: Store, wanted: Filter, *, only: Sequence[str] = ("*",), stop: threading.Event
) -> Replayed:
    """Does a claimed job of a replay (`replay`), from its cursor on. Afterwards it is done, and its caller delivers; or, when
    `stop` is set, stopped. Killed at any instant, at most one bite is mapped again. Raises StoreUnavailable."""
    total = Replayed.of(job.progress)
    found = _wanted(store, wanted, job.subject, only, _after(job.cursor))
    total = replace(total, unwanted=total.unwanted + found.unwanted)
    with store.leases.heartbeat(claim) as beat:
        for bite in _bites(found.marks, BITE):
            if stop.is_set() or beat.lost.is_set():
                break
            total = total.plus(_replay_bite(store, job.subject, [id for _, id in bite], store.now()))
            store.jobs.step(job.id, claim, cursor=json.dumps(bite[-1]).encode(), progress=asdict(total))
        else:
            store.jobs.finish(job.id, claim, "done", progress=asdict(total))
            return total
        store.jobs.finish(job.id, claim, "stopped", progress={**asdict(total), "unwanted": 0})  # they are counted again
    return total


def replay(
    store: Store,
    wanted: Filter,
    destination: str,
    *,
    only: Sequence[str] = ("*",),
    dry_run: bool = False,
    now: int | None = None,
) -> Replayed:
    """Maps stored signals again: each becomes a delivery again, behind the live ones, looked up before it is written, and
    not calling for action. `again` had one already, `new` get their first (they came before the destination did).
    `only`: the patterns of types that the destination asks for; others stay as they are.

    What was written is written again under its id; what cannot be written twice (at most once) is left as it is. Raises
    StoreUnavailable; what was replayed until then stays so, and a repeat changes nothing more.
    """
    at = store.now() if now is None else now
    found = _wanted(store, wanted, destination, only)
    total = Replayed(unwanted=found.unwanted)
    for bite in _bites([id for _, id in found.marks], BITE):
        if dry_run:
            with store.read() as connection:
                step = _counted(connection, destination, bite)
        else:
            step = _replay_bite(store, destination, bite, at)
        total = total.plus(step)
    return total


@dataclass(frozen=True, slots=True)
class _Wanted:
    """(when it happened, id) of each signal, in this order; `unwanted`: left out, because the destination does not ask for
    their type."""

    marks: list[tuple[int, str]]
    unwanted: int


def _wanted(
    store: Store, wanted: Filter, destination: str, only: Sequence[str], after: tuple[int, str] | None = None
) -> _Wanted:
    query = queries.ids(replace(wanted, destination=destination if wanted.state else ""))
    query = query.add_columns(signals.c.type, signals.c.occurred_at)
    if after is not None:
        query = query.where(tuple_(signals.c.occurred_at, signals.c.id) > after)
    with store.read() as connection:
        found = connection.execute(query.order_by(signals.c.occurred_at, signals.c.id)).all()
    marks = [(row.occurred_at, row.id) for row in found if any(fnmatchcase(row.type, pattern) for pattern in only)]
    return _Wanted(marks, len(found) - len(marks))


def _after(cursor: bytes | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    occurred_at, id = json.loads(cursor)
    return int(occurred_at), str(id)


def _bites(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _counted(connection: Connection, destination: str, ids: Sequence[str]) -> Replayed:
    found = [
        connection.execute(
            select(func.count()).where(table.c.destination == destination, table.c.signal_id.in_(list(ids)))
        ).scalar_one()
        for table in (settled, deliveries)
    ]
    return Replayed(len(ids), found[0], len(ids) - sum(found), found[1])


def _replay_bite(store: Store, destination: str, ids: Sequence[str], now: int) -> Replayed:
    def work(connection: Connection) -> Replayed:
        counted = _counted(connection, destination, ids)
        mine = (writes.c.destination == destination) & writes.c.signal_id.in_(list(ids))
        idle = writes.c.signal_id.in_(
            select(settled.c.signal_id).where(settled.c.destination == destination, settled.c.signal_id.in_(list(ids)))
        )
        # What cannot be found again is never repeated by itself; records of people are made when they are needed.
        fixed = (writes.c.kind == "at_most_once") & writes.c.state.in_(("written", "unconfirmed"))
        connection.execute(
            update(writes)
            .where(mine, idle, ~fixed, writes.c.rule != PEOPLE_CREATE)
            .values(
                state="pending",
                reason="",
                code="",
                parameters="",
                attempts=0,
                due_at=now,
                stale_once=False,
                updated_at=now,
            )
        )
        refused = writes.c.state.in_(("dead", "skipped", "discarded")) & (writes.c.rule == PEOPLE_CREATE)
        connection.execute(delete(writes).where(mine, idle, refused))
        reopen(connection, destination, ids, now, live_within=None, priority=1, old=True)
        new = _first(store, connection, destination, ids, now)
        drop_rejected(connection, destination)
        return Replayed(len(ids), counted.again, new, counted.busy)

    return store.apply(work)


def _first(store: Store, connection: Connection, destination: str, ids: Sequence[str], now: int) -> int:
    """Deliveries for signals that never had one here; they count in the books from now on."""
    have = [
        select(table.c.signal_id).where(table.c.destination == destination, table.c.signal_id.in_(list(ids)))
        for table in (deliveries, settled)
    ]
    query = select(signals.c.id, signals.c.channel).where(
        signals.c.id.in_(list(ids)), signals.c.id.not_in(have[0]), signals.c.id.not_in(have[1])
    )
    rows = connection.execute(query).all()
    if not rows:
        return 0
    made = {"destination": destination, "state": "pending", "reason": "", "live": False, "old": True, "priority": 1}
    times = {"due_at": now, "created_at": now, "claimed_until": 0}
    connection.execute(
        insert(deliveries), [{"signal_id": row.id, "channel": row.channel, **made, **times} for row in rows]
    )
    for channel in sorted({row.channel for row in rows}):
        count = sum(row.channel == channel for row in rows)
        line = {"destination": destination, "channel": channel, "signals": count}
        connection.execute(upsert(store, tally, line, {"signals": tally.c.signals + count}))
    return len(rows)


def parked(store: Store, configured: Sequence[str]) -> dict[str, int]:
    """Deliveries that wait for destinations which are not configured any more; they continue when these come back."""
    query = select(deliveries.c.destination, func.count()).group_by(deliveries.c.destination)
    with store.read() as connection:
        rows = connection.execute(query.where(deliveries.c.destination.not_in(list(configured)))).all()
    return {row[0]: row[1] for row in rows}
