"""Fields of leads, deals, contacts and companies in `crm.item.*`, as Bitrix24's page "CRM Object Fields" lists them.

Used by portal.py and the item modules. `length` is not on that page: it is what the portal's columns hold [UNV].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ItemField:
    """One field. `status`: the directory its values come from; `items`: values of an enumeration by id; `uf`: the name of a
    custom field as `useOriginalUfNames` shows it."""

    name: str
    type: str
    multiple: bool = False
    read_only: bool = False
    status: str = ""
    length: int = 0
    uf: str = ""
    label: str = ""
    items: tuple[tuple[str, str], ...] = ()
    required: bool = False

    @property
    def title(self) -> str:
        return self.label or re.sub(r"(?<!^)([A-Z])", r" \1", self.name).capitalize()

    @property
    def upper_name(self) -> str:
        return self.uf or re.sub(r"(?<!^)([A-Z])", r"_\1", self.name).upper()

    def described(self) -> dict[str, Any]:
        """The entry of `crm.item.fields`."""
        told: dict[str, Any] = {
            "type": self.type,
            "isRequired": self.required,
            "isReadOnly": self.read_only,
            "isImmutable": False,
            "isMultiple": self.multiple,
            "isDynamic": bool(self.uf),
        }
        if self.items:
            told["items"] = [{"ID": id_, "VALUE": value} for id_, value in self.items]
        if self.status:
            told["statusType"] = self.status
        return told | {"title": self.title, "upperName": self.upper_name}


@dataclass
class ItemType:
    """A type of CRM items: its `entityTypeId`, names, and fields by name. `stages`: the directory of its stages."""

    id: int
    name: str
    title: str
    short: str
    stages: str = ""
    fields: dict[str, ItemField] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return self.name.upper()

    def key(self, id_: int) -> str:
        """The key of a record in the twin's store, as Bitrix24 abbreviates it: L_12, CO_7."""
        return f"{self.short}_{id_}"


# name:type, then [] for many values, ! for read only, @X for the directory X, a number for the length
_COMMON = (
    "id:integer! createdTime:datetime! updatedTime:datetime! createdBy:user! updatedBy:user! assignedById:user opened:boolean "
    "webformId:integer lastActivityBy:user! lastActivityTime:datetime! observers:user[] utmSource:string255 utmMedium:string255 "
    "utmCampaign:string255 utmContent:string255 utmTerm:string255 originatorId:string255 originId:string255 comments:text"
)
_COMM = (
    "hasPhone:boolean! hasEmail:boolean! hasImol:boolean! phoneMobile:string! phoneWork:string! phoneMailing:string! "
    "emailHome:string! emailWork:string! emailMailing:string! imol:string! email:string! phone:string! fm:crm_multifield[]"
)
_PERSON = (
    "honorific:crm_status@HONORIFIC name:string50 secondName:string50 lastName:string50 shortName:string! birthdate:date "
    "post:string255 address:text! login:string!"
)
_MONEY = "opportunity:double isManualOpportunity:boolean currencyId:crm_currency"
_SOURCE = "sourceId:crm_status@SOURCE sourceDescription:text searchContent:text!"
_MOVED = "movedBy:user! movedTime:datetime! stageSemanticId:string! isReturnCustomer:boolean!"

_SPECS = {
    1: f"{_COMMON} {_COMM} {_PERSON} {_MONEY} {_SOURCE} {_MOVED} title:string255 stageId:crm_status@STATUS "
    "statusDescription:text companyTitle:string255 companyId:crm_company contactId:crm_contact contactIds:crm_contact[] "
    "isConvert:boolean! productId:string! dateClosed:datetime! skype:string! icq:string!",
    2: f"{_COMMON} {_MONEY} {_SOURCE} {_MOVED} title:string255 categoryId:crm_category stageId:crm_status@DEAL_STAGE "
    "typeId:crm_status@DEAL_TYPE leadId:crm_lead quoteId:crm_quote companyId:crm_company contactId:crm_contact "
    "contactIds:crm_contact[] probability:integer begindate:date closedate:date closed:boolean! additionalInfo:text "
    "taxValue:double locationId:location isNew:boolean! isRecurring:boolean! isRepeatedApproach:boolean! productId:string! "
    "isWork:boolean! isWon:boolean! isLose:boolean! receivedAmount:string! lostAmount:string! hasProducts:boolean!",
    3: f"{_COMMON} {_COMM} {_PERSON} {_SOURCE} typeId:crm_status@CONTACT_TYPE companyId:crm_company companyIds:crm_company[] "
    "leadId:crm_lead export:boolean originVersion:string255 categoryId:crm_category photo:file",
    4: f"{_COMMON} {_COMM} title:string255 typeId:crm_status@COMPANY_TYPE industry:crm_status@INDUSTRY revenue:double "
    "currencyId:crm_currency employees:crm_status@EMPLOYEES address:text! addressLegal:text! bankingDetails:text leadId:crm_lead "
    "originVersion:string255 isMyCompany:boolean searchContent:text! categoryId:crm_category contactIds:crm_contact[] logo:file",
}
_WORDS = {  # how portals in English call them, for error texts
    "assignedById": "Responsible person",
    "stageId": "Stage",
    "sourceId": "Source",
    "currencyId": "Currency",
    "contactId": "Contact",
    "companyId": "Company",
    "categoryId": "Pipeline",
    "name": "First name",
    "lastName": "Last name",
}
_FORM = re.compile(r"(\w+):([a-z_]+)(\d*)(\[\])?(!)?(?:@(\w+))?")


def _built(spec: str) -> dict[str, ItemField]:
    found = {}
    for one in spec.split():
        match = _FORM.fullmatch(one)
        if match is None:
            raise ValueError(f"{one}: not a field")
        name, type_, length, many, fixed, status = match.groups()
        label = _WORDS.get(name, "")
        found[name] = ItemField(name, type_, bool(many), bool(fixed), status or "", int(length or 0), label=label)
    return found


def item_types() -> dict[int, ItemType]:
    """The four types by `entityTypeId`."""
    named = {
        1: ("lead", "Lead", "L", "STATUS"),
        2: ("deal", "Deal", "D", "DEAL_STAGE"),
        3: ("contact", "Contact", "C", ""),
        4: ("company", "Company", "CO", ""),
    }
    return {id_: ItemType(id_, *names, fields=_built(_SPECS[id_])) for id_, names in named.items()}


def camel(uf: str) -> str:
    """The name of a custom field in `crm.item.*`: as a whole in camelCase where it is all digits or all letters behind the number
    of the type, else only the prefix changes (page "CRM Universal Methods", Field Naming Conventions)."""
    rest = uf.removeprefix("UF_CRM_")
    parts = rest.split("_")
    numbered = parts[0].isdigit() and len(parts) > 1
    tail = parts[1:] if numbered else parts
    head = f"ufCrm{parts[0]}" if numbered else "ufCrm"
    if numbered and all(part.isdigit() for part in tail):
        return f"{head}_{'_'.join(tail)}"
    if all(re.fullmatch(r"[A-Z]+", part) for part in tail):
        return head + "".join(part.capitalize() for part in tail)
    return f"ufCrm_{rest}"


def custom_field(row: Mapping[str, Any]) -> ItemField:
    """The field that a row of the portal's custom fields describes: FIELD_NAME, USER_TYPE_ID, and what else is said of it."""
    name = str(row["FIELD_NAME"])
    return ItemField(
        camel(name),
        str(row["USER_TYPE_ID"]),
        multiple=row.get("MULTIPLE") == "Y",
        status=str(row.get("ENTITY_TYPE", "")),
        uf=name,
        label=str(row.get("LABEL") or name),
        items=tuple((str(one["ID"]), str(one["VALUE"])) for one in row.get("LIST", ())),
        required=row.get("MANDATORY") == "Y",
    )


def bare_name(name: str, own: Iterable[ItemField]) -> str:
    """The name under which a field given as UF_CRM_… is kept; the name itself otherwise."""
    return next((one.name for one in own if one.uf == name), name)
