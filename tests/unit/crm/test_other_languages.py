"""Salesforce writes its messages in the language of the user that syncd signs in as: the same decisions in every language, and
without any message."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from syncd.connectors.crm.salesforce.client import Subrequest, Subresponse
from syncd.connectors.crm.salesforce.errors import ROWS, answer_failure, failure, response_failure
from syncd.connectors.crm.zoho.destination import outcome
from syncd.connectors.crm.zoho.errors import ROWS as ZOHO_ROWS
from syncd.errors import Misconfigured, QuotaExhausted, RateLimited, Rejected, Scope, StaleReference, Transient
from syncd.http.client import Response
from tests.unit.crm.test_salesforce_errors import NOW
from tests.unit.crm.test_salesforce_send import crm_with, send, writes, written
from tests.unit.crm.test_zoho_errors import CREATE, TASK, UPSERT, error

TAKEN = {
    "en": "duplicate value found: {} duplicates value on record with id: 00TdM000001AAAA",
    "de": "doppelter Wert gefunden: {} dupliziert Wert in Datensatz mit ID: 00TdM000001AAAA",
    "vi": "đã tìm thấy giá trị trùng lặp: {} trùng với giá trị trên bản ghi có id: 00TdM000001AAAA",
    "ja": "重複する値があります。{}は ID 00TdM000001AAAA のレコードの値と重複しています",
    "hidden": "duplicate value found: <unknown> duplicates value on record with id: <unknown>",
    "none": "",
}
ABSENT = {
    "en": "Provided external ID field does not exist or is not accessible: K__c",
    "de": "Das angegebene externe ID-Feld existiert nicht oder ist nicht zugänglich: K__c",
    "vi": "Trường ID bên ngoài được cung cấp không tồn tại hoặc không thể truy cập",
    "ja": "指定された外部 ID 項目 K__c は存在しないか、アクセスできません",
    "none": "",
}


@pytest.mark.parametrize("message", TAKEN.values(), ids=TAKEN)
def test_our_own_key_is_retried(message: str) -> None:
    got = failure([{"statusCode": "DUPLICATE_VALUE", "message": message.format("K__c")}], key_field="K__c")
    assert isinstance(got, Transient)


@pytest.mark.parametrize("language", ["en", "de", "vi", "ja"])
def test_another_unique_field_is_named_with_the_record_that_has_it(language: str) -> None:
    text = TAKEN[language].format("Customer_No__c")
    got = failure([{"statusCode": "DUPLICATE_VALUE", "message": text}], key_field="K__c")
    assert isinstance(got, Rejected)
    assert (got.field, got.existing_id) == ("Customer_No__c", "00TdM000001AAAA")


@pytest.mark.parametrize("fields", [["Customer_No__c"], ["K__c"]])
def test_a_listed_field_needs_no_message(fields: list[str]) -> None:
    got = failure([{"statusCode": "DUPLICATE_VALUE", "message": "", "fields": fields}], key_field="k__C")
    assert isinstance(got, Transient if fields == ["K__c"] else Rejected)


@pytest.mark.parametrize("message", ABSENT.values(), ids=ABSENT)
def test_a_collection_that_is_not_found_holds_the_rule(message: str) -> None:
    crm, sizes = crm_with(lambda part: Subresponse(404, [{"errorCode": "NOT_FOUND", "message": message}]))
    outcomes = send(crm, writes(3))
    assert len(sizes) == 1
    for one in outcomes.values():
        assert isinstance(one, Misconfigured)
        assert (one.scope, one.field) == (Scope.RULE, "K__c")


def test_a_row_that_is_not_found_is_a_record_that_is_gone() -> None:
    assert isinstance(failure([{"statusCode": "NOT_FOUND", "message": ""}]), StaleReference)


@pytest.mark.parametrize(
    "message",
    [
        "No such column 'Bad__c' on sobject of type Task",
        "Keine Spalte 'Bad__c' in sObject vom Typ Task",
        "sObject 種別 Task に項目「Bad__c」がありません",
        "Không có cột “Bad__c” trên sobject loại Task",
        "列がありません",
        "",
    ],
)
def test_the_field_at_fault_harms_only_the_records_that_have_it(message: str) -> None:
    def org(part: Subrequest) -> Subresponse:
        assert part.body is not None
        if any("Bad__c" in record for record in part.body["records"]):
            return Subresponse(400, [{"errorCode": "INVALID_FIELD", "message": message}])
        return written(part)

    crm, sizes = crm_with(org)
    outcomes = send(crm, writes(40, frozenset(range(0, 40, 4))))
    assert {int(key) for key, one in outcomes.items() if isinstance(one, Misconfigured)} == set(range(0, 40, 4))
    assert len(sizes) == 2


@pytest.mark.parametrize(
    ("message", "fields"),
    [("Datensatztyp-ID: 012dM000001AAAA ist ungültig", []), ("", ["RecordTypeId"]), ("", ["OwnerId"])],
)
def test_a_record_type_or_owner_is_not_looked_up_again(message: str, fields: list[str]) -> None:
    got = failure([{"statusCode": "INVALID_CROSS_REFERENCE_KEY", "message": message, "fields": fields}])
    assert isinstance(got, Rejected)


@pytest.mark.parametrize("message", ["ID đối chiếu không hợp lệ", "", "ungültige Querverweis-ID"])
def test_other_references_are(message: str) -> None:
    got = failure([{"statusCode": "INVALID_CROSS_REFERENCE_KEY", "message": message}])
    assert isinstance(got, StaleReference)


@pytest.mark.parametrize(
    ("message", "usage", "kind"),
    [
        ("TotalRequests Limit exceeded.", "", QuotaExhausted),
        ("Limite de ConcurrentRequests atteinte.", "", RateLimited),
        ("Đã vượt quá giới hạn", "api-usage=15000/15000", QuotaExhausted),
        ("Đã vượt quá giới hạn", "api-usage=45/15000", RateLimited),
        ("", "", QuotaExhausted),
    ],
)
def test_the_two_request_limits(message: str, usage: str, kind: type[Any]) -> None:
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": message}]
    headers = {"sforce-limit-info": usage} if usage else {}
    assert type(response_failure(Response(403, headers, orjson.dumps(body), write=True), NOW)) is kind


def test_no_wording_changes_what_a_code_means() -> None:
    texts = [
        "",
        "ungültig",
        "không hợp lệ",
        "無効な値です",
        "the related id given seems to be invalid",
        "already exists",
    ]
    for code in ROWS.listed:
        rows = {type(failure([{"statusCode": code, "message": text}])) for text in texts}
        whole = {type(answer_failure(400, [{"errorCode": code, "message": text}], write=True)) for text in texts}
        assert (len(rows), len(whole)) == (1, 1), code
    for code in ZOHO_ROWS.listed:
        for details in ({}, {"api_name": "Subject"}, {"api_name": "Who_Id"}, {"api_name": "Syncd_Key"}):
            for lane in (CREATE, UPSERT):
                assert len({type(outcome(lane, TASK, error(code, text, **details))) for text in texts}) == 1, code
