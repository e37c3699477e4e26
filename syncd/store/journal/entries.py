"""What goes into the journal: plain values that the intake decides and one writer commits.

An `JournalEntry` is committed whole or not at all; many entries share one transaction and one fsync.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from syncd.connector import Hint
from syncd.errors import SyncdError
from syncd.signals import Signal

POLL_REQUEST = "syncd:poll now"
"""Under this key of a source's memory it is noted that a webhook asked for a poll. No connector uses such a prefix."""


@dataclass(frozen=True, slots=True)
class InitialDelivery:
    """The delivery that a new signal starts with at one destination. `skipped`: the reason it ends at once, if it does.
    `old`: it may be older than our store (backfill, import), so its records are looked up before the first try."""

    destination: str
    live: bool
    old: bool = False
    skipped: str = ""


class NewSignal(msgspec.Struct, frozen=True):
    """A signal that the switches let in, with its deliveries."""

    signal: Signal
    seeds: tuple[InitialDelivery, ...]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An authentic body (or a fetched answer) that could not be understood. `id` is derived from source and payload, so
    that a vendor's repeats of one bad body are one row."""

    id: UUID
    source: str
    payload: bytes
    error: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Fence:
    """The lease this entry was made under: when another worker holds it by now, the entry is refused (`FenceLost`)."""

    lease: str
    claim: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The receipt (a hint, or a body retried from quarantine) that this entry answers: removed in the same commit,
    unless its version moved on meanwhile, in which case it stays and is fetched again."""

    receipt: str
    version: int
    claim: str


@dataclass(frozen=True, slots=True)
class JobStep:
    """How far a job has come with this entry."""

    job: str
    cursor: bytes | None
    progress: str


class JournalEntry(msgspec.Struct, frozen=True):
    """One unit of intake. `off`: (type, reason) -> how many the switches or exclusions filtered. `poll_now`: the source is to
    be polled, which stays noted (`syncd.store.poll_requests`) until it was.

    (A Struct, like `NewSignal`: one is made for every request, in a tenth of a frozen dataclass's time.)"""

    source: str
    arrivals: Sequence[NewSignal] = ()
    hints: Sequence[Hint] = ()
    received_at: datetime | None = None
    state: bytes | None = None
    remember: Mapping[str, str | None] = {}
    quarantined: Sequence[Quarantined] = ()
    off: Mapping[tuple[str, str], int] = {}
    fence: Fence | None = None
    fetched: Fetched | None = None
    job: JobStep | None = None
    poll_now: bool = False


class Committed(msgspec.Struct, frozen=True):
    """The outcome of an entry. `repeats`: arrivals we already had (also purged ones). `poisoned`: arrivals the database
    itself refused, found by bisection and put in quarantine with the rest of the entry committed. `merged`: arrivals that were
    counted in a signal that is stored (`Signal.repeat`)."""

    new: tuple[UUID, ...] = ()
    repeats: int = 0
    poisoned: int = 0
    merged: int = 0

    @property
    def known(self) -> int:
        """Arrivals of signals that we had already."""
        return self.repeats + self.merged


class FenceLost(Exception):
    """The lease of this entry was lost to another worker: nothing of it was committed."""


class StoreUnavailable(SyncdError):
    """The database cannot commit now (disk full, read-only, gone). Nothing was committed; the text says why and what to
    do. A webhook is answered 503, a poll is tried again."""


Outcome = Committed | Exception
"""The outcome of an entry."""

OnDone = Callable[[Outcome], None]
"""Hears of the outcome of one entry."""

OnDoneMany = Callable[[Sequence[tuple[OnDone, Outcome]]], None]
"""Brings outcomes to those who wait for them, many at once."""
