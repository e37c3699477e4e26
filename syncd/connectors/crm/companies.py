"""Which record of a CRM is a company: the rows that queries brought back, compared by key, domain and name. Pure.

A website is compared by its registered domain, however it is written. A record with the company's name but another company's
website is another company. Of several that match equally the one created first counts, and the others are named in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from syncd.connector import AccountMatch, AccountQuery, MatchField
from syncd.connectors.crm.directory import Row, age, column, texts_of
from syncd.identity.companies import folded_name, host_of, own_domain

log = logging.getLogger(__name__)


@dataclass
class CompanyColumns:
    """What is asked of one object: its field with the name, and the values that each field is searched for."""

    object: str
    name: str
    exact: dict[str, dict[str, None]] = field(default_factory=dict)
    domains: dict[str, dict[str, None]] = field(default_factory=dict)

    def columns(self, id_field: str) -> list[str]:
        return list(dict.fromkeys((id_field, self.name, *self.exact, *self.domains)))


def columns_of(queries: Iterable[AccountQuery], names: Mapping[str, str]) -> list[CompanyColumns]:
    """What to ask for these companies, object by object. `names`: object -> its field with a company's name."""
    asked: dict[str, CompanyColumns] = {}
    for lookup in (lookup for query in queries for lookup in query.lookups):
        one = asked.setdefault(lookup.object, CompanyColumns(lookup.object, names.get(lookup.object, "Name")))
        for term in lookup.terms:
            (one.domains if term.domain else one.exact).setdefault(term.field, {})[term.value] = None
    return list(asked.values())


class CompanyRows:
    """The rows of one `resolve_accounts`, findable by term."""

    def __init__(self, id_field: str) -> None:
        self._id_field = id_field
        self._rows: dict[str, dict[str, Row]] = {}
        self._names: dict[str, str] = {}
        self._index: dict[tuple[str, str, bool], dict[str, list[str]]] = {}

    def add(self, asked: CompanyColumns, rows: Iterable[Row]) -> None:
        """Takes rows in, all of them before the first look-up."""
        self._names[asked.object] = asked.name
        held = self._rows.setdefault(asked.object, {})
        held.update((str(row[self._id_field]), row) for row in rows if row.get(self._id_field))

    def find(self, wanted: AccountQuery) -> AccountMatch | None:
        """The record that is this company: by a key of its own first, then by domain, then by name."""
        for test in (_is_key, _is_domain, _is_name):
            for lookup in wanted.lookups:
                domains = {term.field: term.value for term in lookup.terms if term.domain}
                for term in filter(test, lookup.terms):
                    ids = [
                        id_
                        for id_ in self._matching(lookup.object, term)
                        if not (term.name and self._elsewhere(lookup.object, id_, domains))
                    ]
                    if ids:
                        return self._first(lookup.object, term, ids)
        return None

    def _first(self, object_: str, term: MatchField, ids: Sequence[str]) -> AccountMatch:
        first, *others = sorted(ids, key=age)
        if others:
            rest = ", ".join(others)
            log.warning("several %s records match %s: using %s, ignoring %s", object_, term.field, first, rest)
        name = str(column(self._rows[object_][first], self._names[object_]) or "")
        return AccountMatch(object=object_, id=first, name=name)

    def _elsewhere(self, object_: str, id_: str, domains: Mapping[str, str]) -> bool:
        """Whether a record has the website of another company."""
        row = self._rows[object_][id_]
        theirs = {name: {there for site in texts_of(column(row, name)) if (there := _domain(site))} for name in domains}
        return any(theirs[name] and domain not in theirs[name] for name, domain in domains.items())

    def _matching(self, object_: str, term: MatchField) -> list[str]:
        place = (object_, term.field, term.domain)
        if place not in self._index:
            index: dict[str, list[str]] = {}
            for id_, row in self._rows.get(object_, {}).items():
                keys = (
                    _domain(text) if term.domain else folded_name(text) for text in texts_of(column(row, term.field))
                )
                for key in filter(None, dict.fromkeys(keys)):
                    index.setdefault(key, []).append(id_)
            self._index[place] = index
        return self._index[place].get(term.value if term.domain else folded_name(term.value), [])


def _is_key(term: MatchField) -> bool:
    return not (term.domain or term.name)


def _is_domain(term: MatchField) -> bool:
    return term.domain


def _is_name(term: MatchField) -> bool:
    return term.name


def _domain(website: str) -> str:
    return own_domain(host_of(website))
