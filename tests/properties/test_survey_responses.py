"""Whatever a survey's vendor answers, its response becomes a signal that can be stored, is dropped, or is Malformed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.connector import Context
from syncd.connectors.survey.responses import AnswerFields, SurveyResponse, signal_of
from syncd.connectors.survey.surveymonkey_responses import SurveyDetails, recipient_of
from syncd.connectors.survey.surveymonkey_responses import read_response as read_surveymonkey
from syncd.connectors.survey.typeform_responses import read_response as read_typeform
from syncd.errors import Malformed
from syncd.http.json_text import parse
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, encode

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
CONTEXT = Context(name="survey", tokens=MemoryTokens(), region="VN")
LIMITS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = st.sampled_from(
    [
        *(
            "token",
            "submitted_at",
            "answers",
            "hidden",
            "calculated",
            "score",
            "ending",
            "ref",
            "field",
            "id",
            "type",
            "text",
        ),
        *("email", "choice", "choices", "label", "labels", "other", "number", "boolean", "payment", "variables", "key"),
        *("title", "fields", "properties", "pages", "questions", "headings", "heading", "rows", "cols", "simple_text"),
        *(
            "row_id",
            "col_id",
            "choice_id",
            "other_id",
            "metadata",
            "contact",
            "value",
            "date_modified",
            "response_status",
        ),
        *("custom_variables", "custom_value", "collection_mode", "recipient_id", "collector_id", "analyze_url"),
    ]
)
WORDS = ["text", "email", "choice", "5001", "2026-11-22T07:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**70, 10**400, 1.5, 1e308, float("nan")]),
    st.sampled_from([*WORDS, "<b>x", "{{field:text}}", "*a*", "an@example.org", "\ud83d", "\0"]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=25
)
ROWS = st.dictionaries(NAMES, VALUES, max_size=8)


def received(value: Any) -> Any:
    """As it comes out of a body."""
    try:
        return parse(json.dumps(value).encode()).value
    except ValueError:
        return {}


def stored(read: Callable[[], SurveyResponse | str]) -> None:
    with contextlib.suppress(Malformed):
        response = read()
        if isinstance(response, SurveyResponse):
            encode(signal_of(response, AnswerFields(), CONTEXT, NOW, Route.POLL))


@LIMITS
@given(ROWS, VALUES, st.lists(VALUES, max_size=3))
def test_typeform(row: dict[str, Any], definition: Any, answers: list[Any]) -> None:
    sent = {"token": "t", "submitted_at": "2026-11-22T07:00:00Z", "answers": answers, **row}
    stored(lambda: read_typeform("F", received(sent), received(definition), "the response"))


@LIMITS
@given(ROWS, VALUES, st.lists(VALUES, max_size=3))
def test_surveymonkey(row: dict[str, Any], survey: Any, pages: list[Any]) -> None:
    sent = {
        "id": "5001",
        "date_modified": "2026-11-22T07:00:00Z",
        **row,
        "pages": [{"questions": [one]} for one in pages],
    }
    full, details = received(sent), SurveyDetails(received(survey))
    recipient_of(full)
    details.knows(full)
    stored(lambda: read_surveymonkey("1", full, details, {}, "the response"))
