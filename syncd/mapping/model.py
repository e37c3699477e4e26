"""What a compiled mapping offers to dispatch and preview: look-ups, strangers, and drafts of records.

All of it is pure: values in, values out; evaluation never raises on any signal (a fault of one field is a `FieldFault`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from syncd.connector import Conversion, DealPick, Idempotency, Link, Lookup, Observation, PersonMatch
from syncd.identity.companies import Company
from syncd.signals import Person, Signal


class About(StrEnum):
    """What a record is about: part of its key."""

    SIGNAL = "signal"
    THREAD = "thread"
    PERSON = "person"
    ACCOUNT = "account"
    DEAL = "deal"


class Stranger(StrEnum):
    CREATE = "create"
    SKIP = "skip"
    HOLD = "hold"


class OnConflict(StrEnum):
    """What to do with a person whose phone number several records have, if nothing else tells them apart."""

    HOLD = "hold"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class StrangerPolicy:
    """What to do with a person whom the CRM does not know. `hold` is set for HOLD only."""

    action: Stranger
    hold: timedelta | None = None


@dataclass(frozen=True, slots=True)
class FieldFault:
    """A template that failed on this signal: the write is a dead letter that names the field."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class LinkTakes:
    """Which objects a link to a person takes. For a person who is another one it is left out, or (`skip`) the whole record."""

    objects: tuple[str, ...]
    skip: bool = False


def made_by(target: str) -> tuple[str, str]:
    """(rule, which of the records that it makes) of a link to another rule's record: `sale.deal`; "" for its only one."""
    rule, _, which = target.partition(".")
    return rule, which


class Targets(msgspec.Struct, frozen=True):
    """The records of the CRM that a write may be about, or link to: the signal's person, their company, their deal."""

    person: PersonMatch | None = None
    account: Link | None = None
    deal: Link | None = None

    @classmethod
    def of(cls, person: PersonMatch | None) -> Targets:
        return cls(person, person.account, person.deal) if person else cls()


@dataclass(frozen=True, slots=True)
class OwnerChoice:
    """Who may become the owner of a record: `users` take turns, `fallback` is for when none of them is active (None: no owner is
    set). `field`: the field that takes them, "" for the destination's own. `team`: (kind, name) of the team whose members are the
    users; who they are is only known when the record is written."""

    users: tuple[Any, ...]
    fallback: Any = None
    field: str = ""
    team: tuple[str, str] | None = None


class Verb(Protocol):
    """What a draft's rule does, as far as dispatch and preview ask. `word`: its key in the YAML. `own_record`: it writes a
    record that the CRM has already, that of the person, company or deal itself, by its id. `notification`: it writes no record,
    but sends the CRM's own notification. `any_object`: the record may be of any object. `once`: what it makes is made once and
    never changed."""

    @property
    def word(self) -> str: ...

    @property
    def once(self) -> bool: ...

    @property
    def own_record(self) -> bool: ...

    @property
    def notification(self) -> bool: ...

    @property
    def any_object(self) -> bool: ...

    def idempotency(self) -> Idempotency | None:
        """What its writes are whatever the destination says; None: as the destination says."""
        ...

    def unwanted(self, draft: Draft, object: str) -> str:
        """Why it makes nothing of a person (if it writes an own record: of one) whose record is an `object`, "" when it does."""
        ...

    def written_to(self, draft: Draft, targets: Targets) -> Link | str | None:
        """The record it writes, when that is one of these which the CRM has; None when it is one of its own; a text: why it
        writes none of them."""
        ...


class Draft(msgspec.Struct, frozen=True):
    """One record, before the CRM is asked anything. `links`: field -> what it points at ("person", "account", or another
    rule's id). Empty values are already left out of `fields`. `rule` is "people.create" for a new person. `verb`: what
    the rule does; `fill`: what goes only into fields that are empty there; `only_if`: what must stand there already, for any
    of it to be written; `add`, `remove`: values of fields that have several. `owner`: who gets a new record, or the one that is
    written. `takes`: of links that only some people can be put into. `finds_company`: a company is found also where the person
    has none (`accounts:`). `record`: the rule whose record of this signal it changes once the signal is answered, "" for every
    other rule; `stands`: what that record holds as long as no user has changed it. `conversion`: how the person's lead is
    converted; `observation`: whom its record is observed by."""

    rule: str
    object: str
    key_field: str
    about: About
    fields: dict[str, Any]
    on_create: dict[str, Any]
    verb: Verb
    clear: tuple[str, ...] = ()
    links: dict[str, str] = {}
    kind: str = ""
    faults: tuple[FieldFault, ...] = ()
    fill: dict[str, Any] = {}
    only_if: dict[str, Any] = {}
    add: dict[str, Any] = {}
    remove: dict[str, Any] = {}
    owner: OwnerChoice | None = None
    takes: dict[str, LinkTakes] = {}
    finds_company: bool = False
    record: str = ""
    stands: dict[str, Any] = {}
    conversion: Conversion | None = None
    observation: Observation | None = None

    @property
    def needs_person(self) -> bool:
        """Whether the record cannot be made while the person is not known to the CRM."""
        if "person" in self.links.values() or "deal" in self.links.values():
            return True
        own = self.own_record and self.about is not About.ACCOUNT and not self.record
        return own or self.about is About.DEAL or (self.needs_account and not self.finds_company)

    @property
    def needs_account(self) -> bool:
        """Whether it is about a company, or linked to it."""
        return self.about is About.ACCOUNT or "account" in self.links.values()

    @property
    def needs_deal(self) -> bool:
        """Whether it is about the person's deal, or linked to it."""
        return self.about is About.DEAL or "deal" in self.links.values()

    @property
    def own_record(self) -> bool:
        """Whether it is written into a record that the CRM has already: `about` says whose."""
        return self.verb.own_record

    @property
    def overwrites(self) -> bool:
        """Whether it writes over what is there, so that an older one may not follow a newer one. Filling what is empty, adding
        to a list and removing from it do not."""
        return not self.own_record or bool(self.fields or self.clear or self.owner)

    @property
    def sent(self) -> dict[str, Any]:
        """The fields of every write of the record; what is to fill counts as soon as the filled ones are out of `fill`."""
        return {**self.fill, **self.fields}

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields that must be read before it is written, each once."""
        if not (self.fill or self.only_if or self.add or self.remove or self.stands):  # nearly every draft
            return ()
        return tuple(dict.fromkeys((*self.fill, *self.only_if, *self.add, *self.remove, *self.stands)))


class Skipped(msgspec.Struct, frozen=True):
    """A rule that makes no record of this signal, and why: `live_only`, `when` (its condition), ..."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class CloneOf:
    """The company whose values new ones take over: its `id`; `fields`: which values, None for those that the destination names;
    `never`: fields that the mapping fills itself, or finds companies by, in lower case."""

    id: str
    fields: tuple[str, ...] | None = None
    never: frozenset[str] = frozenset()


class CompiledAccounts(Protocol):
    """How companies are found and made."""

    @property
    def clone(self) -> CloneOf | None:
        """Whose values new companies take over; None for nobody's."""
        ...

    def company(self, signal: Signal) -> Company:
        """The company that a signal means; one without an identity if it says nothing of any."""
        ...

    def lookups(self, signal: Signal) -> tuple[Lookup, ...]:
        """How to find its company; look-ups without a value are left out."""
        ...

    def creates(self, signal_type: str) -> bool:
        """Whether a signal of this type makes its company when the CRM does not know it."""
        ...

    def draft(self, signal: Signal, *, is_parent: bool = False) -> Draft:
        """The record of a new company. `is_parent`: the signal is one that `parent` made."""
        ...

    def parent(self, signal: Signal) -> Signal | None:
        """The same signal, about the company which its company belongs to; None if the mapping or the signal says nothing of one.
        (`company`, `lookups` and `draft` take it.)"""
        ...


Demanded = Mapping[str, Mapping[str, Any]]
"""Rules that a user set off -> what the user gave for their fields."""
NONE_DEMANDED: Demanded = MappingProxyType({})


class CompiledMapping(Protocol):
    """`syncd.mapping.load_mapping` returns one."""

    name: str
    fingerprint: str

    @property
    def knows_people(self) -> bool:
        """False when the mapping has no `people:` part (the database destination): nobody is resolved."""
        ...

    @property
    def conflict(self) -> OnConflict:
        """What to do with a person whose number several records have."""
        ...

    @property
    def accounts(self) -> CompiledAccounts | None:
        """None without an `accounts:` part: companies are only those that people's records belong to."""
        ...

    @property
    def newcomers_have_company(self) -> bool:
        """Whether new people are linked to their company."""
        ...

    @property
    def deal_pick(self) -> DealPick:
        """Which of several open deals is meant."""
        ...

    def key_fields(self) -> dict[str, tuple[str, str]]:
        """rule -> (object, key field, "" for none) of every rule, and of "people.create" when people are created."""
        ...

    @property
    def heeds_answers(self) -> bool:
        """Whether a rule waits until a signal is answered."""
        ...

    def lookups(self, person: Person) -> tuple[Lookup, ...]:
        """How to find this person; look-ups without a value are left out."""
        ...

    def strangers(self, signal_type: str) -> StrangerPolicy: ...

    def stranger(self, signal: Signal) -> Draft:
        """The record of a new person, from the signal that brought them."""
        ...

    def calls_to_action(self, signal_type: str) -> bool:
        """Whether a rule for signals of this type calls a user to action: one that past signals do not set off."""
        ...

    def drafts(self, signal: Signal, *, live: bool, demanded: Demanded = NONE_DEMANDED) -> Sequence[Draft | Skipped]:
        """What each rule whose `signals:` match makes of it, in the order of the rules; those that wait for a user only where
        they are `demanded`. Those that wait for an answer (`Draft.record`) are among them, answered or not."""
        ...
