"""Rules that wait for an answer: `on: answered` with `update: {record: RULE}`. What they may say, and what they mean. Pure.

Such a rule changes the record that another rule made of the same signal, once one of us has answered the person, and only while
no user has changed that record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.model import About, Draft, Skipped
from syncd.mapping.parts import RulePart
from syncd.mapping.reader import MappingReader

RECORD = "record"
LONGEST_COMPARED = 255
"""A longer text is not compared: CRMs trim and reformat long ones."""


def changed_record(reader: MappingReader, parts: Mapping[str, Any], path: KeyPath, word: str) -> str:
    """The rule named by `update: {record: RULE}`, "" for a rule that names an object."""
    node = parts.get(word)
    if not isinstance(node, dict):
        return ""
    found = reader.keys(node, (*path, word), (RECORD,), (RECORD,))
    return reader.word(found, (*path, word), RECORD) if found else ""


def check_occasion(reader: MappingReader, rule: RulePart, *, answered: bool) -> None:
    """Notes where `on: answered` and `update: {record: RULE}` are not said together, and what such a rule cannot have."""
    if answered and not rule.record:
        hint = "name the rule whose record it changes: update: {record: RULE}"
        reader.fault((*rule.place, "on"), "a rule with on: answered changes the record of another rule", hint)
    if not rule.record:
        return
    if rule.verb.word != "update":
        reader.fault((*rule.place, rule.verb.word), "only an update changes the record of another rule", "use update:")
    if not answered:
        hint = "add on: answered"
        reader.fault((*rule.place, rule.verb.word), "the record of another rule is changed only by an answer", hint)
    if rule.owner is not None:
        reader.fault((*rule.place, "owner"), "a rule with on: answered does not change the owner")


def of_their_rules(reader: MappingReader, rules: Sequence[RulePart]) -> tuple[RulePart, ...]:
    """The rules, those that wait for an answer with the object of the record that they change. Notes what they cannot change."""
    known = {rule.id: rule for rule in rules}
    return tuple(_resolved(reader, rule, known) if rule.record else rule for rule in rules)


def _resolved(reader: MappingReader, rule: RulePart, known: Mapping[str, RulePart]) -> RulePart:
    other, place = known.get(rule.record), (*rule.place, rule.verb.word, RECORD)
    if other is None:
        reader.fault(place, f"there is no rule {rule.record}", "use the id of a rule that makes a record")
        return rule
    if other.verb.own_record or other.verb.notification:
        reader.fault(place, f"rule {other.id} makes no record of its own", "use the id of an upsert or create rule")
    elif other.demand:
        reader.fault(place, f"rule {other.id} waits for a user, whose records syncd does not close")
    elif other.about is not About.SIGNAL:
        message = f"the record of rule {other.id} is about a {other.about}: the next signal would find it closed"
        reader.fault(place, message, "leave out about: in that rule, so that it makes one record for each signal")
    return replace(rule, object=other.object)


def with_what_stands(made: Sequence[Draft | Skipped], others: Mapping[str, Draft | Skipped]) -> list[Draft | Skipped]:
    """The drafts, those that wait for an answer with what their record holds while no user has changed it. `others`: rule ->
    what it makes of the signal."""
    return [
        msgspec.structs.replace(one, stands=_sent_by(others.get(one.record)))
        if isinstance(one, Draft) and one.record
        else one
        for one in made
    ]


def _sent_by(draft: Draft | Skipped | None) -> dict[str, Any]:
    if not isinstance(draft, Draft):
        return {}
    sent = {**draft.on_create, **draft.fields}
    return {name: value for name, value in sent.items() if _is_comparable(value)}


def _is_comparable(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_COMPARED and "\n" not in value
    return isinstance(value, (bool, int, float, date))
