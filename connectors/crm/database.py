"""A database as a destination: each object is a table, each record a row, upserted by its key. SQLite and PostgreSQL.

The embedded default: with `create_tables` it makes the tables and columns a mapping writes to. Nobody is looked up here.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import sqlalchemy as sa
from pydantic import Field, SecretStr, field_validator
from sqlalchemy.dialects import postgresql, sqlite

from connectors.crm import database_online as online
from connectors.crm.database_errors import classified
from connectors.crm.database_rows import BadValue, fitted
from connectors.crm.database_tables import Tables, columns_of, find_column, is_unique
from syncd.capabilities import FieldDescription, FieldNeed, Finding, Level, Step
from syncd.connector import (
    Ask,
    Call,
    Connector,
    ConnectorSettings,
    Context,
    DestinationDefaults,
    Found,
    Keying,
    Kind,
    Outcome,
    Wanted,
    Write,
    Written,
)
from syncd.errors import Failure, Misconfigured, Rejected, Scope, StaleReference

BACKENDS = ("sqlite", "postgresql")
SUPPORTED = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
ROWS = 500
CONNECT = 5
"""Seconds to connect, and for SQLite to wait for another writer."""
POSTGRESQL_OPTIONS = "-c statement_timeout=60000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"


class DatabaseSettings(ConnectorSettings):
    """A database that records are written to, a table for each object of the mapping."""

    url: Annotated[SecretStr, Ask(suggest="sqlite:///./signals.db"), Field(description=f"where it is: {SUPPORTED}")]
    create_tables: Annotated[bool, Field(description="make the tables and columns that are missing")] = True

    @field_validator("url")
    @classmethod
    def _known(cls, value: SecretStr) -> SecretStr:
        try:
            backend = sa.make_url(value.get_secret_value()).get_backend_name()
        except (sa.exc.ArgumentError, ValueError):
            raise ValueError(f"is no database URL; write it like {SUPPORTED}") from None
        if backend not in BACKENDS:
            raise ValueError(f"{backend} is not supported; use {SUPPORTED}")
        return value


@dataclass(frozen=True)
class _Row:
    """One write made ready for its table: what it sets always, and what only a new row gets. Columns by their name
    in the database."""

    place: int
    table: sa.Table
    key: str
    always: dict[str, Any]
    at_first: dict[str, Any]
    id: str

    @property
    def shape(self) -> tuple[Any, ...]:
        """Rows of one shape share a statement."""
        return (self.table.fullname, self.key, bool(self.id), tuple(self.always), tuple(self.at_first))


class _RowFailed(Exception):
    """A row was refused; which one, only a slower pass tells."""


class Database(DestinationDefaults):
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

    def keying(self, object: str, key_field: str) -> Keying:
        """An upsert that the unique index on the key column enforces; rows without a key cannot be found again."""
        return Keying(Kind.UPSERT) if key_field else Keying(Kind.AT_MOST_ONCE, enforced=False)

    def resolve(self, people: Sequence[Wanted], *, deals: bool = False) -> list[Found | None]:
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
        rows: list[_Row] = []
        for place, write in enumerate(writes):
            try:
                if write.object in unready:
                    raise unready[write.object]
                rows.append(_row(place, write, tables, engine.dialect.name))
            except BadValue as error:
                outcomes[place] = Rejected(str(error), code="value", field=error.field)
            except Misconfigured as error:
                tables.forget()
                outcomes[place] = error
        try:
            outcomes |= _transaction(engine, rows, careful=False)
        except _RowFailed:
            tables.forget()
            outcomes |= _transaction(engine, rows, careful=True)
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
                    held = _present(connection, column, keys)
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

    def prepare(self, needs: Sequence[FieldNeed], *, dry: bool = False) -> Iterator[Step]:
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
    extra = {} if "options" in url.query else {"options": POSTGRESQL_OPTIONS}
    return sa.create_engine(
        url, connect_args={"connect_timeout": CONNECT, **extra}, pool_size=2, pool_pre_ping=True, hide_parameters=True
    )


def _sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, below: sqlite3's own would leave DDL outside of transactions
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _row(place: int, write: Write, tables: Tables, backend: str) -> _Row:
    """The write in terms of its table. Raises Misconfigured (rule) for what is not there, BadValue for what does not fit."""
    table = tables.get(write.object)
    if table is None:
        raise _missing(f"there is no table {write.object!r}; create it, or set create_tables: true", "")
    if write.key_field and not is_unique(table, write.key_field) and find_column(table, write.key_field) is not None:
        text = f"{write.object}.{write.key_field} is no key: put a unique index on it"
        raise _missing(text, write.key_field)
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, value in columns_of(write).items():
        column = find_column(table, name)
        if column is None:
            raise _missing(f"table {write.object!r} has no column {name!r}; add it, or set create_tables: true", name)
        values[column.name] = fitted(name, column.type, value, backend)
        names[name] = column.name
    first = {names[n] for n in write.on_create if n not in write.fields and n not in write.links}
    always = {n: v for n, v in values.items() if n not in first}
    key = names.get(write.key_field, "")
    id_ = "" if key else write.id
    return _Row(place, table, key, always, {} if id_ else {n: values[n] for n in values if n in first}, id_)


def _missing(message: str, field: str) -> Misconfigured:
    return Misconfigured(message, code="missing", scope=Scope.RULE, field=field)


def _transaction(engine: sa.Engine, rows: Sequence[_Row], *, careful: bool) -> dict[int, Outcome]:
    """Writes the rows and commits. Quick: whole groups at once, raising _RowFailed when any row is refused. Careful: one
    by one, each refused row alone."""
    outcomes: dict[int, Outcome] = {}
    if not rows:
        return outcomes
    with engine.connect() as connection:
        held = {table: _held(connection, group) for table, group in _tables(rows)}
        for group in [[row] for row in rows] if careful else _alike(rows):
            outcomes |= _group(connection, group, held[group[0].table, group[0].key], careful=careful)
        try:
            connection.commit()
        except sa.exc.SQLAlchemyError as error:
            raise classified(error, committing=True) from None
    return outcomes


def _tables(rows: Sequence[_Row]) -> list[tuple[tuple[sa.Table, str], list[_Row]]]:
    grouped: dict[tuple[sa.Table, str], list[_Row]] = {}
    for row in rows:
        grouped.setdefault((row.table, row.key), []).append(row)
    return list(grouped.items())


def _held(connection: sa.Connection, rows: Sequence[_Row]) -> set[str]:
    """The keys of these rows that are there before the write."""
    key = rows[0].key
    return _present(connection, rows[0].table.columns[key], [r.always[key] for r in rows]) if key else set()


def _alike(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Neighbours of one shape together: the order of the writes is kept. Rows that need their own id back stay alone."""
    group: list[_Row] = []
    for row in rows:
        if group and (row.shape != group[0].shape or not row.key):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _group(connection: sa.Connection, rows: list[_Row], held: set[str], *, careful: bool) -> dict[int, Outcome]:
    try:
        with connection.begin_nested() if careful else _Nothing():
            return _execute(connection, rows, held)
    except (sa.exc.DBAPIError, sa.exc.StatementError, OverflowError, UnicodeError) as error:
        meant = classified(error)
        if not isinstance(meant, Rejected | Misconfigured) or getattr(meant, "scope", Scope.RULE) is not Scope.RULE:
            raise meant from None
        if not careful:
            raise _RowFailed from None
        return {row.place: meant for row in rows}


class _Nothing:
    """A context that does nothing."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _execute(connection: sa.Connection, rows: list[_Row], held: set[str]) -> dict[int, Outcome]:
    first = rows[0]
    if first.id:
        return {first.place: _update(connection, first)}
    statement = _insert(connection.dialect.name, first)
    values = [{**row.always, **row.at_first} for row in rows]
    if first.key:
        connection.execute(statement, values)
        return {r.place: Written(str(r.always[r.key]), str(r.always[r.key]) not in held) for r in rows}
    made = connection.execute(statement.returning(*first.table.primary_key.columns), values[0]).first()
    return {first.place: Written(str(made[0]) if made else "", True)}


def _insert(backend: str, row: _Row) -> Any:
    """INSERT … ON CONFLICT (key) DO UPDATE: a new row gets everything, one that is there only what is set always."""
    make: Any = sqlite.insert if backend == "sqlite" else postgresql.insert
    statement = make(row.table)
    if not row.key:
        return statement
    changed = {name: statement.excluded[name] for name in row.always if name != row.key}
    key = [row.table.columns[row.key]]
    if not changed:
        return statement.on_conflict_do_nothing(index_elements=key)
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def _update(connection: sa.Connection, row: _Row) -> Outcome:
    """A row without a key column, by its primary key."""
    column = next(iter(row.table.primary_key.columns), None)
    if column is None:
        return Rejected(f"table {row.table.name!r} has no primary key to find row {row.id} by", code="no primary key")
    id_ = fitted(column.name, column.type, int(row.id) if row.id.isdigit() else row.id, connection.dialect.name)
    done = connection.execute(row.table.update().where(column == id_), row.always)
    if done.rowcount == 0:
        return StaleReference(f"row {row.id} of {row.table.name!r} is gone", code="gone")
    return Written(row.id, False)


def _present(connection: sa.Connection, column: sa.Column[Any], keys: Sequence[Any]) -> set[str]:
    """Those of the keys that the column holds, as text."""
    backend = connection.dialect.name
    wanted = [fitted(column.name, column.type, key, backend) for key in keys]
    held: set[str] = set()
    for start in range(0, len(wanted), ROWS):
        query = sa.select(column).where(column.in_(wanted[start : start + ROWS]))
        held.update(str(value) for value in connection.scalars(query))
    return held


def _build(settings: DatabaseSettings, context: Context) -> Database:
    url = sa.make_url(settings.url.get_secret_value())
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        url = url.set(database=str(context.beside(Path(url.database))))
        settings = settings.model_copy(update={"url": SecretStr(url.render_as_string(hide_password=False))})
    return Database(settings)


CONNECTOR = Connector(
    name="database",
    summary="SQLite or PostgreSQL: a table for each object, rows upserted by their key",
    settings=DatabaseSettings,
    build=_build,
    secrets_note="url may carry a password",
)
