"""The `outlook_contacts` source: people and companies in the Outlook contacts of a Microsoft 365 user, by Microsoft Graph.

A change notification wakes the poll; the poll follows a delta link for each folder. When Microsoft does not know a link any more,
the folder is read again and compared with what is remembered of each contact. Sources: learn.microsoft.com, "contact: delta",
"contact resource type", "List contacts".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Batch, Connector, Context, Request
from syncd.connectors.accounts.graph_api import RESYNC, GraphAccount, changes, graph_errors
from syncd.connectors.accounts.graph_subscriptions import GraphNotified, GraphSubscriptions
from syncd.connectors.answers import trimmed
from syncd.connectors.contacts.address_book import SIGNALS, AddressBook, BookEntry, in_range
from syncd.connectors.online import clock_findings
from syncd.connectors.times import time_or_none
from syncd.errors import Failure, Malformed, RateLimited
from syncd.http.error_table import dig, found_at
from syncd.items import each_row, kept_row
from syncd.signals import Route

KIND = "outlook_contacts"
DEFAULT = "contacts"
"""The name of the user's default folder, which has no id in the settings."""
SCOPES = {"Contacts.Read": "reads the contacts"}
PAGE = 100
MARGIN, STALE = timedelta(minutes=10), timedelta(hours=1)
_FIELDS = (
    "id,displayName,givenName,surname,companyName,department,jobTitle,emailAddresses,businessPhones,homePhones,mobilePhone,"
    "businessAddress,homeAddress,businessHomePage,createdDateTime,lastModifiedDateTime"
)
ERRORS = graph_errors("user's contacts", "Contacts.Read", "there is no such folder of contacts; check folders")


class OutlookContactsSettings(GraphAccount):
    """Keys of an `outlook_contacts` source."""

    folders: tuple[str, ...] = Field(
        (DEFAULT,),
        min_length=1,
        description="folders to read: `contacts` is the user's default folder, any other is a folder id",
    )


class ContactFolder(msgspec.Struct):
    """Where a folder is read on. `full`: this round reads it from its beginning, and an entry that is not known is one of before
    unless it changed at `since` or later."""

    link: str
    since: datetime
    full: bool = True
    begun: datetime | None = None


class ContactsCursor(msgspec.Struct):
    folders: dict[str, ContactFolder]


class ContactsBackfill(msgspec.Struct):
    """The folders that are still to be read, the first of them from the page at `link`."""

    folders: tuple[str, ...]
    link: str = ""


class OutlookContacts(GraphNotified):
    """A PollingSource, Backfillable, WebhookSource, Subscribable and Renewable."""

    def __init__(self, settings: OutlookContactsSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._api = settings.api(context, ERRORS, kind=KIND, page=PAGE)
        self._book = AddressBook(KIND, settings.mailbox.lower(), context)
        resources = [self._path(name).lstrip("/") for name in settings.folders]
        self._hooks = GraphSubscriptions(self._api, resources, context, changes="created,updated,deleted")

    # ---- poll

    def start(self, now: datetime) -> bytes:
        return msgspec.json.encode(ContactsCursor({name: self._begun() for name in self._settings.folders}))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """What changed in each folder. A folder that fails does not keep the others from being read: its failure comes last."""
        yield from self._renewed()
        cursor, failure = msgspec.json.decode(state, type=ContactsCursor), None
        for name in self._settings.folders:
            try:
                yield from self._poll_folder(name, cursor, now)
            except RateLimited:
                raise
            except Failure as error:
                failure = failure or error
        if failure:
            raise failure

    def _begun(self) -> ContactFolder:
        """From now on, by Microsoft's clock. What is there already is remembered by the first poll."""
        answer = self._api.call("GET", self._path(DEFAULT), {"$top": "1", "$select": "id"})
        return ContactFolder("", self._api.vendor_now(answer))

    def _poll_folder(self, name: str, cursor: ContactsCursor, now: datetime) -> Iterator[Batch]:
        folder = cursor.folders.get(name) or self._begun()  # new in the settings
        resynced, more = False, True
        while more:
            try:
                page = changes(self._api, f"{self._path(name)}/delta", folder.link, {"$select": _FIELDS}, ERRORS)
            except Failure as failed:
                if failed.code not in RESYNC or not folder.link or resynced:
                    raise
                folder, resynced = ContactFolder("", folder.since), True
                continue
            more, begun = page.more, folder.begun or page.at
            quiet = not page.rows and not more and not folder.full and page.at - folder.since < MARGIN + STALE
            read = ContactFolder(page.link, folder.since, folder.full, begun)
            if not more:
                read = ContactFolder(page.link, max(folder.since, begun - MARGIN), full=False)
            cursor.folders[name] = read
            if not quiet:
                yield self._page(page.rows, now, folder, msgspec.json.encode(cursor))
            folder = read

    def _page(self, rows: Sequence[dict[str, Any]], now: datetime, folder: ContactFolder, state: bytes) -> Batch:
        known = self._book.known(str(row.get("id")) for row in rows)

        def make(row: dict[str, Any], where: str) -> Batch | str:
            before = known.get(str(row.get("id")))
            if (removed := row.get("@removed")) is not None:
                if dig(removed, "reason") == "changed":
                    return "moved to another folder"
                return self._book.gone(str(row.get("id")), before, now)
            entry = _entry(row, now)
            silent = folder.full and before is None and entry.changed_at < folder.since
            return self._book.changed(entry, before, now, silent=silent)

        return each_row(rows, make, self._kept(now), state=state, name="contact")

    def reparse(self, request: Request) -> Batch:
        """A contact from quarantine."""
        entry = _entry(msgspec.json.decode(request.body), request.received_at)
        return Batch(self._book.signals(entry, request.received_at, Route.POLL))

    # ---- backfill

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every contact that changed last in the range."""
        at = msgspec.json.decode(state, type=ContactsBackfill) if state else ContactsBackfill(self._settings.folders)
        wanted = in_range(since, until)
        while at.folders:
            rows, link = self._listed(at)
            now = self._context.clock()

            def make(row: dict[str, Any], where: str, now: datetime = now) -> Batch:
                entry = _entry(row, now)
                return Batch(self._book.signals(entry, now, Route.BACKFILL) if wanted(entry.changed_at) else ())

            at = ContactsBackfill(at.folders if link else at.folders[1:], link)
            yield each_row(rows, make, self._kept(now), state=msgspec.json.encode(at), name="contact")

    def _listed(self, at: ContactsBackfill) -> tuple[list[dict[str, Any]], str]:
        """A page of the folder under way, and the address of the next. A page that is not there any more: the first again."""
        first = self._path(at.folders[0])
        try:
            answer = self._api.call("GET", at.link or first, None if at.link else {"$select": _FIELDS})
        except Failure as failed:
            if failed.code not in RESYNC or not at.link:
                raise
            answer = self._api.call("GET", first, {"$select": _FIELDS})
        said = answer.json() if answer is not None else None
        if not isinstance(said, dict) or not isinstance(said.get("value"), list):
            raise ERRORS.shape(first, found_at(said, "value"))
        return [row for row in said["value"] if isinstance(row, dict)], str(said.get("@odata.nextLink") or "")

    def _kept(self, now: datetime) -> Callable[[dict[str, Any]], Request]:
        return lambda row: kept_row(self._path(DEFAULT), row, now)

    def _path(self, name: str) -> str:
        inside = "" if name == DEFAULT else f"/contactFolders/{quote(name, safe='')}"
        return f"/{self._settings.whose}{inside}/contacts"

    # ---- what helps the operator

    def check_online(self) -> Iterator[Finding]:
        """Signs in and looks at every folder; what fails ends it."""
        for index, name in enumerate(self._settings.folders):
            answer = self._api.call("GET", self._path(name), {"$top": "1", "$select": "id"})
            if not index:
                yield Finding(Level.OK, "sign-in", f"signed in; the contacts of {self._settings.mailbox} can be read")
                theirs = self._api.vendor_now(answer)
                yield from clock_findings(self._context.clock(), theirs, "Microsoft")
            yield Finding(Level.OK, f"folder {name}", "can be read")

    def sign_in(self) -> SignIn:
        """For `syncd auth`. Raises UsageError when the app signs in by itself."""
        return self._settings.sign_in(SCOPES, kind=KIND, name=self._context.name)


def _entry(row: Mapping[str, Any], now: datetime) -> BookEntry:
    """Raises Malformed for a contact without an id."""
    id_ = row.get("id")
    if not isinstance(id_, str) or not id_:
        raise Malformed("a contact without an id")
    emails = row.get("emailAddresses")
    address = _filled(row.get("businessAddress")) or _filled(row.get("homeAddress")) or {}
    return BookEntry(
        id=id_,
        changed_at=time_or_none(row.get("lastModifiedDateTime")) or time_or_none(row.get("createdDateTime")) or now,
        name=trimmed(row.get("displayName")),
        first_name=trimmed(row.get("givenName")),
        last_name=trimmed(row.get("surname")),
        emails=tuple(trimmed(dig(one, "address")) for one in emails) if isinstance(emails, list) else (),
        phones=(*_texts(row.get("businessPhones")), *_texts(row.get("homePhones"))),
        mobile=trimmed(row.get("mobilePhone")),
        company=trimmed(row.get("companyName")),
        job_title=trimmed(row.get("jobTitle")),
        department=trimmed(row.get("department")),
        website=trimmed(row.get("businessHomePage")),
        street=trimmed(address.get("street")),
        city=trimmed(address.get("city")),
        state=trimmed(address.get("state")),
        postal_code=trimmed(address.get("postalCode")),
        country=trimmed(address.get("countryOrRegion")),
    )


def _filled(address: object) -> Mapping[str, Any] | None:
    return address if isinstance(address, dict) and any(address.values()) else None


def _texts(values: object) -> tuple[str, ...]:
    return tuple(text for one in values if (text := trimmed(one))) if isinstance(values, list) else ()


CONNECTOR = Connector(
    name=KIND,
    contract=2,
    role="source",
    summary="People and companies in a Microsoft 365 user's Outlook contacts, by Microsoft Graph",
    settings=OutlookContactsSettings,
    build=OutlookContacts,
    signals=SIGNALS,
)
