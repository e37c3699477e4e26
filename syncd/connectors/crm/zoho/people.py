"""Who is this in Zoho CRM: which questions to ask for many people at once, and what the answers make of them. Pure.

The destination's `resolve` runs the statements in between. A field is asked only for those whom no earlier exact term has found:
with the shipped mapping phone numbers are asked only for people whose email address is in no module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncd.connector import Link, Lookup, MatchField, PersonMatch, PersonQuery
from syncd.connectors.crm.directory import Facts, PersonObjects, Row, steps
from syncd.connectors.crm.queried import check_names
from syncd.connectors.crm.zoho import coql

MODULES: Mapping[str, Facts] = {
    "Contacts": Facts("contact", "Account_Name", "Full_Name", ("Email",)),
    "Leads": Facts("lead", name="Full_Name", emails=("Email",)),
    "Accounts": Facts("contact", "id", "Account_Name", company=True),
}


@dataclass(frozen=True)
class Stage:
    """One question to one module: its exact fields (email addresses) together, or one field of phone numbers."""

    module: str
    fields: tuple[str, ...]
    phone: bool


class Search:
    """The state of one `resolve`: ask `statements(stage)` for each of `stages` in turn, and hand their rows to `learn`."""

    def __init__(self, people: Sequence[PersonQuery], region: str | None) -> None:
        self._people = people
        self._open = list(people)
        self._asked: set[Stage] = set()
        self._directory = PEOPLE.directory(region)
        self._read: dict[str, dict[str, None]] = {}
        self.stages = _stages(people)
        self._stage_of = {(stage.module, field, stage.phone): stage for stage in self.stages for field in stage.fields}
        for stage in self.stages:
            check_names((stage.module, *stage.fields), code="people.match", section="people.match")
            self._read.setdefault(stage.module, {}).update(dict.fromkeys(stage.fields))

    def statements(self, stage: Stage) -> list[str]:
        """What to ask: of people who are still unknown, the values of these fields."""
        self._open = [person for person in self._open if not self._settled(person)]
        values: dict[str, list[str]] = {field: [] for field in stage.fields}
        for lookup, term in (step for person in self._open for step in steps(person)):
            if self._of(lookup, term) == stage:
                values[term.field].append(term.value)
        head = coql.select(PEOPLE.columns(stage.module, self._read[stage.module]), stage.module)
        if stage.phone:
            return [text for field, numbers in values.items() for text in coql.phones(head, field, numbers)]
        return list(coql.selects_any(head, values))

    def learn(self, stage: Stage, rows: Iterable[Row]) -> None:
        """Takes in what was answered; the stage counts as asked."""
        self._directory.add(stage.module, rows)
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
    last. The exact fields of one module are asked for together: one call instead of one for each field."""
    walks = sorted((list(steps(person)) for person in people), key=len, reverse=True)
    exact: dict[str, dict[str, None]] = {}
    phones: dict[Stage, None] = {}
    for lookup, term in (step for walk in walks for step in walk):
        if term.phone:
            phones[Stage(lookup.object, (term.field,), phone=True)] = None
        else:
            exact.setdefault(lookup.object, {})[term.field] = None
    return [*(Stage(module, tuple(fields), phone=False) for module, fields in exact.items()), *phones]


def _person(module: str, row: Row) -> PersonMatch | None:
    """The person a row is. COQL shows neither deleted records nor converted leads; a row that says it is one is nobody."""
    if row.get("$converted") is True or row.get("Converted__s") is True:
        return None
    facts = MODULES.get(module, Facts())
    company = linked_id(row, facts.account) if facts.account else ""
    account = Link("Accounts", company) if company else None
    name = str(row.get(facts.name) or "") if facts.name else ""
    return PersonMatch(object=module, id=str(row["id"]), role=facts.role, account=account, name=name)


def linked_id(row: Row, name: str) -> str:
    """The id in a look-up column, whichever way it is shown: `{id, name}`, `Name.id`, or the bare id."""
    value = row.get(name, row.get(f"{name}.id"))
    if isinstance(value, Mapping):
        value = value.get("id")
    return str(value) if value else ""


PEOPLE = PersonObjects("id", _person, MODULES, folds_case=False)
