"""The `google_contacts` source: people and companies in a Google account's contacts, by the People API.

A poll reads what changed since the last one by a sync token. The token lives for 7 days after all contacts were read, so they
are read again in time, and compared with what is remembered of each. Sources: developers.google.com, "people.connections.list",
"Read and manage contacts", discovery document of people v1 (revision 20251117).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Batch, Connector, Context, Request
from syncd.connectors.accounts.google import EXPIRED_TOKEN, GoogleAccount, google_errors
from syncd.connectors.answers import trimmed
from syncd.connectors.contacts.address_book import SIGNALS, AddressBook, BookEntry, in_range
from syncd.connectors.keys import BaseUrl
from syncd.connectors.online import clock_findings
from syncd.connectors.times import time_or_none
from syncd.errors import Failure, Malformed
from syncd.http.error_table import dig, found_at
from syncd.items import each_row, kept_row
from syncd.signals import Route

KIND = "google_contacts"
SCOPE = "https://www.googleapis.com/auth/contacts.readonly"
SCOPES = {SCOPE: "reads the contacts"}
PATH = "/v1/people/me/connections"
LIST = {
    "personFields": "names,emailAddresses,phoneNumbers,organizations,addresses,urls,metadata",
    "sources": "READ_SOURCE_TYPE_CONTACT",
    "pageSize": "500",
}
"""The same in every call of a round and with its tokens; a change of them makes Google refuse the tokens."""
SYNC = {**LIST, "requestSyncToken": "true"}
RESYNC = frozenset({EXPIRED_TOKEN, "410", "INVALID_ARGUMENT", "badRequest", "400"})
"""A token of a sync or page that Google does not take any more."""
ALL_AGAIN = timedelta(days=6)
MARGIN, STALE = timedelta(minutes=10), timedelta(hours=1)
"""A change shows some minutes late."""
ERRORS = google_errors("the People API", "people.googleapis.com", "there is no such list")


class GoogleContactsSettings(GoogleAccount):
    """Keys of a `google_contacts` source."""

    base_url: BaseUrl = Field("https://people.googleapis.com", description="the People API")


class ContactsSync(msgspec.Struct):
    """Where the contacts are read on: the sync token, "" for a round over all, and the page within the round. In a round over
    all, a contact that is not known is one of before unless it changed at `since` or later."""

    since: datetime
    sync: str = ""
    page: str = ""
    begun: datetime | None = None
    all_read: datetime | None = None


class GoogleBackfill(msgspec.Struct):
    page: str


class GoogleContacts:
    """A PollingSource and Backfillable."""

    def __init__(self, settings: GoogleContactsSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._api = settings.api(context, settings.base_url, SCOPE, ERRORS, kind=KIND)
        self._book = AddressBook(KIND, settings.account.lower(), context)

    # ---- poll

    def start(self, now: datetime) -> bytes:
        """From now on, by Google's clock. What is there already is remembered by the first poll."""
        answer = self._api.call("GET", PATH, {"personFields": "metadata", "pageSize": "1"})
        return msgspec.json.encode(ContactsSync(self._api.vendor_now(answer)))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor, resynced, more = msgspec.json.decode(state, type=ContactsSync), False, True
        while more:
            tokens = {"syncToken": cursor.sync, "pageToken": cursor.page}
            try:
                said, at = self._read({**SYNC, **{name: token for name, token in tokens.items() if token}})
            except Failure as failed:
                if failed.code not in RESYNC or not (cursor.sync or cursor.page) or resynced:
                    raise
                cursor, resynced = ContactsSync(cursor.since, all_read=cursor.all_read), True
                continue
            rows, begun, whole = _rows(said), cursor.begun or at, not cursor.sync
            read = ContactsSync(cursor.since, cursor.sync, str(said.get("nextPageToken") or ""), begun, cursor.all_read)
            more = bool(read.page)
            if not more:
                read = self._ended(cursor, str(said.get("nextSyncToken") or ""), begun)
                more = not whole and not read.sync  # what came until now is read; all once more, for a new token
            quiet = not rows and not whole and not more and at - cursor.since < MARGIN + STALE
            if not quiet:
                yield self._page(rows, now, cursor, msgspec.json.encode(read))
            cursor = read

    def _ended(self, cursor: ContactsSync, sync: str, begun: datetime) -> ContactsSync:
        """The cursor after a round."""
        all_read = cursor.all_read if cursor.sync and cursor.all_read else begun
        since = max(cursor.since, begun - MARGIN)
        if begun - all_read >= ALL_AGAIN:
            return ContactsSync(since, all_read=all_read)
        return ContactsSync(since, sync, all_read=all_read)

    def _page(self, rows: Sequence[dict[str, Any]], now: datetime, cursor: ContactsSync, state: bytes) -> Batch:
        former = {name for row in rows for name in _former(row)}
        known = self._book.known({*(_name(row) for row in rows), *former})

        def make(row: dict[str, Any], where: str) -> Batch | str:
            name = _name(row)
            if dig(row, "metadata.deleted") is True:
                return "merged into another contact" if name in former else self._book.gone(name, known.get(name), now)
            entry, before = _entry(row, now), known.get(name)
            renamed: dict[str, str | None] = {}
            for old in _former(row):
                if (kept := known.get(old)) is not None:
                    renamed |= self._book.renamed(old, entry, before or kept)
                    before = before or kept
            silent = not cursor.sync and before is None and entry.changed_at < cursor.since
            made = self._book.changed(entry, before, now, silent=silent)
            return replace(made, remember={**renamed, **made.remember})

        return each_row(rows, make, _kept(now), state=state, name="contact")

    def reparse(self, request: Request) -> Batch:
        """A contact from quarantine."""
        entry = _entry(msgspec.json.decode(request.body), request.received_at)
        return Batch(self._book.signals(entry, request.received_at, Route.POLL))

    # ---- backfill

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every contact that changed last in the range."""
        page, wanted = msgspec.json.decode(state, type=GoogleBackfill).page if state else None, in_range(since, until)
        while page != "":
            try:
                said, _ = self._read({**LIST, **({"pageToken": page} if page else {})})
            except Failure as failed:
                if failed.code not in RESYNC or not page:
                    raise
                said, _ = self._read(LIST)
            now = self._context.clock()

            def make(row: dict[str, Any], where: str, now: datetime = now) -> Batch:
                entry = _entry(row, now)
                return Batch(self._book.signals(entry, now, Route.BACKFILL) if wanted(entry.changed_at) else ())

            page = str(said.get("nextPageToken") or "")
            yield each_row(
                _rows(said), make, _kept(now), state=msgspec.json.encode(GoogleBackfill(page)), name="contact"
            )

    def _read(self, query: Mapping[str, str]) -> tuple[dict[str, Any], datetime]:
        answer = self._api.call("GET", PATH, query)
        said = answer.json() if answer is not None else None
        if not isinstance(said, dict) or not isinstance(said.get("connections", []), list):
            raise ERRORS.shape(PATH, found_at(said, "connections"))
        return said, self._api.vendor_now(answer)

    # ---- what helps the operator

    def check_online(self) -> Iterator[Finding]:
        """Signs in and reads one contact; what fails ends it."""
        said, theirs = self._read({"personFields": "metadata", "pageSize": "1"})
        yield Finding(Level.OK, "sign-in", f"signed in; the contacts of {self._settings.account} can be read")
        yield from clock_findings(self._context.clock(), theirs, "Google")
        yield Finding(Level.OK, "contacts", f"{said.get('totalItems') or 0} contacts")

    def sign_in(self) -> SignIn:
        """For `syncd auth`. Raises UsageError for an account that needs none."""
        return self._settings.sign_in(SCOPES, kind=KIND, name=self._context.name)


def _rows(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An answer without contacts lacks the list."""
    return [row for row in said.get("connections") or () if isinstance(row, dict)]


def _kept(now: datetime) -> Callable[[dict[str, Any]], Request]:
    return lambda row: kept_row(PATH, row, now)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("resourceName") or "")


def _former(row: Mapping[str, Any]) -> list[str]:
    """The names that a contact had before it was merged or linked."""
    names = dig(row, "metadata.previousResourceNames")
    return [one for one in names if isinstance(one, str)] if isinstance(names, list) else []


def _entry(row: Mapping[str, Any], now: datetime) -> BookEntry:
    """Raises Malformed for a contact without an id."""
    name = row.get("resourceName")
    if not isinstance(name, str) or not name:
        raise Malformed("a contact without an id")
    sources = [one for one in _list(dig(row, "metadata.sources")) if one.get("type") == "CONTACT"]
    own = sources[0] if sources else {}
    named, works, lives = (_best(row.get(field)) for field in ("names", "organizations", "addresses"))
    mobile, phones = _phones(row.get("phoneNumbers"))
    return BookEntry(
        id=str(own.get("id") or name),
        key=name,
        changed_at=time_or_none(own.get("updateTime")) or now,
        name=trimmed(named.get("displayName")),
        first_name=trimmed(named.get("givenName")),
        last_name=trimmed(named.get("familyName")),
        emails=tuple(trimmed(one.get("value")) for one in _first_best(row.get("emailAddresses"))),
        phones=phones,
        mobile=mobile,
        company=trimmed(works.get("name")),
        job_title=trimmed(works.get("title")),
        department=trimmed(works.get("department")),
        website=trimmed(_best(row.get("urls")).get("value")),
        street=trimmed(lives.get("streetAddress")),
        city=trimmed(lives.get("city")),
        state=trimmed(lives.get("region")),
        postal_code=trimmed(lives.get("postalCode")),
        country=trimmed(lives.get("country")),
    )


def _phones(values: object) -> tuple[str, tuple[str, ...]]:
    """The mobile number, and the others; E.164 where Google understood a number."""
    each = [
        (one.get("type"), trimmed(one.get("canonicalForm")) or trimmed(one.get("value"))) for one in _first_best(values)
    ]
    mobiles = [number for kind, number in each if kind in ("mobile", "workMobile")]
    return next(iter(mobiles), ""), tuple(number for _, number in each if number and number not in mobiles[:1])


def _best(values: object) -> Mapping[str, Any]:
    return next(iter(_first_best(values)), {})


def _first_best(values: object) -> list[dict[str, Any]]:
    """The entries of a field, the primary one first."""
    return sorted(_list(values), key=lambda one: dig(one, "metadata.primary") is not True)


def _list(values: object) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


CONNECTOR = Connector(
    name=KIND,
    contract=2,
    role="source",
    summary="People and companies in a Google account's contacts, by the People API",
    settings=GoogleContactsSettings,
    build=GoogleContacts,
    signals=SIGNALS,
)
