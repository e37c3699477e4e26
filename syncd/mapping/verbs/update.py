"""`update:` the record of the person itself, the one they were found as or were just made as; or of their company or deal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from syncd.capabilities import KeepsLists, ReadsFields
from syncd.config.yaml_positions import KeyPath
from syncd.connector import Idempotency, Link, WriteKind
from syncd.mapping.mapped_records import MappedRecord, Role, Use, field_uses, list_uses
from syncd.mapping.model import About, Draft, Targets
from syncd.mapping.parts import Groups, RuleNeed, RulePart, RuleVerb, owner_fields
from syncd.mapping.reader import MappingReader
from syncd.mapping.reasons import not_theirs

OWN = "a rule that updates writes the person's own record"


class Update(RuleVerb):
    word: ClassVar[str] = "update"
    own_record: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(("key", "about", "kind", "link", "on_create"), OWN)

    def about(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> About:
        return About.PERSON

    def check(self, reader: MappingReader, rule: RulePart) -> None:
        if not (rule.fields or rule.fill or rule.clear or rule.add or rule.remove or rule.owner):
            reader.fault(rule.place, "writes nothing: it has no fields")
        lists = {"add": rule.add, "remove": {name: tree for name, tree in rule.remove.items() if name not in rule.add}}
        reader.filled_twice(
            rule.place, "", {"fields": rule.fields, "fill": rule.fill, **lists}, also=owner_fields(rule)
        )
        for name in rule.clear:
            if name in rule.fill or name in rule.add or name in rule.remove:
                message = f"{name} is filled by this rule too"
                reader.fault((*rule.place, "clear"), message, "clear it or fill it, not both")

    def check_people(self, reader: MappingReader, rule: RulePart, objects: Collection[str] | None) -> None:
        place = (*rule.place, self.word)
        if rule.about is not About.PERSON or rule.record:
            return
        if objects is None:
            reader.fault(place, "updates people, but the mapping has no people part to find them")
        elif rule.object and rule.object not in objects:
            hint = f"people are: {', '.join(sorted(objects))}"
            reader.fault(place, f"people.match and people.create have no {rule.object}", hint)

    def record(self, rule: RulePart) -> MappedRecord:
        uses = (
            *field_uses(rule.object, rule.fields, Role.WRITE, (*rule.place, "fields")),
            *field_uses(rule.object, rule.fill, Role.WRITE, (*rule.place, "fill")),
            *list_uses(rule.object, rule.add, (*rule.place, "add")),
            *list_uses(rule.object, rule.remove, (*rule.place, "remove")),
            *field_uses(rule.object, rule.only_if, Role.LOOK_UP, (*rule.place, "only_if")),
            *(Use(rule.object, name, Role.CLEAR, (*rule.place, "clear", at)) for at, name in enumerate(rule.clear)),
        )
        return MappedRecord(rule.id, rule.object, "", "", (*rule.place, self.word), uses, own=True)

    def groups(self, rule: RulePart) -> Groups:
        return {
            "fields": rule.fields,
            "fill": rule.fill,
            "only_if": rule.only_if,
            "add": rule.add,
            "remove": rule.remove,
        }

    def abilities(self, rule: RulePart) -> Iterator[RuleNeed]:
        yield from super().abilities(rule)
        if rule.record:
            cannot = "cannot read the fields of a record, so syncd cannot tell whether a user has changed it"
            yield RuleNeed((*rule.place, "on"), ReadsFields, cannot)
        for key in ("add", "remove"):
            if getattr(rule, key):
                cannot = "does not tell the values of a field apart, so none can be added or removed"
                yield RuleNeed((*rule.place, key), KeepsLists, cannot)

    def idempotency(self) -> Idempotency:
        return Idempotency(WriteKind.UPSERT)  # by its id: as good a second time

    def unwanted(self, draft: Draft, object: str) -> str:
        return not_theirs(draft, object)

    def written_to(self, draft: Draft, targets: Targets) -> Link | None:
        person = targets.person
        others = {About.ACCOUNT: targets.account, About.DEAL: targets.deal}
        return others.get(draft.about, Link(person.object, person.id) if person else None)


UPDATE = Update()
