"""Where a CRM has somebody's open deals, as data, and which of several is meant. Pure; for the CRMs asked in a query language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from syncd.connector import DealPick, Link, PersonMatch
from syncd.connectors.crm.directory import Row, column, linked_id

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class OpenDeal:
    """One open deal. `created`, `changed`: when, as far back as can be where the CRM does not say; `amount`: 0 for none."""

    link: Link
    created: datetime
    changed: datetime
    amount: float


@dataclass(frozen=True)
class DealRows:
    """One object whose rows tell of open deals. `owner`: its column with the id of a record of `person` ("": of the company that
    a person belongs to), `deal`: the one with the id of the deal, a record of `of`. `still`: the criterion of an open deal, in
    the CRM's language. `created`, `changed`, `amount`: columns that tell deals apart."""

    object: str
    owner: str
    person: str
    deal: str
    of: str
    still: str
    created: str
    changed: str
    amount: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.deal, self.owner, self.created, self.changed, self.amount)

    def owners(self, people: Iterable[PersonMatch]) -> list[str]:
        """The ids to ask for."""
        if self.person:
            return [one.id for one in people if one.object == self.person]
        return [one.account.id for one in people if one.account is not None]

    def read(self, rows: Iterable[Row]) -> Iterator[tuple[str, OpenDeal]]:
        """The id of the owner, and the deal, of each row that names both."""
        for row in rows:
            owner, deal = linked_id(row, self.owner), linked_id(row, self.deal)
            if owner and deal:
                facts = (column(row, name) for name in (self.created, self.changed, self.amount))
                yield owner, open_deal(Link(self.of, deal), *facts)


def open_deal(link: Link, created: Any, changed: Any, amount: Any) -> OpenDeal:
    """A deal made of the values of a CRM's answer."""
    size = float(amount) if isinstance(amount, int | float) and not isinstance(amount, bool) else 0.0
    return OpenDeal(link, _moment(created), _moment(changed), size)


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return LONG_AGO
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_ORDERS: Mapping[DealPick, Callable[[OpenDeal], float]] = {
    DealPick.NEWEST: lambda deal: (deal.created - LONG_AGO).total_seconds(),
    DealPick.OLDEST: lambda deal: -(deal.created - LONG_AGO).total_seconds(),
    DealPick.CHANGED: lambda deal: (deal.changed - LONG_AGO).total_seconds(),
    DealPick.LARGEST: lambda deal: deal.amount,
}


def picked(deals: Iterable[OpenDeal], pick: DealPick) -> Link | None:
    """The deal that is meant; of equals the one with the lowest id, so that the answer does not change between look-ups."""
    ordered = sorted(deals, key=lambda deal: (len(deal.link.id), deal.link.id))
    return max(ordered, key=_ORDERS[pick]).link if ordered else None


def deal_of(
    person: PersonMatch, deals: Mapping[str, Sequence[OpenDeal]], pick: DealPick, key: Callable[[str, str], str]
) -> Link | None:
    """The deal meant of a person: of those that name them, else of their company's. `deals`: by the `key` of either's object
    and id; records of two objects may have the same id."""
    theirs, company = picked(deals.get(key(person.object, person.id), ()), pick), person.account
    return theirs or (picked(deals.get(key(company.object, company.id), ()), pick) if company else None)
