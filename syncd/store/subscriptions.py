"""Webhooks that were registered through syncd, and what the daemon last saw of them: kept beside what the source remembers.

`syncd webhooks` writes them, the daemon renews them and notes what is wrong, `status` and `/readyz` show it.
Everything raises StoreUnavailable.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class Registration:
    """A webhook that is to be there. `since`: when it was made or last renewed. Both times are None where it does not expire."""

    id: str
    since: datetime | None = None
    expires_at: datetime | None = None


def register(store: Store, source: str, wanted: Sequence[Registration]) -> None:
    """These are to be there from now on; () forgets. Whatever was wrong is no longer known to be."""
    put_registrations(store, source, wanted)
    _put(store, source, FAULT, "")


def put_registrations(store: Store, source: str, wanted: Sequence[Registration]) -> None:
    """These are to be there from now on, whatever is known to be wrong with them."""
    _put(store, source, REGISTERED, json.dumps([_document(one) for one in wanted]) if wanted else "")


def registrations(store: Store, source: str) -> tuple[Registration, ...]:
    """What is to be there; () for a source that was never registered through syncd."""
    text = _read(store, source, REGISTERED)
    return tuple(_registration(one) for one in json.loads(text)) if text else ()


def registered(store: Store, source: str) -> tuple[str, ...]:
    """The ids that are to be there; () for a source that was never registered through syncd."""
    return tuple(one.id for one in registrations(store, source))


def _document(one: Registration) -> str | dict[str, str]:
    """The id alone for one that does not expire, as all versions read it."""
    if one.since is None or one.expires_at is None:
        return one.id
    return {"id": one.id, "since": one.since.isoformat(), "expires_at": one.expires_at.isoformat()}


def _registration(document: str | dict[str, str]) -> Registration:
    if isinstance(document, str):
        return Registration(document)
    since, expires_at = (datetime.fromisoformat(document[name]) for name in ("since", "expires_at"))
    return Registration(document["id"], since, expires_at)


def noted(store: Store, source: str) -> str:
    """What was last noted to be wrong with them, "" for nothing."""
    return _read(store, source, FAULT)


def _read(store: Store, source: str, key: str) -> str:
    with store.read() as connection:
        query = select(memory.c.value).where(memory.c.source == source, memory.c.key == key)
        return connection.execute(query).scalar() or ""


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
