"""JSON files cut into objects: lists, objects one behind the other, on any number of lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.connectors.files.json_rows import elements
from syncd.errors import Malformed

TEXT = st.text('ab"\\{}[],:\n\r\u00e9', max_size=6)
VALUES = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.lists(st.dictionaries(TEXT, VALUES, min_size=1, max_size=3), max_size=4)


@settings(max_examples=150, deadline=None)
@given(OBJECTS, st.sampled_from([None, 0, 2]), st.booleans(), st.integers(1, 9), st.sampled_from(["\n", "\r\n", "\r"]))
def test_objects_come_out_as_they_went_in(
    objects: list[dict[str, object]], indent: int | None, in_a_list: bool, size: int, end: str
) -> None:
    if in_a_list:
        text = json.dumps(objects, indent=indent, ensure_ascii=False)
    else:
        text = "\n".join(json.dumps(one, indent=indent, ensure_ascii=False) for one in objects)
    text = text.replace("\n", end)
    found = list(elements(_pieces(text, size)))
    assert [json.loads(one) for _, one in found] == objects
    lines = [line for line, _ in found]
    assert lines == sorted(lines)


def _pieces(text: str, size: int) -> Iterator[str]:
    """None ends in the middle of an escape or of a line end."""
    while text:
        end = size
        while text[end - 1 : end] in ("\\", "\r"):
            end += 1
        yield text[:end]
        text = text[end:]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[\n{"a": 1},\n{"b": [1,\n2]},\n]', [(2, {"a": 1}), (3, {"b": [1, 2]})]),
        ('\ufeff[{"a": "}]"}, {"a": "\\"]"}]\x1a', [(1, {"a": "}]"}), (1, {"a": '"]'})]),
        ('{\n"a": 1\n}\n{\n"a": 2\n}\n', [(1, {"a": 1}), (4, {"a": 2})]),
        ("[1, 2]", [(1, 1), (1, 2)]),
        ("[[1], [2]]", [(1, [1]), (1, [2])]),
        ("[]", []),
        ("", []),
    ],
)
def test_elements_have_the_line_on_which_they_begin(text: str, found: list[tuple[int, object]]) -> None:
    assert [(line, json.loads(one)) for line, one in elements([text])] == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"a": 1},\n{"b": ', "line 2: the object that begins here is never closed"),
        ('[{"a": 1},\n{"b": "', "line 2: the object that begins here is never closed"),
        ('[{"a": 1}', "the list is never closed by ]"),
        (
            '[{"a": 1},\n{"b": "' + "x" * 1_000_001,
            "line 2: the object that begins here has more than 1000000 characters",
        ),
    ],
)
def test_a_text_that_breaks_off_keeps_what_stands_before(text: str, says: str) -> None:
    found: list[tuple[int, str]] = []
    with pytest.raises(Malformed, match=says):
        found.extend(elements([text[:30], text[30:]]))
    assert found == [(1, '{"a": 1}')]
