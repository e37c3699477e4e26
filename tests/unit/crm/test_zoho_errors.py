"""Zoho's words as failure classes: the whole table, rows in their shapes, settings, and no secret anywhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.connector import Context, Link, Write, WriteKind, Written
from syncd.connectors.crm.record import Method, Target
from syncd.connectors.crm.zoho import Zoho, ZohoSettings
from syncd.connectors.crm.zoho.destination import outcome
from syncd.connectors.crm.zoho.errors import ROWS, answer_failure, failure, read_error, refuses_token
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
from syncd.http.oauth import MemoryTokens

NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
AUTH = {"client_id": "1000.APP", "client_secret": "hush-hush", "refresh_token": "1000.top.secret"}
CREATE = Target("Tasks", Method.CREATE, "Syncd_Key")
UPSERT = Target("Leads", Method.UPSERT, "Syncd_Key")
TASK = Write(key="k", object="Tasks", key_field="Syncd_Key", links={"Who_Id": Link("Leads", "2")})


def error(code: str, message: str = "m", **details: Any) -> dict[str, Any]:
    return {"code": code, "details": details, "message": message, "status": "error"}


def response(status: int, body: Any, *, write: bool = True, headers: dict[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else orjson.dumps(body), write)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("INVALID_TOKEN AUTHENTICATION_FAILURE", AuthExpired),
        ("TOO_MANY_REQUESTS", RateLimited),
        ("THRESHOLD_EXCEEDED", QuotaExhausted),
        ("INTERNAL_ERROR", Ambiguous),
        ("STORAGE_SPACE_EXCEEDED LICENSE_LIMIT_EXCEEDED RECORD_LIMIT_EXCEEDED", QuotaExhausted),
        ("RECORD_LOCKED NOT_APPROVED", Transient),
        ("ID_ALREADY_CONVERTED CONVERTED_RECORD", StaleReference),
        (
            "INVALID_DATA MANDATORY_NOT_FOUND EXPECTED_FIELD_MISSING DEPENDENT_FIELD_MISSING DEPENDENT_MISMATCH "
            "MAPPING_MISMATCH DATA_MISMATCH DUPLICATE_DATA PATTERN_NOT_MATCHED NOT_ALLOWED RECORD_IN_BLUEPRINT CANNOT_PROCESS",
            Rejected,
        ),
        ("OAUTH_SCOPE_MISMATCH NO_PERMISSION AUTHORIZATION_FAILED INVALID_MODULE INVALID_URL_PATTERN", Misconfigured),
        ("LIMIT_EXCEEDED INVALID_REQUEST_METHOD REQUIRED_PARAM_MISSING", Misconfigured),
    ],
)
def test_every_class_of_the_vendor_page(codes: str, expected: type[Failure]) -> None:
    for code in codes.split():
        meant = failure(read_error(error(code)))
        assert type(meant) is expected
        assert meant.code == code


@pytest.mark.parametrize("code", sorted(ROWS.listed))
def test_every_code_of_the_table_has_a_failure(code: str) -> None:
    for write in (True, False):
        meant = failure(read_error(error(code)), write=write)
        assert not (isinstance(meant, Ambiguous) and not write)
        assert getattr(meant, "known", True)


def test_scopes_of_what_stops() -> None:
    def scope(code: str) -> Scope:
        meant = failure(read_error(error(code)))
        assert isinstance(meant, Misconfigured)
        return meant.scope

    assert scope("INVALID_MODULE") is scope("INVALID_QUERY") is Scope.RULE
    assert scope("FEATURE_NOT_SUPPORTED") is scope("TERRITORY_NOT_ENABLED") is scope("NOT_SUPPORTED") is Scope.RULE
    assert scope("OAUTH_SCOPE_MISMATCH") is scope("INVALID_URL_PATTERN") is scope("LIMIT_EXCEEDED") is Scope.DESTINATION
    assert "data_center" in str(failure(read_error(error("INVALID_URL_PATTERN"))))
    assert "report" in str(failure(read_error(error("LIMIT_EXCEEDED"))))
    assert isinstance(failure(read_error(error("LIMIT_EXCEEDED", api_name="Participants"))), Rejected), "of one field"


def test_what_is_not_found_as_a_whole_is_the_address() -> None:
    assert isinstance(failure(read_error(error("NOT_FOUND"))), StaleReference)
    assert isinstance(answer_failure(response(404, error("NOT_FOUND")), NOW), Misconfigured)


def test_a_code_nobody_knows_is_tried_again_and_named() -> None:
    meant = failure(read_error(error("BRAND_NEW", "what is this")))
    assert isinstance(meant, Transient)
    assert not meant.known
    assert str(meant) == "BRAND_NEW: what is this"


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"api_name": "Subject", "json_path": "$.data[0].Subject"}, "Subject"),
        ({"json_path": "$.data[12].Owner.id"}, "Owner"),
        ({"column_name": "Nonsense"}, "Nonsense"),
    ],
)
def test_the_field_is_named(details: dict[str, Any], field: str) -> None:
    meant = outcome(CREATE, TASK, error("INVALID_DATA", "invalid data", **details))
    assert isinstance(meant, Rejected)
    assert meant.field == field


def test_what_was_expected_is_told() -> None:
    one = error("INVALID_DATA", "invalid data", api_name="S", maximum_length=255, expected_data_type="text")
    assert str(failure(read_error(one))) == "INVALID_DATA: invalid data (at most 255 characters, expected: text)"


def test_a_wrong_module_of_a_link_is_no_record_that_is_gone() -> None:
    meant = outcome(CREATE, TASK, error("INVALID_DATA", "invalid data", api_name="$se_module"))
    assert isinstance(meant, Rejected)
    assert meant.field == "$se_module"


@pytest.mark.parametrize("api_name", ["Who_Id", "What_Id"])
def test_a_link_that_leads_nowhere_names_the_mappings_field(api_name: str) -> None:
    meant = outcome(CREATE, TASK, error("INVALID_DATA", "the related id given seems to be invalid", api_name=api_name))
    assert isinstance(meant, StaleReference)
    assert meant.field == "Who_Id"


def test_a_link_of_the_mappings_own() -> None:
    write = Write(key="k", object="Contacts", links={"Account_Name": Link("Accounts", "9")})
    meant = outcome(Target("Contacts", Method.CREATE), write, error("INVALID_DATA", api_name="Account_Name"))
    assert isinstance(meant, StaleReference)
    assert meant.field == "Account_Name"
    gone = outcome(
        Target("Tasks", Method.UPDATE),
        TASK,
        error("INVALID_DATA", "the id given seems to be invalid", api_name="id"),
    )
    assert isinstance(gone, StaleReference)
    assert gone.field == ""


@pytest.mark.parametrize("details", [{"id": "77"}, {"duplicate_record": {"id": "77", "module": {"api_name": "Tasks"}}}])
def test_duplicates(details: dict[str, Any]) -> None:
    ours = error("DUPLICATE_DATA", "duplicate data", api_name="Syncd_Key", **details)
    other = error("DUPLICATE_DATA", "duplicate data", api_name="Email", id="77")
    assert outcome(CREATE, TASK, ours) == Written("77", created=False)
    assert outcome(CREATE, TASK, error("DUPLICATE_DATA", api_name="Syncd_Key")) == Written("", created=False)
    lead = Write(key="k", object="Leads", key_field="Syncd_Key")
    assert isinstance(outcome(UPSERT, lead, ours), StaleReference)
    assert isinstance(outcome(Target("Accounts", Method.UPSERT, "Syncd_Key"), lead, ours), Transient)
    rejected = outcome(UPSERT, lead, other)
    assert isinstance(rejected, Rejected)
    assert (rejected.field, rejected.existing_id) == ("Email", "77")


def test_every_record_that_holds_the_value_is_named_with_its_module() -> None:
    holder = {"id": "77", "module": {"api_name": "Contacts"}}
    lead = Write(key="k", object="Leads", key_field="Syncd_Key")
    cases: list[tuple[dict[str, Any], tuple[tuple[str, str], ...]]] = [
        ({"duplicate_record": holder}, (("Contacts", "77"),)),
        ({"duplicate_record": [holder, {"id": "78"}]}, (("Contacts", "77"), ("Leads", "78"))),
        ({"duplicate_records": [holder, holder]}, (("Contacts", "77"),)),
        ({"id": "79"}, (("Leads", "79"),)),
    ]
    for told, existing in cases:
        meant = outcome(UPSERT, lead, error("DUPLICATE_DATA", "duplicate data", api_name="Email", **told))
        assert isinstance(meant, Rejected)
        assert meant.existing == existing
        assert all(f"{module} {id_}" in str(meant) for module, id_ in existing)


def test_successes() -> None:
    row = {"code": "SUCCESS", "details": {"id": "7"}, "message": "record added", "status": "success"}
    assert outcome(CREATE, TASK, row) == Written("7", created=True)
    assert outcome(Target("Tasks", Method.UPDATE), TASK, row) == Written("7", created=False)
    assert outcome(UPSERT, TASK, row | {"action": "insert"}) == Written("7", created=True)
    assert outcome(UPSERT, TASK, row | {"action": "update"}) == Written("7", created=False)
    assert outcome(UPSERT, TASK, row) == Written("7", created=None)
    assert isinstance(outcome(CREATE, TASK, row | {"details": {}}), Ambiguous)
    known = Write(key="k", object="Tasks", id="7")
    assert outcome(Target("Tasks", Method.UPDATE), known, error("ALREADY_MODIFIED")) == Written("7", created=False)


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["code", "details", "message", "status", "id", "api_name", "json_path", "duplicate_record"]
            ),
            inner | st.sampled_from([*ROWS.listed, "success", "error", "$.data[0].Who_Id.id"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json)
def test_no_row_makes_us_stumble(row: Any) -> None:
    for lane in (CREATE, UPSERT, Target("Tasks", Method.UPDATE)):
        assert isinstance(outcome(lane, TASK, row), Written | Failure)


@given(json, st.sampled_from([200, 302, 400, 401, 403, 404, 413, 429, 500, 503]), st.booleans())
def test_no_answer_makes_us_stumble(body: Any, status: int, write: bool) -> None:
    meant = answer_failure(response(status, body, write=write), NOW)
    assert isinstance(meant, Failure)
    assert write or not isinstance(meant, Ambiguous)


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (429, error("TOO_MANY_REQUESTS"), {"retry-after": "9"}, RateLimited),
        (429, b"<html>", {}, RateLimited),
        (429, error("THRESHOLD_EXCEEDED"), {"retry-after": "60"}, QuotaExhausted),
        (503, b"<html>", {"retry-after": "9"}, RateLimited),
        (503, b"<html>", {}, Ambiguous),
        (500, error("INTERNAL_ERROR"), {}, Ambiguous),
        (401, b"", {}, AuthExpired),
        (403, b"<html>", {}, Transient),
        (404, b"<html>", {}, Transient),
        (302, b"", {}, Misconfigured),
        (400, error("INVALID_MODULE"), {}, Misconfigured),
    ],
)
def test_whole_answers(status: int, body: Any, headers: dict[str, str], expected: type[Failure]) -> None:
    meant = answer_failure(response(status, body, headers=headers), NOW)
    assert type(meant) is expected
    if isinstance(meant, RateLimited):
        assert meant.retry_after == (9 if headers else None)
    if isinstance(meant, QuotaExhausted):
        assert meant.resets_at == NOW + timedelta(seconds=60)


def test_which_401_is_about_the_token() -> None:
    assert refuses_token(response(401, error("INVALID_TOKEN")))
    assert refuses_token(response(401, b"<html>"))
    assert not refuses_token(response(401, error("OAUTH_SCOPE_MISMATCH")))


# settings and kinds


def settings(**keys: Any) -> ZohoSettings:
    return ZohoSettings.model_validate({"auth": AUTH, **keys})


def test_settings() -> None:
    made = settings(data_center="eu", api_version=7, trigger=[])
    assert (made.centre.crm, made.api_version, made.trigger) == ("https://www.zohoapis.eu", "v7", ())
    assert settings().trigger is None
    for secret in ("hush-hush", "1000.top.secret"):
        assert secret not in repr(made)


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_center": "mars"},
        {"api_version": "v2"},
        {"api_version": "latest"},
        {"accounts_url": "http://accounts.zoho.com"},
        {"base_url": "ftp://x"},
        {"trigger": ["everything"]},
        {"lar_id": "Round robin"},
        {"closed_stages": []},
        {"daily_credits": 0},
        {"auth": {"client_id": "c"}},
        {"nonsense": 1},
    ],
)
def test_wrong_settings_are_refused_without_showing_secrets(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**wrong)
    assert "hush-hush" not in str(caught.value)
    assert "1000.top.secret" not in str(caught.value)


def test_the_guides_example_is_valid() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "connectors" / "zoho.md").read_text("utf-8")
    block = re.sub(r"(?m)^( +)# ", r"\1", guide[guide.index("destinations:") : guide.index("```\n\n## Before")])
    crm = yaml.safe_load(block)["destinations"]["crm"]
    assert (crm.pop("type"), crm.pop("mapping")) == ("zoho", "mappings/zoho.yaml")
    del crm["quota"]  # syncd reads it itself
    made = ZohoSettings.model_validate(crm)
    assert (made.data_center, made.lar_id[:4]) == ("eu", "4150")


def test_kinds() -> None:
    crm = Zoho(settings(), Context(name="crm", tokens=MemoryTokens()))
    kinds = {
        (module, field): (crm.keying(module, field).kind, crm.keying(module, field).enforced)
        for module in ("Leads", "Contacts", "Accounts", "Own_Module", "Tasks", "Calls", "Events", "Notes")
        for field in ("Syncd_Key", "")
    }
    upserts = ("Leads", "Contacts", "Accounts", "Own_Module")
    assert {kinds[module, "Syncd_Key"] for module in upserts} == {(WriteKind.UPSERT, True)}
    assert {kinds[module, "Syncd_Key"] for module in ("Tasks", "Calls", "Events")} == {(WriteKind.UNIQUE, True)}
    rest = {kind for (module, field), kind in kinds.items() if not field or module == "Notes"}
    assert rest == {(WriteKind.AT_MOST_ONCE, False)}
    assert crm.url("Leads", "7") == "https://crm.zoho.com/crm/tab/Leads/7"
    crm.close()
