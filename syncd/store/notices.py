"""What running daemons have to say to whoever asks how things are: what configuration is in force, why another is refused.

A daemon writes its own notices, `syncd status` reads those of daemons that are alive. Everything raises StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from syncd.store.rows import plain
from syncd.store.schema import notices
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.store import Store

IN_FORCE = "in force"
REFUSED = "refused"


class Notices:
    """The notices of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, topic: str, text: str) -> None:
        """Says something, in place of what was said of this topic; "" takes it back."""
        here = (notices.c.holder == self._store.holder, notices.c.topic == topic)
        changes = {"text": plain(text), "at": self._store.now()}
        row = {"holder": self._store.holder, "topic": topic, **changes}
        statement = upsert(self._store, notices, row, changes) if text else delete(notices).where(*here)
        self._store.apply(lambda connection: connection.execute(statement))

    def of(self, topic: str, holders: Collection[str]) -> list[str]:
        """What these daemons say of a topic, each text once, the newest first."""
        query = select(notices.c.text).where(notices.c.topic == topic, notices.c.holder.in_(list(holders)))
        with self._store.read() as connection:
            return list(dict.fromkeys(connection.execute(query.order_by(notices.c.at.desc())).scalars()))

    def keep_only(self, holders: Collection[str]) -> None:
        """Forgets what daemons said that are gone."""
        statement = delete(notices).where(notices.c.holder.not_in([*holders, self._store.holder]))
        self._store.apply(lambda connection: connection.execute(statement))
