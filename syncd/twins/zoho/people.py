"""What users of Zoho CRM do behind an integration's back: add, delete, convert and merge records of the twin.

Used by zoho.py; reachable from tests and under /_twin/. The twin commits. Conversion over the API is here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho.rows import ZohoRowError

if TYPE_CHECKING:
    from syncd.twins.zoho.twin import ZohoTwin

_LINKS = (
    ("Tasks", "Who_Id"),
    ("Tasks", "What_Id"),
    ("Calls", "Who_Id"),
    ("Calls", "What_Id"),
    ("Events", "Who_Id"),
    ("Events", "What_Id"),
)


def add(twin: ZohoTwin, module: str, fields: dict[str, Any]) -> str:
    """A record with any known fields; an `id` is kept, a link may be an id alone. Raises ValueError for what does not exist."""
    if module == "users":
        id_ = str(fields.get("id") or twin.rows.new_id())
        twin.store.put("users", id_, twin.user | fields | {"id": id_})
        return id_
    made = twin.schema.get(module)
    if made is None:
        raise ValueError(f"no module {module!r}; there are: {', '.join(twin.schema)}")
    unknown = [n for n in fields if n not in made.fields and n != "id" and not n.startswith("$")]
    if unknown:
        raise ValueError(f"{module} has no field {', '.join(unknown)}")
    now = twin.rows.stamp()
    record: Record = {f.name: f.default for f in made.fields.values() if f.default is not None}
    record |= {"Owner": twin.user["id"], "Created_By": twin.user["id"], "Modified_By": twin.user["id"]}
    record |= {"Created_Time": now, "Modified_Time": now}
    record |= {n: v["id"] if isinstance(v, dict) and "id" in v else v for n, v in fields.items() if v is not None}
    record["id"] = str(fields.get("id") or twin.rows.new_id())
    twin.store.put(module, record["id"], record)
    return str(record["id"])


def find(twin: ZohoTwin, id_: str) -> tuple[str, Record] | None:
    """(module, record) of a live record, whatever its module."""
    for module in twin.schema:
        record = twin.rows.live(module, id_)
        if record is not None:
            return module, record
    return None


def delete(twin: ZohoTwin, id_: str) -> bool:
    found = find(twin, id_)
    if found is None:
        return False
    twin.store.put(found[0], id_, {**found[1], "_deleted": True})
    return True


def convert(twin: ZohoTwin, id_: str) -> dict[str, Any]:
    """A lead becomes a contact (and an account when it has a company); its activities move to the contact."""
    lead = twin.rows.live("Leads", id_)
    if lead is None or lead.get("$converted"):
        raise ValueError(f"{id_} is not a lead that can be converted")
    made: dict[str, Any] = {}
    shared = ("First_Name", "Last_Name", "Email", "Phone", "Mobile", "Salutation", "Lead_Source")
    fields = {n: lead[n] for n in shared if n in lead}
    if lead.get("Company"):
        made["Accounts"] = add(twin, "Accounts", {"Account_Name": lead["Company"]})
        fields["Account_Name"] = made["Accounts"]
    made["Contacts"] = add(twin, "Contacts", fields)
    twin.store.put("Leads", id_, {**lead, "$converted": True, "$converted_detail": {"contact": made["Contacts"]}})
    _move(twin, id_, made["Contacts"], to_contact=True)
    return made


def merge(twin: ZohoTwin, master: str, loser: str) -> None:
    winner, lost = find(twin, master), find(twin, loser)
    if winner is None or lost is None or winner[0] != lost[0] or master == loser:
        raise ValueError(f"{master} and {loser} cannot be merged")
    twin.store.put(lost[0], loser, {**lost[1], "_deleted": True})
    _move(twin, loser, master, to_contact=False)


def _move(twin: ZohoTwin, old: str, new: str, to_contact: bool) -> None:
    for module, link in _LINKS:
        for record in twin.store.find(module, link, old):
            if to_contact and link == "What_Id":
                rest = {k: v for k, v in record.items() if k not in ("What_Id", "$se_module")}
                twin.store.put(module, record["id"], {**rest, "Who_Id": new})
            else:
                twin.store.put(module, record["id"], {**record, link: new})


def on_convert(twin: ZohoTwin, call: TwinCall) -> TwinResponse:
    """POST Leads/{id}/actions/convert: v2 answers with plain ids [REC], later versions with details "
    "[OAS]; errors under 202 [OAS]."""
    id_ = call.segments[3]
    lead = twin.rows.live("Leads", id_)
    if lead is None:
        return TwinResponse(
            202, {"data": [ZohoRowError("INVALID_DATA", "the id given seems to be invalid", {"id": id_}).body()]}
        )
    if lead.get("$converted"):
        return TwinResponse(
            202, {"data": [ZohoRowError("ID_ALREADY_CONVERTED", "id already converted", {"id": id_}).body()]}
        )
    made = convert(twin, id_)
    if call.segments[1] == "v2":
        return TwinResponse(200, {"data": [made]})
    details = {m: {"name": twin.rows.label(m, i), "id": i} for m, i in made.items()}
    return TwinResponse(
        200,
        {
            "data": [
                {"code": "SUCCESS", "details": details, "message": "The record has been converted", "status": "success"}
            ]
        },
    )
