"""Our own database, looked at from outside: is it there, up to date, writable, with room, and does its key open the tokens?

`check --online` calls it first, and works on with the store when it can be opened. Nothing is migrated or made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from syncd.capabilities import Finding, Level
from syncd.config.models import Settings
from syncd.errors import SyncdError, UsageError
from syncd.service.assembly import anchored, open_store
from syncd.store import Store
from syncd.store.engine import parse_url
from syncd.store.revisions import db_info

LITTLE, LEAST = 1024**3, 100 * 1024**2
"""Bytes free on the disk of a SQLite file: below the first a warning, below the second a fault."""


def opened(settings: Settings, base: Path) -> tuple[Store | None, list[Finding]]:
    """The store as it is, None when it cannot be used yet, and what was found."""
    url = anchored(settings.database.get_secret_value(), base)
    found: list[Finding] = []
    try:
        info = db_info(url)
        if not info.revision:
            remedy = "`syncd run` or `syncd db upgrade` makes it"
            found.append(Finding(Level.WARNING, "database", f"{info.place}: there are no tables yet", remedy))
            found.extend(_room(url))
            return None, found
        if info.due:
            text = f"{info.place}: revision {info.revision}, this syncd needs {info.head}"
            found.append(
                Finding(Level.WARNING, "database", text, "`syncd run` or `syncd db upgrade` brings it up to date")
            )
            found.extend(_room(url))
            return None, found
        store = open_store(settings, base, migrate=False)
        store.refusals.bypass()
    except SyncdError as error:
        return None, [Finding(Level.FAULT, "database", str(error))]
    found.append(Finding(Level.OK, "database", f"{info.server} at {info.place}, up to date"))
    found.extend(_works(store))
    found.extend(_room(url))
    return store, found


def _works(store: Store) -> Iterator[Finding]:
    try:
        store.probe()
    except SyncdError as error:
        yield Finding(Level.FAULT, "commit", str(error))
        return
    yield Finding(Level.OK, "commit", "a commit reaches the disk")
    if store.pooled():
        text = "reached through a pooler: no LISTEN, several machines look for each other's work every few seconds"
        yield Finding(Level.OK, "pooler", text)
    try:
        store.tokens.check()
    except (UsageError, SyncdError) as error:
        yield Finding(Level.FAULT, "secret_key", str(error))
    else:
        yield Finding(Level.OK, "secret_key", "the key is there and opens the stored tokens")


def _room(url: str) -> Iterator[Finding]:
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return
    folder = Path(str(parsed.database)).absolute().parent
    try:
        status = os.statvfs(folder)
    except OSError:
        return  # said already: the directory is not there
    free = status.f_bavail * status.f_frsize
    level = Level.FAULT if free < LEAST else Level.WARNING if free < LITTLE else Level.OK
    remedy = "" if level is Level.OK else "free some space, or move the database"
    yield Finding(level, "disk", f"{free / 1024**3:.1f} GB free at {folder}", remedy)
