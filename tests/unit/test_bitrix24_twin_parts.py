"""The pure parts of the Bitrix24 twin: PHP's query strings and arrays, filters, names of custom fields, limits."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.twins.bitrix24 import filters, phpdata
from syncd.twins.bitrix24.fields import camel
from syncd.twins.bitrix24.limits import LeakyBucket, OperatingTime

NAMES = st.text("abcXYZ_", min_size=1, max_size=5)
NESTED = st.recursive(
    st.text(max_size=8), lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8
)


def query(value: Any, at: str) -> list[str]:
    if isinstance(value, dict):
        return [
            pair
            for key, each in value.items()
            for pair in query(each, f"{at}[{quote_plus(key)}]" if at else quote_plus(key))
        ]
    return [f"{at}={quote_plus(value)}"]


@given(st.dictionaries(NAMES, NESTED, max_size=4))
def test_a_query_string_gives_back_what_was_put_in(data: dict[str, Any]) -> None:
    assert phpdata.parse("&".join(query(data, ""))) == data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a[5]=x&a[]=y", {"a": {"5": "x", "6": "y"}}),
        ("a[0][b]=1&a[1][b]=2", {"a": [{"b": "1"}, {"b": "2"}]}),
        ("a=1&a=2&a[b]=3", {"a": {"b": "3"}}),
        ("a.b=1&c d=2", {"a_b": "1", "c_d": "2"}),
        ("a=1+2%2B", {"a": "1 2+"}),
        ("=1&&b", {"b": ""}),
    ],
)
def test_query_strings_as_php_reads_them(text: str, expected: dict[str, Any]) -> None:
    assert phpdata.parse(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, []),
        ({"0": 1, "1": 2}, [1, 2]),
        ({"1": 2}, {"1": 2}),
        ({"a": {}}, {"a": []}),
        ({0: "x"}, ["x"]),
        (None, None),
    ],
)
def test_arrays_as_json_encode_writes_them(value: Any, expected: Any) -> None:
    assert phpdata.shown(value) == expected


def test_references_keep_the_type_of_what_they_refer_to() -> None:
    known = {"a": {"items": [{"id": 7}], "none": []}}
    assert phpdata.resolved({"x": "$result[a][items][0][id]", "y": ["n$result['a'][items][0][id]"]}, known) == {
        "x": 7,
        "y": ["n7"],
    }
    assert phpdata.resolved("$result[a][items]", known) == [{"id": 7}]
    assert phpdata.resolved("$result[a][none][0][id]", known) is None


@pytest.mark.parametrize(
    ("uf", "name"),
    [  # the table of Bitrix24's page "CRM Universal Methods"
        ("UF_CRM_3_DIGIT", "ufCrm3Digit"),
        ("UF_CRM_3_1747309727", "ufCrm3_1747309727"),
        ("UF_CRM_3_DIGIT10", "ufCrm_3_DIGIT10"),
        ("UF_CRM_3_DIGIT_10", "ufCrm_3_DIGIT_10"),
        ("UF_CRM_1747309879", "ufCrm_1747309879"),
        ("UF_CRM_10_5186744711", "ufCrm10_5186744711"),
        ("UF_CRM_SYNCD_KEY", "ufCrmSyncdKey"),
    ],
)
def test_names_of_custom_fields(uf: str, name: str) -> None:
    assert camel(uf) == name


@pytest.mark.parametrize(
    ("filter_", "row", "expected"),
    [
        ({"a": "X"}, {"a": "x"}, True),
        ({"a": "10"}, {"a": 10}, True),
        ({"a": 10}, {"a": "1e1"}, False),
        ({">a": "9"}, {"a": 10}, True),
        ({">a": 1}, {"a": None}, False),
        ({"!@a": [1, 2]}, {"a": 3}, True),
        ({"!%a": "b"}, {"a": "abc"}, False),
        ({"=%a": "a*c%"}, {"a": "abc"}, False),
        ({"a": ""}, {}, True),
        ({"a": 5}, {"a": [4, 5]}, True),
        ({"!a": 5}, {"a": [4, 5]}, False),
        ({"<a": "2026-01-02T00:00:00+00:00"}, {"a": "2026-01-02T01:00:00+03:00"}, True),
        ({"logic": "OR", "0": {"a": 1}, "1": {"b": 1}}, {"b": 1}, True),
    ],
)
def test_filters(filter_: dict[str, Any], row: dict[str, Any], expected: bool) -> None:
    assert filters.compiled(filter_)(row) is expected


@given(st.lists(st.floats(0, 5), max_size=200))
def test_a_bucket_never_lets_through_more_than_it_holds_and_leaks(pauses: list[float]) -> None:
    now, taken = [0.0], 0
    bucket = LeakyBucket(lambda: now[0], 2.0, 50)
    for pause in pauses:
        now[0] += pause
        taken += bucket.admits()
        assert taken <= 50 + 2.0 * now[0] + 1e-6


def test_a_basket_counts_for_ten_minutes_from_its_first_call() -> None:
    now = [0.0]
    times = OperatingTime(lambda: now[0], 480.0)
    assert times.book("hook", "m", 400.0) == (400.0, 600)
    now[0] = 59.0
    assert times.book("hook", "m", 80.0) == (480.0, 600)
    assert not times.blocked("hook", "m")
    now[0] = 61.0
    assert times.book("hook", "m", 1.0) == (481.0, 600)
    assert times.blocked("hook", "m")
    assert not times.blocked("other", "m")
    now[0] = 600.0
    assert times.used("hook", "m") == 1.0
