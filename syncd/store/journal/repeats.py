"""Events that a stored signal counts: each is counted once, and what was written of the signal is to be written again.

`commit_group` calls `count_repeats` in its transaction, only where arrivals carry a `repeat`. Promise: count and time are those
of the rows in `repeats`, whatever the order and however many processes; a signal that was purged is not brought back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from syncd.signals import counted, decode_signal, encode
from syncd.store.engine import moment
from syncd.store.journal.encoding import NewSignalRows, RepeatRow
from syncd.store.schema import deliveries, repeats, settled, signals, writes

IN_CHUNK = 300
"""Three columns a row: fewer parameters than any SQLite takes."""

_REOPENED = {"state": "pending", "reason": "", "claimed_until": 0, "repeated": 1}

Place = tuple[str, str]


@dataclass(slots=True)
class CountedRepeats:
    """`events`: (signal id, event) of each event counted now. `destinations`: where deliveries have work again."""

    events: set[Place] = field(default_factory=set)
    destinations: set[str] = field(default_factory=set)


def count_repeats(connection: Connection, arrivals: Sequence[NewSignalRows], new: set[str]) -> CountedRepeats:
    """Counts the events of these arrivals into their signals. `arrivals`: all with a `repeat`, in the order in which they came;
    `new`: ids of the signals that this transaction stored."""
    rows = {row[:2]: row for arrival in arrivals if (row := arrival.repeat) is not None}
    known = _living(connection, {row.signal_id for row in rows.values()} - new) | new
    done = CountedRepeats(_insert(connection, [rows[key] for key in sorted(rows) if key[0] in known]))
    more = Counter(signal_id for signal_id, _ in done.events)
    changed = sorted(id for id, count in more.items() if id not in new or count > 1)
    for ids in _chunks(changed):
        _count(connection, ids)
    latest = {arrival.signal.id: arrival for arrival in arrivals}
    for ids in _chunks([id for id in changed if id not in new]):
        done.destinations |= _write_again(connection, ids, latest)
    return done


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + IN_CHUNK] for start in range(0, len(items), IN_CHUNK))


def _living(connection: Connection, ids: set[str]) -> set[str]:
    """Those of the ids whose signals are stored. The caller keeps the purge out."""
    found: set[str] = set()
    for some in _chunks(sorted(ids)):
        found.update(connection.execute(select(signals.c.id).where(signals.c.id.in_(some))).scalars())
    return found


def _insert(connection: Connection, rows: Sequence[RepeatRow]) -> set[Place]:
    """The events that were not counted before."""
    made = postgres_insert if connection.dialect.name == "postgresql" else sqlite_insert
    new: set[Place] = set()
    for some in _chunks(rows):
        statement = made(repeats).values([row._asdict() for row in some]).on_conflict_do_nothing()
        found = connection.execute(statement.returning(repeats.c.signal_id, repeats.c.event))
        new.update((row.signal_id, row.event) for row in found)
    return new


def _count(connection: Connection, ids: Sequence[str]) -> None:
    # Locked first, then counted: whoever counts last sees the events of all.
    locked = select(signals.c.id, signals.c.body).where(signals.c.id.in_(ids)).order_by(signals.c.id).with_for_update()
    bodies = {row.id: row.body for row in connection.execute(locked)}
    count = select(repeats.c.signal_id, func.count(), func.max(repeats.c.at)).where(repeats.c.signal_id.in_(bodies))
    found = connection.execute(count.group_by(repeats.c.signal_id)).all()
    connection.execute(
        update(signals).where(signals.c.id == bindparam("this")).values(body=bindparam("as_counted")),
        [
            {"this": id, "as_counted": encode(counted(decode_signal(bodies[id]), events, moment(last)))}
            for id, events, last in found
        ],
    )


def _write_again(connection: Connection, ids: Sequence[str], latest: Mapping[str, NewSignalRows]) -> set[str]:
    """Deliveries under way learn of it, those that are done are pending again. What waits for an operator stays."""
    waiting = deliveries.c.signal_id.in_(ids)
    # In the order in which lanes lock them, too.
    in_order = select(deliveries.c.signal_id).where(waiting).order_by(deliveries.c.signal_id, deliveries.c.destination)
    connection.execute(in_order.with_for_update()).all()
    connection.execute(update(deliveries).where(waiting).values(repeated=deliveries.c.repeated + 1))
    columns = (settled.c.signal_id, settled.c.destination, settled.c.channel)
    ended = select(*columns).where(settled.c.signal_id.in_(ids), _continues())
    rows = []
    for signal_id, destination, channel in connection.execute(ended.order_by(*columns[:2])):
        arrival = latest[signal_id]
        seed = next((one for one in arrival.seeds if one.destination == destination and not one.skipped), None)
        if seed is not None:  # its destination is configured, and asks for such signals
            at = arrival.signal.received_at
            start = {"live": seed.live, "old": seed.old, "priority": arrival.priority, "due_at": at, "created_at": at}
            key = {"signal_id": signal_id, "destination": destination, "channel": channel}
            rows.append({**key, **start, **_REOPENED})
    if not rows:
        return set()
    places = [(row["signal_id"], row["destination"]) for row in rows]
    connection.execute(delete(settled).where(tuple_(settled.c.signal_id, settled.c.destination).in_(places)))
    connection.execute(insert(deliveries), rows)
    return {str(row["destination"]) for row in rows}


def _continues() -> Any:
    """A delivery that is done, with a record to update or a rule whose condition may hold by now. What an operator discarded
    of it stays discarded, and does not stop the other rules."""
    here = (writes.c.destination == settled.c.destination) & (writes.c.signal_id == settled.c.signal_id)
    conditional = select(writes.c.rule).where(here, writes.c.code == "when").exists()
    written = select(writes.c.rule).where(here, writes.c.state == "written").exists()
    return (
        (settled.c.state == "delivered")
        | (settled.c.state.in_(["skipped", "discarded"]) & conditional)
        | ((settled.c.state == "discarded") & written)
    )
