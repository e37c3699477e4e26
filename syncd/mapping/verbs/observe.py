"""`observe:` who observes (follows) a record that the CRM has: the person's own, or that of their company or deal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from syncd.capabilities import Observes
from syncd.config.yaml_positions import KeyPath
from syncd.connector import Idempotency, Link, Observation, WriteKind
from syncd.mapping.compiler import Tree
from syncd.mapping.expressions import Expression, is_template
from syncd.mapping.mapped_records import MappedRecord
from syncd.mapping.model import About, Draft, Targets
from syncd.mapping.parts import LINK_TARGETS, Group, Groups, ObservationPart, RuleNeed, RulePart, RuleVerb
from syncd.mapping.reader import MappingReader
from syncd.mapping.reasons import NOTHING_TO_SAY
from syncd.mapping.values import to_text

OF, ADD, REMOVE = "of", "add", "remove"
KEYS = (OF, ADD, REMOVE, "field", "chat")
ONLY_OBSERVERS = "a rule that observes changes the observers alone"
USERS = "must be a list of ids of users, or of expressions that name some"


class Observe(RuleVerb):
    word: ClassVar[str] = "observe"
    own_record: ClassVar[bool] = True
    live_only: ClassVar[bool] = True
    once: ClassVar[bool] = True
    any_object: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("key", "about", "kind", "link", "fields", "fill", "only_if", "on_create", "clear", "owner", "ask"),
        ONLY_OBSERVERS,
    ) | dict.fromkeys((ADD, REMOVE), "observers stand within observe:")

    def about(self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath) -> About:
        node = parts.get(self.word)
        told = node if isinstance(node, dict) else {}
        return About(reader.choice(told, (*path, self.word), OF, LINK_TARGETS, About.PERSON))

    def observation_part(
        self, reader: MappingReader, parts: Mapping[str, Any], path: KeyPath
    ) -> ObservationPart | None:
        place = (*path, self.word)
        told = reader.keys(parts.get(self.word), place, KEYS)
        if isinstance(parts.get(self.word), dict) and not (ADD in told or REMOVE in told):
            reader.fault(place, "adds nobody and removes nobody", "write add: [USER], remove: [USER], or both")
        add, remove = (_users(reader, told.get(key), (*place, key)) for key in (ADD, REMOVE))
        for index, one in enumerate(remove):
            if not isinstance(one, Expression) and str(one) in {str(each) for each in add}:
                reader.fault((*place, REMOVE, index), f"{one} is added by this rule too", "add them or remove them")
        chat = reader.switch(told, place, "chat")
        if chat and not add and REMOVE in told:
            reader.fault((*place, "chat"), "nobody is added who could join the chat", "leave it out")
        return ObservationPart(add, remove, reader.word(told, place, "field"), chat)

    def check(self, reader: MappingReader, rule: RulePart) -> None:
        return None  # all there is to check was read

    def check_people(self, reader: MappingReader, rule: RulePart, objects: Collection[str] | None) -> None:
        if objects is None:
            message = "observes people's records, but the mapping has no people part to find them"
            reader.fault((*rule.place, self.word), message)

    def groups(self, rule: RulePart) -> Groups:
        part = rule.observation
        return {"observers": {ADD: list(part.add), REMOVE: list(part.remove)} if part else {}}

    def observation(self, rule: RulePart, made: Mapping[Group, dict[str, Any]]) -> Observation | None:
        part, named = rule.observation, made["observers"]
        if part is None:
            return None
        add, remove = _ids(named.get(ADD)), _ids(named.get(REMOVE))
        return Observation(
            add=add,
            remove=tuple(one for one in remove if one not in add),
            field=part.field,
            chat=part.chat,
        )

    def record(self, rule: RulePart) -> MappedRecord | None:
        return None  # which object it is depends on the person

    def abilities(self, rule: RulePart) -> Iterator[RuleNeed]:
        yield RuleNeed((*rule.place, self.word), Observes, "has no observers that syncd can set")

    def idempotency(self) -> Idempotency:
        return Idempotency(WriteKind.UPSERT)  # who observes already is not added again

    def unwanted(self, draft: Draft, object: str) -> str:
        named = draft.observation
        return "" if named is not None and (named.add or named.remove) else NOTHING_TO_SAY

    def written_to(self, draft: Draft, targets: Targets) -> Link | None:
        person = targets.person
        to_them = Link(person.object, person.id) if person else None
        return {About.ACCOUNT: targets.account, About.DEAL: targets.deal}.get(draft.about, to_them)


def _users(reader: MappingReader, node: Any, path: KeyPath) -> tuple[Tree, ...]:
    """Ids of users, or expressions."""
    if node is None:
        return ()
    if not isinstance(node, list) or not node:
        reader.fault(path, USERS)
        return ()
    found: list[Tree] = []
    for index, one in enumerate(node):
        if not isinstance(one, (str, int)) or isinstance(one, bool) or not str(one).strip():
            reader.fault((*path, index), "must be the id of a user, in quotes, or an expression")
        elif is_template(str(one)):
            found.append(reader.tree(one, (*path, index)))
        else:
            found.append(str(one).strip())
    return tuple(one for one in found if one is not None)


def _ids(value: Any) -> tuple[str, ...]:
    """What the expressions of a list named: one or several each, or none."""
    flat: list[str] = []
    for one in value if isinstance(value, Iterable) and not isinstance(value, str) else ():
        several = one if isinstance(one, (list, tuple)) else [one]
        flat += [text for each in several if (text := to_text(each).strip())]
    return tuple(dict.fromkeys(flat))


OBSERVE = Observe()
