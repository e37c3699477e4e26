"""The conformance suite of destinations that find companies: in bulk, by domain and name, the same one each time, made once.

A test class inherits it and hands in two fixtures: `crm` (the stand-in, as `CompanyCrm`) and `connect` (builds the destination
afresh). `syncd.testing.hostile_companies` has a destination for each mistake that the checks find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest

from syncd.capabilities import KnowsAccountFields, ReadsFields
from syncd.connector import AccountMatch, AccountQuery, Link, Lookup, Write, Written
from syncd.errors import Ambiguous, Misconfigured, Rejected
from syncd.testing.destination_kit import send, write_key

HOSTILE_TEXTS = ("' OR Name LIKE '%", "a\\'b", "o'neil & sons", '"x"', "%", "_", "%firm%", "f_rm 1")


class CompanyCrm:
    """What the suite asks of the stand-in. Override all of it; `cannot` says what the stand-in has no way to do."""

    cannot: ClassVar[frozenset[str]] = frozenset()

    def add_company(self, name: str, website: str = "") -> tuple[str, str]:
        """A company that is in the CRM already: (object, id). One that is added later is the younger one."""
        raise AssertionError("let the suite add companies")

    def company_lookups(self, *, name: str = "", domain: str = "") -> tuple[Lookup, ...]:
        """How the shipped mapping looks for such a company: by the domain in its website, and by its name."""
        raise AssertionError("let the suite look for companies")

    def company_write(self, name: str, number: int) -> Write:
        """A new company with this name; its key is `write_key(number)`."""
        raise AssertionError("give the suite new companies")

    def bad_company_write(self, number: int) -> Write:
        """A new company that the CRM rejects for what is in it."""
        raise AssertionError("give the suite a bad company")

    def count_companies(self, key: str) -> int:
        """How many companies carry this key now."""
        raise AssertionError("let the suite count companies")

    def lose_next_answer(self) -> None:
        """The next write is done, and its answer never arrives."""

    def fail_next_look_up(self) -> None:
        """The next query is answered by a 5xx (or a reset)."""

    def calls(self) -> int:
        """API calls so far (token calls excluded)."""
        return 0


class CompanyConformance:
    """For every destination with `ResolvesAccounts`. `calls_for_many`: the most calls that 120 companies may take, by domain and
    name."""

    calls_for_many: ClassVar[int] = 20

    @pytest.fixture
    def destination(self, connect: Callable[[], Any]) -> Any:
        return connect()

    def test_companies_are_resolved_in_parallel_and_in_bulk(self, destination: Any, crm: CompanyCrm) -> None:
        known = {
            number: crm.add_company(f"Firm {number}", f"https://www.f{number}.example/") for number in range(0, 120, 3)
        }
        asked = [_query(crm, name=f"Firm {n}", domain=f"f{n}.example") for n in range(120)]
        before = crm.calls()
        found = destination.resolve_accounts(asked)
        calls = crm.calls() - before
        assert calls <= self.calls_for_many, f"120 companies took {calls} calls"
        assert [_place(hit) for hit in found] == [known.get(number) for number in range(120)]
        assert [hit.name for hit in found if hit] == [f"Firm {number}" for number in known]
        before = crm.calls()
        assert list(destination.resolve_accounts([])) == []
        assert crm.calls() == before, "nobody was asked for, and a call was made"

    def test_an_unknown_company_is_none(self, destination: Any, crm: CompanyCrm) -> None:
        crm.add_company("Firm 11", "f11.example")
        asked = [
            _query(crm, name="Firm 1"),
            _query(crm, domain="1.example"),
            _query(crm, name="Firm", domain="f1.example"),
        ]
        assert list(destination.resolve_accounts(asked)) == [None] * 3

    def test_a_domain_is_found_however_the_website_is_written(self, destination: Any, crm: CompanyCrm) -> None:
        websites = ("https://www.a.example/about?x=1", "b.example", "HTTP://WWW.C.EXAMPLE", "shop.d.example:8080/")
        there = [crm.add_company(f"Site {number}", website) for number, website in enumerate(websites)]
        crm.add_company("Another", "nota.example")
        found = destination.resolve_accounts([_query(crm, domain=f"{letter}.example") for letter in "abcd"])
        assert [_place(hit) for hit in found] == there

    def test_a_domain_counts_more_than_a_name(self, destination: Any, crm: CompanyCrm) -> None:
        crm.add_company("Firm", "another.example")
        theirs = crm.add_company("Renamed", "firm.example")
        (found,) = destination.resolve_accounts([_query(crm, name="Firm", domain="firm.example")])
        assert _place(found) == theirs

    def test_a_name_with_the_website_of_another_is_another_company(self, destination: Any, crm: CompanyCrm) -> None:
        crm.add_company("Firm", "another.example")
        assert list(destination.resolve_accounts([_query(crm, name="Firm", domain="firm.example")])) == [None]
        mine = crm.add_company("FIRM")
        (found,) = destination.resolve_accounts([_query(crm, name="Firm", domain="firm.example")])
        assert _place(found) == mine

    @pytest.mark.parametrize("by", ["name", "domain"])
    def test_of_two_the_same_is_found_each_time(self, destination: Any, crm: CompanyCrm, by: str) -> None:
        first = crm.add_company("Twice", "twice.example")
        crm.add_company("Twice", "twice.example")
        twice = _query(crm, **{by: "Twice" if by == "name" else "twice.example"})
        other = _query(crm, name="Other", domain="other.example")
        for asked in ([twice], [other, twice], [twice, other], [twice, twice]):
            hits = destination.resolve_accounts(asked)
            assert [_place(hit) for hit in hits if hit] == [first] * asked.count(twice), (
                "not the one that was created first"
            )

    def test_hostile_text_finds_no_company_and_breaks_nothing(self, destination: Any, crm: CompanyCrm) -> None:
        crm.add_company("Firm 1", "f1.example")
        asked = [_query(crm, name=text) for text in HOSTILE_TEXTS]
        assert list(destination.resolve_accounts(asked)) == [None] * len(HOSTILE_TEXTS)

    def test_a_look_up_that_fails_is_not_an_unknown_company(self, destination: Any, crm: CompanyCrm) -> None:
        if "fail_next_look_up" in crm.cannot:
            return
        there = crm.add_company("Firm", "firm.example")
        asked = [_query(crm, name="Firm", domain="firm.example")]
        crm.fail_next_look_up()
        try:
            hits = destination.resolve_accounts(asked)
        except Exception:  # noqa: BLE001 - which failure it is, other checks look at
            hits = destination.resolve_accounts(asked)
        assert [_place(hit) for hit in hits] == [there]

    def test_bad_companies_of_a_page_harm_only_themselves(self, destination: Any, crm: CompanyCrm) -> None:
        bad = {3, 4, 17}
        writes = [crm.bad_company_write(n) if n in bad else crm.company_write(f"New {n}", n) for n in range(20)]
        outcomes = send(destination, writes)
        assert {n for n, one in enumerate(outcomes) if not isinstance(one, Written)} == bad
        for number in bad:
            assert isinstance(outcomes[number], (Rejected, Misconfigured)), outcomes[number]
            assert outcomes[number].field, "a refusal of a company names the field"
        assert [crm.count_companies(write_key(n)) for n in range(20)] == [int(n not in bad) for n in range(20)]

    def test_a_company_is_made_once_when_the_answer_is_lost(self, destination: Any, crm: CompanyCrm) -> None:
        if "lose_next_answer" in crm.cannot:
            return
        writes = [crm.company_write(f"New {number}", number) for number in range(3)]
        crm.lose_next_answer()
        with pytest.raises(Ambiguous):
            send(destination, writes)
        again = send(destination, writes)
        assert all(isinstance(one, Written) and one.id for one in again), again
        assert [crm.count_companies(write.key) for write in writes] == [1] * 3, "a company was made twice"
        hits = destination.resolve_accounts([_query(crm, name=f"New {number}") for number in range(3)])
        assert [hit and hit.id for hit in hits] == [one.id for one in again if isinstance(one, Written)]

    def test_a_new_company_belongs_to_its_parent(self, destination: Any, crm: CompanyCrm) -> None:
        connected = destination
        if not (isinstance(destination, KnowsAccountFields) and isinstance(destination, ReadsFields)):
            return
        object_, id_ = crm.add_company("Holding")
        field = destination.parent_field(object_)
        write = crm.company_write("Daughter", 1)
        linked = msgspec.structs.replace(write, links={field: Link(object_, id_)})
        (outcome,) = send(connected, [linked])
        assert isinstance(outcome, Written), outcome
        there = destination.values(object_, [outcome.id], [field, *destination.copied_fields(object_)])[outcome.id]
        parent = there[field]["id"] if isinstance(there[field], dict) else there[field]
        assert parent == id_, "the company is not below its parent"


def _query(crm: CompanyCrm, *, name: str = "", domain: str = "") -> AccountQuery:
    identity = f"company:domain:{domain}" if domain else f"company:name:{name.lower()}"
    return AccountQuery(identity, crm.company_lookups(name=name, domain=domain))


def _place(hit: AccountMatch | None) -> tuple[str, str] | None:
    return (hit.object, hit.id) if hit is not None else None
