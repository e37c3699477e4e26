"""Bitrix24's words as failure classes: the whole table, in whatever case and place they come."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.connectors.crm.bitrix24.errors import (
    ANSWERS,
    ROWS,
    answer_failure,
    command_failure,
    read_error,
    refuses_token,
)
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.http.client import Response

NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")


def answer(status: int, body: Any, *, write: bool = True) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else orjson.dumps(body), write)


def said(code: str, text: str = "m") -> dict[str, str]:
    return {"error": code, "error_description": text}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (503, "QUERY_LIMIT_EXCEEDED", RateLimited),
        (429, "OPERATION_TIME_LIMIT", RateLimited),
        (503, "OVERLOAD_LIMIT", Misconfigured),
        (500, "INTERNAL_SERVER_ERROR", Ambiguous),
        (500, "ERROR_UNEXPECTED_ANSWER", Ambiguous),
        (401, "expired_token", AuthExpired),
        (401, "NO_AUTH_FOUND", Misconfigured),
        (401, "invalid_token", Misconfigured),
        (403, "INVALID_CREDENTIALS", Misconfigured),
        (403, "insufficient_scope", Misconfigured),
        (403, "user_access_error", Misconfigured),
        (403, "ACCESS_DENIED", Misconfigured),
        (403, "WRONG_AUTH_TYPE", Misconfigured),
        (403, "ERROR_WRONG_CONTEXT", Misconfigured),
        (403, "allowed_only_intranet_user", Misconfigured),
        (401, "user_not_found_or_is_not_active", Misconfigured),
        (500, "PORTAL_DELETED", Misconfigured),
        (410, "PORTAL_DELETED", Misconfigured),
        (402, "PAYMENT_REQUIRED", Misconfigured),
        (200, "WRONG_CLIENT", Misconfigured),
        (400, "INVALID_REQUEST", Misconfigured),
        (404, "ERROR_METHOD_NOT_FOUND", Misconfigured),
        (400, "NOT_FOUND", Misconfigured),
        (400, "ERROR_BATCH_LENGTH_EXCEEDED", Rejected),
        (405, "ERROR_BATCH_METHOD_NOT_ALLOWED", Rejected),
        (400, "Communication type is not defined", Misconfigured),
        (302, "", Misconfigured),
        (502, "", Ambiguous),
        (504, "", Ambiguous),
    ],
)
def test_a_whole_answer(status: int, code: str, expected: type[Failure]) -> None:
    body: Any = said(code) if code else b"<html>"
    assert type(answer_failure(answer(status, body), NOW)) is expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (
            "CRM_FIELD_ERROR_VALUE_NOT_VALID CRM_FIELD_ERROR_REQUIRED CRM_FIELD_ERROR_OTHER 100 INVALID_ARG_VALUE",
            Rejected,
        ),
        ("ERROR_CORE WRONG_DATETIME_FORMAT MAX_IMPORT_BATCH_SIZE_EXCEEDED CAN_NOT_UPDATE_COMPLETED_TODO", Rejected),
        ("CAN_NOT_UPDATE_RESPONSIBLE_USER_COMPLETED_TODO ERROR_PARENT_ACTIVITY_RESTRICT", Rejected),
        ("MESSAGE_EMPTY ACCESS_ERROR ACCESS_DENIED_EXTEND CHAT_ID CHAT_ID_EMPTY USER_ID_EMPTY", Rejected),
        ("ERROR_BATCH_LENGTH_EXCEEDED ERROR_BATCH_METHOD_NOT_ALLOWED", Rejected),
        ("NOT_FOUND OWNER_NOT_FOUND", StaleReference),
        ("INTERNAL_SERVER_ERROR ERROR_UNEXPECTED_ANSWER", Ambiguous),
        ("QUERY_LIMIT_EXCEEDED OPERATION_TIME_LIMIT", RateLimited),
        ("EXPIRED_TOKEN", AuthExpired),
        ("NO_AUTH_FOUND INVALID_CREDENTIALS PORTAL_DELETED PAYMENT_REQUIRED OVERLOAD_LIMIT", Misconfigured),
    ],
)
def test_one_command(codes: str, expected: type[Failure]) -> None:
    for code in codes.split():
        for written in (code, code.lower()):
            error = read_error(said(written))
            assert error is not None
            meant = command_failure(error, "crm.item.add", write=True)
            assert type(meant) is expected, code
            assert meant.code == code


@pytest.mark.parametrize(
    "code", ["insufficient_scope", "ERROR_METHOD_NOT_FOUND", "CREATE_DYNAMIC_ITEM_RESTRICTED", "ACCESS_DENIED"]
)
def test_what_one_command_lacks_holds_its_rule_alone(code: str) -> None:
    error = read_error(said(code))
    assert error is not None
    meant = command_failure(error, "im.notify.system.add", write=True)
    assert isinstance(meant, Misconfigured)
    assert meant.scope is Scope.RULE


def test_a_methods_run_time_limits_that_method() -> None:
    error = read_error(said("OPERATION_TIME_LIMIT"))
    assert error is not None
    meant = command_failure(error, "crm.item.add", write=True)
    assert isinstance(meant, RateLimited)
    assert meant.scope == "crm.item.add"


def test_an_error_without_a_code_is_one_and_is_not_read_by_its_words() -> None:
    error = read_error(said("", "Not found"))
    assert error is not None
    meant = command_failure(error, "crm.item.update", write=True)
    assert isinstance(meant, Transient)
    assert not meant.known
    assert "Not found" in str(meant)


def test_the_field_that_a_description_names_is_told() -> None:
    error = read_error(said("CRM_FIELD_ERROR_VALUE_NOT_VALID", 'Invalid value for field "opportunity"'))
    assert error is not None
    meant = command_failure(error, "crm.item.add", write=True)
    assert isinstance(meant, Rejected)
    assert meant.field == "opportunity"


@pytest.mark.parametrize("body", [{"result": 1}, [], "x", None, {"result": {"error": "x"}}])
def test_no_error(body: Any) -> None:
    assert read_error(body) is None


def test_only_an_expired_token_is_worth_a_new_one() -> None:
    assert refuses_token(answer(401, said("expired_token")))
    assert not refuses_token(answer(401, said("NO_AUTH_FOUND")))
    assert not refuses_token(answer(401, b"<html>"))


@pytest.mark.parametrize("code", sorted({*ROWS.listed, *ANSWERS.listed}))
def test_every_code_of_the_table_has_a_failure(code: str) -> None:
    for write in (True, False):
        error = read_error(said(code))
        assert error is not None
        meant = command_failure(error, "crm.item.add", write=write)
        assert meant.code == code
        assert getattr(meant, "known", True)


@pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")
def test_the_recorded_errors_are_known() -> None:
    told = orjson.loads((Path(RECORDINGS) / "bitrix24.json").read_bytes())["errors"]["bodies"]
    for body in told:
        assert isinstance(answer_failure(answer(200, body), NOW), Misconfigured), body
