"""The compiled part `accounts:`: which company a signal means, how it is found, and the record of a new one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from syncd.connector import Lookup, MatchField
from syncd.identity.companies import Company, company_named
from syncd.mapping.companies import ACCOUNT_CHANGED, CompanyFrom
from syncd.mapping.compiler import FieldMaker, compile_groups, compile_value
from syncd.mapping.expressions import Sandbox
from syncd.mapping.model import About, CloneOf, Draft
from syncd.mapping.parts import AccountsPart, AccountTerm
from syncd.mapping.values import clean, to_text
from syncd.mapping.verbs import UPSERT
from syncd.signals import Person, Signal, make_person

ACCOUNTS_CREATE = "accounts.create"
ACCOUNTS_PARENT = "accounts.parent"
"""The rule that makes the company which a new one belongs to."""
PARENT = "parent"
Evaluate = Callable[[Signal | None, Person], object]


@dataclass(frozen=True)
class MappedCompanies:
    """`syncd.mapping.model.CompiledAccounts`."""

    part: AccountsPart
    terms: tuple[tuple[str, tuple[tuple[AccountTerm, Evaluate], ...]], ...]
    newcomer: FieldMaker | None
    company_from: CompanyFrom
    fits: Callable[[str, str], bool]
    above: FieldMaker | None = None

    @property
    def clone(self) -> CloneOf | None:
        """Whose values new companies take over; None for nobody's."""
        return self.part.clone

    def company(self, signal: Signal) -> Company:
        """The company that a signal means; one without an identity if it says nothing of any."""
        return self.company_from(signal, signal.person)

    def lookups(self, signal: Signal) -> tuple[Lookup, ...]:
        """How to find its company; look-ups without a value are left out."""
        found = []
        for object_, terms in self.terms:
            asked = [
                MatchField(term.field, value, domain=term.domain, name=term.name)
                for term, make in terms
                if (value := _wanted(make, signal))
            ]
            if asked:
                found.append(Lookup(object_, tuple(asked)))
        return tuple(found)

    def creates(self, signal_type: str) -> bool:
        """Whether a signal of this type makes its company when the CRM does not know it."""
        return next((creates for pattern, creates in self.part.unknown if self.fits(pattern, signal_type)), False)

    def parent(self, signal: Signal) -> Signal | None:
        """The same signal, about the company which its company belongs to; None if nothing is said of one."""
        if self.above is None:
            return None
        (made,), _ = self.above(signal, signal.person)  # what fails here is a fault of the company's own draft
        company = company_named(to_text(made.get(PARENT)), self.part.free_mail)
        data = {"domain": company.domain} if company.domain else {}
        person = make_person(company=company.name)
        parent = msgspec.structs.replace(signal, type=ACCOUNT_CHANGED, person=person, data=data)
        return parent if self.company(parent).identity else None

    def draft(self, signal: Signal, *, is_parent: bool = False) -> Draft:
        """The record of a new company. `is_parent`: the signal is one that `parent` made. Raises ValueError if the mapping
        creates none."""
        create = self.part.create
        if create is None or self.newcomer is None:
            raise ValueError(f"the mapping has no {ACCOUNTS_CREATE}")
        (fields, on_create), faults = self.newcomer(signal, signal.person)
        if self.above is not None and not is_parent:
            faults += self.above(signal, signal.person)[1]
        return Draft(
            rule=ACCOUNTS_PARENT if is_parent else ACCOUNTS_CREATE,
            object=create.object,
            key_field=create.key,
            about=About.ACCOUNT,
            fields=fields,
            on_create=on_create,
            verb=UPSERT,
            faults=tuple(faults),
        )


def compiled_accounts(part: AccountsPart, sandbox: Sandbox, fits: Callable[[str, str], bool]) -> MappedCompanies:
    """`fits(pattern, signal type)`; `sandbox.company` knows the part's own free mail domains."""
    terms = tuple(
        (match.object, tuple((term, compile_value(term.tree, sandbox)) for term in match.terms)) for match in part.match
    )
    create = part.create
    newcomer = compile_groups([create.fields, create.on_create], sandbox) if create else None
    above = compile_groups([{PARENT: part.parent}], sandbox) if part.parent is not None else None
    return MappedCompanies(part, terms, newcomer, sandbox.company, fits, above)


def _wanted(make: Evaluate, signal: Signal) -> str:
    """The text to look up, "" for none: a look-up that cannot be made is skipped."""
    try:
        return to_text(clean(make(signal, signal.person)))
    except Exception:  # noqa: BLE001 - such as a filter that does not take the value
        return ""
