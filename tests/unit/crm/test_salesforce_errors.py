"""What Salesforce says becomes a failure class: every code of the retry table, by itself and by identifiers in its message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.accounts.salesforce import ANSWERS
from syncd.connectors.crm.salesforce.errors import ROWS, answer_failure, failure, response_failure
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.http.client import Response

NOW = datetime(2026, 11, 22, tzinfo=UTC)

TABLE: dict[type[Failure], str] = {
    Transient: """UNABLE_TO_LOCK_ROW SERVER_UNAVAILABLE QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG UNKNOWN_EXCEPTION FAILED_WRITE
        INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE ENTITY_IS_LOCKED ALL_OR_NONE_OPERATION_ROLLED_BACK
        PROCESSING_HALTED""",
    QuotaExhausted: "REQUEST_LIMIT_EXCEEDED STORAGE_LIMIT_EXCEEDED LICENSE_LIMIT_EXCEEDED LIMIT_EXCEEDED",
    AuthExpired: "INVALID_SESSION_ID INVALID_AUTH_HEADER",
    Misconfigured: """API_CURRENTLY_DISABLED API_DISABLED_FOR_ORG INVALID_TYPE INVALID_FIELD INVALID_FIELD_FOR_INSERT_UPDATE
        UNSUPPORTED_API_VERSION ORG_LOCKED TRIAL_EXPIRED FUNCTIONALITY_NOT_ENABLED PACKAGE_LICENSE_REQUIRED""",
    Rejected: """REQUIRED_FIELD_MISSING STRING_TOO_LONG INVALID_EMAIL_ADDRESS INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST
        FIELD_CUSTOM_VALIDATION_EXCEPTION FIELD_INTEGRITY_EXCEPTION MALFORMED_ID INSUFFICIENT_ACCESS_OR_READONLY
        INSUFFICIENT_ACCESS_ANYTHING JSON_PARSER_ERROR DUPLICATE_EXTERNAL_ID TXN_SECURITY_NO_ACCESS""",
    StaleReference: "ENTITY_IS_DELETED INVALID_CROSS_REFERENCE_KEY CANNOT_UPDATE_CONVERTED_LEAD DUPLICATES_DETECTED",
}
KNOWN = [(code, kind) for kind, codes in TABLE.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "kind"), KNOWN, ids=[code for code, _ in KNOWN])
@pytest.mark.parametrize("shape", ["statusCode", "errorCode"])
def test_codes(code: str, kind: type[Failure], shape: str) -> None:
    got = failure([{shape: code, "message": "m", "fields": []}])
    assert type(got) is kind
    assert got.code == code


@pytest.mark.parametrize(
    ("code", "message", "kind", "told"),
    [
        ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", QuotaExhausted, {}),
        ("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", RateLimited, {"retry_after": 10.0}),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "x: UNABLE_TO_LOCK_ROW, unable to", Transient, {"known": True}),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "System.LimitException: Too many SOQL queries: 101", Transient, {}),
        ("INVALID_FIELD", "No such column 'F__c' on sobject of type Task", Misconfigured, {"field": "F__c"}),
        ("API_DISABLED_FOR_ORG", "API is disabled", Misconfigured, {"scope": Scope.DESTINATION}),
        (
            "DUPLICATE_VALUE",
            "duplicate value found: K__c duplicates value on record with id: 003000000000001",
            Transient,
            {},
        ),
        (
            "DUPLICATE_VALUE",
            "duplicate value found: No__c duplicates value on record with id: 003000000000001",
            Rejected,
            {"field": "No__c", "existing_id": "003000000000001"},
        ),
        ("DUPLICATE_VALUE", "Duplicate external id specified: k", Transient, {}),
        ("SOMETHING_NEW", "?", Transient, {"known": False, "code": "SOMETHING_NEW"}),
    ],
)
def test_identifiers_decide_where_a_code_has_two_meanings(
    code: str, message: str, kind: type[Failure], told: dict[str, Any]
) -> None:
    got = failure([{"statusCode": code, "message": message}], key_field="K__c")
    assert type(got) is kind
    assert {name: getattr(got, name) for name in told} == told


def test_a_duplicate_rule_tells_which_record_is_there() -> None:
    record = {"attributes": {"type": "Lead"}, "Id": "00Q000000000001AAA"}
    result = {"allowSave": False, "matchResults": [{"matchRecords": [{"record": record}]}]}
    got = failure([{"statusCode": "DUPLICATES_DETECTED", "message": "Use one of these", "duplicateResult": result}])
    assert isinstance(got, Rejected)
    assert got.existing == (("Lead", "00Q000000000001AAA"),)


def test_every_record_that_a_duplicate_rule_names_is_told_with_its_object() -> None:
    ids = ("003000000000001AAA", "00Q000000000001AAA", "a00000000000001AAA")
    records: list[dict[str, Any]] = [{"attributes": {"type": "Contact"}, "Id": ids[0]}, {"Id": ids[1]}, {"Id": ids[2]}]
    matches = [{"entityType": "Person__c", "matchRecords": [{"record": one}]} for one in records]
    result: dict[str, Any] = {"matchResults": [*matches, matches[0], {"matchRecords": [{"record": {}}, None]}, None]}
    got = failure([{"statusCode": "DUPLICATES_DETECTED", "message": "Use one?", "duplicateResult": result}])
    assert isinstance(got, Rejected)
    assert got.existing == (("Contact", ids[0]), ("Lead", ids[1]), ("Person__c", ids[2]))
    assert all(f"{object_} {id_}" in str(got) for object_, id_ in got.existing)


def test_the_first_known_of_several_errors_decides() -> None:
    errors = [
        {"statusCode": "NEVER_SEEN", "message": ""},
        {"statusCode": "STRING_TOO_LONG", "message": "", "fields": ["F"]},
    ]
    got = failure(errors)
    assert isinstance(got, Rejected)
    assert got.field == "F"


def answer(status: int, body: Any, *, write: bool = True, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, write)


@pytest.mark.parametrize(
    ("status", "body", "write", "kind"),
    [
        (500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "x"}], True, Ambiguous),
        (500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "x"}], False, Transient),
        (503, [{"errorCode": "SERVER_UNAVAILABLE", "message": "x"}], True, Transient),
        (503, b"<html><title>Down</title></html>", True, Ambiguous),
        (502, b"", False, Transient),
        (406, b"", True, Transient),
        (420, b"", True, RateLimited),
        (429, b"", True, RateLimited),
        (404, b"<html></html>", True, Transient),
        (302, b"", True, Misconfigured),
        (418, b"{}", True, Transient),
        (400, [], True, Transient),
        (400, {"errorCode": "INVALID_TYPE", "message": "x"}, True, Misconfigured),
    ],
)
def test_whole_answers(status: int, body: Any, write: bool, kind: type[Failure]) -> None:
    assert type(response_failure(answer(status, body, write=write), NOW)) is kind


@pytest.mark.parametrize(
    ("status", "error", "text", "kind"),
    [
        (400, "invalid_grant", "expired access/refresh token", Misconfigured),
        (400, "invalid_grant", "user hasn't approved this consumer", Misconfigured),
        (400, "invalid_grant", "no client credentials user enabled", Misconfigured),
        (400, "inactive_user", "user is inactive", Misconfigured),
        (400, "invalid_client", "invalid client credentials", Misconfigured),
        (400, "invalid_grant", "ip restricted", Misconfigured),
        (400, "invalid_grant", "login rate exceeded", RateLimited),
        (400, "unknown_error", "retry your request", Transient),
        (503, "server_error", "", Transient),
    ],
)
def test_token_endpoint(status: int, error: str, text: str, kind: type[Failure]) -> None:
    with pytest.raises(kind) as caught:
        ANSWERS.read(answer(status, {"error": error, "error_description": text}), NOW)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"<html></html>", Misconfigured),
        (302, b"", Misconfigured),
        (400, {"error": "odd"}, Misconfigured),
        (429, b"", RateLimited),
        (500, b"", Transient),
        (200, b"<html></html>", Transient),
        (200, {"access_token": "a"}, Transient),
        (200, {"access_token": "a", "instance_url": "http://elsewhere.example"}, Transient),
    ],
)
def test_every_unlisted_refusal_stops_and_nonsense_is_tried_again(status: int, body: Any, kind: type[Failure]) -> None:
    with pytest.raises(kind) as caught:
        ANSWERS.read(answer(status, body), NOW)
    assert type(caught.value) is kind


def test_a_token_is_good_until_it_is_refused() -> None:
    given = {"access_token": "a", "instance_url": "https://x.my.salesforce.com/", "issued_at": "1", "expires_in": "60"}
    token = ANSWERS.read(answer(200, given), NOW)
    assert (token.expires_at, token.extra) == (None, {"instance_url": "https://x.my.salesforce.com"})


json = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5) | st.sampled_from(sorted(ROWS.listed)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["errorCode", "statusCode", "message", "fields", "duplicateResult", "matchResults", "matchRecords"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(200, 599), json, st.booleans())
def test_no_answer_breaks_the_table(status: int, body: Any, write: bool) -> None:
    assert isinstance(answer_failure(status, body, write=write), Failure)
    assert isinstance(failure(body), Failure)
    with pytest.raises(Failure):
        ANSWERS.read(answer(status, body), NOW)
