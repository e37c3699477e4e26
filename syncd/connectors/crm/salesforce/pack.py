"""How Salesforce takes records: collections of one object and one way of writing, wrapped in composite calls. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from syncd.connector import Link, Write
from syncd.connectors.crm.packing import Bundle, Packer, one_call
from syncd.connectors.crm.record import Formatter, Method, Target
from syncd.connectors.crm.salesforce.client import HEAVY, Subrequest

ROWS = 200
"""Records in one collection (salesforce.md, sObject Collections)."""
CALL_BYTES = 6_000_000
"""Of record JSON in one call. Cautious: the vendor page gives no figure for the largest request."""


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


formatted = Formatter("Salesforce", _moment, lambda parts: ";".join(map(str, parts)))
"""Times as ISO 8601 with an offset, a list as a multi-select picklist."""


def record_of(write: Write, target: Target) -> dict[str, Any]:
    """The record as sent, with attributes.type and links by id. Raises Unsendable."""
    return formatted.record(write, target.method, _link, {"attributes": {"type": write.object}})


def _link(record: dict[str, Any], name: str, link: Link) -> None:
    record[name] = link.id


def held_together(object: str, links: Mapping[str, Link]) -> dict[str, Link]:
    """A task or event of a lead cannot be related to anything else: WhatId must be empty where WhoId is a lead (Salesforce's
    object reference, Task)."""
    of_lead = object in ("Task", "Event") and "WhoId" in links and links["WhoId"].object == "Lead"
    return {name: link for name, link in links.items() if not (of_lead and name == "WhatId")}


def collection(bundle: Bundle, headers: Mapping[str, str]) -> Subrequest:
    """The request that writes these records."""
    target, path = bundle.target, "/composite/sobjects"
    if target.method is Method.UPSERT:
        path += f"/{target.object}/{target.key_field}"
    method = "POST" if target.method is Method.CREATE else "PATCH"
    return Subrequest(method, path, {"allOrNone": False, "records": bundle.records}, headers)


def packer(*, composite: bool = True) -> Packer:
    """Calls of up to 1,000 records (200 without composite). Children of one parent stand side by side: Salesforce locks the
    parent."""
    return Packer(
        target=Target.of,
        record=record_of,
        rows=ROWS,
        size=CALL_BYTES,
        cost=one_call,
        bundles=HEAVY if composite else 1,
        once=lambda write, _: [f"id:{write.id[:15]}"] if write.id else [],
        siblings=True,
    )
