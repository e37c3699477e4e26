"""What a destination is asked for and hands back: people to find, records to write, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec

from syncd.errors import Failure


class WriteKind(StrEnum):
    """What the CRM allows for a record of one object by one key: decides what an ambiguous answer means."""

    UPSERT = "upsert"
    UNIQUE = "unique"
    FINDABLE = "findable"
    AT_MOST_ONCE = "at_most_once"


@dataclass(frozen=True)
class Idempotency:
    """`enforced`: the CRM itself refuses a second record with the key. An upsert whose key is not enforced waits
    through doubt before it is sent again. `readable`: a record can be found by its key, which no receiver of webhooks allows."""

    kind: WriteKind
    enforced: bool = True
    readable: bool = True


class MatchField(msgspec.Struct, frozen=True):
    """One way to find a person or company: `field` equals `value`. `phone`: compare as E.164, query by the last digits.
    `handle`: the value is the person's id in a network, so a record that has it is theirs. `domain`: `value` is a registered
    domain, the field holds a website written in any form. `name`: a company's name, which another company may have too."""

    field: str
    value: str
    phone: bool = False
    handle: bool = False
    domain: bool = False
    name: bool = False


class Lookup(msgspec.Struct, frozen=True):
    """One entry of `people.match`: any of the terms, in their order, in `object`."""

    object: str
    terms: tuple[MatchField, ...]


class PersonQuery(msgspec.Struct, frozen=True):
    """A person to find: `identity` (Person.identity) and the look-ups in order. Exact terms count over all look-ups before
    any phone term does; `syncd.matching` says who of the records with a number is the person. `email`, `name`: what is
    known of them, to tell records apart. `every`: ask for their number also where an exact term finds a record: it is known
    as the number of a record, perhaps of another one. (Asking for numbers may cost a vendor's credits.)"""

    identity: str
    lookups: tuple[Lookup, ...]
    email: str = ""
    name: str = ""
    every: bool = False


class Link(msgspec.Struct, frozen=True):
    """A record of the CRM: what a link field points at, a person's company, their deal."""

    object: str
    id: str


class AccountQuery(msgspec.Struct, frozen=True):
    """A company to find: `identity` (of `syncd.identity.companies`) and the look-ups. A key of its own counts before a domain,
    and a domain before a name; a record with the name and the website of another company is another company."""

    identity: str
    lookups: tuple[Lookup, ...]


class AccountMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the CRM that is a company. `name`: as the record has it."""

    object: str
    id: str
    name: str = ""


class DealPick(StrEnum):
    """Which of several open deals is meant: by when it was created or last changed, or by its amount."""

    NEWEST = "newest"
    OLDEST = "oldest"
    CHANGED = "changed"
    LARGEST = "largest"


class PersonMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the CRM that is a person. `role`: "lead" or "contact" (from whom a signal is wanted). `account`: the
    company it belongs to, None if none. `open_deal`: whether there is an open deal of the person or the company, None unless
    asked for; `deal`: the one that was asked for. `name`: as the record has it. `by_number`: only
    a phone number ties it to the person, so it is asked for again each time. `rivals`: other records that may be the person: with
    `by_number` those with the same number, else those that another of their identities names. Their signals are held, or
    this one counts, as `people.conflict` of the mapping says. Two records of one email address: the one created first
    (lowest id), and the others are named in the log. `emails`: addresses that were read in the record beside those it
    was asked for by, lower-cased."""

    object: str
    id: str
    role: str
    account: Link | None = None
    open_deal: bool | None = None
    deal: Link | None = None
    name: str = ""
    by_number: bool = False
    rivals: tuple[PersonMatch, ...] = ()
    emails: tuple[str, ...] = ()


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """How a lead becomes a contact, a company and perhaps a deal. `account`, `contact`: ids of the records that it joins; "": one
    that the CRM itself would match, else a new one. `deal`: `name`, `stage`, `close_date`, `amount` and `pipeline` of the new
    deal, and the contact's `role` in it, as far as the mapping tells, and `deal_fields` its other fields by the CRM's names; None
    for no deal. `status`: the lead's status afterwards, "" for the account's own."""

    account: str = ""
    contact: str = ""
    deal: dict[str, Any] | None = None
    deal_fields: dict[str, Any] = {}
    status: str = ""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Who observes a record (follows it) from now on, and who does not any more; every other observer stays. `add`, `remove`:
    ids of users, or the words of a `field` that holds words. `field`: the field that holds the observers, "" for the CRM's own.
    `chat`: who is added joins the record's chat as well, which is made where there is none."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    field: str = ""
    chat: bool = False


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One record to make, ready to send. `key` (UUID text) goes into `key_field` when the mapping names one. `id` is the
    record's CRM id when known: then it is updated and `on_create` is not sent. `links`: field -> record. `group`: what
    must not be in flight twice (the person's or account's CRM id, else the key). `fields` values are JSON-able, dates
    as `datetime.date`/aware `datetime` for the destination to format. `notification`: it is one of the CRM's own notifications,
    of the kind `object`, about the record in `links["person"]`: only a destination that `Notifies` gets one. `conversion`: the
    lead `id` is converted, `fields` are those of its owner alone: only a destination that `Converts` gets one. `observation`:
    the observers of the record `id` change, and nothing else of it: only a destination that `Observes` gets one."""

    key: str
    object: str
    key_field: str = ""
    fields: dict[str, Any] = {}
    on_create: dict[str, Any] = {}
    clear: tuple[str, ...] = ()
    links: dict[str, Link] = {}
    id: str = ""
    group: str = ""
    notification: bool = False
    conversion: Conversion | None = None
    observation: Observation | None = None


@dataclass(frozen=True)
class Call:
    """One request to the CRM carrying several writes. `operation` names it in logs; `payload` is the connector's own;
    `cost` is in the vendor's unit (calls, credits)."""

    writes: tuple[Write, ...]
    operation: str
    payload: Any
    cost: float = 1.0


@dataclass(frozen=True)
class Written:
    """The record is there. `created` None: the vendor does not say. `also`: records that came with it, by what they are to it: of
    a converted lead its `contact`, `account` and `deal`, as far as the vendor tells."""

    id: str
    created: bool | None = None
    also: Mapping[str, Link] = field(default_factory=dict, hash=False)


Outcome = Written | Failure


@dataclass(frozen=True)
class Allowance:
    """What the account has left in its rolling day, in `unit` ("calls", "credits"), as the vendor last said."""

    unit: str
    used: float
    maximum: float
    as_of: datetime


@dataclass(frozen=True)
class Usage:
    """What talking to the vendor cost since the last time it was asked for."""

    calls: int = 0
    units: float = 0.0


class Destination(Protocol):
    """A CRM (or database) that records are written to. Only one lane calls it at a time, from one thread, except `send`,
    which may run `concurrency` at once for calls without a common `group`.

    `capacity`: deliveries worth claiming at once. `doubt`: seconds the vendor may keep working on a call we lost.
    `search_lag`: seconds until a written record is found by `find`.
    """

    @property
    def capacity(self) -> int: ...

    @property
    def concurrency(self) -> int: ...

    @property
    def doubt(self) -> float: ...

    @property
    def search_lag(self) -> float: ...

    def keying(self, object: str, key_field: str) -> Idempotency:
        """What writes of this object by this key are. Pure."""
        ...

    def resolve(self, people: Sequence[PersonQuery], *, deals: DealPick | None = None) -> Sequence[PersonMatch | None]:
        """The records of these people, parallel to them, in as few calls as the API allows. `deals`: fill `open_deal`
        and, of several open deals, the one picked: of those that name the person first, then of their company's."""
        ...

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        """Packs writes into calls, keeping their order per key and group; never two of one key in one call. Pure."""
        ...

    def send(self, call: Call) -> list[Outcome]:
        """Performs the call once: one outcome a write, parallel. Raises a Failure that refers to the whole call."""
        ...

    def find(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        """key -> id of those that exist, read after write as surely as the API can."""
        ...

    def allowance(self) -> Allowance | None:
        """The last allowance the vendor reported, without a call of its own; None when it reports none."""
        ...

    def spend(self) -> Usage:
        """Calls and units spent since the last `spend()`, token calls excluded; resets the count."""
        ...

    def url(self, object: str, id: str) -> str:
        """Where a user looks at the record, "" if nowhere."""
        ...

    def close(self) -> None: ...


class DestinationDefaults:
    """Defaults most destinations share."""

    capacity: ClassVar[int] = 200
    concurrency: ClassVar[int] = 1
    doubt: ClassVar[float] = timedelta(minutes=10).total_seconds()
    search_lag: ClassVar[float] = 0.0

    def allowance(self) -> Allowance | None:
        return None

    def spend(self) -> Usage:
        return Usage()

    def url(self, object: str, id: str) -> str:
        return ""

    def close(self) -> None:
        return None
