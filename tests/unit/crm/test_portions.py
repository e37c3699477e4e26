"""Items cut into portions: none lost, none twice, the order kept, no portion over its limit."""

from __future__ import annotations

from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.crm.portions import fitting, portions


@given(st.lists(st.integers(0, 30)), st.integers(1, 7))
def test_portions_hold_each_item_once(items: list[int], most: int) -> None:
    made = portions(items, most)
    assert list(chain(*made)) == list(dict.fromkeys(items))
    assert all(len(one) == most for one in made[:-1])
    assert all(1 <= len(one) <= most for one in made)


@given(st.lists(st.integers(1, 12)), st.integers(5, 10))
def test_as_many_stand_together_as_fit(weights: list[int], limit: int) -> None:
    made = list(fitting(weights, lambda held: sum(held) <= limit))
    assert list(chain(*made)) == weights
    for one in made:
        assert sum(one) <= limit or len(one) == 1, "too heavy an item stands alone"
    for one, following in pairwise(made):
        assert sum(one) + following[0] > limit, "the next one would have fitted"
