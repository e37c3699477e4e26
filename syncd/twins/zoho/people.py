"""What users of Zoho CRM do behind an integration's back: add, delete, convert and merge records of the twin.

Used by twin.py; reachable from tests and under /_twin/. The twin commits. Conversion over the API is in conversion.py.
"""

from __future__ import annotations

from typing import Any

from syncd.twins.state import Record
from syncd.twins.zoho.org import ZohoOrg

_LINKS = (
    ("Tasks", "Who_Id"),
    ("Tasks", "What_Id"),
    ("Calls", "Who_Id"),
    ("Calls", "What_Id"),
    ("Events", "Who_Id"),
    ("Events", "What_Id"),
)


def add(org: ZohoOrg, module: str, fields: dict[str, Any]) -> str:
    """A record with any known fields; an `id` is kept, a link may be an id alone. Raises ValueError for what does not exist."""
    if module == "users":
        id_ = str(fields.get("id") or org.rows.new_id())
        org.store.put("users", id_, org.user | fields | {"id": id_})
        return id_
    made = org.schema.get(module)
    if made is None:
        raise ValueError(f"no module {module!r}; there are: {', '.join(org.schema)}")
    unknown = [n for n in fields if n not in made.fields and n != "id" and not n.startswith("$")]
    if unknown:
        raise ValueError(f"{module} has no field {', '.join(unknown)}")
    now = org.rows.stamp()
    record: Record = {f.name: f.default for f in made.fields.values() if f.default is not None}
    record |= {"Owner": org.user["id"], "Created_By": org.user["id"], "Modified_By": org.user["id"]}
    record |= {"Created_Time": now, "Modified_Time": now}
    record |= {n: v["id"] if isinstance(v, dict) and "id" in v else v for n, v in fields.items() if v is not None}
    record["id"] = str(fields.get("id") or org.rows.new_id())
    org.store.put(module, record["id"], record)
    return str(record["id"])


def find(org: ZohoOrg, id_: str) -> tuple[str, Record] | None:
    """(module, record) of a live record, whatever its module."""
    for module in org.schema:
        record = org.rows.live(module, id_)
        if record is not None:
            return module, record
    return None


def delete(org: ZohoOrg, id_: str) -> bool:
    found = find(org, id_)
    if found is None:
        return False
    org.store.put(found[0], id_, {**found[1], "_deleted": True})
    return True


def convert(
    org: ZohoOrg,
    id_: str,
    *,
    contact: str = "",
    account: str = "",
    deal: dict[str, Any] | None = None,
    owner: str = "",
) -> dict[str, Any]:
    """A lead becomes a contact (and an account when it has a company), or joins those named; its activities move to the contact.
    `deal`: the values of a new one; `owner`: of what is new, default the lead's."""
    lead = org.rows.live("Leads", id_)
    if lead is None or lead.get("$converted"):
        raise ValueError(f"{id_} is not a lead that can be converted")
    made: dict[str, Any] = {}
    shared = ("First_Name", "Last_Name", "Email", "Phone", "Mobile", "Salutation", "Lead_Source")
    fields = {n: lead[n] for n in shared if n in lead}
    new = {"Owner": owner or lead["Owner"]}
    if account or lead.get("Company"):
        made["Accounts"] = account or add(org, "Accounts", {"Account_Name": lead["Company"], **new})
        fields["Account_Name"] = made["Accounts"]
    if contact:
        org.store.put("Contacts", contact, {**fields, **(org.rows.live("Contacts", contact) or {})})
    made["Contacts"] = contact or add(org, "Contacts", {**fields, **new})
    if deal is not None:
        links = {"Contact_Name": made["Contacts"], "Account_Name": made.get("Accounts")}
        made["Deals"] = add(org, "Deals", {**deal, **links, **new})
    names = {"contact": "Contacts", "account": "Accounts", "deal": "Deals"}
    detail = {name: made[module] for name, module in names.items() if module in made}  # the key set is [UNV]
    org.store.put("Leads", id_, {**lead, "$converted": True, "$converted_detail": detail})
    _move(org, id_, made["Contacts"], to_contact=True)
    return made


def merge(org: ZohoOrg, master: str, loser: str) -> None:
    winner, lost = find(org, master), find(org, loser)
    if winner is None or lost is None or winner[0] != lost[0] or master == loser:
        raise ValueError(f"{master} and {loser} cannot be merged")
    org.store.put(lost[0], loser, {**lost[1], "_deleted": True})
    _move(org, loser, master, to_contact=False)


def _move(org: ZohoOrg, old: str, new: str, to_contact: bool) -> None:
    for module, link in _LINKS:
        for record in org.store.find(module, link, old):
            if to_contact and link == "What_Id":
                rest = {k: v for k, v in record.items() if k not in ("What_Id", "$se_module")}
                org.store.put(module, record["id"], {**rest, "Who_Id": new})
            else:
                org.store.put(module, record["id"], {**record, link: new})
