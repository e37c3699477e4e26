"""What a customer did (or we did for them), normalised: Signal and Person, and ids derived from the vendor's own.

Everybody imports this; of syncd it imports the catalogue of types and what reads names, addresses and numbers. All values
are immutable and serialise with msgspec.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha1
from typing import Any

import msgspec

from syncd.identity.emails import ReadAddress, normal_email, read_email, tidy
from syncd.identity.identities import handle_identities
from syncd.identity.names import clean_name, in_order, is_filler, joined, split_name
from syncd.identity.phones import Phone, normal_phone, read_phone
from syncd.signal_types import (
    ANSWERS,
    CATALOGUE,
    CUSTOM_PREFIX,
    Direction,
    channel_of,
    goes_out,
    known_types,
    place_of,
)

__all__ = [
    "CATALOGUE",
    "CUSTOM_PREFIX",
    "NAMESPACE",
    "Direction",
    "Exclusions",
    "Person",
    "Route",
    "Signal",
    "answered_by",
    "decode_signal",
    "derive_id",
    "encode",
    "frame",
    "known_types",
    "make_person",
    "normal_email",
    "normal_phone",
    "place_of",
    "split_name",
    "utc",
]

NAMESPACE = uuid.UUID("6d1f6c1e-53f5-5c0b-9a8e-0f2f3b7a9c51")
"""Root of every derived id. Changing it would double every record of every user."""


class Route(StrEnum):
    """How a signal reached us. Only webhook and poll may be live (call people to action)."""

    WEBHOOK = "webhook"
    POLL = "poll"
    BACKFILL = "backfill"
    IMPORT = "import"


class Person(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who did it. `email` is lower-cased, `phone` is E.164; both empty when unknown. `handles`: network -> id.
    `raw` keeps what the vendor said, untouched (a phone that could not be parsed is at raw["phone"])."""

    name: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    phone: str = ""
    company: str = ""
    handles: dict[str, str] = {}
    raw: dict[str, Any] = {}

    @property
    def identity(self) -> str:
        """The normalised identity people are cached, merged and keyed by, the first of `identities`; ``""`` without one."""
        if self.email:
            return f"email:{self.email}"
        if self.phone:
            return f"phone:{self.phone}"
        return next(handle_identities(self.handles), "") if self.handles else ""

    @property
    def identities(self) -> tuple[str, ...]:
        """Everything that identifies the person: `email:…`, `phone:…`, then `handle:NETWORK:ID` by network."""
        mail = (f"email:{self.email}",) if self.email else ()
        phone = (f"phone:{self.phone}",) if self.phone else ()
        return (*mail, *phone, *(handle_identities(self.handles) if self.handles else ()))


class Signal(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing a customer did, or we did for them. `id` comes from `derive_id`; times are aware UTC; `title` is one
    line for a reader.

    `data` holds JSON-able values, normalised per type and documented by the connector. `thread` names what belongs
    together (a ticket, a mail thread), unique across accounts. `source` is the YAML name and never part of the id.
    `title` is English; `title_code` and its parameters say the same in any language (`syncd.texts.titles.titled` makes all
    three). `direction`: out for what we did. Types that are always ours (`call.placed`) have it on their own; it stands in
    the JSON only when it is out.

    `repeat`: the vendor's id of this very event, where several events make one signal (the opens of one email): they have the
    same `id`, and each its own `repeat`. The store counts them in `data.count` and `data.last_at`, each once, and does not keep
    `repeat` itself.
    """

    id: uuid.UUID
    type: str
    source: str
    occurred_at: datetime
    received_at: datetime
    title: str
    text: str = ""
    url: str = ""
    reply: str = ""
    person: Person = Person()
    data: dict[str, Any] = {}
    thread: str = ""
    route: Route = Route.WEBHOOK
    direction: Direction = Direction.IN
    title_code: str = ""
    title_parameters: dict[str, str] = {}
    repeat: str = ""

    def __post_init__(self) -> None:
        if goes_out(self.type):
            msgspec.structs.force_setattr(self, "direction", Direction.OUT)

    @property
    def channel(self) -> str:
        return channel_of(self.type)

    @property
    def times(self) -> int:
        """How many events it counts; 1 for a signal that is not one of several."""
        count = self.data.get("count") if "last_at" in self.data else None
        return count if type(count) is int and count > 1 else 1


def counted(signal: Signal, count: int, last_at: datetime) -> Signal:
    """The signal of that many events, the latest of which happened then: what the store keeps of a signal with `repeat`. Its id,
    its time and all else stay those of the event that came first."""
    last = utc(last_at).isoformat(timespec="seconds").replace("+00:00", "Z")
    return msgspec.structs.replace(signal, repeat="", data={**signal.data, "count": count, "last_at": last})


encode = msgspec.json.Encoder().encode
decode_signal = msgspec.json.Decoder(Signal).decode


def answered_by(asked: Signal, ours: Iterable[Signal], known_as: Iterable[str] = ()) -> Signal | None:
    """The first of `ours` that answers `asked`: what we did afterwards, for the same person or in the same thread, of a type
    that answers this one (`syncd.signal_types.ANSWERS`, or the same type). `known_as`: further identities of who asked.
    None: it waits, or needs no answer."""
    theirs = {*asked.person.identities, *known_as}
    found = [one for one in ours if _answers(one, asked, theirs)]
    return min(found, key=lambda one: (one.occurred_at, one.id), default=None)


def _answers(ours: Signal, asked: Signal, theirs: set[str]) -> bool:
    if ours.direction is not Direction.OUT or asked.direction is Direction.OUT or ours.occurred_at < asked.occurred_at:
        return False
    if asked.type != ours.type and asked.type not in ANSWERS.get(ours.type, ()):
        return False
    if asked.thread and asked.thread == ours.thread:
        return True
    return not theirs.isdisjoint(ours.person.identities)


def derive_id(family: str, account: str, signal_type: str, native: str) -> uuid.UUID:
    """The one id of an event on every route: UUIDv5 over (family, account, type, the vendor's name of the event).

    `family` is the connector type, or "mail" for every way to read mail; `account` is the vendor's account id ("" for
    mail); never a row counter, a clock, a route or the YAML name of the source. Parts are length-framed, so no two
    different tuples share an id.
    """
    digest = sha1(
        _beginning(family, account, signal_type) + f"{len(native)}:{native},".encode(), usedforsecurity=False
    ).digest()
    # What uuid.uuid5 makes of it (RFC 9562: version 5, variant 10), without its three times longer way there.
    number = int.from_bytes(digest[:16], "big") & _UUID_FREE | _UUID_FIXED
    return msgspec.convert(number.to_bytes(16, "big"), uuid.UUID)


_UUID_FIXED = 5 << 76 | 2 << 62
_UUID_FREE = ~(0xF << 76 | 3 << 62)


@lru_cache(maxsize=1000)
def _beginning(family: str, account: str, signal_type: str) -> bytes:
    return NAMESPACE.bytes + frame("signal", family, account, signal_type).encode()


def frame(*parts: str) -> str:
    """Joins parts so that different tuples never give the same text (netstring style)."""
    return "".join([f"{len(part)}:{part}," for part in parts])


def make_person(
    *,
    name: str = "",
    first_name: str = "",
    last_name: str = "",
    email: str = "",
    phone: str = "",
    company: str = "",
    handles: dict[str, str] | None = None,
    raw: dict[str, Any] | None = None,
    region: str | None = None,
) -> Person:
    """A Person from what a vendor said, in whatever wrapping: e-mail and phone normalised, names completed from each other in the
    order of the `region`, control characters dropped. What could not be normalised, or is more than one, is kept in `raw`."""
    raw = dict(raw or {})
    name, beside = _name(name)
    address = read_email(email or beside) if email or beside else _NO_ADDRESS
    if email and email.strip() and (not address.email or address.others):
        raw.setdefault("email", email)
    called = read_phone(phone, region) if phone and phone.strip() else _NO_PHONE
    if phone and phone.strip() and (not called.number or called.others):
        raw.setdefault("phone", phone)
    company = _one_line(tidy(company)) if company and not is_filler(company) else ""
    first_name = _name(first_name)[0] if first_name else ""
    last_name = _name(last_name)[0] if last_name else ""
    name = name or joined(first_name, last_name, region) or _one_line(address.name)
    if not (first_name or last_name):
        first_name, last_name = split_name(name, region)
        name = in_order(name, region)
    return Person(
        name=name,
        first_name=first_name,
        last_name=last_name,
        email=address.email,
        phone=called.number,
        company=company,
        handles=handles or {},
        raw=raw,
    )


def _name(text: str) -> tuple[str, str]:
    """A name without its wrapping, and the text itself when it holds an address beside the name."""
    words = text.split()
    if "".join(words).isalpha():  # nearly every name; letters are never part of a wrapping
        text = " ".join(words)
        return "" if is_filler(text) else text, ""
    text = _one_line(tidy(text)) if text else ""
    if "@" in text and "<" in text and (found := read_email(text)).email:
        return found.name or found.email, text
    if len(text) > 2 and (text[0], text[-1]) in _PAIRS:
        text = text[1:-1].strip()
    return clean_name(text.strip(";").strip() if ";" in text else text), ""


_NO_ADDRESS, _NO_PHONE = ReadAddress(), Phone()
_PAIRS = (('"', '"'), ("'", "'"), ("“", "”"), ("„", "“"), ("«", "»"), ("‘", "’"))


def _one_line(text: str) -> str:
    if not text:
        return ""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


class Exclusions(msgspec.Struct, frozen=True):
    """Who is never a customer: whole domains (and their subdomains) and single addresses, lower-cased, and any other
    `identities` as `Person.identities` has them."""

    domains: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, domains: Iterable[str] = (), addresses: Iterable[str] = (), identities: Iterable[str] = ()
    ) -> Exclusions:
        return cls(
            frozenset(domain.strip().lower().lstrip("@") for domain in domains),
            frozenset(address.strip().lower() for address in addresses),
            frozenset(identities),
        )

    def covers(self, person: Person) -> bool:
        """True when this person is one of us, a robot, or otherwise not a customer."""
        if self.identities and not self.identities.isdisjoint(person.identities):
            return True
        if not person.email or not (self.domains or self.addresses):
            return False
        if person.email in self.addresses:
            return True
        domain = person.email.rpartition("@")[2]
        while domain:
            if domain in self.domains:
                return True
            domain = domain.partition(".")[2]
        return False


def utc(moment: datetime) -> datetime:
    """The same moment in UTC. Raises ValueError for a naive datetime: syncd does not guess a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {moment.isoformat()}")
    return moment.astimezone(UTC)
