"""`upsert:` a record under syncd's key: made by the first signal about it, brought up to date by the others."""

from __future__ import annotations

from typing import ClassVar

from syncd.mapping.parts import RulePart
from syncd.mapping.reader import MappingReader
from syncd.mapping.verbs.own_key import OwnKey


class Upsert(OwnKey):
    word: ClassVar[str] = "upsert"

    def check(self, reader: MappingReader, rule: RulePart) -> None:
        if rule.object and not rule.key:
            hint = "name the field that holds syncd's key, such as Syncd_Key__c"
            reader.fault(rule.place, f"an upsert of {rule.object} needs a key, so that it is written once", hint)
        super().check(reader, rule)


UPSERT = Upsert()
