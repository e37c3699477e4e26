"""How far a Zoho Desk source has read: a time of Desk's clock, and what it knows from there on. Pure.

The source keeps it between its polls and backfills. Promise: it only moves on, and what will be met again is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from syncd.connectors.desk.zoho_tickets import Record, moment, unix_ms

LAG = timedelta(minutes=5)  # a ticket may be found by search this long after it changed


class TicketCursor(msgspec.Struct, frozen=True):
    """Tickets modified at or after `since` (Desk's clock) are still to be looked at, but for those `seen` (id, unix ms).
    `floor`: tickets made since then are new to this pass. `began`: when the source did."""

    since: datetime
    floor: datetime
    began: datetime
    seen: tuple[tuple[str, int], ...] = ()


read_cursor = msgspec.json.Decoder(TicketCursor).decode


def advance(cursor: TicketCursor, rows: Sequence[Record]) -> TicketCursor:
    """The cursor after `rows` were handled: LAG behind the newest change, with what is known from there on."""
    marks = {*cursor.seen, *filter(None, map(mark, rows))}
    newest = max((ms for _, ms in marks), default=0)
    since = max(cursor.since, datetime.fromtimestamp(newest / 1000, UTC) - LAG) if newest else cursor.since
    kept = tuple(sorted((id_, ms) for id_, ms in marks if ms >= unix_ms(since)))
    return TicketCursor(since, cursor.floor, cursor.began, kept)


def mark(row: Record) -> tuple[str, int] | None:
    """One state of one ticket."""
    at = moment(row.get("modifiedTime"))
    return (str(row.get("id")), unix_ms(at)) if at is not None else None
