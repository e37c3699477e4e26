"""The Salesforce twin is as strict as Salesforce: every refusal has its code, its wording, its place in the answer."""

# ruff: noqa: S608 - the statements go to a twin; there is no database behind them

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from syncd.twins.salesforce.rows import checksum, full_id
from syncd.twins.salesforce.twin import SalesforceTwin

LEAD = {"LastName": "Bluth", "Company": "X"}


def only_error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()
    assert isinstance(body, list)
    assert len(body) == 1
    return answer.status_code, body[0]["errorCode"], body[0]["message"]


def row_error(answer: Any, row: int = 0) -> tuple[str, str, list[str]]:
    result = answer.json()[row]
    assert answer.status_code == 200
    assert result["success"] is False
    (error,) = result["errors"]
    return error["statusCode"], error["message"], error["fields"]


def test_ids_carry_the_checksum_of_recorded_ones() -> None:
    assert checksum("001dM00003kRs59") == "QAC"
    assert full_id("001dM00003kRs59") == "001dM00003kRs59QAC"
    assert full_id("001dM00003kRs59QAD") is None
    assert full_id("001dM00003kRs5") is None


def test_upsert_creates_then_updates_and_keeps_the_order(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    rows = [{**LEAD, "Syncd_Key__c": f"k{i}", "Email": f"a{i}@x.com"} for i in range(3)]
    first = salesforce.upsert("Lead", "Syncd_Key__c", *rows)
    assert first.headers["Sforce-Limit-Info"] == "api-usage=1/15000"
    assert [r["created"] for r in first.json()] == [True] * 3
    again = salesforce.upsert("Lead", "Syncd_Key__c", *reversed(rows))
    assert [r["created"] for r in again.json()] == [False] * 3
    assert [r["id"] for r in again.json()] == [r["id"] for r in reversed(first.json())]
    assert [r["Email"] for r in salesforce_twin.records("Lead")] == ["a0@x.com", "a1@x.com", "a2@x.com"]
    assert salesforce_twin.stats()["rows"] == 6
    assert salesforce_twin.doubled() == {}


@pytest.mark.parametrize(
    ("object_", "fields", "code", "message", "names"),
    [
        ("Lead", {"Company": "X"}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ["LastName"]),
        ("Lead", {**LEAD, "FirstName": "f" * 41}, "STRING_TOO_LONG", "data value too large", ["FirstName"]),
        ("Lead", {**LEAD, "FirstName": "😀" * 21}, "STRING_TOO_LONG", "(max length=40)", ["FirstName"]),
        ("Lead", {**LEAD, "Email": "badone"}, "INVALID_EMAIL_ADDRESS", "invalid email address: badone", ["Email"]),
        ("Lead", {**LEAD, "Nope__c": 1}, "INVALID_FIELD", "No such column 'Nope__c' on sobject of type Lead", []),
        (
            "Lead",
            {**LEAD, "CreatedDate": "2026-01-01T00:00:00Z"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "CreatedDate",
            ["CreatedDate"],
        ),
        ("Lead", {**LEAD, "Description": "a\x00b"}, "FIELD_INTEGRITY_EXCEPTION", "not allowed", ["Description"]),
        ("Lead", {**LEAD, "Description": {"a": 1}}, "JSON_PARSER_ERROR", "START_OBJECT", []),
        ("Task", {"Subject": "s" * 256}, "STRING_TOO_LONG", "(max length=255)", ["Subject"]),
        ("Task", {"ActivityDate": "2026-01-02T00:00:00Z"}, "JSON_PARSER_ERROR", "instance of date", []),
        ("Task", {"ActivityDate": "2026-02-30"}, "JSON_PARSER_ERROR", "instance of date", []),
        ("Task", {"WhoId": "nonsense"}, "MALFORMED_ID", "id value of incorrect type: nonsense", ["WhoId"]),
        ("Task", {"WhoId": "001dM00003kRs59QAC"}, "MALFORMED_ID", "id value of incorrect type", ["WhoId"]),
        (
            "Task",
            {"WhoId": full_id("00QdM00003kRs59")},
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            [],
        ),
        ("Task", {"CallDurationInSeconds": "soon"}, "JSON_PARSER_ERROR", "instance of int", []),
        ("Task", {"Who": {"Syncd_Key__c": "p"}}, "JSON_PARSER_ERROR", "Nested object for polymorphic foreign key", []),
        (
            "Contact",
            {"LastName": "a", "Account": {"Nope__c": 1}},
            "INVALID_FIELD",
            "external foreign key reference",
            [],
        ),
    ],
)
def test_a_wrong_row_harms_only_itself(
    salesforce: Any,
    salesforce_twin: SalesforceTwin,
    object_: str,
    fields: dict[str, Any],
    code: str,
    message: str,
    names: list[str],
) -> None:
    good = {"Task": {"Subject": "ok"}, "Lead": LEAD, "Contact": {"LastName": "ok"}}[object_]
    answer = salesforce.upsert(
        object_, "Syncd_Key__c", {**fields, "Syncd_Key__c": "bad"}, {**good, "Syncd_Key__c": "good"}
    )
    found = row_error(answer)
    assert found[0] == code
    assert message in found[1]
    assert found[2] == names
    assert answer.json()[1]["success"] is True
    assert [r["Syncd_Key__c"] for r in salesforce_twin.records(object_)] == ["good"]


def test_all_or_none_rolls_the_good_rows_back(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    answer = salesforce.upsert(
        "Lead", "Syncd_Key__c", {**LEAD, "Syncd_Key__c": "a"}, {"Syncd_Key__c": "b"}, all_or_none=True
    )
    assert row_error(answer, 0)[0] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert row_error(answer, 1)[0] == "REQUIRED_FIELD_MISSING"
    assert salesforce_twin.records("Lead") == []


def test_duplicates_in_one_request_are_all_rejected(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    rows = [{**LEAD, "Syncd_Key__c": k} for k in ("same", "SAME", "other")]
    answer = salesforce.upsert("Lead", "Syncd_Key__c", *rows)
    assert row_error(answer, 0)[:2] == ("DUPLICATE_VALUE", "Duplicate external id specified: same")
    assert row_error(answer, 1)[0] == "DUPLICATE_VALUE"
    assert len(salesforce_twin.records("Lead")) == 1


def test_requests_that_are_wrong_as_a_whole(salesforce: Any) -> None:
    many = [{**LEAD, "Syncd_Key__c": str(i)} for i in range(201)]
    assert only_error(salesforce.upsert("Lead", "Syncd_Key__c", *many))[:2] == (400, "EXCEEDED_ID_LIMIT")
    unknown = only_error(salesforce.upsert("Lead", "Nope__c", LEAD))
    assert unknown == (404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: Nope__c")
    assert only_error(salesforce.upsert("Lead", "Company", LEAD))[:2] == (404, "NOT_FOUND")
    bare = salesforce.patch("composite/sobjects/Lead/Syncd_Key__c", {"records": [{**LEAD, "Syncd_Key__c": "a"}]})
    status, code, text = only_error(bare)
    assert (status, code) == (400, "JSON_PARSER_ERROR")
    assert text.startswith("Nested object for polymorphic foreign key must have an attributes field")
    broken = salesforce.call("PATCH", "composite/sobjects/Lead/Syncd_Key__c", data=b'{"records": [')
    assert only_error(broken)[:2] == (400, "JSON_PARSER_ERROR")
    assert only_error(salesforce.get("sobjects/Nope/describe"))[:2] == (404, "NOT_FOUND")
    assert only_error(salesforce.get("/services/data/v99.0/limits"))[:2] == (404, "NOT_FOUND")


def test_a_unique_key_refuses_a_second_record(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    id_ = salesforce_twin.add("Contact", LastName="A", Syncd_Key__c="k")
    status, code, message = only_error(salesforce.post("sobjects/Contact", {"LastName": "B", "Syncd_Key__c": "K"}))
    assert (status, code) == (400, "DUPLICATE_VALUE")
    assert message == f"duplicate value found: Syncd_Key__c duplicates value on record with id: {id_}"


def test_a_key_on_activity_is_not_unique_and_several_matches_are_refused(
    salesforce: Any, salesforce_twin: SalesforceTwin
) -> None:
    ids = [salesforce_twin.add("Task", Subject="s", Syncd_Key__c="k") for _ in range(2)]
    assert salesforce_twin.doubled() == {"Task": ["k"]}
    assert salesforce_twin.stats()["doubled_total"] == 1
    code, message, _ = row_error(salesforce.upsert("Task", "Syncd_Key__c", {"Syncd_Key__c": "k", "Subject": "t"}))
    assert code == "DUPLICATE_EXTERNAL_ID"
    assert message == f"Syncd Key: more than one record found for external id field: [{ids[0]}, {ids[1]}]"
    single = salesforce.patch("sobjects/Task/Syncd_Key__c/k", {"Subject": "t"})
    assert single.status_code == 300
    assert single.json() == [f"/services/data/v62.0/sobjects/Task/{i}" for i in ids]


def test_a_unique_key_on_activity_is_a_switch(connect: Callable[..., Any]) -> None:
    client = connect(SalesforceTwin(unique_activity_key=True))
    client.twin.add("Task", Subject="s", Syncd_Key__c="k")
    assert only_error(client.post("sobjects/Task", {"Subject": "s", "Syncd_Key__c": "k"}))[1] == "DUPLICATE_VALUE"


def test_single_records(salesforce: Any) -> None:
    made = salesforce.post("sobjects/Lead", LEAD)
    id_ = made.json()["id"]
    assert made.headers["Location"] == f"/services/data/v62.0/sobjects/Lead/{id_}"
    assert salesforce.patch(f"sobjects/Lead/{id_}", {"Title": "Boss"}).status_code == 204
    shown = salesforce.get(f"sobjects/Lead/{id_}", fields="Title,Status,IsConverted").json()
    assert {k: shown[k] for k in ("Title", "Status", "IsConverted")} == {
        "Title": "Boss",
        "Status": "Open - Not Contacted",
        "IsConverted": False,
    }
    created = salesforce.patch("sobjects/Lead/Syncd_Key__c/a%2Fb", LEAD)
    assert (created.status_code, created.json()["created"]) == (201, True)
    updated = salesforce.patch("sobjects/Lead/Syncd_Key__c/a%2Fb", {"Title": "x"})
    assert (updated.status_code, updated.json()["created"]) == (200, False)
    missing = salesforce.call("PATCH", "sobjects/Lead/Syncd_Key__c/none", params={"updateOnly": "true"}, json=LEAD)
    assert missing.status_code == 404
    absent = full_id("00QdM00003kRs59")
    assert only_error(salesforce.patch(f"sobjects/Lead/{absent}", LEAD))[:2] == (404, "INVALID_CROSS_REFERENCE_KEY")
    assert only_error(salesforce.get("sobjects/Lead/nonsense"))[:2] == (404, "NOT_FOUND")
    assert only_error(salesforce.post("sobjects/Lead", {**LEAD, "Id": id_}))[1] == "INVALID_FIELD"


def test_people_who_were_deleted_merged_or_converted(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    lead, gone, winner, loser = (salesforce_twin.add("Lead", **LEAD) for _ in range(4))
    task = salesforce.post("sobjects/Task", {"Subject": "s", "WhoId": lead}).json()["id"]
    made = salesforce_twin.convert(lead)
    salesforce_twin.delete(gone)
    salesforce_twin.merge(winner, loser)
    answer = salesforce.upsert(
        "Task", "Syncd_Key__c", *({"Syncd_Key__c": w, "WhoId": w} for w in (lead, gone, loser, winner))
    )
    assert row_error(answer, 0)[:2] == ("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    assert row_error(answer, 1)[:2] == ("ENTITY_IS_DELETED", "entity is deleted")
    assert row_error(answer, 2)[0] == "ENTITY_IS_DELETED"
    assert answer.json()[3]["success"] is True
    assert salesforce.get(f"sobjects/Task/{task}").json()["WhoId"] == made["ContactId"]
    found = salesforce.soql(f"SELECT IsConverted, ConvertedContactId FROM Lead WHERE Id = '{lead}'").json()["records"][
        0
    ]
    assert (found["IsConverted"], found["ConvertedContactId"]) == (True, made["ContactId"])
    assert only_error(salesforce.patch(f"sobjects/Lead/{lead}", {"Title": "x"}))[:2] == (
        400,
        "CANNOT_UPDATE_CONVERTED_LEAD",
    )
    assert only_error(salesforce.patch(f"sobjects/Lead/{gone}", {"Title": "x"}))[:2] == (404, "ENTITY_IS_DELETED")


def test_a_parent_by_external_id(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    person = salesforce_twin.add("Contact", LastName="A", Syncd_Key__c="p-17")
    who = {"attributes": {"type": "Contact"}, "Syncd_Key__c": "p-17"}
    assert salesforce.upsert("Task", "Syncd_Key__c", {"Syncd_Key__c": "t", "Who": who}).json()[0]["success"] is True
    assert salesforce_twin.records("Task")[0]["WhoId"] == person
    lost = salesforce.upsert("Task", "Syncd_Key__c", {"Syncd_Key__c": "u", "Who": {**who, "Syncd_Key__c": "p-0"}})
    assert "Foreign key external ID: p-0 not found" in row_error(lost)[1]


# Composite.


def test_composite_counts_as_one_call(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    salesforce_twin.add("Contact", LastName="A", Email="a@x.com")
    url = "/services/data/v62.0"
    answer = salesforce.post(
        "composite",
        {
            "compositeRequest": [
                {
                    "referenceId": "people",
                    "method": "GET",
                    "url": f"{url}/query/?q=SELECT Id FROM Contact WHERE Email IN ('A@x.com')",
                },
                {"referenceId": "bad", "method": "GET", "url": f"{url}/query/?q=select count() from XYZZY"},
                {"referenceId": "lead", "method": "POST", "url": f"{url}/sobjects/Lead", "body": LEAD},
                {
                    "referenceId": "task",
                    "method": "PATCH",
                    "url": f"{url}/composite/sobjects/Task/Syncd_Key__c",
                    "body": {"records": [{"attributes": {"type": "Task"}, "Syncd_Key__c": "t", "WhoId": "@{lead.id}"}]},
                },
            ]
        },
    )
    parts = {r["referenceId"]: r for r in answer.json()["compositeResponse"]}
    assert [p["httpStatusCode"] for p in parts.values()] == [200, 400, 201, 200]
    assert parts["people"]["body"]["totalSize"] == 1
    assert parts["bad"]["body"][0]["errorCode"] == "INVALID_TYPE"
    assert salesforce_twin.records("Task")[0]["WhoId"] == parts["lead"]["body"]["id"]
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=1/15000"
    assert salesforce_twin.calls[-1]["inner"] == ["query", "query", "insert", "upsert_collection"]


def test_composite_all_or_none_and_its_limits(salesforce: Any, salesforce_twin: SalesforceTwin) -> None:
    url = "/services/data/v62.0"
    lead = {"referenceId": "a", "method": "POST", "url": f"{url}/sobjects/Lead", "body": LEAD}
    wrong = {"referenceId": "b", "method": "POST", "url": f"{url}/sobjects/Lead", "body": {}}
    answer = salesforce.post("composite", {"allOrNone": True, "compositeRequest": [lead, wrong]}).json()[
        "compositeResponse"
    ]
    assert [a["body"][0]["errorCode"] for a in answer] == ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING"]
    assert salesforce_twin.records("Lead") == []
    many = [{**lead, "referenceId": f"r{i}"} for i in range(26)]
    assert only_error(salesforce.post("composite", {"compositeRequest": many}))[0] == 400
    query = {"method": "GET", "url": f"{url}/query?q=SELECT Id FROM Lead"}
    heavy = [{**query, "referenceId": f"q{i}"} for i in range(6)]
    assert only_error(salesforce.post("composite", {"compositeRequest": heavy}))[0] == 400
    assert salesforce.post("composite", {"compositeRequest": heavy[:5]}).status_code == 200


# Limits and tokens.


def test_the_daily_limit(connect: Callable[..., Any]) -> None:
    client = connect(SalesforceTwin(daily_limit=2))
    assert client.get("limits").json() == {"DailyApiRequests": {"Max": 2, "Remaining": 1}}
    assert client.soql("SELECT Id FROM Lead").headers["Sforce-Limit-Info"] == "api-usage=2/2"
    assert only_error(client.soql("SELECT Id FROM Lead")) == (
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "TotalRequests Limit exceeded.",
    )


def test_too_many_calls_at_once(connect: Callable[..., Any]) -> None:
    client = connect(SalesforceTwin(max_concurrent=2, latency=0.2))

    def ask(_: int) -> tuple[int, str]:
        answer = requests.get(f"{client.twin.url}{client.base}/limits", headers=client.session.headers, timeout=10)
        return answer.status_code, answer.text

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(ask, range(4)))
    assert [status for status, _ in answers] == [200, 200, 403, 403]
    assert "ConcurrentPerOrgLongTxn Limit exceeded" in answers[-1][1]


def test_tokens_are_needed_and_end(connect: Callable[..., Any]) -> None:
    now = [1_000.0]
    client = connect(SalesforceTwin(clock=lambda: now[0], token_life=60.0))
    assert client.get("limits").status_code == 200
    now[0] += 61
    assert only_error(client.get("limits")) == (401, "INVALID_SESSION_ID", "Session expired or invalid")
    client.login()
    assert client.get("limits").status_code == 200
    client.twin.expire_tokens()
    assert client.get("limits").status_code == 401


def test_grants_are_checked(connect: Callable[..., Any]) -> None:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    other = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    twin = SalesforceTwin(
        client_id="app", client_secret="hush", refresh_token="rt", public_key=pem.decode(), rotate_refresh=True
    )
    client = connect(twin)
    claims = {"iss": "app", "sub": "u@x.com", "aud": "https://login.salesforce.com", "exp": int(time.time()) + 120}

    def grant(**form: str) -> tuple[int, str]:
        answer = client.call("POST", "/services/oauth2/token", data=form)
        return answer.status_code, answer.json().get("error_description", "ok")

    def assertion(key: Any = private, **change: Any) -> tuple[int, str]:
        token = jwt.encode(claims | change, key, algorithm="RS256")
        return grant(grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=token)

    assert assertion() == (200, "ok")
    assert assertion(key=other) == (400, "invalid assertion")
    assert assertion(aud="https://example.com") == (400, "audience is invalid")
    assert assertion(iss="else") == (400, "client identifier invalid")
    assert assertion(exp=int(time.time()) - 5)[0] == 400
    assert assertion(exp=int(time.time()) + 3_600)[0] == 400
    assert grant(grant_type="client_credentials", client_id="app", client_secret="hush") == (200, "ok")
    assert grant(grant_type="client_credentials", client_id="app", client_secret="x") == (
        400,
        "invalid client credentials",
    )
    assert grant(grant_type="refresh_token", client_id="app", refresh_token="rt") == (200, "ok")
    assert grant(grant_type="refresh_token", client_id="app", refresh_token="rt") == (
        400,
        "expired access/refresh token",
    )
    assert grant(grant_type="password") == (400, "grant type not supported")


def test_describe_tells_what_a_client_must_know(salesforce: Any) -> None:
    fields = {f["name"]: f for f in salesforce.get("sobjects/Task/describe").json()["fields"]}
    key = fields["Syncd_Key__c"]
    assert (key["externalId"], key["unique"], key["length"]) == (True, False, 64)
    assert fields["WhoId"]["referenceTo"] == ["Contact", "Lead"]
    assert fields["WhoId"]["polymorphicForeignKey"] is True
    assert fields["Status"]["restrictedPicklist"] is False
    contact = {f["name"]: f for f in salesforce.get("sobjects/Contact/describe").json()["fields"]}
    assert [n for n, f in contact.items() if f["idLookup"]] == ["Id", "Email", "Syncd_Key__c"]
    assert contact["Syncd_Key__c"]["unique"] is True
    assert (contact["LastName"]["length"], contact["LastName"]["nillable"]) == (80, False)
