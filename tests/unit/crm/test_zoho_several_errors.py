"""Zoho wraps several errors of one record into one: what the parts amount to, in every way of writing and at any depth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Link, Write, Written
from syncd.connectors.crm.record import Method, Target
from syncd.connectors.crm.settling import LookUp
from syncd.connectors.crm.zoho.destination import outcome
from syncd.connectors.crm.zoho.errors import MULTIPLE, ROWS, answer_failure, parts
from syncd.errors import Failure, Misconfigured, QuotaExhausted, Rejected, StaleReference, Transient
from tests.unit.crm.test_zoho_errors import CREATE, NOW, TASK, UPSERT, error, response

LEAD = Write(key="k", object="Leads", key_field="Syncd_Key")
UPDATE = Target("Tasks", Method.UPDATE)


def several(*errors: Any, code: str = MULTIPLE) -> dict[str, Any]:
    return {"code": code, "details": {"errors": list(errors)}, "message": "Multiple errors", "status": "error"}


def duplicate(field: str, id_: str, module: str = "") -> dict[str, Any]:
    holder: dict[str, Any] = {"id": id_} | ({"module": {"api_name": module, "id": "1"}} if module else {})
    return error("DUPLICATE_DATA", "duplicate data", api_name=field, duplicate_record=holder, more_records=False)


TOO_LONG = error("INVALID_DATA", "invalid data", api_name="Subject", maximum_length=255)
MISSING = error("MANDATORY_NOT_FOUND", "required field not found", api_name="Call_Type")


def test_our_own_key_among_others_is_written() -> None:
    for errors in (
        [duplicate("Syncd_Key", "77"), duplicate("Other_Key", "77")],
        [TOO_LONG, duplicate("Syncd_Key", "77")],
    ):
        assert outcome(CREATE, TASK, several(*errors)) == Written("77", created=False)


def test_two_fields_of_one_person_name_that_person() -> None:
    meant = outcome(UPSERT, LEAD, several(duplicate("Email", "9", "Leads"), duplicate("Phone", "9", "Leads")))
    assert isinstance(meant, Rejected)
    assert meant.existing_id == "9"


def test_two_people_are_both_listed_and_read_before_one_of_them_counts() -> None:
    meant = outcome(UPSERT, LEAD, several(duplicate("Email", "9", "Leads"), duplicate("Phone", "8", "Leads")))
    assert isinstance(meant, Rejected)
    assert meant.existing == (("Leads", "9"), ("Leads", "8"))
    assert "record 9" in meant.message
    assert "record 8" in meant.message


@pytest.mark.parametrize("lane", [CREATE, UPSERT, UPDATE])
def test_every_wrong_field_is_named(lane: Target) -> None:
    meant = outcome(lane, LEAD, several(TOO_LONG, MISSING))
    assert isinstance(meant, Rejected)
    for word in ("Subject", "255", "Call_Type"):
        assert word in meant.message


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([TOO_LONG, error("STORAGE_SPACE_EXCEEDED")], QuotaExhausted),
        ([TOO_LONG, error("OAUTH_SCOPE_MISMATCH")], Misconfigured),
        ([error("RECORD_LOCKED"), TOO_LONG], Rejected),
        ([error("RECORD_LOCKED"), error("CONVERTED_RECORD")], StaleReference),
        ([error("RECORD_LOCKED"), error("NEVER_SEEN")], Transient),
    ],
)
def test_what_concerns_more_than_the_record_decides_first(errors: list[Any], expected: type[Failure]) -> None:
    for listed in (errors, errors[::-1]):
        assert type(outcome(CREATE, TASK, several(*listed))) is expected


def test_errors_within_errors_and_beside_the_code() -> None:
    inner = several(TOO_LONG, MISSING)
    beside = {"code": "INVALID_DATA", "errors": [TOO_LONG, MISSING], "status": "error"}
    listed = {"code": MULTIPLE, "details": [TOO_LONG, MISSING], "status": "error"}
    for row in (several(several(inner)), several(TOO_LONG, several(MISSING)), beside, listed):
        assert [one.field for one in parts(row)] == ["Subject", "Call_Type"]


def test_nothing_wrapped_is_the_wrapper_itself() -> None:
    for empty in (
        several(),
        {"code": MULTIPLE, "details": {}, "status": "error"},
        {"code": MULTIPLE, "status": "error"},
    ):
        meant = outcome(CREATE, TASK, empty)
        assert isinstance(meant, Transient)
        assert not meant.known


def test_a_whole_answer_of_several_errors() -> None:
    meant = answer_failure(response(400, several(TOO_LONG, MISSING)), NOW)
    assert isinstance(meant, Rejected)
    assert "Call_Type" in str(meant)


def test_a_duplicate_without_a_field_is_looked_up_before_it_is_judged() -> None:
    meant = outcome(CREATE, TASK, error("DUPLICATE_DATA", "duplicate data"))
    assert isinstance(meant, LookUp)
    assert isinstance(meant.otherwise, Rejected)


def test_an_error_that_names_no_field_may_be_about_an_id() -> None:
    for write in (TASK, Write(key="k", object="Leads", id="7")):
        assert isinstance(outcome(UPDATE, write, error("INVALID_DATA", "")), StaleReference)
    no_link = Write(key="k", object="Tasks", links={"Who_Id": Link("Leads", "")})
    assert isinstance(outcome(CREATE, no_link, error("INVALID_DATA", "")), Rejected)


anything = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.integers(-9, 9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.fixed_dictionaries(
            {"code": st.sampled_from([MULTIPLE, *ROWS.listed])}, optional={"details": inner, "errors": inner}
        )
        | st.fixed_dictionaries({"errors": st.lists(inner, max_size=4)})
    ),
    max_leaves=30,
)


@given(anything)
def test_no_nesting_makes_us_stumble(row: Any) -> None:
    assert parts(row)
    assert isinstance(outcome(CREATE, TASK, row), Written | Failure)
    assert isinstance(answer_failure(response(400, row), NOW), Failure)


def test_a_thousand_levels_and_a_thousand_errors_are_read_within_bounds() -> None:
    deep: Any = TOO_LONG
    for _ in range(900):
        deep = several(deep)
    assert isinstance(outcome(CREATE, TASK, deep), Failure)
    wide = several(*[several(*[TOO_LONG] * 100)] * 1000)
    assert isinstance(outcome(CREATE, TASK, wide), Rejected)
