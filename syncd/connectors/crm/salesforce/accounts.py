"""Companies in Salesforce: where their name is, and which links a record can hold beside each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from syncd.connector import Link

ACCOUNT_NAMES = {"Account": "Name"}
PARENTS = {"Account": "ParentId"}
CLASSES = {"Account": ("Type", "Industry", "Rating", "Ownership", "AccountSource")}
"""Fields that classify a company (Salesforce's object reference, Account)."""


def held_together(object: str, links: Mapping[str, Link]) -> dict[str, Link]:
    """A task or event of a lead cannot be related to anything else: WhatId must be empty where WhoId is a lead (Salesforce's
    object reference, Task)."""
    of_lead = object in ("Task", "Event") and "WhoId" in links and links["WhoId"].object == "Lead"
    return {name: link for name, link in links.items() if not (of_lead and name == "WhatId")}
