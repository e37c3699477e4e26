"""`owner:` of a new person or a rule: one user, several in turn, or an expression; and who takes over when none is active.

Readers and verbs read it here. Which of them it becomes is decided when the record is written (`syncd.dispatch.owners`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.compiler import Tree
from syncd.mapping.expressions import Expression, is_template
from syncd.mapping.model import OwnerChoice
from syncd.mapping.reader import MappingReader

KEEP = "keep"
KINDS = ("turn", "round_robin", "user")
TEAMS = ("role", "department")
"""Kinds of team whose members take turns: who they are is asked of the CRM."""
FALLBACK = "fallback"
OWNER_KEYS = (*KINDS, *TEAMS, FALLBACK, "field")
"""`round_robin` is the older name of `turn`."""
OWNER = "owner"


@dataclass(frozen=True)
class OwnerPart:
    """`users`: who take turns, one or several; `tree`: the expression that names the user instead. `field`: "" for the
    destination's own. `word`: the key that names them, "" where `owner:` is the user itself. `team`: (kind, name) of
    whose members take turns."""

    users: tuple[Any, ...] = ()
    tree: Tree = None
    fallback: Any = None
    field: str = ""
    word: str = ""
    team: tuple[str, str] | None = None

    @property
    def group(self) -> dict[str, Tree]:
        """What is to be compiled of it."""
        return {} if self.tree is None else {OWNER: self.tree}

    def named(self, place: KeyPath) -> Iterator[tuple[Any, KeyPath]]:
        """The users that the mapping names by their ids, each with its place; `place`: that of `owner:`."""
        at = (*place, self.word) if self.word else place
        several = self.word in KINDS[:2]
        yield from ((user, (*at, index) if several else at) for index, user in enumerate(self.users))
        if self.fallback is not None:
            yield self.fallback, (*place, FALLBACK)

    def choice(self, made: Mapping[str, Any]) -> OwnerChoice:
        """The choice for one signal; `made`: what its `group` became."""
        named = made.get(OWNER)
        users = self.users if self.tree is None else () if named is None else (named,)
        return OwnerChoice(users, self.fallback, self.field, self.team)


def read_owner(reader: MappingReader, node: Any, path: KeyPath) -> OwnerPart | None:
    """What `owner:` says; None for `keep`, and where it says nothing."""
    if node is None or node == KEEP:
        return None
    if not isinstance(node, dict) or not node.keys() & {*OWNER_KEYS}:  # {id: …} is a user in the CRM's own form
        return _one(reader, node, path)
    parts = reader.keys(node, path, OWNER_KEYS)
    kinds = [kind for kind in (*KINDS, *TEAMS) if kind in parts]
    if len(kinds) != 1:
        reader.fault(path, "must name one of turn (a list of users), user, role or department")
        return None
    fallback = parts.get("fallback")
    if fallback is not None and not _is_user(fallback):
        reader.fault((*path, "fallback"), "must be the id of a user, or keep")
    other, field = None if fallback == KEEP else fallback, reader.word(parts, path, "field")
    place = (*path, kinds[0])
    if kinds[0] in TEAMS:
        name = parts[kinds[0]]
        if (
            not isinstance(name, (str, int))
            or isinstance(name, bool)
            or not str(name).strip()
            or is_template(str(name))
        ):
            reader.fault(place, f"must be the name of a {kinds[0]}")
            return None
        return OwnerPart((), None, other, field, kinds[0], (kinds[0], str(name).strip()))
    if kinds[0] == "user":
        one = _one(reader, parts["user"], place)
        return OwnerPart(one.users, one.tree, other, field, kinds[0]) if one else None
    users = parts[kinds[0]]
    if not isinstance(users, list) or not users or not all(_is_user(each) for each in users):
        reader.fault(place, "must be a list of the owners' ids")
        return None
    return OwnerPart(tuple(users), None, other, field, kinds[0])


def _one(reader: MappingReader, node: Any, path: KeyPath) -> OwnerPart | None:
    if isinstance(node, str) and is_template(node):
        tree = reader.template(node, path, ("signal", "person"))
        return OwnerPart(tree=tree) if isinstance(tree, Expression) else None
    if _is_user(node):
        return OwnerPart((node,))
    reader.fault(path, "must be keep, the id of a user, {turn: [...]}, or an expression")
    return None


def _is_user(value: Any) -> bool:
    return value is not None and not isinstance(value, (bool, list)) and not is_template(str(value))
