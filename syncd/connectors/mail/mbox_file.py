"""Reads mails out of an mbox file, one after the other, however large it is and whoever writes to it. `mbox` calls it.

Nothing is changed and no lock is kept: a writer is asked to stand still only for the instant in which the size is taken.
Memory is bounded by one mail.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from syncd.connectors.mail.message import HEAD_BYTES
from syncd.connectors.text import MIME_FAULTS

STALE_LOCK = 300.0
"""Seconds after which a dot lock is stale: delivery agents break them after five minutes too."""
MARK_BYTES = 1024
_LINE = 64 * 1024

# `From SENDER DATE`, the date as asctime writes it, with a zone before or after the year, or without seconds. A line of prose
# that begins with "From " has no such date; Content-Length, which senders can write too, is not believed.
_SEPARATOR = re.compile(
    rb"From (?:.{0,500} )?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} "
    rb"+\d{1,2}:\d\d(?::\d\d)?(?: +[A-Z]{2,5}| +[+-]\d{4})* +\d{4}(?: +[A-Z]{2,5}| +[+-]\d{4})*\s*$"
)
_DATE = re.compile(rb"(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) +(?P<time>[\d:]+)(?P<rest>.*)$")
_QUOTED = re.compile(rb">+From ")
_READ = re.compile(rb"^Status:[^\n]*R", re.MULTILINE | re.IGNORECASE)


class Busy(Exception):
    """Somebody is writing to the file right now."""


@dataclass(frozen=True)
class Piece:
    """One mail: `raw` without its separator and unquoted, cut to its head when larger than was wanted. `start` and `end`:
    where it lies in the file. `arrived`: by its separator, None when that says nothing believable. `closed`: another one
    follows, or it ends as a mail ends."""

    raw: bytes
    start: int
    end: int
    size: int
    arrived: datetime | None
    truncated: bool
    closed: bool

    @property
    def seen(self) -> bool:
        """Whether it has been read, as mail programs note in the file itself."""
        return _READ.search(self.raw.partition(b"\n\n")[0]) is not None


def open_file(path: Path) -> BinaryIO:
    """Raises OSError, also for a pipe or a directory."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file")
    return file


def settled_size(file: BinaryIO, path: Path) -> int:
    """How many bytes of the file are complete. Raises Busy while another program holds a lock on it: fcntl, flock or a file
    `PATH.lock`."""
    with contextlib.suppress(OSError):
        if time.time() - os.stat(f"{path}.lock").st_mtime < STALE_LOCK:
            raise Busy
    number = file.fileno()
    try:
        fcntl.lockf(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return os.fstat(number).st_size
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise Busy from None
        return os.fstat(number).st_size  # a file system without locks
    finally:
        for unlock in (fcntl.lockf, fcntl.flock):
            with contextlib.suppress(OSError):
                unlock(number, fcntl.LOCK_UN)


def mark(file: BinaryIO, offset: int) -> bytes:
    """What stands before an offset, as a digest: the same file has the same one later."""
    start = max(0, offset - MARK_BYTES)
    file.seek(start)
    return hashlib.blake2b(file.read(offset - start), digest_size=16).digest()


def pieces(file: BinaryIO, start: int, end: int, max_size: int) -> Iterator[Piece]:
    """The mails between two offsets, in order. Bytes before the first separator are nobody's."""
    file.seek(start)
    position, gathered = start, None
    after_blank, whole_line = True, True
    while position < end:
        line = file.readline(min(_LINE, end - position))
        if not line:
            break
        if whole_line and after_blank and line.startswith(b"From ") and _SEPARATOR.match(line):
            if gathered is not None:
                yield gathered.piece(position, closed=True)
            gathered = _Gathered(position, _arrived(line), max_size)
        elif gathered is not None:
            gathered.add(line[1:] if whole_line and _QUOTED.match(line) else line)
        position += len(line)
        after_blank = whole_line and line in (b"\n", b"\r\n")
        whole_line = line.endswith(b"\n")
    if gathered is not None:
        yield gathered.piece(position, closed=after_blank)


class _Gathered:
    """A mail on its way: all of it while it is small, else its head."""

    def __init__(self, start: int, arrived: datetime | None, max_size: int) -> None:
        self._start = start
        self._arrived = arrived
        self._max_size = max_size
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        if self._size <= self._max_size:
            self._parts.append(line)
            if self._size + len(line) > self._max_size:
                self._parts = [b"".join(self._parts)[:HEAD_BYTES]]
        self._size += len(line)

    def piece(self, end: int, *, closed: bool) -> Piece:
        raw = b"".join(self._parts)
        return Piece(raw, self._start, end, self._size, self._arrived, self._size > self._max_size, closed)


def _arrived(separator: bytes) -> datetime | None:
    found = _DATE.search(separator)
    if found is None:
        return None
    rest = found["rest"].decode("ascii", "replace").split()
    year = next((word for word in rest if word.isdigit() and len(word) == 4), "")
    zone = next((word for word in rest if word != year and word[:1] in "+-"), "+0000")
    written = f"{found['day'].decode()} {found['month'].decode()} {year} {found['time'].decode()} {zone}"
    try:
        return parsedate_to_datetime(written).astimezone(UTC)
    except MIME_FAULTS:
        return None
