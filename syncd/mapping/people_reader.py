"""Reads the `people:` part of a mapping: who is found how, what is done with strangers, how a new person is made."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import nodes

from syncd.config.yaml_positions import KeyPath
from syncd.durations import parse_duration
from syncd.mapping.expressions import Expression, is_template
from syncd.mapping.model import OnConflict, Stranger, StrangerPolicy
from syncd.mapping.owners import read_owner
from syncd.mapping.parts import CreatePart, MatchPart, PeoplePart
from syncd.mapping.reader import MappingReader

PEOPLE_KEYS = ("match", "conflict", "strangers", "create")
MATCH_KEYS = ("object", "by")
CREATE_KEYS = ("object", "key", "fields", "on_create", "owner", "link")
_HOLD = re.compile(r"hold\s*:?\s*(\S.*)")


def read_people(reader: MappingReader, node: Any, path: KeyPath) -> PeoplePart:
    """What `people:` says."""
    people = reader.keys(node, path, PEOPLE_KEYS, ("match",))
    match: tuple[MatchPart, ...] = ()
    if "match" in people:
        match = reader.entries(people["match"], (*path, "match"), lambda one, at: _match(reader, one, at), "objects")
    conflict = OnConflict(reader.choice(people, path, "conflict", list(OnConflict), OnConflict.HOLD))
    strangers = _strangers(reader, people.get("strangers", "skip"), (*path, "strangers"))
    create = _create(reader, people["create"], (*path, "create")) if "create" in people else None
    if create is None and any(policy.action is Stranger.CREATE for _, policy in strangers):
        message = "strangers are created, but there is no people.create that says how"
        reader.fault((*path, "strangers"), message)
    return PeoplePart(match, strangers, create, conflict)


def _match(reader: MappingReader, node: Any, path: KeyPath) -> MatchPart | None:
    parts = reader.keys(node, path, MATCH_KEYS, MATCH_KEYS)
    by = parts.get("by", {})
    if not isinstance(by, dict) or ("by" in parts and not by):
        reader.fault((*path, "by"), 'must be fields and values such as {Email: "{{ person.email }}"}')
        return None
    terms = []
    for name, value in by.items():
        place = (*path, "by", name)
        tree = reader.tree(value, place, ("person",))
        if not isinstance(value, str) or not is_template(value):
            reader.fault(place, 'must be a part of the person, such as "{{ person.email }}"')
        is_phone = isinstance(tree, Expression) and ("person.phone" in tree.uses or makes_phone(tree))
        terms.append((name, tree, is_phone))
    return MatchPart(reader.word(parts, path, "object"), tuple(terms))


def makes_phone(expression: Expression) -> bool:
    """Whether its value is a phone number: the last filter is `phone`."""
    return isinstance(expression.node, nodes.Filter) and expression.node.name == "phone"


def _strangers(reader: MappingReader, node: Any, path: KeyPath) -> tuple[tuple[str, StrangerPolicy], ...]:
    """One policy for all signals, or one a pattern; the first pattern that fits decides."""
    if isinstance(node, dict) and set(node) != {"hold"}:
        found = []
        for pattern, policy in node.items():
            reader.patterns(pattern, (*path, pattern))
            found.append((pattern, _policy(reader, policy, (*path, pattern))))
        return tuple(found)
    return (("*", _policy(reader, node, path)),)


def _policy(reader: MappingReader, node: Any, path: KeyPath) -> StrangerPolicy:
    held = _HOLD.fullmatch(node) if isinstance(node, str) else None
    span = held[1] if held else node.get("hold") if isinstance(node, dict) and set(node) == {"hold"} else None
    if span is not None:
        try:
            return StrangerPolicy(Stranger.HOLD, parse_duration(str(span)))
        except (ValueError, OverflowError) as error:
            reader.fault(path, str(error))
    elif node in (Stranger.CREATE, Stranger.SKIP):
        return StrangerPolicy(Stranger(node))
    else:
        reader.fault(path, "must be create, skip, {hold: 7d}, or one of these for each pattern of signal types")
    return StrangerPolicy(Stranger.SKIP)


def _create(reader: MappingReader, node: Any, path: KeyPath) -> CreatePart | None:
    parts = reader.keys(node, path, CREATE_KEYS, ("object", "fields"))
    if not parts:
        return None
    fields = reader.fields(parts.get("fields"), (*path, "fields"))
    on_create = reader.fields(parts.get("on_create"), (*path, "on_create"))
    key = reader.word(parts, path, "key")
    owner = read_owner(reader, parts.get("owner"), (*path, "owner"))
    taken = [owner.field] if owner is not None else []
    link = _company_links(reader, parts.get("link", {}), (*path, "link"))
    reader.filled_twice(path, key, {"fields": fields, "on_create": on_create, "link": link}, also=taken)
    return CreatePart(reader.word(parts, path, "object"), key, fields, on_create, owner, link)


def _company_links(reader: MappingReader, node: Any, path: KeyPath) -> dict[str, str]:
    """A new person can point at their company alone."""
    if not isinstance(node, dict):
        reader.fault(path, "must be a field and account, such as {AccountId: account}")
        return {}
    for name, target in node.items():
        if target != "account":
            reader.fault((*path, name), "a new person can be linked to their account only", "write account")
    return dict.fromkeys(node, "account")
