"""How a running daemon learns of a new sign-in: `syncd auth` announces it, the daemon looks every other second.

Promise: what waited for the sign-in resumes within seconds, on every machine of the database; nothing else is disturbed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from syncd.store.announcements import Announcements
from syncd.store.journal.entries import StoreUnavailable

if TYPE_CHECKING:
    from syncd.registry import Role
    from syncd.store import Store

log = structlog.get_logger(__name__)

LOOK_EVERY = timedelta(seconds=2)
_TOPIC = "signed in"


def announce(store: Store, role: Role, name: str, grant: str) -> None:
    """Lets every daemon know that the stored sign-in of `name` is another one now, or gone."""
    Announcements(store).announce(_TOPIC, f"{role}:{name}", grant)


class SignInWatcher:
    """Looks for announcements. `renewed(role, name)` is called for each new one; the token is read afresh from then on."""

    def __init__(self, store: Store, renewed: Callable[[str, str], None]) -> None:
        self._store = store
        self._renewed = renewed
        self._known = self._announced()

    def poll(self, stop: threading.Event) -> None:
        """One look, as the schedule wants it."""
        try:
            now = self._announced()
        except StoreUnavailable:  # the daemon says so elsewhere; nothing is missed, the next look compares again
            return
        news = {subject: said[0] for subject, said in now.items() if self._known.get(subject) != said}
        self._known = now
        for subject, grant in news.items():
            role, _, name = subject.partition(":")
            log.info("a sign-in was stored or removed", **{role: name})
            self._store.tokens.look_again(grant)
            self._renewed(role, name)

    def _announced(self) -> dict[str, tuple[str, int]]:
        return Announcements(self._store).announced(_TOPIC)
