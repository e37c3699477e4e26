"""INSERT … ON CONFLICT in both dialects: the modules of the store use it for rows that are rarely written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table
from sqlalchemy.sql.dml import Insert

if TYPE_CHECKING:
    from syncd.store.database import Database


def upsert(store: Database, table: Table, row: Mapping[str, Any], changes: Mapping[str, Any]) -> Insert:
    """Inserts `row`, or makes `changes` to the row with its primary key (none: leaves it as it is)."""
    keys = list(table.primary_key.columns)
    if store.postgresql:
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        statement = postgres_insert(table).values(dict(row))
        if changes:
            return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes))
        return statement.on_conflict_do_nothing(index_elements=keys)
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    made = sqlite_insert(table).values(dict(row))
    if changes:
        return made.on_conflict_do_update(index_elements=keys, set_=dict(changes))
    return made.on_conflict_do_nothing(index_elements=keys)
