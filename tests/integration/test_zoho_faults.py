"""The Zoho CRM destination and everything that goes wrong at the twin: calls, rows, reads, credits, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.connector import Written
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
from syncd.twins.zoho.twin import ZohoTwin
from tests.zoho_crm import SECRETS, Connect, answers, connecting, lead, person, push, task


@pytest.fixture
def twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as running:
        yield running


@pytest.fixture
def connect(twin: ZohoTwin) -> Iterator[Connect]:
    yield from connecting(twin)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"do": "credits"}, QuotaExhausted),
        ({"do": "concurrency"}, RateLimited),
        ({"do": "concurrency", "retry_after": 7}, RateLimited),
        ({"do": "html", "status": 429, "retry_after": 7}, RateLimited),
        ({"do": "html", "status": 503, "retry_after": 7}, RateLimited),
        ({"do": "html", "status": 404}, Transient),
        ({"do": "internal"}, Ambiguous),
        ({"do": "internal", "when": "after"}, Ambiguous),
        ({"do": "locked"}, Transient),
        ({"do": "error", "status": 200, "code": "RECORD_LOCKED"}, Transient),
        ({"do": "scope"}, Misconfigured),
        ({"do": "no_permission"}, Misconfigured),
        ({"do": "wrong_dc"}, Misconfigured),
        ({"do": "error", "status": 400, "code": "LIMIT_EXCEEDED"}, Misconfigured),
        ({"do": "error", "status": 400, "code": "NEVER_SEEN"}, Transient),
        ({"do": "html"}, Ambiguous),
        ({"do": "html", "status": 200}, Ambiguous),
        ({"do": "reset"}, Ambiguous),
        ({"do": "reset", "when": "after"}, Ambiguous),
        ({"do": "truncate"}, Ambiguous),
        ({"do": "cut"}, Ambiguous),
        ({"do": "late", "answer": "error"}, Ambiguous),
        ({"do": "refuse_tokens"}, AuthExpired),
    ],
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else v.__name__,
)
@pytest.mark.parametrize("operation", ["create", "upsert"])
def test_faults_of_a_whole_call(
    twin: ZohoTwin, connect: Connect, fault: dict[str, Any], expected: type[Failure], operation: str
) -> None:
    crm = connect()
    assert crm.resolve([person("a@example.com")]) == [None]
    twin.plan.add([{"on": operation, **fault}])
    writes = [task(1), task(2)] if operation == "create" else [lead(1), lead(2)]
    with pytest.raises(expected) as caught:
        push(crm, *writes)
    assert type(caught.value) is expected
    for secret in SECRETS.values():
        assert secret not in str(caught.value)
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == fault.get("retry_after")
    if fault.get("code") == "NEVER_SEEN":
        assert isinstance(caught.value, Transient)
        assert not caught.value.known
        assert "NEVER_SEEN" in str(caught.value)
    if isinstance(caught.value, Misconfigured):
        assert caught.value.scope is Scope.DESTINATION
    twin.plan.clear()
    twin.release()
    assert all(isinstance(o, Written) for o in push(crm, *writes))
    assert twin.doubled() == {}


def test_a_missing_scope_costs_no_token(twin: ZohoTwin, connect: Connect) -> None:
    crm = connect()
    twin.plan.add([{"on": "create", "do": "scope"}])
    with pytest.raises(Misconfigured, match="ZohoCRM"):
        push(crm, task(1))
    assert twin.accounts.issued == 1


def test_a_refused_token_hints_at_the_data_centre(twin: ZohoTwin, connect: Connect) -> None:
    twin.plan.add([{"on": "create", "do": "refuse_tokens"}])
    with pytest.raises(AuthExpired, match="data_center"):
        push(connect(), task(1))


@pytest.mark.parametrize("status", [207, 202, 200, 400])
def test_only_the_rows_tell_what_was_written(status: int) -> None:
    with ZohoTwin(mixed_status=status, failed_status=status) as twin:
        for crm in (build() for build in connecting(twin)):
            twin.plan.add([{"on": "create", "do": "row", "row": 1, "code": "INVALID_DATA", "fields": ["Subject"]}])
            good, bad, other = push(crm, task(1), task(2), task(3))
            assert isinstance(good, Written)
            assert (type(bad), bad.field) == (Rejected, "Subject")
            assert isinstance(other, Written)
            twin.plan.clear()
            [all_bad] = push(crm, task(4, fields={"Subject": "x" * 300}))
            assert isinstance(all_bad, Rejected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("RECORD_LOCKED", Transient),
        ("INTERNAL_ERROR", Ambiguous),
        ("DEPENDENT_FIELD_MISSING", Rejected),
        ("MAPPING_MISMATCH", Rejected),
        ("PATTERN_NOT_MATCHED", Rejected),
        ("NO_PERMISSION", Rejected),
        ("ID_ALREADY_CONVERTED", StaleReference),
        ("TOO_MANY_REQUESTS", RateLimited),
        ("NEVER_SEEN", Transient),
    ],
)
def test_row_errors(twin: ZohoTwin, connect: Connect, code: str, expected: type[Failure]) -> None:
    twin.plan.add([{"on": "create", "do": "row", "row": 1, "code": code}])
    outcomes = push(connect(), task(1), task(2), task(3))
    assert [type(o) for o in outcomes] == [Written, expected, Written]
    assert outcomes[1].code == code


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ("concurrency", RateLimited),
        ("credits", QuotaExhausted),
        ("internal", Transient),
        ("html", Transient),
        ("reset", Transient),
    ],
)
def test_reads_are_never_ambiguous(twin: ZohoTwin, connect: Connect, do: str, expected: type[Failure]) -> None:
    twin.plan.add([{"on": "coql", "do": do}])
    with pytest.raises(expected):
        connect().resolve([person("a@example.com")])


def test_the_credits_of_the_account_are_respected(connect: Connect, twin: ZohoTwin) -> None:
    twin.credits = 12
    crm = connect(daily_credits=12)
    told = crm.allowance()
    assert told is not None
    assert (told.used, told.maximum) == (0, 12)  # the share of a quota counts from the first call on
    push(crm, *(task(n) for n in range(100)))
    allowance = crm.allowance()
    assert allowance is not None
    assert (allowance.unit, allowance.used, allowance.maximum) == ("credits", 10, 12)
    push(crm, *(task(n) for n in range(100, 120)))
    with pytest.raises(QuotaExhausted):
        push(crm, task(200))
    assert connect().allowance() is None


@pytest.mark.parametrize(("do", "word"), [("invalid_code", "refresh token"), ("invalid_client", "client id")])
def test_a_permanent_refusal_comes_as_200_and_needs_a_person(
    twin: ZohoTwin, connect: Connect, do: str, word: str
) -> None:
    twin.plan.add([{"on": "token", "do": do}])
    with pytest.raises(Misconfigured, match=word) as caught:
        push(connect(), task(1))
    assert not any(secret in str(caught.value) for secret in SECRETS.values())


def test_the_throttle_of_tokens_is_no_wrong_password(twin: ZohoTwin, connect: Connect) -> None:
    twin.plan.add([{"on": "token", "do": "token_throttle", "times": 1}])
    crm = connect()
    with pytest.raises(RateLimited) as caught:
        push(crm, task(1))
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 600
    with pytest.raises(RateLimited):
        push(crm, task(1))
    assert twin.stats()["calls"] == 1  # asking again would prolong it


def test_ten_tokens_are_never_asked_for_in_ten_minutes(twin: ZohoTwin, connect: Connect) -> None:
    now = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
    crm = connect(clock=lambda: now)
    for number in range(20):
        twin.expire_tokens()
        outcome = answers(crm, task(number))[0]
        assert isinstance(outcome, Written if number < 9 else RateLimited)
    assert twin.accounts.issued == 9
    now += timedelta(minutes=10, seconds=1)
    assert isinstance(answers(crm, task(99))[0], Written)
