"""The objects of the Salesforce twin: fields with type, length and rights, and the describe answer made of them.

Used by the Salesforce twin's rows and queries. Lengths and required fields are those of Salesforce's Object
Reference; custom fields
are added per twin. Labels matter: Salesforce's error messages speak in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(slots=True, frozen=True)
class SalesforceField:
    """One field. `refers`: objects a reference may point to. `values`: picklist values, enforced only when `restricted`."""

    name: str
    type: str = "string"
    length: int = 0
    label: str = ""
    required: bool = False
    writable: bool = True
    external: bool = False
    unique: bool = False
    lookup: bool = False
    refers: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    restricted: bool = False
    default: Any = None

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def relationship(self) -> str | None:
        """The name under which the referred record's fields are reached: OwnerId -> Owner."""
        if self.type != "reference":
            return None
        return f"{self.name[:-3]}__r" if self.custom else self.name[:-2]


@dataclass(slots=True)
class SObject:
    name: str
    prefix: str
    fields: dict[str, SalesforceField] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    folded: dict[str, SalesforceField] = field(default_factory=dict)
    relationships: dict[str, SalesforceField] = field(default_factory=dict)
    tracked: bool = True  # whether its records can be followed: feed tracking

    def add(self, one: SalesforceField) -> None:
        """Adds or replaces a field. Field names are found without case, as Salesforce does."""
        self.fields[one.name] = one
        self.folded[one.name.casefold()] = one
        if one.relationship:
            self.relationships[one.relationship] = one
        self._sum_up()

    def _sum_up(self) -> None:
        self.required = tuple(f.name for f in self.fields.values() if f.required)
        self.unique = tuple(f.name for f in self.fields.values() if f.unique)
        self.defaults = {f.name: f.default for f in self.fields.values() if f.default is not None}

    def drop(self, name: str) -> None:
        """Takes a field away."""
        one = self.fields.pop(name)
        self.folded.pop(name.casefold(), None)
        if one.relationship:
            self.relationships.pop(one.relationship, None)
        self._sum_up()

    def field(self, name: str) -> SalesforceField | None:
        return self.fields.get(name) or self.folded.get(name.casefold())


# name type(length) flags; ! required at creation, - read-only, ~ idLookup, =value default, >A|B refers to, [a,b] picklist values
_COMMON = """
Id id(18) -~; IsDeleted boolean -=false; OwnerId reference >User; CreatedDate datetime -; CreatedById reference ->User;
LastModifiedDate datetime -; LastModifiedById reference ->User; SystemModstamp datetime -; LastActivityDate date -;
LastViewedDate datetime -; LastReferencedDate datetime -
"""
_ADDRESS = (
    "{0}Street textarea(255); {0}City string(40); {0}State string(80); {0}PostalCode string(20); {0}Country string(80)"
)
_PERSON = """
FirstName string(40); Salutation picklist(40) [Mr.,Ms.,Mrs.,Dr.,Prof.,Mx.]; Name string(121) -; Phone phone(40);
MobilePhone phone(40);
Fax phone(40); Title string(128); LeadSource picklist(255) [Web,Phone Inquiry,Partner Referral,Purchased List,Other];
Description textarea(32000); EmailBouncedReason string(255) -; EmailBouncedDate datetime -; HasOptedOutOfEmail boolean =false
"""
_ACTIVITY = """
WhoId reference >Contact|Lead; WhatId reference >Account|Opportunity|Case;
Subject combobox(255) [Call,Email,Send Letter,Send Quote,Other];
Description textarea(32000); AccountId reference ->Account; IsArchived boolean -=false;
IsReminderSet boolean =false; ReminderDateTime datetime
"""
_OBJECTS: dict[str, tuple[str, str]] = {
    "Account": (
        "001",
        """
Name string(255) !; MasterRecordId reference ->Account; Type picklist(255) [Prospect,Customer - Direct,Other];
ParentId reference >Account;
Phone phone(40); Fax phone(40); AccountNumber string(40); Website url(255); PhotoUrl url(255) -; Sic string(20);
Industry picklist(255) [Agriculture,Banking,Electronics,Energy,Technology,Other]; AnnualRevenue currency;
NumberOfEmployees int(8);
Ownership picklist(255) [Public,Private,Subsidiary,Other]; TickerSymbol string(20); Description textarea(32000);
Rating picklist(255) [Hot,Warm,Cold]; Site string(80); AccountSource picklist(255) [Web,Other];
"""
        + _ADDRESS.format("Billing")
        + ";"
        + _ADDRESS.format("Shipping"),
    ),
    "Contact": (
        "003",
        "MasterRecordId reference ->Contact; AccountId reference >Account; LastName string(80) !; Email "
        "email(80) ~; Birthdate date;"
        "Department string(80); HomePhone phone(40); OtherPhone phone(40); AssistantName string(40); AssistantPhone phone(40);"
        "ReportsToId reference >Contact;" + _PERSON + ";" + _ADDRESS.format("Mailing") + ";" + _ADDRESS.format("Other"),
    ),
    "Lead": (
        "00Q",
        "MasterRecordId reference ->Lead; LastName string(80) !; Company string(255) !; Email email(80) ~; Website url(255);"
        "Status picklist(255) =Open - Not Contacted [Open - Not Contacted,Working - Contacted,Closed - "
        "Converted,Closed - Not Converted];"
        "Industry picklist(255) [Banking,Electronics,Technology,Other]; Rating picklist(255) [Hot,Warm,Cold];"
        " AnnualRevenue currency;"
        "NumberOfEmployees int(8); IsConverted boolean -=false; ConvertedDate date -; ConvertedAccountId reference ->Account;"
        "ConvertedContactId reference ->Contact; ConvertedOpportunityId reference ->Opportunity; IsUnreadByOwner boolean =true;"
        + _PERSON
        + ";"
        + _ADDRESS.format(""),
    ),
    "Task": (
        "00T",
        "ActivityDate date; Status picklist(255) =Not Started [Not Started,In Progress,Completed,Waiting on "
        "someone else,Deferred];"
        "Priority picklist(255) =Normal [High,Normal,Low]; IsHighPriority boolean -=false; IsClosed boolean -=false;"
        "CallDurationInSeconds int(8); CallType picklist(255) [Internal,Inbound,Outbound]; CallDisposition string(255);"
        "CallObject string(255); TaskSubtype picklist(40) =Task [Task,Email,ListEmail,Cadence,Call,LinkedIn];"
        " CompletedDateTime datetime -;" + _ACTIVITY,
    ),
    "Event": (
        "00U",
        "StartDateTime datetime; EndDateTime datetime; ActivityDate date; ActivityDateTime datetime; DurationInMinutes int(8);"
        "Location string(255); IsAllDayEvent boolean =false; IsPrivate boolean =false; ShowAs picklist(40) "
        "=Busy [Busy,OutOfOffice,Free];" + _ACTIVITY,
    ),
    "Case": (
        "500",
        "CaseNumber string(30) -~; ContactId reference >Contact; AccountId reference >Account; ParentId reference >Case;"
        "SuppliedName string(80); SuppliedEmail email(80); SuppliedPhone string(40); SuppliedCompany string(80);"
        "Type picklist(255) [Mechanical,Electrical,Other]; Status picklist(255) =New [New,Working,Escalated,Closed];"
        "Reason picklist(255) [Installation,Performance,Other]; Origin picklist(255) [Phone,Email,Web]; Subject string(255);"
        "Priority picklist(255) =Medium [High,Medium,Low]; Description textarea(32000); IsClosed boolean -=false;"
        "ClosedDate datetime -; IsEscalated boolean =false; Comments textarea(4000)",
    ),
    "Opportunity": (
        "006",
        "AccountId reference >Account; Name string(120) !~; Description textarea(32000); Amount currency; Probability percent;"
        "StageName picklist(255) ! [Prospecting,Qualification,Proposal,Negotiation,Closed Won,Closed Lost]; CloseDate date !;"
        "Type picklist(255) [Existing Business,New Business]; NextStep string(255); LeadSource picklist(255) [Web,Other];"
        "IsClosed boolean -=false; IsWon boolean -=false; ContactId reference >Contact",
    ),
    "OpportunityContactRole": (
        "00K",
        "OpportunityId reference !>Opportunity; ContactId reference !>Contact;"
        "Role picklist(40) [Decision Maker,Evaluator,Other];"
        "IsPrimary boolean =false",
    ),
    "User": (
        "005",
        "Username string(80) !; LastName string(80) !; FirstName string(40); Name string(121) -; CompanyName "
        "string(80); Title string(80);"
        "Email email(128) !; Phone phone(40); MobilePhone phone(40); Alias string(8) !; IsActive boolean =true;"
        "TimeZoneSidKey picklist(40) !; LocaleSidKey picklist(40) !; EmailEncodingKey picklist(40) !; "
        "ProfileId reference !>Profile;"
        "UserRoleId reference >UserRole; UserType picklist(40) -=Standard; LanguageLocaleKey picklist(40) !; "
        "EmployeeNumber string(20)",
    ),
    "PermissionSet": ("0PS", "Name string(80) !; Label string(80) !; IsOwnedByProfile boolean -=false"),
    "PermissionSetAssignment": ("0Pa", "AssigneeId reference !>User; PermissionSetId reference !>PermissionSet"),
    "FieldPermissions": (
        "01k",
        "ParentId reference !>PermissionSet; SobjectType string(80) !; Field string(255) !;"
        "PermissionsRead boolean =false; PermissionsEdit boolean =false",
    ),
    "UserPermissionAccess": (
        "0Hp",
        "PermissionsApiEnabled boolean -=false; PermissionsViewAllData boolean -=false;"
        "PermissionsModifyAllData boolean -=false; PermissionsCustomizeApplication boolean -=false;"
        "PermissionsViewSetup boolean -=false; PermissionsConvertLeads boolean -=false",
    ),
    "EntitySubscription": (
        "0E8",
        "ParentId reference !>Account|Contact|Lead|Opportunity|Case|Task|Event; SubscriberId reference !>User",
    ),
    "LeadStatus": (
        "01J",
        "MasterLabel string(255) -; ApiName string(255) -; SortOrder int(3) -; IsDefault boolean -=false; "
        "IsConverted boolean -=false",
    ),
}
_SETUP = frozenset(
    {"User", "PermissionSet", "PermissionSetAssignment", "FieldPermissions", "UserPermissionAccess", "LeadStatus"}
)
_ENTRY = re.compile(
    r"(?P<name>\w+) (?P<type>\w+)(?:\((?P<length>\d+)\))?\s*(?P<flags>[!\-~]*)(?:=(?P<default>[^\[>]+?))?(?:>(?P<refers>[\w|]+))?"
    r"\s*(?:\[(?P<values>[^\]]*)\])?$"
)
_NOT_USERS = frozenset(
    {"IsDeleted", "OwnerId", "LastActivityDate"}
)  # [R]: a user has none of these; [M]: nor what sets up the org
_LABELS = {"WhoId": "Name", "WhatId": "Related To", "OwnerId": "Assigned To", "Id": "Record ID"}

# The fields syncd's set-up adds to an org. On Activity "Unique" is believed to be unavailable [M], so the key there is not.
CUSTOM_FIELDS: dict[str, tuple[SalesforceField, ...]] = {
    "Account": (
        SalesforceField("Syncd_Key__c", length=64, label="Syncd Key", external=True, unique=True, lookup=True),
    ),
    "Opportunity": (
        SalesforceField("Syncd_Key__c", length=64, label="Syncd Key", external=True, unique=True, lookup=True),
    ),
    "Lead": (SalesforceField("Syncd_Key__c", length=64, label="Syncd Key", external=True, unique=True, lookup=True),),
    "Contact": (
        SalesforceField("Syncd_Key__c", length=64, label="Syncd Key", external=True, unique=True, lookup=True),
    ),
    "Case": (SalesforceField("Syncd_Key__c", length=64, label="Syncd Key", external=True, unique=True, lookup=True),),
    "Task": (SalesforceField("Syncd_Key__c", length=64, label="Syncd Key", external=True, lookup=True),),
    "Event": (SalesforceField("Syncd_Key__c", length=64, label="Syncd Key", external=True, lookup=True),),
}


def _field(entry: str) -> SalesforceField:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"not a field of the schema table: {entry!r}")
    name, type_, flags = match["name"], match["type"], match["flags"]
    default: Any = match["default"]
    if type_ == "boolean":
        default = default == "true"
    return SalesforceField(
        name,
        type_,
        int(match["length"] or 0),
        _LABELS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Id") or name),
        required="!" in flags,
        writable="-" not in flags,
        lookup="~" in flags,
        refers=tuple((match["refers"] or "").split("|")) if match["refers"] else (),
        values=tuple(match["values"].split(",")) if match["values"] else (),
        default=default.strip() if isinstance(default, str) else default,
    )


def schema(custom: Mapping[str, tuple[SalesforceField, ...]] | None = None) -> dict[str, SObject]:
    """All objects by name, with the custom fields given (default: syncd's own)."""
    objects: dict[str, SObject] = {}
    for name, (prefix, text) in _OBJECTS.items():
        made = objects[name] = SObject(name, prefix)
        for entry in f"{_COMMON};{text}".replace("\n", " ").split(";"):
            if entry.strip() and not (name in _SETUP and entry.split()[0] in _NOT_USERS):
                made.add(_field(entry.strip()))
        for one in (CUSTOM_FIELDS if custom is None else custom).get(name, ()):
            made.add(replace(one, label=one.label or one.name.removesuffix("__c").replace("_", " ")))
    return objects


def describe(made: SObject, version: str) -> dict[str, Any]:
    """The describe answer, as far as clients read it [D: sObject Describe]."""
    base = f"/services/data/{version}/sobjects/{made.name}"
    return {
        "name": made.name,
        "label": made.name,
        "labelPlural": f"{made.name}s",
        "keyPrefix": made.prefix,
        "custom": False,
        "createable": True,
        "updateable": True,
        "deletable": True,
        "queryable": True,
        "searchable": True,
        "feedEnabled": made.tracked,
        "fields": [_describe_field(f) for f in made.fields.values()],
        "recordTypeInfos": [],
        "urls": {"sobject": base, "describe": f"{base}/describe", "rowTemplate": f"{base}/{{ID}}"},
    }


def _describe_field(f: SalesforceField) -> dict[str, Any]:
    text = f.type in ("string", "email", "phone", "url", "textarea", "picklist", "combobox")
    return {
        "name": f.name,
        "label": f.label,
        "type": f.type,
        "length": f.length if text or f.type == "id" else 18 if f.type == "reference" else 0,
        "byteLength": f.length * 3 if text else 18 if f.type in ("id", "reference") else 0,
        "digits": f.length if f.type == "int" else 0,
        "nillable": not f.required and f.type not in ("boolean", "id"),
        "defaultedOnCreate": f.type == "boolean" or f.default is not None or f.name == "OwnerId",
        "defaultValue": f.default,
        "createable": f.writable,
        "updateable": f.writable and f.name != "TaskSubtype",
        "externalId": f.external,
        "unique": f.unique,
        "idLookup": f.lookup,
        "caseSensitive": False,
        "custom": f.custom,
        "filterable": f.type != "textarea",
        "sortable": f.type != "textarea",
        "restrictedPicklist": f.restricted,
        "picklistValues": [
            {"active": True, "defaultValue": v == f.default, "label": v, "validFor": None, "value": v} for v in f.values
        ],
        "referenceTo": list(f.refers),
        "relationshipName": f.relationship,
        "polymorphicForeignKey": len(f.refers) > 1,
    }
