"""`convertLead` of Salesforce's SOAP API: the envelope as the WSDL wants it, results, and what its faults mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from lxml import etree

from syncd.connectors.crm.salesforce import soap
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Transient,
)
from syncd.http.client import Response

NOW = datetime(2026, 3, 2, tzinfo=UTC)
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
)
HEAD += 'xmlns="urn:partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
TAIL = "</soapenv:Body></soapenv:Envelope>"
DONE = "<result><accountId>001A</accountId><contactId>003A</contactId><leadId>00QA</leadId>"
DONE += '<opportunityId xsi:nil="true"/><success>true</success></result>'
REFUSED = "<result><errors><fields>Email</fields><message>no &lt;b&gt;</message><statusCode>REQUIRED_FIELD_MISSING</statusCode>"
REFUSED += '</errors><leadId xsi:nil="true"/><success>false</success></result>'


def answer(body: str, status: int = 200) -> Response:
    return Response(status, {}, body.encode(), True)


def results(*rows: str) -> Response:
    return answer(f"{HEAD}<convertLeadResponse>{''.join(rows)}</convertLeadResponse>{TAIL}")


def fault(code: str, message: str = "no") -> Response:
    body = f"<soapenv:Fault><faultcode>{code}</faultcode><faultstring>{message}</faultstring></soapenv:Fault>"
    return answer(f"{HEAD}{body}{TAIL}", 500)


def test_the_envelope_has_its_parts_in_the_order_of_the_wsdl() -> None:
    lead: dict[str, str | bool] = {
        "opportunityName": "A & <B> \"'\x00",
        "sendNotificationEmail": False,
        "leadId": "00Q",
    }
    lead |= {
        "overwriteLeadSource": False,
        "doNotCreateOpportunity": False,
        "convertedStatus": "Đã xong",
        "accountId": "001",
    }
    root = etree.fromstring(soap.envelope("a&token", [lead, lead]))
    assert root.findtext(".//{urn:partner.soap.sforce.com}sessionId") == "a&token"
    one, _ = root.findall(".//{urn:partner.soap.sforce.com}leadConverts")
    assert [etree.QName(child).localname for child in one] == [name for name in soap.ORDER if name in lead]
    assert {etree.QName(child).localname: child.text for child in one} == {
        "accountId": "001",
        "convertedStatus": "Đã xong",
        "doNotCreateOpportunity": "false",
        "leadId": "00Q",
        "opportunityName": "A & <B> \"'",
        "overwriteLeadSource": "false",
        "sendNotificationEmail": "false",
    }


def test_results_are_read_in_their_order() -> None:
    done, refused = soap.results(results(DONE, REFUSED), 2, NOW)
    assert (done.ids, done.errors) == ({"accountId": "001A", "contactId": "003A"}, ())
    assert refused.ids == {}
    assert refused.errors == [{"statusCode": "REQUIRED_FIELD_MISSING", "message": "no <b>", "fields": ["Email"]}]


@pytest.mark.parametrize(
    ("response", "meant"),
    [
        (fault("sf:REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), QuotaExhausted),
        (fault("sf:REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded."), RateLimited),
        (fault("sf:API_DISABLED_FOR_ORG"), Misconfigured),
        (fault("sf:INVALID_FIELD"), Misconfigured),
        (fault("sf:SERVER_UNAVAILABLE"), Transient),
        (fault("sf:UNKNOWN_EXCEPTION"), Ambiguous),
        (fault("sf:UNABLE_TO_LOCK_ROW"), Ambiguous),
        (fault("soapenv:Client"), Ambiguous),
        (answer("<html>Bad gateway</html>", 502), Ambiguous),
        (answer("no", 503), Ambiguous),
        (answer("", 301), Misconfigured),
        (answer("{}"), Ambiguous),
        (answer("<a>&undefined;</a>"), Ambiguous),
        (results(DONE), Ambiguous),  # one result of two
        (fault("sf:INVALID_SESSION_ID"), AuthExpired),
    ],
)
def test_what_an_answer_without_results_means(response: Response, meant: type[Failure]) -> None:
    with pytest.raises(Failure) as failed:
        soap.results(response, 2, NOW)
    assert type(failed.value) is meant


def test_a_refused_session_is_known_by_its_fault() -> None:
    assert soap.refuses_session(fault("sf:INVALID_SESSION_ID"))
    assert not soap.refuses_session(fault("sf:UNKNOWN_EXCEPTION"))
    assert not soap.refuses_session(results(DONE))


def test_no_entity_of_an_answer_is_resolved(tmp_path: object) -> None:
    body = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>{HEAD[38:]}<convertLeadResponse>'
    body += "<result><accountId>&x;</accountId><success>true</success></result></convertLeadResponse>" + TAIL
    (one,) = soap.results(answer(body), 1, NOW)
    assert one.ids == {}
