"""`notify:` the CRM's own notification about the person, to the users whom the CRM tells of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

from syncd.capabilities import Notifies
from syncd.connector import Idempotency, WriteKind
from syncd.mapping.model import Draft
from syncd.mapping.parts import Groups, RuleNeed, RulePart, RuleVerb
from syncd.mapping.reader import MappingReader

PERSON = "person"
"""The link of a notification: whom it is about."""
ONLY_SENT = "a notification is sent once, and is not a record that could be found again"


class Notify(RuleVerb):
    word: ClassVar[str] = "notify"
    live_only: ClassVar[bool] = True
    once: ClassVar[bool] = True
    notification: ClassVar[bool] = True
    implied_links: ClassVar[Mapping[str, str]] = {PERSON: "person"}
    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("key", "about", "kind", "link", "fill", "only_if", "add", "remove", "on_create", "clear", "owner"), ONLY_SENT
    )

    def check(self, reader: MappingReader, rule: RulePart) -> None:
        if not rule.fields:
            reader.fault(rule.place, "says nothing: it has no fields")

    def check_people(self, reader: MappingReader, rule: RulePart, objects: Collection[str] | None) -> None:
        if objects is None:
            message = "notifies about people, but the mapping has no people part to find them"
            reader.fault((*rule.place, self.word), message)

    def groups(self, rule: RulePart) -> Groups:
        return {"fields": rule.fields}

    def record(self, rule: RulePart) -> None:
        return None  # its fields are not those of an object

    def abilities(self, rule: RulePart) -> Iterator[RuleNeed]:
        yield RuleNeed((*rule.place, self.word), Notifies, "has no notifications of its own that syncd can send")

    def idempotency(self) -> Idempotency:
        return Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)

    def unwanted(self, draft: Draft, object: str) -> str:
        return ""


NOTIFY = Notify()
