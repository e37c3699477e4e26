"""Every reader of a CRM's answers takes any JSON: it says what it could read, or fails as a Failure, and never trips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.capabilities import FieldDescription
from syncd.connector import MatchField, PersonMatch, Written
from syncd.connectors.accounts.salesforce import ANSWERS as SALESFORCE_TOKENS
from syncd.connectors.accounts.zoho import ANSWERS
from syncd.connectors.crm.directory import column
from syncd.connectors.crm.packing import Bundle
from syncd.connectors.crm.record import Method, Target
from syncd.connectors.crm.salesforce import describe as sf_describe
from syncd.connectors.crm.salesforce.client import SalesforceClient, Subrequest, Subresponse, _composite_answers
from syncd.connectors.crm.salesforce.destination import _row
from syncd.connectors.crm.salesforce.people import PEOPLE as SALESFORCE_PEOPLE
from syncd.connectors.crm.zoho import describe as zoho_describe
from syncd.connectors.crm.zoho.client import ZohoClient, _page
from syncd.connectors.crm.zoho.people import PEOPLE as ZOHO_PEOPLE
from syncd.errors import Failure
from syncd.http.client import LONGEST_WAIT, Response, parse_retry_after
from tests.unit.crm.test_zoho_errors import NOW

NAMES = sorted(
    {
        "Id",
        "id",
        "name",
        "api_name",
        "type",
        "data_type",
        "length",
        "pick_list_values",
        "picklistValues",
        "referenceTo",
        "lookup",
    }
    | {
        "module",
        "unique",
        "records",
        "done",
        "nextRecordsUrl",
        "data",
        "info",
        "more_records",
        "access_token",
        "instance_url",
    }
    | {
        "expires_in",
        "expires_in_sec",
        "api_domain",
        "refresh_token",
        "errors",
        "success",
        "created",
        "compositeResponse",
    }
    | {
        "referenceId",
        "httpStatusCode",
        "body",
        "Account_Name",
        "ConvertedContactId",
        "IsConverted",
        "Email",
        "value",
        "active",
    }
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["text", "picklist", "part0", "https://x.example", "9" * 400, "NaN", "1e999", "-1"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
objects = st.dictionaries(st.sampled_from(NAMES), anything, max_size=8)


def response(body: Any, status: int = 200) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else orjson.dumps(body), write=False)


def reads(what: Any) -> Any:
    """What came out, a Failure included; everything else that is raised fails the test."""
    try:
        return what()
    except Failure as failure:
        return failure


@given(objects)
def test_descriptions_of_fields(row: dict[str, Any]) -> None:
    assert isinstance(sf_describe._field({"name": "F", **row}), FieldDescription)
    assert isinstance(zoho_describe._field("Leads", {"api_name": "F", **row}), FieldDescription)


class Answering:
    """A client that gets this answer, whatever it asks."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def ask(self, *_: object, **__: object) -> Any:
        return self.body

    read = ZohoClient.read

    def send(self, parts: Sequence[Subrequest]) -> list[Subresponse]:
        return [Subresponse(200, self.body) for _ in parts]

    def answers(self, paths: Sequence[str], most: int) -> list[Subresponse]:
        return [Subresponse(200, self.body) for _ in paths]


@given(anything)
def test_descriptions_of_objects_and_the_edition(body: Any) -> None:
    client: Any = Answering(body)
    reads(lambda: zoho_describe.describe(client, ["Leads"]))
    reads(lambda: zoho_describe._edition(client))
    reads(lambda: sf_describe.describe(client, ["Lead"]))
    reads(lambda: sf_describe._chatter_user(client))


@given(st.lists(objects, max_size=4))
def test_people(rows: list[dict[str, Any]]) -> None:
    for people, lead in ((SALESFORCE_PEOPLE, "Lead"), (ZOHO_PEOPLE, "Leads")):
        directory = people.directory("VN")
        directory.add(lead, rows)
        for term in (MatchField("Email", "a@b.example"), MatchField("Phone", "+84912345678", phone=True)):
            assert directory.hit(lead, term) is None or isinstance(directory.hit(lead, term), PersonMatch)
    for row in rows:
        column(row, "Owner.Email.x")


@given(anything)
def test_pages_rows_and_parts(body: Any) -> None:
    reads(lambda: _page(body))
    bundle = Bundle(Target("Task", Method.UPSERT, "K__c"), [0], [{}])
    assert isinstance(_row(bundle, body), Written | Failure)
    reads(lambda: _composite_answers(response(body), 1))
    client = SalesforceClient.__new__(SalesforceClient)
    client._call = lambda *_: response(body)  # type: ignore[method-assign]
    reads(lambda: client._rows(Subresponse(200, body)))
    reads(lambda: client._rows(Subresponse(200, {"records": [], "done": False, "nextRecordsUrl": "/next"})))


def test_pages_that_lead_in_a_circle_end() -> None:
    client = SalesforceClient.__new__(SalesforceClient)
    circle = {"records": [{"Id": "1"}], "done": False, "nextRecordsUrl": "/next"}
    client._call = lambda *_: response(circle)  # type: ignore[method-assign]
    with pytest.raises(Failure, match="next page"):
        client._rows(Subresponse(200, circle))


@given(objects | anything)
def test_tokens(body: Any) -> None:
    for answer in (response(body), response(body, 400)):
        reads(lambda answer=answer: ANSWERS.read(answer, NOW))
        reads(lambda answer=answer: SALESFORCE_TOKENS.read(answer, NOW))


@pytest.mark.parametrize(
    "life", [b"NaN", b"1e999", b"9" * 400, b"-1", b"0", b'"x"', b'"inf"', b'"nan"', b"[]", b"{}", b"null"]
)
def test_a_token_without_a_sensible_life(life: bytes) -> None:
    body = b'{"access_token":"a","expires_in":' + life + b"}"
    reads(lambda: ANSWERS.read(response(body), NOW))


@pytest.mark.parametrize(
    "body", [b"[" * 5000, b'{"a":' * 5000, b"\xff", b"", b'{"a":"\xed\xa0\x80"}', b"\xef\xbb\xbf{}"]
)
def test_bodies_that_are_no_json_of_ours(body: bytes) -> None:
    assert isinstance(reads(lambda: ANSWERS.read(response(body), NOW)), Failure)
    assert isinstance(reads(lambda: SALESFORCE_TOKENS.read(response(body), NOW)), Failure)


@given(
    st.text(max_size=40)
    | st.sampled_from(["9" * 400, "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359"])
)
def test_any_retry_after(value: str) -> None:
    wait = parse_retry_after(value, NOW)
    assert wait is None or (math.isfinite(wait) and 0 <= wait <= LONGEST_WAIT)
