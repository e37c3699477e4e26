"""The queue of a destination: deliveries are claimed in batches, their writes recorded, and what is done leaves the hot table.

Only lanes (and, for dead letters and replay, commands) call it, inside their own `store.write()`. Every statement that
settles checks the claim: what a stalled worker brings late is refused, and counted. Times are UTC milliseconds.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection

from syncd.signals import Signal, decode_signal
from syncd.store.journal.encoding import plain
from syncd.texts.reasons import Reason, code_of, packed

UNFINISHED = ("pending", "sending", "doubt", "held")
"""States of a write that still has work, or waits."""
LONGEST_ID = 100
REPEATED = Reason("repeated")


class WriteRow(msgspec.Struct, frozen=True):
    """A row of `writes` without its delivery. `chosen`: JSON of what was decided for it beside the mapping, "" for nothing."""

    rule: str
    key: str
    object: str
    kind: str
    state: str = "pending"
    reason: str = ""
    crm_id: str = ""
    attempts: int = 0
    sent_at: int = 0
    due_at: int = 0
    stale_once: bool = False
    chosen: str = ""

    @property
    def finished(self) -> bool:
        return self.state not in UNFINISHED


WRITE_COLUMNS = (
    "rule, key, object, kind, state, reason, crm_id, attempts, sent_at, due_at, stale_once, chosen, code, parameters"
)


def write_row(values: Sequence[Any]) -> WriteRow:
    """A row from the values of WRITE_COLUMNS."""
    rule, key, object_, kind, state, text, crm_id, attempts, sent_at, due_at, stale_once, chosen, code, parameters = (
        values
    )
    reason = Reason.stored(text, code, parameters)
    return WriteRow(
        rule, key, object_, kind, state, reason, crm_id, attempts, sent_at, due_at, bool(stale_once), chosen
    )


class Attempt(msgspec.Struct, frozen=True):
    """A row of `attempts` without its destination."""

    signal_id: str
    rule: str
    at: int
    outcome: str
    code: str = ""
    message: str = ""


class Sibling(msgspec.Struct, frozen=True):
    """Another signal's write of the same record. `rank` orders them: when it happened, when it came, its id."""

    key: str
    signal_id: str
    state: str
    due_at: int
    sent_at: int
    crm_id: str
    rank: tuple[int, int, str]


@dataclass(slots=True)
class Taken:
    """A delivery that is ours for a while. `signal` None: it was purged or forgotten meanwhile. `repeated`: how often its signal
    was counted up since that was last taken into its records."""

    signal_id: str
    signal: Signal | None
    channel: str
    live: bool
    old: bool
    priority: int
    due_at: int
    created_at: int
    repeated: int = 0
    writes: dict[str, WriteRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """What one claim took, in the order in which it is to be worked on."""

    destination: str
    claim: str
    taken: tuple[Taken, ...]


class Ending(msgspec.Struct, frozen=True):
    """A delivery that is done: it moves to `settled`, unless its signal was counted up once more than `repeated`: then it is
    pending again."""

    signal_id: str
    channel: str
    state: str
    reason: str
    repeated: int = 0


class Release(msgspec.Struct, frozen=True):
    """A delivery that continues later: pending or held, until `due_at`. `repeated`: so often its signal was counted up, and its
    writes know."""

    signal_id: str
    state: str
    reason: str
    due_at: int
    repeated: int = 0


@dataclass(slots=True)
class Settlement:
    """What a lane has learnt and commits as one; `writes` by signal id."""

    writes: list[tuple[str, WriteRow]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.writes or self.attempts or self.endings or self.releases)


def sql(connection: Connection, text: str) -> str:
    """A statement written with `?`, in the spelling of this connection's driver."""
    return text.replace("?", "%s") if connection.dialect.name == "postgresql" else text


def among(connection: Connection, column: str, values: Iterable[str]) -> tuple[str, Any]:
    """(condition, its one parameter) for "column is one of values", however many they are."""
    if connection.dialect.name == "postgresql":
        return f"{column} = ANY(?)", list(values)
    return f"{column} IN (SELECT value FROM json_each(?))", json.dumps(list(values))  # noqa: S608  a name of ours


def _many(connection: Connection, text: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Runs a statement for all rows; how many rows of the table it touched."""
    return connection.exec_driver_sql(sql(connection, text), list(rows)).rowcount if rows else 0


# ---------------------------------------------------------------------------------------------------------- claiming

# MATERIALIZED: PostgreSQL may otherwise run the inner query once a row, and take more than the limit.
_TAKE = """
WITH due AS MATERIALIZED (
    SELECT signal_id FROM deliveries
    WHERE destination = ? AND state = ? AND priority = ? AND due_at <= ? AND (claim IS NULL OR claimed_until <= ?)
    ORDER BY due_at, created_at, signal_id LIMIT ? {lock})
UPDATE deliveries SET claim = ?, claimed_until = ?
WHERE destination = ? AND signal_id IN (SELECT signal_id FROM due)
RETURNING signal_id, channel, live, old, priority, due_at, created_at, repeated"""


def claim(connection: Connection, destination: str, *, limit: int, now: int, until: int) -> ClaimedBatch:
    """Takes up to `limit` due deliveries, live ones first, then the earliest due; they are ours `until` then."""
    mark = str(uuid.uuid4())
    lock = "FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    text = sql(connection, _TAKE.format(lock=lock))
    rows: list[Any] = []
    for priority in (0, 1):
        for state in ("pending", "held"):
            wanted = limit - len(rows)
            if wanted > 0:
                arguments = (destination, state, priority, now, now, wanted, mark, until, destination)
                rows.extend(connection.exec_driver_sql(text, arguments).all())
    taken = [Taken(row[0], None, row[1], bool(row[2]), bool(row[3]), *row[4:]) for row in rows]
    taken.sort(key=lambda one: (one.priority, one.due_at, one.created_at, one.signal_id))
    _load(connection, destination, taken)
    return ClaimedBatch(destination, mark, tuple(taken))


def _load(connection: Connection, destination: str, taken: list[Taken]) -> None:
    if not taken:
        return
    by_id = {one.signal_id: one for one in taken}
    where, ids = among(connection, "id", by_id)
    text = f"SELECT id, body FROM signals WHERE {where}"  # noqa: S608  no value is in the text
    for signal_id, body in connection.exec_driver_sql(sql(connection, text), (ids,)).all():
        by_id[signal_id].signal = decode_signal(body)
    where, ids = among(connection, "signal_id", by_id)
    text = f"""SELECT signal_id, {WRITE_COLUMNS} FROM writes
        WHERE destination = ? AND {where}"""  # noqa: S608
    for signal_id, *values in connection.exec_driver_sql(sql(connection, text), (destination, ids)).all():
        row = write_row(values)
        by_id[signal_id].writes[row.rule] = row


def extend(connection: Connection, batch: ClaimedBatch, until: int) -> int:
    """The heartbeat of a claim; how many deliveries are still ours."""
    where, ids = among(connection, "signal_id", owned(connection, batch, (one.signal_id for one in batch.taken)))
    text = f"UPDATE deliveries SET claimed_until = ? WHERE destination = ? AND claim = ? AND {where}"  # noqa: S608
    return connection.exec_driver_sql(sql(connection, text), (until, batch.destination, batch.claim, ids)).rowcount


def owned(connection: Connection, batch: ClaimedBatch, ids: Iterable[str]) -> dict[str, int]:
    """Those of the ids that this claim still holds, for the rest of the transaction, and how often each was `repeated`. They are
    locked in the order in which the journal locks them."""
    where, wanted = among(connection, "signal_id", ids)
    lock = " ORDER BY signal_id FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    text = f"SELECT signal_id, repeated FROM deliveries WHERE destination = ? AND claim = ? AND {where}{lock}"  # noqa: S608
    found = connection.exec_driver_sql(sql(connection, text), (batch.destination, batch.claim, wanted))
    return {row[0]: row[1] for row in found}


def unclaim(connection: Connection, destination: str) -> int:
    """Frees what a former owner of the lane had claimed; its late settlements are refused from now on."""
    text = "UPDATE deliveries SET claim = NULL, claimed_until = 0 WHERE destination = ? AND claim IS NOT NULL"
    return connection.exec_driver_sql(sql(connection, text), (destination,)).rowcount


def release_held(connection: Connection, destination: str, now: int) -> int:
    """Held deliveries are due now: after a reload."""
    text = "UPDATE deliveries SET due_at = ? WHERE destination = ? AND state = 'held' AND due_at > ?"
    return connection.exec_driver_sql(sql(connection, text), (now, destination, now)).rowcount


def next_due(connection: Connection, destination: str) -> int | None:
    """When the next unclaimed delivery is due; None when none waits."""
    found = [
        connection.exec_driver_sql(
            sql(
                connection,
                """SELECT due_at FROM deliveries WHERE destination = ? AND state = ? AND priority = ?
                ORDER BY due_at LIMIT 1""",
            ),
            (destination, state, priority),
        ).scalar()
        for state in ("pending", "held")
        for priority in (0, 1)
    ]
    times = [int(due) for due in found if due is not None]
    return min(times) if times else None


class DueDelivery(msgspec.Struct, frozen=True):
    """A delivery that is due: since when, whether it is live, and its signal's type."""

    due_at: int
    live: bool
    type: str


def due(connection: Connection, destination: str, *, now: int, limit: int) -> list[DueDelivery]:
    """Up to `limit` unclaimed deliveries that are due."""
    text = """SELECT d.due_at, d.live, s.type FROM deliveries d JOIN signals s ON s.id = d.signal_id
        WHERE d.destination = ? AND d.state = ? AND d.priority = ? AND d.due_at <= ?
            AND (d.claim IS NULL OR d.claimed_until <= ?)
        ORDER BY d.due_at LIMIT ?"""
    found: list[DueDelivery] = []
    for priority in (0, 1):
        for state in ("pending", "held"):
            arguments = (destination, state, priority, now, now, limit - len(found))
            if limit > len(found):
                rows = connection.exec_driver_sql(sql(connection, text), arguments).all()
                found += [DueDelivery(int(due_at), bool(live), type) for due_at, live, type in rows]
    return found


# ---------------------------------------------------------------------------------------------------------- settling

_WRITE = """
INSERT INTO writes (destination, signal_id, rule, key, object, kind, state, reason, crm_id, attempts, sent_at, due_at,
    stale_once, chosen, updated_at, code, parameters) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (destination, signal_id, rule) DO UPDATE SET key = excluded.key, object = excluded.object,
    kind = excluded.kind, state = excluded.state, reason = excluded.reason, crm_id = excluded.crm_id,
    attempts = excluded.attempts, sent_at = excluded.sent_at, due_at = excluded.due_at, stale_once = excluded.stale_once,
    chosen = excluded.chosen, updated_at = excluded.updated_at, code = excluded.code, parameters = excluded.parameters"""

_ATTEMPT = (
    "INSERT INTO attempts (destination, signal_id, rule, at, outcome, code, message) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

_END = """INSERT INTO settled (destination, signal_id, channel, state, reason, code, parameters, settled_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (destination, signal_id) DO UPDATE SET state = excluded.state, reason = excluded.reason, code = excluded.code,
    parameters = excluded.parameters, settled_at = excluded.settled_at"""

_GONE = "DELETE FROM deliveries WHERE destination = ? AND signal_id = ? AND claim = ?"

_RELEASE = """UPDATE deliveries SET state = ?, reason = ?, code = ?, parameters = ?, due_at = ?, repeated = repeated - ?,
    claim = NULL, claimed_until = 0 WHERE destination = ? AND signal_id = ? AND claim = ?"""


def settle(connection: Connection, batch: ClaimedBatch, what: Settlement, now: int) -> tuple[int, int]:
    """Commits what a lane learnt of the deliveries that are still its own: (how many have ended, how many were refused)."""
    touched = {signal_id for signal_id, _ in what.writes}
    touched.update(one.signal_id for one in what.endings)
    touched.update(one.signal_id for one in what.releases)
    if not touched:
        return 0, 0
    ours = owned(connection, batch, touched)
    to, by = batch.destination, batch.claim
    put_writes(connection, to, ((s, row) for s, row in what.writes if s in ours), now)
    _many(
        connection,
        _ATTEMPT,
        [
            (to, a.signal_id, a.rule, a.at, a.outcome, plain(a.code)[:200], plain(a.message))
            for a in what.attempts
            if a.signal_id in ours
        ],
    )
    ends = [one for one in what.endings if ours.get(one.signal_id) == one.repeated]
    counted_up = (one for one in what.endings if ours.get(one.signal_id, one.repeated) != one.repeated)
    again = [Release(one.signal_id, "pending", REPEATED, now, one.repeated) for one in counted_up]
    _many(connection, _GONE, [(to, one.signal_id, by) for one in ends])
    _many(connection, _END, [(to, e.signal_id, e.channel, e.state, *why(e.reason), now) for e in ends])
    _many(
        connection,
        _RELEASE,
        [
            (r.state, *why(r.reason), r.due_at, r.repeated, to, r.signal_id, by)
            for r in (*what.releases, *again)
            if r.signal_id in ours
        ],
    )
    return len(ends), len(touched) - len(ours)


def why(reason: str) -> tuple[str, str, str]:
    """The columns of a reason: its text, code and parameters."""
    return (plain(reason), code_of(reason), packed(reason)) if reason else ("", "", "")


def put_writes(connection: Connection, destination: str, rows: Iterable[tuple[str, WriteRow]], now: int) -> None:
    """Inserts or replaces rows of `writes`."""
    _many(
        connection,
        _WRITE,
        [
            (
                destination,
                signal_id,
                row.rule,
                row.key,
                row.object,
                row.kind,
                row.state,
                plain(row.reason) if row.reason else "",
                row.crm_id[:LONGEST_ID],
                row.attempts,
                row.sent_at,
                row.due_at,
                row.stale_once,
                plain(row.chosen) if row.chosen else "",
                now,
                code_of(row.reason) if row.reason else "",
                packed(row.reason) if row.reason else "",
            )
            for signal_id, row in rows
        ],
    )


# ---------------------------------------------------------------------------------------- other writes of a record

_SIBLINGS = """
SELECT w.key, w.signal_id, w.state, w.due_at, w.sent_at, w.crm_id, s.occurred_at, s.received_at
FROM writes w JOIN signals s ON s.id = w.signal_id
WHERE w.destination = ? AND {where} AND w.state IN ('pending', 'sending', 'doubt', 'held')"""

_LATEST = """
SELECT key, signal_id, state, due_at, sent_at, crm_id, occurred_at, received_at FROM (
    SELECT w.key, w.signal_id, w.state, w.due_at, w.sent_at, w.crm_id, s.occurred_at, s.received_at, ROW_NUMBER() OVER (
        PARTITION BY w.key ORDER BY s.occurred_at DESC, s.received_at DESC, w.signal_id DESC) AS place
    FROM writes w JOIN signals s ON s.id = w.signal_id
    WHERE w.destination = ? AND {where} AND w.state = 'written') ranked
WHERE place = 1"""


def siblings(connection: Connection, destination: str, keys: Iterable[str]) -> list[Sibling]:
    """The unfinished writes of these records, and of each the latest that was written."""
    where, wanted = among(connection, "w.key", keys)
    found: list[Sibling] = []
    for text in (_SIBLINGS, _LATEST):
        rows = connection.exec_driver_sql(sql(connection, text.format(where=where)), (destination, wanted))
        found.extend(Sibling(row[0], row[1], row[2], row[3], row[4], row[5], (row[6], row[7], row[1])) for row in rows)
    return found
