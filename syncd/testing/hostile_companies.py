"""Companies in memory: a destination that passes `company_kit`, and one for each mistake that its checks find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import msgspec

from syncd.connector import (
    AccountMatch,
    AccountQuery,
    Call,
    Idempotency,
    Lookup,
    MatchField,
    Outcome,
    Write,
    WriteKind,
)
from syncd.errors import Failure, Rejected, Transient
from syncd.identity.companies import folded_name, host_of, own_domain
from syncd.testing.company_kit import CompanyCrm
from syncd.testing.destination_kit import write_key
from syncd.testing.hostile_destination import HostileCrm, HostileDestination, lost

FIRM, NAME, WEBSITE, PARENT, CLASS = "Firm", "Name", "Website", "Parent", "Class"
Record = Mapping[str, Any]


class CompaniesInMemory(HostileDestination):
    """Finds and makes companies as it should."""

    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> list[AccountMatch | None]:
        if not queries:
            return []
        self._count("resolve_accounts")
        fault = self.crm.look_up_faults.pop(0) if self.crm.look_up_faults else None
        if fault is not None:
            raise fault
        return [self._company(query) for query in queries]

    def parent_field(self, object: str) -> str:
        return PARENT

    def copied_fields(self, object: str) -> tuple[str, ...]:
        return (CLASS,)

    def values(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        table = self.crm.records.get(object, {})
        return {id_: {name: table[id_].get(name) for name in fields} for id_ in ids if id_ in table}

    def _company(self, query: AccountQuery) -> AccountMatch | None:
        terms = [(look.object, term) for look in query.lookups for term in look.terms]
        domains = {term.field: term.value for _, term in terms if term.domain}
        for object_, term in sorted(terms, key=lambda pair: self._rank(pair[1])):
            there = self.crm.records.get(object_, {}).items()
            ids = [
                id_ for id_, one in there if self._fits(term, one) and not (term.name and self._elsewhere(one, domains))
            ]
            if ids:
                id_ = self._pick(ids)
                return AccountMatch(object=object_, id=id_, name=self.crm.records[object_][id_].get(NAME, ""))
        return None

    def _rank(self, term: MatchField) -> int:
        return (not term.domain) + term.name

    def _fits(self, term: MatchField, record: Record) -> bool:
        value = str(record.get(term.field) or "")
        return _domain(value) == term.value if term.domain else folded_name(value) == folded_name(term.value)

    def _elsewhere(self, record: Record, domains: Mapping[str, str]) -> bool:
        return any(record.get(name) and _domain(record[name]) != domain for name, domain in domains.items())

    def _pick(self, ids: Sequence[str]) -> str:
        return ids[0]


class CompanyBook(CompanyCrm):
    """The CRM of these destinations, in the words of the suite."""

    def __init__(self) -> None:
        self.crm = HostileCrm()

    def add_company(self, name: str, website: str = "") -> tuple[str, str]:
        return FIRM, self.crm.add(FIRM, **{NAME: name, WEBSITE: website})

    def company_lookups(self, *, name: str = "", domain: str = "") -> tuple[Lookup, ...]:
        terms = [MatchField(WEBSITE, domain, domain=True)] if domain else []
        terms += [MatchField(NAME, name, name=True)] if name else []
        return (Lookup(FIRM, tuple(terms)),)

    def company_write(self, name: str, number: int) -> Write:
        return Write(key=write_key(number), object=FIRM, key_field="key", fields={NAME: name})

    def bad_company_write(self, number: int) -> Write:
        self.crm.row_faults[write_key(number)] = [Rejected("too long", field=NAME)]
        return self.company_write("bad", number)

    def count_companies(self, key: str) -> int:
        return len(self.crm.of_key(key))

    def lose_next_answer(self) -> None:
        self.crm.faults.append(lost)

    def fail_next_look_up(self) -> None:
        self.crm.look_up_faults.append(Transient("try again later"))

    def calls(self) -> int:
        return len(self.crm.calls)


def _domain(website: str) -> str:
    return own_domain(host_of(website))


# --------------------------------------------------------------------------------------------------------- mistakes


class AsksOneByOne(CompaniesInMemory):
    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> list[AccountMatch | None]:
        return [found for query in queries for found in super(AsksOneByOne, self).resolve_accounts([query])]


class LeavesOutTheUnknown(CompaniesInMemory):
    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> list[AccountMatch | None]:
        found = [one for one in super().resolve_accounts(queries) if one is not None]
        return [*found, *[None] * (len(queries) - len(found))]


class AsksForNobody(CompaniesInMemory):
    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> list[AccountMatch | None]:
        self._count("resolve_accounts")
        return super().resolve_accounts(queries)


class FindsByTheBeginning(CompaniesInMemory):
    def _fits(self, term: MatchField, record: Record) -> bool:
        value = str(record.get(term.field) or "")
        return value.casefold().startswith(term.value.casefold()) if term.name else super()._fits(term, record)


class ComparesWebsitesAsText(CompaniesInMemory):
    def _fits(self, term: MatchField, record: Record) -> bool:
        return record.get(term.field) == term.value if term.domain else super()._fits(term, record)


class FindsAnyWebsiteThatContainsTheDomain(CompaniesInMemory):
    def _fits(self, term: MatchField, record: Record) -> bool:
        value = str(record.get(term.field) or "").lower()
        return term.value in value if term.domain else super()._fits(term, record)

    def _pick(self, ids: Sequence[str]) -> str:
        return ids[-1]


class LooksAtTheNameFirst(CompaniesInMemory):
    def _rank(self, term: MatchField) -> int:
        return int(term.domain)

    def _elsewhere(self, record: Record, domains: Mapping[str, str]) -> bool:
        return False


class TakesTheNameOfAnother(CompaniesInMemory):
    def _elsewhere(self, record: Record, domains: Mapping[str, str]) -> bool:
        return False


class TakesTheYoungest(CompaniesInMemory):
    def _pick(self, ids: Sequence[str]) -> str:
        return ids[-1]


class TakesThemInTurn(CompaniesInMemory):
    def _pick(self, ids: Sequence[str]) -> str:
        return ids[len(self.crm.calls) % len(ids)]


class TakesNamesForPatterns(CompaniesInMemory):
    def _fits(self, term: MatchField, record: Record) -> bool:
        pattern = term.value.casefold().replace("%", "*").replace("_", "?")
        value = str(record.get(term.field) or "").casefold()
        return fnmatch(value, pattern) if term.name else super()._fits(term, record)


class TakesAFailureForUnknown(CompaniesInMemory):
    def resolve_accounts(self, queries: Sequence[AccountQuery]) -> list[AccountMatch | None]:
        try:
            return super().resolve_accounts(queries)
        except Failure:
            return [None] * len(queries)


class RefusesThePage(CompaniesInMemory):
    def send(self, call: Call) -> list[Outcome]:
        if any(self.crm.row_faults.get(write.key) for write in call.writes):
            raise Rejected("one of them is invalid")
        return super().send(call)


class BlamesNoField(CompaniesInMemory):
    def send(self, call: Call) -> list[Outcome]:
        return [Rejected(one.message) if isinstance(one, Rejected) else one for one in super().send(call)]


class MakesThemTwice(CompaniesInMemory):
    def send(self, call: Call) -> list[Outcome]:
        self.crm.kinds[FIRM] = Idempotency(WriteKind.AT_MOST_ONCE)
        return super().send(call)


class LeavesOutTheParent(CompaniesInMemory):
    def plan(self, writes: Sequence[Write]) -> list[Call]:
        return super().plan([msgspec.structs.replace(write, links={}) for write in writes])


def mistakes() -> Iterator[tuple[type[CompaniesInMemory], str]]:
    """(destination, the check that finds its mistake)."""
    yield AsksOneByOne, "test_companies_are_resolved_in_parallel_and_in_bulk"
    yield LeavesOutTheUnknown, "test_companies_are_resolved_in_parallel_and_in_bulk"
    yield AsksForNobody, "test_companies_are_resolved_in_parallel_and_in_bulk"
    yield FindsByTheBeginning, "test_an_unknown_company_is_none"
    yield ComparesWebsitesAsText, "test_a_domain_is_found_however_the_website_is_written"
    yield FindsAnyWebsiteThatContainsTheDomain, "test_a_domain_is_found_however_the_website_is_written"
    yield LooksAtTheNameFirst, "test_a_domain_counts_more_than_a_name"
    yield TakesTheNameOfAnother, "test_a_name_with_the_website_of_another_is_another_company"
    yield TakesTheYoungest, "test_of_two_the_same_is_found_each_time"
    yield TakesThemInTurn, "test_of_two_the_same_is_found_each_time"
    yield TakesNamesForPatterns, "test_hostile_text_finds_no_company_and_breaks_nothing"
    yield TakesAFailureForUnknown, "test_a_look_up_that_fails_is_not_an_unknown_company"
    yield RefusesThePage, "test_bad_companies_of_a_page_harm_only_themselves"
    yield BlamesNoField, "test_bad_companies_of_a_page_harm_only_themselves"
    yield MakesThemTwice, "test_a_company_is_made_once_when_the_answer_is_lost"
    yield LeavesOutTheParent, "test_a_new_company_belongs_to_its_parent"
