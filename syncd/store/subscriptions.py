"""Webhooks that were registered through syncd, and what the daemon last saw of them: kept beside what the source remembers.

`syncd webhooks` writes them, the daemon's daily look reads them and notes what is wrong, `status` and `/readyz` show it.
Everything raises StoreUnavailable.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from syncd.store.journal.encoding import plain
from syncd.store.schema import memory
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.store import Store

REGISTERED = "syncd:webhooks"
FAULT = "syncd:webhooks:fault"
KEYS_FAULT = "syncd:keys:fault"
"""Keys that no connector uses: theirs have no such prefix."""


def register(store: Store, source: str, ids: Sequence[str]) -> None:
    """These are to be there from now on; () forgets. Whatever was wrong is no longer known to be."""
    _put(store, source, REGISTERED, json.dumps(list(ids)) if ids else "")
    _put(store, source, FAULT, "")


def registered(store: Store, source: str) -> tuple[str, ...]:
    """The ids that are to be there; () for a source that was never registered through syncd."""
    with store.read() as connection:
        query = select(memory.c.value).where(memory.c.source == source, memory.c.key == REGISTERED)
        text = connection.execute(query).scalar()
    return tuple(json.loads(text)) if text else ()


def note(store: Store, source: str, fault: str) -> None:
    """What is wrong with them, "" when all is well."""
    _put(store, source, FAULT, fault)


def note_keys(store: Store, source: str, fault: str) -> None:
    """What is wrong with the keys that verify a source's webhooks, "" when all is well."""
    _put(store, source, KEYS_FAULT, fault)


def faults(store: Store) -> dict[str, str]:
    """source -> what is wrong with its webhooks or with the keys that verify them."""
    found: dict[str, str] = {}
    with store.read() as connection:
        query = select(memory.c.source, memory.c.value).where(memory.c.key.in_((FAULT, KEYS_FAULT)))
        for row in connection.execute(query.order_by(memory.c.source, memory.c.key)):
            found[row.source] = f"{found[row.source]}; {row.value}" if row.source in found else row.value
    return found


def _put(store: Store, source: str, key: str, value: str) -> None:
    here = (memory.c.source == source, memory.c.key == key)
    row = {"source": source, "key": key, "value": plain(value)}
    statement = upsert(store, memory, row, {"value": plain(value)}) if value else delete(memory).where(*here)
    store.apply(lambda connection: connection.execute(statement))
