"""What needs a person: dead, unconfirmed and held writes are listed, retried, discarded.

The commands call it, beside a running daemon or without one. Promise: the balance sheet stays balanced; a delivery that a lane is
working on is left alone and counted as busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from syncd.dispatch.pacing import span
from syncd.dispatch.plan import delivery_state
from syncd.errors import UsageError
from syncd.signals import Route
from syncd.store import queries
from syncd.store.lanes import drop_rejected, drop_unknown
from syncd.store.queue import WRITE_COLUMNS, WriteRow, put_writes, why, write_row
from syncd.store.schema import anywhere, deliveries, repeats, settled, signals, writes
from syncd.texts.reasons import Reason

if TYPE_CHECKING:
    from datetime import timedelta

    from syncd.store.queries import Filter
    from syncd.store.store import Store

NEEDS_A_PERSON = ("dead", "unconfirmed", "held")
BITE = 500
"""Deliveries changed in one transaction: a lane and the journal want the database too."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One write that needs a person. Times are UTC milliseconds."""

    destination: str
    signal_id: str
    rule: str
    object: str
    key: str
    state: str
    reason: str
    code: str
    parameters: str
    crm_id: str
    attempts: int
    updated_at: int
    type: str
    identity: str
    occurred_at: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command did: writes and deliveries changed; `busy`: deliveries that a lane was just working on."""

    writes: int = 0
    deliveries: int = 0
    busy: int = 0


def letters(
    store: Store,
    wanted: Filter,
    *,
    states: Sequence[str] = ("dead",),
    limit: int | None = 100,
) -> list[Letter]:
    """The newest first. `wanted.state` is not looked at: `states` are those of the writes."""
    query = (
        select(
            writes.c.destination,
            writes.c.signal_id,
            writes.c.rule,
            writes.c.object,
            writes.c.key,
            writes.c.state,
            writes.c.reason,
            writes.c.code,
            writes.c.parameters,
            writes.c.crm_id,
            writes.c.attempts,
            writes.c.updated_at,
            signals.c.type,
            signals.c.identity,
            signals.c.occurred_at,
        )
        .join(signals, signals.c.id == writes.c.signal_id)
        .where(_at(wanted), writes.c.state.in_(list(states)), writes.c.signal_id.in_(_ids(wanted)))
        .order_by(writes.c.updated_at.desc(), writes.c.signal_id, writes.c.rule)
    )
    with store.read() as connection:
        return [Letter(**row) for row in connection.execute(query.limit(limit)).mappings()]


def _at(wanted: Filter) -> Any:
    return writes.c.destination == wanted.destination if wanted.destination else writes.c.destination.in_(anywhere)


def _ids(wanted: Filter) -> Any:
    return queries.ids(replace(wanted, state="", destination=""))


def retry(
    store: Store, wanted: Filter, *, states: Sequence[str] = ("dead",), live_within: timedelta, now: int | None = None
) -> Changed:
    """Tries these writes again at once, with all their tries. An unconfirmed one that can be looked up is looked up first;
    people whom the CRM refused or did not know are asked for again. The past stays quiet: a signal is live as it was at first."""
    at = store.now() if now is None else now
    _check(states)

    def again(row: WriteRow) -> WriteRow | None:
        if row.state not in states:
            return None
        doubtful = row.state == "unconfirmed" and row.kind == "findable"
        state = "doubt" if doubtful else "pending"
        return msgspec.structs.replace(row, state=state, reason="", attempts=0, due_at=at, stale_once=False)

    changed = Changed()
    for destination, ids in _chosen(store, wanted, states):
        changed = _plus(changed, rework(store, destination, ids, again, at, span(live_within), retried=True))
    return changed


def discard(store: Store, wanted: Filter, *, states: Sequence[str] = ("dead",), now: int | None = None) -> Changed:
    """Discards these writes permanently; the balance sheet counts them as discarded."""
    at = store.now() if now is None else now
    _check(states)

    def up(row: WriteRow) -> WriteRow | None:
        if row.state not in states:
            return None
        return msgspec.structs.replace(
            row, state="discarded", reason=Reason("discarded", state=row.state, cause=row.reason), due_at=0
        )

    changed = Changed()
    for destination, ids in _chosen(store, wanted, states):
        changed = _plus(changed, rework(store, destination, ids, up, at, 0))
    return changed


def _check(states: Sequence[str]) -> None:
    for state in states:
        if state not in NEEDS_A_PERSON:
            raise UsageError(f"--state {state!r}: there are {', '.join(NEEDS_A_PERSON)}")


def _plus(one: Changed, other: Changed) -> Changed:
    return Changed(one.writes + other.writes, one.deliveries + other.deliveries, one.busy + other.busy)


def _chosen(store: Store, wanted: Filter, states: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(destination, ids of its deliveries with such a write), in bites; decided before anything changes."""
    query = select(writes.c.destination, writes.c.signal_id).distinct()
    query = query.where(_at(wanted), writes.c.state.in_(list(states)), writes.c.signal_id.in_(_ids(wanted)))
    with store.read() as connection:
        rows = connection.execute(query.order_by(writes.c.destination, writes.c.signal_id)).all()
    for destination in sorted({row.destination for row in rows}):
        ids = [row.signal_id for row in rows if row.destination == destination]
        for start in range(0, len(ids), BITE):
            yield destination, ids[start : start + BITE]


def rework(
    store: Store,
    destination: str,
    ids: Sequence[str],
    change: Callable[[WriteRow], WriteRow | None],
    now: int,
    live_within: int,
    *,
    retried: bool = False,
    old: bool = False,
) -> Changed:
    """Changes writes of settled or waiting deliveries, and puts each delivery where its writes belong. `retried`: people
    whom the CRM refused are asked for again, and those of these deliveries who had no record; where a signal counts several
    events, the other records of its delivery are updated too, for they missed what was counted meanwhile.
    `old`: what is opened is looked up before it is written, behind what is live."""

    def work(connection: Connection) -> Changed:
        if (
            retried
        ):  # locked before any delivery, as `count_repeats` does: an event is seen here, or sees what is reopened here
            in_order = select(signals.c.id).where(signals.c.id.in_(list(ids))).order_by(signals.c.id)
            connection.execute(in_order.with_for_update()).all()
        busy, waiting = busy_among(connection, destination, ids, now)
        rows: dict[str, dict[str, WriteRow]] = {}
        columns = [writes.c[name] for name in WRITE_COLUMNS.split(", ")]
        query = select(writes.c.signal_id, *columns).where(
            writes.c.destination == destination, writes.c.signal_id.in_(list(ids))
        )
        for signal_id, *values in connection.execute(query):
            if signal_id not in busy:
                row = write_row(values)
                rows.setdefault(signal_id, {})[row.rule] = row
        put: list[tuple[str, WriteRow]] = []
        for signal_id, theirs in rows.items():
            for row in list(theirs.values()):
                changed = change(row)
                if changed is not None:
                    theirs[row.rule] = changed
                    put.append((signal_id, changed))
        put_writes(connection, destination, put, now)
        touched = {signal_id for signal_id, _ in put}
        place(connection, destination, {s: rows[s] for s in touched}, waiting, now, live_within, old)
        if retried:
            _repeat_counted(connection, destination, sorted(touched - waiting))
            drop_rejected(connection, destination)
            whose = select(signals.c.identity).where(signals.c.id.in_(sorted(touched)), signals.c.identity != "")
            drop_unknown(connection, destination, sorted(set(connection.execute(whose).scalars())))
        return Changed(len(put), len(touched), len(busy))

    return store.apply(work)


def _repeat_counted(connection: Connection, destination: str, ids: Sequence[str]) -> None:
    """Marks those of these reopened deliveries whose signals count several events: their lane plans every rule again. Nothing
    says when an event was counted, so records that show the count already are updated once more."""
    several = select(repeats.c.signal_id).where(repeats.c.signal_id.in_(list(ids)))
    several = several.group_by(repeats.c.signal_id).having(func.count() > 1)
    here = (deliveries.c.destination == destination) & deliveries.c.signal_id.in_(several)
    connection.execute(update(deliveries).where(here).values(repeated=1))


def busy_among(connection: Connection, destination: str, ids: Sequence[str], now: int) -> tuple[set[str], set[str]]:
    """(deliveries a lane is working on, deliveries that wait and are now locked by us)."""
    query = select(deliveries.c.signal_id, deliveries.c.claim, deliveries.c.claimed_until).where(
        deliveries.c.destination == destination, deliveries.c.signal_id.in_(list(ids))
    )
    rows = connection.execute(query.with_for_update()).all()
    busy = {row.signal_id for row in rows if row.claim is not None and row.claimed_until > now}
    return busy, {row.signal_id for row in rows} - busy


def place(
    connection: Connection,
    destination: str,
    rows: dict[str, dict[str, WriteRow]],
    waiting: set[str],
    now: int,
    live_within: int,
    old: bool,
) -> None:
    """Settled or pending, as their writes have it now."""
    closed = [s for s, theirs in rows.items() if any(not row.finished for row in theirs.values()) and s not in waiting]
    reopen(connection, destination, closed, now, live_within=live_within, priority=int(old), old=old)
    for signal_id, theirs in rows.items():
        here = (deliveries.c.destination == destination) & (deliveries.c.signal_id == signal_id)
        if any(not row.finished for row in theirs.values()):
            if signal_id in waiting:
                connection.execute(update(deliveries).where(here).values(state="pending", due_at=now, claim=None))
            continue
        state, reason = delivery_state(theirs.values())
        text, code, parameters = why(reason)
        values = {"state": state, "reason": text, "code": code, "parameters": parameters, "settled_at": now}
        if signal_id in waiting:
            channel = connection.execute(select(deliveries.c.channel).where(here)).scalar_one()
            connection.execute(delete(deliveries).where(here))
            row = {"destination": destination, "signal_id": signal_id, "channel": channel, **values}
            connection.execute(insert(settled), [row])
        else:
            there = (settled.c.destination == destination) & (settled.c.signal_id == signal_id)
            connection.execute(update(settled).where(there).values(**values))


def reopen(
    connection: Connection,
    destination: str,
    ids: Sequence[str],
    now: int,
    *,
    live_within: int | None,
    priority: int,
    old: bool,
) -> int:
    """Settled deliveries are pending again, inside the caller's transaction; how many.

    `live_within` None: as the past, which does not call for action."""
    if not ids:
        return 0
    there = (settled.c.destination == destination) & settled.c.signal_id.in_(list(ids))
    columns = (signals.c.id, signals.c.channel, signals.c.route, signals.c.occurred_at, signals.c.received_at)
    query = select(*columns).join(settled, settled.c.signal_id == signals.c.id).where(there)
    found = connection.execute(query.order_by(signals.c.occurred_at, signals.c.id)).all()
    if not found:
        return 0
    gone = (settled.c.destination == destination) & settled.c.signal_id.in_([row.id for row in found])
    connection.execute(delete(settled).where(gone))
    connection.execute(
        insert(deliveries),
        [
            {
                "destination": destination,
                "signal_id": row.id,
                "channel": row.channel,
                "state": "pending",
                "reason": "",
                "live": live_within is not None
                and row.route in (Route.WEBHOOK, Route.POLL)
                and row.received_at - row.occurred_at <= live_within,
                "old": old,
                "priority": priority,
                "due_at": now,
                "created_at": now,
                "claimed_until": 0,
            }
            for row in found
        ],
    )
    return len(found)
