"""Passwords and the like that a vendor refused, so that syncd never tries one until the account is locked.

Connectors ask here, through `Context.refusals`, around each try to sign in with a secret that a person typed. Promise: one
secret is tried in vain once an hour, after a word from a person up to three times an hour, whoever tries it and however often
syncd starts; another secret is tried at once; the secret itself is kept nowhere.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

from syncd.errors import Misconfigured

MOST = 3
WINDOW = timedelta(hours=1)
"""Hosts lock an account after five to ten refusals in a row. Polls, waiting connections, backfills, reloads, restarts and
commands all try the same secret."""


def retry_at(refused: Mapping[datetime, str], now: datetime, asked: datetime | None) -> datetime | None:
    """When a secret that was `refused` at these moments may be tried again; None: now. `asked`: when a person last wished it.
    Moments that are still to come are a clock's that was set back, and hold nobody."""
    recent = sorted(moment for moment in refused if timedelta(0) <= now - moment < WINDOW)
    if recent and (asked is None or asked <= recent[-1]):
        return recent[-1] + WINDOW
    return recent[-MOST] + WINDOW if len(recent) >= MOST else None


class RefusalStore(Protocol):
    """Where refusals are kept, by a mark that tells equal credentials and nothing of them. Nothing raises."""

    def mark(self, *credentials: str) -> str: ...

    def read(self, mark: str, since: datetime) -> Mapping[datetime, str]:
        """When these were refused, and what the vendor said."""
        ...

    def add(self, mark: str, at: datetime, said: str) -> None: ...

    def forget(self, mark: str) -> None: ...


class MemoryRefusals:
    """Refusals of one process. A mark means nothing elsewhere."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._refused: dict[str, dict[datetime, str]] = {}
        self._guard = threading.Lock()

    def mark(self, *credentials: str) -> str:
        return keyed(self._key, *credentials)

    def read(self, mark: str, since: datetime) -> Mapping[datetime, str]:
        with self._guard:
            return {moment: said for moment, said in self._refused.get(mark, {}).items() if moment > since}

    def add(self, mark: str, at: datetime, said: str) -> None:
        with self._guard:
            known = {moment: text for moment, text in self._refused.get(mark, {}).items() if at - moment < WINDOW}
            self._refused[mark] = {**known, at: said}

    def forget(self, mark: str) -> None:
        with self._guard:
            self._refused.pop(mark, None)


def keyed(key: bytes, *credentials: str) -> str:
    """A mark of credentials that only who has the key can make. `key`: 64 bytes at most."""
    text = "\0".join(credentials).encode("utf-8", "replace")
    return hashlib.blake2b(text, key=key, person=b"syncd refusals", digest_size=32).hexdigest()


class LoginBackoff:
    """The brake on one's own `book`. Thread-safe. Credentials are all that makes a try what it is: where, who, and the secret."""

    def __init__(
        self, book: RefusalStore | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._book = book or MemoryRefusals()
        self._clock = clock
        self._asked: datetime | None = None
        self._guard = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def bypass(self) -> Self:
        """A person wants it tried: a reload, a command. What was refused before this waits no hour, unless three times."""
        self._asked = _to_the_millisecond(self._clock())
        return self

    def check(self, *credentials: str) -> None:
        """Raises Misconfigured (`refused_before`) when these must not be tried now."""
        self._held(self._book.mark(*credentials))

    @contextmanager
    def attempt(self, *credentials: str) -> Iterator[None]:
        """Around one try. It is not begun (Misconfigured) when these must not be tried now; a Misconfigured from within is a
        refusal and noted, an end without a fault is a success. One at a time: who waited learns of the refusal first."""
        mark = self._book.mark(*credentials)
        with self._guard:
            turn = self._turns[mark]
        with turn:
            refused = self._held(mark)
            try:
                yield
            except Misconfigured as failure:
                self._book.add(mark, _to_the_millisecond(self._clock()), failure.message)
                raise
            if refused:
                self._book.forget(mark)

    def _held(self, mark: str) -> bool:
        """Whether they were refused of late, and may be tried all the same. Raises Misconfigured."""
        now = self._clock()
        refused = self._book.read(mark, now - WINDOW)
        again = retry_at(refused, now, self._asked)
        if again is not None:
            often = "" if len(refused) < MOST else f"refused {len(refused)} times within an hour and "
            raise Misconfigured(
                f"{refused[max(refused)]}; {often}not tried again before {again:%H:%M} UTC, lest the account is locked; "
                "what you correct here is tried at once, what you correct there after a reload",
                code="refused_before",
                until=again,
            )
        return bool(refused)


def _to_the_millisecond(moment: datetime) -> datetime:
    """As the database keeps it: what is compared must be cut alike."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
