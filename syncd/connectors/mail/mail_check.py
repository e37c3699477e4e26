"""What `check --online` looks at in a mailbox: signing in, what the server can do, and that each folder opens.

The mail sources' `check_online` are these. Nothing is changed over there: folders are opened read-only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from syncd.capabilities import Finding, Level
from syncd.errors import Failure

USEFUL = ("IDLE", "CONDSTORE", "UIDPLUS")
"""Capabilities worth naming (RFC 2177, 7162, 4315)."""


class Examines(Protocol):
    """A signed-in IMAP session."""

    def examine(self, folder: str) -> Any: ...


def check_imap(
    session: Examines, username: str, folders: Sequence[str], capabilities: Sequence[str]
) -> Iterator[Finding]:
    """Findings of a session that is signed in. `capabilities`: those of the server."""
    able = [name for name in USEFUL if name in capabilities]
    yield Finding(
        Level.OK, "sign-in", f"signed in as {username}" + (f"; the server has {', '.join(able)}" if able else "")
    )
    yield from _each(folders, partial(opened_folder, session))


def opened_folder(session: Examines, name: str) -> str:
    """What opening a folder shows. Raises a Failure."""
    return f"opened, {session.examine(name).exists} mails"


def check_maildir(path: Path, folders: Sequence[str], files: Callable[[str], Sequence[Any]]) -> Iterator[Finding]:
    """Whether the folders are there, and may be read. `files` lists a folder, raising a Failure."""

    def looked(folder: str) -> str:
        listed = files(folder)
        unreadable = sum(1 for file in listed[:100] if not os.access(file.path, os.R_OK))
        return f"readable, {len(listed)} mails" + (f", {unreadable} of which may not be read" if unreadable else "")

    yield Finding(Level.OK, "maildir", str(path))
    yield from _each(folders, looked)


def _each(folders: Sequence[str], look: Callable[[str], str]) -> Iterator[Finding]:
    """One finding a folder."""
    for folder in folders:
        yield from check_folder(f"folder {folder}", partial(look, folder))


def check_folder(what: str, look: Callable[[], str]) -> Iterator[Finding]:
    """What a look at one folder shows; one that fails does not hide the others."""
    try:
        yield Finding(Level.OK, what, look())
    except Failure as failed:
        yield Finding(Level.FAULT, what, str(failed))
