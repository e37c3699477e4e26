"""What users of the CRM do behind an integration's back: add, delete, convert and merge records of the Salesforce twin.

Used by twin.py; reachable from tests and under /_twin/. The twin commits.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.twins.salesforce.org import SalesforceOrg
from syncd.twins.salesforce.rows import full_id, stamp


def add(org: SalesforceOrg, object_: str, fields: dict[str, Any]) -> str:
    """A record with any fields, read-only ones too; an `Id` is kept. Raises ValueError for an unknown object or field."""
    made = org.schema.get(object_)
    if made is None:
        raise ValueError(f"no object {object_!r}; there are: {', '.join(org.schema)}")
    unknown = [n for n in fields if n not in made.fields]
    if unknown:
        raise ValueError(f"{object_} has no field {', '.join(unknown)}")
    id_ = full_id(fields["Id"]) if "Id" in fields else org.rows.new_id(made)
    if id_ is None or not id_.startswith(made.prefix):
        raise ValueError(f"{fields['Id']!r} is not the id of a {object_}")
    now = stamp(org.clock())
    record = dict(made.defaults)
    record |= {"OwnerId": org.user, "CreatedDate": now, "CreatedById": org.user, "LastModifiedById": org.user}
    record |= {"LastModifiedDate": now, "SystemModstamp": now, "IsDeleted": False}
    names = " ".join(filter(None, (fields.get("FirstName"), fields.get("LastName"))))
    if object_ in ("Contact", "Lead", "User"):
        record["Name"] = names
    record |= {k: v for k, v in fields.items() if v is not None}
    org.store.put(object_, id_, record | {"Id": id_})
    return id_


def delete(org: SalesforceOrg, id_: str) -> bool:
    record = org.rows.live(full_id(id_) or "")
    if record is None or record["IsDeleted"]:
        return False
    org.store.put(org.rows.prefixes[record["Id"][:3]], record["Id"], {**record, "IsDeleted": True})
    return True


def convert(
    org: SalesforceOrg,
    id_: str,
    *,
    account: str = "",
    contact: str = "",
    deal: str = "",
    status: str = "Closed - Converted",
    owner: str = "",
) -> dict[str, Any]:
    """A lead becomes an account and a contact, or joins those named; its activities move to the contact, as Salesforce's
    conversion does. `deal`: the name of a new opportunity, "" for none; `owner`: of what is new, default the lead's."""
    lead = org.store.get("Lead", full_id(id_) or "")
    if lead is None or lead["IsDeleted"] or lead.get("IsConverted"):
        raise ValueError(f"{id_} is not a lead that can be converted")
    new = {"OwnerId": owner or lead["OwnerId"]}
    account = account or add(org, "Account", {"Name": lead.get("Company") or "[not provided]", **new})
    shared = ("FirstName", "LastName", "Email", "Phone", "MobilePhone", "Title", "Salutation")
    theirs = {n: lead[n] for n in shared if n in lead}
    if contact:  # only what is empty there is filled [D]
        org.store.put("Contact", contact, {**theirs, **(org.store.get("Contact", contact) or {})})
    else:
        contact = add(org, "Contact", {"AccountId": account, **theirs, **new})
    made = {"AccountId": account, "ContactId": contact}
    if deal:
        made["OpportunityId"] = _opportunity(org, deal, account, contact, new)
    done = {"IsConverted": True, "Status": status, "ConvertedDate": stamp(org.clock())[:10]}
    org.store.put("Lead", lead["Id"], {**lead, **done, **{f"Converted{n}": made_id for n, made_id in made.items()}})
    _move(org, lead["Id"], contact)
    return made


def _opportunity(org: SalesforceOrg, name: str, account: str, contact: str, new: dict[str, Any]) -> str:
    """With the first stage, and the last day of the quarter as its date [D]; the contact has the primary role."""
    today = datetime.fromtimestamp(org.clock(), UTC).date()
    after = today.replace(day=1, month=(today.month - 1) // 3 * 3 + 1) + timedelta(days=95)
    ends = (after.replace(day=1, month=(after.month - 1) // 3 * 3 + 1) - timedelta(days=1)).isoformat()
    stage = org.schema["Opportunity"].fields["StageName"].values[0]
    made = add(org, "Opportunity", {"Name": name, "AccountId": account, "StageName": stage, "CloseDate": ends, **new})
    add(org, "OpportunityContactRole", {"OpportunityId": made, "ContactId": contact, "IsPrimary": True})
    return made


def merge(org: SalesforceOrg, master: str, loser: str) -> None:
    """The loser is deleted and names its master; its activities move. Raises ValueError unless both live in one object."""
    winner, lost = org.rows.live(full_id(master) or ""), org.rows.live(full_id(loser) or "")
    if winner is None or lost is None or winner["Id"][:3] != lost["Id"][:3] or winner is lost:
        raise ValueError(f"{master} and {loser} cannot be merged")
    object_ = org.rows.prefixes[lost["Id"][:3]]
    org.store.put(object_, lost["Id"], {**lost, "IsDeleted": True, "MasterRecordId": winner["Id"]})
    _move(org, lost["Id"], winner["Id"])


def _move(org: SalesforceOrg, old: str, new: str) -> None:
    for object_ in ("Task", "Event"):
        for record in org.store.find(object_, "WhoId", old):
            org.store.put(object_, record["Id"], {**record, "WhoId": new})
