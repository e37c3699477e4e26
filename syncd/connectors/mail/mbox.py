"""The `mbox` source: mails in one file, read without ever changing it. The registry builds it; the intake polls it.

The cursor is where reading stopped and a digest of what stands before it. A file that grew is read on from there; one that was
rotated is finished under its new name; one that was rewritten is read again by date, and the ids keep it from doubling.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level
from syncd.connector import Batch, Connector, Context
from syncd.connectors.mail.dropbox import read_incoming
from syncd.connectors.mail.imap_cursor import RESYNC_MARGIN, START_MARGIN
from syncd.connectors.mail.mbox_file import Busy, Piece, mark, open_file, pieces, settled_size
from syncd.connectors.mail.reading import SIGNALS, Envelope, Readings, Rules
from syncd.connectors.mail.sent import SENT_SIGNAL, types_of
from syncd.connectors.mail.settings import MailSettings
from syncd.connectors.mail.some_failed import of_some
from syncd.errors import Failure, Misconfigured, Transient
from syncd.signals import Route

PAGE, PAGE_BYTES = 50, 4_000_000
"""Mails a batch, and bytes: one that is larger is a batch alone."""
SIBLINGS = 20
"""Files beside a rotated one that are looked at for the rest of it."""

_STALE = timedelta(hours=1).total_seconds()


class MboxSettings(MailSettings):
    """Keys of an `mbox` source."""

    paths: tuple[Path, ...] = Field(
        min_length=1, description="The files, such as /var/mail/sales. A missing file counts as empty."
    )


class MboxPosition(msgspec.Struct):
    """How far one file was read. `mark`: digest of what stands before `offset`. `inode`: which file it was. `at`: when it was
    last looked at. `floor`: it was rewritten and is read again: what arrived before is left. `tail`: its size when the last
    mail in it seemed unfinished; it is taken as it is when nothing is added."""

    offset: int
    mark: bytes
    inode: int
    at: float
    floor: float | None = None
    tail: int = 0


class State(msgspec.Struct):
    """The cursor. `started`: what is older is backfill's."""

    started: float
    places: dict[str, MboxPosition] = {}


class MboxBackfillState(msgspec.Struct):
    """Of a backfill: the file under way, how far, and the digest of what stands before."""

    path: str
    offset: int
    mark: bytes


class MboxSource:
    """Polls and backfills mbox files. Holds no state but its settings."""

    def __init__(self, settings: MboxSettings, context: Context) -> None:
        self._paths = {str(path): context.beside(path) for path in settings.paths}
        self._max_size = int(settings.max_size)
        self._clock = context.clock
        self._rules = Rules(
            context.name,
            frozenset(settings.own_addresses),
            settings.lists,
            settings.auto_replies,
            settings.capture == "headers",
            context.region,
            settings.dropbox,
        )

    def start(self, now: datetime) -> bytes:
        """Behind everything that is there now. A file that does not open begins when it does, and the polls tell of it.
        Raises Failure when none opens."""
        state = State(now.timestamp())
        failure: Failure | None = None
        for name, path in self._paths.items():
            try:
                state.places[name] = self._now(path, now)
            except Failure as error:
                failure = failure or error
        if failure and not state.places:
            raise failure
        return msgspec.msgpack.encode(state)

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """What was added to each file. A file that is new in the settings, or never opened, starts at now."""
        cursor = msgspec.msgpack.decode(state, type=State)
        failure: Failure | None = None
        read = 0
        for name, path in self._paths.items():
            try:
                if name not in cursor.places:
                    cursor.places[name] = self._now(path, now)
                    yield Batch(state=msgspec.msgpack.encode(cursor))
                else:
                    yield from self._poll_file(path, cursor.places[name], cursor, now)
                read += 1
            except Failure as error:
                failure = failure or error
        if failure:
            raise of_some(failure, now) if read else failure

    def _poll_file(self, path: Path, place: MboxPosition, cursor: State, now: datetime) -> Iterator[Batch]:
        with ExitStack() as stack:
            try:
                file: BinaryIO = stack.enter_context(_opened(path))
                size = _whole(file, path)
                inode = os.fstat(file.fileno()).st_ino
            except FileNotFoundError:  # mail programs take an empty one away, and rotation leaves none for a while
                file, size, inode = BytesIO(), 0, 0
            if size < place.offset or mark(file, place.offset) != place.mark:
                rest = self._renamed(path, place, stack)
                if rest is not None:
                    yield from self._read_on(rest, os.fstat(rest.fileno()).st_size, place, cursor, now, last=True)
                # Rotated, it holds new mail alone; rewritten, old mail too: the date tells, and ids keep from doubling.
                window = max(place.at - RESYNC_MARGIN, cursor.started - START_MARGIN)
                place.floor = window if place.floor is None else min(place.floor, window)
                place.offset, place.mark, place.tail = 0, mark(file, 0), 0
            place.inode = inode
            yield from self._read_on(file, size, place, cursor, now, last=size == place.tail)

    def _read_on(
        self, file: BinaryIO, size: int, place: MboxPosition, cursor: State, now: datetime, *, last: bool
    ) -> Iterator[Batch]:
        """From where reading stopped. `last`: the last mail is taken however it ends."""
        before = msgspec.msgpack.encode(place)
        for page, end in _pages(pieces(file, place.offset, size, self._max_size), last=last):
            position = file.tell()
            wanted = [piece for piece in page if not _arrived_before(piece, place.floor)]
            read = self._read(wanted, now, Route.POLL)
            signals = read.signals
            if place.floor is not None:
                history = cursor.started - RESYNC_MARGIN
                signals = [signal for signal in signals if signal.occurred_at.timestamp() >= history]
            place.offset, place.mark, place.tail = end, mark(file, end), 0
            file.seek(position)
            state = msgspec.msgpack.encode(cursor)
            yield Batch(signals=signals, state=state, dropped=read.dropped, formerly=read.formerly)
        place.tail = size if place.offset < size else 0
        if size and not place.tail:
            place.floor = None
        if msgspec.msgpack.encode(place) != before or now.timestamp() - place.at > _STALE:
            place.at = now.timestamp()
            yield Batch(state=msgspec.msgpack.encode(cursor))

    def _renamed(self, path: Path, place: MboxPosition, stack: ExitStack) -> BinaryIO | None:
        """The file that was read so far, under another name beside it (`mbox.1`), moved there or copied."""
        beside = [other for other in path.parent.glob(f"{path.name}[.-]*") if not other.name.endswith(".lock")]
        for other in sorted(beside, key=_changed, reverse=True)[:SIBLINGS]:
            try:
                file = stack.enter_context(open_file(other))
                found = os.fstat(file.fileno())
                same = found.st_ino == place.inode or place.offset > 0
                if same and found.st_size >= place.offset and mark(file, place.offset) == place.mark:
                    return file
            except OSError:
                continue
        return None

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every mail of the range, in the order of the files; one that was rewritten meanwhile is read again."""
        progress = msgspec.msgpack.decode(state, type=MboxBackfillState) if state else None
        names = list(self._paths)
        if progress and progress.path in names:
            names = names[names.index(progress.path) :]
        for name in names:
            path = self._paths[name]
            with _opened_or_misconfigured(path) as file:
                size, offset = _whole(file, path), 0
                if progress and progress.path == name and mark(file, progress.offset) == progress.mark:
                    offset = progress.offset
                for page, end in _pages(pieces(file, offset, size, self._max_size), last=True):
                    position = file.tell()
                    read = self._read(page, self._clock(), Route.BACKFILL)
                    state = msgspec.msgpack.encode(MboxBackfillState(name, end, mark(file, end)))
                    file.seek(position)
                    wanted = [signal for signal in read.signals if since <= signal.occurred_at < until]
                    yield Batch(signals=wanted, state=state, dropped=read.dropped, formerly=read.formerly)

    def check_online(self) -> Iterator[Finding]:
        """Whether every file is there and may be read."""
        for path in self._paths.values():
            try:
                with _opened_or_misconfigured(path) as file:
                    size = os.fstat(file.fileno()).st_size
                yield Finding(Level.OK, f"file {path.name}", f"readable, {size} bytes")
            except Failure as failed:
                yield Finding(Level.FAULT, f"file {path.name}", str(failed))

    def _read(self, page: list[Piece], now: datetime, route: Route) -> Readings:
        read = Readings()
        for piece in page:
            envelope = Envelope(piece.arrived or now, piece.size, piece.seen, piece.truncated)
            read.add(read_incoming(piece.raw, envelope, self._rules, now, route))
        return read

    def _now(self, path: Path, now: datetime) -> MboxPosition:
        with _opened_or_misconfigured(path) as file:
            size = os.fstat(file.fileno()).st_size
            return MboxPosition(size, mark(file, size), os.fstat(file.fileno()).st_ino, now.timestamp())


def _whole(file: BinaryIO, path: Path) -> int:
    """How many bytes may be read. Raises Transient while another program writes."""
    try:
        return settled_size(file, path)
    except Busy:
        raise Transient(f"mbox {path}: another program holds a lock on it; tried again soon", code="busy") from None


def _opened(path: Path) -> BinaryIO:
    """Raises FileNotFoundError, Misconfigured or Transient."""
    try:
        return open_file(path)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise Misconfigured(
            f"mbox {path}: it may not be read; give the user syncd runs as read access", code="permission"
        ) from error
    except IsADirectoryError as error:
        raise _no_file(path) from error
    except OSError as error:
        raise (
            _no_file(path)
            if path.is_dir()
            else Transient(f"mbox {path}: {error.strerror or error}", code=str(error.errno or ""))
        ) from error


def _opened_or_misconfigured(path: Path) -> BinaryIO:
    try:
        return _opened(path)
    except FileNotFoundError:
        raise Misconfigured(
            f"mbox {path}: there is no such file; make an empty one if mail is still to come",
            code="no_file",
            field="paths",
        ) from None


def _no_file(path: Path) -> Misconfigured:
    return Misconfigured(
        f"mbox {path}: a directory, not an mbox file; for a maildir set type: maildir", code="no_file", field="paths"
    )


def _pages(found: Iterator[Piece], *, last: bool) -> Iterator[tuple[list[Piece], int]]:
    """Mails in pages with where each page ends. An unfinished one at the end is left, unless it is to be the `last`."""
    page: list[Piece] = []
    weight = 0
    for piece in found:
        if not piece.closed and not last:
            break
        page.append(piece)
        weight += len(piece.raw)
        if len(page) >= PAGE or weight >= PAGE_BYTES:
            yield page, piece.end
            page, weight = [], 0
    if page:
        yield page, page[-1].end


def _arrived_before(piece: Piece, floor: float | None) -> bool:
    return floor is not None and piece.arrived is not None and piece.arrived.timestamp() < floor


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


CONNECTOR = Connector(
    name="mbox",
    contract=2,
    role="source",
    summary="Mail received and bounces, from mbox files",
    settings=MboxSettings,
    build=MboxSource,
    signals=(*SIGNALS, SENT_SIGNAL),
    makes=lambda settings, switches: types_of(settings),
)
