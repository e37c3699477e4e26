"""Who is this in Salesforce: the queries that ask for many people at once, and the join of their rows. Pure.

The destination's `resolve` runs the queries in between. Rows are joined on lower-cased text and on E.164 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from syncd.connector import PersonMatch, PersonQuery
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
        account = str(row.get("ConvertedAccountId") or "")
        return PersonMatch(
            object="Contact", id=str(row["ConvertedContactId"]), role="contact", account=account, name=name
        )
    account = str(row.get(facts.account) or "") if facts.account else ""
    return PersonMatch(object=object_, id=str(row["Id"]), role=facts.role, account=account, name=name)


PEOPLE = PersonObjects("Id", _person, OBJECTS, folds_case=True)

CONTACT_DEALS = soql.select(("ContactId",), "OpportunityContactRole")
ACCOUNT_DEALS = soql.select(("AccountId",), "Opportunity")


def ask_deals(found: Sequence[PersonMatch | None], *, get: bool = False) -> list[str]:
    """Statements for the open opportunities of these people and of the companies they belong to."""
    contacts = [f.id for f in found if f is not None and f.object == "Contact"]
    accounts = [f.account for f in found if f is not None and f.account]
    return [
        *soql.selects(CONTACT_DEALS, "ContactId", contacts, " AND Opportunity.IsClosed = false", get=get),
        *soql.selects(ACCOUNT_DEALS, "AccountId", accounts, " AND IsClosed = false", get=get),
    ]


def open_deals(answers: Iterable[Sequence[Row]]) -> frozenset[str]:
    """Ids (15 characters) of the contacts and accounts that have one."""
    return frozenset(
        str(row.get("ContactId") or row.get("AccountId") or "")[:15] for rows in answers for row in rows
    ) - {""}
