"""`convert:` the lead that the person is: it becomes a contact, with a company and, if the rule says so, a deal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from syncd.capabilities import Converts
from syncd.config.yaml_positions import KeyPath
from syncd.connector import Conversion, Idempotency, Link, WriteKind
from syncd.mapping.compiler import Tree
from syncd.mapping.mapped_records import MappedRecord
from syncd.mapping.model import About, Draft, Targets
from syncd.mapping.parts import ConversionPart, Group, Groups, RuleNeed, RulePart, RuleVerb
from syncd.mapping.reader import MappingReader
from syncd.mapping.values import to_text
from syncd.texts.reasons import Reason

ACCOUNT, CONTACT, DEAL = "account", "contact", "deal"
MADE = (CONTACT, ACCOUNT, DEAL)
"""What a lead becomes: a link may point at each of them, as RULE.contact."""
MATCH = "match"
KEYS = ("when", ACCOUNT, CONTACT, DEAL, "status")
DEAL_KEYS = ("name", "stage", "close_date", "amount", "pipeline", "role", "fields")
LEAD = "lead"
"""The role of a person whose record can be converted."""
ONLY_CONVERTED = "a rule that converts writes the lead, and what it becomes, alone"


class Convert(RuleVerb):
    word: ClassVar[str] = "convert"
    own_record: ClassVar[bool] = True
    live_only: ClassVar[bool] = True
    once: ClassVar[bool] = True
    any_object: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("key", "about", "kind", "link", "fields", "fill", "only_if", "add", "remove", "on_create", "clear", "ask"),
        ONLY_CONVERTED,
    )

    def about(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> About:
        return About.PERSON

    def conversion_part(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> ConversionPart | None:
        place = (*path, self.word)
        told = reader.keys(parts.get(self.word), place, KEYS)
        if "when" in told and "when" in parts:
            reader.fault((*place, "when"), "the rule has a condition already", "write one: when: A and B")
        records: dict[str, Tree] = {}
        for name in (ACCOUNT, CONTACT):
            if told.get(name, MATCH) != MATCH:
                records[name] = _value(reader, told[name], (*place, name), f"{MATCH}, or the id of a record")
        if "status" in told:
            records["status"] = _value(reader, told["status"], (*place, "status"), "a status of converted leads")
        deal, fields = self._deal(reader, told.get(DEAL, False), (*place, DEAL))
        return ConversionPart(records, deal, fields, company=ACCOUNT not in records)

    def _deal(self, reader: MappingReader, node: Any, path: KeyPath) -> tuple[dict[str, Tree] | None, dict[str, Tree]]:
        if node is False:
            return None, {}
        parts = reader.keys(node, path, DEAL_KEYS, ("name",))
        values = {
            name: _value(reader, parts[name], (*path, name), "a value") for name in DEAL_KEYS[:-1] if name in parts
        }
        return values, reader.fields(parts.get("fields"), (*path, "fields"))

    def check(self, reader: MappingReader, rule: RulePart) -> None:
        return None  # all there is to check was read

    def check_people(self, reader: MappingReader, rule: RulePart, objects: Collection[str] | None) -> None:
        if objects is None:
            message = "converts people's leads, but the mapping has no people part to find them"
            reader.fault((*rule.place, self.word), message)

    def groups(self, rule: RulePart) -> Groups:
        part = rule.conversion
        return {"records": part.records, "deal": part.deal or {}, "deal_fields": part.fields} if part else {}

    def conversion(self, rule: RulePart, made: Mapping[Group, dict[str, Any]]) -> Conversion | None:
        part = rule.conversion
        if part is None:
            return None
        records = made["records"]
        return Conversion(
            account=to_text(records.get(ACCOUNT, "")),
            contact=to_text(records.get(CONTACT, "")),
            status=to_text(records.get("status", "")),
            deal=None if part.deal is None else made["deal"],
            deal_fields=made["deal_fields"],
        )

    def record(self, rule: RulePart) -> MappedRecord | None:
        return None  # which object it is depends on the person

    def abilities(self, rule: RulePart) -> Iterator[RuleNeed]:
        yield from super().abilities(rule)
        yield RuleNeed((*rule.place, self.word), Converts, "has no leads that syncd can convert")

    def idempotency(self) -> Idempotency:
        """Findable: after a lost answer it waits until the vendor has surely ended, and then the lead is read before it is sent
        again. (That a CRM refuses a second conversion does not say that two at the same moment make one contact.)"""
        return Idempotency(WriteKind.FINDABLE, enforced=False)

    def unwanted(self, draft: Draft, object: str) -> str:
        return ""

    def written_to(self, draft: Draft, targets: Targets) -> Link | str | None:
        person = targets.person
        if person is None:
            return None
        if person.role != LEAD:
            return Reason("another_object", object=person.object, wanted=LEAD)
        return Link(person.object, person.id)


def _value(reader: MappingReader, node: Any, path: KeyPath, what: str) -> Tree:
    """One value, or an expression."""
    if isinstance(node, (dict, list, bool)):
        reader.fault(path, f"must be {what}")
        return None
    return reader.tree(node, path)


CONVERT = Convert()
