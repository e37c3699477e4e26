"""What one rule touches in its CRM: the object, fields, key and links it names, each with the place that names it.

Verbs tell it of their rules, `uses` of a whole mapping; `against` compares it with the CRM. Nothing here knows a CRM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.compiler import Tree


class Role(Enum):
    """What for a field is named."""

    WRITE = auto()  # with every write of the record
    FIRST = auto()  # while the record is new
    CLEAR = auto()
    KEY = auto()
    LINK = auto()
    LOOK_UP = auto()
    LIST = auto()  # some of its values are added or removed
    COPY = auto()  # a new record takes it over from another


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
    not. `place` is that of the object's name. `own`: the record is there, and known by its id."""

    name: str
    object: str
    key: str
    kind: str
    place: KeyPath
    uses: tuple[Use, ...]
    own: bool = False

    @property
    def key_place(self) -> KeyPath:
        return next((use.place for use in self.uses if use.role is Role.KEY), self.place)


def key_use(object_: str, key: str, place: KeyPath) -> Iterator[Use]:
    """The field that holds syncd's key, if there is one."""
    if key:
        yield Use(object_, key, Role.KEY, (*place, "key"))


def field_uses(object_: str, trees: Mapping[str, Tree], role: Role, place: KeyPath) -> Iterator[Use]:
    """One use for each field of a group."""
    return (Use(object_, name, role, (*place, name), tree) for name, tree in trees.items())


def list_uses(object_: str, trees: Mapping[str, Tree], place: KeyPath) -> Iterator[Use]:
    """One use for each value that is added to a field, or removed."""
    for name, tree in trees.items():
        for each in tree if isinstance(tree, list) else [tree]:
            yield Use(object_, name, Role.LIST, (*place, name), each)
