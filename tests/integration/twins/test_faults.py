"""Every fault a plan can name is seen striking, on both CRMs where both have it, and seen to leave what it says it leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from syncd.twins.faults import KINDS
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.wire import PlannedFault
from syncd.twins.zoho.twin import ZohoTwin

LOST = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


class Crm:
    """One writing call of a CRM and what it leaves there, so that a fault is tested once for both."""

    def __init__(self, client: Any, kind: str) -> None:
        self.client, self.kind, self.twin = client, kind, client.twin

    def write(self, key: str = "k", **options: Any) -> requests.Response:
        options.setdefault("timeout", 5)
        if self.kind == "salesforce":
            rows = [{"attributes": {"type": "Task"}, "Subject": "s", "Syncd_Key__c": key}]
            path = "composite/sobjects/Task/Syncd_Key__c"
            answer: requests.Response = self.client.call("PATCH", path, json={"records": rows}, **options)
        else:
            answer = self.client.call("POST", "Tasks", json={"data": [{"Subject": "s", "Syncd_Key": key}]}, **options)
        return answer

    @property
    def written(self) -> list[str]:
        return [r[self.twin.key_field] for r in self.twin.records("Task" if self.kind == "salesforce" else "Tasks")]

    @property
    def operation(self) -> str:
        return "upsert_collection" if self.kind == "salesforce" else "create"

    def fault(self, do: str, **params: Any) -> None:
        self.twin.plan.add([{"on": self.operation, "do": do, **params}])

    def fired(self) -> int:
        return sum(f.fired for f in self.twin.plan.faults)


@pytest.fixture(params=["salesforce", "zoho"])
def crm(request: pytest.FixtureRequest) -> Crm:
    return Crm(request.getfixturevalue(request.param), request.param)


# The connection.


@pytest.mark.parametrize(("when", "left"), [("before", []), ("after", ["k"])])
def test_reset(crm: Crm, when: str, left: list[str]) -> None:
    crm.fault("reset", when=when, nth=1)
    with pytest.raises(LOST):
        crm.write()
    assert crm.written == left
    assert crm.fired() == 1
    assert crm.write("k2").ok
    assert crm.twin.doubled() == {}


@pytest.mark.parametrize(("when", "left"), [("before", []), ("after", ["k"])])
def test_hang(crm: Crm, when: str, left: list[str]) -> None:
    crm.fault("hang", when=when, nth=1)
    with pytest.raises(requests.ReadTimeout):
        crm.write(timeout=0.3)
    assert crm.written == left
    assert crm.write("k2").ok


def test_a_hanging_call_ends_with_its_client(crm: Crm) -> None:
    """Otherwise a few of them would use up the concurrency that the vendor allows."""
    crm.fault("hang")
    for _ in range(3):
        with pytest.raises(requests.ReadTimeout):
            crm.write(timeout=0.05)
    deadline = time.monotonic() + 5
    while crm.twin.in_flight and time.monotonic() < deadline:
        crm.client.get("/_twin/stats")
    assert crm.twin.in_flight == 0


def test_hang_that_ends(crm: Crm) -> None:
    crm.fault("hang", nth=1, seconds=0.05)
    with pytest.raises(LOST):
        crm.write()


def test_truncated_json(crm: Crm) -> None:
    crm.fault("truncate", nth=1)
    answer = crm.write()
    assert answer.ok
    assert answer.headers["Content-Type"].startswith("application/json")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()
    assert crm.written == ["k"]


def test_connection_cut_in_the_body(crm: Crm) -> None:
    crm.fault("cut", nth=1)
    with pytest.raises(LOST):
        crm.write()
    assert crm.written == ["k"]


def test_slow(crm: Crm) -> None:
    crm.fault("slow", seconds=0.3)
    with pytest.raises(requests.ReadTimeout):
        crm.write(timeout=0.1)


# Answers.


@pytest.mark.parametrize(("when", "left"), [("before", []), ("after", ["k"])])
def test_server_error(crm: Crm, when: str, left: list[str]) -> None:
    crm.fault("error", status=500, when=when, nth=1, code="UNKNOWN_EXCEPTION")
    answer = crm.write()
    assert answer.status_code == 500
    body = answer.json()
    assert (body[0]["errorCode"] if crm.kind == "salesforce" else body["code"]) == "UNKNOWN_EXCEPTION"
    assert crm.written == left


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after", [None, 7])
def test_throttled_with_and_without_retry_after(crm: Crm, status: int, retry_after: int | None) -> None:
    crm.fault("error", status=status, nth=1, **({} if retry_after is None else {"retry_after": retry_after}))
    answer = crm.write()
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == (None if retry_after is None else "7")
    assert crm.written == []


def test_html_page(crm: Crm) -> None:
    crm.fault("html", status=502, nth=1, retry_after=3)
    answer = crm.write()
    assert (answer.status_code, answer.headers["Retry-After"]) == (502, "3")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_html_page_after_the_write(crm: Crm) -> None:
    crm.fault("html", when="after", nth=1)
    assert crm.write().status_code == 503
    assert crm.written == ["k"]


@pytest.mark.parametrize(
    ("name", "status", "code", "message"),
    [
        ("daily_limit", 403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        ("concurrent_limit", 403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
        ("storage_limit", 403, "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded"),
        ("lock", 400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"),
        ("unavailable", 503, "SERVER_UNAVAILABLE", "unavailable"),
        ("too_long", 503, "REQUEST_RUNNING_TOO_LONG", "running for too long"),
        ("query_timeout", 400, "QUERY_TIMEOUT", "running for too long"),
        ("api_disabled", 403, "API_DISABLED_FOR_ORG", "API is disabled"),
        ("maintenance", 503, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "read-only"),
    ],
)
def test_named_answers_of_salesforce(salesforce: Any, name: str, status: int, code: str, message: str) -> None:
    salesforce.twin.plan.add([{"on": "*", "do": name, "nth": 1}])
    answer = Crm(salesforce, "salesforce").write()
    (body,) = answer.json()
    assert (answer.status_code, body["errorCode"]) == (status, code)
    assert message in body["message"]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("login_rate", "invalid_grant", "login rate exceeded"),
        ("invalid_grant", "invalid_grant", "expired access/refresh token"),
        ("blocked_app", "OAUTH_APP_BLOCKED", "this app is blocked by admin"),
    ],
)
def test_salesforce_refuses_a_login(salesforce: Any, name: str, code: str, words: str) -> None:
    salesforce.twin.plan.add([{"on": "token", "do": name}])
    answer = salesforce.login()
    assert (answer.status_code, answer.json()) == (400, {"error": code, "error_description": words})


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("concurrency", 429, "TOO_MANY_REQUESTS"),
        ("credits", 429, "THRESHOLD_EXCEEDED"),
        ("internal", 500, "INTERNAL_ERROR"),
        ("locked", 400, "RECORD_LOCKED"),
        ("scope", 401, "OAUTH_SCOPE_MISMATCH"),
        ("no_permission", 403, "NO_PERMISSION"),
        ("wrong_dc", 404, "INVALID_URL_PATTERN"),
    ],
)
def test_named_answers_of_zoho(zoho: Any, name: str, status: int, code: str) -> None:
    zoho.twin.plan.add([{"on": "*", "do": name, "nth": 1, "retry_after": 9}])
    answer = Crm(zoho, "zoho").write()
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (status, code, "9")


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("token_throttle", 400, "Access Denied"),
        ("invalid_code", 200, "invalid_code"),
        ("invalid_client", 200, "invalid_client"),
    ],
)
def test_zoho_refuses_a_token(zoho: Any, name: str, status: int, error: str) -> None:
    zoho.twin.plan.add([{"on": "POST */oauth/v2/token", "do": name, "times": 2}])
    assert [(a.status_code, a.json()["error"]) for a in (zoho.login(), zoho.login())] == [(status, error)] * 2
    assert "access_token" in zoho.login().json()


def test_every_named_answer_and_every_kind_is_tested_here() -> None:
    """A fault added without a test of its firing fails here."""
    text = Path(__file__).read_text()
    untested = [n for n in (*KINDS, *SalesforceTwin.named, *ZohoTwin.named) if f'"{n}"' not in text]
    assert untested == []


# Tokens.


def test_expired_tokens(crm: Crm) -> None:
    crm.fault("expire_tokens", nth=1)
    assert crm.write().status_code == 401
    assert crm.written == []
    assert crm.client.login().ok
    assert crm.write().ok


def test_endlessly_refused_tokens(crm: Crm) -> None:
    crm.fault("refuse_tokens")
    for _ in range(3):
        assert crm.write().status_code == 401
        crm.client.login()
    assert crm.fired() == 3
    assert crm.written == []


# Rows.


@pytest.mark.parametrize("choose", [{"row": 1}, {"match": {"Subject": "BAD"}}])
def test_a_row_error(crm: Crm, choose: dict[str, Any]) -> None:
    crm.fault("row", code="UNABLE_TO_LOCK_ROW", message="locked", fields=["Subject"], **choose)
    key = crm.twin.key_field
    rows: list[dict[str, Any]] = [{"Subject": s, key: s} for s in ("a", "bad", "c")]
    if crm.kind == "salesforce":
        results = crm.client.upsert("Task", key, *rows).json()
        assert [r["success"] for r in results] == [True, False, True]
        assert results[1]["errors"] == [
            {"statusCode": "UNABLE_TO_LOCK_ROW", "message": "locked", "fields": ["Subject"]}
        ]
    else:
        results = crm.client.insert("Tasks", *rows).json()["data"]
        assert [r["status"] for r in results] == ["success", "error", "success"]
        assert (results[1]["code"], results[1]["details"]["json_path"]) == ("UNABLE_TO_LOCK_ROW", "$.data[1].Subject")
    assert crm.written == ["a", "c"]


def test_every_row_or_a_share_of_them(crm: Crm) -> None:
    crm.fault("row", nth=1)
    assert crm.write().status_code in (200, 202)
    assert crm.written == []
    crm.fault("row", share=0.5, seed=3)
    for number in range(40):
        crm.write(str(number))
    assert 5 < len(crm.written) < 35


def test_rows_inside_a_composite_call(salesforce: Any) -> None:
    salesforce.twin.plan.add([{"on": "upsert_collection", "do": "row", "row": 0, "times": 1}])
    url = "/services/data/v62.0/composite/sobjects/Task/Syncd_Key__c"
    parts = [
        {
            "referenceId": r,
            "method": "PATCH",
            "url": url,
            "body": {"records": [{"attributes": {"type": "Task"}, "Syncd_Key__c": r}]},
        }
        for r in ("a", "b")
    ]
    answers = salesforce.post("composite", {"compositeRequest": parts}).json()["compositeResponse"]
    assert [a["body"][0]["success"] for a in answers] == [False, True]


def test_an_error_inside_a_composite_call(salesforce: Any) -> None:
    salesforce.twin.plan.add([{"on": "query", "do": "query_timeout", "inner": True, "nth": 2}])
    url = "/services/data/v62.0/query?q=SELECT Id FROM Lead"
    parts = [{"referenceId": r, "method": "GET", "url": url} for r in ("a", "b")]
    answers = salesforce.post("composite", {"compositeRequest": parts}).json()["compositeResponse"]
    assert [a["httpStatusCode"] for a in answers] == [200, 400]


def test_a_fault_of_the_inner_operation_strikes_the_composite_call(salesforce: Any) -> None:
    salesforce.twin.plan.add([{"on": "upsert_collection", "do": "reset", "when": "after", "nth": 1}])
    url = "/services/data/v62.0/composite/sobjects/Task/Syncd_Key__c"
    body = {"records": [{"attributes": {"type": "Task"}, "Syncd_Key__c": "k"}]}
    with pytest.raises(LOST):
        salesforce.post(
            "composite", {"compositeRequest": [{"referenceId": "a", "method": "PATCH", "url": url, "body": body}]}
        )
    assert len(salesforce.twin.records("Task")) == 1


# People, behind the client's back.


@pytest.mark.parametrize(("do", "code"), [("delete", "ENTITY_IS_DELETED"), ("convert", "CANNOT_UPDATE_CONVERTED_LEAD")])
def test_salesforce_people_vanish_before_the_write(salesforce: Any, do: str, code: str) -> None:
    lead = salesforce.twin.add("Lead", LastName="L", Company="X", Email="l@x.com")
    salesforce.twin.plan.add(
        [{"on": "upsert_collection", "do": do, "object": "Lead", "match": {"Email": "L@x.com"}, "nth": 1}]
    )
    answer = salesforce.upsert("Task", "Syncd_Key__c", {"Syncd_Key__c": "k", "WhoId": lead})
    assert answer.json()[0]["errors"][0]["statusCode"] == code


@pytest.mark.parametrize("do", ["delete", "convert"])
def test_zoho_people_vanish_before_the_write(zoho: Any, do: str) -> None:
    lead = zoho.twin.add("Leads", Last_Name="L", Company="X", Email="l@x.com")
    zoho.twin.plan.add([{"on": "create", "do": do, "object": "Leads", "match": {"Email": "l@x.com"}, "nth": 1}])
    answer = zoho.insert("Tasks", {"Subject": "s", "What_Id": {"id": lead}, "$se_module": "Leads"})
    assert answer.json()["data"][0]["code"] == "INVALID_DATA"


# Writes that come late.


@pytest.mark.parametrize("how", ["reset", "html", "error", "hang"])
def test_a_write_that_commits_after_the_client_has_looked(crm: Crm, how: str) -> None:
    crm.fault("late", answer=how, nth=1)
    try:
        assert crm.write(timeout=0.5).status_code >= 500
    except (requests.ConnectionError, requests.ReadTimeout):
        assert how in ("reset", "hang")
    assert crm.written == []
    assert crm.twin.stats()["late"] == 1
    assert crm.twin.release() == 1
    assert crm.written == ["k"]
    assert crm.twin.stats()["late"] == 0


def test_a_late_write_comes_by_itself(crm: Crm) -> None:
    crm.fault("late", seconds=0.05, nth=1)
    done = threading.Event()
    reattach = crm.twin.store.reattach

    def watched(*args: Any) -> int:
        count: int = reattach(*args)
        done.set()
        return count

    crm.twin.store.reattach = watched
    try:
        with pytest.raises(LOST):
            crm.write()
        assert done.wait(5)
    finally:
        del crm.twin.store.reattach
    assert crm.written == ["k"]


def test_a_late_upsert_by_a_key_that_is_not_unique_makes_a_second_record(salesforce: Any) -> None:
    """Both looked and found nothing: why an upsert on Activity in doubt must wait (architecture.md, invariant 3)."""
    crm = Crm(salesforce, "salesforce")
    crm.fault("late", nth=1)
    with pytest.raises(LOST):
        crm.write()
    assert crm.write().json()[0]["created"] is True
    crm.twin.release()
    assert crm.written == ["k", "k"]
    assert crm.twin.doubled() == {"Task": ["k"]}


def test_a_late_write_with_a_unique_key_is_refused(salesforce: Any, zoho: Any) -> None:
    crm = Crm(zoho, "zoho")
    crm.fault("late", nth=1)
    with pytest.raises(LOST):
        crm.write()
    assert crm.write().ok
    assert crm.twin.release() == 0
    assert crm.written == ["k"]
    lead = {"LastName": "L", "Company": "X", "Syncd_Key__c": "k"}
    salesforce.twin.plan.add([{"on": "upsert_collection", "do": "late", "nth": 1}])
    with pytest.raises(LOST):
        salesforce.upsert("Lead", "Syncd_Key__c", lead)
    assert salesforce.upsert("Lead", "Syncd_Key__c", lead).json()[0]["created"] is True
    salesforce.twin.release()
    assert len(salesforce.twin.records("Lead")) == 1


def test_a_late_update_keeps_what_came_between(salesforce: Any) -> None:
    salesforce.twin.add("Lead", LastName="L", Company="X", Syncd_Key__c="k")
    salesforce.twin.plan.add([{"on": "upsert_collection", "do": "late", "nth": 1}])
    with pytest.raises(LOST):
        salesforce.upsert("Lead", "Syncd_Key__c", {"Syncd_Key__c": "k", "Title": "late"})
    salesforce.upsert("Lead", "Syncd_Key__c", {"Syncd_Key__c": "k", "City": "now"})
    salesforce.twin.release()
    (lead,) = salesforce.twin.records("Lead")
    assert (lead["Title"], lead["City"]) == ("late", "now")


def test_a_fault_object_is_a_plan_entry_too(connect: Callable[..., Any]) -> None:
    client = connect(ZohoTwin(faults=[PlannedFault(do="internal", on="users")]), "/crm/v8")
    assert client.get("users").status_code == 500
    assert client.twin.stats()["faults"][0]["fired"] == 1
