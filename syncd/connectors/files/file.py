"""`type: file`: rows of files in a folder become contact.changed or account.changed. The registry builds it; the intake polls it.

A file is read when it has been still for `settle`, and again when it changes. How far it was read is kept by its stamp
(time, size, inode): a replaced file begins again. Ids make rows that were seen before repeats.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
import orjson
from pydantic import Field, field_validator

from syncd.capabilities import TablePreview
from syncd.connector import Batch, Connector, ConnectorSettings, Context, Request, SignalSpec, UnparsedItem
from syncd.connectors.files.headers import columns, guess, misspelled, unnamed
from syncd.connectors.files.reading import RowContext, misfit, pages
from syncd.connectors.files.rows import TYPES, signal_of
from syncd.connectors.files.tables import Table, TableOptions, open_table
from syncd.durations import Duration
from syncd.errors import Failure, Malformed, Misconfigured, Transient
from syncd.signals import Route, Signal

SAMPLES = 3
MOST_FILES = 10_000
MOST_MISFITS = 1_000
"""Wrong rows of one file that are kept one by one; more are counted."""


class FileSettings(ConnectorSettings):
    """Keys of a `file` source."""

    path: Path = Field(description="A file, or a pattern such as `inbox/*.csv`: CSV, XLSX, XLS, ODS or JSON.")
    kind: Literal["contact", "account"] = Field(alias="as", description="What a row is: a person or a company.")
    map: dict[str, str | None] = Field(
        default={}, description="Column mapping, where the guess is wrong: `{email: Mailbox, phone: null}`."
    )
    sheet: str = Field("", description="The sheet of a workbook; default: the first that has rows and is not hidden.")
    encoding: str = Field(
        "",
        description="Encoding of text files, such as `windows-1258` or `gb18030`; default: detected by content and `region:`.",
    )
    settle: Duration = Field(
        default=timedelta(seconds=5), description="How long a file must be unchanged before it is read."
    )

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, name: str) -> str:
        if name:
            from syncd.connectors.charsets import codec_of  # large tables: only where a file says its encoding

            if not codec_of(name):
                raise ValueError(f"{name!r} is not a known encoding; examples: utf-8, windows-1258, gb18030, shift_jis")
        return name

    @field_validator("map")
    @classmethod
    def _map_is_spelled(cls, wanted: dict[str, str | None]) -> dict[str, str | None]:
        for name in wanted:
            if meant := misspelled(name):
                raise ValueError(f"{name!r} is not a field of a person or company; did you mean {meant}?")
        return wanted


class _Mark(msgspec.Struct):
    """How far a file was read: its stamp, rows done (-1: all). `keys`: those that found no table in it; others may."""

    stamp: tuple[int, int, int]
    rows: int = 0
    wrong: int = 0
    keys: str = ""


@dataclass(frozen=True)
class _Step:
    signals: list[Signal]
    misfits: list[UnparsedItem]
    dropped: dict[str, int]
    mark: _Mark


class FileSource:
    """Polls and backfills. Holds no state but its settings."""

    def __init__(self, settings: FileSettings, context: Context) -> None:
        self._settings = settings
        self._pattern = str(context.beside(settings.path))
        self._context = context
        keys = [settings.kind, settings.sheet, settings.map, *([settings.encoding] if settings.encoding else [])]
        self._keys = orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()

    def start(self, now: datetime) -> bytes:
        """What is there now is history."""
        return _encode({str(path): _Mark(_stamp(path), -1) for path in self._files()})

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """A file that cannot be read does not keep the others from it: its failure comes last."""
        failure: Failure | None = None
        marks = msgspec.msgpack.decode(state, type=dict[str, _Mark])
        files = self._files()
        gone = marks.keys() - {str(path) for path in files}
        for name in gone:
            del marks[name]
        if gone:
            yield Batch(state=_encode(marks))
        for path in files:
            stamp = _stamp(path)
            mark = marks.get(str(path))
            if mark is None or mark.stamp != stamp or mark.keys not in ("", self._keys):
                mark = _Mark(stamp)
            if mark.rows < 0 or abs(now - _moment(stamp)) < self._settings.settle:
                continue
            try:
                for step in self._read(path, mark, now, Route.POLL):
                    marks[str(path)] = step.mark
                    yield Batch(step.signals, state=_encode(marks), misfits=step.misfits, dropped=step.dropped)
            except Failure as error:
                failure = failure or error
        if failure:
            raise failure

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Files that were last written in the range."""
        done = msgspec.msgpack.decode(state, type=dict[str, _Mark]) if state else {}
        for path in self._files():
            stamp = _stamp(path)
            if not since <= _moment(stamp) < until:
                continue
            mark = done.get(str(path))
            mark = mark if mark is not None and mark.stamp == stamp else _Mark(stamp)
            if mark.rows < 0:
                continue
            for step in self._read(path, mark, self._context.clock(), Route.BACKFILL):
                done[str(path)] = step.mark
                yield Batch(step.signals, state=_encode(done), misfits=step.misfits, dropped=step.dropped)

    def reparse(self, request: Request) -> Batch:
        """A wrong row from quarantine again, with the keys and the region as they are now. Raises Malformed."""
        try:
            row = orjson.loads(request.body)
            headers, cells = list(row["row"]), [str(cell) for cell in row["row"].values()]
            file, at = str(row["file"]), datetime.fromisoformat(row["at"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
            raise Malformed(
                "this item is a whole file, not a row: the file is read again when it or the keys of its source "
                "change; discard this item"
            ) from None
        kind, now = self._settings.kind, self._context.clock()
        try:
            found = columns(headers, kind, self._settings.map)
            made = signal_of(headers, cells, found, kind, self._context, occurred_at=at, received_at=now, file=file)
        except Malformed as error:
            raise Malformed(f"{request.url.removeprefix('file:').lstrip('/')}: {error}") from None
        return Batch([made])

    def _read(self, path: Path, mark: _Mark, now: datetime, route: Route) -> Iterator[_Step]:
        """Pages from where the mark stands. Ends early, unmarked, when the file changes meanwhile."""
        settings, written = self._settings, _moment(mark.stamp)
        about = RowContext(settings.kind, path.name, written, now, route)
        wrong = mark.wrong
        try:
            table = self._open(path)
            for page in pages(table, settings.map, about, self._context, skip=mark.rows):
                if _changed(path, mark):
                    return
                wrong += len(page.misfits)
                yield _step(page.signals, page.misfits, mark, -1 if page.last else page.rows, wrong)
        except Malformed as error:
            if not _changed(path, mark):
                whole = misfit(path.name, 0, str(error), {}, written, now)
                yield _Step([], [whole], {}, _Mark(mark.stamp, -1, wrong, self._keys))
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise Misconfigured(f"{path} may not be read; give the user syncd runs as read access") from error
        except OSError as error:
            raise Transient(f"{path}: {error.strerror or error}") from error

    # ------------------------------------------------------------------------------------------------------- import

    def look(self) -> TablePreview:
        """Raises Malformed, OSError."""
        path, settings = Path(self._pattern), self._settings
        table = self._open(path)
        found = {place: what for what, place in guess(table.headers, settings.kind, settings.map).items()}
        samples = tuple(
            {header: cell for header, cell in zip(table.headers, line.cells, strict=False) if cell}
            for line in islice((line for line in table.lines if not line.fault), SAMPLES)
        )
        used = {header for sample in samples for header in sample}
        columns = {
            header: found.get(place, "")
            for place, header in enumerate(table.headers)
            if header in used or header != unnamed(place)  # programs write empty columns behind the last
        }
        return TablePreview(columns=columns, samples=samples, rows=table.rows)

    def table(self, state: bytes | None) -> Iterator[Batch]:
        """The one file. Raises Malformed after what could be read, OSError."""
        path, settings = Path(self._pattern), self._settings
        skip = msgspec.msgpack.decode(state, type=int) if state else 0
        about = RowContext(settings.kind, path.name, _moment(_stamp(path)), self._context.clock(), Route.IMPORT)
        table = self._open(path)
        for page in pages(table, settings.map, about, self._context, skip=skip):
            yield Batch(page.signals, state=msgspec.msgpack.encode(page.rows), misfits=page.misfits)

    def _open(self, path: Path) -> Table:
        """Raises Malformed, OSError."""
        settings = self._settings
        return open_table(path, TableOptions(settings.kind, settings.sheet, settings.encoding, self._context.region))

    def _files(self) -> list[Path]:
        """Raises Misconfigured for more than can be watched."""
        whole = Path(self._pattern)
        folder, rest = _literally(whole)
        matches = {folder / name for name in glob.iglob(rest, root_dir=folder)} if glob.has_magic(rest) else set()
        found = sorted(path for path in matches | {whole} if path.is_file())
        if len(found) > MOST_FILES:
            raise Misconfigured(f"{len(found)} files at {self._pattern}, more than {MOST_FILES}", field="path")
        return found


def _literally(pattern: Path) -> tuple[Path, str]:
    """The folders that are there under the very names a pattern begins with, `[` and all, and the rest of it."""
    folder = Path(pattern.anchor)
    parts = pattern.parts[1:]
    for count, part in enumerate(parts[:-1]):
        if glob.has_magic(part) and not (folder / part).is_dir():
            return folder, str(Path(*parts[count:]))
        folder /= part
    return folder, parts[-1] if parts else ""


def _step(signals: list[Signal], misfits: list[UnparsedItem], mark: _Mark, rows: int, wrong: int) -> _Step:
    """A page; beyond MOST_MISFITS of a file wrong rows are only counted."""
    room = max(0, MOST_MISFITS - (wrong - len(misfits)))
    dropped = {"too many wrong": len(misfits) - room} if len(misfits) > room else {}
    return _Step(signals, misfits[:room], dropped, _Mark(mark.stamp, rows, wrong))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0, 0
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _changed(path: Path, mark: _Mark) -> bool:
    return _stamp(path) != mark.stamp


def _moment(stamp: tuple[int, int, int]) -> datetime:
    try:
        return datetime.fromtimestamp(stamp[0] / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def _encode(marks: dict[str, _Mark]) -> bytes:
    return msgspec.msgpack.encode(marks)


CONNECTOR = Connector(
    name="file",
    contract=2,
    role="source",
    summary="rows of CSV, XLSX, XLS, ODS and JSON files as people or companies that changed",
    settings=FileSettings,
    build=FileSource,
    signals=tuple(
        SignalSpec(signal_type, "poll, backfill: the person or company, and a hash of what the row says", backfill=True)
        for signal_type in TYPES.values()
    ),
    makes=lambda settings, switches: (TYPES[settings.kind],),
)
