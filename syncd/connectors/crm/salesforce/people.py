"""Who is this in Salesforce: the queries that ask for many people at once, and the join of their rows. Pure.

The destination's `resolve` runs the queries in between. Rows are joined on lower-cased text and on E.164 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from syncd.connector import Link, Lookup, PersonMatch, PersonQuery
from syncd.connectors.crm import directory
from syncd.connectors.crm.directory import Facts, Row
from syncd.connectors.crm.salesforce import soql
from syncd.errors import Misconfigured

OBJECTS: dict[str, Facts] = {
    "Contact": Facts("contact", "AccountId", "Name", ("Email",)),
    "Lead": Facts(
        "lead", name="Name", emails=("Email",), extra=("IsConverted", "ConvertedContactId", "ConvertedAccountId")
    ),
    "Account": Facts("contact", "Id", "Name", company=True),
}
OTHER = Facts("contact")
"""An object of the org's own that is looked up as a person."""


def facts_of(object_: str) -> Facts:
    """What is known of an object of the org."""
    return OBJECTS.get(object_, OTHER)


@dataclass
class Asked:
    """The statements to run for some people, and which object each is about (parallel)."""

    statements: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)


def ask(people: Sequence[PersonQuery], *, get: bool = False) -> Asked:
    """Statements that find all these people: per object one for each text field and one for phones, in the order in which
    the look-ups name the objects; more only where a statement would be too long. `get`: each must fit into a URI."""
    texts: dict[str, dict[str, dict[str, None]]] = {}
    phones: dict[str, dict[str, dict[str, None]]] = {}
    fields: dict[str, dict[str, None]] = {}
    for lookup in _lookups(people):
        _checked(lookup)
        for term in lookup.terms:
            fields.setdefault(lookup.object, {})[term.field] = None
            kind = phones if term.phone else texts
            kind.setdefault(lookup.object, {}).setdefault(term.field, {})[term.value] = None
    asked = Asked()
    for object_ in fields:
        head = _head(object_, fields[object_])
        for name, values in texts.get(object_, {}).items():
            _add(asked, object_, soql.selects(head, name, values, get=get))
        for names, numbers in _by_values(phones.get(object_, {})):
            patterns = [p for p in map(soql.phone_pattern, numbers) if p]
            _add(asked, object_, soql.likes(head, names, patterns, get=get))
    return asked


def _lookups(people: Iterable[PersonQuery]) -> Iterator[Lookup]:
    return (lookup for person in people for lookup in person.lookups)


def _checked(lookup: Lookup) -> None:
    for name in (lookup.object, *(term.field for term in lookup.terms)):
        if not soql.is_name(name):
            raise Misconfigured(f"people.match: {name!r} is not the name of an object or field", code="people.match")


def _by_values(fields: Mapping[str, Mapping[str, None]]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Phone fields that are asked for the same numbers share a statement."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for name, values in fields.items():
        grouped.setdefault(tuple(values), []).append(name)
    return [(tuple(names), values) for values, names in grouped.items()]


def _head(object_: str, fields: Iterable[str]) -> str:
    columns: dict[str, str] = {}
    for name in ("Id", *facts_of(object_).columns, *fields):
        columns.setdefault(name.lower(), name)
    return soql.select(columns.values(), object_)


def ask_named(people: Sequence[PersonQuery], among: Sequence[Sequence[Link]], *, get: bool = False) -> Asked:
    """Statements that read the records which the org itself named as these people (parallel to them), with the fields that
    the people are looked up by."""
    ids: dict[str, dict[str, None]] = {}
    for links in among:
        for link in links:
            ids.setdefault(link.object, {})[link.id] = None
    fields: dict[str, dict[str, None]] = {}
    for lookup in _lookups(people):
        _checked(lookup)
        fields.setdefault(lookup.object, {}).update(dict.fromkeys(term.field for term in lookup.terms))
    asked = Asked()
    for object_, wanted in ids.items():
        _checked(Lookup(object_, ()))
        _add(asked, object_, soql.selects(_head(object_, fields.get(object_, ())), "Id", wanted, get=get))
    return asked


def _add(asked: Asked, object_: str, statements: Iterator[str]) -> None:
    for statement in statements:
        asked.statements.append(statement)
        asked.objects.append(object_)


class SalesforceDirectory(directory.Directory):
    """The rows that came back (parallel to `objects`), findable by term."""

    def __init__(self, objects: Sequence[str], answers: Sequence[Sequence[Row]], region: str | None) -> None:
        super().__init__(_found, region, id_field="Id", facts=facts_of)
        for object_, rows in zip(objects, answers, strict=True):
            self.add(object_, rows)


def _found(object_: str, row: Row) -> PersonMatch | None:
    """The person a row is; a converted lead is the contact it became. None: converted into nobody (contact deleted)."""
    facts = facts_of(object_)
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
