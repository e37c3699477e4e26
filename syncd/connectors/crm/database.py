"""A database as a destination: each object is a table, each record a row, upserted by its key. SQLite and PostgreSQL.

The embedded default: with `create_tables` it makes the tables and columns a mapping writes to. It does not look up people.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import sqlalchemy as sa
from pydantic import Field, SecretStr, field_validator

from syncd.capabilities import FieldDescription, Finding, Level, MissingField, PrepareResult
from syncd.connector import (
    Call,
    Connector,
    ConnectorSettings,
    Context,
    DealPick,
    DestinationDefaults,
    Idempotency,
    Outcome,
    PersonMatch,
    PersonQuery,
    Prompt,
    Write,
    WriteKind,
)
from syncd.connectors.crm import database_online as online
from syncd.connectors.crm.database_errors import classified
from syncd.connectors.crm.database_rows import BadValue
from syncd.connectors.crm.database_tables import Tables, find_column, too_long
from syncd.connectors.crm.database_writes import ROWS, RowFailed, TableWrite, present, row_of, transaction
from syncd.errors import Failure, Misconfigured, Rejected, Scope

BACKENDS = ("sqlite", "postgresql")
SUPPORTED = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
CONNECT = 5
"""Seconds to connect, and for SQLite to wait for another writer."""
POSTGRESQL_LIMITS = (
    "SELECT set_config('statement_timeout', '60000', true), set_config('lock_timeout', '10000', true), "
    "set_config('idle_in_transaction_session_timeout', '60000', true)"
)
"""Milliseconds, for one transaction: behind a pooler (PgBouncer in transaction mode) a session is shared, and startup parameters
are refused."""


class DatabaseSettings(ConnectorSettings):
    """A database that records are written to, a table for each object of the mapping."""

    url: Annotated[SecretStr, Prompt(suggest="sqlite:///./signals.db"), Field(description=f"database URL: {SUPPORTED}")]
    create_tables: Annotated[bool, Field(description="create missing tables and columns")] = True

    @field_validator("url")
    @classmethod
    def _known(cls, value: SecretStr) -> SecretStr:
        try:
            backend = sa.make_url(value.get_secret_value()).get_backend_name()
        except (sa.exc.ArgumentError, ValueError):
            raise ValueError(f"is not a database URL; write it like {SUPPORTED}") from None
        if backend not in BACKENDS:
            raise ValueError(f"{backend} is not supported; use {SUPPORTED}")
        return value


class DatabaseDestination(DestinationDefaults):
    """One database. The id of a record is its key, or the table's own primary key where a rule has no key."""

    capacity: ClassVar[int] = ROWS
    doubt: ClassVar[float] = 60.0
    folds_case = True

    def __init__(self, settings: DatabaseSettings) -> None:
        self._url = sa.make_url(settings.url.get_secret_value())
        self._create = settings.create_tables
        self._open: tuple[sa.Engine, Tables] | None = None
        self._lock = threading.RLock()

    @property
    def widens(self) -> bool:
        return self._create

    def database_url(self) -> str:
        return self._url.set(password=None).render_as_string()

    def refused_name(self, name: str) -> str:
        return too_long(name) if self._url.get_backend_name() == "postgresql" else ""

    def keying(self, object: str, key_field: str) -> Idempotency:
        """An upsert that the unique index on the key column enforces; rows without a key cannot be found again."""
        return Idempotency(WriteKind.UPSERT) if key_field else Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)

    def resolve(self, people: Sequence[PersonQuery], *, deals: DealPick | None = None) -> list[PersonMatch | None]:
        """Nobody: tables hold records, not people."""
        return [None] * len(people)

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        """In their order; a call is one transaction."""
        calls: list[list[Write]] = []
        keys: set[str] = set()
        for write in writes:
            if not calls or write.key in keys or len(calls[-1]) == ROWS:
                calls.append([])
                keys = set()
            calls[-1].append(write)
            keys.add(write.key)
        return [Call(tuple(w), f"write {len(w)} rows", None) for w in calls]

    def send(self, call: Call) -> list[Outcome]:
        """All rows in one transaction. When one is refused the transaction is done again with a savepoint a row, so that
        the bad row alone is left out."""
        with self._lock:
            try:
                return self._written(call.writes)
            except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
                self._forget()
                raise classified(error) from None
            except Failure:
                self._forget()
                raise

    def _written(self, writes: Sequence[Write]) -> list[Outcome]:
        engine, tables = self._opened()
        outcomes: dict[int, Outcome] = {}
        unready = self._make_ready(tables, writes)
        rows: list[TableWrite] = []
        for place, write in enumerate(writes):
            try:
                if write.object in unready:
                    raise unready[write.object]
                rows.append(row_of(place, write, tables, engine.dialect.name))
            except BadValue as error:
                outcomes[place] = Rejected(str(error), code="value", field=error.field)
            except Misconfigured as error:
                tables.forget()
                outcomes[place] = error
        try:
            outcomes |= transaction(engine, rows, careful=False)
        except RowFailed:
            tables.forget()
            outcomes |= transaction(engine, rows, careful=True)
        return [outcomes[place] for place in range(len(writes))]

    def _make_ready(self, tables: Tables, writes: Sequence[Write]) -> dict[str, Failure]:
        """Object -> why its table cannot be made ready; a fault of one table harms only its rows."""
        unready: dict[str, Failure] = {}
        for object_ in dict.fromkeys(w.object for w in writes):
            try:
                tables.ready(w for w in writes if w.object == object_)
            except Misconfigured as error:
                unready[object_] = error
            except sa.exc.SQLAlchemyError as error:
                meant = classified(error)
                if not (isinstance(meant, Misconfigured) and meant.scope is Scope.RULE):
                    raise
                unready[object_] = meant
        return unready

    def find(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        """A row's id is its key: those of `keys` that are there."""
        with self._lock:
            try:
                engine, tables = self._opened()
                table = tables.get(object)
                column = None if table is None else find_column(table, key_field)
                if column is None:
                    return {}
                with engine.connect() as connection:
                    held = present(connection, column, keys)
                return {key: key for key in keys if key in held}
            except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
                raise classified(error) from None

    def check_online(self) -> Iterator[Finding]:
        if online.absent(self._url):
            text = f"{online.place(self._url)} is not there yet: it is made with the first write"
            yield Finding(Level.OK, "connection", text)
            return
        with self._lock, online.translated():
            yield from online.check(self._opened()[0], online.place(self._url), create=self._create)

    def describe(self, objects: Sequence[str]) -> Mapping[str, Sequence[FieldDescription]]:
        if online.absent(self._url):
            return {}
        with self._lock, online.translated():
            return online.describe(self._opened()[1], objects)

    def prepare(self, needs: Sequence[MissingField], *, dry: bool = False) -> Iterator[PrepareResult]:
        """Also where `create_tables` is off: who runs the command wants it."""
        if dry and online.absent(self._url):
            return online.unmade(needs)
        with self._lock, online.translated():
            engine, tables = self._opened()
            steps = list(online.prepare(engine, needs, dry=dry))
            tables.forget()
            return iter(steps)

    def close(self) -> None:
        with self._lock:
            if self._open is not None:
                self._open[0].dispose()
                self._open = None

    def _forget(self) -> None:
        if self._open is not None:
            self._open[1].forget()

    def _opened(self) -> tuple[sa.Engine, Tables]:
        if self._open is None:
            engine = _engine(self._url)
            self._open = engine, Tables(engine, create=self._create)
        return self._open


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": CONNECT}, hide_parameters=True)
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
        return engine
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    # A prepared statement belongs to a session, which behind a pooler is another one in the next transaction.
    arguments = {"connect_timeout": CONNECT, "prepare_threshold": None}
    engine = sa.create_engine(url, connect_args=arguments, pool_size=2, pool_pre_ping=True, hide_parameters=True)
    if "options" not in url.query:
        sa.event.listen(engine, "begin", _postgresql_begin)
    return engine


def _sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, below: sqlite3's own would leave DDL outside of transactions
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(POSTGRESQL_LIMITS)


def _build(settings: DatabaseSettings, context: Context) -> DatabaseDestination:
    url = sa.make_url(settings.url.get_secret_value())
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        url = url.set(database=str(context.beside(Path(url.database))))
        settings = settings.model_copy(update={"url": SecretStr(url.render_as_string(hide_password=False))})
    return DatabaseDestination(settings)


CONNECTOR = Connector(
    name="database",
    contract=2,
    role="destination",
    summary="SQLite or PostgreSQL: a table for each object, rows upserted by their key",
    settings=DatabaseSettings,
    build=_build,
    secrets_note="url may carry a password",
)
