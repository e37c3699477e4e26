"""Numbers of the store for /metrics and `status`: queues and their age, receipts, jobs, people, size on disk. Reads only.

Each is one statement over an index or a small table, whatever the number of signals.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, select, text

from syncd.store.engine import moment
from syncd.store.schema import deliveries, jobs, people, receipts, settled, signals

if TYPE_CHECKING:
    from datetime import datetime

    from syncd.store.store import Store

WAITS_FOR_A_PERSON = ("dead", "unconfirmed")


@dataclass(frozen=True, slots=True)
class Disk:
    """`size` of the database in bytes; `free` on its disk and `whole`, None where only the server knows."""

    size: int
    free: int | None = None
    whole: int | None = None


def oldest_pending(store: Store) -> dict[str, datetime]:
    """Destination -> when its oldest pending delivery came. Destinations with none are absent."""
    query = select(deliveries.c.destination, func.min(deliveries.c.created_at)).where(deliveries.c.state == "pending")
    with store.read() as connection:
        return {name: moment(at) for name, at in connection.execute(query.group_by(deliveries.c.destination))}


def receipt_counts(store: Store) -> dict[tuple[str, str], int]:
    """(source, pending | quarantined) -> how many."""
    query = select(receipts.c.source, receipts.c.state, func.count()).group_by(receipts.c.source, receipts.c.state)
    with store.read() as connection:
        return {(source, state): count for source, state, count in connection.execute(query)}


def job_counts(store: Store) -> dict[tuple[str, str], int]:
    """(kind, state) -> how many jobs."""
    query = select(jobs.c.kind, jobs.c.state, func.count()).group_by(jobs.c.kind, jobs.c.state)
    with store.read() as connection:
        return {(kind, state): count for kind, state, count in connection.execute(query)}


def people_counts(store: Store) -> dict[str, int]:
    """Destination -> people remembered."""
    query = select(people.c.destination, func.count()).group_by(people.c.destination)
    with store.read() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(query)}


def oldest_purgeable(store: Store) -> datetime | None:
    """When the oldest signal came that retention may take; None without one."""
    at_work = exists().where(deliveries.c.signal_id == signals.c.id)
    for_a_person = exists().where(and_(settled.c.signal_id == signals.c.id, settled.c.state.in_(WAITS_FOR_A_PERSON)))
    query = select(signals.c.received_at).where(~at_work, ~for_a_person).order_by(signals.c.received_at).limit(1)
    with store.read() as connection:
        at = connection.execute(query).scalar()
    return None if at is None else moment(at)


def disk(store: Store) -> Disk:
    """How much room the database takes, and has. A file that cannot be looked at has size 0."""
    if store.postgresql:
        with store.read() as connection:
            return Disk(int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()))
    path = Path(str(store.url.database))
    size = sum(_size(Path(f"{path}{suffix}")) for suffix in ("", "-wal"))
    try:
        room = shutil.disk_usage(path.absolute().parent)
    except OSError:  # the directory is gone: whoever writes says so
        return Disk(size)
    return Disk(size, room.free, room.total)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
