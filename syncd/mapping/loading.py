"""Loads a mapping: YAML in, a compiled `Mapping` out, which dispatch and preview ask for look-ups and drafts.

Everything is compiled once, at load. Evaluation is pure and never raises on any signal.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import cached_property, partial
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from syncd.config.yaml_positions import Document, read_yaml
from syncd.connector import DealPick, Lookup, MatchField
from syncd.errors import ConfigError, Fault, UsageError
from syncd.mapping.accounts import ACCOUNTS_CREATE, ACCOUNTS_PARENT, MappedCompanies, compiled_accounts
from syncd.mapping.answers import with_what_stands
from syncd.mapping.companies import company_from
from syncd.mapping.compiler import FieldMaker, Tree, as_condition, compile_groups, compile_value, explain
from syncd.mapping.expressions import Sandbox
from syncd.mapping.filters import make_filters
from syncd.mapping.language import PEOPLE_CREATE, read_mapping
from syncd.mapping.model import (
    NONE_DEMANDED,
    About,
    Demanded,
    Draft,
    FieldFault,
    OnConflict,
    Skipped,
    Stranger,
    StrangerPolicy,
)
from syncd.mapping.owners import OwnerPart
from syncd.mapping.parts import Group, MappingParts, RulePart
from syncd.mapping.values import clean, to_text
from syncd.mapping.verbs import UPSERT
from syncd.signals import Person, Signal
from syncd.texts.reasons import Reason
from syncd.texts.titles import title_in

Evaluate = Callable[[Signal | None, Person], Any]
SKIP = StrangerPolicy(Stranger.SKIP)
_MOST_TYPES = 4_096


@dataclass(frozen=True)
class Rule:
    """A compiled rule."""

    part: RulePart
    groups: tuple[Group, ...]
    make: FieldMaker
    when: Evaluate | None
    fits: Callable[[str], object]
    finds_company: bool = False

    def draft(self, signal: Signal, live: bool, given: AnyMapping[str, Any] | None = None) -> Draft | Skipped:
        """What this rule makes of a signal of a type it fits. `given`: what a user who set it off gave for its fields."""
        part = self.part
        if part.live_only and not live and given is None:
            return Skipped(part.id, Reason("live_only"))
        person = signal.person
        unsure: FieldFault | None = None
        if self.when is not None:
            try:
                if not as_condition(self.when(signal, person)):
                    return Skipped(part.id, Reason("when"))
            except Exception as error:  # noqa: BLE001 - a condition that fails is a dead letter that says so
                unsure = FieldFault("when", explain(error))
        (*made, owner), faults = self.make(signal, person)
        if unsure:
            faults.insert(0, unsure)
        groups = dict(zip(self.groups, made, strict=True))
        for name, value in (given or {}).items():
            group: Group = "on_create" if part.verb.once and "on_create" in groups else "fields"
            groups[group][name] = value
            faults = [fault for fault in faults if fault.field != name]
        fields = groups.get("fields", {})
        return Draft(
            rule=part.id,
            object=part.object,
            key_field=part.key,
            about=part.about,
            fields=fields,
            on_create=groups.get("on_create", {}),
            verb=part.verb,
            clear=tuple(name for name in part.clear if name not in fields),
            links=part.link,
            kind=part.kind,
            faults=tuple(faults),
            fill=groups.get("fill", {}),
            only_if=groups.get("only_if", {}),
            add=groups.get("add", {}),
            remove=groups.get("remove", {}),
            takes=part.takes,
            finds_company=self.finds_company,
            record=part.record,
            owner=part.owner.choice(owner) if part.owner is not None else None,
            conversion=part.verb.conversion(part, groups),
            observation=part.verb.observation(part, groups),
        )


@dataclass
class Mapping:
    """A loaded mapping (`syncd.mapping.model.CompiledMapping`). `fingerprint` changes with anything that can change a
    record: the rules, the time zone, the country. `document` keeps the places for lint."""

    name: str
    fingerprint: str
    parts: MappingParts
    document: Document
    rules: tuple[Rule, ...]
    terms: tuple[tuple[str, tuple[tuple[str, Evaluate, bool], ...]], ...]
    newcomer: FieldMaker | None
    region: str | None = None
    accounts: MappedCompanies | None = None
    _by_type: dict[str, tuple[Rule, ...]] = field(default_factory=dict)

    @property
    def knows_people(self) -> bool:
        """False when there is no `people:` part: nobody is resolved."""
        return self.parts.match is not None

    @property
    def conflict(self) -> OnConflict:
        """What to do with a person whose number several records have."""
        return self.parts.conflict

    @property
    def newcomers_have_company(self) -> bool:
        """Whether new people are linked to their company."""
        return bool(self.parts.create and self.parts.create.link)

    @property
    def deal_pick(self) -> DealPick:
        """Which of several open deals is meant."""
        return self.parts.deals.pick if self.parts.deals else DealPick.NEWEST

    def key_fields(self) -> dict[str, tuple[str, str]]:
        """rule -> (object, key field, "" for none) of every rule, and of "people.create" when people are created."""
        found = {part.id: (part.object, part.key) for part in self.parts.rules}
        create = self.parts.create
        if self.parts.accounts and (company := self.parts.accounts.create):
            found[ACCOUNTS_CREATE] = (company.object, company.key)
            if self.parts.accounts.parent is not None:
                found[ACCOUNTS_PARENT] = (company.object, company.key)
        return found | ({PEOPLE_CREATE: (create.object, create.key)} if create else {})

    def lookups(self, person: Person) -> tuple[Lookup, ...]:
        """How to find this person, in order; look-ups without a value are left out."""
        found = []
        handles = {id_.strip() for id_ in person.handles.values()}
        for object_name, terms in self.terms:
            asked = [
                MatchField(name, value, phone, handle=not phone and value in handles)
                for name, make, phone in terms
                if (value := _wanted(make, person))
            ]
            if asked:
                found.append(Lookup(object_name, tuple(asked)))
        return tuple(found)

    def strangers(self, signal_type: str) -> StrangerPolicy:
        """What to do with an unknown person who sent a signal of this type; skip where nothing is said."""
        for pattern, policy in self.parts.strangers:
            if matches(pattern, signal_type):
                return policy
        return SKIP

    def stranger(self, signal: Signal) -> Draft:
        """The record of a new person, from the signal that brought them. Raises ValueError if the mapping creates none."""
        create = self.parts.create
        if create is None or self.newcomer is None:
            raise ValueError(f"the mapping {self.name} has no people.create")
        signal = self._spoken(signal)
        (fields, on_create, owner), faults = self.newcomer(signal, signal.person)
        return Draft(
            rule=PEOPLE_CREATE,
            object=create.object,
            key_field=create.key,
            about=About.PERSON,
            fields=fields,
            on_create=on_create,
            verb=UPSERT,
            links=create.link,
            faults=tuple(faults),
            owner=create.owner.choice(owner) if create.owner is not None else None,
        )

    def calls_to_action(self, signal_type: str) -> bool:
        """Whether a rule for signals of this type calls a user to action: one that past signals do not set off."""
        return any(rule.part.live_only and not rule.part.demand for rule in self.fitting(signal_type))

    def drafts(self, signal: Signal, *, live: bool, demanded: Demanded = NONE_DEMANDED) -> Sequence[Draft | Skipped]:
        """What each rule whose `signals:` match makes of it, in the order of the rules; those that wait for a user only where
        they are `demanded` (rule -> values that the user gave)."""
        signal = self._spoken(signal)
        fitting = self.fitting(signal.type)
        made = [
            rule.draft(signal, live, demanded.get(rule.part.id))
            for rule in fitting
            if not rule.part.demand or rule.part.id in demanded
        ]
        if not self.heeds_answers:
            return made
        # What calls for action is made of live signals alone; what it holds is asked for long after.
        changed = {one.record for one in made if isinstance(one, Draft) and one.record}
        return with_what_stands(made, {r.part.id: r.draft(signal, True) for r in fitting if r.part.id in changed})

    @cached_property
    def heeds_answers(self) -> bool:
        """Whether a rule waits until a signal is answered."""
        return any(part.record for part in self.parts.rules)

    def _spoken(self, signal: Signal) -> Signal:
        """The signal with its title in the mapping's language; it says so where the signal counts several events."""
        title = title_in(self.parts.language, signal.title, signal.title_code, signal.title_parameters, signal.times)
        return signal if title is signal.title else msgspec.structs.replace(signal, title=title)

    def fitting(self, signal_type: str) -> tuple[Rule, ...]:
        """The rules for signals of this type."""
        found = self._by_type.get(signal_type)
        if found is None:
            found = tuple(rule for rule in self.rules if rule.fits(signal_type))
            if len(self._by_type) < _MOST_TYPES:  # custom types come from outside: no growth without end
                self._by_type[signal_type] = found
        return found


def load_mapping(
    source: Path | Traversable | str, *, timezone: tzinfo = UTC, region: str | None = None, name: str = ""
) -> Mapping:
    """Reads, checks and compiles a mapping from a file, or from text given as str. `timezone`: of dates in records;
    `region`: the country of phone numbers without one; `name`: what faults call it (default: the file). Raises
    ConfigError with every fault at once, UsageError for a file that cannot be read."""
    text, place = read_source(source)
    document = read_yaml(text, name or place)
    sandbox = Sandbox(make_filters(timezone, region))
    parts, faults = read_mapping(document, sandbox)
    if faults:
        raise ConfigError(faults)
    try:
        return _compiled(name or place, document, parts, sandbox, _fingerprint(document, timezone, region), region)
    except (RecursionError, MemoryError, SyntaxError) as error:
        message = "a template is nested too deeply to be compiled"
        raise ConfigError([Fault(name or place, 1, 1, "", message)]) from error


def read_source(source: Path | Traversable | str) -> tuple[str, str]:
    """(text, what faults call it)."""
    if isinstance(source, str):
        return source, "mapping.yaml"
    try:
        return source.read_bytes().decode("utf-8-sig"), str(source)
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def matches(pattern: str, signal_type: str) -> bool:
    """Does a pattern (`*` stands for anything) fit a signal type?"""
    return bool(_pattern((pattern,))(signal_type))


def _pattern(patterns: Sequence[str]) -> Callable[[str], object]:
    either = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return re.compile(either, re.DOTALL).fullmatch


def _compiled(
    name: str, document: Document, parts: MappingParts, sandbox: Sandbox, fingerprint: str, region: str | None
) -> Mapping:
    if parts.accounts is not None and parts.accounts.free_mail:
        sandbox.company = partial(company_from, shared=parts.accounts.free_mail)
    rules = tuple(_rule(part, sandbox, parts.accounts is not None) for part in parts.rules)
    terms = tuple(
        (
            match.object,
            tuple((field_name, compile_value(tree, sandbox), phone) for field_name, tree, phone in match.terms),
        )
        for match in parts.match or ()
    )
    create = parts.create
    newcomer = (
        compile_groups([create.fields, create.on_create, _owner_group(create.owner)], sandbox) if create else None
    )
    accounts = compiled_accounts(parts.accounts, sandbox, matches) if parts.accounts else None
    return Mapping(name, fingerprint, parts, document, rules, terms, newcomer, region, accounts)


def _rule(part: RulePart, sandbox: Sandbox, finds_company: bool) -> Rule:
    when = None if part.when is None else compile_value(part.when, sandbox)
    groups = part.verb.groups(part)
    make = compile_groups([*groups.values(), _owner_group(part.owner)], sandbox)
    return Rule(part, tuple(groups), make, when, _pattern(part.signals), finds_company)


def _owner_group(owner: OwnerPart | None) -> dict[str, Tree]:
    return owner.group if owner is not None else {}


def _fingerprint(document: Document, timezone: tzinfo, region: str | None) -> str:
    # version 1 of the language: raise it when the same YAML begins to mean other records
    meaning = json.dumps([1, document.data, str(timezone), region])
    return hashlib.sha256(meaning.encode()).hexdigest()[:32]


def _wanted(make: Evaluate, person: Person) -> str:
    """The text to look up, "" for none: a look-up that cannot be made is skipped."""
    try:
        return to_text(clean(make(None, person)))
    except Exception:  # noqa: BLE001 - such as a phone in raw that is not a number
        return ""
