"""The company of a signal, as `company` in expressions means it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection

from syncd.identity.companies import Company, company_of
from syncd.signals import Person, Signal

ACCOUNT_CHANGED = "account.changed"
ABOUT_COMPANIES = frozenset({ACCOUNT_CHANGED})
"""Types of signals that are about a company: who sent them does not matter."""
CompanyFrom = Callable[[Signal | None, Person], Company]


def company_from(signal: Signal | None, person: Person, shared: Collection[str] = frozenset()) -> Company:
    """The company that a signal is about, else that of its person: their company's name, their address's domain. `shared`: more
    domains that identify no company."""
    data = signal.data if signal is not None and signal.type in ABOUT_COMPANIES else None
    return company_of(name=person.company, email=person.email, phone=person.phone, data=data, shared=shared)
