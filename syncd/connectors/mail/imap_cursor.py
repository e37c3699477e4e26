"""How far a mailbox has been read, folder by folder. Pure; `imap` moves it and commits it with the signals.

UIDs only grow while UIDVALIDITY stays. A new UIDVALIDITY (mailbox recreated, server moved) means: read again what arrived
around it, by date; signals already made have the same ids and change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

import msgspec

HOLES_CAP = 100
HOLE_AGE = timedelta(hours=1).total_seconds()
"""How long a UID that was skipped is looked for again: some servers show UID n+1 before n, or refuse a mail for a while."""

RESYNC_MARGIN = timedelta(days=2).total_seconds()
"""How far before the last look a resync reads: SEARCH knows only days, in the server's zone, and clocks differ."""

START_MARGIN = timedelta(days=1).total_seconds()
"""How far before the source's start a resync reads: losing mail to a clock that is hours wrong, ours or the server's, is
worse than a day of history."""

CAREFUL_AFTER, HEAD_AFTER, SKIP_AFTER = 1, 3, 6
"""Losses of the connection at one mail after which mails are fetched singly, that one only by its head, or not at all."""


class Stuck(msgspec.Struct):
    """A UID at which the connection was lost, and how often in a row: a mail that kills its reader must not do so for
    ever, and one whose size only meets a weak line is read by its head at last."""

    uid: int = 0
    losses: int = 0

    def lost_at(self, uid: int) -> None:
        """0: at no mail in particular."""
        if not uid:
            return
        self.losses = self.losses + 1 if self.uid == uid else 1
        self.uid = uid

    @property
    def careful(self) -> bool:
        """Mails are to be fetched singly."""
        return self.losses >= CAREFUL_AFTER

    def head_only(self, uid: int) -> bool:
        return uid == self.uid and self.losses >= HEAD_AFTER

    def skip(self, uid: int) -> bool:
        return uid == self.uid and self.losses >= SKIP_AFTER

    def passed(self, uids: Collection[int]) -> None:
        """These (ascending, as all are) are dealt with, and with them all before."""
        if self.uid <= max(uids, default=0):
            self.uid = self.losses = 0


class Folder(msgspec.Struct):
    """`next`: the first UID not read. `at`: when it was last looked at (epoch seconds). `floor`: a resync is under way and
    reads what arrived since then. `holes`: UIDs below `next` still looked for, with the time they were missed."""

    validity: int
    next: int
    at: float
    floor: float | None = None
    holes: dict[int, float] = {}
    stuck: Stuck = msgspec.field(default_factory=Stuck)

    def recreated(self, validity: int, started: float) -> None:
        """Begins a resync: all UIDs are new. It reads back to the last look, never to before the source's start."""
        window = max(self.at - RESYNC_MARGIN, started - START_MARGIN)
        self.floor = window if self.floor is None else min(self.floor, window)
        self.validity, self.next, self.holes, self.stuck = validity, 1, {}, Stuck()

    def dealt_with(self, uids: Sequence[int], missing: Collection[int], now: float) -> None:
        """These UIDs (ascending) were dealt with; the `missing` of them could not be had. Those and the UIDs of the gap
        before them become holes: looked for again, for a while."""
        present = set(uids) - set(missing)
        last = max(uids, default=0)
        # A resync asks by date: a mail that it did not list is not a gap.
        gap = range(max(self.next, last - HOLES_CAP), last) if self.floor is None else range(0)
        for uid in (*gap, *missing):
            self.holes.setdefault(uid, now)
        kept = [
            (uid, since) for uid, since in sorted(self.holes.items()) if uid not in present and now - since < HOLE_AGE
        ]
        self.holes = dict(kept[-HOLES_CAP:])
        self.next = max(self.next, last + 1)
        self.stuck.passed(uids)


class MailCursor(msgspec.Struct):
    """The state of an `imap` source. `started`: what is older is backfill's."""

    started: float
    folders: dict[str, Folder] = {}


class MailBackfillState(msgspec.Struct):
    """The state of a backfill: the folder under way, its UIDVALIDITY, the first UID not done."""

    folder: str
    validity: int
    next: int = 1
    stuck: Stuck = msgspec.field(default_factory=Stuck)
