"""Zoho CRM's standard modules of people, companies and open deals, as data."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.connectors.crm.deals import DealRows
from syncd.connectors.crm.directory import Facts, PersonObjects
from syncd.connectors.crm.zoho import coql

MODULES: dict[str, Facts] = {
    "Contacts": Facts("contact", "Account_Name", "Full_Name", ("Email",)),
    "Leads": Facts("lead", name="Full_Name", emails=("Email",), converted=("$converted", "Converted__s")),
    "Accounts": Facts(
        "contact",
        "id",
        "Account_Name",
        company=True,
        parent="Parent_Account",
        classes=("Account_Type", "Industry", "Rating", "Ownership"),
    ),
}
"""COQL shows neither deleted records nor converted leads; a row that says it is one is nobody."""
PEOPLE = PersonObjects("id", MODULES, "Contacts", "Accounts", folds_case=False)


def deals(closed: Sequence[str]) -> tuple[DealRows, ...]:
    """A person's are those that name them (Contact_Name); a company's are those of its account. Further people of a deal
    (contact roles) are a related list of each deal, which COQL does not reach: they are not asked for. `closed`: the stages in
    which a deal is no longer open."""
    still = f"Stage not {coql.isin('', closed).strip()}"
    owners = {"Contact_Name": "Contacts", "Account_Name": ""}
    return tuple(
        DealRows("Deals", owner, person, "id", "Deals", still, "Created_Time", "Modified_Time", "Amount")
        for owner, person in owners.items()
    )
