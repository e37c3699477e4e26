"""`assign:` an owner to a record that the CRM has: the person's own, or that of their company or deal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from syncd.capabilities import Assigns
from syncd.config.yaml_positions import KeyPath
from syncd.connector import Idempotency, Link, WriteKind
from syncd.mapping.mapped_records import MappedRecord
from syncd.mapping.model import About, Draft, Targets
from syncd.mapping.parts import LINK_TARGETS, Groups, RuleNeed, RulePart, RuleVerb
from syncd.mapping.reader import MappingReader

ONLY_OWNER = "a rule that assigns changes the owner alone"


class Assign(RuleVerb):
    word: ClassVar[str] = "assign"
    own_record: ClassVar[bool] = True
    live_only: ClassVar[bool] = True
    any_object: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("key", "about", "kind", "link", "fields", "fill", "only_if", "add", "remove", "on_create", "clear"), ONLY_OWNER
    )

    def about(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> About:
        return About(reader.choice(parts, path, self.word, LINK_TARGETS, About.PERSON))

    def check(self, reader: MappingReader, rule: RulePart) -> None:
        if rule.owner is None:
            reader.fault(rule.place, "assigns nobody: it has no owner", "add owner: USER or owner: {turn: [...]}")

    def check_people(self, reader: MappingReader, rule: RulePart, objects: Collection[str] | None) -> None:
        if objects is None:
            message = "assigns people, but the mapping has no people part to find them"
            reader.fault((*rule.place, self.word), message)

    def groups(self, rule: RulePart) -> Groups:
        return {}

    def record(self, rule: RulePart) -> MappedRecord | None:
        return None  # which object it is depends on the person

    def abilities(self, rule: RulePart) -> Iterator[RuleNeed]:
        yield RuleNeed((*rule.place, self.word), Assigns, "has no owners that syncd can assign")

    def idempotency(self) -> Idempotency:
        return Idempotency(WriteKind.UPSERT)  # by its id: as good a second time

    def unwanted(self, draft: Draft, object: str) -> str:
        return ""

    def written_to(self, draft: Draft, targets: Targets) -> Link | None:
        person = targets.person
        to_them = Link(person.object, person.id) if person else None
        return {About.ACCOUNT: targets.account, About.DEAL: targets.deal}.get(draft.about, to_them)


ASSIGN = Assign()
