"""The YAML of a mapping, read into checked parts: who is found how, strangers, rules. Every fault at once, with its place.

`load_mapping` and lint call `read_mapping`; what comes out needs only compiling.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jinja2 import nodes

from syncd.config.yaml_positions import Document, KeyPath
from syncd.connector import WriteKind
from syncd.durations import parse_duration
from syncd.errors import Fault
from syncd.mapping.compiler import Tree
from syncd.mapping.expressions import Expression, Sandbox, is_template, parse
from syncd.mapping.model import About, LinkTakes, OnConflict, Stranger, StrangerPolicy
from syncd.mapping.parts import CreatePart, MappingParts, MatchPart, RulePart

T = TypeVar("T")
MAPPING_KEYS = ("people", "rules")
PEOPLE_KEYS = ("match", "conflict", "strangers", "create")
MATCH_KEYS = ("object", "by")
CREATE_KEYS = ("object", "key", "fields", "on_create", "owner")
OWNER_KEYS = ("round_robin", "field")
VERBS = ("upsert", "create", "update")
LATER = {"notify": "notifications", "convert": "conversion of leads"}
RULE_KEYS = (
    *("id", "name", "signals", *VERBS, *LATER, "key", "about", "kind", "link", "fields", "fill", "on_create", "clear"),
    *("live_only", "when", "only_if"),
)
NOT_TO_UPDATE = ("key", "about", "kind", "link", "on_create")
"""What a rule that updates cannot say: the record is there, it is the person's own, and it is found by its id."""
OF_UPDATES = ("fill", "only_if")
"""What only a rule that updates can say: its record is there to be read."""
LINK_KEYS = ("person", "otherwise")
LINK_TARGETS = ("person", "account", "deal")
PEOPLE_CREATE = "people.create"
_RULE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SIGNAL_PATTERN = re.compile(r"[A-Za-z0-9_.*-]+")
_HOLD = re.compile(r"hold\s*:?\s*(\S.*)")


def read_mapping(document: Document, sandbox: Sandbox) -> tuple[MappingParts, list[Fault]]:
    """The parts and every fault; with faults, the parts are only what could be understood."""
    reading = _MappingReader(document, sandbox)
    return reading.mapping(document.data), reading.faults


@dataclass
class _MappingReader:
    document: Document
    sandbox: Sandbox
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.faults.append(self.document.fault(path, message, hint))

    # ------------------------------------------------------------------------------------------------- small pieces

    def keys(self, node: Any, path: KeyPath, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Any]:
        """The keys and values at `path`; unknown and missing keys are faults."""
        known = tuple(known)
        if not isinstance(node, dict):
            self.fault(path, f"must be keys and values ({', '.join(known)})")
            return {}
        for key in node:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                self.fault((*path, key), "unknown key", hint)
        for key in needed:
            if node.get(key) is None:
                self.fault(path, f"the key {key} is required here")
        return {key: value for key, value in node.items() if value is not None}

    def word(self, node: Mapping[str, Any], path: KeyPath, key: str, default: str = "") -> str:
        """A piece of literal text."""
        value = node.get(key, default)
        if isinstance(value, str) and (value.strip() or value == default):
            if is_template(value):
                self.fault((*path, key), "must be plain text, not a template")
            return value.strip()
        self.fault((*path, key), "must be text")
        return default

    def choice(self, node: Mapping[str, Any], path: KeyPath, key: str, known: Iterable[str], default: str) -> str:
        value, known = node.get(key, default), tuple(known)
        if value in known or value == default:
            return str(value)
        near = difflib.get_close_matches(str(value), known, n=1)
        self.fault(
            (*path, key), f"{value!r} is not one of {', '.join(known)}", f"did you mean {near[0]}?" if near else ""
        )
        return default

    def entries(self, node: Any, path: KeyPath, read: Callable[[Any, KeyPath], T | None], what: str) -> tuple[T, ...]:
        """A list, each entry read by `read`."""
        if not isinstance(node, list) or not node:
            self.fault(path, f"must be a list of {what}")
            return ()
        found = (read(entry, (*path, index)) for index, entry in enumerate(node))
        return tuple(entry for entry in found if entry is not None)

    def patterns(self, node: Any, path: KeyPath) -> tuple[str, ...]:
        def one(entry: Any, place: KeyPath) -> str | None:
            if isinstance(entry, str) and _SIGNAL_PATTERN.fullmatch(entry):
                return entry
            self.fault(place, 'must be a signal type or a pattern such as call.missed, "ticket.*" or "*"')
            return None

        return self.entries([node] if isinstance(node, str) else node, path, one, "signal types")

    # ------------------------------------------------------------------------------------------------------- values

    def fields(self, node: Any, path: KeyPath) -> dict[str, Tree]:
        if node is None:
            return {}
        if not isinstance(node, dict):
            self.fault(path, "must be fields and their values")
            return {}
        return {name: self.tree(value, (*path, name)) for name, value in node.items()}

    def tree(self, node: Any, path: KeyPath, names: tuple[str, ...] = ("signal", "person")) -> Tree:
        """A value with its templates parsed."""
        if isinstance(node, str) and is_template(node):
            return self.template(node, path, names)
        if isinstance(node, list):
            return [self.tree(each, (*path, index), names) for index, each in enumerate(node)]
        if isinstance(node, dict):
            return {key: self.tree(each, (*path, key), names) for key, each in node.items()}
        return node

    def template(self, text: str, path: KeyPath, names: tuple[str, ...]) -> Expression | None:
        found = parse(text, self.sandbox, names)
        if isinstance(found, Expression):
            return found
        for wrong in found:
            self.fault(path, wrong.message, wrong.hint)
        return None

    def condition(self, node: Any, path: KeyPath) -> Tree:
        """`when:` is an expression, with or without its braces; None without a condition."""
        if node is None or isinstance(node, bool):
            return node
        if not isinstance(node, str):
            self.fault(path, "must be an expression such as signal.data.rating <= 2")
            return None
        found = self.template(node if is_template(node) else "{{ " + node + " }}", path, ("signal", "person"))
        if found is not None and not found.whole:
            self.fault(path, "must be one expression, not text around one")
        return found

    # ------------------------------------------------------------------------------------------------------- people

    def mapping(self, node: Any) -> MappingParts:
        parts = self.keys(node, (), MAPPING_KEYS, ("rules",))
        match: tuple[MatchPart, ...] | None = None
        strangers: tuple[tuple[str, StrangerPolicy], ...] = ()
        create = None
        conflict = OnConflict.HOLD
        if "people" in parts:
            people = self.keys(parts["people"], ("people",), PEOPLE_KEYS, ("match",))
            match = (
                self.entries(people["match"], ("people", "match"), self.match, "objects") if "match" in people else ()
            )
            conflict = OnConflict(self.choice(people, ("people",), "conflict", list(OnConflict), OnConflict.HOLD))
            strangers = self.strangers(people.get("strangers", "skip"), ("people", "strangers"))
            create = self.create(people["create"], ("people", "create")) if "create" in people else None
            if create is None and any(policy.action is Stranger.CREATE for _, policy in strangers):
                self.fault(
                    ("people", "strangers"), "strangers are created, but there is no people.create that says how"
                )
        rules = self.entries(parts["rules"], ("rules",), self.rule, "rules") if "rules" in parts else ()
        self._each_once(rules)
        if match is None:
            self._need_no_people(rules)
        else:
            self._updates_people(rules, {part.object for part in match} | ({create.object} if create else set()))
        return MappingParts(match, strangers, create, rules, conflict)

    def match(self, node: Any, path: KeyPath) -> MatchPart | None:
        parts = self.keys(node, path, MATCH_KEYS, MATCH_KEYS)
        by = parts.get("by", {})
        if not isinstance(by, dict) or ("by" in parts and not by):
            self.fault((*path, "by"), 'must be fields and values such as {Email: "{{ person.email }}"}')
            return None
        terms = []
        for name, value in by.items():
            place = (*path, "by", name)
            tree = self.tree(value, place, ("person",))
            if not isinstance(value, str) or not is_template(value):
                self.fault(place, 'must be a part of the person, such as "{{ person.email }}"')
            is_phone = isinstance(tree, Expression) and ("person.phone" in tree.uses or _makes_phone(tree))
            terms.append((name, tree, is_phone))
        return MatchPart(self.word(parts, path, "object"), tuple(terms))

    def strangers(self, node: Any, path: KeyPath) -> tuple[tuple[str, StrangerPolicy], ...]:
        """One policy for all signals, or one a pattern; the first pattern that fits decides."""
        if isinstance(node, dict) and set(node) != {"hold"}:
            found = []
            for pattern, policy in node.items():
                self.patterns(pattern, (*path, pattern))
                found.append((pattern, self.policy(policy, (*path, pattern))))
            return tuple(found)
        return (("*", self.policy(node, path)),)

    def policy(self, node: Any, path: KeyPath) -> StrangerPolicy:
        held = _HOLD.fullmatch(node) if isinstance(node, str) else None
        span = held[1] if held else node.get("hold") if isinstance(node, dict) and set(node) == {"hold"} else None
        if span is not None:
            try:
                return StrangerPolicy(Stranger.HOLD, parse_duration(str(span)))
            except (ValueError, OverflowError) as error:
                self.fault(path, str(error))
        elif node in (Stranger.CREATE, Stranger.SKIP):
            return StrangerPolicy(Stranger(node))
        else:
            self.fault(path, "must be create, skip, {hold: 7d}, or one of these for each pattern of signal types")
        return StrangerPolicy(Stranger.SKIP)

    def create(self, node: Any, path: KeyPath) -> CreatePart | None:
        parts = self.keys(node, path, CREATE_KEYS, ("object", "fields"))
        if not parts:
            return None
        fields = self.fields(parts.get("fields"), (*path, "fields"))
        on_create = self.fields(parts.get("on_create"), (*path, "on_create"))
        key = self.word(parts, path, "key")
        owner_field, owners = "", ()
        if "owner" in parts:
            owner_field, owners = self.owner(parts["owner"], (*path, "owner"))
        self._filled_twice(path, key, {"fields": fields, "on_create": on_create}, also=[owner_field])
        return CreatePart(self.word(parts, path, "object"), key, fields, on_create, owner_field, owners)

    def owner(self, node: Any, path: KeyPath) -> tuple[str, tuple[Any, ...]]:
        """A fixed owner, or several in turn; by default into OwnerId (Salesforce's name for it)."""
        if isinstance(node, str):
            return "OwnerId", (node,)
        parts = self.keys(node, path, OWNER_KEYS, ("round_robin",))
        owners = parts.get("round_robin", [])
        if not isinstance(owners, list) or not owners or any(each is None or is_template(str(each)) for each in owners):
            self.fault((*path, "round_robin"), "must be a list of the owners' ids")
            return "", ()
        return self.word(parts, path, "field", "OwnerId"), tuple(owners)

    # -------------------------------------------------------------------------------------------------------- rules

    def rule(self, node: Any, path: KeyPath) -> RulePart | None:
        parts = self.keys(node, path, RULE_KEYS, ("id", "signals"))
        if not parts:
            return None
        for verb, what in LATER.items():
            if verb in parts:
                self.fault((*path, verb), f"{what}: not supported yet", "use upsert")
        verbs = [verb for verb in VERBS if verb in parts]
        if len(verbs) != 1 and not any(verb in parts for verb in LATER):
            self.fault(path, f"needs one of {' or '.join(VERBS)}, with the name of the object to write")
        verb = verbs[0] if verbs else "upsert"
        rule = RulePart(
            id=self.rule_id(parts, path),
            name=self.word(parts, path, "name"),
            signals=self.patterns(parts["signals"], (*path, "signals")) if "signals" in parts else (),
            verb=verb,
            object=self.word(parts, path, verb),
            key=self.word(parts, path, "key"),
            about=(
                About.PERSON
                if verb == "update"
                else About(self.choice(parts, path, "about", list(About), About.SIGNAL))
            ),
            kind=self.choice(parts, path, "kind", list(WriteKind), ""),
            link=self.links(parts.get("link", {}), (*path, "link")),
            takes=self.takes(parts.get("link", {}), (*path, "link")),
            fields=self.fields(parts.get("fields"), (*path, "fields")),
            on_create=self.fields(parts.get("on_create"), (*path, "on_create")),
            clear=self.clear(parts.get("clear"), (*path, "clear")),
            live_only=self.switch(parts, path, "live_only"),
            when=self.condition(parts.get("when"), (*path, "when")),
            place=path,
            fill=self.fields(parts.get("fill"), (*path, "fill")),
            only_if=self.fields(parts.get("only_if"), (*path, "only_if")),
        )
        for key in NOT_TO_UPDATE if verb == "update" else OF_UPDATES:
            if key in parts:
                own = "a rule that updates writes the person's own record"
                why = own if verb == "update" else "only a rule that updates reads its record first"
                self.fault((*path, key), f"{key} cannot stand here: {why}")
        self._rule_holds(rule, path)
        return rule

    def rule_id(self, parts: Mapping[str, Any], path: KeyPath) -> str:
        given = parts.get("id", "")
        if isinstance(given, str) and (_RULE_ID.fullmatch(given) or "id" not in parts):
            return given
        self.fault((*path, "id"), "must be letters, digits, - and _ (it is part of the records' keys: keep it)")
        return ""

    def switch(self, parts: Mapping[str, Any], path: KeyPath, key: str) -> bool:
        value = parts.get(key, False)
        if isinstance(value, bool):
            return value
        self.fault((*path, key), "must be true or false")
        return False

    def links(self, node: Any, path: KeyPath) -> dict[str, str]:
        if not isinstance(node, dict):
            self.fault(path, "must be fields and what they point at, such as {WhoId: person}")
            return {}
        node = {name: "person" if isinstance(target, dict) else target for name, target in node.items()}
        for name, target in node.items():
            if target not in LINK_TARGETS:
                hint = f"use {', '.join(LINK_TARGETS)}"
                self.fault((*path, name), f"a link to {target!r}: another rule's record is not supported yet", hint)
        return {name: str(target) for name, target in node.items() if target in LINK_TARGETS}

    def takes(self, node: Any, path: KeyPath) -> dict[str, LinkTakes]:
        """Links written as `{person: Contact}` or `{person: [Contact, Lead], otherwise: skip}`."""
        found = {}
        for name, target in node.items() if isinstance(node, dict) else ():
            if isinstance(target, dict):
                place = (*path, name)
                parts = self.keys(target, place, LINK_KEYS, ("person",))
                given = parts.get("person")
                objects = [str(one or "").strip() for one in (given if isinstance(given, list) else [given])]
                if not objects or not all(objects):
                    self.fault((*place, "person"), "must be the object it takes, or a list of them, such as Contact")
                    continue
                skip = self.choice(parts, place, "otherwise", ("skip", "leave out"), "leave out") == "skip"
                found[name] = LinkTakes(tuple(objects), skip)
        return found

    def clear(self, node: Any, path: KeyPath) -> tuple[str, ...]:
        if node is None:
            return ()
        if isinstance(node, list) and all(isinstance(name, str) and name for name in node):
            return tuple(dict.fromkeys(node))
        self.fault(path, "must be a list of field names")
        return ()

    def _rule_holds(self, rule: RulePart, path: KeyPath) -> None:
        if rule.verb == "upsert" and rule.object and not rule.key:
            hint = "name the field that holds syncd's key, such as Syncd_Key__c"
            self.fault(path, f"an upsert of {rule.object} needs a key, so that it is written once", hint)
        if not (rule.fields or rule.fill or rule.on_create or rule.link or rule.clear):
            self.fault(path, "writes nothing: it has no fields")
        filled = {"fields": rule.fields, "fill": rule.fill, "on_create": rule.on_create, "link": rule.link}
        self._filled_twice(path, rule.key, filled)
        for name in rule.clear:
            if name in rule.on_create or name in rule.fill or name in rule.link or name == rule.key:
                self.fault((*path, "clear"), f"{name} is filled by this rule too", "clear it or fill it, not both")

    def _filled_twice(
        self, path: KeyPath, key: str, parts: Mapping[str, Mapping[str, Any]], also: Iterable[str] = ()
    ) -> None:
        seen = {name: "owner" for name in also if name}
        if key:
            seen[key] = "key"
        for part, fields in parts.items():
            for name in fields:
                if name in seen:
                    why = "it holds syncd's key" if seen[name] == "key" else f"{seen[name]} fills it too"
                    self.fault((*path, part, name), f"{name} cannot be filled here: {why}")
                else:
                    seen[name] = part

    def _each_once(self, rules: Iterable[RulePart]) -> None:
        seen: set[str] = set()
        for rule in rules:
            if rule.id and rule.id in seen:
                self.fault(
                    (*rule.place, "id"), f"another rule has the id {rule.id}", "ids are part of the records' keys"
                )
            seen.add(rule.id)

    def _updates_people(self, rules: Iterable[RulePart], objects: set[str]) -> None:
        for rule in rules:
            if rule.verb == "update" and rule.object and rule.object not in objects:
                hint = f"people are: {', '.join(sorted(objects))}"
                self.fault((*rule.place, "update"), f"people.match and people.create have no {rule.object}", hint)

    def _need_no_people(self, rules: Iterable[RulePart]) -> None:
        for rule in rules:
            for name in rule.link:
                self.fault((*rule.place, "link", name), "links people, but the mapping has no people part to find them")
            if rule.verb == "update":
                self.fault((*rule.place, "update"), "updates people, but the mapping has no people part to find them")
            elif rule.about in (About.PERSON, About.ACCOUNT):
                self.fault((*rule.place, "about"), f"is about a {rule.about}, but the mapping has no people part")


def _makes_phone(expression: Expression) -> bool:
    """Whether its value is a phone number: the last filter is `phone`."""
    return isinstance(expression.node, nodes.Filter) and expression.node.name == "phone"
