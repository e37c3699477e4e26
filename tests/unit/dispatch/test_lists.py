"""Fields with several values: what is added and removed, in which order, and that nothing is written when nothing changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.crm.lists import items
from syncd.dispatch.lists import edited, with_lists
from syncd.mapping.model import About, Draft
from syncd.mapping.verbs import UPDATE


@pytest.mark.parametrize(
    ("there", "add", "remove", "after"),
    [
        (["A", "B"], ["C"], [], ["A", "B", "C"]),
        (["A", "B"], ["b"], [], ["A", "B"]),
        (["A", "B", "C"], [], [" b "], ["A", "C"]),
        ([], ["A", "a"], [], ["A"]),
        (["A"], ["B"], ["A"], ["B"]),
        (["A"], ["A"], ["A"], ["A"]),
    ],
)
def test_values_are_added_at_the_end_and_removed_whatever_their_case(
    there: list[str], add: list[str], remove: list[str], after: list[str]
) -> None:
    assert edited(there, add, remove) == after


@given(st.lists(st.text("abAB", max_size=2)), st.lists(st.text("abAB", max_size=2)), st.lists(st.text("abAB")))
def test_a_second_time_changes_nothing(there: list[str], add: list[str], remove: list[str]) -> None:
    once = edited(there, add, remove)
    assert edited(once, add, [one for one in remove if one.casefold() not in {a.casefold() for a in add}]) == once


def draft(**more: dict[str, object]) -> Draft:
    return Draft("r", "Contact", "", About.PERSON, {}, {}, UPDATE, **more)  # type: ignore[arg-type]


def test_a_list_that_does_not_change_is_not_written() -> None:
    made = with_lists(draft(add={"Topics": "News", "Tags": ["b"]}), {"Topics": "news;Offers", "Tags": "A"}, items)
    assert made.sent == {"Tags": ["A", "b"]}


def test_a_list_that_becomes_empty_is_emptied() -> None:
    assert with_lists(draft(remove={"Topics": "News"}), {"Topics": ["News"]}, items).sent == {"Topics": None}


def test_values_are_read_as_a_text_and_as_a_list() -> None:
    assert items("A; B") == items(["A", "B"]) == ["A", "B"]
    assert items(None) == items("") == []
