"""Rows of a database destination, made ready and written in one transaction. The destination calls `row_of`, then `transaction`.

Promise: in the order of the writes, upserted by their key; a refused row is left out alone, in the second, careful pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from syncd.connector import Outcome, Write, Written
from syncd.connectors.crm.database_errors import classified
from syncd.connectors.crm.database_rows import fitted
from syncd.connectors.crm.database_tables import Tables, columns_of, find_column, is_unique
from syncd.errors import Misconfigured, Rejected, Scope, StaleReference

ROWS = 500


@dataclass(frozen=True)
class TableWrite:
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


class RowFailed(Exception):
    """A row was refused; which one, only a slower pass tells."""


def row_of(place: int, write: Write, tables: Tables, backend: str) -> TableWrite:
    """The write in terms of its table. Raises Misconfigured (rule) for what is not there, BadValue for what does not fit."""
    table = tables.get(write.object)
    if table is None:
        raise _missing(f"there is no table {write.object!r}; create it, or set create_tables: true", "")
    if write.key_field and not is_unique(table, write.key_field) and find_column(table, write.key_field) is not None:
        text = f"{write.object}.{write.key_field} is not a unique key: put a unique index on it"
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
    return TableWrite(place, table, key, always, {} if id_ else {n: values[n] for n in values if n in first}, id_)


def _missing(message: str, field: str) -> Misconfigured:
    return Misconfigured(message, code="missing", scope=Scope.RULE, field=field)


def transaction(engine: sa.Engine, rows: Sequence[TableWrite], *, careful: bool) -> dict[int, Outcome]:
    """Writes the rows and commits. Quick: whole groups at once, raising RowFailed when any row is refused. Careful: one
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


def _tables(rows: Sequence[TableWrite]) -> list[tuple[tuple[sa.Table, str], list[TableWrite]]]:
    grouped: dict[tuple[sa.Table, str], list[TableWrite]] = {}
    for row in rows:
        grouped.setdefault((row.table, row.key), []).append(row)
    return list(grouped.items())


def _held(connection: sa.Connection, rows: Sequence[TableWrite]) -> set[str]:
    """The keys of these rows that are there before the write."""
    key = rows[0].key
    return present(connection, rows[0].table.columns[key], [r.always[key] for r in rows]) if key else set()


def _alike(rows: Iterable[TableWrite]) -> Iterator[list[TableWrite]]:
    """Neighbours of one shape together: the order of the writes is kept. Rows that need their own id back stay alone."""
    group: list[TableWrite] = []
    for row in rows:
        if group and (row.shape != group[0].shape or not row.key):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _group(connection: sa.Connection, rows: list[TableWrite], held: set[str], *, careful: bool) -> dict[int, Outcome]:
    try:
        with connection.begin_nested() if careful else _NoSavepoint():
            return _execute(connection, rows, held)
    except (sa.exc.DBAPIError, sa.exc.StatementError, OverflowError, UnicodeError) as error:
        meant = classified(error)
        if not isinstance(meant, Rejected | Misconfigured) or getattr(meant, "scope", Scope.RULE) is not Scope.RULE:
            raise meant from None
        if not careful:
            raise RowFailed from None
        return {row.place: meant for row in rows}


class _NoSavepoint:
    """A context that does nothing."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _execute(connection: sa.Connection, rows: list[TableWrite], held: set[str]) -> dict[int, Outcome]:
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


def _insert(backend: str, row: TableWrite) -> Any:
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


def _update(connection: sa.Connection, row: TableWrite) -> Outcome:
    """A row without a key column, by its primary key."""
    column = next(iter(row.table.primary_key.columns), None)
    if column is None:
        return Rejected(f"table {row.table.name!r} has no primary key to find row {row.id} by", code="no primary key")
    id_ = fitted(column.name, column.type, int(row.id) if row.id.isdigit() else row.id, connection.dialect.name)
    done = connection.execute(row.table.update().where(column == id_), row.always)
    if done.rowcount == 0:
        return StaleReference(f"row {row.id} of {row.table.name!r} is gone", code="gone")
    return Written(row.id, False)


def present(connection: sa.Connection, column: sa.Column[Any], keys: Sequence[Any]) -> set[str]:
    """Those of the keys that the column holds, as text."""
    backend = connection.dialect.name
    wanted = [fitted(column.name, column.type, key, backend) for key in keys]
    held: set[str] = set()
    for start in range(0, len(wanted), ROWS):
        query = sa.select(column).where(column.in_(wanted[start : start + ROWS]))
        held.update(str(value) for value in connection.scalars(query))
    return held
