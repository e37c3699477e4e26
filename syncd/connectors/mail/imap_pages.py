"""Reads a page of UIDs into signals, group by group, however bad single mails or the line are. `imap` calls it.

A mail the server refuses is tried alone, then by its head, then left; a lost connection ends the page with what it had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from syncd.connector import FormerId
from syncd.connectors.mail.dropbox import read_incoming
from syncd.connectors.mail.imap_cursor import Stuck
from syncd.connectors.mail.imap_session import FetchRefused, ImapSession, Meta
from syncd.connectors.mail.invitations import CalendarMail, Invitations
from syncd.connectors.mail.message import HEAD_BYTES
from syncd.connectors.mail.reading import Envelope, Rules
from syncd.connectors.mail.sent import read_sent
from syncd.errors import Failure, RateLimited
from syncd.signals import Route, Signal

GROUP_BYTES = 4_000_000
"""Mails are fetched in groups of at most this many bytes (a larger one alone)."""


@dataclass
class MailPage:
    """What came of a page. `told`: what its mails say of meetings. `uids`: those dealt with, a prefix of what was asked.
    `missing`: those of them that are gone or refused. `lost`: the failure that cut the page short, while the group at `lost_at`
    was fetched."""

    uids: list[int] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    formerly: dict[UUID, FormerId] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    told: list[CalendarMail] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    lost: Failure | None = None
    lost_at: int = 0


@dataclass(frozen=True)
class Pages:
    """Reads pages from the folder that `session` has open. Larger mails than `max_size` are read by their head. `sent`: it is the
    folder of sent mail."""

    session: ImapSession
    rules: Rules
    max_size: int
    now: datetime
    route: Route
    sent: bool = False
    invitations: Invitations | None = None

    def read(self, uids: Sequence[int], stuck: Stuck, floor: float | None = None) -> MailPage:
        """The page of these UIDs (ascending), leaving out what arrived before `floor`. Never raises a Failure of the
        connection: it is in the page."""
        page = MailPage()
        try:
            metas = self.session.metas(uids)
        except Failure as failure:
            page.lost, page.lost_at = failure, 0  # at no mail in particular
            return page
        for group in self._groups(uids, metas, stuck):
            try:
                self._read_group(group, metas, stuck, floor, page)
            except Failure as failure:
                # A host that is tired of us says nothing about the mail it was asked for.
                page.lost, page.lost_at = failure, 0 if isinstance(failure, RateLimited) else group[0]
                return page
            page.uids += group
        return page

    def _groups(self, uids: Sequence[int], metas: dict[int, Meta], stuck: Stuck) -> Iterator[list[int]]:
        group: list[int] = []
        weight = 0
        for uid in uids:
            size = metas[uid].size if uid in metas else 0
            if group and (stuck.careful or size > self.max_size or weight + size > GROUP_BYTES):
                yield group
                group, weight = [], 0
            group.append(uid)
            weight += size
        if group:
            yield group

    def _read_group(
        self, group: list[int], metas: dict[int, Meta], stuck: Stuck, floor: float | None, page: MailPage
    ) -> None:
        wanted = [uid for uid in group if uid in metas and not _before(metas[uid], floor)]
        missing = [uid for uid in group if uid not in metas]
        skipped = [uid for uid in wanted if stuck.skip(uid)]
        heads = [uid for uid in wanted if metas[uid].size > self.max_size or stuck.head_only(uid)]
        whole = [uid for uid in wanted if uid not in heads]
        bodies = self._fetch(whole, page.dropped)
        by_head = self._fetch([uid for uid in heads if uid not in skipped], page.dropped, head_only=True)
        if skipped:
            page.dropped["unfetchable"] += len(skipped)
        for uid in wanted:
            raw, truncated = (bodies[uid], False) if uid in bodies else (by_head.get(uid), True)
            if raw is not None:
                self._take(raw, metas[uid], truncated and len(raw) >= HEAD_BYTES, page)
            elif uid not in skipped:
                missing.append(uid)
        page.missing += missing

    def _fetch(self, uids: list[int], dropped: Counter[str], *, head_only: bool = False) -> dict[int, bytes]:
        if not uids:
            return {}
        try:
            return self.session.bodies(uids, head_only=head_only)
        except FetchRefused:
            if len(uids) > 1:
                alone = (self._fetch([uid], dropped, head_only=head_only) for uid in uids)
                return {uid: raw for found in alone for uid, raw in found.items()}
            if not head_only:
                return self._fetch(uids, dropped, head_only=True)
            dropped["unfetchable"] += 1
            return {}

    def _take(self, raw: bytes, meta: Meta, truncated: bool, page: MailPage) -> None:
        envelope = Envelope(meta.arrived_at, meta.size or len(raw), meta.seen, truncated)
        read = read_sent if self.sent else read_incoming
        reading = read(raw, envelope, self.rules, self.now, self.route)
        page.signals += reading.signals
        if self.invitations is not None and self.route is Route.POLL:
            page.told += self.invitations.read(raw, reading.dropped)
        page.formerly.update(reading.formerly)
        if reading.dropped:
            page.dropped[reading.dropped] += 1


def _before(meta: Meta, floor: float | None) -> bool:
    """Arrived before the floor; a server that gives no arrival time is not held to it."""
    arrived = meta.arrived_at.timestamp()
    return floor is not None and 0 < arrived < floor
