"""`convertLead` of the Salesforce twin's SOAP API (partner WSDL): the envelope, its results and faults.

Used by twin.py. Facts: the SOAP API's pages "convertLead()", "LeadConvert" and "SOAP faults" [D]; what is marked [M] is on none
of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lxml import etree

from syncd.twins.salesforce import people
from syncd.twins.salesforce.org import SalesforceOrg
from syncd.twins.salesforce.rows import SalesforceRowError, full_id
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
PARTNER = "urn:partner.soap.sforce.com"
FAULTS = "urn:fault.partner.soap.sforce.com"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
MOST = 100  # leads in one call [M]
SEQUENCE = (
    "accountId",
    "accountRecord",
    "bypassAccountDedupeCheck",
    "bypassContactDedupeCheck",
    "contactId",
    "contactRecord",
    "convertedStatus",
    "doNotCreateOpportunity",
    "leadId",
    "opportunityId",
    "opportunityName",
    "opportunityRecord",
    "overwriteLeadSource",
    "ownerId",
    "relatedPersonAccountId",
    "relatedPersonAccountRecord",
    "sendNotificationEmail",
)
"""The children of `leadConverts` in the WSDL, an xsd:sequence."""
REQUIRED = ("convertedStatus", "doNotCreateOpportunity", "leadId", "overwriteLeadSource", "sendNotificationEmail")
DEAL_NAME = 120


class SoapFault(Exception):
    """The whole call is refused: HTTP 500."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def fault(code: str, message: str, status: int = 500) -> TwinResponse:
    """A SOAP fault, as Salesforce answers whatever refuses the whole call."""
    root = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soapenv": SOAP, "sf": FAULTS})
    made = etree.SubElement(etree.SubElement(root, f"{{{SOAP}}}Body"), f"{{{SOAP}}}Fault")
    etree.SubElement(made, "faultcode").text = code if ":" in code else f"sf:{code}"
    etree.SubElement(made, "faultstring").text = f"{code}: {message}"
    return TwinResponse(
        status, bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8")), content_type="text/xml"
    )


def session(call: TwinCall) -> str:
    """The session id of an envelope, "" where there is none."""
    root = _document(call.body)
    return "" if root is None else str(root.findtext(".//{*}SessionHeader/{*}sessionId") or "")


def asked(call: TwinCall) -> int:
    """How many leads a call would convert."""
    root = _document(call.body)
    return 0 if root is None else len(root.findall(".//{*}leadConverts"))


def convert_lead(org: SalesforceOrg, call: TwinCall) -> TwinResponse:
    root = _document(call.body)
    operation = None if root is None else root.find("{*}Body/{*}convertLead")
    if operation is None or "soapaction" not in call.headers:
        return fault("soapenv:Client", "Unable to parse the request")  # [M]: the wording
    try:
        leads = [_lead(one) for one in operation.findall("{*}leadConverts")]
        if len(leads) > MOST:
            raise SoapFault("EXCEEDED_MAX_SIZE_REQUEST", f"at most {MOST} leads")  # [M]
    except SoapFault as wrong:
        return fault(wrong.code, wrong.message)
    body = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soapenv": SOAP, None: PARTNER, "xsi": XSI})
    answer = etree.SubElement(etree.SubElement(body, f"{{{SOAP}}}Body"), f"{{{PARTNER}}}convertLeadResponse")
    for index, lead in enumerate(leads):
        _result(answer, _outcome(org, call, index, lead))
    return TwinResponse(
        200, bytes(etree.tostring(body, xml_declaration=True, encoding="UTF-8")), content_type="text/xml"
    )


def _document(body: bytes) -> Any:
    try:
        return etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        return None


def _lead(node: Any) -> dict[str, str]:
    """The children of one `leadConverts`, checked against the WSDL."""
    names = [etree.QName(child).localname for child in node]
    places = [SEQUENCE.index(name) if name in SEQUENCE else -1 for name in names]
    if -1 in places or places != sorted(places) or len(set(names)) != len(names):
        wrong = next((name for name, at in zip(names, places, strict=True) if at < 0), ", ".join(names))
        raise SoapFault("soapenv:Client", f"Element {{{PARTNER}}}{wrong} invalid at this location")
    given = {name: str(child.text or "") for name, child in zip(names, node, strict=True)}
    if missing := [name for name in REQUIRED if name not in given]:
        raise SoapFault("soapenv:Client", f"Required element {missing[0]} is missing")
    return given


def _outcome(
    org: SalesforceOrg, call: TwinCall, index: int, lead: Mapping[str, str]
) -> dict[str, str] | SalesforceRowError:
    savepoint = org.store.savepoint()
    try:
        made: dict[str, str] = org.spare(call, index, dict(lead), lambda: _convert(org, lead))
    except SalesforceRowError as error:
        org.store.rollback(savepoint)
        return error
    return made


def _convert(org: SalesforceOrg, given: Mapping[str, str]) -> dict[str, str]:
    lead = org.store.get("Lead", full_id(given["leadId"]) or "")
    if lead is None:
        raise SalesforceRowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    if lead["IsDeleted"]:
        raise SalesforceRowError("ENTITY_IS_DELETED", "entity is deleted")
    if lead.get("IsConverted"):
        raise SalesforceRowError("CANNOT_UPDATE_CONVERTED_LEAD", "lead already converted")  # wording [M]
    if not org.converts:
        raise SalesforceRowError("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
    if given["convertedStatus"] not in _statuses(org):
        raise SalesforceRowError("INVALID_STATUS", f"invalid convertedStatus: {given['convertedStatus']}")  # [M]
    account, contact = _joined(org, given)
    if given["doNotCreateOpportunity"] == "true" and given.get("opportunityName"):
        text = "opportunityName must be blank if doNotCreateOpportunity is true"
        raise SalesforceRowError("INVALID_FIELD", text, ["opportunityName"])  # [D]; the code is [M]
    deal = given.get("opportunityName") or str(lead.get("Company") or "")
    made = people.convert(
        org,
        lead["Id"],
        account=account,
        contact=contact,
        deal="" if given["doNotCreateOpportunity"] == "true" else deal[:DEAL_NAME],
        status=given["convertedStatus"],
        owner=given.get("ownerId", ""),
    )
    return {name[0].lower() + name[1:]: id_ for name, id_ in made.items()} | {"leadId": lead["Id"]}


def _statuses(org: SalesforceOrg) -> set[str]:
    return {row["MasterLabel"] for row in org.store.table("LeadStatus").records.values() if row["IsConverted"]}


def _joined(org: SalesforceOrg, given: Mapping[str, str]) -> tuple[str, str]:
    """(account, contact) that the lead joins, "" for new ones."""
    account, contact = given.get("accountId", ""), given.get("contactId", "")
    for object_, id_ in (("Account", account), ("Contact", contact)):
        if id_ and not _live(org, object_, id_):
            raise SalesforceRowError("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {id_}")
    if contact and not account:
        raise SalesforceRowError("REQUIRED_FIELD_MISSING", "accountId is required with contactId", ["accountId"])  # [M]
    found = _live(org, "Contact", contact) if contact else None
    if found is not None and found.get("AccountId") != full_id(account):
        text = "the contact must belong to the account"  # [D]; code and wording [M]
        raise SalesforceRowError("INVALID_CROSS_REFERENCE_KEY", text, ["contactId"])
    return full_id(account) or "", full_id(contact) or ""


def _live(org: SalesforceOrg, object_: str, id_: str) -> Record | None:
    found = org.store.get(object_, full_id(id_) or "")
    return None if found is None or found["IsDeleted"] else found


def _result(answer: Any, outcome: Mapping[str, str] | SalesforceRowError) -> None:
    result = etree.SubElement(answer, f"{{{PARTNER}}}result")
    if isinstance(outcome, SalesforceRowError):
        _children(result, [("accountId", None), ("contactId", None)])
        errors = etree.SubElement(result, f"{{{PARTNER}}}errors")
        _children(errors, [("fields", name) for name in outcome.fields])
        _children(errors, [("message", outcome.message), ("statusCode", outcome.code)])
        _children(result, [("leadId", None), ("opportunityId", None), ("success", "false")])
        return
    names = ("accountId", "contactId", "leadId", "opportunityId")
    _children(result, [*((name, outcome.get(name)) for name in names), ("success", "true")])


def _children(node: Any, values: Iterable[tuple[str, str | None]]) -> None:
    for name, value in values:
        child = etree.SubElement(node, f"{{{PARTNER}}}{name}")
        if value is None:
            child.set(f"{{{XSI}}}nil", "true")
        else:
            child.text = value
