"""What sources have durably: their cursor, what they remember, and how they fare.

Cursors and memory are written by the journal, in the commit of the signals they belong to; here they are read. Health is the
schedulers' own note, for `status` and for the pause after a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from syncd.store.engine import millis, moment
from syncd.store.journal.encoding import plain
from syncd.store.schema import cursors, memory, source_health
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.database import Database

IN_CHUNK = 500


class Cursors:
    """How far sources have read. Everything raises StoreUnavailable."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def read(self, source: str) -> bytes | None:
        """The committed cursor; None for a source that never started."""
        with self._store.read() as connection:
            state = connection.execute(select(cursors.c.state).where(cursors.c.source == source)).scalar()
        return None if state is None else bytes(state)

    def recall(self, source: str, keys: Sequence[str]) -> dict[str, str]:
        """The committed `Batch.remember` values of these keys; absent ones are absent."""
        found: dict[str, str] = {}
        with self._store.read() as connection:
            for start in range(0, len(keys), IN_CHUNK):
                chunk = list(keys[start : start + IN_CHUNK])
                query = select(memory.c.key, memory.c.value).where(memory.c.source == source, memory.c.key.in_(chunk))
                found.update({row.key: row.value for row in connection.execute(query)})
        return found


@dataclass(frozen=True, slots=True)
class Health:
    """How a source fares. `failures` in a row; `next_at`: not to be asked before; None: never, or at once."""

    source: str
    last_ok_at: datetime | None = None
    last_signal_at: datetime | None = None
    failures: int = 0
    next_at: datetime | None = None
    error: str = ""
    code: str = ""  # the failure class of `error`, lower-case


class Sources:
    """The health of sources. Everything raises StoreUnavailable."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def health(self, source: str) -> Health:
        """What is known of a source; an empty Health for a new one."""
        with self._store.read() as connection:
            row = connection.execute(select(source_health).where(source_health.c.source == source)).one_or_none()
        return Health(source) if row is None else _health(row)

    def all(self) -> dict[str, Health]:
        """Every source that was ever asked or heard of."""
        with self._store.read() as connection:
            return {row.source: _health(row) for row in connection.execute(select(source_health))}

    def succeeded(self, source: str, at: datetime) -> None:
        """It answered: failures and pause are over."""
        self._put(source, {"last_ok_at": millis(at), "failures": 0, "next_at": 0, "error": "", "code": ""})

    def failed(self, source: str, error: str, next_at: datetime, *, code: str = "", count: bool = True) -> None:
        """It did not. `code`: the failure class, lower-case; `count` False: throttled, which is not a failure."""
        self._put(source, {"next_at": millis(next_at), "error": plain(error), "code": code}, failures=int(count))

    def _put(self, source: str, values: dict[str, Any], failures: int | None = None) -> None:
        changes: dict[str, Any] = dict(values)
        if failures is not None:
            values = {**values, "failures": failures}
            changes["failures"] = source_health.c.failures + failures
        row = {"last_ok_at": 0, "last_signal_at": 0, "failures": 0, **values, "source": source}
        statement = upsert(self._store, source_health, row, changes)
        self._store.apply(lambda connection: connection.execute(statement))


def _health(row: Any) -> Health:
    return Health(
        row.source,
        moment(row.last_ok_at) if row.last_ok_at else None,
        moment(row.last_signal_at) if row.last_signal_at else None,
        row.failures,
        moment(row.next_at) if row.next_at else None,
        row.error,
        row.code,
    )
