"""Whether a record is still as syncd wrote it: the forms in which CRMs return values, and who changed it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.dispatch.untouched import DONE, same, why_not
from syncd.mapping.model import About, Draft
from syncd.mapping.verbs import UPDATE

AT = datetime(2026, 3, 2, 9, 0, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "there", "equal"),
    [
        ("Not Started", "not  started ", True),
        ("Not Started", "Completed", False),
        ("High", None, False),
        ("", None, True),
        (date(2026, 3, 9), "2026-03-09", True),
        (date(2026, 3, 9), date(2026, 3, 9), True),
        (date(2026, 3, 9), "2026-03-10", False),
        (AT, "2026-03-02T09:00:00.000+0000", True),
        (AT, "2026-03-02T16:00:00+07:00", True),
        (AT, "2026-03-02T09:01:00Z", False),
        (AT, "soon", False),
        (5, "5.0", True),
        (5, "five", False),
        (True, "true", True),
        (True, False, False),
        (False, None, False),
    ],
)
def test_values_in_the_forms_of_crms(sent: Any, there: Any, equal: bool) -> None:
    assert same(sent, there) is equal


@given(
    st.one_of(st.text(), st.integers(-(2**50), 2**50), st.booleans(), st.dates(), st.datetimes(timezones=st.just(UTC)))
)
def test_what_comes_back_as_it_was_sent_is_the_same(value: Any) -> None:
    assert same(value, value)


def draft(**fields: Any) -> Draft:
    stands = {"Status": "Not Started", "Priority": "High"}
    return Draft("done", "Task", "", About.SIGNAL, fields, {}, UPDATE, record="callback", stands=stands)


@pytest.mark.parametrize(
    ("there", "by_user", "reason"),
    [
        ({"Status": "Not Started", "Priority": "High"}, False, ""),
        ({"Status": "Not Started", "Priority": "High"}, True, "a user has changed the record"),
        ({"Status": "Not Started", "Priority": "Low"}, False, "the record has another Priority than syncd wrote"),
        ({"Status": "In Progress", "Priority": "High"}, False, "the record has another Status than syncd wrote"),
        ({"Status": "Completed", "Priority": "Low"}, True, str(DONE)),
    ],
)
def test_who_and_what_decides(there: dict[str, str], by_user: bool, reason: str) -> None:
    assert why_not(draft(Status="Completed"), there, by_user=by_user) == reason
    assert why_not(draft(Status="Completed", Closed=date(2026, 3, 2)), {**there, "Status": "Completed"}, by_user=True)
