"""What the tables of a database destination look like, and making them ahead of the first write. Nothing here writes a row.

The destination's `describe`, `check_online` and `prepare` are these, called under its lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from syncd.capabilities import FieldDescription, Finding, Level, MissingField, PrepareResult
from syncd.connector import Write
from syncd.connectors.crm.database_errors import classified
from syncd.connectors.crm.database_tables import Tables, find_column, is_unique
from syncd.errors import Failure

SAMPLES: Mapping[str, Any] = {
    "date": date(2000, 1, 1),
    "datetime": datetime(2000, 1, 1, tzinfo=UTC),
    "number": 0,
    "checkbox": False,
}
"""Type of a need -> a value of that type: a column is made for values. All else is text."""


@contextmanager
def translated() -> Iterator[None]:
    """What the database says, as our failures."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise classified(error) from None


def place(url: sa.URL) -> str:
    """Where it is, without user and password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else f"{url.host or 'local'}/{url.database}"


def absent(url: sa.URL) -> bool:
    """Whether connecting would make a new SQLite file. Without its folder it can not: connecting says so."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return False
    return not Path(url.database).exists() and Path(url.database).absolute().parent.is_dir()


def describe(tables: Tables, objects: Sequence[str]) -> dict[str, tuple[FieldDescription, ...]]:
    """The columns of the tables that are there."""
    found = {}
    for object_ in objects:
        table = tables.get(object_)
        if table is not None:
            found[object_] = tuple(_column(table, column) for column in table.columns)
    return found


def _column(table: sa.Table, column: sa.Column[Any]) -> FieldDescription:
    unique = is_unique(table, column.name)
    # SQLite and serial columns number their key themselves; anything else NOT NULL without a default must be given.
    numbered = column.primary_key and isinstance(column.type, sa.Integer)
    filled = column.nullable or column.server_default is not None or column.identity is not None or numbered
    text = isinstance(column.type, sa.String)
    computed = column.computed is not None
    return FieldDescription(
        name=column.name,
        type=str(column.type),
        length=column.type.length if text else None,  # type: ignore[attr-defined]
        required=not filled and not computed,
        unique=unique,
        key=unique,
        creatable=not computed,
        updatable=not computed,
    )


def check(engine: sa.Engine, where: str, *, create: bool) -> Iterator[Finding]:
    """Connects, and asks whether tables may be made where they are to be."""
    with engine.connect() as connection:
        postgresql = engine.dialect.name == "postgresql"
        version = ".".join(str(part) for part in engine.dialect.server_version_info or ())
        yield Finding(Level.OK, "connection", f"{'PostgreSQL' if postgresql else 'SQLite'} {version} at {where}")
        if not (postgresql and create):
            return
        may = connection.scalar(sa.text("SELECT has_schema_privilege(current_user, current_schema(), 'CREATE')"))
        if not may:
            text = "this user may not make tables, and create_tables is on"
            yield Finding(Level.WARNING, "rights", text, "grant CREATE on the schema, or make the tables yourself")


def unmade(needs: Sequence[MissingField]) -> Iterator[PrepareResult]:
    """The steps of a dry run where there is no database yet."""
    return (_step(need, False, None, dry=True) for need in needs)


def prepare(engine: sa.Engine, needs: Sequence[MissingField], *, dry: bool) -> Iterator[PrepareResult]:
    """One step a need; a table is made with all its columns by the first of them."""
    tables = Tables(engine, create=True)
    there = {(need.object, need.field): _there(tables, need) for need in needs}
    refused: dict[str, Failure] = {}
    for object_ in dict.fromkeys(need.object for need in needs):
        if dry or all(there[need.object, need.field] for need in needs if need.object == object_):
            continue
        try:
            tables.ready([_write(object_, [need for need in needs if need.object == object_])])
        except Failure as failed:
            refused[object_] = failed
        except sa.exc.SQLAlchemyError as error:
            refused[object_] = classified(error)
    for need in needs:
        yield _step(need, there[need.object, need.field], refused.get(need.object), dry=dry)


def _step(need: MissingField, there: bool, refused: Failure | None, *, dry: bool) -> PrepareResult:
    place = f"{need.object}.{need.field}"
    key = " with a unique index" if need.key else ""
    if there:
        return PrepareResult(need, True, f"{place} is there")
    if refused is not None:
        text = (
            f"{place} could not be made: {refused}. By hand: add a column {need.field} ({need.type}){key} to the table"
        )
        return PrepareResult(need, False, f"{text} {need.object}", by_hand=True)
    return PrepareResult(need, not dry, f"{'would make' if dry else 'made'} {place} ({need.type}){key}")


def _there(tables: Tables, need: MissingField) -> bool:
    table = tables.get(need.object)
    return table is not None and find_column(table, need.field) is not None


def _write(object_: str, needs: Sequence[MissingField]) -> Write:
    """A write that would need these columns."""
    key = next((need.field for need in needs if need.key), "")
    fields = {need.field: SAMPLES.get(need.type, "") for need in needs if need.field != key}
    return Write(key="", object=object_, key_field=key, fields=fields)
