"""Engines for the two databases, and what their errors mean in one line.

`Store` uses it, and so does everything that writes raw SQL. Promise: SQLite commits are fsynced (WAL, synchronous=FULL), a
write transaction takes its lock when it begins, DDL included; no message holds a password.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from syncd.errors import UsageError
from syncd.store.journal.entries import StoreUnavailable

BUSY_SECONDS = 15
"""How long a writer waits for another process on one SQLite file (a command beside the daemon)."""

STALLED_SECONDS = 10
"""PostgreSQL ends a session that keeps a transaction open for so long without a word: its process is frozen (SIGSTOP, a paused
virtual machine), and the locks it holds would keep others from taking over. Less than BUSY_SECONDS: who waits gets through."""

_ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""A server that vanished without a word is noticed within half a minute (libpq; the last in milliseconds)."""

PREPARED_FROM = 5
"""psycopg prepares a statement when it is executed for the fifth time (its own default)."""
WRITES = "syncd_writes"
PURGE_LOCK = 0x53594E4344_01  # advisory lock numbers on PostgreSQL: "SYNCD" and a serial
MIGRATION_LOCK = 0x53594E4344_02


def parse_url(text: str) -> URL:
    """The database URL, checked. Raises UsageError with one line; the URL itself is not repeated (it may hold a password)."""
    try:
        url = make_url(text)
    except (
        ArgumentError,
        ValueError,
    ) as error:  # ValueError: a port that is not a number, which may be half a password
        raise UsageError(
            "database: this is not a URL; write sqlite:///./syncd.db or postgresql+psycopg://user@host/name"
        ) from error
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise UsageError("database: SQLite needs a file, for example sqlite:///./syncd.db")
        return url
    if url.drivername != "postgresql+psycopg":
        raise UsageError(
            f"database: {url.drivername!r} is not supported; use sqlite:///FILE or postgresql+psycopg://user@host/name"
        )
    return url


def same_database(one: URL, other: URL) -> bool:
    """Whether two URLs lead to one database, as far as can be determined without connecting."""
    if one.get_backend_name() != other.get_backend_name():
        return False
    if one.get_backend_name() == "sqlite":
        return Path(one.database or "").resolve() == Path(other.database or "").resolve()

    def place(url: URL) -> tuple[str, int, str]:
        host = url.host or str(url.query.get("host", ""))
        return "" if host in _HERE else host.lower(), url.port or 5432, url.database or url.username or ""

    return place(one) == place(other)


_HERE = ("localhost", "127.0.0.1", "::1")


def make_engine(url: URL) -> Engine:
    """An engine whose every connection is durable. Connects nowhere yet. Raises UsageError when a driver is missing."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    try:
        engine = create_engine(
            url,
            pool_size=8,
            max_overflow=24,
            pool_timeout=BUSY_SECONDS,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10, "application_name": "syncd", **_ALIVE},
        )
    except (ImportError, NoSuchModuleError) as error:
        raise UsageError("database: PostgreSQL needs the package psycopg: pip install 'psycopg[binary]'") from error

    @event.listens_for(engine, "connect")
    def durable(connection: Any, record: Any) -> None:
        from syncd.store.journal.pg_arrays import learn_arrays  # needs psycopg

        connection.autocommit = True
        record.info[POOLED] = is_pooled(connection)
        if not record.info[POOLED]:
            connection.execute("; ".join(f"SET {setting}" for setting in _session()))
        connection.autocommit = False
        learn_arrays(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Behind a pooler each transaction may run in another session, which other programs use too.
        if connection.info.get(POOLED) and not connection.connection.driver_connection.autocommit:  # type: ignore[union-attr]
            connection.exec_driver_sql("; ".join(f"SET LOCAL {setting}" for setting in _session()))

    return engine


POOLED = "syncd_pooled"
"""Key in a connection's `info`: whether it leads through a pooler."""


def is_pooled(connection: Any) -> bool:
    """Whether an open psycopg connection leads through a pooler (PgBouncer, RDS Proxy, Supavisor). Such a one makes up
    the process id that it gives at connect, and the server's answer differs. It may share sessions between transactions:
    nothing can be prepared or set for a session, and LISTEN hears nothing."""
    connection.prepare_threshold = None  # the first statement, too, may meet a session that another client has used
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    pooled = row is None or int(row[0]) != connection.info.backend_pid
    if not pooled:
        connection.prepare_threshold = PREPARED_FROM
    return pooled


def _session() -> tuple[str, ...]:
    """What every transaction needs. Somebody may have set synchronous_commit=off for the role: an acknowledged event must
    be on disk."""
    return (
        "synchronous_commit = on",
        f"lock_timeout = '{BUSY_SECONDS}s'",
        f"idle_in_transaction_session_timeout = {STALLED_SECONDS * 1000:.0f}",  # milliseconds
        "timezone = 'UTC'",
    )


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        pool_timeout=BUSY_SECONDS,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def durable(connection: Any, record: Any) -> None:
        connection.isolation_level = (
            None  # we say BEGIN ourselves: the driver's own way leaves DDL outside transactions
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-4000")
        connection.execute("PRAGMA journal_size_limit=134217728")
        # Ids are random, so a commit touches many pages: copying them back less often saves most of that work (WAL ~80 MB).
        connection.execute("PRAGMA wal_autocheckpoint=20000")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A reader that turns writer in mid-transaction is refused when another one wrote meanwhile, so writers say so first.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def place(url: URL) -> str:
    """Where the database is, without a password, for messages."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True).replace(":***", "")


def millis(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime."""
    return round(moment.timestamp() * 1000)


def moment(stamp: int) -> datetime:
    """The aware UTC datetime of milliseconds since 1970."""
    return datetime.fromtimestamp(stamp / 1000, UTC)


DB_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
"""PostgreSQL's clock in our milliseconds: the one clock that several machines share."""


# ------------------------------------------------------------------------------------------------- what errors mean

_SQLITE_TELLS: tuple[tuple[str, str], ...] = (
    ("disk is full", "the disk is full; free some space, nothing stored so far is lost"),
    ("readonly database", "the file or its directory is read-only for this user; grant writing to both"),
    ("read-only", "the file or its directory is read-only for this user; grant writing to both"),
    ("unable to open", "the file cannot be opened; does the directory exist, and may this user write there?"),
    ("not a database", "this file is not a SQLite database; point `database:` elsewhere or restore a backup"),
    ("malformed", "the file is damaged; stop syncd and restore a backup (or try `sqlite3 FILE .recover`)"),
    ("disk i/o error", "reading or writing the file failed; is the disk full, at its quota, or broken?"),
    ("file is too short", "the file is damaged (too short); stop syncd and restore a backup"),
    ("locked", f"another process has kept the file locked for {BUSY_SECONDS} s; is something else writing to it?"),
    ("busy", f"another process has kept the file locked for {BUSY_SECONDS} s; is something else writing to it?"),
    ("no such table", "its tables are missing; was the file replaced? restart syncd, or run `syncd db upgrade`"),
)
_POSTGRES_TELLS: tuple[tuple[str, str], ...] = (  # by the beginning of the SQLSTATE
    ("28", "the server refuses this user or password; check the user and password in `database:`, and pg_hba.conf"),
    ("3D", "there is no such database; create it: createdb NAME"),
    ("53100", "the server's disk is full; free some space, nothing stored so far is lost"),
    ("53", "the server is out of resources (connections, memory); raise its limits or lower the load"),
    ("25006", "the server is read-only (a standby?); point `database:` at the primary"),
    ("42501", "this user lacks a privilege; grant it all privileges on the database and its schema"),
    ("42P01", "its tables are missing; restart syncd, or run `syncd db upgrade`"),
    ("55P03", f"rows have stayed locked for {BUSY_SECONDS} s; is something else (a migration, a backup) running?"),
    ("57", "the server is shutting down or starting up"),
    ("58", "the server cannot read or write its files"),
    ("XX", "the server reports damaged data"),
    ("40", "others kept writing the same rows"),
)
_CONNECT_TELLS: tuple[tuple[str, str], ...] = (  # libpq gives no SQLSTATE before a connection stands
    ("password authentication failed", _POSTGRES_TELLS[0][1]),
    ("no password supplied", _POSTGRES_TELLS[0][1]),
    ("no pg_hba.conf entry", _POSTGRES_TELLS[0][1]),
    ("peer authentication failed", _POSTGRES_TELLS[0][1]),
    ("role", _POSTGRES_TELLS[0][1]),
    ("does not exist", _POSTGRES_TELLS[1][1]),
    ("connection refused", "no server answers there; is PostgreSQL running, and are host and port right?"),
    ("could not translate host name", "the host name is unknown; check `database:`"),
    ("name or service not known", "the host name is unknown; check `database:`"),
    ("timeout expired", "the server does not answer; check host, port and firewall"),
    ("no such file", "no server listens on that socket; is PostgreSQL running?"),
)
_LOST = "the connection to the server was lost"


def explain(error: BaseException, where: str) -> str:
    """One line of what is wrong with the database and what to do about it."""
    return f"database {where}: {_reason(error)}"


def _origin(error: BaseException) -> BaseException:
    """The driver's own error: SQLAlchemy wraps it, the journal's raw statements do not."""
    return getattr(error, "orig", None) or error


def _state(error: BaseException) -> str:
    return getattr(_origin(error), "sqlstate", None) or ""


def _is_drivers(error: BaseException) -> bool:
    psycopg = sys.modules.get("psycopg")  # loaded only when PostgreSQL is used
    return isinstance(error, (DBAPIError, sqlite3.Error)) or (psycopg is not None and isinstance(error, psycopg.Error))


def _reason(error: BaseException) -> str:
    if isinstance(error, PoolTimeout):
        return f"no connection became free within {BUSY_SECONDS} s"
    text, state = str(_origin(error)).lower(), _state(error)
    for start, reason in _POSTGRES_TELLS if state else ():
        if state.startswith(start):
            return reason
    tells = _SQLITE_TELLS if isinstance(_origin(error), sqlite3.Error) else _CONNECT_TELLS
    for part, reason in tells:
        if part in text:
            return reason
    return _LOST if _is_lost(error) else _one_line(str(_origin(error)))


def _is_lost(error: BaseException) -> bool:
    if getattr(error, "connection_invalidated", False) or _state(error).startswith(("08", "57P01")):
        return True
    origin = _origin(error)
    return type(origin).__name__ == "OperationalError" and not _state(error) and "connection" in str(origin)


def _one_line(text: str) -> str:
    text = re.sub(r"(password|passwd|pwd)\s*[=:]\s*\S+", r"\1=***", " ".join(text.split()), flags=re.IGNORECASE)
    return text[:300]


def is_row_fault(error: BaseException) -> bool:
    """Whether the values are to blame and not the database: such an error is passed on as it is, for the journal to bisect."""
    if isinstance(error, (UnicodeError, OverflowError, ValueError, TypeError)):
        return True
    if not _is_drivers(error):
        return False
    kind, state = type(_origin(error)).__name__, _state(error)
    # psycopg refuses a NUL byte itself, without a SQLSTATE; 54 is a row too big for a page or an index.
    return state.startswith(("22", "23", "54")) or (
        not state and kind in ("DataError", "IntegrityError", "ProgrammingError")
    )


def is_passing(error: BaseException) -> bool:
    """Whether trying the same transaction again may help at once: a deadlock, a serialization failure, a lost connection."""
    return _is_drivers(error) and (_is_lost(error) or _state(error) in ("40001", "40P01"))


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turns whatever says "the database cannot" into `StoreUnavailable` with one line; row faults pass."""
    try:
        yield
    except Exception as error:
        if isinstance(error, PoolTimeout) or (_is_drivers(error) and not is_row_fault(error)):
            raise StoreUnavailable(explain(error, where)) from error
        raise


def prepare_sqlite(url: URL, *, create: bool = True) -> None:
    """The directory must be there: SQLite's own message does not say so. A new file is its owner's alone (0600): it holds
    customers' mail. Raises UsageError for a file that is not there and is not to be made."""
    folder = Path(str(url.database)).absolute().parent
    try:
        there = folder.is_dir()
    except OSError as error:
        raise StoreUnavailable(
            f"database {url.database}: {folder} cannot be reached ({error.strerror}); grant it"
        ) from error
    if not there:
        raise StoreUnavailable(f"database {url.database}: the directory {folder} does not exist; create it")
    if not create and not Path(str(url.database)).exists():
        raise UsageError(f"database {url.database}: does not exist yet; `syncd run` or `syncd db upgrade` makes it")
    with suppress(OSError):  # there already, or SQLite itself will say what is wrong
        os.close(os.open(str(url.database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def connect_alone(engine: Engine) -> Any:
    """A connection of psycopg's own to a PostgreSQL, outside of the pool, that commits by itself. The caller closes it."""
    import psycopg

    arguments, keywords = engine.dialect.create_connect_args(engine.url)
    keywords = {"connect_timeout": 10, "application_name": "syncd listens", **_ALIVE, **keywords}
    return psycopg.connect(*arguments, **keywords, autocommit=True)
