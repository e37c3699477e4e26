"""Runs the revisions on the connection it is given, in that connection's transaction: DDL too is all or nothing."""

from __future__ import annotations

from typing import Any

from alembic import context

from syncd.runtime.crashpoints import point
from syncd.store.schema import metadata


def _applied(*_: Any, **__: Any) -> None:
    point("in_migration")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    on_version_apply=_applied,
)
context.run_migrations()
