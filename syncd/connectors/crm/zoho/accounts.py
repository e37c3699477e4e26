"""Companies in Zoho CRM: where their name is, and which links a record can hold at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from syncd.connector import Link
from syncd.connectors.crm.zoho import pack

ACCOUNT_NAMES = {"Accounts": "Account_Name"}
PARENTS = {"Accounts": "Parent_Account"}
CLASSES = {"Accounts": ("Account_Type", "Industry", "Rating", "Ownership")}
"""Fields that classify a company (Zoho CRM's modules and fields, Accounts)."""


def held_together(object: str, links: Mapping[str, Link]) -> dict[str, Link]:
    """An activity of a lead has the lead in What_Id, where nothing else has room."""
    if object not in pack.ACTIVITIES:
        return dict(links)
    person = links.get(pack.CONTACT_LINK)
    of_lead = person is not None and person.object != "Contacts"
    return {name: link for name, link in links.items() if not (of_lead and name == pack.OTHER_LINK)}
