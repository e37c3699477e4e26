"""The open opportunities of people and companies in Salesforce: the statements that ask for them, and what the rows say. Pure.

A person's are those they have a contact role in (OpportunityContactRole); a company's are those of its account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from syncd.connector import Link, PersonMatch
from syncd.connectors.crm.deals import OpenDeal, open_deal
from syncd.connectors.crm.directory import Row, column
from syncd.connectors.crm.salesforce import soql

FACTS = ("CreatedDate", "LastModifiedDate", "Amount")
"""What tells deals apart: fields of Opportunity."""
ROLE_DEALS = soql.select(
    ("OpportunityId", "ContactId", *(f"Opportunity.{name}" for name in FACTS)), "OpportunityContactRole"
)
ACCOUNT_DEALS = soql.select(("Id", "AccountId", *FACTS), "Opportunity")


def ask_deals(found: Iterable[PersonMatch | None], *, get: bool = False) -> list[str]:
    """Statements for the open opportunities of these people and of the companies they belong to."""
    people = [one for one in found if one is not None]
    contacts = [one.id for one in people if one.object == "Contact"]
    accounts = [one.account.id for one in people if one.account is not None]
    return [
        *soql.selects(ROLE_DEALS, "ContactId", contacts, " AND Opportunity.IsClosed = false", get=get),
        *soql.selects(ACCOUNT_DEALS, "AccountId", accounts, " AND IsClosed = false", get=get),
    ]


def open_deals(answers: Iterable[Sequence[Row]], short: Callable[[str], str]) -> dict[str, list[OpenDeal]]:
    """The deals by the `short` id of the contact or account that has them."""
    found: dict[str, list[OpenDeal]] = {}
    for row in (row for rows in answers for row in rows):
        of_role = "OpportunityId" in row
        owner, id_ = (
            (row.get("ContactId"), row.get("OpportunityId")) if of_role else (row.get("AccountId"), row.get("Id"))
        )
        if owner and id_:
            facts = [column(row, f"Opportunity.{name}" if of_role else name) for name in FACTS]
            found.setdefault(short(str(owner)), []).append(open_deal(Link("Opportunity", str(id_)), *facts))
    return found
