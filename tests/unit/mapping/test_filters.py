"""The filters one by one: what they make of good, empty and hopeless values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.mapping import text as texts
from syncd.mapping.filters import make_filters
from syncd.mapping.values import ValueFault

FILTERS = make_filters(ZoneInfo("Asia/Ho_Chi_Minh"), "VN")
EVENING = datetime(2026, 1, 15, 20, 30, tzinfo=UTC)  # already Friday the 16th in Viet Nam
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1fb\U0001f1f3"


@pytest.mark.parametrize(
    ("value", "name", "arguments", "wanted"),
    [
        (EVENING, "date", [], date(2026, 1, 16)),
        (EVENING, "date", ["UTC"], date(2026, 1, 15)),
        (EVENING, "time", [], "03:30"),
        (EVENING, "time", ["Europe/Paris"], "21:30"),
        (EVENING, "strftime", ["%d/%m/%Y %H:%M"], "16/01/2026 03:30"),
        (EVENING, "timestamp", [], 1768509000),
        ("2026-01-15", "date", [], date(2026, 1, 15)),
        ("2026-01-15T20:30:00Z", "date", [], date(2026, 1, 16)),
        ("2026-01-15T20:30:00", "datetime", [], datetime(2026, 1, 15, 13, 30, tzinfo=UTC)),
        ("2026-01-15", "datetime", [], datetime(2026, 1, 14, 17, tzinfo=UTC)),
        (EVENING, "business_days", [0], date(2026, 1, 16)),
        (EVENING, "business_days", [1], date(2026, 1, 19)),
        (EVENING, "business_days", [1, ["2026-01-19"]], date(2026, 1, 20)),
        (EVENING, "business_days", [-1], date(2026, 1, 15)),
        (EVENING, "business_days", [10], date(2026, 1, 30)),
        ("2026-01-17", "business_days", [0], date(2026, 1, 19)),
        ("2026-01-17", "business_days", [1], date(2026, 1, 19)),
        ("0912 345 678", "phone", [], "+84912345678"),
        ("+84912345678", "phone", ["national"], "0912 345 678"),
        ("+84912345678", "phone", ["international"], "+84 912 345 678"),
        ("06 12 34 56 78", "phone", ["e164", "FR"], "+33612345678"),
        ("anonymous", "phone", [], None),
        ("<p>Hello <b>you</b></p><p>Bye</p>", "plain", [], "Hello you\n\nBye"),
        ("a &lt; b &amp; c", "plain", [], "a < b & c"),
        ("1 < 2 and 3 > 2", "plain", [], "1 < 2 and 3 > 2"),
        ("nguyen VAN an", "title", [], "Nguyen Van An"),
        ("don't stop", "title", [], "Don't Stop"),
        ("hELLO", "capitalize", [], "HELLO"),
        (" a \n  b ", "one_line", [], "a b"),
        ("  a ", "trim", [], "a"),
        ("", "default", ["none"], "none"),
        (0, "default", ["none"], 0),
        ("a-b-c", "replace", ["-", "+"], "a+b+c"),
        (["a", "", None, "b"], "join", ["; "], "a; b"),
        ("a, b,,c", "split", [","], ["a", "b", "c"]),
        ([1, 2], "first", [], 1),
        ([1, 2], "last", [], 2),
        ([], "first", [], None),
        ([1, 2], "length", [], 2),
        (None, "length", [], 0),
        ([{"u": 1}, {"v": 2}, 3, {"u": ""}], "pluck", ["u"], [1]),
        ("42", "int", [], 42),
        ("42.9", "int", [], 42),
        ("many", "int", [0], 0),
        ("1.5", "float", [], 1.5),
        (2.5, "round", [], 3),
        (1.005, "round", [1], 1.0),
        (2.345, "round", [2], 2.35),
        (True, "string", [], "true"),
        ({"b": 1, "a": [None, "x"]}, "json", [], '{"a":["x"],"b":1}'),
        ({}, "json", [], ""),
    ],
)
def test_what_filters_make(value: Any, name: str, arguments: list[Any], wanted: Any) -> None:
    assert FILTERS[name](value, *arguments) == wanted


@pytest.mark.parametrize("empty", [None, "", []])
@pytest.mark.parametrize(
    "name", ["date", "datetime", "time", "timestamp", "phone", "plain", "title", "first", "int", "round"]
)
def test_empty_comes_out_empty(name: str, empty: Any) -> None:
    assert FILTERS[name](empty) in (None, "")


@pytest.mark.parametrize(
    ("value", "name", "arguments", "words"),
    [
        ("tomorrow", "date", [], "'tomorrow' is not a date"),
        (17, "date", [], "'17' is not a date"),
        ("many", "int", [], "'many' is not a number"),
        ("1_000", "int", [], "not a number"),
        ("1e999", "float", [], "not a number"),
        ("x", "shorten", [0], "1 or more"),
        ("x", "shorten", [5, "utf-16"], "did you mean utf16?"),
        ("x", "phone", ["nationl"], "did you mean national?"),
        (EVENING, "date", ["Asia/Saigonn"], "no time zone"),
        (EVENING, "business_days", ["1"], "whole number"),
        (EVENING, "business_days", [99_999], "at most"),
        (EVENING, "business_days", [1, "2026-01-01"], "list of dates"),
        (date.max, "business_days", [9], "calendar"),
        ("x", "replace", ["", "y"], "replace needs"),
        ("x", "round", [-1], "0 to 12"),
    ],
)
def test_what_filters_refuse(value: Any, name: str, arguments: list[Any], words: str) -> None:
    with pytest.raises(ValueFault, match=words.replace("?", r"\?")):
        FILTERS[name](value, *arguments)


@pytest.mark.parametrize(
    ("text", "limit", "unit", "wanted"),
    [
        ("short", 5, "characters", "short"),
        ("longer", 5, "characters", "long…"),
        ("a word", 3, "characters", "a…"),
        ("xy", 1, "characters", "x"),
        ("cafe\u0301s and bars", 5, "characters", "caf…"),
        (f"a{FAMILY}b", 4, "characters", "a…"),
        (f"ab{FLAG}{FLAG}", 4, "characters", "ab…"),
        (f"{FLAG}{FLAG}{FLAG}", 5, "characters", f"{FLAG}{FLAG}…"),
        ("\U0001f44d\U0001f3fdok!", 4, "characters", "\U0001f44d\U0001f3fdo…"),
        ("\U0001f600\U0001f600\U0001f600", 4, "utf16", "\U0001f600…"),
        ("\U0001f600\U0001f600", 4, "utf16", "\U0001f600\U0001f600"),
        ("ééééé", 9, "bytes", "ééé…"),
        ("e" + "\u0301" * 200, 50, "characters", "e" + "\u0301" * 48 + "…"),
    ],
)
def test_shorten(text: str, limit: int, unit: str, wanted: str) -> None:
    assert texts.shorten(text, limit, unit) == wanted


@given(st.text(max_size=80), st.integers(1, 90), st.sampled_from(sorted(texts.UNITS)))
def test_shorten_keeps_its_limit(text: str, limit: int, unit: str) -> None:
    short = texts.shorten(text, limit, unit)
    assert texts.UNITS[unit](short) <= limit
    if texts.UNITS[unit](text) <= limit:
        assert short == text
    else:
        assert text.startswith(short.removesuffix("…").rstrip())


@given(st.text(max_size=300) | st.text("<>/&;!-abp='\" \n", max_size=300))
def test_plain_text_of_anything(text: str) -> None:
    assert "\x00" not in texts.plain(text) or not texts.looks_like_html(text)


def test_plain_text_of_a_pit_of_tags() -> None:
    assert "deep" in texts.plain("<div>" * 5_000 + "deep" + "</div>" * 5_000)


def test_scripts_are_no_words() -> None:
    assert texts.plain("<style>p {}</style><script>x()</script><p>seen</p>") == "seen"


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(1, 300))
def test_business_days_count_working_days(day: date, days: int) -> None:
    later = FILTERS["business_days"](day, days)
    between = [day + timedelta(n) for n in range(1, (later - day).days + 1)]
    assert sum(each.weekday() < 5 for each in between) == days
    assert later.weekday() < 5
