"""The people that queries of a CRM brought back, findable by term. Pure; used by the CRMs that are asked in a query language.

Text is compared without case, phones as E.164 however they are written. An exact term (an email address) counts in every object
before a phone number does in any. Of several records that match exactly the one created first counts, and the others are named
in the log; what several records with one number mean is decided by `syncd.matching`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from syncd import matching
from syncd.connector import Link, Lookup, MatchField, PersonMatch, PersonQuery
from syncd.matching import Candidate, folded

log = logging.getLogger(__name__)
_BESIDE = re.compile(r"[/;,|\n]")
"""What stands between two numbers in one field."""
Row = Mapping[str, Any]
Reading = Callable[[str, Row], PersonMatch | None]
"""(object, row) -> the person a row is; None when it is nobody (any more)."""


@dataclass(frozen=True)
class Facts:
    """What an object knows of a person. `account`: its field with the company's id ("" none; `company`: it is the company).
    `name`: its field with the whole name ("" none). `emails`: its standard fields with an address; `extra`: more columns.
    `converted`: columns that are true of a record that was converted; `became`: those with the ids of its contact and company.
    Of a company, `parent`: its field with the company it belongs to; `classes`: the fields that classify it."""

    role: str = "contact"
    account: str = ""
    name: str = ""
    emails: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    company: bool = False
    converted: tuple[str, ...] = ()
    became: tuple[str, str] = ("", "")
    parent: str = ""
    classes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What must be read of each record, beside its id and the fields it is looked up by."""
        return tuple(name for name in (self.account, *self.extra, self.name, *self.emails) if name)


@dataclass(frozen=True)
class PersonObjects:
    """A CRM's records of people and companies. `id_field`: the column of a record's id; `facts`: what is known of the standard
    objects, of which `contact` and `account` are the ones that a converted record becomes; `folds_case`: names are the same
    whatever their case."""

    id_field: str
    facts: Mapping[str, Facts]
    contact: str
    account: str
    folds_case: bool

    def known(self, object: str) -> Facts:
        """Of an object of the account's own that is looked up as a person: nothing."""
        return self.facts.get(object, Facts())

    def columns(self, object: str, fields: Iterable[str]) -> list[str]:
        """What is read of a record: the id, what is known of the object, and these fields, each once."""
        columns: dict[str, str] = {}
        for name in (self.id_field, *self.known(object).columns, *fields):
            columns.setdefault(name.lower() if self.folds_case else name, name)
        return list(columns.values())

    def read(self, object: str, row: Row) -> PersonMatch | None:
        """The person a row is. A converted record is the contact it became; None if it became none, or the CRM does not say."""
        facts = self.known(object)
        name = str(row.get(facts.name) or "") if facts.name else ""
        id_, company = str(row[self.id_field]), linked_id(row, facts.account)
        if any(row.get(flag) is True for flag in facts.converted):
            id_, company = (linked_id(row, name) for name in facts.became)
            object, facts = self.contact, self.known(self.contact)
        account = Link(self.account, company) if company else None
        return PersonMatch(object=object, id=id_, role=facts.role, account=account, name=name) if id_ else None

    def directory(self, region: str | None) -> Directory:
        """An empty directory."""
        return Directory(self.read, region, id_field=self.id_field, facts=self.known)


class Directory:
    """`region` helps to read numbers written without a country; `id_field` is the column of a row's id; `facts`: what is known
    of an object."""

    def __init__(
        self,
        read: Reading,
        region: str | None,
        *,
        id_field: str,
        facts: Callable[[str], Facts] = lambda _: Facts(),
    ) -> None:
        self._read = read
        self._facts = facts
        self._region = region
        self._id_field = id_field
        self._rows: dict[str, dict[str, Row]] = {}
        self._index: dict[tuple[str, str, bool], dict[str, list[str]]] = {}
        self._named: set[tuple[str, ...]] = set()

    def add(self, object: str, rows: Iterable[Row]) -> None:
        """Takes rows in; a row that is there already is replaced."""
        held = self._rows.setdefault(object, {})
        held.update((str(row[self._id_field]), row) for row in rows if row.get(self._id_field))
        for place in [place for place in self._index if place[0] == object]:
            del self._index[place]

    def hit(self, object: str, term: MatchField) -> PersonMatch | None:
        """The record of this object that the term names."""
        ids = sorted(self._matching(object, term), key=age)
        found = [f for id_ in ids if (f := self._read(object, self._rows[object][id_]))]
        if len(found) > 1 and (object, term.field, *ids) not in self._named:
            self._named.add((object, term.field, *ids))
            rest = ", ".join(ids[1:])
            log.warning("several %s records match %s: using %s, ignoring %s", object, term.field, ids[0], rest)
        return found[0] if found else None

    def find(self, wanted: PersonQuery) -> PersonMatch | None:
        """The first exact term that hits, in whatever object; else whoever the phone numbers leave."""
        exact = (self.hit(lookup.object, term) for lookup, term in steps(wanted) if not term.phone)
        found = next((one for one in exact if one), None)
        if found is None:
            return matching.by_number(wanted, self._candidates(wanted, (one for one in steps(wanted) if one[1].phone)))
        row = self._rows.get(found.object, {}).get(found.id, {})  # a converted lead's contact was not read
        others = _addresses(row, self._email_fields(wanted).get(found.object, ()))
        others -= {folded(term.value) for _, term in steps(wanted)}
        found = msgspec.structs.replace(found, emails=tuple(sorted(others)))
        return matching.with_rivals(wanted, found, self._candidates(wanted, self.lacking(wanted, found)))

    def lacking(self, wanted: PersonQuery, found: PersonMatch) -> list[tuple[Lookup, MatchField]]:
        """The terms, of every object, of those identities of a person that the record found does not have, where that is known:
        it was looked up by them."""
        terms = [(lookup, term) for lookup, term in steps(wanted) if _identifies(term)]
        asked = {(term.value, term.phone) for lookup, term in terms if lookup.object == found.object}
        had = {
            (term.value, term.phone)
            for lookup, term in terms
            if lookup.object == found.object and found.id in self._matching(lookup.object, term)
        }
        return [step for step in terms if (step[1].value, step[1].phone) in asked - had]

    def named(self, wanted: PersonQuery, among: Sequence[Link]) -> PersonMatch | None:
        """The record that agrees with the person, of those that the CRM itself named as a duplicate of them."""
        others = dict.fromkeys(
            link.object for link in among if link.object not in {one.object for one in wanted.lookups}
        )
        wanted = msgspec.structs.replace(wanted, lookups=(*wanted.lookups, *(Lookup(name, ()) for name in others)))
        emails = self._email_fields(wanted)
        agreeing = []
        for lookup in wanted.lookups:
            for id_, row in sorted(self._rows.get(lookup.object, {}).items(), key=lambda pair: age(pair[0])):
                found = self._read(lookup.object, row)
                number, handle = (
                    any(id_ in self._matching(lookup.object, term) for term in lookup.terms if getattr(term, kind))
                    for kind in ("phone", "handle")
                )
                addresses = _addresses(row, emails[lookup.object])
                if found and matching.agrees(wanted, addresses, found.name, number=number, handle=handle):
                    agreeing.append((matching.email_of(wanted) not in addresses, found))
        agreeing.sort(key=lambda pair: pair[0])  # an email address before number and name
        return agreeing[0][1] if agreeing else None

    def _candidates(self, wanted: PersonQuery, terms: Iterable[tuple[Lookup, MatchField]]) -> list[Candidate]:
        """Every record that one of these terms names, each once, in their order."""
        emails = self._email_fields(wanted)
        found: dict[tuple[str, str], Candidate] = {}
        for lookup, term in terms:
            for id_ in sorted(self._matching(lookup.object, term), key=age):
                row = self._rows[lookup.object][id_]
                one = self._read(lookup.object, row)
                if one is not None and (one.object, one.id) not in found:
                    company = self._facts(lookup.object).company
                    addresses = _addresses(row, emails[lookup.object])
                    found[one.object, one.id] = Candidate(one, addresses, company, term.handle)
        return list(found.values())

    def _email_fields(self, wanted: PersonQuery) -> dict[str, tuple[str, ...]]:
        """Object -> its fields with an email address: the standard ones, and those that are looked up by one."""
        fields: dict[str, tuple[str, ...]] = {}
        for lookup in wanted.lookups:
            named = [term.field for term in lookup.terms if not term.phone and "@" in term.value]
            fields[lookup.object] = (*fields.get(lookup.object, self._facts(lookup.object).emails), *named)
        return fields

    def _matching(self, object: str, term: MatchField) -> list[str]:
        place = (object, term.field, term.phone)
        if place not in self._index:
            self._index[place] = self._indexed(place)
        return self._index[place].get(term.value if term.phone else folded(term.value), [])

    def _indexed(self, place: tuple[str, str, bool]) -> dict[str, list[str]]:
        object_, field, phone = place
        index: dict[str, list[str]] = {}
        for id_, row in self._rows.get(object_, {}).items():
            texts = texts_of(column(row, field))
            keys = (key for text in texts for key in (numbers(text, self._region) if phone else (folded(text),)))
            for key in dict.fromkeys(keys):
                index.setdefault(key, []).append(id_)
        return index


def everybody(found: Iterable[PersonMatch | None]) -> list[PersonMatch]:
    """Every record in an answer, rivals included."""
    return [one for each in found if each for one in (each, *each.rivals)]


def with_deals(
    found: Iterable[PersonMatch | None], deal_of: Callable[[PersonMatch], Link | None]
) -> list[PersonMatch | None]:
    """The answer with `open_deal` and `deal` filled in."""

    def completed(one: PersonMatch) -> PersonMatch:
        deal, rivals = deal_of(one), tuple(map(completed, one.rivals))
        return msgspec.structs.replace(one, open_deal=deal is not None, deal=deal, rivals=rivals)

    return [one and completed(one) for one in found]


def steps(wanted: PersonQuery) -> Iterator[tuple[Lookup, MatchField]]:
    """Every term of a person's look-ups in the order in which they count: the exact ones of all objects, then the phones."""
    every = [(lookup, term) for lookup in wanted.lookups for term in lookup.terms]
    yield from (step for step in every if not step[1].phone)
    yield from (step for step in every if step[1].phone)


def _identifies(term: MatchField) -> bool:
    """Whether the value is one of the person's identities: a number, a handle or an address; a customer number is none."""
    return term.phone or term.handle or "@" in term.value


def _addresses(row: Row, fields: Iterable[str]) -> frozenset[str]:
    return frozenset(folded(text) for name in fields for text in texts_of(column(row, name)))


def texts_of(value: Any) -> list[str]:
    """What stands in a column, which in some CRMs holds a list."""
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one and str(one).strip()]


def age(id_: str) -> tuple[int, str]:
    """Ids grow with time: numbers of any length, or letters and digits of one length."""
    return len(id_), id_


def numbers(text: str, region: str | None) -> list[str]:
    """The numbers in a field: mostly one; several where people wrote them beside each other."""
    whole = e164(text, region)
    parts = [whole] if whole else [e164(part, region) for part in _BESIDE.split(text)]
    return list(dict.fromkeys(part for part in parts if part))


def e164(text: str, region: str | None) -> str:
    """A number written in any form as E.164 without its extension, "" when it cannot be read. `00` before a country is read
    as + where the region itself does not dial so."""
    import phonenumbers  # large tables: only where phones are compared

    digits = text.strip()
    if not digits:
        return ""
    for written in (digits, f"+{digits[2:]}") if digits.startswith("00") else (digits,):
        try:
            number = phonenumbers.parse(written, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return ""


def linked_id(row: Row, name: str) -> str:
    """The id in a look-up column, whichever way it is shown: `{id, name}`, `Name.id`, or the bare id; "" if there is none."""
    value = row.get(name, row.get(f"{name}.id"))
    if isinstance(value, Mapping):
        value = value.get("id")
    return str(value) if value else ""


def column(row: Row, name: str) -> Any:
    """A column by its name as the mapping spells it: flat or nested (`Owner.Email`), whatever case the CRM answers in."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value[part] if part in value else next((v for k, v in value.items() if k.lower() == part.lower()), None)
    return value
