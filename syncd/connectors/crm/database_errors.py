"""What a database says, as syncd's failure classes: tables by SQLite's error name and by PostgreSQL's SQLSTATE.

Used by the database destination. Nothing said here shows the URL, a statement or a value.
"""

from __future__ import annotations

import re
import sqlite3
from enum import Enum, auto

import sqlalchemy as sa

from syncd.errors import Ambiguous, Failure, Misconfigured, Rejected, Scope, Transient


class DatabaseMeaning(Enum):
    BUSY = auto()
    LOST = auto()
    STOP = auto()
    RULE = auto()
    WRONG = auto()


SQLITE: tuple[tuple[str, DatabaseMeaning], ...] = (
    ("SQLITE_BUSY", DatabaseMeaning.BUSY),
    ("SQLITE_LOCKED", DatabaseMeaning.BUSY),
    ("SQLITE_PROTOCOL", DatabaseMeaning.BUSY),
    ("SQLITE_NOMEM", DatabaseMeaning.BUSY),
    ("SQLITE_SCHEMA", DatabaseMeaning.BUSY),
    ("SQLITE_INTERRUPT", DatabaseMeaning.BUSY),
    ("SQLITE_FULL", DatabaseMeaning.STOP),
    ("SQLITE_READONLY", DatabaseMeaning.STOP),
    ("SQLITE_CANTOPEN", DatabaseMeaning.STOP),
    ("SQLITE_PERM", DatabaseMeaning.STOP),
    ("SQLITE_AUTH", DatabaseMeaning.STOP),
    ("SQLITE_CORRUPT", DatabaseMeaning.STOP),
    ("SQLITE_NOTADB", DatabaseMeaning.STOP),
    ("SQLITE_IOERR", DatabaseMeaning.STOP),
    ("SQLITE_CONSTRAINT", DatabaseMeaning.WRONG),
    ("SQLITE_TOOBIG", DatabaseMeaning.WRONG),
    ("SQLITE_MISMATCH", DatabaseMeaning.WRONG),
    ("SQLITE_RANGE", DatabaseMeaning.WRONG),
    ("SQLITE_ERROR", DatabaseMeaning.RULE),
)
"""Beginning of sqlite3's `sqlite_errorname` -> meaning (sqlite.org/rescode.html)."""

POSTGRESQL: tuple[tuple[str, DatabaseMeaning], ...] = (
    ("40", DatabaseMeaning.BUSY),
    ("55", DatabaseMeaning.BUSY),
    ("57014", DatabaseMeaning.BUSY),
    ("57", DatabaseMeaning.LOST),
    ("08", DatabaseMeaning.LOST),
    ("53100", DatabaseMeaning.STOP),
    ("53", DatabaseMeaning.BUSY),
    ("58", DatabaseMeaning.STOP),
    ("XX", DatabaseMeaning.STOP),
    ("25006", DatabaseMeaning.STOP),
    ("28", DatabaseMeaning.STOP),
    ("3D", DatabaseMeaning.STOP),
    ("0A", DatabaseMeaning.RULE),
    ("42", DatabaseMeaning.RULE),
    ("3F", DatabaseMeaning.RULE),
    ("22", DatabaseMeaning.WRONG),
    ("23", DatabaseMeaning.WRONG),
    ("44", DatabaseMeaning.WRONG),
    ("P0", DatabaseMeaning.WRONG),
)
"""Beginning of the SQLSTATE -> meaning, first fit (postgresql.org, Appendix A)."""

LASTING = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
    "unsupported startup parameter",
)
"""Words of a server's refusal to connect that time does not cure. psycopg gives no SQLSTATE there, and a server may speak another
language: what is not recognised is tried again soon, with its text shown."""
_FATAL = re.compile(r"FATAL:\s+(.+)")
_FIELD = (
    re.compile(r"constraint failed: \w+\.(\w+)"),
    re.compile(r"no such column: (?:\w+\.)?(\w+)"),
    re.compile(r"has no column named (\w+)"),
    re.compile(r'column "([^"]+)"'),
    re.compile(r"Key \(([^)]+)\)="),
)
_VALUES = re.compile(r"=\(.*?\)|(?<=: )[\"'].*", re.DOTALL)


def classified(error: Exception, *, committing: bool = False) -> Failure:
    """The failure behind what SQLAlchemy raised. `committing`: it came from COMMIT, so a lost connection leaves the
    outcome unknown; before COMMIT nothing was written."""
    wrapped = isinstance(error, sa.exc.DBAPIError)
    said = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if said is None or not (wrapped or isinstance(said, sqlite3.Error)):
        return Rejected(f"the row cannot be stored: {_first_line(error)}", code=type(error).__name__)
    code, meaning = _meaning(said)
    text = _first_line(said)
    if meaning is DatabaseMeaning.LOST or getattr(error, "connection_invalidated", False):
        lost = f"the connection to the database broke: {text}"
        return Ambiguous(lost, code=code) if committing else Transient(lost, code=code)
    if meaning is DatabaseMeaning.BUSY:
        return Transient(text, code=code)
    if meaning is DatabaseMeaning.WRONG:
        return Rejected(text, code=code, field=_field(said))
    if meaning is DatabaseMeaning.RULE:
        return Misconfigured(text, code=code, scope=Scope.RULE, field=_field(said))
    if meaning is DatabaseMeaning.STOP:
        return Misconfigured(f"the database refuses to work: {text}", code=code)
    return Transient(text, code=code, known=False)


def _meaning(error: BaseException) -> tuple[str, DatabaseMeaning | None]:
    name = str(getattr(error, "sqlite_errorname", None) or "")
    state = str(getattr(error, "sqlstate", None) or "")
    for prefix, meaning in SQLITE if name else POSTGRESQL:
        if (name or state or "?").startswith(prefix):
            return name or state, meaning
    # psycopg gives no SQLSTATE to what happened before there was a connection, nor to its loss.
    if type(error).__name__ != "OperationalError":
        return type(error).__name__, None
    refused = _FATAL.search(str(error))
    lasting = refused is not None and any(word in refused[1] for word in LASTING)
    return "connection", DatabaseMeaning.STOP if lasting else DatabaseMeaning.LOST


def _field(error: BaseException) -> str:
    diagnosis = getattr(error, "diag", None)
    named = getattr(diagnosis, "column_name", None)
    text = f"{error} {getattr(diagnosis, 'message_detail', None) or ''}"
    return str(named or next((found[1] for pattern in _FIELD if (found := pattern.search(text))), ""))


def _first_line(error: BaseException) -> str:
    """The message without its details and without values of the row."""
    full = str(getattr(error, "orig", None) or error)
    fatal = _FATAL.search(full)
    if fatal is not None:
        return fatal[1].strip()[:200]
    text = full.strip().splitlines() or [type(error).__name__]
    return _VALUES.sub("", text[0]).strip()[:200]
