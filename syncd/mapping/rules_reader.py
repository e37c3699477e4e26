"""Reads one entry of `rules:`; what only some kinds of rule have, their verb reads and checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syncd.config.yaml_positions import KeyPath
from syncd.connector import WriteKind
from syncd.mapping.answers import changed_record, check_occasion
from syncd.mapping.compiler import Tree
from syncd.mapping.model import About, LinkTakes
from syncd.mapping.owners import read_owner
from syncd.mapping.parts import RulePart, RuleVerb
from syncd.mapping.reader import MappingReader
from syncd.mapping.verbs import UPSERT, VERBS
from syncd.mapping.verbs.convert import ACCOUNT

RULE_KEYS = (
    *("id", "name", "signals", *VERBS, "key", "about", "kind", "link", "fields", "fill", "on_create", "clear"),
    *("live_only", "when", "only_if", "add", "remove", "owner", "on", "ask"),
)
SIGNAL, DEMAND, ANSWERED = "signal", "demand", "answered"
"""When a rule is carried out: when the signal comes, when a user says so, or once the signal is answered."""
ASK_KEYS = ("label", "default")
LINK_KEYS = ("person", "otherwise")
_RULE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def read_rule(reader: MappingReader, node: Any, path: KeyPath) -> RulePart | None:
    """A rule as it could be understood; None where there is none."""
    parts = reader.keys(node, path, RULE_KEYS, ("id", "signals"))
    if not parts:
        return None
    named = [word for word in VERBS if word in parts]
    if len(named) != 1:
        reader.fault(path, f"needs one of {' or '.join(VERBS)}, with the name of the object to write")
    verb = VERBS[named[0]] if named else UPSERT
    links = parts.get("link", {})
    occasion = reader.choice(parts, path, "on", (SIGNAL, DEMAND, ANSWERED), SIGNAL)
    conversion = verb.conversion_part(reader, parts, path)
    observation = verb.observation_part(reader, parts, path)
    joins = {ACCOUNT: ACCOUNT} if conversion is not None and conversion.company else {}
    record = changed_record(reader, parts, path, verb.word) if conversion is None and observation is None else ""
    demand = occasion == DEMAND
    asked = _asked(reader, parts.get("ask"), (*path, "ask"), demand)
    fields = reader.fields(parts.get("fields"), (*path, "fields"))
    reader.filled_twice(path, "", {"fields": fields, "ask": asked})
    rule = RulePart(
        id=_rule_id(reader, parts, path),
        name=reader.word(parts, path, "name"),
        signals=reader.patterns(parts["signals"], (*path, "signals")) if "signals" in parts else (),
        verb=verb,
        object="" if record else verb.object_of(reader, parts, path),
        key=reader.word(parts, path, "key"),
        about=About.SIGNAL if record else verb.about(reader, parts, path),
        kind=reader.choice(parts, path, "kind", list(WriteKind), ""),
        link={**verb.implied_links, **joins, **_links(reader, links, (*path, "link"))},
        takes=_takes(reader, links, (*path, "link")),
        fields=fields | {name: tree for name, (_, tree) in asked.items()},
        on_create=reader.fields(parts.get("on_create"), (*path, "on_create")),
        clear=_clear(reader, parts.get("clear"), (*path, "clear")),
        live_only=reader.switch(parts, path, "live_only", default=verb.live_only),
        when=_condition(reader, parts, path, verb),
        place=path,
        fill=reader.fields(parts.get("fill"), (*path, "fill")),
        only_if=reader.fields(parts.get("only_if"), (*path, "only_if")),
        add=reader.fields(parts.get("add"), (*path, "add")),
        remove=reader.fields(parts.get("remove"), (*path, "remove")),
        demand=demand,
        record=record,
        ask={name: label for name, (label, _) in asked.items()},
        owner=read_owner(reader, parts.get("owner"), (*path, "owner")),
        conversion=conversion,
        observation=observation,
    )
    for key, why in verb.refuses.items():
        if key in parts:
            reader.fault((*path, key), f"{key} cannot stand here: {why}")
    check_occasion(reader, rule, answered=occasion == ANSWERED)
    verb.check(reader, rule)
    return rule


def _condition(reader: MappingReader, parts: Mapping[str, Any], path: KeyPath, verb: RuleVerb) -> Tree:
    """`when:` of the rule, or of what it does."""
    within = parts.get(verb.word)
    place = (*path, verb.word) if isinstance(within, dict) and within.get("when") is not None else path
    node = within if place != path and isinstance(within, dict) else parts
    return reader.condition(node.get("when"), (*place, "when"))


def _asked(reader: MappingReader, node: Any, path: KeyPath, demand: bool) -> dict[str, tuple[str, Tree]]:
    """field -> (label, default) of what the user may change: `FIELD: {label: …, default: …}`, or `FIELD: DEFAULT`."""
    if node is None:
        return {}
    if not demand:
        reader.fault(path, "only a rule with on: demand can ask a user")
    if not isinstance(node, dict):
        reader.fault(path, "must be fields, each with {label: ..., default: ...}")
        return {}
    found = {}
    for name, value in node.items():
        place = (*path, name)
        whole = value if isinstance(value, dict) else {"default": value}
        parts = reader.keys(whole, place, ASK_KEYS) if whole is value else whole
        found[name] = (reader.word(parts, place, "label"), reader.tree(parts.get("default"), place))
    return found


def _rule_id(reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> str:
    given = parts.get("id", "")
    if isinstance(given, str) and (_RULE_ID.fullmatch(given) or "id" not in parts):
        return given
    reader.fault((*path, "id"), "must be letters, digits, - and _ (it is part of the records' keys: keep it)")
    return ""


def _links(reader: MappingReader, node: Any, path: KeyPath) -> dict[str, str]:
    if not isinstance(node, dict):
        reader.fault(path, "must be fields and what they point at, such as {WhoId: person}")
        return {}
    node = {name: "person" if isinstance(target, dict) else target for name, target in node.items()}
    for name, target in node.items():
        if not isinstance(target, str) or not target.strip():
            reader.fault((*path, name), "must be person, account, deal or the id of a rule")
    return {name: target.strip() for name, target in node.items() if isinstance(target, str) and target.strip()}


def _takes(reader: MappingReader, node: Any, path: KeyPath) -> dict[str, LinkTakes]:
    """Links written as `{person: Contact}` or `{person: [Contact, Lead], otherwise: skip}`."""
    found = {}
    for name, target in node.items() if isinstance(node, dict) else ():
        if isinstance(target, dict):
            place = (*path, name)
            parts = reader.keys(target, place, LINK_KEYS, ("person",))
            given = parts.get("person")
            objects = [str(one or "").strip() for one in (given if isinstance(given, list) else [given])]
            if not objects or not all(objects):
                reader.fault((*place, "person"), "must be the object it takes, or a list of them, such as Contact")
                continue
            skip = reader.choice(parts, place, "otherwise", ("skip", "leave out"), "leave out") == "skip"
            found[name] = LinkTakes(tuple(objects), skip)
    return found


def _clear(reader: MappingReader, node: Any, path: KeyPath) -> tuple[str, ...]:
    if node is None:
        return ()
    if isinstance(node, list) and all(isinstance(name, str) and name for name in node):
        return tuple(dict.fromkeys(node))
    reader.fault(path, "must be a list of field names")
    return ()
