"""The modules of the Zoho CRM twin: fields with type and length, the extras a record carries, and the settings answers.

Used by org.py and rows.py. Field names are those of recorded records; lengths are Zoho's standard ones (zoho.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(slots=True, frozen=True)
class ZohoField:
    """One field. `refers`: module a lookup points to. `values`: a picklist's; enforced only when `restricted`."""

    name: str
    type: str = "text"
    length: int = 255
    mandatory: bool = False
    unique: bool = False
    writable: bool = True
    custom: bool = False
    refers: str = ""
    values: tuple[str, ...] = ()
    restricted: bool = False
    default: Any = None


@dataclass
class Module:
    """`check`: the system's duplicate-check field, "" where upsert is not supported (zoho.md: not "
    "Tasks, Calls, Events, Notes)."""

    name: str
    check: str = ""
    fields: dict[str, ZohoField] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)

    def add(self, one: ZohoField) -> None:
        """Adds or replaces a field."""
        self.fields[one.name] = one
        self._sum_up_again()

    def drop(self, name: str) -> None:
        """Takes a field away."""
        del self.fields[name]
        self._sum_up_again()

    def _sum_up_again(self) -> None:
        self.__dict__.pop("mandatory", None)
        self.__dict__.pop("unique", None)

    @cached_property
    def mandatory(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields.values() if f.mandatory)

    @cached_property
    def unique(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields.values() if f.unique)


# name type(length) flags: ! mandatory, - read-only, =default, >Module, [a,b] values, [!a,b] values and no others
_SYSTEM = (
    "Owner ownerlookup; Created_By ownerlookup -; Modified_By ownerlookup -; Created_Time datetime -;"
    "Modified_Time datetime -"
)
_RECORD = (
    "Tag list =[]; Last_Activity_Time datetime -; Locked__s boolean -=false; Record_Image text -; Description textarea(32000);"
    "Unsubscribed_Mode picklist -; Unsubscribed_Time datetime -"
)
_PERSON = (
    "First_Name text(40); Last_Name text(80) !; Full_Name text(120) -; Email email(100); Secondary_Email "
    "email(100); Phone phone(30);"
    "Mobile phone(30); Fax phone(30); Skype_ID text(50); Twitter text(50); Salutation picklist(120); "
    "Email_Opt_Out boolean =false;"
    "Lead_Source picklist(120) [Advertisement,Cold Call,Web Download,Chat]"
)
_PLACE = "{0}Street text(250); {0}City text(100); {0}State text(100); {0}Country text(100)"
_SPOT = (
    "{0}Latitude text; {0}Longitude text; {0}Flat_House_No_Building_Apartment_Name text; {0}Coordinates text -=;"
    "{0}Address text -="
)
_ACTIVITY = (
    "Subject text(255) !; Who_Id lookup >Contacts; What_Id lookup >*; Description textarea(32000); Tag list =[];"
    "Last_Activity_Time datetime -; Remind_At text; Recurring_Activity text"
)
_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Leads": (
        "Email",
        (
            "Company text(200); Designation text(100); Website website(450); Industry picklist(120); Annual_Revenue currency;"
            "No_of_Employees integer; Rating picklist(120); Lead_Status picklist(120) [Contacted,Not "
            "Contacted,Lost Lead]; Zip_Code text(30)",
            _PERSON,
            _PLACE.format(""),
            _SPOT.format(""),
            _RECORD,
        ),
    ),
    "Contacts": (
        "Email",
        (
            "Account_Name lookup >Accounts; Vendor_Name lookup >Vendors; Title text(100); Department text(50); "
            "Home_Phone phone(30);"
            "Other_Phone phone(30); Asst_Phone phone(30); Assistant text(50); Date_of_Birth date; Reporting_To lookup >Contacts;"
            "Mailing_Zip text(30); Other_Zip text(30)",
            _PERSON,
            _PLACE.format("Mailing_"),
            _SPOT.format("Mailing_"),
            _PLACE.format("Other_"),
            _SPOT.format("Other_"),
            _RECORD,
        ),
    ),
    "Accounts": (
        "Account_Name",
        (
            "Account_Name text(100) !; Website website(30); Ticker_Symbol text(30); Employees integer; Account_Number bigint =0;"
            "Account_Site text(30); Phone phone(30); Fax phone(30); SIC_Code integer; Annual_Revenue currency; "
            "Ownership picklist(120);"
            "Industry picklist(120); Account_Type picklist(120); Rating picklist(120); Parent_Account lookup >Accounts;"
            "Billing_Code text(30); Shipping_Code text(30)",
            _PLACE.format("Billing_"),
            _SPOT.format("Billing_"),
            _PLACE.format("Shipping_"),
            _SPOT.format("Shipping_"),
            "Tag list =[]; Last_Activity_Time datetime -; Locked__s boolean -=false; Record_Image text -; "
            "Description textarea(32000)",
        ),
    ),
    "Deals": (
        "Deal_Name",
        (
            "Deal_Name text(120) !; Stage picklist(120) ! [Qualification,Needs Analysis,Negotiation,Closed "
            "Won,Closed Lost]; Closing_Date date;"
            "Amount currency; Probability integer; Account_Name lookup >Accounts; Contact_Name lookup >Contacts; "
            "Type picklist(120);"
            "Next_Step text(100); Lead_Source picklist(120); Pipeline picklist(120)",
            _RECORD,
        ),
    ),
    "Products": ("Product_Name", ("Product_Name text(200) !; Product_Code text(200); Unit_Price currency", _RECORD)),
    "Vendors": ("Vendor_Name", ("Vendor_Name text(120) !; Email email(100); Phone phone(30)", _RECORD)),
    "Tasks": (
        "",
        (
            "Due_Date date; Status picklist(120) [Not Started,Deferred,In Progress,Completed,Waiting on someone else];"
            "Priority picklist(120) [High,Highest,Low,Lowest,Normal]; Send_Notification_Email boolean =false; "
            "Closed_Time datetime -",
            _ACTIVITY,
        ),
    ),
    "Calls": (
        "",
        (
            "Call_Type picklist(120) ! [!Inbound,Outbound,Missed]; Call_Start_Time datetime !; Call_Duration "
            "text(20) !; Call_Purpose picklist(120);"
            "Call_Result text(500); Outbound_Call_Status picklist(120); Call_Agenda text(255); Call_Duration_in_seconds integer;"
            "Caller_ID text(100)",
            _ACTIVITY,
        ),
    ),
    "Events": (
        "",
        (
            "Event_Title text(255) !; Start_DateTime datetime !; End_DateTime datetime !; Venue text(255); "
            "All_day boolean =false;"
            "Participants list =[]; Who_Id lookup >Contacts; What_Id lookup >*; Description textarea(32000); Tag list =[];"
            "Last_Activity_Time datetime -; Remind_At text; Recurring_Activity text; Latitude text; Longitude "
            "text; ZIP_Code text;"
            "Check_In_State text; Check_In_City text; Check_In_Comment text; Check_In_Status text =PLANNED; "
            "Check_In_Time datetime -;"
            "Check_In_Address text; Check_In_By text; Check_In_Country text; Check_In_Sub_Locality text",
        ),
    ),
    "Notes": ("", ("Note_Title text(120); Note_Content textarea(32000) !; Parent_Id parent !",)),
}
_ENTRY = re.compile(
    r"(?P<name>\w+) (?P<type>\w+)(?:\((?P<length>\d+)\))?\s*(?P<flags>[!-]*)(?:(?P<eq>=)(?P<default>[\w "
    r"]*|\[\]))?(?:>(?P<refers>[\w*]+))?"
    r"\s*(?:\[(?P<values>[^\]]+)\])?"
)
_NO = {"delegate": False, "takeover": False, "approve": False, "reject": False, "resubmit": False}
_REVIEW = {"approve": False, "reject": False, "resubmit": False}
_STANDARD = {
    "$currency_symbol": "KES",
    "$field_states": None,
    "$state": "save",
    "$process_flow": False,
    "$approved": True,
    "$approval": _NO,
    "$editable": True,
    "$review": None,
    "$orchestration": False,
    "$in_merge": False,
    "$approval_state": "approved",
}
_LAYOUT = {"display_label": "Standard", "name": "Standard", "id": "7328395000000091055"}
_MASTER = _STANDARD | {
    "nearby_distance__s": None,
    "$locked_for_me": False,
    "$review_process": _REVIEW,
    "$layout_id": _LAYOUT,
}
_MASTER |= {"$zia_owner_assignment": "owner_recommendation_unavailable"}
_PLAIN = _STANDARD | {"$review_process": None, "$se_module": None, "$recurrence_id": None, "$send_notification": False}
_EXTRAS: dict[str, dict[str, Any]] = {
    "Leads": _MASTER | {"$converted": False, "$converted_detail": {}},
    "Contacts": _MASTER | {"$is_duplicate": False},
    "Accounts": _MASTER | {"$is_duplicate": False},
    "Tasks": _PLAIN,
    "Calls": _PLAIN,
    "Events": _PLAIN | {"$calendar_booking_event": False, "$meeting_details": None, "$u_id": ""},
    "Notes": {
        "$attachments": None,
        "$field_states": None,
        "$editable": True,
        "$se_module": None,
        "$is_shared_to_client": False,
        "$size": None,
        "$state": "save",
        "$voice_note": False,
    },
}
# What syncd's set-up adds: the unique key; on Tasks it is what makes an insert safe to repeat (zoho.md).
CUSTOM_FIELDS: dict[str, tuple[ZohoField, ...]] = {
    module: (ZohoField("Syncd_Key", length=64, unique=True, custom=True),)
    for module in ("Leads", "Contacts", "Accounts", "Deals", "Tasks", "Calls", "Events")
}


def _field(entry: str) -> ZohoField:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"not a field of the schema table: {entry!r}")
    default: Any = match["default"] if match["eq"] else None
    if match["type"] == "boolean":
        default = default == "true"
    elif match["type"] == "list":
        default = []
    values = match["values"] or ""
    return ZohoField(
        match["name"],
        match["type"],
        int(match["length"] or 255),
        mandatory="!" in match["flags"],
        writable="-" not in match["flags"],
        refers=match["refers"] or "",
        values=tuple(values.removeprefix("!").split(",")) if values else (),
        restricted=values.startswith("!"),
        default=default,
    )


def schema(custom: Mapping[str, tuple[ZohoField, ...]] | None = None) -> dict[str, Module]:
    """All modules by API name, with the custom fields given (default: syncd's own)."""
    modules: dict[str, Module] = {}
    for name, (check, parts) in _FIELDS.items():
        module = modules[name] = Module(name, check, extras=_EXTRAS.get(name, _STANDARD))
        for entry in ";".join((_SYSTEM, *parts)).split(";"):
            one = _field(entry.strip())
            module.fields[one.name] = one
        for one in (CUSTOM_FIELDS if custom is None else custom).get(name, ()):
            module.fields[one.name] = one
    return modules


def describe(module: Module) -> dict[str, Any]:
    """The answer of /settings/fields, as far as clients read it [DOC: Fields Metadata]."""
    return {"fields": [_describe(f, str(7328395000000002000 + i)) for i, f in enumerate(module.fields.values())]}


def _describe(f: ZohoField, id_: str) -> dict[str, Any]:
    return {
        "id": id_,
        "api_name": f.name,
        "field_label": f.name.replace("_", " "),
        "display_label": f.name.replace("_", " "),
        "data_type": f.type,
        "json_type": {
            "integer": "integer",
            "boolean": "boolean",
            "lookup": "jsonobject",
            "ownerlookup": "jsonobject",
        }.get(f.type, "string"),
        "length": f.length,
        "system_mandatory": f.mandatory,
        "read_only": not f.writable,
        "operation_type": {  # as Zoho's published spec names them
            "web_view": True,
            "web_create": f.writable,
            "web_update": f.writable,
            "api_create": f.writable,
            "api_update": f.writable,
        },
        "field_read_only": not f.writable,
        "custom_field": f.custom,
        "visible": True,
        "unique": {"casesensitive": "false"} if f.unique else {},
        "external": None,
        "lookup": {"module": {"api_name": f.refers}} if f.refers not in ("", "*") else {},
        "pick_list_values": [{"display_value": v, "actual_value": v, "type": "used"} for v in f.values],
    }
