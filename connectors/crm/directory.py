"""The people that queries of a CRM brought back, findable by term. Pure; used by the CRMs that are asked in a query language.

Text is compared without case, phones as E.164 however they are written. Of several records that match equally the one created
first counts, and the others are named in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from syncd.connector import Found, Lookup, Term, Wanted

log = logging.getLogger(__name__)
Row = Mapping[str, Any]
Reading = Callable[[str, Row], Found | None]
"""(object, row) -> the person a row is; None when it is nobody (any more)."""


class Directory:
    """`region` helps to read numbers written without a country; `id_field` is the column of a row's id."""

    def __init__(self, read: Reading, region: str | None, *, id_field: str) -> None:
        self._read = read
        self._region = region
        self._id_field = id_field
        self._rows: dict[str, dict[str, Row]] = {}
        self._index: dict[tuple[str, str, bool], dict[str, list[str]]] = {}
        self._named: set[tuple[str, ...]] = set()

    def add(self, object: str, rows: Iterable[Row]) -> None:
        """Takes rows in; a row that is there already is replaced."""
        held = self._rows.setdefault(object, {})
        held.update((str(row[self._id_field]), row) for row in rows)
        for place in [place for place in self._index if place[0] == object]:
            del self._index[place]

    def hit(self, object: str, term: Term) -> Found | None:
        """The record of this object that the term names."""
        ids = sorted(self._matching(object, term), key=_age)
        found = [f for id_ in ids if (f := self._read(object, self._rows[object][id_]))]
        if len(found) > 1 and (object, term.field, *ids) not in self._named:
            self._named.add((object, term.field, *ids))
            rest = ", ".join(ids[1:])
            log.warning("several %s records are %s: took %s, not %s", object, term.field, ids[0], rest)
        return found[0] if found else None

    def find(self, wanted: Wanted) -> Found | None:
        """The first look-up's first term that hits."""
        return next((found for lookup, term in steps(wanted) if (found := self.hit(lookup.object, term))), None)

    def _matching(self, object: str, term: Term) -> list[str]:
        place = (object, term.field, term.phone)
        if place not in self._index:
            self._index[place] = self._indexed(place)
        return self._index[place].get(term.value if term.phone else folded(term.value), [])

    def _indexed(self, place: tuple[str, str, bool]) -> dict[str, list[str]]:
        object_, field, phone = place
        index: dict[str, list[str]] = {}
        for id_, row in self._rows.get(object_, {}).items():
            text = str(column(row, field) or "")
            key = e164(text, self._region) if phone else folded(text)
            if key:
                index.setdefault(key, []).append(id_)
        return index


def steps(wanted: Wanted) -> Iterator[tuple[Lookup, Term]]:
    """Every term of a person's look-ups, in the order in which they count."""
    return ((lookup, term) for lookup in wanted.lookups for term in lookup.terms)


def _age(id_: str) -> tuple[int, str]:
    """Ids grow with time: numbers of any length, or letters and digits of one length."""
    return len(id_), id_


def folded(text: str) -> str:
    """Text as the CRMs compare it: without case."""
    return text.strip().lower()


def e164(text: str, region: str | None) -> str:
    """A number written in any form as E.164, "" when it cannot be read."""
    import phonenumbers  # large tables: only where phones are compared

    if not text:
        return ""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


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
