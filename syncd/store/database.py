"""The open database: its engine, connections and short write transactions.

Everything in the store takes a `Database`; `Store` adds the parts built on it. Promise: whatever the database cannot do
comes out as `StoreUnavailable` with one clear line, and nothing of that transaction was committed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine, PoolProxiedConnection

from syncd.runtime.process_id import this_process
from syncd.store import engine as engines
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.revisions import DbInfo, migrate_if_due, read_info

T = TypeVar("T")
Clock = Callable[[], datetime]
TRIES = 5
"""How often a transaction that lost a deadlock, or its connection, is tried again."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Database:
    """One open database. Threads may share it."""

    def __init__(self, engine: Engine, *, clock: Clock = utc_now, key_source: str | bytes | None = None) -> None:
        self.engine = engine
        self.clock = clock
        self.url = engine.url
        self.postgresql = engine.dialect.name == "postgresql"
        self.place = engines.place(engine.url)
        self.holder = this_process()
        self._key_source = key_source
        self._writing = threading.Lock()  # SQLite: fairer and quicker than letting threads poll for the file's lock
        self._inode: tuple[int, int] | None = None
        self.repeats_about = False  # the last group that was looked at closely held some: the next may, too

    @classmethod
    def open(
        cls, url: str, *, key_source: str | bytes | None = None, clock: Clock = utc_now, migrate: bool = True
    ) -> Self:
        """Opens (SQLite: creates) the database and brings its tables up to date; `migrate=False` only checks that they are.

        `key_source` encrypts tokens at rest: the text of `secret_key:`; None on SQLite makes a file `<database>.key`.
        Raises StoreUnavailable, or UsageError for a wrong URL, a missing migration, or a database newer than this syncd.
        """
        parsed = engines.parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            engines.prepare_sqlite(parsed, create=migrate)
        engine = engines.make_engine(parsed)
        try:
            with engines.translated(engines.place(parsed)):
                migrate_if_due(engine, allowed=migrate)
            store = cls(engine, clock=clock, key_source=key_source)
            store._inode = store._file_identity()
        except BaseException:
            engine.dispose()
            raise
        return store

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> int:
        """This store's clock in milliseconds."""
        return engines.millis(self.clock())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; on SQLite one snapshot."""
        with engines.translated(self.place), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A short write transaction, committed at the end of the block. Never hold one over an HTTP call or another
        `write()`. Raises StoreUnavailable; a fault of the values themselves (too long, NUL) comes as SQLAlchemy's."""
        self.check_present()
        with self._one_writer(), engines.translated(self.place), self._writer() as connection:
            yield connection

    def apply(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a write transaction, again when it lost a deadlock or its connection before the commit. `work` may
        run several times: it must only touch the database."""
        for tries_left in reversed(range(TRIES)):
            committing = False
            try:
                self.check_present()
                with self._one_writer(), self._writer() as connection:
                    result = work(connection)
                    committing = True
                return result
            except Exception as error:  # looked at and raised again, or tried again
                # A connection lost while committing leaves the answer open: the caller must hear of it.
                if tries_left and not committing and engines.is_passing(error):
                    continue
                with engines.translated(self.place):
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def alone(self) -> Iterator[PoolProxiedConnection]:
        """A connection of SQLite's without a transaction: each statement is one of its own. Raises StoreUnavailable; a
        fault of the values themselves comes as the driver's."""
        self.check_present()
        with self._one_writer(), engines.translated(self.place):
            raw = self.engine.raw_connection()
            try:
                yield raw
            finally:
                raw.close()

    @contextmanager
    def _writer(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            if not self.postgresql:
                connection = connection.execution_options(**{engines.WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        if self.postgresql:
            yield
            return
        if not self._writing.acquire(timeout=engines.BUSY_SECONDS):
            raise StoreUnavailable(f"database {self.place}: a write has taken longer than {engines.BUSY_SECONDS} s")
        try:
            yield
        finally:
            self._writing.release()

    def check_present(self) -> None:
        """Raises StoreUnavailable when the SQLite file was removed or replaced under us: commits would go to a file that
        no process will ever see again."""
        if self._inode is not None and self._file_identity() != self._inode:
            raise StoreUnavailable(
                f"database {self.place}: the file was removed or replaced while syncd runs; put it back and restart syncd"
            )

    def _file_identity(self) -> tuple[int, int] | None:
        if self.postgresql:
            return None
        try:
            status = os.stat(str(self.url.database))
        except OSError:  # not there, or not ours to reach any more: in either case not the file we opened
            return (0, 0)
        return status.st_dev, status.st_ino

    def wipe(self, *, rewrite: bool = True) -> bool | None:
        """Lets what was deleted leave the disk: SQLite's file is rewritten (if `rewrite`) and its log emptied, PostgreSQL's
        dead rows are freed for reuse. False when a reader prevented it from completing; None: not done."""
        if self.postgresql:
            with engines.translated(self.place), self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM")
            return True
        with self._one_writer(), engines.translated(self.place):
            raw = self.engine.raw_connection()
            try:
                cursor = raw.cursor()
                try:
                    if rewrite:
                        cursor.execute("VACUUM")
                    busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) and "busy" not in str(error):
                        raise
                    return False
            finally:
                raw.close()
        return not busy if rewrite else None

    def pooled(self) -> bool:
        """Whether it leads through a pooler (PgBouncer and the like), which may share sessions. Raises StoreUnavailable."""
        if not self.postgresql:
            return False
        with self.read() as connection:
            return bool(connection.info.get(engines.POOLED))

    def info(self) -> DbInfo:
        """What `syncd db info` shows."""
        with engines.translated(self.place):
            return read_info(self.engine)
