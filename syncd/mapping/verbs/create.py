"""`create:` a record once: what it fills is sent while the record is new, and never again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from syncd.config.yaml_positions import KeyPath
from syncd.mapping.mapped_records import Role
from syncd.mapping.parts import Groups, RulePart
from syncd.mapping.verbs.own_key import OwnKey


class Create(OwnKey):
    word: ClassVar[str] = "create"
    once: ClassVar[bool] = True
    sends: ClassVar[Role] = Role.FIRST

    def groups(self, rule: RulePart) -> Groups:
        return {"on_create": {**rule.fields, **rule.on_create}}

    def warnings(self, rule: RulePart) -> Iterator[tuple[KeyPath, str, str]]:
        if not rule.key:
            message = f"has no key: its {rule.object} cannot be found again, so an attempt in doubt is never repeated"
            yield rule.place, message, "name the field that holds syncd's key"


CREATE = Create()
