"""Asterisk's call detail records as calls: from Master.csv or a database, the rows of one call judged together.

Facts: cdr/cdr_csv.c (16 columns, then uniqueid and userfield, then peeraccount, linkedid and sequence, as cdr.conf says;
no header), cdr_adaptive_odbc and FreePBX's table `cdr`. Times are the server's local ones. A row is one party of a call: a queue
has a row for each phone that rang.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from syncd.connectors.phone.asterisk_calls import CallSides, epoch_of, name_of, number_of
from syncd.connectors.phone.calls import PhoneCall
from syncd.errors import Misconfigured, Transient

COLUMNS = (
    "accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer", "end",
    "duration", "billsec", "disposition", "amaflags",
)  # fmt: skip
NEWER = ("peeraccount", "linkedid", "sequence")
BLOCK = 262_144
"""Bytes of a file that are read at once, from its end."""
_VAIN = frozenset({"NO ANSWER", "NOANSWER", "BUSY", "FAILED", "CONGESTION"})
_MAILBOX = re.compile(r"voicemail|minivm", re.IGNORECASE)
_RINGS = frozenset({"dial", "queue", "followme"})
_CLID = re.compile(r'^\s*"?([^"<]*)"?\s*<')

CdrRow = Mapping[str, str]


class CdrLog(Protocol):
    """Where the records are. Raises Misconfigured or Transient."""

    def rows(self, since: datetime, until: datetime) -> Iterator[CdrRow]:
        """Those that began at about this time (UTC); some beyond it do no harm."""
        ...


@dataclass(frozen=True)
class CdrCall:
    """A call, when its last row ended, and whether its rows name their call."""

    call: PhoneCall
    ended_at: datetime
    linked: bool


def cdr_calls(rows: Iterable[CdrRow], sides: CallSides, zone: tzinfo) -> tuple[list[CdrCall], int]:
    """The calls of these rows by when they began, and how many rows have neither a time nor an id. Without linkedid the rows of a
    uniqueid are one call; without that too, those of a caller that began in the same second."""
    groups: dict[str, list[CdrRow]] = {}
    unread = 0
    for row in rows:
        if _began(row, zone) is None:
            unread += 1
        else:
            groups.setdefault(
                row.get("linkedid") or row.get("uniqueid") or f"{row.get('src')}@{row.get('start')}", []
            ).append(row)
    calls = [_judged(id_, group, sides, zone) for id_, group in groups.items()]
    return sorted(calls, key=lambda one: (one.call.started_at or one.ended_at, one.call.id)), unread


def _judged(id_: str, rows: Sequence[CdrRow], sides: CallSides, zone: tzinfo) -> CdrCall:
    """Taken: a phone of ours, and not the mailbox, answered. Where a queue rings through Local channels, the phones behind them
    tell, as far as their rows are known to belong to the call."""
    ordered = sorted(rows, key=lambda row: (row.get("uniqueid", "") != id_, _began(row, zone) or _ended(row, zone)))
    first = ordered[0]
    real = [row for row in rows if row.get("dstchannel") and not row["dstchannel"].startswith("Local/")]
    behind = real or [row for row in rows if row.get("dstchannel")]
    taken = [row for row in behind if _is_answered(row)]
    rang = any(row.get("lastapp", "").lower() in _RINGS or _MAILBOX.search(row.get("lastapp", "")) for row in rows)
    vain = [row.get("disposition", "") for row in rows if row.get("disposition", "") in _VAIN]
    status = "completed" if taken else "hung-up"
    if not taken and (rang or real):
        status = "busy" if vain and set(vain) == {"BUSY"} else "no-answer"
    src, dst = number_of(first.get("src", "")), number_of(first.get("dst", ""))
    named = _CLID.match(first.get("clid", ""))
    talked = sum(int(row["billsec"]) for row in taken if row.get("billsec", "").isdigit())
    began = epoch_of(id_) or _began(first, zone)
    ended = max(_ended(row, zone) for row in rows)
    call = PhoneCall(
        id=id_,
        direction=sides.direction(src, dst, {row.get("dcontext", "") for row in rows}, by_context=False),
        status=status,
        from_=src,
        to=dst,
        started_at=began,
        ended_at=ended,
        caller_name=name_of(named[1], src) if named else "",
        talked=str(talked),
        said={"context": first["dcontext"]} if first.get("dcontext") else {},
    )
    return CdrCall(call, ended, bool(first.get("linkedid")))


def _is_answered(row: CdrRow) -> bool:
    return row.get("disposition") == "ANSWERED" and not _MAILBOX.search(row.get("lastapp", ""))


def _began(row: CdrRow, zone: tzinfo) -> datetime | None:
    return epoch_of(row.get("uniqueid", "")) or local_time(row.get("start", ""), zone)


def _ended(row: CdrRow, zone: tzinfo) -> datetime:
    seconds = row.get("duration", "")
    began = _began(row, zone) or datetime.fromtimestamp(0, UTC)
    return began + timedelta(seconds=min(int(seconds), 10**6) if seconds.isascii() and seconds.isdigit() else 0)


def local_time(text: str, zone: tzinfo) -> datetime | None:
    """A time of the server's clock, which has no zone, in UTC."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# ---- Master.csv


class CdrFile:
    """Master.csv, and Master.csv.1 where it was rotated."""

    def __init__(self, path: Path, zone: tzinfo) -> None:
        self._path, self._zone = path, zone

    def rows(self, since: datetime, until: datetime) -> Iterator[CdrRow]:
        """Backwards from the end of the file, whose rows stand in the order in which calls ended."""
        beyond, before = False, self._path.with_name(f"{self._path.name}.1")
        # After a rotation there is no file until the next call ends.
        for path in [one for one in (self._path, before) if one.exists()] or [self._path]:
            if beyond:
                return
            for line in _lines_from_end(path):
                row = csv_row(line)
                began = _began(row, self._zone)
                if began is not None and _ended(row, self._zone) < since:
                    beyond = True
                    break
                if began is None or began < until:
                    yield row


def csv_row(line: str) -> CdrRow:
    """A line of Master.csv. What the columns behind the sixteenth are is told by their number and by what an id looks like."""
    values = next(csv.reader([line]), [])
    named, more = dict(zip(COLUMNS, values, strict=False)), values[len(COLUMNS) :]
    if len(more) >= len(NEWER):
        named.update(zip(NEWER, more[-len(NEWER) :], strict=True))
        more = more[: -len(NEWER)]
    named["uniqueid"] = next((value for value in more if epoch_of(value)), "")
    return named


def _lines_from_end(path: Path) -> Iterator[str]:
    """The whole lines of a file, the last first."""
    try:
        with path.open("rb") as file:
            at, rest = file.seek(0, os.SEEK_END), b""
            file.seek(max(0, at - 1))
            unfinished = file.read(1) != b"\n"  # the last line is still being written
            while at > 0:
                size = min(BLOCK, at)
                at -= size
                file.seek(at)
                rest, *lines = (file.read(size) + rest).split(b"\n")
                if lines and unfinished:
                    lines, unfinished = lines[:-1], False
                for line in reversed(lines):
                    if line.strip():
                        yield _decoded(line)
            if rest.strip() and not unfinished:
                yield _decoded(rest)
    except OSError as error:
        text = f"CDR: cannot read {path}: {error.strerror or error}"
        raise Misconfigured(text, code="file") from None


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


# ---- a database


class CdrTable:
    """A table of call detail records, as cdr_adaptive_odbc, cdr_pgsql or FreePBX fill it."""

    def __init__(self, url: str, table: str, zone: tzinfo) -> None:
        self._url, self._name, self._zone = url, table, zone
        self._open: tuple[sa.Engine, sa.Table, sa.Column[Any]] | None = None

    @property
    def has_linkedid(self) -> bool:
        return "linkedid" in {name.lower() for name in list(self._opened()[1].columns.keys())}

    def rows(self, since: datetime, until: datetime) -> Iterator[CdrRow]:
        try:
            engine, table, time = self._opened()
            first, last = (self._said(at, time) for at in (since, until))
            asked = sa.select(table).where(time >= first, time < last).order_by(time)
            with engine.connect() as connection:
                for found in connection.execute(asked).mappings():
                    row = {name.lower(): _text(value) for name, value in found.items()}
                    yield {**row, "start": row.get(time.name.lower(), "")}
        except sa.exc.SQLAlchemyError as error:
            self._open = None
            raise _failure(error) from None

    def _said(self, at: datetime, time: sa.Column[Any]) -> Any:
        """As the column holds a time: with a zone, the server's local one, or as text."""
        if getattr(time.type, "timezone", False):
            return at
        local = at.astimezone(self._zone).replace(tzinfo=None)
        return local if isinstance(time.type, sa.DateTime) else local.isoformat(" ", timespec="seconds")

    def _opened(self) -> tuple[sa.Engine, sa.Table, sa.Column[Any]]:
        if self._open is None:
            engine = _engine(self._url)
            try:
                table = sa.Table(self._name, sa.MetaData(), autoload_with=engine)
            except sa.exc.NoSuchTableError:
                raise Misconfigured(
                    f"CDR: the database has no table {self._name}; set cdr.table", code="table"
                ) from None
            except sa.exc.SQLAlchemyError as error:
                raise _failure(error) from None
            names = {name.lower(): name for name in list(table.columns.keys())}
            time = next((names[name] for name in ("calldate", "start") if name in names), None)
            if time is None:
                raise Misconfigured(f"CDR: the table {self._name} has no column calldate or start", code="table")
            self._open = (engine, table, table.columns[time])
        return self._open


def _engine(url: str) -> sa.Engine:
    try:
        return sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        package = getattr(error, "name", None) or "the driver that cdr.url names"
        text = f"CDR: the driver of this database is not installed; run: pip install {package}"
        raise Misconfigured(text, code="driver") from None


def _failure(error: sa.exc.SQLAlchemyError) -> Misconfigured | Transient:
    """Without the URL, the statement or a value. Which errors pass is the driver's word."""
    said = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0][:200]
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
        return Transient(f"CDR: the database cannot be read: {said}", code="database")
    return Misconfigured(f"CDR: the database refuses the query: {said}", code="database")


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return "" if value is None else str(value)
