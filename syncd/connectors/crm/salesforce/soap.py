"""The one call that Salesforce's REST API lacks, in XML: `convertLead` of its SOAP API (partner WSDL). Pure.

Facts: salesforce_more.md, Lead conversion; the SOAP API's pages "convertLead()" and "LeadConvert". The children of `leadConverts`
are a sequence: their order counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.connectors.crm.salesforce.errors import answer_failure, response_failure
from syncd.errors import Failure, Transient
from syncd.http.client import Response, unclear

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
PARTNER = "urn:partner.soap.sforce.com"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
ORDER = (
    "accountId",
    "contactId",
    "convertedStatus",
    "doNotCreateOpportunity",
    "leadId",
    "opportunityName",
    "overwriteLeadSource",
    "ownerId",
    "sendNotificationEmail",
)
"""The children of `leadConverts` that are sent, in their order."""
_CONTROL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold."""


@dataclass(frozen=True)
class ConvertResult:
    """One result: the ids of what a lead became (`accountId`, `contactId`, `opportunityId`), or its errors as REST has them."""

    ids: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[Mapping[str, Any]] = ()


def envelope(token: str, leads: Sequence[Mapping[str, str | bool]]) -> bytes:
    """The request that converts these leads: child of `leadConverts` -> value."""
    from lxml import etree  # 4 MB of memory that only a mapping which converts pays for

    root = etree.Element(f"{{{ENVELOPE}}}Envelope", nsmap={"soapenv": ENVELOPE, "urn": PARTNER})
    session = etree.SubElement(etree.SubElement(root, f"{{{ENVELOPE}}}Header"), f"{{{PARTNER}}}SessionHeader")
    etree.SubElement(session, f"{{{PARTNER}}}sessionId").text = token
    call = etree.SubElement(etree.SubElement(root, f"{{{ENVELOPE}}}Body"), f"{{{PARTNER}}}convertLead")
    for lead in leads:
        one = etree.SubElement(call, f"{{{PARTNER}}}leadConverts")
        for name in ORDER:
            if name in lead:
                etree.SubElement(one, f"{{{PARTNER}}}{name}").text = _text(lead[name])
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else _CONTROL.sub("", value)


def refuses_session(response: Response) -> bool:
    """Whether the access token was refused: a fault, with the status 500."""
    return not response.ok and _fault(response)[0] == "INVALID_SESSION_ID"


def results(response: Response, count: int, now: datetime) -> list[ConvertResult]:
    """The results of so many leads, in the order asked. Raises the Failure of the whole call."""
    root = _parsed(response.body)
    if not response.ok or root is None:
        raise _failure(response, now)
    found = [_result(one) for one in root.iterfind(".//{*}convertLeadResponse/{*}result")]
    if len(found) != count:
        raise unclear(f"{count} conversions were answered with {len(found)} results", write=True, code="rows")
    return found


def _result(node: Any) -> ConvertResult:
    if _child(node, "success") == "true":
        return ConvertResult(
            {name: id_ for name in ("accountId", "contactId", "opportunityId") if (id_ := _child(node, name))}
        )
    errors = [
        {
            "statusCode": _child(one, "statusCode"),
            "message": _child(one, "message"),
            "fields": [str(name.text) for name in one.iterfind("{*}fields") if name.text],
        }
        for one in node.iterfind("{*}errors")
    ]
    return ConvertResult(errors=errors or [{"statusCode": "", "message": "no reason was given"}])


def _failure(response: Response, now: datetime) -> Failure:
    """What an answer without results means. A fault has the status 500, whatever it says; one that a retry may resolve need not
    have come before the work was done."""
    code, message = _fault(response)
    if not code and response.ok:
        return unclear("a conversion was answered with something that is not a SOAP message", write=True, code="body")
    if not code:
        return response_failure(response, now)
    body = [{"errorCode": code, "message": message}]
    meant = answer_failure(400, body, write=True)
    return answer_failure(500, body, write=True) if isinstance(meant, Transient) else meant


def _fault(response: Response) -> tuple[str, str]:
    """(code, message) of a fault; ("", "") where the answer has none."""
    root = _parsed(response.body)
    fault = None if root is None else root.find(".//{*}Fault")
    if fault is None:
        return "", ""
    return _child(fault, "faultcode").rpartition(":")[2], _child(fault, "faultstring")


def _child(node: Any, name: str) -> str:
    """The text of a child, "" for one that is absent or nil."""
    child = node.find(f"{{*}}{name}")
    if child is None or child.get(NIL) in ("true", "1"):
        return ""
    return str(child.text or "").strip()


def _parsed(body: bytes) -> Any:
    """The document, None for what is not XML. No entity is resolved, and nothing is fetched."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        return etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
