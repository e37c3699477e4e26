"""What a mapping touches in its CRM: every object, field, key and link it names, with the place that names it. Pure.

`against` compares these with the CRM's own description; nothing here knows a CRM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.compiler import Tree
from syncd.mapping.parts import CreatePart, MappingParts, RulePart


class Role(Enum):
    """What for a field is named."""

    WRITE = auto()  # with every write of the record
    FIRST = auto()  # while the record is new
    CLEAR = auto()
    KEY = auto()
    LINK = auto()
    LOOK_UP = auto()


@dataclass(frozen=True)
class Use:
    """One field named by a mapping. `target`: what a link points at; `takes`: the objects of people that are put into it, ()
    for all of them."""

    object: str
    field: str
    role: Role
    place: KeyPath
    tree: Tree = None
    target: str = ""
    takes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MappedRecord:
    """One kind of record that a mapping writes: a rule's, or a new person. `kind`: as the rule states it, "" when it does
    not. `place` is that of the object's name. `update`: the record is there, and known by its id."""

    name: str
    object: str
    key: str
    kind: str
    place: KeyPath
    uses: tuple[Use, ...]
    update: bool = False

    @property
    def key_place(self) -> KeyPath:
        return next((use.place for use in self.uses if use.role is Role.KEY), self.place)


def records_of(parts: MappingParts) -> tuple[MappedRecord, ...]:
    """Every record the mapping can write, people.create first."""
    made = [_newcomer(parts.create)] if parts.create is not None else []
    return (*made, *(_rule(rule) for rule in parts.rules))


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
        *_key(create.object, create.key, place),
        *_fields(create.object, create.fields, Role.WRITE, (*place, "fields")),
        *_fields(create.object, create.on_create, Role.FIRST, (*place, "on_create")),
    ]
    if create.owner_field:
        uses.append(Use(create.object, create.owner_field, Role.FIRST, (*place, "owner")))
    return MappedRecord("people.create", create.object, create.key, "", (*place, "object"), tuple(uses))


def _rule(rule: RulePart) -> MappedRecord:
    # `create` writes once: what it fills is sent while the record is new, and never again
    role = Role.FIRST if rule.verb == "create" else Role.WRITE
    uses = [
        *_key(rule.object, rule.key, rule.place),
        *_fields(rule.object, rule.fields, role, (*rule.place, "fields")),
        *_fields(rule.object, rule.fill, Role.WRITE, (*rule.place, "fill")),
        *_fields(rule.object, rule.only_if, Role.LOOK_UP, (*rule.place, "only_if")),
        *_fields(rule.object, rule.on_create, Role.FIRST, (*rule.place, "on_create")),
        *(
            Use(
                rule.object,
                name,
                Role.LINK,
                (*rule.place, "link", name),
                target=target,
                takes=rule.takes[name].objects if name in rule.takes else (),
            )
            for name, target in rule.link.items()
        ),
        *(Use(rule.object, name, Role.CLEAR, (*rule.place, "clear", at)) for at, name in enumerate(rule.clear)),
    ]
    place = (*rule.place, rule.verb)
    return MappedRecord(rule.id, rule.object, rule.key, rule.kind, place, tuple(uses), rule.verb == "update")


def _key(object_: str, key: str, place: KeyPath) -> Iterator[Use]:
    if key:
        yield Use(object_, key, Role.KEY, (*place, "key"))


def _fields(object_: str, trees: Mapping[str, Tree], role: Role, place: KeyPath) -> Iterator[Use]:
    return (Use(object_, name, role, (*place, name), tree) for name, tree in trees.items())
