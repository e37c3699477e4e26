"""What running daemons have to say to whoever asks how things are: what configuration is in force, why another is refused.

A daemon writes its own notices, `syncd status` reads those of daemons that are alive; a command announces what every daemon
must hear of. Everything raises StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from syncd.store.journal.encoding import plain
from syncd.store.schema import notices
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.store.database import Database

IN_FORCE = "in force"
REFUSED = "refused"
TO_ALL = "*"
"""How the holder of an announcement begins: it belongs to no process and is never forgotten, one a topic and subject."""


class Announcements:
    """The notices of one store."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def put(self, topic: str, text: str) -> None:
        """Says something, in place of what was said of this topic; "" takes it back."""
        self._put(self._store.holder, topic, text)

    def announce(self, topic: str, subject: str, text: str) -> None:
        """Tells every daemon on this database, in place of what was last announced of this subject."""
        self._put(TO_ALL + subject, topic, text)

    def announced(self, topic: str) -> dict[str, tuple[str, int]]:
        """Subject -> what was last announced of it, and when. The same text again has another time."""
        query = select(notices.c.holder, notices.c.text, notices.c.at).where(
            notices.c.topic == topic, notices.c.holder.startswith(TO_ALL, autoescape=True)
        )
        with self._store.read() as connection:
            return {row.holder.removeprefix(TO_ALL): (row.text, row.at) for row in connection.execute(query)}

    def _put(self, holder: str, topic: str, text: str) -> None:
        here = (notices.c.holder == holder, notices.c.topic == topic)
        changes = {"text": plain(text), "at": self._store.now()}
        row = {"holder": holder, "topic": topic, **changes}
        statement = upsert(self._store, notices, row, changes) if text else delete(notices).where(*here)
        self._store.apply(lambda connection: connection.execute(statement))

    def of(self, topic: str, holders: Collection[str]) -> list[str]:
        """What these daemons say of a topic, each text once, the newest first."""
        query = select(notices.c.text).where(notices.c.topic == topic, notices.c.holder.in_(list(holders)))
        with self._store.read() as connection:
            return list(dict.fromkeys(connection.execute(query.order_by(notices.c.at.desc())).scalars()))

    def keep_only(self, holders: Collection[str]) -> None:
        """Forgets what daemons said that are gone."""
        statement = delete(notices).where(
            notices.c.holder.not_in([*holders, self._store.holder]),
            notices.c.holder.not_like(f"{TO_ALL}%"),
        )
        self._store.apply(lambda connection: connection.execute(statement))
