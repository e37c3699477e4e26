"""The open deals of people and companies in Zoho CRM: the statements that ask for them, and what the rows say. Pure.

A person's are those that name them (Contact_Name); a company's are those of its account. Further people of a deal (contact
roles) are a related list of each deal, which COQL does not reach: they are not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncd.connector import Link, PersonMatch
from syncd.connectors.crm.deals import OpenDeal, open_deal
from syncd.connectors.crm.directory import Row
from syncd.connectors.crm.zoho import coql
from syncd.connectors.crm.zoho.people import linked_id

OWNERS = ("Contact_Name", "Account_Name")
HEAD = coql.select(("id", *OWNERS, "Created_Time", "Modified_Time", "Amount"), "Deals")


def ask_deals(found: Iterable[PersonMatch | None], closed: Sequence[str]) -> list[str]:
    """Statements for the open deals of these people and of the companies they belong to."""
    people = [one for one in found if one is not None]
    contacts = [one.id for one in people if one.object == "Contacts"]
    accounts = [one.account.id for one in people if one.account is not None]
    still = f"Stage not {coql.isin('', closed).strip()}"
    return [
        *coql.selects(HEAD, "Contact_Name", contacts, still),
        *coql.selects(HEAD, "Account_Name", accounts, still),
    ]


def open_deals(rows: Iterable[Row]) -> dict[str, list[OpenDeal]]:
    """The deals by the id of the contact or account that has them."""
    found: dict[str, dict[str, OpenDeal]] = {}
    for row in rows:
        deal = open_deal(
            Link("Deals", str(row["id"])), row.get("Created_Time"), row.get("Modified_Time"), row.get("Amount")
        )
        for owner in filter(None, (linked_id(row, name) for name in OWNERS)):
            found.setdefault(owner, {})[deal.link.id] = deal
    return {owner: list(deals.values()) for owner, deals in found.items()}
