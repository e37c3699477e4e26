"""A whole copy of a SQLite database while it is in use, with the key of its tokens: `syncd db backup` calls it.

Promise: the copy is one moment of the database, checked and on disk before it gets its name; nothing that exists is written over.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import URL

from syncd.errors import SyncdError, UsageError

PAGES = 1000
"""Pages copied between two checks for other writers."""


def backup(url: URL, target: Path) -> list[Path]:
    """Copies the database to `target`, and its key file (if there is one) to `target`.key. Returns what was made. Raises
    UsageError, SyncdError."""
    if url.get_backend_name() != "sqlite":
        raise UsageError("PostgreSQL is backed up with its own tool: pg_dump -Fc --file FILE DATABASE")
    origin, key = Path(str(url.database)), Path(f"{url.database}.key")
    if not origin.exists():
        raise UsageError(f"database {origin}: does not exist yet; there is nothing to back up")
    key_target = Path(f"{target}.key")
    for path in (target, key_target):
        if path.exists():
            raise UsageError(f"{path} is there already, and a backup is never written over")
    try:
        _copied(origin, target)
        if not key.exists():
            return [target]
        shutil.copyfile(key, key_target)
        key_target.chmod(0o600)
        return [target, key_target]
    except (OSError, sqlite3.Error) as error:
        raise SyncdError(f"the backup {target} cannot be made: {error}") from None


def _copied(origin: Path, target: Path) -> None:
    """By way of a file of another name: whoever finds `target` finds all of it."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        source, copy = sqlite3.connect(origin), sqlite3.connect(part)
        try:
            source.backup(copy, pages=PAGES, sleep=0.01)
            (found,) = copy.execute("PRAGMA quick_check").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"the copy is damaged: {found}")
        finally:
            copy.close()
            source.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
