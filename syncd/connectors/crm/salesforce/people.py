"""Who is this in Salesforce: the queries that ask for many people at once, and the join of their rows. Pure.

The destination's `resolve` runs the queries in between. Rows are joined on lower-cased text and on E.164 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from syncd.connector import Link, PersonMatch, PersonQuery
from syncd.connectors.crm.directory import Facts, PersonObjects, Row
from syncd.connectors.crm.queried import check_names
from syncd.connectors.crm.salesforce import soql

OBJECTS: dict[str, Facts] = {
    "Contact": Facts("contact", "AccountId", "Name", ("Email",)),
    "Lead": Facts(
        "lead", name="Name", emails=("Email",), extra=("IsConverted", "ConvertedContactId", "ConvertedAccountId")
    ),
    "Account": Facts("contact", "Id", "Name", company=True),
}


@dataclass
class Asked:
    """The statements to run for some people, and which object each is about (parallel)."""

    statements: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)

    def add(self, object: str, statements: Iterable[str]) -> None:
        for statement in statements:
            self.statements.append(statement)
            self.objects.append(object)


def ask(people: Sequence[PersonQuery], *, get: bool = False) -> Asked:
    """Statements that find all these people: per object one for each text field and one for phones, in the order in which
    the look-ups name the objects; more only where a statement would be too long. `get`: each must fit into a URI."""
    texts: dict[str, dict[str, dict[str, None]]] = {}
    phones: dict[str, dict[str, dict[str, None]]] = {}
    fields: dict[str, dict[str, None]] = {}
    for lookup in (lookup for person in people for lookup in person.lookups):
        names = (lookup.object, *(term.field for term in lookup.terms))
        check_names(names, code="people.match", section="people.match")
        for term in lookup.terms:
            fields.setdefault(lookup.object, {})[term.field] = None
            kind = phones if term.phone else texts
            kind.setdefault(lookup.object, {}).setdefault(term.field, {})[term.value] = None
    asked = Asked()
    for object_, read in fields.items():
        head = soql.select(PEOPLE.columns(object_, read), object_)
        for name, values in texts.get(object_, {}).items():
            asked.add(object_, soql.selects(head, name, values, get=get))
        shared: dict[
            tuple[str, ...], list[str]
        ] = {}  # phone fields that are asked for the same numbers share a statement
        for name, values in phones.get(object_, {}).items():
            shared.setdefault(tuple(values), []).append(name)
        for numbers, names_ in shared.items():
            patterns = [p for p in map(soql.phone_pattern, numbers) if p]
            asked.add(object_, soql.likes(head, names_, patterns, get=get))
    return asked


def _person(object_: str, row: Row) -> PersonMatch | None:
    """The person a row is; a converted lead is the contact it became. None: converted into nobody (contact deleted)."""
    facts = OBJECTS.get(object_, Facts())
    name = str(row.get(facts.name) or "") if facts.name else ""
    if row.get("IsConverted"):
        if not row.get("ConvertedContactId"):
            return None
        account = _account(row.get("ConvertedAccountId"))
        return PersonMatch(
            object="Contact", id=str(row["ConvertedContactId"]), role="contact", account=account, name=name
        )
    account = _account(row.get(facts.account)) if facts.account else None
    return PersonMatch(object=object_, id=str(row["Id"]), role=facts.role, account=account, name=name)


def _account(id_: object) -> Link | None:
    return Link("Account", str(id_)) if id_ else None


PEOPLE = PersonObjects("Id", _person, OBJECTS, folds_case=True)
