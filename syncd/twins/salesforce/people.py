"""What users of the CRM do behind an integration's back: add, delete, convert and merge records of the Salesforce twin.

Used by salesforce.py; reachable from tests and under /_twin/. The twin commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncd.twins.salesforce.rows import full_id, stamp

if TYPE_CHECKING:
    from syncd.twins.salesforce.twin import SalesforceTwin


def add(twin: SalesforceTwin, object_: str, fields: dict[str, Any]) -> str:
    """A record with any fields, read-only ones too; an `Id` is kept. Raises ValueError for an unknown object or field."""
    made = twin.schema.get(object_)
    if made is None:
        raise ValueError(f"no object {object_!r}; there are: {', '.join(twin.schema)}")
    unknown = [n for n in fields if n not in made.fields]
    if unknown:
        raise ValueError(f"{object_} has no field {', '.join(unknown)}")
    id_ = full_id(fields["Id"]) if "Id" in fields else twin.rows.new_id(made)
    if id_ is None or not id_.startswith(made.prefix):
        raise ValueError(f"{fields['Id']!r} is not the id of a {object_}")
    now = stamp(twin.clock())
    record = dict(made.defaults)
    record |= {"OwnerId": twin.user, "CreatedDate": now, "CreatedById": twin.user, "LastModifiedById": twin.user}
    record |= {"LastModifiedDate": now, "SystemModstamp": now, "IsDeleted": False}
    names = " ".join(filter(None, (fields.get("FirstName"), fields.get("LastName"))))
    if object_ in ("Contact", "Lead", "User"):
        record["Name"] = names
    record |= {k: v for k, v in fields.items() if v is not None}
    twin.store.put(object_, id_, record | {"Id": id_})
    return id_


def delete(twin: SalesforceTwin, id_: str) -> bool:
    record = twin.rows.live(full_id(id_) or "")
    if record is None or record["IsDeleted"]:
        return False
    twin.store.put(twin.rows.prefixes[record["Id"][:3]], record["Id"], {**record, "IsDeleted": True})
    return True


def convert(twin: SalesforceTwin, id_: str) -> dict[str, Any]:
    """A lead becomes an account and a contact; its activities move to the contact, as Salesforce's conversion does."""
    lead = twin.store.get("Lead", full_id(id_) or "")
    if lead is None or lead["IsDeleted"] or lead.get("IsConverted"):
        raise ValueError(f"{id_} is not a lead that can be converted")
    account = add(twin, "Account", {"Name": lead.get("Company") or "[not provided]"})
    shared = ("FirstName", "LastName", "Email", "Phone", "MobilePhone", "Title", "Salutation")
    contact = add(twin, "Contact", {"AccountId": account, **{n: lead[n] for n in shared if n in lead}})
    done = {
        "IsConverted": True,
        "Status": "Closed - Converted",
        "ConvertedAccountId": account,
        "ConvertedContactId": contact,
    }
    twin.store.put("Lead", lead["Id"], {**lead, **done, "ConvertedDate": stamp(twin.clock())[:10]})
    _move(twin, lead["Id"], contact)
    return {"AccountId": account, "ContactId": contact}


def merge(twin: SalesforceTwin, master: str, loser: str) -> None:
    """The loser is deleted and names its master; its activities move. Raises ValueError unless both live in one object."""
    winner, lost = twin.rows.live(full_id(master) or ""), twin.rows.live(full_id(loser) or "")
    if winner is None or lost is None or winner["Id"][:3] != lost["Id"][:3] or winner is lost:
        raise ValueError(f"{master} and {loser} cannot be merged")
    object_ = twin.rows.prefixes[lost["Id"][:3]]
    twin.store.put(object_, lost["Id"], {**lost, "IsDeleted": True, "MasterRecordId": winner["Id"]})
    _move(twin, lost["Id"], winner["Id"])


def _move(twin: SalesforceTwin, old: str, new: str) -> None:
    for object_ in ("Task", "Event"):
        for record in twin.store.find(object_, "WhoId", old):
            twin.store.put(object_, record["Id"], {**record, "WhoId": new})
