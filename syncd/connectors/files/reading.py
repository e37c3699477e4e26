"""A table's rows as pages of signals, wrong rows beside them: what the source and `syncd import` have in common.

Promise: a row is a signal or is reported with its line, also when the file breaks off; of two rows of one person the later one
counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import orjson

from syncd.connector import Context, Request, UnparsedItem
from syncd.connectors.files.headers import columns
from syncd.connectors.files.rows import signal_of
from syncd.connectors.files.tables import Table, TableRow
from syncd.errors import Malformed
from syncd.signals import Route, Signal

PAGE = 200
TICK = timedelta(milliseconds=1)


@dataclass(frozen=True)
class RowPage:
    """`rows`: how many of the table's rows are done with it. `last`: there are no more; every table that is whole has one."""

    signals: list[Signal]
    misfits: list[UnparsedItem]
    rows: int
    last: bool = False


@dataclass(frozen=True)
class RowContext:
    """What rows need beside their cells: what they are, of which file, when they were written and are read."""

    kind: str
    file: str
    written: datetime
    read: datetime
    route: Route


def pages(
    table: Table, told: Mapping[str, str | None], about: RowContext, context: Context, *, skip: int = 0
) -> Iterator[RowPage]:
    """The rows behind the first `skip`. Raises Malformed for a header that is not clear, and for a file that breaks off
    after the page of what could be read."""
    found = columns(table.headers, about.kind, told)
    now = about.read.replace(microsecond=about.read.microsecond // 1000 * 1000)
    page, count, broken = _Page(now), skip, None
    lines = enumerate(table.lines, start=1)
    while broken is None:
        try:
            count, line = next(lines)
        except StopIteration:
            break
        except Malformed as error:
            broken = error
            break
        if count <= skip:
            continue
        try:
            if line.fault:
                raise Malformed(line.fault)
            made = signal_of(
                *(table.headers, line.cells, found, about.kind, context),
                occurred_at=about.written,
                received_at=now,
                file=about.file,
                line=line.number,
                faults=[f"{about.file}:{line.number}: {line.note}"] if line.note else [],
            )
            page.add(made, about.route)
        except Malformed as error:
            page.misfits.append(_misfit(table, line, str(error), about))
        if page.full:
            yield RowPage(page.signals, page.misfits, count)
            page = _Page(page.latest + TICK)
    if broken is None or page.signals or page.misfits:
        yield RowPage(page.signals, page.misfits, count, last=broken is None)
    if broken is not None:
        raise broken


class _Page:
    """One that fills. Each row of a person is received a moment after the one before: it counts instead of it."""

    def __init__(self, now: datetime) -> None:
        self.signals: list[Signal] = []
        self.misfits: list[UnparsedItem] = []
        self.latest = self._now = now
        self._rows: dict[str, int] = {}

    @property
    def full(self) -> bool:
        return len(self.signals) + len(self.misfits) >= PAGE

    def add(self, signal: Signal, route: Route) -> None:
        who = signal.thread or signal.person.identity
        before = self._rows.get(who, 0)
        self._rows[who] = before + 1
        late = self._now + before * TICK
        self.latest = max(self.latest, late)
        self.signals.append(msgspec.structs.replace(signal, route=route, received_at=late))


def _misfit(table: Table, line: TableRow, why: str, about: RowContext) -> UnparsedItem:
    row = dict(zip(table.headers, line.cells, strict=False))
    return misfit(about.file, line.number, why, row, about.written, about.read)


def misfit(file: str, line: int, why: str, row: Mapping[str, str], written: datetime, now: datetime) -> UnparsedItem:
    """A wrong row, or (line 0) a whole file, as quarantine keeps it."""
    where = f"{file}:{line}" if line else file
    body = orjson.dumps({"file": file, "at": written.isoformat(), "row": row} if row else {"file": file, "line": line})
    return UnparsedItem(Request("FILE", f"file:{where}", {}, body, now), f"{where}: {why}")
