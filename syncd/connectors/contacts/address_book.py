"""The entries of an address book as signals, for every source that reads one: who changed, which company, who was deleted.

Address books say that an entry changed, and not what. So a digest of what matters of each entry is remembered, with the address
and number by which a deletion is told later; an entry that reads as before makes no signal. Promise: the same state of an entry
is one signal on every route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from syncd.connector import Batch, Context, SignalSpec
from syncd.identity.companies import folded_name, own_domain
from syncd.identity.emails import normal_email
from syncd.identity.phones import normal_phone
from syncd.signals import Person, Route, Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

CONTACT, ACCOUNT, DELETED = "contact.changed", "account.changed", "contact.deleted"
SIGNALS = (
    SignalSpec(CONTACT, "poll, backfill: the entry's id and a digest of what it says", backfill=True),
    SignalSpec(ACCOUNT, "poll, backfill: the company's name and a digest of what is said of it", backfill=True),
    SignalSpec(DELETED, "poll: the entry's id and the digest of what it said last", backfill=False),
)
NOBODY = "an entry without an email address and a phone number"
UNCHANGED = "an entry that reads as before"
UNKNOWN = "a deleted entry that was not known"
_LONGEST_NAME = 200


class BookEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One person of an address book. `id`: the vendor's, which stays when the entry is moved or merged. `phones`: business
    numbers before private ones. The address is the business one, or the private one where there is none. `key`: the name by which
    a deletion tells of it, where that is not the id."""

    id: str
    changed_at: datetime
    key: str = ""
    name: str = ""
    first_name: str = ""
    last_name: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    mobile: str = ""
    company: str = ""
    job_title: str = ""
    department: str = ""
    website: str = ""
    street: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""

    @property
    def digest(self) -> str:
        """Of all it says: another text is another state."""
        said = msgspec.structs.replace(self, changed_at=_NEVER, key="")
        return _digest(msgspec.json.encode(msgspec.structs.astuple(said)))

    @property
    def remembered_by(self) -> str:
        return self.key or self.id


_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_PLACE = ("street", "city", "state", "postal_code", "country")
_MORE = ("job_title", "department", "mobile", "website", *_PLACE)
"""What goes into a contact's data, by the names that the shipped mappings and lists in files use."""


class KeptEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of an entry: the digests of the entry and its company, and who it was."""

    digest: str
    company: str = ""
    email: str = ""
    phone: str = ""
    name: str = ""


class AddressBook:
    """The entries of one account. `family`: the connector's type; `account`: the vendor's account."""

    def __init__(self, family: str, account: str, context: Context) -> None:
        self._family, self._account, self._context = family, account, context

    def known(self, ids: Iterable[str]) -> dict[str, KeptEntry]:
        """What is remembered of these entries, by what they are remembered by."""
        by_key = {_memory(id_): id_ for id_ in ids}
        found = self._context.recall(list(by_key)) if by_key else {}
        return {by_key[key]: msgspec.json.decode(value, type=KeptEntry) for key, value in found.items()}

    def changed(self, entry: BookEntry, before: KeptEntry | None, now: datetime, *, silent: bool = False) -> Batch:
        """What an entry that a poll shows makes, by what is remembered of it. `silent`: it is only remembered, as in the first
        reading of a book."""
        kept = self._kept(entry)
        if kept == before:
            return Batch(dropped={UNCHANGED: 1})
        remember = {_memory(entry.remembered_by): msgspec.json.encode(kept).decode()}
        if silent:
            return Batch(remember=remember)
        signals = self.signals(entry, now, Route.POLL, before)
        dropped = {NOBODY: 1} if not (kept.email or kept.phone) else {}
        return Batch(signals, remember=remember, dropped=dropped)

    def signals(self, entry: BookEntry, now: datetime, route: Route, before: KeptEntry | None = None) -> list[Signal]:
        """Of the person if they have an address or a number, and of the company if what is said of it is new."""
        person, company = self._person(entry), _company(entry)
        made = []
        if person.identity and (before is None or before.digest != entry.digest):
            who = (person.name or person.email or person.phone)[:_LONGEST_NAME]
            data = {name: text for name in _MORE if (text := getattr(entry, name))}
            others = [one for one in _addresses(entry) if one != person.email]
            data |= {"emails": others} if others else {}
            if before is not None and before.email not in ("", person.email):
                data["previous_email"] = before.email
            native = frame(entry.id, entry.digest)
            made.append(self._signal(CONTACT, native, entry.changed_at, now, route, who, person, data))
        if company and (before is None or before.company != _digest(company)):
            made.append(self._of_company(entry, company, now, route))
        return made

    def gone(self, id_: str, before: KeptEntry | None, now: datetime) -> Batch:
        """What a deletion makes: it is known who the entry was only if the entry was read before."""
        if before is None:
            return Batch(dropped={UNKNOWN: 1})
        forgotten: dict[str, str | None] = {_memory(id_): None}
        person = make_person(name=before.name, email=before.email, phone=before.phone, region=self._context.region)
        if not person.identity:
            return Batch(remember=forgotten, dropped={NOBODY: 1})
        who = (person.name or person.email or person.phone)[:_LONGEST_NAME]
        signal = self._signal(DELETED, frame(id_, before.digest), now, now, Route.POLL, who, person, {})
        return Batch([signal], remember=forgotten)

    def renamed(self, old: str, entry: BookEntry, before: KeptEntry) -> dict[str, str | None]:
        """What to remember when an entry has another key than before."""
        return {_memory(old): None, _memory(entry.remembered_by): msgspec.json.encode(before).decode()}

    def _of_company(self, entry: BookEntry, company: bytes, now: datetime, route: Route) -> Signal:
        name = " ".join(entry.company.split())
        data = {field: text for field in ("website", *_PLACE) if (text := getattr(entry, field))}
        domain = own_domain(next((address.rpartition("@")[2] for address in _addresses(entry)), ""))
        data |= {"domain": domain} if domain and not entry.website else {}
        native = frame(folded_name(name), _digest(company))
        made = self._signal(
            ACCOUNT, native, entry.changed_at, now, route, name[:_LONGEST_NAME], make_person(company=name), data
        )
        return msgspec.structs.replace(made, thread=f"{self._family}:account:{folded_name(name)[:300]}")

    def _signal(
        self,
        type_: str,
        native: str,
        at: datetime,
        now: datetime,
        route: Route,
        who: str,
        person: Person,
        data: dict[str, Any],
    ) -> Signal:
        return Signal(
            id=derive_id(self._family, self._account, type_, native),
            type=type_,
            source=self._context.name,
            occurred_at=at,
            received_at=now,
            **titled(type_, who=who),
            person=person,
            data=data,
            route=route,
        )

    def _person(self, entry: BookEntry) -> Person:
        return make_person(
            name=entry.name,
            first_name=entry.first_name,
            last_name=entry.last_name,
            email=next(iter(_addresses(entry)), ""),
            phone=self._phone(entry),
            company=entry.company,
            region=self._context.region,
        )

    def _phone(self, entry: BookEntry) -> str:
        """The first that is a phone number."""
        numbers = (*entry.phones, entry.mobile)
        return next((one for one in numbers if normal_phone(one, self._context.region)), "")

    def _kept(self, entry: BookEntry) -> KeptEntry:
        person, company = self._person(entry), _company(entry)
        return KeptEntry(
            entry.digest, _digest(company) if company else "", person.email, person.phone, person.name[:_LONGEST_NAME]
        )


def in_range(since: datetime, until: datetime) -> Callable[[datetime], bool]:
    return lambda at: since <= at < until


def _addresses(entry: BookEntry) -> list[str]:
    """Exchange may show an X.500 name instead of an address."""
    return list(dict.fromkeys(one for text in entry.emails if (one := normal_email(text))))


def _company(entry: BookEntry) -> bytes:
    """What the entry says of its company, b"" if it names none."""
    if not entry.company.strip():
        return b""
    domain = own_domain(next((address.rpartition("@")[2] for address in _addresses(entry)), ""))
    said = (folded_name(entry.company), domain, entry.website, *(getattr(entry, name) for name in _PLACE))
    return msgspec.json.encode(said)


def _digest(said: bytes) -> str:
    return sha256(said).hexdigest()[:32]


def _memory(id_: str) -> str:
    return f"entry {id_}"
