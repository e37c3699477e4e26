"""A vendor's codes as data: for whole answers and for rows, and what the table does not list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

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
    TooLarge,
    Transient,
)
from syncd.http.client import Response
from syncd.http.error_table import ErrorTable, Means, VendorError, error_at, found_at

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
TABLE = ErrorTable(
    "Acme",
    {
        "BUSY": Means(Transient, "busy"),
        "MAINTENANCE": Means(Transient, "closed for maintenance", did_nothing=True),
        "SLOW METHOD_SLOW": Means(RateLimited, "slow down", one_operation=True, pause=7),
        "SPENT": Means(QuotaExhausted, "the day's calls are used"),
        "NO_MODULE": Means(Misconfigured, "there is no such module", scope=Scope.RULE),
        "HIDDEN": Means(Misconfigured, "not visible", of_record=Transient),
        "ACCESS_*": Means(Misconfigured, "no access"),
        "BAD": Means(Rejected),
        "LOST": Means(Ambiguous),
    },
    error_at("code", "text", field="where.field", within="errors"),
    statuses={402: Means(Misconfigured, "pay the bill")},
    fields={("BAD", "Who_Id"): Means(StaleReference)},
    absent=frozenset({"GONE", "410"}),
)


def answer(status: int, body: Any = None, *, write: bool = False, wait: str = "") -> Response:
    raw = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else b""
    return Response(status, {"retry-after": wait} if wait else {}, raw, write)


def error(code: str, text: str = "", field: str = "") -> dict[str, Any]:
    return {"errors": [{"code": code, "text": text, "where": {"field": field}}]}


@pytest.mark.parametrize(
    ("given", "expected", "text"),
    [
        (answer(400, error("BUSY", "wait")), Transient, "BUSY: Acme: busy (wait)"),
        (answer(503, error("BUSY"), wait="3"), RateLimited, "BUSY: Acme: busy"),
        (answer(500, error("BUSY"), write=True), Ambiguous, "BUSY: Acme: busy"),
        (answer(503, error("MAINTENANCE"), write=True), Transient, "MAINTENANCE: Acme: closed for maintenance"),
        (answer(429, error("SPENT")), QuotaExhausted, "SPENT: Acme: the day's calls are used"),
        (answer(403, error("ACCESS_DENIED_X")), Misconfigured, "ACCESS_DENIED_X: Acme: no access"),
        (answer(402), Misconfigured, "402: Acme: pay the bill"),
        (answer(400, error("NEW", "hm")), Transient, "NEW: Acme: hm"),
        (answer(429), RateLimited, "429: Acme: HTTP 429"),
        (answer(401), AuthExpired, "401: Acme: HTTP 401"),
        (answer(413), TooLarge, "413: Acme: HTTP 413: the request is too large"),
        (answer(302), Misconfigured, "302: Acme: HTTP 302: the API is at another address; check the URL"),
        (answer(502, b"<html>"), Transient, "502: Acme: HTTP 502"),
        (answer(502, b"<html>", write=True), Ambiguous, "502: Acme: HTTP 502"),
        (answer(400, b"{half"), Transient, "400: Acme: HTTP 400 (an answer that is not JSON)"),
        (answer(400, error("LOST")), Transient, "LOST: Acme: no reason was given"),
        (answer(400, error("LOST"), write=True), Ambiguous, "LOST: Acme: no reason was given"),
    ],
)
def test_a_whole_answer(given: Response, expected: type[Failure], text: str) -> None:
    found = TABLE.of_answer(given, NOW)
    assert type(found) is expected
    assert str(found) == text


def test_a_code_that_is_not_listed_is_named_and_retried_few_times() -> None:
    found = TABLE.of_answer(answer(400, error("NEW")), NOW)
    assert isinstance(found, Transient)
    assert (found.known, found.code) == (False, "NEW")
    row = TABLE.of_row([VendorError("NEW", "hm")])
    assert isinstance(row, Transient)
    assert (row.known, row.code) == (False, "NEW")


def test_the_first_error_that_is_listed_decides() -> None:
    body = {"errors": [{"code": "NEW"}, {"code": "BAD", "text": "wrong", "where": {"field": "Name"}}]}
    found = TABLE.of_answer(answer(400, body), NOW)
    assert isinstance(found, Rejected)
    assert (found.field, found.message) == ("Name", "Acme: wrong")


def test_rows_name_their_field_and_records() -> None:
    bad = TABLE.of_row([VendorError("BAD", "taken", "Key", (("Lead", "7"),))])
    assert isinstance(bad, Rejected)
    assert (bad.field, bad.existing) == ("Key", (("Lead", "7"),))
    stale = TABLE.of_row([VendorError("BAD", "gone", "Who_Id")])
    assert isinstance(stale, StaleReference)
    assert stale.field == "Who_Id"
    rule = TABLE.of_row([VendorError("NO_MODULE", "", "Gadgets")])
    assert isinstance(rule, Misconfigured)
    assert (rule.scope, rule.field) == (Scope.RULE, "Gadgets")


def test_a_limit_says_how_long_and_of_what() -> None:
    slow = TABLE.of_answer(answer(429, error("METHOD_SLOW")), NOW, operation="GET /x")
    assert isinstance(slow, RateLimited)
    assert (slow.scope, slow.retry_after) == ("GET /x", 7)
    told = TABLE.of_answer(answer(429, error("SLOW"), wait="60"), NOW)
    assert isinstance(told, RateLimited)
    assert (told.scope, told.retry_after) == ("", 60)
    spent = TABLE.of_answer(answer(429, error("SPENT"), wait="60"), NOW)
    assert isinstance(spent, QuotaExhausted)
    assert spent.resets_at == NOW + timedelta(minutes=1)


def test_what_is_said_of_one_record_harms_only_it() -> None:
    hidden = answer(403, error("HIDDEN"))
    assert isinstance(TABLE.of_answer(hidden, NOW), Misconfigured)
    assert isinstance(TABLE.of_answer(hidden, NOW, of_record=True), Transient)


def test_what_does_not_exist() -> None:
    assert TABLE.is_absent(answer(404, error("GONE")))
    assert TABLE.is_absent(answer(410))
    assert not TABLE.is_absent(answer(404))
    assert not TABLE.is_absent(answer(500, error("GONE")))
    assert not TABLE.is_absent(answer(200, error("GONE")))


def test_another_shape_is_worded_in_one_place() -> None:
    assert str(TABLE.shape("/x")) == "shape: Acme: /x has another shape than documented"
    assert isinstance(TABLE.shape("/x", write=True), Ambiguous)


@pytest.mark.parametrize(
    ("body", "path", "says"),
    [
        ({"data": {"events": 5}}, "data.events", "data.events is a number"),
        ({"data": [1]}, "data.events", "there is no data.events; data is a list"),
        ({"data": {}}, "data.events", "there is no data.events; data is empty"),
        ({"data": "secret"}, "data", "data is a text"),
        ({"data": None}, "data", "data is null"),
        ({"@odata.nextLink": "x", "value": []}, "rows", "there is no rows; the body has @odata.nextLink, value"),
        ({"an@example.org": 1, "0912": 2}, "rows", "there is no rows; the body has 2 keys"),
        ({f"k{n}": n for n in range(12)}, "", "the body has k0, k1, k2, k3, k4, k5, k6, k7, k8, k9 and 2 more"),
    ],
)
def test_what_stands_at_a_path_is_named_without_its_values(body: object, path: str, says: str) -> None:
    assert found_at(body, path) == says
