"""The `imap` source: new mail of a mailbox by polling, its history by backfill. The registry builds it; the intake polls it.

Mailboxes are only looked at (EXAMINE, BODY.PEEK): no flag is ever set. Memory is bounded by a page of signals plus one group
of mails, however large the mailbox. Each batch carries the cursor behind exactly what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, SecretStr, model_validator

from connectors.mail.imap_cursor import RESYNC_MARGIN, Cursor, Folder, Progress
from connectors.mail.imap_pages import Pages
from connectors.mail.imap_session import Session, opened
from connectors.mail.mail_check import check_imap
from connectors.mail.reading import SIGNALS, Rules
from connectors.mail.settings import MailSettings
from syncd.capabilities import Finding
from syncd.connector import Batch, Connector, Context
from syncd.errors import Failure
from syncd.signals import Route, normal_email

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
CONNECTION_GONE = frozenset({"lost", "protocol"})
_STALE = timedelta(hours=1).total_seconds()


class ImapSettings(MailSettings):
    """Keys of an `imap` source."""

    host: str = Field(min_length=1, description="The IMAP server, such as imap.example.com.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Default 993, or 143 with `tls: starttls` or `none`."
    )
    tls: Literal["implicit", "starttls", "none"] = Field(
        default="implicit",
        description="`implicit`: TLS from the first byte; `starttls`: upgraded; `none`: in the clear, for a server on this "
        "machine only.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) to trust instead of the system's, for a server with a private one.",
    )
    username: str = Field(min_length=1, description="The login name, at most hosts the address.")
    password: SecretStr = Field(description="The password; many hosts want an app password.")
    folders: tuple[str, ...] = Field(
        default=("INBOX",),
        min_length=1,
        description="Folders to watch, written as people see them (`Köln`, `Sales/2026`).",
    )
    page_size: int = Field(default=50, ge=1, le=500, description="Mails a batch; after a kill one batch is read again.")

    @model_validator(mode="after")
    def _clear_text(self) -> ImapSettings:
        if self.tls == "none" and self.host.lower() not in LOOPBACK:
            raise ValueError(
                "tls: none would send the password in the clear; it is for 127.0.0.1 only, set tls: starttls"
            )
        return self

    @property
    def effective_port(self) -> int:
        return self.port or (993 if self.tls == "implicit" else 143)


class ImapSource:
    """Polls and backfills one mailbox. Holds no state and no connection between calls."""

    def __init__(self, settings: ImapSettings, context: Context) -> None:
        anchored = {"ca_file": context.beside(settings.ca_file)} if settings.ca_file else {}
        self._settings = settings.model_copy(update=anchored)
        self._clock = context.clock
        own = {*settings.own_addresses, normal_email(settings.username)} - {""}
        self._rules = Rules(
            context.name, frozenset(own), settings.lists, settings.auto_replies, settings.capture == "headers"
        )

    def start(self, now: datetime) -> bytes:
        """Behind the last message of every folder."""
        cursor = Cursor(now.timestamp())
        with opened(self._settings) as session:
            for name in self._settings.folders:
                status = session.examine(name)
                cursor.folders[name] = Folder(status.validity, status.next, now.timestamp())
        return msgspec.json.encode(cursor)

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """New mail of every folder. A folder that fails does not keep the others from being read: its failure comes last."""
        cursor = msgspec.json.decode(state, type=Cursor)
        failure: Failure | None = None
        with opened(self._settings) as session:
            for name in self._settings.folders:
                try:
                    yield from self._poll_folder(session, name, cursor, now)
                except Failure as error:
                    failure = failure or error
                    if error.code in CONNECTION_GONE:
                        break
        if failure:
            raise failure

    def _poll_folder(self, session: Session, name: str, cursor: Cursor, now: datetime) -> Iterator[Batch]:
        status = session.examine(name)
        folder = cursor.folders.get(name)
        if folder is None:  # new in the settings: starts at now
            cursor.folders[name] = Folder(status.validity, status.next, now.timestamp())
            yield Batch(state=msgspec.json.encode(cursor))
            return
        before = msgspec.json.encode(folder)
        if status.validity != folder.validity or status.next < folder.next:
            folder.recreated(status.validity, cursor.started)
        pages = self._pages(session, now, Route.POLL)
        fresh = session.search(folder.next, status.exists, _arrived_since(folder.floor))
        for uids in _chunks(sorted({*fresh, *folder.holes}), self._settings.page_size):
            page, reached = pages.read(uids, folder.stuck, floor=folder.floor), folder.next
            folder.dealt_with(page.uids, page.missing, now.timestamp())
            if page.lost:
                folder.stuck.lost_at(page.lost_at)
            if page.lost or page.signals or page.dropped or folder.next > reached:
                history = cursor.started - RESYNC_MARGIN if folder.floor is not None else 0.0
                signals = [signal for signal in page.signals if signal.occurred_at.timestamp() >= history]
                yield Batch(signals=signals, state=msgspec.json.encode(cursor), dropped=page.dropped)
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
        progress = msgspec.json.decode(state, type=Progress) if state else None
        names = list(self._settings.folders)
        if progress and progress.folder in names:
            names = names[names.index(progress.folder) :]
        with opened(self._settings) as session:
            for name in names:
                status = session.examine(name)
                if progress is None or (progress.folder, progress.validity) != (name, status.validity):
                    progress = Progress(name, status.validity)
                pages = self._pages(session, self._clock(), Route.BACKFILL)
                wanted = session.search(progress.next, status.exists, _between(since, until))
                for uids in _chunks(wanted, self._settings.page_size):
                    page = pages.read(uids, progress.stuck)
                    progress.next = max(page.uids, default=progress.next - 1) + 1
                    progress.stuck.passed(page.uids)
                    if page.lost:
                        progress.stuck.lost_at(page.lost_at)
                    signals = [signal for signal in page.signals if since <= signal.occurred_at < until]
                    yield Batch(signals=signals, state=msgspec.json.encode(progress), dropped=page.dropped)
                    if page.lost:
                        raise page.lost

    def check_online(self) -> Iterator[Finding]:
        """Signs in and opens every folder, read-only."""
        with opened(self._settings) as session:
            yield from check_imap(session, self._settings.username, self._settings.folders, session.capabilities())

    def _pages(self, session: Session, now: datetime, route: Route) -> Pages:
        return Pages(session, self._rules, int(self._settings.max_size), now, route)


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
    summary="Mail received and bounces, from a mailbox over IMAP",
    settings=ImapSettings,
    build=ImapSource,
    signals=SIGNALS,
    secrets_note="password: of the mailbox, or an app password made at the mail host",
)
