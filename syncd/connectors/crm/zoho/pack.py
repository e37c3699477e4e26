"""How Zoho CRM takes records: up to a hundred of one module, written one way, in a call. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from functools import partial
from typing import Any

from syncd.connector import Link, Write
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.record import Formatter, Method, Target, Unsendable

ROWS = 100
"""Records in one write (zoho.md, Writing records)."""
CALL_BYTES = 5_000_000
"""Of record JSON in one call. Cautious: Zoho documents no largest request."""
ROWS_A_CREDIT = 10

ACTIVITIES = frozenset({"Tasks", "Calls", "Events"})
NO_UPSERT = ACTIVITIES | {"Notes"}
"""Modules whose records can only be inserted and updated by id (zoho.md: v7 and v8 headers agree)."""
PEOPLE = frozenset({"Leads", "Contacts"})
"""Their system duplicate field is Email. It is checked after our key, so that a person entered manually, or known under
another key, is met instead of doubled (and an account that keeps e-mails unique does not refuse the record)."""
EMAIL = "Email"
CONTACT_LINK, OTHER_LINK, OTHER_MODULE = "Who_Id", "What_Id", "$se_module"
LINKS_OF_ACTIVITIES = (CONTACT_LINK, OTHER_LINK)


formatted = Formatter("Zoho", lambda moment: moment.astimezone(UTC).isoformat(timespec="seconds"), list, nested=True)
"""Times in UTC to the second with +00:00 (with milliseconds and Z they are refused), a list as multi-select values."""


def cost(rows: int) -> float:
    """Credits of a write: one for each ten records begun (zoho.md, Limits)."""
    return float(-(-rows // ROWS_A_CREDIT))


def request_of(target: Target) -> tuple[str, str]:
    """Method and path (below /crm/vN) of a write."""
    path = f"/{target.object}/upsert" if target.method is Method.UPSERT else f"/{target.object}"
    return ("PUT" if target.method is Method.UPDATE else "POST"), path


def check_fields(bundle: Bundle) -> list[str]:
    """Of an upsert: the fields by which Zoho looks for the record, in their order."""
    if bundle.target.method is not Method.UPSERT:
        return []
    by_email = bundle.target.object in PEOPLE and any(record.get(EMAIL) for record in bundle.records)
    return [bundle.target.key_field, *([EMAIL] if by_email else [])]


def _once(write: Write, target: Target) -> Iterable[str]:
    """The record's id, and the e-mail by which an upsert may find the record."""
    if write.id:
        yield f"id:{write.id}"
    email = write.fields.get(EMAIL, write.on_create.get(EMAIL))
    if target.method is Method.UPSERT and target.object in PEOPLE and email:
        yield f"email:{str(email).strip().lower()}"


def record_of(write: Write, target: Target) -> dict[str, Any]:
    """The record as sent, links the way Zoho takes them. Raises Unsendable."""
    return formatted.record(write, target.method, partial(_link, write.object))


def _link(module: str, record: dict[str, Any], name: str, link: Link) -> None:
    """An activity points at a contact by Who_Id and at anything else, a lead included, by What_Id and $se_module, whichever
    of the two the mapping names; a note has a parent with its module."""
    if name == "Parent_Id":
        record[name] = {"module": {"api_name": link.object}, "id": link.id}
        return
    if module not in ACTIVITIES or name not in LINKS_OF_ACTIVITIES:
        record[name] = {"id": link.id}
        return
    place = CONTACT_LINK if link.object == "Contacts" else OTHER_LINK
    if record.get(place) not in (None, {"id": link.id}):
        raise Unsendable(name, f"{place} cannot hold two records: {link.object} {link.id} as well as {record[place]}")
    record[place] = {"id": link.id}
    if place == OTHER_LINK:
        record[OTHER_MODULE] = link.object


def held_together(object: str, links: Mapping[str, Link]) -> dict[str, Link]:
    """An activity of a lead has the lead in What_Id, where nothing else has room."""
    if object not in ACTIVITIES:
        return dict(links)
    person = links.get(CONTACT_LINK)
    of_lead = person is not None and person.object != "Contacts"
    return {name: link for name, link in links.items() if not (of_lead and name == OTHER_LINK)}


_target = partial(Target.of, no_upsert=NO_UPSERT)
PACKER = Packer(target=_target, record=record_of, rows=ROWS, size=CALL_BYTES, cost=cost, once=_once)
