"""Salesforce's standard objects of people, companies and open deals (Salesforce's object reference), as data."""

from __future__ import annotations

from syncd.connectors.crm.deals import DealRows
from syncd.connectors.crm.directory import Facts, PersonObjects

OBJECTS: dict[str, Facts] = {
    "Contact": Facts("contact", "AccountId", "Name", ("Email",)),
    "Lead": Facts(
        "lead",
        name="Name",
        emails=("Email",),
        extra=("IsConverted", "ConvertedContactId", "ConvertedAccountId"),
        converted=("IsConverted",),
        became=("ConvertedContactId", "ConvertedAccountId"),
    ),
    "Account": Facts(
        "contact",
        "Id",
        "Name",
        company=True,
        parent="ParentId",
        classes=("Type", "Industry", "Rating", "Ownership", "AccountSource"),
    ),
}
PEOPLE = PersonObjects("Id", OBJECTS, "Contact", "Account", folds_case=True)


def _deals(object: str, owner: str, person: str, deal: str, to: str = "") -> DealRows:
    """`to`: the path from the rows to their opportunity."""
    facts = (f"{to}{name}" for name in ("CreatedDate", "LastModifiedDate", "Amount"))
    return DealRows(object, owner, person, deal, "Opportunity", f"{to}IsClosed = false", *facts)


DEALS = (
    _deals("OpportunityContactRole", "ContactId", "Contact", "OpportunityId", "Opportunity."),
    _deals("Opportunity", "AccountId", "", "Id"),
)
"""A person's are those they have a contact role in; a company's are those of its account."""
