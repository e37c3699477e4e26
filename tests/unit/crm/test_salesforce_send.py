"""What `send` makes of answers: a collection refused as a whole, rows that are missing, parts that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Context, Outcome, Write, Written
from syncd.connectors.crm.salesforce import Salesforce, SalesforceSettings
from syncd.connectors.crm.salesforce.client import HEAVY, Subrequest, Subresponse
from syncd.errors import Ambiguous, Failure, Misconfigured, QuotaExhausted, RateLimited, Rejected, Transient
from syncd.http.oauth import MemoryTokens

Org = Callable[[Subrequest], Subresponse]


def crm_with(org: Org) -> tuple[Salesforce, list[int]]:
    """A destination whose client is answered by `org`; the sizes of its calls."""
    auth = {"flow": "client_credentials", "client_id": "c", "client_secret": "s"}
    settings = SalesforceSettings.model_validate({"login_url": "https://x.my.salesforce.com", "auth": auth})
    crm = Salesforce(settings, Context(name="crm", tokens=MemoryTokens()))
    sizes: list[int] = []

    def send(parts: Sequence[Subrequest]) -> list[Subresponse]:
        assert 0 < len(parts) <= HEAVY
        sizes.append(len(parts))
        return [org(part) for part in parts]

    crm._client.send = send  # type: ignore[method-assign]
    return crm, sizes


def written(part: Subrequest) -> Subresponse:
    assert part.body is not None
    return Subresponse(
        200, [{"id": r["K__c"], "success": True, "created": True, "errors": []} for r in part.body["records"]]
    )


def writes(count: int, bad: frozenset[int] = frozenset(), field: str = "Bad__c") -> list[Write]:
    return [
        Write(key=str(n), object="Task", key_field="K__c", fields={field: "x"} if n in bad else {"S": "x"})
        for n in range(count)
    ]


def send(crm: Salesforce, listed: list[Write]) -> dict[str, Outcome]:
    return {w.key: o for c in crm.plan(listed) for w, o in zip(c.writes, crm.send(c), strict=True)}


def picky(code: str, message: str) -> Org:
    """An org that refuses a whole collection for one record with Bad__c."""

    def org(part: Subrequest) -> Subresponse:
        assert part.body is not None
        if any("Bad__c" in record for record in part.body["records"]):
            return Subresponse(400, [{"errorCode": code, "message": message}])
        return written(part)

    return org


@given(st.integers(1, 1000), st.sets(st.integers(0, 999), max_size=4))
def test_a_record_that_spoils_its_collection_is_found(count: int, picked: set[int]) -> None:
    bad = frozenset(n for n in picked if n < count)
    crm, sizes = crm_with(picky("JSON_PARSER_ERROR", "Cannot deserialize instance of date from VALUE_STRING value x"))
    outcomes = send(crm, writes(count, bad))
    assert {int(key) for key, o in outcomes.items() if isinstance(o, Rejected)} == bad
    assert sum(isinstance(o, Written) for o in outcomes.values()) == count - len(bad)
    assert len(sizes) - 1 <= 4 * max(1, len(bad))


def test_one_bad_of_a_thousand_costs_four_calls_more() -> None:
    crm, sizes = crm_with(picky("JSON_PARSER_ERROR", "Cannot deserialize"))
    send(crm, writes(1000, frozenset({555})))
    assert len(sizes) == 5


def test_a_field_that_is_named_is_blamed_at_once() -> None:
    crm, sizes = crm_with(picky("INVALID_FIELD", "No such column 'Bad__c' on sobject of type Task"))
    outcomes = send(crm, writes(200, frozenset(range(0, 200, 2))))
    assert len(sizes) == 2
    for key, outcome in outcomes.items():
        assert isinstance(outcome, Written if int(key) % 2 else Misconfigured)


def test_what_the_first_call_settled_stays_settled_when_the_second_fails() -> None:
    refuse = picky("INVALID_FIELD", "No such column 'Bad__c' on sobject of type Task")
    calls = []

    def org(part: Subrequest) -> Subresponse:
        calls.append(part)
        if len(calls) > 2:
            raise RateLimited("slow", retry_after=7)
        return refuse(part)

    crm, _ = crm_with(org)
    kept = writes(1)[0]
    lead = Write(key="lead", object="Lead", key_field="K__c", fields={"S": "x"})
    spoilt = Write(key="spoilt", object="Task", key_field="K__c", fields={"Bad__c": "x"})
    outcomes = send(crm, [lead, kept, spoilt])
    assert isinstance(outcomes["lead"], Written)
    assert isinstance(outcomes["spoilt"], Misconfigured)
    assert isinstance(outcomes["0"], RateLimited)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Subresponse(200, []), Ambiguous),
        (Subresponse(200, {"records": []}), Ambiguous),
        (Subresponse(200, [None]), Ambiguous),
        (Subresponse(200, [{"success": True}]), Ambiguous),
        (Subresponse(200, [{"success": False, "errors": []}]), Ambiguous),
        (
            Subresponse(200, [{"success": False, "errors": [{"statusCode": "STRING_TOO_LONG", "message": "m"}]}]),
            Rejected,
        ),
        (Subresponse(500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "m"}]), Ambiguous),
        (Subresponse(400, [{"errorCode": "PROCESSING_HALTED", "message": "m"}]), Transient),
        (Subresponse(400, [{"errorCode": "JSON_PARSER_ERROR", "message": "m"}]), Rejected),
        (
            Subresponse(404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]),
            Misconfigured,
        ),
        (Subresponse(404, "<html>"), Transient),
    ],
)
def test_strange_answers(answer: Subresponse, kind: type[Failure]) -> None:
    crm, _ = crm_with(lambda part: answer)
    [outcome] = send(crm, writes(1)).values()
    assert type(outcome) is kind


def test_a_limit_that_strikes_every_row_speaks_of_the_call() -> None:
    row: dict[str, Any] = {"success": False, "errors": [{"statusCode": "STORAGE_LIMIT_EXCEEDED", "message": "m"}]}
    crm, _ = crm_with(lambda part: Subresponse(200, [row, row]))
    with pytest.raises(QuotaExhausted):
        send(crm, writes(2))


def test_the_headers_and_the_path() -> None:
    seen: list[Subrequest] = []

    def org(part: Subrequest) -> Subresponse:
        seen.append(part)
        return written(part)

    crm, _ = crm_with(org)
    send(crm, writes(1))
    assert (seen[0].method, seen[0].path) == ("PATCH", "/composite/sobjects/Task/K__c")
    assert seen[0].headers == {
        "Sforce-Duplicate-Rule-Header": "allowSave=false; includeRecordDetails=false; runAsCurrentUser=true",
        "Sforce-Auto-Assign": "FALSE",
    }
