"""The YAML of a mapping, read into checked parts: who is found how, strangers, rules. Every fault at once, with its place.

`load_mapping` and lint call `read_mapping`; what comes out needs only compiling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from syncd.config.yaml_positions import Document
from syncd.errors import Fault
from syncd.mapping.accounts_reader import objects_of_companies, read_accounts, read_deals
from syncd.mapping.answers import of_their_rules
from syncd.mapping.expressions import Sandbox
from syncd.mapping.model import About, OnConflict
from syncd.mapping.parts import AccountsPart, DealsPart, MappingParts, PeoplePart, RulePart
from syncd.mapping.people_reader import read_people
from syncd.mapping.reader import MappingReader
from syncd.mapping.rule_links import wrong_links
from syncd.mapping.rules_reader import read_rule
from syncd.texts.titles import ENGLISH, LANGUAGES

MAPPING_KEYS = ("language", "people", "accounts", "deals", "rules")
PEOPLE_CREATE = "people.create"


def read_mapping(document: Document, sandbox: Sandbox) -> tuple[MappingParts, list[Fault]]:
    """The parts and every fault; with faults, the parts are only what could be understood."""
    reader = MappingReader(document, sandbox)
    return _mapping(reader, document.data), reader.faults


def _mapping(reader: MappingReader, node: Any) -> MappingParts:
    parts = reader.keys(node, (), MAPPING_KEYS, ("rules",))
    people = read_people(reader, parts["people"], ("people",)) if "people" in parts else None
    rules: tuple[RulePart, ...] = ()
    if "rules" in parts:
        rules = reader.entries(parts["rules"], ("rules",), lambda one, path: read_rule(reader, one, path), "rules")
    _each_once(reader, rules)
    rules = of_their_rules(reader, rules)
    for place, message, hint in wrong_links(rules):
        reader.fault(place, message, hint)
    accounts = read_accounts(reader, parts["accounts"]) if "accounts" in parts else None
    deals = read_deals(reader, parts["deals"]) if "deals" in parts else None
    objects = None if people is None else _objects(people)
    rules = tuple(replace(rule, about=_whose(rule, objects or (), accounts, deals)) for rule in rules)
    for rule in rules:
        rule.verb.check_people(reader, rule if accounts is None else _without_company(rule), objects)
    if people and people.create and people.create.link and accounts is None:
        message = "links companies, but the mapping has no accounts part to find them"
        reader.fault(("people", "create", "link"), message, "add accounts:")
    language = _language(reader, parts["language"]) if "language" in parts else ENGLISH
    if people is None:
        return MappingParts(None, (), None, rules, OnConflict.HOLD, deals, language, accounts)
    return MappingParts(
        people.match, people.strangers, people.create, rules, people.conflict, deals, language, accounts
    )


def _language(reader: MappingReader, said: Any) -> str:
    """The language of titles."""
    if said in LANGUAGES:
        return str(said)
    reader.fault(("language",), f"{said!r} is not a language of titles", f"there are: {', '.join(LANGUAGES)}")
    return ENGLISH


def _whose(rule: RulePart, people: Collection[str], accounts: AccountsPart | None, deals: DealsPart | None) -> About:
    """What a rule that writes an own record writes: the company's, if that is of this object; the deal's, if the mapping has
    deals and nobody is an object of this kind; else the person's."""
    if not rule.verb.own_record or rule.verb.any_object or rule.record:  # these say themselves whose
        return rule.about
    if accounts is not None and rule.object in objects_of_companies(accounts):
        return About.ACCOUNT
    return About.DEAL if deals is not None and rule.object not in people else rule.about


def _without_company(rule: RulePart) -> RulePart:
    """What of a rule needs people where companies are found by themselves."""
    links = {name: to for name, to in rule.link.items() if to != "account"}
    about = About.SIGNAL if rule.about is About.ACCOUNT else rule.about
    return replace(rule, link=links, about=about)


def _objects(people: PeoplePart) -> set[str]:
    """What a person's record can be."""
    return {part.object for part in people.match} | ({people.create.object} if people.create else set())


def _each_once(reader: MappingReader, rules: Iterable[RulePart]) -> None:
    seen: set[str] = set()
    for rule in rules:
        if rule.id and rule.id in seen:
            message = f"another rule has the id {rule.id}"
            reader.fault((*rule.place, "id"), message, "ids are part of the records' keys")
        seen.add(rule.id)
