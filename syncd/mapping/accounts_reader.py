"""Reads the parts `accounts:` and `deals:` of a mapping: how companies are found and made, and which open deal is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from syncd.config.yaml_positions import KeyPath
from syncd.connector import DealPick
from syncd.identity.companies import registered
from syncd.mapping.compiler import Tree
from syncd.mapping.expressions import Expression, is_template
from syncd.mapping.model import CloneOf
from syncd.mapping.parts import AccountMatchPart, AccountsPart, AccountTerm, CreatePart, DealsPart
from syncd.mapping.people_reader import makes_phone
from syncd.mapping.reader import MappingReader

ACCOUNTS_KEYS = ("match", "unknown", "create", "free_mail")
MATCH_KEYS = ("object", "by")
CREATE_KEYS = ("object", "key", "fields", "on_create", "parent", "clone_of")
CLONE_KEYS = ("id", "fields")
DEALS_KEYS = ("pick",)
UNKNOWN = ("create", "skip")


def read_accounts(reader: MappingReader, node: Any) -> AccountsPart:
    """The part as it could be understood."""
    place: KeyPath = ("accounts",)
    parts = reader.keys(node, place, ACCOUNTS_KEYS, ("match",))
    match: tuple[AccountMatchPart, ...] = ()
    if "match" in parts:
        match = reader.entries(parts["match"], (*place, "match"), lambda one, at: _match(reader, one, at), "objects")
    unknown = _unknown(reader, parts.get("unknown", "skip"), (*place, "unknown"))
    create = _create(reader, parts["create"], (*place, "create")) if "create" in parts else None
    own = parts["create"] if create is not None else {}
    parent = _parent(reader, own["parent"], (*place, "create", "parent")) if "parent" in own else None
    clone = (
        _clone(reader, own["clone_of"], (*place, "create", "clone_of"), create, match) if "clone_of" in own else None
    )
    if create is None and any(creates for _, creates in unknown):
        reader.fault((*place, "unknown"), "companies are created, but there is no accounts.create that says how")
    free_mail = _domains(reader, parts.get("free_mail", []), (*place, "free_mail"))
    return AccountsPart(match, unknown, create, free_mail, parent, clone)


def objects_of_companies(part: AccountsPart) -> tuple[str, ...]:
    """What a company's record can be."""
    made = (part.create.object,) if part.create else ()
    return tuple(dict.fromkeys((*(match.object for match in part.match), *made)))


def _match(reader: MappingReader, node: Any, path: KeyPath) -> AccountMatchPart | None:
    parts = reader.keys(node, path, MATCH_KEYS, MATCH_KEYS)
    by = parts.get("by", {})
    if not isinstance(by, dict) or ("by" in parts and not by):
        reader.fault((*path, "by"), 'must be fields and values such as {Website: "{{ company.domain }}"}')
        return None
    return AccountMatchPart(
        reader.word(parts, path, "object"),
        tuple(_term(reader, name, value, (*path, "by", name)) for name, value in by.items()),
    )


def _term(reader: MappingReader, name: str, value: Any, place: KeyPath) -> AccountTerm:
    tree = reader.tree(value, place, ("company", "signal"))
    uses = tree.uses if isinstance(tree, Expression) else frozenset[str]()
    if not isinstance(value, str) or not is_template(value):
        reader.fault(place, 'must be a part of the company, such as "{{ company.domain }}"')
    elif isinstance(tree, Expression) and ("company.phone" in uses or makes_phone(tree)):
        reader.fault(place, "companies are not found by a phone number", "use company.domain, company.name or a key")
    return AccountTerm(name, tree, "company.domain" in uses, "company.name" in uses)


def _unknown(reader: MappingReader, node: Any, path: KeyPath) -> tuple[tuple[str, bool], ...]:
    """What is done with unknown companies: for all signals, or for each pattern; the first that fits decides."""
    if isinstance(node, dict):
        for pattern in node:
            reader.patterns(pattern, (*path, pattern))
        return tuple((pattern, reader.choice(node, path, pattern, UNKNOWN, "") == "create") for pattern in node)
    if node not in UNKNOWN:
        reader.fault(path, "must be create, skip, or one of these for each pattern of signal types")
    return (("*", node == "create"),)


def _create(reader: MappingReader, node: Any, path: KeyPath) -> CreatePart | None:
    parts = reader.keys(node, path, CREATE_KEYS, ("object", "key", "fields"))
    if not parts:
        return None
    fields = reader.fields(parts.get("fields"), (*path, "fields"))
    on_create = reader.fields(parts.get("on_create"), (*path, "on_create"))
    key = reader.word(parts, path, "key")
    reader.filled_twice(path, key, {"fields": fields, "on_create": on_create})
    return CreatePart(reader.word(parts, path, "object"), key, fields, on_create)


def _parent(reader: MappingReader, node: Any, path: KeyPath) -> Tree:
    """An expression that gives the name or domain of a company."""
    tree = reader.tree(node, path, ("company", "signal", "person"))
    if not isinstance(node, str) or not node.strip():
        reader.fault(path, 'must be the name or domain of a company, such as "{{ company.parent }}"')
        return None
    return tree


def _clone(
    reader: MappingReader, node: Any, path: KeyPath, create: CreatePart | None, match: Sequence[AccountMatchPart]
) -> CloneOf | None:
    """`clone_of: ID`, or with the fields whose values are taken over."""
    parts = reader.keys(node, path, CLONE_KEYS, ("id",)) if isinstance(node, dict) else {"id": node}
    id_ = parts.get("id")
    if isinstance(id_, bool) or not isinstance(id_, (str, int)) or not str(id_).strip() or is_template(str(id_)):
        reader.fault((*path, "id") if isinstance(node, dict) else path, "must be the id of a record of the CRM")
        return None
    fields = parts.get("fields")
    listed = isinstance(fields, list) and all(isinstance(name, str) and name.strip() for name in fields)
    if "fields" in parts and not (listed and fields):
        reader.fault((*path, "fields"), "must be a list of fields, such as [Industry, Type]")
        return None
    if create is None:
        return None
    own = {create.key: "it holds syncd's key"} if create.key else {}
    own |= dict.fromkeys((*create.fields, *create.on_create), "the mapping fills it")
    own |= dict.fromkeys((term.field for one in match for term in one.terms), "companies are found by it")
    for index, name in enumerate(fields or ()):
        if name in own:
            reader.fault((*path, "fields", index), f"{name} cannot be copied: {own[name]}")
    never = frozenset(name.lower() for name in own)
    return CloneOf(str(id_).strip(), tuple(fields) if fields else None, never)


def _domains(reader: MappingReader, node: Any, path: KeyPath) -> frozenset[str]:
    if not isinstance(node, list):
        reader.fault(path, "must be a list of domains, such as example.org")
        return frozenset()
    for index, domain in enumerate(node):
        if not isinstance(domain, str) or not registered(domain):
            reader.fault((*path, index), f"{domain!r} is not a domain", "write it like example.org")
    return frozenset(str(domain).strip().lower() for domain in node)


def read_deals(reader: MappingReader, node: Any) -> DealsPart:
    """The part as it could be understood."""
    parts = reader.keys(node, ("deals",), DEALS_KEYS)
    return DealsPart(DealPick(reader.choice(parts, ("deals",), "pick", list(DealPick), DealPick.NEWEST)))
