"""The tables of a database destination: read once, and made or widened for the writes at hand where that is wanted.

Used by the database destination, under its lock. A table is known as the database describes it, never as we assume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from syncd.connector import Write
from syncd.connectors.crm.database_rows import column_type
from syncd.errors import Misconfigured, Scope

ID = "id"
"""The primary key of a table made here, unless the mapping writes a column of that name itself."""


LONGEST_NAME = 63
"""Bytes of a table's, column's or index's name in PostgreSQL, which cuts a longer one without an error (NAMEDATALEN)."""


def too_long(name: str) -> str:
    """Why PostgreSQL cannot keep this name of a table (perhaps `schema.table`) or column, "" when it can."""
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in name.split("."))
    if longest <= LONGEST_NAME:
        return ""
    return f"names in PostgreSQL have at most {LONGEST_NAME} bytes, this one has {longest}"


def index_name(table: str, key: str) -> str:
    """The name of a key's unique index, within what PostgreSQL keeps."""
    name = f"uq_{table}_{key}"
    if not too_long(name.replace(".", "_")):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name.encode()[:40].decode('utf-8', 'ignore')}_{digest}"


class Tables:
    """Tables by object name. `create`: make what is missing; else what is missing is a fault of the rule."""

    def __init__(self, engine: sa.Engine, *, create: bool) -> None:
        self._engine = engine
        self._create = create
        self._known: dict[str, sa.Table] = {}

    def forget(self) -> None:
        """Read the tables again: they may have been changed."""
        self._known.clear()

    def get(self, object_: str) -> sa.Table | None:
        """The table, None when it does not exist."""
        if object_ not in self._known:
            schema, _, name = object_.rpartition(".")
            try:
                table = sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=self._engine)
            except sa.exc.NoSuchTableError:
                return None
            if self._engine.dialect.name == "sqlite":
                for one in table.columns:
                    if isinstance(one.type, sa.Numeric) and not isinstance(one.type, sa.Float):
                        one.type = SqliteNumber()
            self._known[object_] = table
        return self._known[object_]

    def ready(self, writes: Iterable[Write]) -> None:
        """Makes the tables, columns and unique indexes these writes need, where `create` says so. Raises Misconfigured (rule)
        for names that PostgreSQL would cut."""
        for object_, of_object in _by_object(writes).items():
            if self._engine.dialect.name == "postgresql":
                _check_names(object_, of_object)
            if not self._create:
                continue
            needed: dict[str, Any] = {}
            for write in of_object:
                for name, value in columns_of(write).items():
                    if needed.get(name) is None:
                        needed[name] = value
            keys = {w.key_field: None for w in of_object if w.key_field}
            self._widen(object_, needed, tuple(keys))

    def _widen(self, object_: str, needed: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        table = self.get(object_)
        if table is None:
            self._make(object_, needed)
        else:
            missing = [name for name in needed if find_column(table, name) is None]
            if missing:
                self._add(table, {name: needed[name] for name in missing})
                self._known.pop(object_, None)
        table = self.get(object_)
        for key in keys:
            if table is not None and not is_unique(table, key):
                self._index(table, key)
                self._known.pop(object_, None)

    def _make(self, object_: str, needed: Mapping[str, Any]) -> None:
        schema, _, name = object_.rpartition(".")
        columns = [sa.Column(n, column_type(v)) for n, v in needed.items()]
        if ID not in (n.lower() for n in needed):
            whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
            columns.insert(0, sa.Column(ID, whole, primary_key=True, autoincrement=True))
        sa.Table(name, sa.MetaData(), *columns, schema=schema or None).create(self._engine, checkfirst=True)

    def _add(self, table: sa.Table, needed: Mapping[str, Any]) -> None:
        quote = self._engine.dialect.identifier_preparer
        with self._engine.begin() as connection:
            for name, value in needed.items():
                kind = column_type(value).compile(self._engine.dialect)
                statement = " ".join(("ALTER TABLE", quote.format_table(table), "ADD COLUMN", quote.quote(name), kind))
                connection.exec_driver_sql(statement)

    def _index(self, table: sa.Table, key: str) -> None:
        column = find_column(table, key)
        if column is None:
            return
        made = sa.Index(index_name(table.name, key), column, unique=True)
        try:
            made.create(self._engine, checkfirst=True)
        except sa.exc.IntegrityError:
            raise Misconfigured(
                f"{table.name}.{key} cannot be the key: rows there share a value; make it unique",
                code="not unique",
                scope=Scope.RULE,
                field=key,
            ) from None


class SqliteNumber(sa.types.UserDefinedType[Any]):
    """NUMERIC without SQLAlchemy's detour through float, which would round whole numbers beyond 2**53."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "NUMERIC"


def columns_of(write: Write) -> dict[str, Any]:
    """Column -> value of everything a write may set, the key included."""
    key = {write.key_field: write.key} if write.key_field else {}
    cleared: dict[str, Any] = dict.fromkeys(write.clear)
    links = {name: link.id for name, link in write.links.items() if link.id}
    return {**cleared, **write.on_create, **write.fields, **links, **key}


def find_column(table: sa.Table, name: str) -> sa.Column[Any] | None:
    """The column by its name, else the only one that differs in case alone."""
    if name in table.columns:
        return table.columns[name]
    alike = [c for c in table.columns if c.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def is_unique(table: sa.Table, name: str) -> bool:
    """Whether the database itself refuses two rows with one value in this column."""
    column = find_column(table, name)
    if column is None:
        return False
    if [c.name for c in table.primary_key.columns] == [column.name]:
        return True
    indexed = any(i.unique and [c.name for c in i.columns] == [column.name] for i in table.indexes)
    held = any(
        isinstance(c, sa.UniqueConstraint) and [k.name for k in c.columns] == [column.name] for c in table.constraints
    )
    return indexed or held


def _check_names(object_: str, writes: Iterable[Write]) -> None:
    for name in dict.fromkeys((object_, *(column for write in writes for column in columns_of(write)))):
        why = too_long(name)
        if why:
            raise Misconfigured(f"{name}: {why}; shorten it", code="name", scope=Scope.RULE, field=name)


def _by_object(writes: Iterable[Write]) -> dict[str, list[Write]]:
    grouped: dict[str, list[Write]] = {}
    for write in writes:
        grouped.setdefault(write.object, []).append(write)
    return grouped
