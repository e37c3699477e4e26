"""The `graph_mail` source: mail of a Microsoft 365 mailbox by Microsoft Graph. The registry builds it.

A change notification wakes the poll; the poll follows a delta link for each folder; every mail is read as it came (MIME), so that
the same mail by IMAP is the same signal. When Microsoft does not know a link any more, the folder is read again from a time that
the cursor keeps, and ids make repeats of what was read before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Batch, Connector, Context
from syncd.connectors.accounts.graph_api import RESYNC
from syncd.connectors.accounts.graph_subscriptions import GraphNotified, GraphSubscriptions
from syncd.connectors.accounts.microsoft import CLOUDS, CloudName, MicrosoftAuth, bearer, sign_in_of
from syncd.connectors.keys import BaseUrl
from syncd.connectors.mail.graph_mailbox import GraphMailbox
from syncd.connectors.mail.invitations import MEETING_SIGNAL, Invitations, ReadsInvitations
from syncd.connectors.mail.listed import Listed, MailReader, rules_of
from syncd.connectors.mail.reading import SIGNALS
from syncd.connectors.mail.sent import SENT, SENT_SIGNAL
from syncd.connectors.mail.settings import MailSettings
from syncd.connectors.mail.some_failed import of_some
from syncd.connectors.online import clock_findings
from syncd.connectors.times import time_or_none
from syncd.errors import Failure, RateLimited
from syncd.signals import Route
from syncd.time_cursor import ItemMark, TimeCursor, mark_of, oldest_first

KIND = "graph_mail"
SENT_FOLDER = "sentitems"
MARGIN = timedelta(hours=1)
"""So long before the end of the last round a folder is read again after a resync: Exchange shows some mails late."""
STALE = timedelta(hours=1)
SCOPES = {"Mail.Read": "reads the mailbox"}
_WIDER = timedelta(days=3)
"""A mail may be received so long after its Date header, and is listed by when it was received."""


class GraphMailSettings(MailSettings):
    """Keys of a `graph_mail` source."""

    mailbox: str = Field(
        pattern=r"^[^@\s/]+@[^@\s/]+$",
        description="the mailbox's address (user principal name), such as sales@example.com",
    )
    auth: MicrosoftAuth = Field(description="the app registration by which syncd signs in")
    folders: tuple[str, ...] = Field(
        ("inbox",),
        min_length=1,
        description="folders to read: well-known names (`inbox`, `archive`, `junkemail`) or folder ids. With "
        "`channels: {outgoing: {email_sent: true}}`, `sentitems` is read too, as mail that the company sent",
    )
    cloud: CloudName = Field("global", description="the Microsoft cloud of the tenant")
    graph_url: BaseUrl = Field(
        "", validate_default=False, description="Microsoft Graph's address instead of the cloud's"
    )
    login_url: BaseUrl = Field("", validate_default=False, description="the sign-in address instead of the cloud's")


class FolderCursor(msgspec.Struct):
    """Where a folder is read on, and from when on it is read again if Microsoft does not know that link any more."""

    link: str
    since: datetime


class GraphCursor(msgspec.Struct):
    folders: dict[str, FolderCursor]


class BackfillCursor(msgspec.Struct):
    """The folder under way, and how far it was read."""

    folder: str
    at: TimeCursor


class GraphMail(GraphNotified, ReadsInvitations):
    """A PollingSource, HintSource, Backfillable, WebhookSource, Subscribable and Renewable."""

    def __init__(self, settings: GraphMailSettings, context: Context) -> None:
        cloud = CLOUDS[settings.cloud]
        self._graph, self._login = settings.graph_url or cloud.graph, settings.login_url or cloud.login
        self._settings, self._context = settings, context
        signs_in = bearer(context, self._login, self._graph, settings.auth, kind=KIND)
        self._whose = "me" if settings.auth.flow == "delegated" else f"users/{settings.mailbox}"
        self._mailbox = GraphMailbox(self._graph, self._whose, signs_in, context, settings.mailbox)
        sent = (SENT_FOLDER,) if SENT in context.switches else ()
        self._folders = tuple(dict.fromkeys((*settings.folders, *sent)))
        rules = rules_of(settings, settings.mailbox, context.name, context.region)
        self._invitations = Invitations(context, rules.own, text=not rules.headers_only)
        self._reader = MailReader(
            lambda mail: self._mailbox.mime(mail.id), rules, int(settings.max_size), self._invitations
        )
        resources = [f"{self._whose}/mailFolders('{name}')/messages" for name in self._folders]
        self._hooks = GraphSubscriptions(self._mailbox.api, resources, context)

    # ---- poll

    def start(self, now: datetime) -> bytes:
        return msgspec.json.encode(GraphCursor({name: self._begun(name) for name in self._folders}))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """What came into each folder. A folder that fails does not keep the others from being read: its failure comes last."""
        yield from self._renewed()
        cursor, failure, read = msgspec.json.decode(state, type=GraphCursor), None, 0
        for name in self._folders:
            try:
                yield from self._poll_folder(name, cursor, now)
                read += 1
            except RateLimited:
                raise
            except Failure as error:
                failure = failure or error
        if failure:
            raise of_some(failure, now) if read else failure

    def _begun(self, name: str) -> FolderCursor:
        """From now on, by Microsoft's clock."""
        _, since = self._mailbox.folder(name)
        link, more = "", True
        while more:
            page = self._mailbox.changes(name, link, since)
            link, more = page.link, page.more and not page.rows
        return FolderCursor(link if not page.rows else "", since)

    def _poll_folder(self, name: str, cursor: GraphCursor, now: datetime) -> Iterator[Batch]:
        if name not in cursor.folders:  # new in the settings
            cursor.folders[name] = self._begun(name)
            yield Batch(state=msgspec.json.encode(cursor))
            return
        folder, resynced, more = cursor.folders[name], False, True
        while more:
            try:
                page = self._mailbox.changes(name, folder.link, folder.since)
            except Failure as failed:
                if failed.code not in RESYNC or not folder.link or resynced:
                    raise
                folder, resynced = FolderCursor("", folder.since), True
                continue
            more = page.more
            fresh = max(folder.since, page.at - MARGIN) if not more else folder.since
            quiet = not page.rows and not more and folder.link and page.at - folder.since < MARGIN + STALE
            folder = FolderCursor(page.link, fresh)
            if not quiet:
                cursor.folders[name] = folder
                yield self._batch(name, page.rows, now, Route.POLL, msgspec.json.encode(cursor))

    # ---- backfill

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every mail that happened in the range, folder by folder, by when it was received."""
        begun = msgspec.json.decode(state, type=BackfillCursor) if state else None
        names = list(self._folders)
        if begun and begun.folder in names:
            names = names[names.index(begun.folder) :]
        first, last = since - _WIDER, until + _WIDER
        for name in names:
            cursor = begun.at if begun and begun.folder == name else TimeCursor(first)
            pages = self._mailbox.listed(name, cursor.since, last)
            for rows, after, _ in oldest_first(pages, cursor, _mark, lag=timedelta(0)):
                if rows or after != cursor:
                    cursor = after
                    state = msgspec.json.encode(BackfillCursor(name, cursor))
                    yield self._batch(
                        name, rows, self._context.clock(), Route.BACKFILL, state, lambda at: since <= at < until
                    )

    # ---- reading

    def _batch(
        self,
        folder: str,
        rows: Sequence[Mapping[str, Any]],
        now: datetime,
        route: Route,
        state: bytes,
        wanted: Callable[[datetime], bool] = lambda at: True,
    ) -> Batch:
        mails = [_listed(row) for row in rows if "@removed" not in row]
        return self._reader.batch(mails, now, route, state, sent=folder == SENT_FOLDER, wanted=wanted)

    # ---- what helps the operator

    def check_online(self) -> Iterator[Finding]:
        """Signs in and looks at every folder; what fails ends it."""
        for index, name in enumerate(self._folders):
            folder, theirs = self._mailbox.folder(name)
            if not index:
                yield Finding(Level.OK, "sign-in", f"signed in; {self._settings.mailbox} can be read")
                yield from clock_findings(self._context.clock(), theirs, "Microsoft")
            yield Finding(
                Level.OK, f"folder {name}", f"{folder.get('displayName', name)}, {folder.get('totalItemCount')} mails"
            )

    def sign_in(self) -> SignIn:
        """For `syncd auth`. Raises UsageError when the app signs in by itself."""
        return sign_in_of(
            self._login,
            self._graph,
            self._settings.auth,
            SCOPES,
            kind=KIND,
            name=self._context.name,
            account=self._settings.mailbox,
        )


def _mark(row: Mapping[str, Any]) -> ItemMark | None:
    return mark_of(row.get("id"), time_or_none(row.get("receivedDateTime")))


def _listed(row: Mapping[str, Any]) -> Listed:
    id_, link = row.get("id"), row.get("webLink")
    return Listed(
        id_ if isinstance(id_, str) else "",
        row,
        time_or_none(row.get("receivedDateTime")),
        row.get("isRead") is True,
        row.get("isDraft") is True,
        link if isinstance(link, str) and link.startswith("https://") else "",
    )


CONNECTOR = Connector(
    name=KIND,
    contract=2,
    role="source",
    summary="Mail received, sent and bounced, from a Microsoft 365 mailbox by Microsoft Graph",
    settings=GraphMailSettings,
    build=GraphMail,
    signals=(*SIGNALS, SENT_SIGNAL, MEETING_SIGNAL),
)
