"""Which values a CRM is searched for to find many people at once, in stages, and what its answers make of them. Pure.

A stage asks one object: its exact fields (email addresses, handles) together, or its fields with phone numbers. A CRM whose
statements are a call each asks stage after stage: a person whom an earlier exact term has found is not asked for again. One
that takes many statements in a call asks all stages at once. Both give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncd.connector import Lookup, MatchField, PersonMatch, PersonQuery
from syncd.connectors.crm.directory import PersonObjects, Row, steps


@dataclass(frozen=True)
class Stage:
    """One question about one object."""

    object: str
    fields: tuple[str, ...]
    phone: bool


class Search:
    """The state of one `resolve`: ask for the `values` of each of `stages`, in their order, and hand the rows to `learn`."""

    def __init__(self, people: Sequence[PersonQuery], objects: PersonObjects, region: str | None) -> None:
        self._people = people
        self._open = list(people)
        self._asked: set[Stage] = set()
        self._objects = objects
        self._directory = objects.directory(region)
        self.stages = _stages(people)
        self._stage_of = {(stage.object, field, stage.phone): stage for stage in self.stages for field in stage.fields}

    def columns(self, stage: Stage) -> list[str]:
        """What is read of each record: the same in every stage of an object."""
        fields = (field for one in self.stages if one.object == stage.object for field in one.fields)
        return self._objects.columns(stage.object, fields)

    def values(self, stage: Stage) -> dict[str, list[str]]:
        """Field -> what it is searched for: the values of people whom no stage that was asked has settled."""
        self._open = [person for person in self._open if not self._settled(person)]
        values: dict[str, dict[str, None]] = {field: {} for field in stage.fields}
        for lookup, term in (step for person in self._open for step in steps(person)):
            if self._of(lookup, term) == stage:
                values[term.field][term.value] = None
        return {field: list(given) for field, given in values.items() if given}

    def learn(self, stage: Stage, rows: Iterable[Row]) -> None:
        """Takes in what was answered; the stage counts as asked."""
        self._directory.add(stage.object, rows)
        self._asked.add(stage)

    def found(self) -> list[PersonMatch | None]:
        """The people, parallel to those asked for."""
        return [self._directory.find(person) for person in self._people]

    def _of(self, lookup: Lookup, term: MatchField) -> Stage:
        return self._stage_of[lookup.object, term.field, term.phone]

    def _settled(self, person: PersonQuery) -> bool:
        """Whether nothing that is not yet asked can change who this is."""
        for lookup, term in steps(person):
            if self._of(lookup, term) not in self._asked:
                return False
            if term.phone or (hit := self._directory.hit(lookup.object, term)) is None:
                continue
            lacking = self._directory.lacking(person, hit)  # another record may have those
            return all(self._of(*step) in self._asked for step in lacking if person.every or not step[1].phone)
        return True


def _stages(people: Sequence[PersonQuery]) -> list[Stage]:
    """The stages in the order of the mapping, that of the person with the most terms, and whatever others add; phones come
    last."""
    walks = sorted((list(steps(person)) for person in people), key=len, reverse=True)
    fields: dict[tuple[bool, str], dict[str, None]] = {}
    for lookup, term in (step for walk in walks for step in walk):
        fields.setdefault((term.phone, lookup.object), {})[term.field] = None
    made = [Stage(object_, tuple(names), phone) for (phone, object_), names in fields.items()]
    return sorted(made, key=lambda stage: stage.phone)
