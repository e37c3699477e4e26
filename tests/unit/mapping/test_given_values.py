"""What a user gives for a field: read by the field's type, or refused in words that say what it must be."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.capabilities import FieldDescription
from syncd.mapping.given_values import given_value

STAGES = FieldDescription(name="Stage", type="picklist", values=("Open", "Won"))
LOOSE = FieldDescription(name="Stage", type="combobox", values=("Open",), restricted=False)


@pytest.mark.parametrize(
    ("text", "type", "described", "value"),
    [
        ("2026-12-01", "date", None, "2026-12-01"),
        ("2026-12-01T09:00:00+07:00", "datetime", None, "2026-12-01T09:00:00+07:00"),
        ("5", "number", None, 5),
        ("-2.5", "number", None, -2.5),
        ("True", "checkbox", None, True),
        ("5", "text", None, 5),
        ("Ring", "text", None, "Ring"),
        ("a: b: c", "text", None, "a: b: c"),
        ("2026-12-01", "text", FieldDescription(name="D", type="date"), "2026-12-01"),
        ("7", "text", FieldDescription(name="N", type="NUMERIC(10, 2)"), 7),
        ("7", "text", FieldDescription(name="N", type="DOUBLE PRECISION"), 7),
        ("Won", "text", STAGES, "Won"),
        ("Else", "text", LOOSE, "Else"),
        ("abc", "text", FieldDescription(name="T", type="string", length=3), "abc"),
    ],
)
def test_values_that_fit(text: str, type: str, described: FieldDescription | None, value: Any) -> None:
    assert given_value(text, type, described) == value


@pytest.mark.parametrize(
    ("text", "type", "described", "says"),
    [
        ("tomorrow", "date", None, "must be a date, such as 2026-12-01"),
        ("2026-02-30", "date", None, "must be a date"),
        ("2026-12-01", "datetime", None, "must be a date and time with its zone"),
        ("2026-12-01T09:00:00", "datetime", None, "with its zone"),
        ("soon", "number", None, "must be a number"),
        ("nan", "number", None, "must be a number"),
        ("1" * 400, "number", None, "must be a number"),
        ("maybe", "checkbox", None, "must be true or false"),
        ("soon", "text", FieldDescription(name="D", type="TIMESTAMP"), "must be a date and time"),
        ("Wun", "text", STAGES, "did you mean Won?"),
        ("zzz", "text", STAGES, "must be one of: Open, Won"),
        ("abcd", "text", FieldDescription(name="T", type="string", length=3), "at most 3 characters, and has 4"),
    ],
)
def test_values_that_do_not(text: str, type: str, described: FieldDescription | None, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        given_value(text, type, described)
