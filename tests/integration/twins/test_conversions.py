"""Conversion at the stand-ins, by plain HTTP: the SOAP call of Salesforce is as strict as its WSDL, Zoho matches and refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

import pytest
import requests
from lxml import etree

from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.twin import ZohoTwin

PATH = "/services/Soap/u/62.0"
ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com">
<soapenv:Header><urn:SessionHeader><urn:sessionId>{token}</urn:sessionId></urn:SessionHeader></soapenv:Header>
<soapenv:Body><urn:convertLead>{leads}</urn:convertLead></soapenv:Body></soapenv:Envelope>"""
PLAIN = {
    "convertedStatus": "Closed - Converted",
    "doNotCreateOpportunity": "true",
    "overwriteLeadSource": "false",
    "sendNotificationEmail": "false",
}
ORDER = "accountId contactId convertedStatus doNotCreateOpportunity leadId opportunityName overwriteLeadSource ownerId"
ORDER += " sendNotificationEmail"


def asked(given: Mapping[str, str]) -> str:
    """`leadConverts` with its children in the order of the WSDL."""
    names = [name for name in ORDER.split() if name in given]
    children = "".join(f"<urn:{name}>{escape(given[name])}</urn:{name}>" for name in names)
    return f"<urn:leadConverts>{children}</urn:leadConverts>"


def soap(client: Any, leads: str, *, token: str = "", action: bool = True) -> requests.Response:
    held = client.session.headers["Authorization"].partition(" ")[2]
    headers = {"Content-Type": "text/xml; charset=UTF-8", **({"SOAPAction": '""'} if action else {})}
    body = ENVELOPE.format(token=token or held, leads=leads).encode()
    answer: requests.Response = client.call("POST", PATH, data=body, headers=headers)
    return answer


def results(answer: requests.Response) -> list[dict[str, str]]:
    """What stands in each result, and in its errors; nil is absent."""
    assert answer.status_code == 200, answer.text
    rows = etree.fromstring(answer.content).findall(".//{urn:partner.soap.sforce.com}result")
    return [{etree.QName(one).localname: str(one.text) for one in row.iter() if one.text} for row in rows]


def fault(answer: requests.Response) -> str:
    assert answer.status_code == 500
    return str(etree.fromstring(answer.content).findtext(".//faultcode"))


def test_leads_are_converted_and_refused_in_their_order(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    first, second = (salesforce_twin.add("Lead", LastName=f"L{n}", Company="X & Y") for n in range(2))
    deal = {"doNotCreateOpportunity": "false", "opportunityName": "Big <one>"}
    answer = soap(
        salesforce,
        "".join(
            asked(PLAIN | one)
            for one in (
                {"leadId": first, **deal},
                {"leadId": "00Q000000000001AAA"},
                {"leadId": first},
                {"leadId": second},
            )
        ),
    )
    done, absent, again, plain = results(answer)
    assert (done["success"], done["leadId"], plain["success"]) == ("true", first, "true")
    assert (absent["statusCode"], again["statusCode"]) == (
        "INVALID_CROSS_REFERENCE_KEY",
        "CANNOT_UPDATE_CONVERTED_LEAD",
    )
    lead = salesforce.get(f"sobjects/Lead/{first}").json()
    assert (lead["IsConverted"], lead["ConvertedContactId"]) == (True, done["contactId"])
    assert lead["ConvertedOpportunityId"] == done["opportunityId"]
    (opportunity,) = salesforce_twin.records("Opportunity")
    assert (opportunity["Name"], opportunity["AccountId"]) == ("Big <one>", done["accountId"])
    (role,) = salesforce_twin.records("OpportunityContactRole")
    assert (role["ContactId"], role["IsPrimary"]) == (done["contactId"], True)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"convertedStatus": "Open - Not Contacted"}, "INVALID_STATUS"),
        ({"contactId": "contact"}, "REQUIRED_FIELD_MISSING"),
        ({"contactId": "contact", "accountId": "other"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"accountId": "001000000000001AAA"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"opportunityName": "x"}, "INVALID_FIELD"),
    ],
)
def test_what_does_not_go_together_is_refused(
    salesforce: Any, salesforce_twin: SalesforceTwin, more: dict[str, str], code: str
) -> None:
    lead = salesforce_twin.add("Lead", LastName="L", Company="X")
    there = {"other": salesforce_twin.add("Account", Name="Other"), "theirs": salesforce_twin.add("Account", Name="T")}
    there["contact"] = salesforce_twin.add("Contact", LastName="C", AccountId=there["theirs"])
    given = {name: there.get(value, value) for name, value in more.items()}
    (row,) = results(soap(salesforce, asked(PLAIN | {"leadId": lead} | given)))
    assert (row["success"], row["statusCode"]) == ("false", code)
    assert not salesforce.get(f"sobjects/Lead/{lead}").json()["IsConverted"]


def test_an_envelope_that_is_not_the_wsdls_is_a_fault(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    lead = salesforce_twin.add("Lead", LastName="L", Company="X")
    good = asked(PLAIN | {"leadId": lead})
    swapped = good.replace("convertedStatus", "x").replace("leadId", "convertedStatus").replace("x>", "leadId>")
    lacking = asked(
        {name: value for name, value in PLAIN.items() if name != "sendNotificationEmail"} | {"leadId": lead}
    )
    for wrong in (swapped, lacking, good.replace("leadId", "leedId")):
        assert fault(soap(salesforce, wrong)) == "soapenv:Client"
    assert fault(soap(salesforce, good, action=False)) == "soapenv:Client"
    assert fault(soap(salesforce, good, token="no")) == "sf:INVALID_SESSION_ID"
    salesforce_twin.plan.add([{"on": "convert_lead", "do": "daily_limit", "times": 1}])
    assert fault(soap(salesforce, good)) == "sf:REQUEST_LIMIT_EXCEEDED"
    assert results(soap(salesforce, good))[0]["success"] == "true"


def test_zoho_tells_and_joins_what_matches(zoho: Any, zoho_twin: ZohoTwin) -> None:
    lead = zoho_twin.add("Leads", Last_Name="L", Email="l@x.com", Company="Firm")
    assert zoho.get(f"Leads/{lead}/__conversion_options").status_code == 204
    account = zoho_twin.add("Accounts", Account_Name="FIRM")
    contact = zoho_twin.add("Contacts", Last_Name="C", Email="L@x.com")
    told = zoho.get(f"Leads/{lead}/__conversion_options").json()["__conversion_options"]
    assert ([one["id"] for one in told["Contacts"]], [one["id"] for one in told["Accounts"]]) == ([contact], [account])
    deal = {"Deal_Name": "D", "Closing_Date": "2026-09-30", "Stage": "Qualification", "Amount": 5}
    made = zoho.post(f"Leads/{lead}/actions/convert", {"data": [{"Deals": deal}]}).json()["data"][0]["details"]
    assert (made["Contacts"]["id"], made["Accounts"]["id"]) == (contact, account)
    assert zoho.get(f"Leads/{lead}").status_code == 204
    shown = zoho.get(f"Leads/{lead}", converted="both").json()["data"][0]
    assert (shown["$converted"], shown["$converted_detail"]["deal"]) == (True, made["Deals"]["id"])


@pytest.fixture
def pipelines(zoho_twin: ZohoTwin) -> Iterator[None]:
    zoho_twin.pipelines = {"Standard": ("Qualification",)}
    yield
    zoho_twin.pipelines = {}


@pytest.mark.usefixtures("pipelines")
@pytest.mark.parametrize(
    ("deal", "code", "field"),
    [
        ({"Stage": None}, "MANDATORY_NOT_FOUND", "Stage"),
        ({"Closing_Date": None}, "MANDATORY_NOT_FOUND", "Closing_Date"),
        ({"Pipeline": None}, "MANDATORY_NOT_FOUND", "Pipeline"),
        ({"Stage": "Closed Won"}, "MAPPING_MISMATCH", "Stage"),
        ({"Closing_Date": "soon"}, "INVALID_DATA", "Closing_Date"),
    ],
)
def test_a_deal_that_zoho_refuses_converts_nothing(
    zoho: Any, zoho_twin: ZohoTwin, deal: dict[str, Any], code: str, field: str
) -> None:
    lead = zoho_twin.add("Leads", Last_Name="L", Company="Firm")
    whole = {"Deal_Name": "D", "Closing_Date": "2026-09-30", "Stage": "Qualification", "Pipeline": "Standard"} | deal
    answer = zoho.post(f"Leads/{lead}/actions/convert", {"data": [{"Deals": whole}]})
    (row,) = answer.json()["data"]
    assert (answer.status_code, row["code"], row["details"]["api_name"]) == (202, code, field)
    assert (zoho_twin.records("Contacts"), zoho.get(f"Leads/{lead}").status_code) == ([], 200)
