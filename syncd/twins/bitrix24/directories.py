"""Directories of a new portal (`crm.status.list`): stages, sources, types and the other lists whose codes fields hold.

Used by portal.py. Codes and meanings are those of Bitrix24's documentation; a portal's users add to and change them.
"""

from __future__ import annotations

from typing import Any

# ENTITY_ID -> STATUS_ID:name, with S for won, F for lost behind the code of a stage
_DIRECTORIES = {
    "STATUS": "NEW:Unassigned IN_PROCESS:In_progress PROCESSED:Processed CONVERTED/S:High-quality_lead JUNK/F:Junk_lead",
    "DEAL_STAGE": "NEW:New PREPARATION:Document_preparation PREPAYMENT_INVOICE:Prepayment_invoice EXECUTING:In_progress "
    "FINAL_INVOICE:Final_invoice WON/S:Deal_won LOSE/F:Deal_lost APOLOGY/F:Analyze_failure",
    "DEAL_TYPE": "SALE:Sales COMPLEX:Complex_sales GOODS:Goods SERVICES:Services SERVICE:Maintenance",
    "SOURCE": "CALL:Call EMAIL:E-mail WEB:Website ADVERTISING:Advertising PARTNER:Existing_client "
    "RECOMMENDATION:By_recommendation TRADE_SHOW:Exhibition "
    "WEBFORM:CRM_form CALLBACK:Callback RC_GENERATOR:Sales_boost STORE:Online_store OTHER:Other",
    "CONTACT_TYPE": "CLIENT:Clients SUPPLIER:Suppliers PARTNER:Partners OTHER:Other",
    "COMPANY_TYPE": "CUSTOMER:Client SUPPLIER:Supplier COMPETITOR:Competitor PARTNER:Partner OTHER:Other",
    "EMPLOYEES": "EMPLOYEES_1:less_than_50 EMPLOYEES_2:50-250 EMPLOYEES_3:250-500 EMPLOYEES_4:over_500",
    "INDUSTRY": "IT:Information_Technology TELECOM:Telecommunication MANUFACTURING:Manufacturing BANKING:Banking_Services "
    "CONSULTING:Consulting FINANCE:Finance GOVERNMENT:Government DELIVERY:Delivery ENTERTAINMENT:Entertainment "
    "NOTPROFIT:Non-profit OTHER:Other",
    "HONORIFIC": "HNR_EN_1:Mr. HNR_EN_2:Mrs. HNR_EN_3:Ms. HNR_EN_4:Dr.",
}
_MEANING = {"S": "success", "F": "failure", "": "process"}


def new_portal() -> list[dict[str, Any]]:
    """The rows of all directories, as `crm.status.list` shows them."""
    rows: list[dict[str, Any]] = []
    for entity, codes in _DIRECTORIES.items():
        for number, one in enumerate(codes.split(), 1):
            code, _, name = one.partition(":")
            rows.append(row(len(rows) + 1, entity, code, name.replace("_", " "), number * 10))
    return rows


def row(id_: int, entity: str, code: str, name: str, sort: int, category: int = 0) -> dict[str, Any]:
    """One entry; `code` may end in /S or /F."""
    code, _, semantics = code.partition("/")
    stage = entity == "STATUS" or entity.startswith("DEAL_STAGE")
    made = {
        "ID": str(id_),
        "ENTITY_ID": entity,
        "STATUS_ID": code,
        "NAME": name,
        "NAME_INIT": name,
        "SORT": str(sort),
        "SYSTEM": "Y",
        "CATEGORY_ID": str(category) if category else None,
        "COLOR": "#39A8EF" if stage else None,
        "SEMANTICS": semantics or None,
    }
    return made | ({"EXTRA": {"SEMANTICS": _MEANING[semantics], "COLOR": "#39A8EF"}} if stage else {})
