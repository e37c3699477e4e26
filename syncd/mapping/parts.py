"""A mapping as its YAML says it, checked: who is found how, who is created, which records are written.

`language` reads them, `loading` compiles them, lint and `check --online` look at them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from syncd.capabilities import Assigns
from syncd.config.yaml_positions import KeyPath
from syncd.connector import Conversion, DealPick, Idempotency, Link, Observation
from syncd.mapping.compiler import Tree
from syncd.mapping.mapped_records import MappedRecord
from syncd.mapping.model import About, CloneOf, Draft, LinkTakes, OnConflict, StrangerPolicy, Targets
from syncd.mapping.owners import OwnerPart
from syncd.mapping.reader import MappingReader
from syncd.texts.titles import ENGLISH

LINK_TARGETS = ("person", "account", "deal")
"""What a link may point at beside another rule's record."""


@dataclass(frozen=True)
class MatchPart:
    """One entry of `people.match`: object and (field, expression, is it a phone)."""

    object: str
    terms: tuple[tuple[str, Tree, bool], ...]


@dataclass(frozen=True)
class CreatePart:
    """`people.create` or `accounts.create`. `link`: fields that take the new person's company. `owner`: whose it becomes."""

    object: str
    key: str
    fields: dict[str, Tree]
    on_create: dict[str, Tree]
    owner: OwnerPart | None = None
    link: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PeoplePart:
    """The part `people:`."""

    match: tuple[MatchPart, ...]
    strangers: tuple[tuple[str, StrangerPolicy], ...]
    create: CreatePart | None
    conflict: OnConflict


@dataclass(frozen=True)
class RuleNeed:
    """Something that a rule needs of a connector: an optional protocol of `syncd.capabilities`. `place`: the key that needs it;
    `cannot`: what is missing where it does not have it."""

    place: KeyPath
    protocol: type[Any]
    cannot: str


@dataclass(frozen=True)
class ConversionPart:
    """`convert:` of a rule. `records`: `account` and `contact` that the mapping names by their ids, and the `status`; `deal`:
    None for no deal; `fields`: more fields of the deal. `company`: the lead joins the company that the signal means."""

    records: dict[str, Tree] = field(default_factory=dict)
    deal: dict[str, Tree] | None = None
    fields: dict[str, Tree] = field(default_factory=dict)
    company: bool = True


@dataclass(frozen=True)
class ObservationPart:
    """`observe:` of a rule. `add`, `remove`: users, or expressions that name some; `field`: the field that holds the observers,
    "" for the CRM's own; `chat`: who is added joins the record's chat."""

    add: tuple[Tree, ...] = ()
    remove: tuple[Tree, ...] = ()
    field: str = ""
    chat: bool = False


@dataclass(frozen=True)
class RulePart:
    """One entry of `rules`; `place` is its path in the YAML. Of a rule that writes a record which is there: `fill` only fills
    empty fields, it writes `only_if` these fields stand in the record already, and `add` and `remove` are values of fields with
    several. `takes`: of links that only some people can
    be put into. `demand`: it waits for a user, who may change the fields of `ask` (field -> label). `record`: it waits for an
    answer to the signal, and then changes what this rule made of it. `conversion`: of a rule that converts leads;
    `observation`: of one that changes observers."""

    id: str
    name: str
    signals: tuple[str, ...]
    verb: RuleVerb
    object: str
    key: str
    about: About
    kind: str
    link: dict[str, str]
    fields: dict[str, Tree]
    on_create: dict[str, Tree]
    clear: tuple[str, ...]
    live_only: bool
    when: Tree
    place: KeyPath = ()
    fill: dict[str, Tree] = field(default_factory=dict)
    only_if: dict[str, Tree] = field(default_factory=dict)
    add: dict[str, Tree] = field(default_factory=dict)
    remove: dict[str, Tree] = field(default_factory=dict)
    owner: OwnerPart | None = None
    demand: bool = False
    ask: dict[str, str] = field(default_factory=dict)
    takes: dict[str, LinkTakes] = field(default_factory=dict)
    record: str = ""
    conversion: ConversionPart | None = None
    observation: ObservationPart | None = None


def owner_fields(rule: RulePart) -> list[str]:
    """The field that the rule's owner goes into, where the rule names it."""
    return [rule.owner.field] if rule.owner is not None and rule.owner.field else []


Group = Literal[
    "fields", "on_create", "fill", "only_if", "add", "remove", "records", "deal", "deal_fields", "observers"
]
Groups = dict[Group, dict[str, Tree]]
"""The fields of a rule as they are compiled, by the field of its draft that they become."""


class RuleVerb(ABC):
    """What a kind of rule does: it reads its part of the YAML, checks and compiles it, tells lint, `check` and preview of it,
    and dispatch how its record is written. One object each, in `syncd.mapping.verbs`; it keeps nothing."""

    word: ClassVar[str]
    """Its key in the YAML."""
    own_record: ClassVar[bool] = False
    """It writes a record that is in the CRM already, the person's own, known by its id."""
    live_only: ClassVar[bool] = False
    """Whether past signals are left out unless the rule says otherwise: it calls users to action."""
    once: ClassVar[bool] = False
    """What it makes is made once and never changed."""
    any_object: ClassVar[bool] = False
    """The record it writes may be of any object."""
    notification: ClassVar[bool] = False
    """It sends the CRM's own notification instead of writing a record."""
    implied_links: ClassVar[Mapping[str, str]] = {}
    """Links that every rule of the kind has."""
    refuses: ClassVar[Mapping[str, str]] = {}
    """Keys that other rules have and this one cannot have, and why."""

    def object_of(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> str:
        """The object that it writes, "" where that depends on the person."""
        return "" if self.any_object else reader.word(parts, path, self.word)

    def conversion_part(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> ConversionPart | None:
        """How it converts leads, as the YAML says; None for a rule that converts none."""
        return None

    def observation_part(
        self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath
    ) -> ObservationPart | None:
        """Whose observers it changes and how, as the YAML says; None for a rule that changes none."""
        return None

    def about(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> About:
        """What its record is about, as the YAML says."""
        return About(reader.choice(parts, path, "about", list(About), About.SIGNAL))

    @abstractmethod
    def check(self, reader: MappingReader, rule: RulePart) -> None:
        """Notes what is wrong with a rule."""

    def check_people(self, reader: MappingReader, rule: RulePart, objects: Collection[str] | None) -> None:
        """Notes what the rule needs of the people part. `objects`: what people are found or made as; None without one."""
        if objects is None:
            for name in (name for name, to in rule.link.items() if to in LINK_TARGETS):
                message = "links people, but the mapping has no people part to find them"
                reader.fault((*rule.place, "link", name), message)
            if rule.about in (About.PERSON, About.ACCOUNT, About.DEAL):
                reader.fault((*rule.place, "about"), f"is about a {rule.about}, but the mapping has no people part")

    def groups(self, rule: RulePart) -> Groups:
        """Its fields, as they are to be compiled."""
        return {"fields": rule.fields, "on_create": rule.on_create}

    @abstractmethod
    def record(self, rule: RulePart) -> MappedRecord | None:
        """What it touches in the CRM; None when that is not a record."""

    def warnings(self, rule: RulePart) -> Iterator[tuple[KeyPath, str, str]]:
        """(place, message, hint) of what is probably not meant."""
        return iter(())

    def abilities(self, rule: RulePart) -> Iterator[RuleNeed]:
        """What it needs of its destination's connector beyond writing records."""
        if rule.owner is not None and not rule.owner.field:
            cannot = "does not say into which field an owner goes; add field: to the owner"
            yield RuleNeed((*rule.place, "owner"), Assigns, cannot)

    def idempotency(self) -> Idempotency | None:
        """What its writes are whatever the destination says; None: as the destination says."""
        return None

    @abstractmethod
    def unwanted(self, draft: Draft, object: str) -> str:
        """Why it makes nothing of a person (if it writes an own record: of one) whose record is an `object`, "" when it does."""

    def written_to(self, draft: Draft, targets: Targets) -> Link | str | None:
        """The record it writes, when that is one of these which the CRM has; None when it is one of its own; a text: why it
        writes none of them."""
        return None

    def conversion(self, rule: RulePart, made: Mapping[Group, dict[str, Any]]) -> Conversion | None:
        """How the lead of a signal is converted; `made`: what the rule's groups became."""
        return None

    def observation(self, rule: RulePart, made: Mapping[Group, dict[str, Any]]) -> Observation | None:
        """Who observes the record of a signal; `made`: what the rule's groups became."""
        return None


@dataclass(frozen=True)
class AccountTerm:
    """One field by which companies are found: a `domain` is compared with the websites there; a `name` alone may be another
    company's too."""

    field: str
    tree: Tree
    domain: bool = False
    name: bool = False


@dataclass(frozen=True)
class AccountMatchPart:
    """One entry of `accounts.match`."""

    object: str
    terms: tuple[AccountTerm, ...]


@dataclass(frozen=True)
class AccountsPart:
    """The part `accounts:`. `unknown`: (pattern of signal types, whether unknown companies are created); `free_mail`: more
    domains that identify no company. Of a new company, `parent`: the one it belongs to; `clone`: whose values it takes over."""

    match: tuple[AccountMatchPart, ...]
    unknown: tuple[tuple[str, bool], ...]
    create: CreatePart | None
    free_mail: frozenset[str]
    parent: Tree = None
    clone: CloneOf | None = None


@dataclass(frozen=True)
class DealsPart:
    """The part `deals:`. `pick`: which of several open deals is meant."""

    pick: DealPick = DealPick.NEWEST


@dataclass(frozen=True)
class MappingParts:
    """A whole mapping, checked. `match` is None when it has no `people:`."""

    match: tuple[MatchPart, ...] | None
    strangers: tuple[tuple[str, StrangerPolicy], ...]
    create: CreatePart | None
    rules: tuple[RulePart, ...]
    conflict: OnConflict = OnConflict.HOLD
    deals: DealsPart | None = None
    language: str = ENGLISH
    accounts: AccountsPart | None = None
