"""Secrets that vendors give: to verify their webhooks, say. Kept encrypted beside what the source remembers, by the tokens' key.

The receiver keeps what a handshake brings, `syncd webhooks` what a registration brings; connectors read them by `Context.recall`.
Promise: durable when a call returns; never in clear text in the database, in a log line or in the quarantine; of two handshakes
the first counts, whoever sent the second. Everything raises StoreUnavailable, and UsageError for a key that is absent or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import Connection, delete, select

from syncd.runtime.known_secrets import learn_from_vendor
from syncd.store.announcements import Announcements
from syncd.store.schema import memory
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.cursors import Cursors
    from syncd.store.database import Database
    from syncd.store.tokens import StoredTokens

SEALED = "syncd:sealed:"
"""How the stored value of a secret begins; what follows is encrypted."""
_TOPIC = "webhooks"


class VendorSecrets:
    """The secrets of one store."""

    def __init__(self, store: Database, cursors: Cursors, tokens: Callable[[], StoredTokens]) -> None:
        """`tokens` is asked first when something is sealed or opened: only then a key is needed."""
        self._store = store
        self._cursors = cursors
        self._tokens = tokens

    def recall(self, source: str, keys: Sequence[str]) -> dict[str, str]:
        """What a source remembers under these keys, secrets opened: for `Context.recall`."""
        return {key: self._opened(value) for key, value in self._cursors.recall(source, keys).items()}

    def keep_first(self, source: str, values: Mapping[str, str]) -> bool:
        """Keeps all of these unless there is another value under one of the keys already: then False, and nothing is kept."""
        sealed = {key: self._sealed(value) for key, value in sorted(values.items())}

        def change(connection: Connection) -> None:
            for key, text in sealed.items():
                row = {"source": source, "key": key, "value": text}
                connection.execute(upsert(self._store, memory, row, {}))
                query = select(memory.c.value).where(memory.c.source == source, memory.c.key == key)
                if self._opened(connection.execute(query).scalar_one()) != values[key]:
                    raise _HasAnother

        try:
            self._store.apply(change)
        except _HasAnother:
            return False
        learn_from_vendor(*values.values())
        return True

    def replace(self, source: str, values: Mapping[str, str]) -> None:
        """Keeps these in place of what was there: what an operator's own registration brought."""
        sealed = {key: self._sealed(value) for key, value in sorted(values.items())}

        def change(connection: Connection) -> None:
            for key, text in sealed.items():
                row = {"source": source, "key": key, "value": text}
                connection.execute(upsert(self._store, memory, row, {"value": text}))

        self._store.apply(change)
        learn_from_vendor(*values.values())

    def forget(self, source: str) -> int:
        """Removes all secrets of a source; how many. The next one that a handshake brings is kept."""
        mine = (memory.c.source == source, memory.c.value.startswith(SEALED, autoescape=True))
        gone = delete(memory).where(*mine)
        return self._store.apply(lambda connection: connection.execute(gone).rowcount)

    def _sealed(self, value: str) -> str:
        return SEALED + self._tokens().seal_text(value)

    def _opened(self, value: str) -> str:
        if not value.startswith(SEALED):
            return value
        opened = self._tokens().open_text(value.removeprefix(SEALED))
        learn_from_vendor(opened)
        return opened


class _HasAnother(Exception):
    pass


def announce(store: Database, source: str) -> None:
    """Lets every daemon know that the webhooks of a source, or the secrets that verify them, are others now."""
    Announcements(store).announce(_TOPIC, source, uuid4().hex)


def announced(store: Database) -> dict[str, str]:
    """Source -> the mark of the last announcement about its webhooks."""
    return {source: mark for source, (mark, _) in Announcements(store).announced(_TOPIC).items()}
