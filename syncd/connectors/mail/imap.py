"""The `imap` source: new mail of a mailbox by polling and IDLE, its history by backfill. The registry builds it.

Mailboxes are only looked at (EXAMINE, BODY.PEEK): no flag is ever set. Memory is bounded by a page of signals plus one group
of mails, however large the mailbox. Each batch carries the cursor behind exactly what it holds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from syncd.capabilities import Finding, SignIn
from syncd.connector import Batch, Connector, Context
from syncd.connectors.mail.imap_cursor import RESYNC_MARGIN, Folder, MailBackfillState, MailCursor
from syncd.connectors.mail.imap_idle import news
from syncd.connectors.mail.imap_login import way_into
from syncd.connectors.mail.imap_oauth import sign_in_of
from syncd.connectors.mail.imap_pages import Pages
from syncd.connectors.mail.imap_session import ImapSession, opened
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.connectors.mail.invitations import MEETING_SIGNAL, Invitations, ReadsInvitations
from syncd.connectors.mail.mail_check import check_folder, check_imap, opened_folder
from syncd.connectors.mail.reading import SIGNALS, Rules
from syncd.connectors.mail.sent import SENT_SIGNAL, types_of
from syncd.connectors.mail.some_failed import of_some
from syncd.errors import Failure, Misconfigured, RateLimited
from syncd.signals import Route, normal_email

SENT_MAIL = None
"""In a list of folders: the one of sent mail, whatever it is called there."""
CONNECTION_GONE = frozenset({"lost", "protocol"})
_STALE = timedelta(hours=1).total_seconds()


class ImapSource(ReadsInvitations):
    """Polls, waits on and backfills one mailbox. Holds no state and no connection between calls."""

    def __init__(self, settings: ImapSettings, context: Context) -> None:
        anchored = {"ca_file": context.beside(settings.ca_file)} if settings.ca_file else {}
        self._settings = settings.model_copy(update=anchored)
        self._name = context.name
        self._clock = context.clock
        self._way = way_into(self._settings, context)
        own = {*settings.own_addresses, normal_email(settings.username)} - {""}
        self._rules = Rules(
            context.name,
            frozenset(own),
            settings.lists,
            settings.auto_replies,
            settings.capture == "headers",
            context.region,
            settings.dropbox,
        )
        self._invitations = Invitations(context, own, text=not self._rules.headers_only)

    def start(self, now: datetime) -> bytes:
        """Behind the last message of every folder that opens; the others begin when they do, and the polls tell of them.
        Raises Failure when none opens."""
        cursor = MailCursor(now.timestamp())
        failure: Failure | None = None
        with self._opened() as session:
            for wanted in self._wanted:
                try:
                    name = self._folder_name(session, wanted)
                    status = session.examine(name)
                except Failure as error:
                    failure = failure or error
                    if _for_all(error):
                        break
                else:
                    cursor.folders[name] = Folder(status.validity, status.next, now.timestamp())
        if failure and not cursor.folders:
            raise failure
        return msgspec.json.encode(cursor)

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """New mail of every folder. A folder that fails does not keep the others from being read: its failure comes last."""
        cursor = msgspec.json.decode(state, type=MailCursor)
        failure: Failure | None = None
        read = 0
        with self._opened() as session:
            for wanted in self._wanted:
                try:
                    name = self._folder_name(session, wanted)
                    yield from self._poll_folder(session, name, cursor, now, sent=wanted is SENT_MAIL)
                    read += 1
                except Failure as error:
                    failure = failure or error
                    if _for_all(error):
                        break
        if failure:
            raise of_some(failure, now) if read else failure

    def _poll_folder(
        self, session: ImapSession, name: str, cursor: MailCursor, now: datetime, *, sent: bool
    ) -> Iterator[Batch]:
        status = session.examine(name)
        folder = cursor.folders.get(name)
        if folder is None:  # new in the settings, or it never opened: starts at now
            cursor.folders[name] = Folder(status.validity, status.next, now.timestamp())
            yield Batch(state=msgspec.json.encode(cursor))
            return
        before = msgspec.json.encode(folder)
        if status.validity != folder.validity or status.next < folder.next:
            folder.recreated(status.validity, cursor.started)
        pages = self._pages(session, now, Route.POLL, sent=sent)
        fresh = session.search(folder.next, status.exists, _arrived_since(folder.floor))
        for uids in _chunks(sorted({*fresh, *folder.holes}), self._settings.page_size):
            page, reached = pages.read(uids, folder.stuck, floor=folder.floor), folder.next
            folder.dealt_with(page.uids, page.missing, now.timestamp())
            if page.lost:
                folder.stuck.lost_at(page.lost_at)
            if page.lost or page.signals or page.dropped or page.told or folder.next > reached:
                history = cursor.started - RESYNC_MARGIN if folder.floor is not None else 0.0
                signals = [signal for signal in page.signals if signal.occurred_at.timestamp() >= history]
                state = msgspec.json.encode(cursor)
                made = Batch(signals=signals, state=state, dropped=page.dropped, formerly=page.formerly)
                yield self._invitations.joined(made, page.told)
            if page.lost:
                raise page.lost
        if folder.floor is not None:
            folder.floor, folder.next = None, max(folder.next, status.next)
        if msgspec.json.encode(folder) != before or now.timestamp() - folder.at > _STALE:
            folder.at = now.timestamp()
            yield Batch(state=msgspec.json.encode(cursor))

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every mail that happened in the range, in the order of UIDs. A folder whose UIDVALIDITY changed meanwhile is
        begun again: what was made already has the same ids."""
        progress = msgspec.json.decode(state, type=MailBackfillState) if state else None
        with self._opened() as session:
            wanted_of = {self._folder_name(session, wanted): wanted for wanted in self._wanted}
            names = list(wanted_of)
            if progress and progress.folder in names:
                names = names[names.index(progress.folder) :]
            for name in names:
                status = session.examine(name)
                if progress is None or (progress.folder, progress.validity) != (name, status.validity):
                    progress = MailBackfillState(name, status.validity)
                sent = wanted_of[name] is SENT_MAIL
                pages = self._pages(session, self._clock(), Route.BACKFILL, sent=sent)
                wanted = session.search(progress.next, status.exists, _between(since, until))
                for uids in _chunks(wanted, self._settings.page_size):
                    page = pages.read(uids, progress.stuck)
                    progress.next = max(page.uids, default=progress.next - 1) + 1
                    progress.stuck.passed(page.uids)
                    if page.lost:
                        progress.stuck.lost_at(page.lost_at)
                    signals = [signal for signal in page.signals if since <= signal.occurred_at < until]
                    yield Batch(
                        signals=signals,
                        state=msgspec.json.encode(progress),
                        dropped=page.dropped,
                        formerly=page.formerly,
                    )
                    if page.lost:
                        raise page.lost

    def check_online(self) -> Iterator[Finding]:
        """Signs in and opens every folder, read-only."""
        with self._opened() as session:
            user, able = self._settings.username, session.capabilities()
            yield from check_imap(session, user, self._settings.folders, able)
            if self._settings.sent:
                yield from check_folder("sent mail", lambda: self._look_at_sent(session))

    def _look_at_sent(self, session: ImapSession) -> str:
        name = self._folder_name(session, SENT_MAIL)
        return f"{name}: {opened_folder(session, name)}"

    def wait(self, stop: threading.Event) -> Iterator[None]:
        """Whenever the first few folders may have new mail; see `syncd.capabilities.Waiting`."""
        if self._settings.idle:
            yield from news(self._opened, self._settings.folders, self._settings.known_host, stop)

    def sign_in(self) -> SignIn:
        """For `syncd auth`. Raises UsageError when no person can sign in for this source."""
        return sign_in_of(self._settings, self._name)

    def _opened(self) -> AbstractContextManager[ImapSession]:
        return opened(self._settings, self._way)

    @property
    def _wanted(self) -> tuple[str | None, ...]:
        """The folders to read, the one of sent mail last."""
        return (*self._settings.folders, SENT_MAIL) if self._settings.sent else self._settings.folders

    def _folder_name(self, session: ImapSession, wanted: str | None) -> str:
        """What a folder is called there. Raises Misconfigured where the one of sent mail cannot be told."""
        if wanted is not SENT_MAIL:
            return str(wanted)
        name = self._settings.sent_folder or session.sent_folder()
        if name in self._settings.folders:
            message = f"folders names {name}, which is the folder of sent mail; take it out of folders"
            raise Misconfigured(message, code="sent_twice", field="folders")
        return name

    def _pages(self, session: ImapSession, now: datetime, route: Route, *, sent: bool) -> Pages:
        return Pages(session, self._rules, int(self._settings.max_size), now, route, sent, self._invitations)


def _for_all(error: Failure) -> bool:
    """It concerns the connection, not one folder."""
    return error.code in CONNECTION_GONE or isinstance(error, RateLimited)


def _chunks(uids: list[int], size: int) -> Iterator[list[int]]:
    return (uids[at : at + size] for at in range(0, len(uids), size))


def _day(moment: datetime, offset: int) -> date:
    """The day for a SEARCH, which knows no finer time and has the server's zone: widened by `offset` days."""
    return (moment.astimezone(UTC) + timedelta(days=offset)).date()


def _arrived_since(floor: float | None) -> list[Any]:
    return [] if floor is None else ["SINCE", _day(datetime.fromtimestamp(floor, UTC), -1)]


def _between(since: datetime, until: datetime) -> list[Any]:
    """Arrived or sent in the range: a mail moved from another server arrived here long after it happened."""
    first, last = _day(since, -2), _day(until, 3)
    return ["OR", ["SINCE", first, "BEFORE", last], ["SENTSINCE", first, "SENTBEFORE", last]]


CONNECTOR = Connector(
    name="imap",
    contract=2,
    role="source",
    summary="Mail received, sent and bounced, from a mailbox over IMAP",
    settings=ImapSettings,
    build=ImapSource,
    signals=(*SIGNALS, SENT_SIGNAL, MEETING_SIGNAL),
    makes=lambda settings, switches: (*types_of(settings), *({MEETING_SIGNAL.type} & switches)),
    secrets_note="password: of the mailbox, or an app password made at the mail host; or auth: an app for OAuth 2.0",
)
