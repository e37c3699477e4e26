"""What the kinds of rule share that write records of their own, under syncd's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from syncd.mapping.mapped_records import MappedRecord, Role, Use, field_uses, key_use
from syncd.mapping.model import Draft
from syncd.mapping.parts import RulePart, RuleVerb, owner_fields
from syncd.mapping.reader import MappingReader
from syncd.mapping.reasons import not_taken

READS_NOTHING = "only a rule that updates reads its record first"


class OwnKey(RuleVerb):
    """A rule whose records are its own: it makes them, and knows them by their key."""

    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(("fill", "only_if", "add", "remove"), READS_NOTHING)
    sends: ClassVar[Role] = Role.WRITE
    """When its `fields:` are sent."""

    def check(self, reader: MappingReader, rule: RulePart) -> None:
        if not (rule.fields or rule.on_create or rule.link or rule.clear):
            reader.fault(rule.place, "writes nothing: it has no fields")
        filled = {"fields": rule.fields, "on_create": rule.on_create, "link": rule.link}
        reader.filled_twice(rule.place, rule.key, filled, also=owner_fields(rule))
        for name in rule.clear:
            if name in rule.on_create or name in rule.link or name == rule.key:
                message = f"{name} is filled by this rule too"
                reader.fault((*rule.place, "clear"), message, "clear it or fill it, not both")

    def record(self, rule: RulePart) -> MappedRecord:
        uses = (
            *key_use(rule.object, rule.key, rule.place),
            *field_uses(rule.object, rule.fields, self.sends, (*rule.place, "fields")),
            *field_uses(rule.object, rule.on_create, Role.FIRST, (*rule.place, "on_create")),
            *self._links(rule),
            *(Use(rule.object, name, Role.CLEAR, (*rule.place, "clear", at)) for at, name in enumerate(rule.clear)),
        )
        return MappedRecord(rule.id, rule.object, rule.key, rule.kind, (*rule.place, self.word), uses)

    def _links(self, rule: RulePart) -> Iterator[Use]:
        for name, target in rule.link.items():
            takes = rule.takes[name].objects if name in rule.takes else ()
            yield Use(rule.object, name, Role.LINK, (*rule.place, "link", name), target=target, takes=takes)

    def unwanted(self, draft: Draft, object: str) -> str:
        return not_taken(draft, object)
