"""Which migration a database has, and bringing it up to date: `Store.open`, `syncd db info` and `syncd db upgrade`.

Promise: Alembic is imported only when something is due; two daemons that start at once migrate once; a kill in mid-migration
leaves the database as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, Table, func, inspect, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from syncd.errors import UsageError
from syncd.runtime.lazy_imports import hide_optional
from syncd.store import engine as engines

HEAD = "0010"
"""The newest revision in migrations/versions; a test holds it."""

SCRIPTS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class DbInfo:
    """What is known of a database. `revision` is "" for an empty one; `tables`: name -> rows; `size` in bytes."""

    place: str
    server: str
    revision: str
    head: str
    size: int
    tables: dict[str, int]

    @property
    def due(self) -> bool:
        return self.revision != self.head


def revision(connection: Connection) -> str:
    """The revision the tables have, "" for a database without ours."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def migrate_if_due(engine: Engine, *, allowed: bool = True) -> bool:
    """Brings the tables to HEAD; True if something was done. Raises UsageError for a newer database, or one that is due
    when not `allowed`."""
    with engine.connect() as connection:
        found = _quick_revision(connection)
    if found == HEAD:
        return False
    if found:
        _refuse_newer(found, engine)
    if not allowed:
        raise UsageError(
            f"database {engines.place(engine.url)}: its tables are at revision {found or 'none'}, this syncd needs {HEAD}; "
            "run `syncd db upgrade`"
        )
    return _upgrade(engine)


def _quick_revision(connection: Connection) -> str:
    try:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
    except (OperationalError, ProgrammingError) as error:
        state = getattr(error.orig, "sqlstate", "")
        if "no such table" in str(error.orig) or state == "42P01":
            return ""
        raise


def _refuse_newer(found: str, engine: Engine) -> None:
    from alembic.script import ScriptDirectory

    if found not in {script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()}:
        raise UsageError(
            f"database {engines.place(engine.url)}: it was written by a newer syncd (revision {found}, this one knows {HEAD}); "
            "install that version again, or restore a backup from before"
        )


def _upgrade(engine: Engine) -> bool:
    with hide_optional("pygments"):  # for templates of new revisions, which are not made here
        from alembic import command
        from alembic.config import Config

    with engine.connect() as plain:
        connection = plain.execution_options(**{engines.WRITES: True})
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = 0"))  # another's migration may take its time
                connection.execute(text(f"SELECT pg_advisory_xact_lock({engines.MIGRATION_LOCK})"))
            if revision(connection) == HEAD:  # another process was quicker
                return False
            config = Config()
            config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return True


def read_info(engine: Engine) -> DbInfo:
    """Counts every table: a moment on a large database."""
    with engine.connect() as connection:
        found = revision(connection)
        names = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        counts = {
            name: connection.execute(select(func.count()).select_from(Table(name, MetaData()))).scalar_one()
            for name in names
        }
        if engine.dialect.name == "postgresql":
            server = f"PostgreSQL {connection.execute(text('SHOW server_version')).scalar_one()}"
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        else:
            server = f"SQLite {connection.execute(text('SELECT sqlite_version()')).scalar_one()}"
            size = sum(
                part.stat().st_size for tail in ("", "-wal") if (part := Path(f"{engine.url.database}{tail}")).exists()
            )
    return DbInfo(engines.place(engine.url), server, found, HEAD, int(size), counts)


def db_info(url: str) -> DbInfo:
    """`syncd db info`: looks without changing anything (a missing SQLite file is not made). Raises StoreUnavailable."""
    parsed = engines.parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).exists():
        return DbInfo(engines.place(parsed), "SQLite, no file yet", "", HEAD, 0, {})
    engine = engines.make_engine(parsed)
    try:
        with engines.translated(engines.place(parsed)):
            return read_info(engine)
    finally:
        engine.dispose()


def upgrade(url: str) -> bool:
    """`syncd db upgrade`: True if something was done. Raises StoreUnavailable, UsageError."""
    parsed = engines.parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engines.prepare_sqlite(parsed)
    engine = engines.make_engine(parsed)
    try:
        with engines.translated(engines.place(parsed)):
            return migrate_if_due(engine)
    finally:
        engine.dispose()
