"""What a mapping touches in its CRM: every object, field, key and link it names, with the place that names it. Pure.

`against` compares these with the CRM's own description; nothing here knows a CRM.
"""

from __future__ import annotations

from collections.abc import Iterator

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.mapped_records import MappedRecord, Role, Use, field_uses, key_use
from syncd.mapping.parts import CreatePart, MappingParts, RuleNeed


def records_of(parts: MappingParts) -> tuple[MappedRecord, ...]:
    """Every record the mapping can write, people.create first."""
    made = [_newcomer(parts.create)] if parts.create is not None else []
    written = (rule.verb.record(rule) for rule in parts.rules)
    return (*made, *(record for record in written if record is not None))


def lookups_of(parts: MappingParts) -> tuple[Use, ...]:
    """The fields by which people are found."""
    return tuple(
        Use(match.object, name, Role.LOOK_UP, ("people", "match", index, "by", name), tree)
        for index, match in enumerate(parts.match or ())
        for name, tree, _ in match.terms
    )


def people_objects(parts: MappingParts) -> tuple[str, ...]:
    """What a link to a person may point at."""
    created = (parts.create.object,) if parts.create is not None else ()
    return tuple(dict.fromkeys((*(match.object for match in parts.match or ()), *created)))


def objects_of(parts: MappingParts) -> tuple[str, ...]:
    """Every object the mapping names, once."""
    return tuple(dict.fromkeys((*(record.object for record in records_of(parts)), *people_objects(parts))))


def abilities_of(parts: MappingParts) -> tuple[RuleNeed, ...]:
    """What the mapping needs of its destination's connector beyond writing records."""
    return tuple(ability for rule in parts.rules for ability in rule.verb.abilities(rule))


def notifications_of(parts: MappingParts) -> dict[str, KeyPath]:
    """The kinds of notification that the mapping names, each with its first place."""
    found: dict[str, KeyPath] = {}
    for rule in parts.rules:
        if rule.verb.notification:
            found.setdefault(rule.object, (*rule.place, rule.verb.word))
    return found


def names_of(parts: MappingParts) -> Iterator[tuple[str, KeyPath]]:
    """Every name of an object or field that is written, with its place; each once."""
    named: dict[str, KeyPath] = {}
    for record in records_of(parts):
        named.setdefault(record.object, record.place)
        for use in record.uses:
            named.setdefault(use.field, use.place)
    yield from named.items()


def _newcomer(create: CreatePart) -> MappedRecord:
    place: KeyPath = ("people", "create")
    uses = [
        *key_use(create.object, create.key, place),
        *field_uses(create.object, create.fields, Role.WRITE, (*place, "fields")),
        *field_uses(create.object, create.on_create, Role.FIRST, (*place, "on_create")),
    ]
    if create.owner_field:
        uses.append(Use(create.object, create.owner_field, Role.FIRST, (*place, "owner")))
    return MappedRecord("people.create", create.object, create.key, "", (*place, "object"), tuple(uses))
