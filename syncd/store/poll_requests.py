"""A webhook said that something changed: the request to poll its source, noted in that webhook's commit until a poll was made.

The journal notes it (`JournalEntry.poll_now`), polls look for it. Promise: a poll answers the requests that came before it began
and none that came during it; a crash loses none. Everything raises StoreUnavailable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from syncd.store.journal.entries import POLL_REQUEST
from syncd.store.schema import memory

if TYPE_CHECKING:
    from syncd.store.store import Store


def pending(store: Store, source: str) -> str:
    """The mark of the newest request of this source that no poll has answered, "" without one."""
    query = select(memory.c.value).where(memory.c.source == source, memory.c.key == POLL_REQUEST)
    with store.read() as connection:
        return connection.execute(query).scalar() or ""


def answered(store: Store, source: str, mark: str) -> None:
    """A poll that began when this was the newest request has read all there was. A newer request stays."""
    here = (memory.c.source == source, memory.c.key == POLL_REQUEST, memory.c.value == mark)
    store.apply(lambda connection: connection.execute(delete(memory).where(*here)))
