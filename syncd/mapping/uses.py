"""What a mapping touches in its CRM: every object, field, key and link it names, with the place that names it. Pure.

`against` compares these with the CRM's own description; nothing here knows a CRM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from syncd.capabilities import ConversionNames, KnowsAccountFields, KnowsTeams, Observes, ReadsFields, ResolvesAccounts
from syncd.config.yaml_positions import KeyPath
from syncd.mapping.expressions import Expression
from syncd.mapping.mapped_records import MappedRecord, Role, Use, field_uses, key_use
from syncd.mapping.owners import OWNER, OwnerPart
from syncd.mapping.parts import (
    AccountsPart,
    ConversionPart,
    CreatePart,
    MappingParts,
    ObservationPart,
    RuleNeed,
    RulePart,
)


def records_of(parts: MappingParts) -> tuple[MappedRecord, ...]:
    """Every record the mapping can write, new people and companies first."""
    made = [_newcomer(parts.create, "people")] if parts.create is not None else []
    if parts.accounts is not None and parts.accounts.create is not None:
        company = _newcomer(parts.accounts.create, "accounts")
        made.append(replace(company, uses=(*company.uses, *_copied(parts.accounts, company.object))))
    written = (rule.verb.record(rule) for rule in parts.rules)
    return (*made, *(record for record in written if record is not None))


def lookups_of(parts: MappingParts) -> tuple[Use, ...]:
    """The fields by which people and companies are found."""
    people = (
        Use(match.object, name, Role.LOOK_UP, ("people", "match", index, "by", name), tree)
        for index, match in enumerate(parts.match or ())
        for name, tree, _ in match.terms
    )
    companies = (
        Use(match.object, term.field, Role.LOOK_UP, ("accounts", "match", index, "by", term.field), term.tree)
        for index, match in enumerate(parts.accounts.match if parts.accounts else ())
        for term in match.terms
    )
    return (*people, *companies)


def looked_up(parts: MappingParts) -> Iterator[tuple[str, KeyPath]]:
    """The objects among which people and companies are looked for, with the place that names each."""
    accounts = parts.accounts.match if parts.accounts else ()
    yield from ((match.object, ("people", "match", index, "object")) for index, match in enumerate(parts.match or ()))
    yield from ((match.object, ("accounts", "match", index, "object")) for index, match in enumerate(accounts))


def people_objects(parts: MappingParts) -> tuple[str, ...]:
    """What a link to a person may point at."""
    created = (parts.create.object,) if parts.create is not None else ()
    return tuple(dict.fromkeys((*(match.object for match in parts.match or ()), *created)))


def objects_of(parts: MappingParts) -> tuple[str, ...]:
    """Every object the mapping names, once."""
    written, found = (record.object for record in records_of(parts)), (name for name, _ in looked_up(parts))
    return tuple(dict.fromkeys((*written, *people_objects(parts), *found)))


def abilities_of(parts: MappingParts) -> tuple[RuleNeed, ...]:
    """What the mapping needs of its destination's connector beyond writing records."""
    of_rules = (ability for rule in parts.rules for ability in rule.verb.abilities(rule))
    companies = RuleNeed(("accounts",), ResolvesAccounts, "cannot find companies")
    return (*([companies] if parts.accounts is not None else []), *_of_new_companies(parts.accounts), *of_rules)


def _of_new_companies(part: AccountsPart | None) -> Iterator[RuleNeed]:
    create: KeyPath = ("accounts", "create")
    if part is not None and part.parent is not None:
        yield RuleNeed(
            (*create, "parent"), KnowsAccountFields, "does not know which field holds the parent of a company"
        )
    if part is not None and part.clone is not None:
        yield RuleNeed((*create, "clone_of"), ReadsFields, "cannot read the fields of a record")
        if part.clone.fields is None:
            cannot = "does not know which fields to copy; list them: {id: …, fields: […]}"
            yield RuleNeed((*create, "clone_of"), KnowsAccountFields, cannot)


def owners_of(parts: MappingParts) -> Iterator[tuple[Any, KeyPath]]:
    """Every user that the mapping names as an owner, in the CRM's own form, with each place."""
    created = (("people", parts.create), ("accounts", parts.accounts.create if parts.accounts else None))
    for part, create in created:
        if create is not None and create.owner is not None:
            yield from create.owner.named((part, "create", OWNER))
    for rule in parts.rules:
        if rule.owner is not None:
            yield from rule.owner.named((*rule.place, OWNER))


def teams_of(parts: MappingParts) -> Iterator[tuple[tuple[str, str], KeyPath]]:
    """Every team (kind, name) whose members become owners, with its place."""
    created = (("people", parts.create), ("accounts", parts.accounts.create if parts.accounts else None))
    owners: list[tuple[KeyPath, OwnerPart | None]] = [
        ((part, "create", OWNER), create.owner) for part, create in created if create is not None
    ]
    owners += [((*rule.place, OWNER), rule.owner) for rule in parts.rules]
    yield from ((owner.team, (*place, owner.word)) for place, owner in owners if owner is not None and owner.team)


def refused_teams(parts: MappingParts, crm: object) -> Iterator[tuple[KeyPath, str, str]]:
    """(place, message, hint) of teams that the CRM does not tell of."""
    known = crm.teams if isinstance(crm, KnowsTeams) else ()
    for (kind, _), place in teams_of(parts):
        if kind not in known:
            hint = (
                f"use {' or '.join(known)}, or list the users: turn: [...]" if known else "list the users: turn: [...]"
            )
            yield place, f"has no {kind} whose members syncd can read", hint


def notifications_of(parts: MappingParts) -> dict[str, KeyPath]:
    """The kinds of notification that the mapping names, each with its first place."""
    found: dict[str, KeyPath] = {}
    for rule in parts.rules:
        if rule.verb.notification:
            found.setdefault(rule.object, (*rule.place, rule.verb.word))
    return found


def conversions_of(parts: MappingParts) -> Iterator[tuple[ConversionPart, KeyPath]]:
    """How the mapping converts leads, each with the place of its `convert:`."""
    for rule in parts.rules:
        if rule.conversion is not None:
            yield rule.conversion, (*rule.place, rule.verb.word)


def observers_of(parts: MappingParts) -> Iterator[tuple[RulePart, ObservationPart, KeyPath]]:
    """The rules that change observers, each with the place of its `observe:`."""
    for rule in parts.rules:
        if rule.observation is not None:
            yield rule, rule.observation, (*rule.place, rule.verb.word)


def users_observing(part: ObservationPart, place: KeyPath) -> Iterator[tuple[str, KeyPath]]:
    """The users that `observe:` names by their ids, each with its place."""
    for key, named in (("add", part.add), ("remove", part.remove)):
        for index, one in enumerate(named):
            if not isinstance(one, Expression):
                yield str(one), (*place, key, index)


def refused_observers(parts: MappingParts, crm: Observes) -> Iterator[tuple[KeyPath, str, str]]:
    """(place, message, hint) of what the CRM has no place for."""
    for _, part, place in observers_of(parts):
        if why := crm.observable(part.field, chat=False):
            yield (*place, "field") if part.field else place, why, ""
        elif part.chat and (why := crm.observable(part.field, chat=True)):
            yield (*place, "chat"), why, "leave it out"


def refused_deals(parts: MappingParts, names: ConversionNames) -> Iterator[tuple[KeyPath, str, str]]:
    """(place, message, hint) of what the CRM cannot make of a deal that a lead becomes."""
    for part, place in conversions_of(parts):
        deal = part.deal if part.deal is not None else dict.fromkeys(names.needed)
        for key in deal:
            known_keys = (*names.deal_fields, *(("role",) if names.role[1] else ()))
            if key not in known_keys:
                known = ", ".join(known_keys)
                yield (
                    (*place, "deal", key),
                    f"a deal has no {key} here",
                    f"known here: {known}; others stand in fields:",
                )
        for key in names.needed:
            if key not in deal:
                yield (*place, "deal"), f"the key {key} is required here", "without it no deal is made"


def names_of(parts: MappingParts) -> Iterator[tuple[str, KeyPath]]:
    """Every name of an object or field that is written, with its place; each once."""
    named: dict[str, KeyPath] = {}
    for record in records_of(parts):
        named.setdefault(record.object, record.place)
        for use in record.uses:
            named.setdefault(use.field, use.place)
    yield from named.items()


def _copied(part: AccountsPart, object_: str) -> Iterator[Use]:
    """The fields whose values a new company takes over, where the mapping lists them."""
    place: KeyPath = ("accounts", "create", "clone_of", "fields")
    for index, name in enumerate((part.clone.fields if part.clone else None) or ()):
        yield Use(object_, name, Role.COPY, (*place, index))


def _newcomer(create: CreatePart, part: str) -> MappedRecord:
    place: KeyPath = (part, "create")
    uses = [
        *key_use(create.object, create.key, place),
        *field_uses(create.object, create.fields, Role.WRITE, (*place, "fields")),
        *field_uses(create.object, create.on_create, Role.FIRST, (*place, "on_create")),
    ]
    if create.owner is not None and create.owner.field:
        uses.append(Use(create.object, create.owner.field, Role.FIRST, (*place, "owner")))
    uses += [
        Use(create.object, name, Role.LINK, (*place, "link", name), target=target)
        for name, target in create.link.items()
    ]
    return MappedRecord(f"{part}.create", create.object, create.key, "", (*place, "object"), tuple(uses))
