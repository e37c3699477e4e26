"""How rows get into the two databases: the hot inserts in each driver's fastest way, the rare ones as plain upserts.

The journal's group commit writes through a `BulkWriter`. Statements run raw on the driver's connection, inside the
transaction that SQLAlchemy holds; rows come sorted, so that two daemons lock them in one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any, Protocol

from sqlalchemy import Connection

from syncd.store.engine import PURGE_LOCK
from syncd.store.journal.encoding import SignalRow

Rows = Sequence[tuple[Any, ...]]

HOT = {
    "deliveries": {
        "destination": "text",
        "signal_id": "text",
        "channel": "text",
        "state": "text",
        "reason": "text",
        "live": "bool",
        "old": "bool",
        "priority": "bigint",
        "due_at": "bigint",
        "created_at": "bigint",
        "claimed_until": "bigint",
    },
    "settled": {
        "destination": "text",
        "signal_id": "text",
        "channel": "text",
        "state": "text",
        "reason": "text",
        "code": "text",
        "settled_at": "bigint",
    },
}
"""Columns of the tables written for every new signal, with their types for PostgreSQL's unnest."""

_SIGNAL = dict(zip(SignalRow._fields, ("text",) * 5 + ("bigint",) * 2 + ("text", "bytea"), strict=True))

UPSERTS = {
    "tally": """INSERT INTO tally (destination, channel, signals) VALUES (?, ?, ?)
        ON CONFLICT (destination, channel) DO UPDATE SET signals = tally.signals + excluded.signals""",
    "switched_off": """INSERT INTO switched_off (source, type, reason, count) VALUES (?, ?, ?, ?)
        ON CONFLICT (source, type, reason) DO UPDATE SET count = switched_off.count + excluded.count""",
    "cursors": """INSERT INTO cursors (source, state, updated_at) VALUES (?, ?, ?)
        ON CONFLICT (source) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at""",
    "heard": """INSERT INTO source_health (source, last_ok_at, last_signal_at, failures, next_at, error)
            VALUES (?, 0, ?, 0, 0, '')
        ON CONFLICT (source) DO UPDATE SET
            last_signal_at = GREATEST(source_health.last_signal_at, excluded.last_signal_at)""",
    "remember": """INSERT INTO memory (source, key, value) VALUES (?, ?, ?)
        ON CONFLICT (source, key) DO UPDATE SET value = excluded.value""",
    "forget": "DELETE FROM memory WHERE source = ? AND key = ?",
    # The latest data, the earliest time; the version tells a fetch in flight that it has seen old data. A hint that had
    # failed permanently is tried again: something new happened.
    "hints": """INSERT INTO receipts (id, source, kind, key, payload, state, received_at, not_before, error,
            attempts, version, claimed_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)
        ON CONFLICT (source, kind, key) DO UPDATE SET payload = excluded.payload, version = receipts.version + 1,
            not_before = LEAST(receipts.not_before, excluded.not_before),
            attempts = CASE WHEN receipts.state = 'pending' THEN receipts.attempts ELSE 0 END,
            state = 'pending', error = ''""",
    "quarantine": """INSERT INTO receipts (id, source, kind, key, payload, state, received_at, not_before, error,
            attempts, version, claimed_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0) ON CONFLICT DO NOTHING""",
    "fetched": "DELETE FROM receipts WHERE id = ? AND version = ? AND claim = ?",
    "fetch_again": "UPDATE receipts SET claim = NULL, claimed_until = 0 WHERE id = ? AND claim = ?",
    "job": "UPDATE jobs SET cursor = COALESCE(?, cursor), progress = ?, updated_at = ? WHERE id = ?",
}
"""The rare statements. Each database's own spelling is made of it."""

SQLITE_UPSERTS = {name: sql.replace("LEAST(", "MIN(").replace("GREATEST(", "MAX(") for name, sql in UPSERTS.items()}


class BulkWriter(Protocol):
    """Writes rows in one open transaction."""

    def guard(self) -> None:
        """Keeps the purge out until the commit: a repeat must find either the signal or its tombstone."""
        ...

    def new_signals(self, rows: Sequence[SignalRow]) -> set[str]:
        """Inserts those we never had; their ids. No id may come twice."""
        ...

    def insert(self, table: str, rows: Rows) -> None:
        """Rows of a hot table; one that is there already stays as it is."""
        ...

    def run(self, statement: str, rows: Rows) -> None:
        """One of UPSERTS for each row."""
        ...


def bulk_writer_for(connection: Connection) -> BulkWriter:
    """The writer of this connection's database."""
    raw = connection.connection.driver_connection
    return PostgresBulkWriter(raw) if connection.dialect.name == "postgresql" else SqliteBulkWriter(raw)


MOST_ROWS = 64  # a power of two


@cache
def _insert(table: str, columns: tuple[str, ...], count: int, where: str) -> str:
    """An INSERT of up to `count` rows: those without a first value are padding."""
    one = f"({', '.join('?' * len(columns))})"
    rows = ", ".join([one] * count)
    return f"""INSERT INTO {table} ({", ".join(columns)}) SELECT * FROM (VALUES {rows})
        WHERE column1 IS NOT NULL {where} ON CONFLICT DO NOTHING"""  # noqa: S608 - our names


class SqliteBulkWriter:
    """The one writer of the file: what it reads in its transaction stays true.

    It costs the writer little to run a statement and much to queue for the interpreter after it (the event loop is busy): so
    there are as few statements as can be, each of many rows.
    """

    _LIVING = "AND column1 NOT IN (SELECT id FROM tombstones)"
    _LAST = "SELECT id FROM signals WHERE rowid > ? AND rowid <= ?"

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def guard(self) -> None:
        return None  # BEGIN IMMEDIATE is guard enough

    def new_signals(self, rows: Sequence[SignalRow]) -> set[str]:
        new: set[str] = set()
        for start in range(0, len(rows), MOST_ROWS):
            some = rows[start : start + MOST_ROWS]
            done = self._insert("signals", SignalRow._fields, some, self._LIVING)
            if done.rowcount == len(some):
                new.update(row.id for row in some)
            elif done.rowcount:  # the rows of one statement lie together at the end of the table
                last = done.lastrowid
                new.update(id for (id,) in self._raw.execute(self._LAST, (last - done.rowcount, last)))
        return new

    def insert(self, table: str, rows: Rows) -> None:
        for start in range(0, len(rows), MOST_ROWS):
            self._insert(table, tuple(HOT[table]), rows[start : start + MOST_ROWS])

    def _insert(self, table: str, columns: tuple[str, ...], rows: Rows, where: str = "") -> Any:
        """One statement, padded to a power of two so that SQLite keeps them all prepared."""
        count = 1 << (len(rows) - 1).bit_length()
        padding = repeat(None, (count - len(rows)) * len(columns))
        return self._raw.execute(_insert(table, columns, count, where), [*chain.from_iterable(rows), *padding])

    def run(self, statement: str, rows: Rows) -> None:
        self._raw.executemany(SQLITE_UPSERTS[statement], rows)


def _unnest(table: str, columns: dict[str, str]) -> str:
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM unnest({arrays}) AS new ({names})"  # noqa: S608 - our names


class PostgresBulkWriter:
    """One of several writers: the database says who was first."""

    _GUARD = f"SELECT pg_advisory_xact_lock_shared({PURGE_LOCK})"
    _SIGNALS = (
        f"{_unnest('signals', _SIGNAL)} WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = new.id) "  # noqa: S608
        "ON CONFLICT (id) DO NOTHING RETURNING id"
    )
    _INSERTS = {table: f"{_unnest(table, columns)} ON CONFLICT DO NOTHING" for table, columns in HOT.items()}
    _UPSERTS = {name: sql.replace("?", "%s") for name, sql in UPSERTS.items()}

    def __init__(self, raw: Any) -> None:
        from syncd.store.journal.pg_arrays import MAKERS  # needs psycopg, which is loaded only for PostgreSQL

        self._raw = raw
        self._makers = MAKERS

    def guard(self) -> None:
        self._raw.execute(self._GUARD)

    def new_signals(self, rows: Sequence[SignalRow]) -> set[str]:
        return {found for (found,) in self._raw.execute(self._SIGNALS, self._arrays(_SIGNAL, rows))}

    def insert(self, table: str, rows: Rows) -> None:
        self._raw.execute(self._INSERTS[table], self._arrays(HOT[table], rows))

    def _arrays(self, kinds: dict[str, str], rows: Rows) -> list[Any]:
        return [
            self._makers[kind](column) for kind, column in zip(kinds.values(), zip(*rows, strict=True), strict=True)
        ]

    def run(self, statement: str, rows: Rows) -> None:
        with self._raw.cursor() as cursor:
            cursor.executemany(self._UPSERTS[statement], rows)
